//! In which form bytes lie in the bucket, and when a smaller one is worth its while.

use super::ObjectKey;

/// How an object holds its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// As it is.
    None,
    /// Compressed with Zstandard.
    Zstd,
}

/// Where some content's bytes lie in the bucket, and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The object's key.
    pub key: ObjectKey,
    /// How the bytes are held there.
    pub encoding: Encoding,
    /// The bytes that it takes in the bucket.
    pub stored_bytes: u64,
}

impl Place {
    /// Of content that lies there as it is.
    #[must_use]
    pub const fn plain(key: ObjectKey, size_bytes: u64) -> Self {
        Self {
            key,
            encoding: Encoding::None,
            stored_bytes: size_bytes,
        }
    }
}

/// The most bytes that compressed content may have to be stored so: four fifths of its own, rounded down. What saves less
/// is not worth that everybody who reads it has to decompress it. Zero for content that can't be stored in less.
#[must_use]
pub const fn compressed_bytes_max(size_bytes: u64) -> u64 {
    // Four times a size of an `u64` may be none.
    size_bytes / 5 * 4 + size_bytes % 5 * 4 / 5
}

/// Text that has no type of `text/`, as the types of `application/` that programs and people give it.
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

/// Whether content of this MIME type is text, by the type alone: `text/*`, what is built on JSON, XML or YAML (RFC 6839's
/// `+json` and its like, so SVG too), and the types of `application/` that name a textual format. Documents of offices,
/// images, sound and archives are not: they are compressed already.
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
    fn texts_are_known_by_their_type() {
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
    fn what_is_no_text_or_compressed_already_is_left_alone() {
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
