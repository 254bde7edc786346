//! The files of the console.

/// The page, in which `/console/a/release` stands for the folder of the files.
pub(crate) const PAGE: &str = include_str!("../assets/index.html");

/// Lists files of `assets` with their bytes.
macro_rules! assets {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../assets/", $name)) as &[u8])),*]
    };
}

/// The files that the page loads, by their path below its folder.
pub(crate) const ASSETS: &[(&str, &[u8])] = assets![
    "api.js",
    "app.css",
    "app.js",
    "format.js",
    "live.js",
    "main.js",
    "pages/audit.js",
    "pages/connection.js",
    "pages/events.js",
    "pages/health.js",
    "pages/overview.js",
    "pages/play.js",
    "router.js",
    "session.js",
    "ui.js",
    "vendor/lit-html/LICENSE",
    "vendor/lit-html/directive-helpers.js",
    "vendor/lit-html/directive.js",
    "vendor/lit-html/directives/live.js",
    "vendor/lit-html/directives/repeat.js",
    "vendor/lit-html/lit-html.js",
    "words.js",
];
