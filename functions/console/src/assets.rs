//! The files of the console.

/// The page, in which `/console/a/release` stands for the folder of the files.
pub(crate) const PAGE: &str = include_str!("../assets/index.html");

/// Lists files of `assets` with their bytes.
macro_rules! assets {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../assets/", $name)) as &[u8])),*]
    };
}

/// The module that is loaded when its page is opened, since most systems have no such page.
pub(crate) const LOADED_LATER: &str = "pages/play.js";

/// The files that the page loads, by their path below its folder.
pub(crate) const ASSETS: &[(&str, &[u8])] = assets![
    "api.js",
    "app.css",
    "app.js",
    "diff.js",
    "format.js",
    "live.js",
    "main.js",
    "outcomes.js",
    "pages.css",
    "pages/audit.js",
    "pages/conflicts.js",
    "pages/connection.js",
    "pages/events.js",
    "pages/file.js",
    "pages/health.js",
    "pages/letters.js",
    "pages/operations.js",
    "pages/overview.js",
    "pages/owed.js",
    "pages/play.js",
    "pages/restore.js",
    "pages/settings.js",
    "pages/settle.js",
    "pages/timeline.js",
    "pages/tree.js",
    "pages/upload.js",
    "pages/webhooks.js",
    "router.js",
    "rows.js",
    "session.js",
    "ui.js",
    "vendor/lit-html/LICENSE",
    "vendor/lit-html/lit-html.js",
    "words.js",
];
