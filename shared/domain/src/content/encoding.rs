//! The encodings of stored content, and when compression is worthwhile.

use super::ObjectKey;

/// The encoding of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// Not encoded.
    None,
    /// Compressed with Zstandard.
    Zstd,
}

/// The location of some content's bytes in the bucket, and their encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectLocation {
    /// The object's key.
    pub key: ObjectKey,
    /// The encoding of the bytes.
    pub encoding: Encoding,
    /// The size of the object in the bucket, in bytes.
    pub stored_bytes: u64,
}

impl ObjectLocation {
    /// Returns the location of content that is not encoded.
    #[must_use]
    pub const fn plain(key: ObjectKey, size_bytes: u64) -> Self {
        Self {
            key,
            encoding: Encoding::None,
            stored_bytes: size_bytes,
        }
    }
}

/// Returns the largest compressed size at which compression is worthwhile: four fifths of the
/// content's own size, rounded down. A smaller saving does not justify decompressing on every read.
/// Zero if the content can't be stored in less.
#[must_use]
pub const fn compressed_bytes_max(size_bytes: u64) -> u64 {
    // Multiplying a `u64` by four may overflow.
    size_bytes / 5 * 4 + size_bytes % 5 * 4 / 5
}

/// Textual types outside of `text/`: the subtypes of `application/` in common use.
const APPLICATION_TEXTS: [&str; 22] = [
    "csv",
    "ecmascript",
    "graphql",
    "javascript",
    "json",
    "json5",
    "jsonlines",
    "jsonl",
    "ndjson",
    "rtf",
    "sql",
    "toml",
    "typescript",
    "x-javascript",
    "x-latex",
    "x-ndjson",
    "x-sh",
    "x-subrip",
    "x-tex",
    "x-yaml",
    "xml",
    "yaml",
];

/// Returns whether content of this MIME type is text, by the type alone: `text/*`, types based on
/// JSON, XML or YAML (RFC 6839's `+json` and similar suffixes, so SVG too), and textual subtypes of
/// `application/`. Office documents, images, sound and archives are not: they are already
/// compressed.
#[must_use]
pub fn is_text(mime_type: &str) -> bool {
    // `text/plain; charset=utf-8`
    let essence = mime_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    let Some((kind, name)) = essence.split_once('/') else {
        return false;
    };
    let built_on = name.rsplit_once('+').map(|(_, suffix)| suffix);
    match (kind, built_on) {
        ("text", _) | (_, Some("json" | "xml" | "yaml")) => true,
        ("application", _) => APPLICATION_TEXTS.contains(&name),
        (_, Some(_) | None) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_recognised_by_its_mime_type() {
        for text in [
            "text/plain",
            "TEXT/Markdown",
            "text/csv; charset=utf-8",
            " text/html ;charset=x",
            "application/json",
            "application/ld+json",
            "application/vnd.google-apps.script+json",
            "application/xml",
            "application/xhtml+xml",
            "image/svg+xml",
            "application/javascript",
            "application/x-yaml",
            "application/openapi+yaml",
            "application/csv",
        ] {
            assert!(is_text(text), "{text}");
        }
    }

    #[test]
    fn types_that_are_not_text_are_not_compressed() {
        for other in [
            "",
            "text",
            "json",
            "application/octet-stream",
            "application/pdf",
            "application/zip",
            "application/gzip",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "application/epub+zip",
            "application/vnd.google-apps.document",
            "image/png",
            "image/json",
            "audio/mpeg",
            "video/mp4",
            "application/jsonx",
            "application/+",
            "/+json/",
        ] {
            assert!(!is_text(other), "{other}");
        }
    }

    #[test]
    fn four_fifths_are_worth_it() {
        for (size, most) in [(0, 0), (1, 0), (2, 1), (5, 4), (9, 7), (1_000, 800)] {
            assert_eq!(compressed_bytes_max(size), most, "{size}");
        }
    }

    proptest! {
        #[test]
        fn four_fifths_of_any_size_are_four_fifths(size_bytes: u64) {
            let exact = u128::from(size_bytes) * 4 / 5;
            prop_assert_eq!(u128::from(compressed_bytes_max(size_bytes)), exact);
        }
    }
}
