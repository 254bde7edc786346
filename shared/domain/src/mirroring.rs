//! What of a connection's content is mirrored, and in which form.

use std::collections::BTreeMap;

use crate::content::is_text;
use crate::{FileRecord, MimePattern, Value};

/// The days that content is kept which nothing refers to any more, unless a connection says otherwise.
pub const RETENTION_DAYS: u32 = 30;
/// The longest retention, in days: ten years.
pub const RETENTION_DAYS_MAX: u32 = 3_650;
/// The largest content that is mirrored unless a connection says otherwise, in bytes: 5 GiB.
pub const SIZE_BYTES_MAX: u64 = 5 << 30;
/// The largest that a connection may ask for, in bytes: 5 TB, what Drive takes and S3 holds in one object
/// (Drive help, "Files you can store"; S3 user guide, "Multipart upload limits").
pub const SIZE_BYTES_LIMIT: u64 = 5_000_000_000_000;
/// MIME patterns of one list, and formats of exports, in one connection.
pub const PATTERNS_MAX: usize = 100;

/// How a connection's content is mirrored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentSettings {
    /// Whether it is.
    pub enabled: bool,
    /// Larger content stays in Drive alone, in bytes.
    pub size_bytes_max: u64,
    /// Only these types, where there are any.
    pub include: Vec<MimePattern>,
    /// None of these types. They count for more than `include`.
    pub exclude: Vec<MimePattern>,
    /// The MIME type that a Docs editor file is exported to, by its own; what is not here is not exported.
    pub exports: BTreeMap<String, String>,
    /// Where S3 keeps it.
    pub storage_class: StorageClass,
    /// Whether text is stored compressed where that saves a fifth of it.
    pub compress: bool,
    /// How long content is kept which nothing refers to any more, in days.
    pub retention_days: u32,
}

/// S3's storage classes that answer at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StorageClass {
    /// `STANDARD`
    #[default]
    Standard,
    /// `STANDARD_IA`
    StandardIa,
    /// `INTELLIGENT_TIERING`
    IntelligentTiering,
    /// `GLACIER_IR`
    GlacierIr,
}

impl StorageClass {
    /// Every class.
    pub const ALL: [Self; 4] = [
        Self::Standard,
        Self::StandardIa,
        Self::IntelligentTiering,
        Self::GlacierIr,
    ];

    /// S3's name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standard => "STANDARD",
            Self::StandardIa => "STANDARD_IA",
            Self::IntelligentTiering => "INTELLIGENT_TIERING",
            Self::GlacierIr => "GLACIER_IR",
        }
    }

    /// The inverse of [`StorageClass::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

/// The formats of Docs editor files that lose least, and that other programs read (Drive guide, "Export MIME
/// types for Google Workspace documents").
const EXPORTS: [(&str, &str); 5] = [
    (
        "application/vnd.google-apps.document",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    (
        "application/vnd.google-apps.spreadsheet",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    (
        "application/vnd.google-apps.presentation",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ),
    ("application/vnd.google-apps.drawing", "image/png"),
    (
        "application/vnd.google-apps.script",
        "application/vnd.google-apps.script+json",
    ),
];

impl Default for ContentSettings {
    /// Nothing is mirrored; once it is: everything up to 5 GiB, Docs editor files as Office formats.
    fn default() -> Self {
        let exports = EXPORTS.into_iter();
        Self {
            enabled: false,
            size_bytes_max: SIZE_BYTES_MAX,
            include: Vec::new(),
            exclude: Vec::new(),
            exports: exports
                .map(|(own, format)| (own.to_owned(), format.to_owned()))
                .collect(),
            storage_class: StorageClass::Standard,
            compress: false,
            retention_days: RETENTION_DAYS,
        }
    }
}

/// What is to be stored of a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Its bytes, of this SHA-256.
    Bytes(String),
    /// An export of a Docs editor file to this MIME type.
    Export(String),
    /// Nothing, for a reason that a person may want to know.
    Skipped(Skipped),
    /// Nothing: there is none, or nobody asked for it.
    Nothing,
}

/// Why a file's content is not mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// It is larger than the connection's limit.
    Size,
    /// The connection leaves out its type.
    Type,
    /// A Docs editor file of a type that the connection does not export.
    Format,
    /// Drive says that the connection's user may not download it.
    NotDownloadable,
    /// Drive has no SHA-256 of it.
    NoChecksum,
}

impl Skipped {
    /// The reason, as callers see it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Type => "type",
            Self::Format => "format",
            Self::NotDownloadable => "not_downloadable",
            Self::NoChecksum => "no_checksum",
        }
    }
}

/// Drive's type of a folder.
pub const FOLDER: &str = "application/vnd.google-apps.folder";
/// Drive's type of a shortcut.
pub(crate) const SHORTCUT: &str = "application/vnd.google-apps.shortcut";

impl ContentSettings {
    /// What is to be stored of a file that is in scope, as Drive shows it. Folders and shortcuts hold nothing;
    /// what is not there, or not yet, is left as it is.
    #[must_use]
    pub fn wanted(&self, record: &FileRecord) -> Wanted {
        let mirror = &record.mirror;
        let mime_type = mirror.mime_type.as_str();
        if !self.enabled || !record.is_present() || [FOLDER, SHORTCUT].contains(&mime_type) {
            return Wanted::Nothing;
        }
        if !self.takes_type(mime_type) {
            return Wanted::Skipped(Skipped::Type);
        }
        let may_download = mirror
            .capabilities
            .names()
            .any(|capability| capability == "canDownload");
        if !may_download {
            return Wanted::Skipped(Skipped::NotDownloadable);
        }
        if !record.can_hold_content() {
            return match self.exports.get(mime_type) {
                Some(format) => Wanted::Export(format.clone()),
                None => Wanted::Skipped(Skipped::Format),
            };
        }
        match mirror.content() {
            Value::Text(_) if mirror.size_bytes > Some(self.size_bytes_max) => {
                Wanted::Skipped(Skipped::Size)
            }
            Value::Text(sha256) => Wanted::Bytes(sha256),
            Value::Null | Value::Flag(_) => Wanted::Skipped(Skipped::NoChecksum),
        }
    }

    /// Whether content of this MIME type is to be stored compressed where that saves enough: it depends on the bytes, and on
    /// whether they are put at once.
    #[must_use]
    pub fn compresses(&self, mime_type: &str) -> bool {
        self.compress && is_text(mime_type)
    }

    fn takes_type(&self, mime_type: &str) -> bool {
        let any =
            |patterns: &[MimePattern]| patterns.iter().any(|pattern| pattern.matches(mime_type));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Capabilities;
    use crate::fixture::record;

    fn file(mime_type: &str, size_bytes: u64, sha256: Option<&str>) -> FileRecord {
        let mut file = record();
        file.mirror.mime_type = mime_type.to_owned();
        file.mirror.size_bytes = sha256.map(|_| size_bytes);
        file.mirror.sha256 = sha256.map(str::to_owned);
        file.mirror.capabilities = Capabilities::from_names(["canDownload"]);
        file
    }

    fn on() -> ContentSettings {
        ContentSettings {
            enabled: true,
            ..ContentSettings::default()
        }
    }

    #[test]
    fn nothing_is_wanted_of_a_connection_that_does_not_ask_for_it() {
        let settings = ContentSettings::default();
        let wanted = settings.wanted(&file("text/plain", 1, Some("aa")));
        assert_eq!(wanted, Wanted::Nothing);
    }

    #[test]
    fn bytes_are_wanted_up_to_the_limit_and_of_the_types_that_are_taken() {
        let settings = ContentSettings {
            size_bytes_max: 10,
            include: vec![MimePattern::parse("text/*").unwrap()],
            exclude: vec![MimePattern::parse("text/css").unwrap()],
            ..on()
        };
        let of = |mime_type, size| settings.wanted(&file(mime_type, size, Some("aa")));
        assert_eq!(of("text/plain", 10), Wanted::Bytes("aa".to_owned()));
        assert_eq!(of("text/plain", 11), Wanted::Skipped(Skipped::Size));
        assert_eq!(of("text/css", 1), Wanted::Skipped(Skipped::Type));
        assert_eq!(of("image/png", 1), Wanted::Skipped(Skipped::Type));
    }

    #[test]
    fn docs_editor_files_are_exported_and_folders_and_shortcuts_left_alone() {
        let of = |mime_type| on().wanted(&file(mime_type, 0, None));
        assert_eq!(
            of("application/vnd.google-apps.drawing"),
            Wanted::Export("image/png".to_owned())
        );
        assert_eq!(
            of("application/vnd.google-apps.form"),
            Wanted::Skipped(Skipped::Format)
        );
        assert_eq!(of(FOLDER), Wanted::Nothing);
        assert_eq!(of(SHORTCUT), Wanted::Nothing);
        assert_eq!(of("text/plain"), Wanted::Skipped(Skipped::NoChecksum));
    }

    #[test]
    fn text_is_compressed_where_a_connection_asks_for_it_and_nothing_else_is() {
        assert!(!on().compresses("text/plain"));
        let settings = ContentSettings {
            compress: true,
            ..on()
        };
        assert!(settings.compresses("text/plain"));
        assert!(!settings.compresses("image/png"));
    }

    #[test]
    fn what_may_not_be_downloaded_is_not_asked_for() {
        let mut closed = file("text/plain", 1, Some("aa"));
        closed.mirror.capabilities = Capabilities::default();
        assert_eq!(
            on().wanted(&closed),
            Wanted::Skipped(Skipped::NotDownloadable)
        );
    }
}
