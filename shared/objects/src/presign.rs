//! Presigned URLs, which others may use for a limited time without credentials.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use domain::content::{ObjectKey, UploadId};

use crate::{Objects, ObjectsError, PartPlan};

/// The longest validity of a URL: a week, S3's limit. A URL that is signed with a role's
/// credentials expires with them.
pub const SECONDS_MAX: u32 = 7 * 86_400;

/// The longest file name in a header, in characters. Longer names are truncated.
const NAME_CHARS_MAX: usize = 200;

/// A presigned URL. It grants access to anyone, so it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUrl(String);

impl SignedUrl {
    pub(crate) const fn new(url: String) -> Self {
        Self(url)
    }

    /// Returns the URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedUrl(..)")
    }
}

/// A presigned URL for the PUT of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresignedPart {
    /// The number, from 1.
    pub number: u32,
    /// The URL.
    pub url: SignedUrl,
    /// The required size: the signature covers the header `content-length`.
    pub size_bytes: u64,
}

fn valid_for(seconds: u32) -> Result<PresigningConfig, ObjectsError> {
    let seconds = seconds.clamp(1, SECONDS_MAX);
    PresigningConfig::expires_in(Duration::from_secs(u64::from(seconds)))
        .map_err(ObjectsError::refused)
}

impl Objects {
    /// Presigns the download of an object with a file name and a MIME type, valid for `seconds` (up
    /// to a week). The content is always downloaded, never displayed inline: active content of a
    /// file must not run under our origin.
    ///
    /// # Errors
    /// [`ObjectsError`] if there are no credentials for signing.
    pub async fn presign_get(
        &self,
        key: &ObjectKey,
        file_name: &str,
        mime_type: &str,
        seconds: u32,
    ) -> Result<SignedUrl, ObjectsError> {
        let call = self.signer.get_object().bucket(&self.bucket);
        let signed = call
            .key(key.as_str())
            .response_content_disposition(content_disposition(file_name))
            .response_content_type(header_text(mime_type))
            .presigned(valid_for(seconds)?)
            .await?;
        Ok(SignedUrl(signed.uri().to_owned()))
    }

    /// Presigns the PUT of parts of a plan, valid for `seconds` (up to a week). Numbers without a
    /// part are left out. The upload was created by [`Objects::create_presigned_upload`].
    ///
    /// # Errors
    /// As [`Objects::presign_get`].
    pub async fn presign_parts(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        plan: PartPlan,
        numbers: impl IntoIterator<Item = u32>,
        seconds: u32,
    ) -> Result<Vec<PresignedPart>, ObjectsError> {
        let mut parts = Vec::new();
        for number in numbers {
            let Some(range) = plan.range(number) else {
                continue;
            };
            let size_bytes = range.end - range.start;
            let call = self.signer.upload_part().bucket(&self.bucket);
            let signed = call
                .key(key.as_str())
                .upload_id(upload.as_str())
                .set_part_number(i32::try_from(number).ok())
                .set_content_length(i64::try_from(size_bytes).ok())
                .presigned(valid_for(seconds)?)
                .await?;
            parts.push(PresignedPart {
                number,
                url: SignedUrl(signed.uri().to_owned()),
                size_bytes,
            });
        }
        Ok(parts)
    }
}

/// Reduces a text to the characters that are valid in a header: printable ASCII.
pub(crate) fn header_text(text: &str) -> String {
    let printable = |letter: &char| letter.is_ascii_graphic() || *letter == ' ';
    text.chars().filter(printable).collect()
}

/// Returns the header `Content-Disposition` for a download with this file name, by RFC 6266: a
/// plain form, in which non-ASCII characters and those that could end the quotes are `_`, and the
/// full name in the extended form of RFC 8187. Slashes and control characters are replaced in both.
/// A name of dots is replaced by `download`.
#[must_use]
pub fn content_disposition(file_name: &str) -> String {
    let unsafe_in_names = |letter: char| letter.is_control() || matches!(letter, '/' | '\\');
    let name: String = file_name
        .chars()
        .take(NAME_CHARS_MAX)
        .map(|letter| if unsafe_in_names(letter) { '_' } else { letter })
        .collect();
    let name = match name.trim() {
        trimmed if trimmed.chars().all(|letter| letter == '.') => "download",
        trimmed => trimmed,
    };
    let plain = |letter: char| match letter {
        '"' | '%' | ';' => '_',
        ' '..='~' => letter,
        _ => '_',
    };
    let mut header = String::from("attachment; filename=\"");
    header.extend(name.chars().map(plain));
    header.push_str("\"; filename*=UTF-8''");
    for byte in name.bytes() {
        // The attr-char of RFC 8187, without those that some clients don't support.
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            header.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _infallible = write!(header, "%{byte:02X}");
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_name_is_encoded_in_both_forms() {
        let header = |name| content_disposition(name);
        assert_eq!(
            header("Report 2026.pdf"),
            "attachment; filename=\"Report 2026.pdf\"; filename*=UTF-8''Report%202026.pdf"
        );
        assert_eq!(
            header("Menü \"a\"; b.txt"),
            "attachment; filename=\"Men_ _a__ b.txt\"; \
             filename*=UTF-8''Men%C3%BC%20%22a%22%3B%20b.txt"
        );
        assert_eq!(
            header("../etc/passwd\r\nX: y"),
            "attachment; filename=\".._etc_passwd__X: y\"; \
             filename*=UTF-8''.._etc_passwd__X%3A%20y"
        );
        for empty in ["", " ", ".", ".."] {
            assert!(header(empty).contains("\"download\""), "{empty:?}");
        }
    }

    proptest! {
        #[test]
        fn no_name_breaks_out_of_the_header(name in ".*") {
            let header = content_disposition(&name);
            prop_assert!(header.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert_eq!(header.matches('"').count(), 2);
            prop_assert_eq!(header.matches(';').count(), 2);
        }
    }
}
