//! Content settings: which content of a connection is stored, and in which form.

use std::collections::BTreeMap;

use crate::content::{ContentIdentity, is_text};
use crate::{FileRecord, MimePattern};

/// The default retention of content that nothing refers to any more, in days.
pub const RETENTION_DAYS: u32 = 30;
/// The longest retention, in days: ten years.
pub const RETENTION_DAYS_MAX: u32 = 3_650;
/// The default size limit of stored content, in bytes: 5 GiB.
pub const SIZE_BYTES_MAX: u64 = 5 << 30;
/// The highest size limit that a connection may set, in bytes: 5 TB, which Drive accepts and S3
/// stores in one object (Drive help, "Files you can store"; S3 user guide, "Multipart upload
/// limits").
pub const SIZE_BYTES_LIMIT: u64 = 5_000_000_000_000;
/// The most MIME patterns in one list, and the most export formats, of one connection.
pub const PATTERNS_MAX: usize = 100;

/// The content settings of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentSettings {
    /// True if content is stored at all.
    pub enabled: bool,
    /// The size limit in bytes. Larger content is not stored.
    pub size_bytes_max: u64,
    /// The MIME types to store. Empty means all.
    pub include: Vec<MimePattern>,
    /// The MIME types not to store. Takes precedence over `include`.
    pub exclude: Vec<MimePattern>,
    /// The export format of each Docs editor type, both as MIME types. A type without an entry is
    /// not exported.
    pub exports: BTreeMap<String, String>,
    /// The S3 storage class of new objects.
    pub storage_class: StorageClass,
    /// True if text is stored compressed if that saves at least a fifth of its size.
    pub compress: bool,
    /// The retention of content that nothing refers to any more, in days.
    pub retention_days: u32,
}

/// The S3 storage classes with immediate retrieval.
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
    /// All storage classes.
    pub const ALL: [Self; 4] = [
        Self::Standard,
        Self::StandardIa,
        Self::IntelligentTiering,
        Self::GlacierIr,
    ];

    /// Returns S3's name of the class.
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

/// The default export formats: those that lose least and that other programs read (Drive guide,
/// "Export MIME types for Google Workspace documents").
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
    /// Content is not stored. Once enabled: everything up to 5 GiB, Docs editor files as Office
    /// formats.
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

/// The content that should be stored for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DesiredContent {
    /// Its bytes, of this identity.
    Bytes(ContentIdentity),
    /// An export of a Docs editor file, in this MIME type.
    Export(String),
    /// Nothing, for a reason that is shown to the user.
    Skipped(Skipped),
    /// Nothing: the file has no content, or the connection does not store content.
    Nothing,
}

/// The reason why a file's content is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// The content is larger than the connection's limit.
    Size,
    /// The connection excludes the file's type.
    Type,
    /// The connection has no export format for this Docs editor type.
    Format,
    /// Drive states nothing that identifies the content.
    NoChecksum,
}

impl Skipped {
    /// Returns the reason as API clients see it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Type => "type",
            Self::Format => "format",
            Self::NoChecksum => "no_checksum",
        }
    }
}

/// Drive's MIME type of a folder.
pub const FOLDER: &str = "application/vnd.google-apps.folder";
/// Drive's MIME type of a shortcut.
pub(crate) const SHORTCUT: &str = "application/vnd.google-apps.shortcut";

impl ContentSettings {
    /// Returns the content that should be stored for a file in scope, according to Drive's side.
    /// Folders and shortcuts have none. For a file that is not present, nothing is to be done.
    #[must_use]
    pub fn desired_content(&self, record: &FileRecord) -> DesiredContent {
        let metadata = &record.metadata;
        let mime_type = metadata.mime_type.as_str();
        if !self.enabled || !record.is_present() || [FOLDER, SHORTCUT].contains(&mime_type) {
            return DesiredContent::Nothing;
        }
        if !self.takes_type(mime_type) {
            return DesiredContent::Skipped(Skipped::Type);
        }
        if !record.can_hold_content() {
            return match self.exports.get(mime_type) {
                Some(format) => DesiredContent::Export(format.clone()),
                None => DesiredContent::Skipped(Skipped::Format),
            };
        }
        match ContentIdentity::parse(&metadata.content()) {
            Some(_) if metadata.size_bytes > Some(self.size_bytes_max) => {
                DesiredContent::Skipped(Skipped::Size)
            }
            Some(content) => DesiredContent::Bytes(content),
            None => DesiredContent::Skipped(Skipped::NoChecksum),
        }
    }

    /// Returns whether content of this MIME type should be stored compressed. Whether it is depends
    /// on the bytes, and on whether they are stored in a single request.
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

    const SHA256: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn file(mime_type: &str, size_bytes: u64, sha256: Option<&str>) -> FileRecord {
        let mut file = record();
        file.metadata.mime_type = mime_type.to_owned();
        file.metadata.size_bytes = sha256.map(|_| size_bytes);
        file.metadata.sha256 = sha256.map(str::to_owned);
        file.metadata.capabilities = Capabilities::from_names(["canDownload"]);
        file
    }

    fn on() -> ContentSettings {
        ContentSettings {
            enabled: true,
            ..ContentSettings::default()
        }
    }

    #[test]
    fn nothing_is_wanted_if_content_is_disabled() {
        let settings = ContentSettings::default();
        let wanted = settings.desired_content(&file("text/plain", 1, Some(SHA256)));
        assert_eq!(wanted, DesiredContent::Nothing);
    }

    #[test]
    fn bytes_are_wanted_up_to_the_size_limit_and_of_included_types() {
        let settings = ContentSettings {
            size_bytes_max: 10,
            include: vec![MimePattern::parse("text/*").unwrap()],
            exclude: vec![MimePattern::parse("text/css").unwrap()],
            ..on()
        };
        let of = |mime_type, size| settings.desired_content(&file(mime_type, size, Some(SHA256)));
        let bytes = ContentIdentity::parse(&crate::Value::text(SHA256)).unwrap();
        assert_eq!(of("text/plain", 10), DesiredContent::Bytes(bytes));
        assert_eq!(of("text/plain", 11), DesiredContent::Skipped(Skipped::Size));
        assert_eq!(of("text/css", 1), DesiredContent::Skipped(Skipped::Type));
        assert_eq!(of("image/png", 1), DesiredContent::Skipped(Skipped::Type));
    }

    #[test]
    fn docs_editor_files_are_exported_and_folders_and_shortcuts_ignored() {
        let of = |mime_type| on().desired_content(&file(mime_type, 0, None));
        assert_eq!(
            of("application/vnd.google-apps.drawing"),
            DesiredContent::Export("image/png".to_owned())
        );
        assert_eq!(
            of("application/vnd.google-apps.form"),
            DesiredContent::Skipped(Skipped::Format)
        );
        assert_eq!(of(FOLDER), DesiredContent::Nothing);
        assert_eq!(of(SHORTCUT), DesiredContent::Nothing);
        assert_eq!(
            of("text/plain"),
            DesiredContent::Skipped(Skipped::NoChecksum)
        );
    }

    #[test]
    fn only_text_is_compressed_and_only_if_enabled() {
        assert!(!on().compresses("text/plain"));
        let settings = ContentSettings {
            compress: true,
            ..on()
        };
        assert!(settings.compresses("text/plain"));
        assert!(!settings.compresses("image/png"));
    }
}
