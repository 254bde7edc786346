//! URLs that somebody else may use for a while, without credentials of ours.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use domain::content::{ObjectKey, UploadId};

use crate::{Objects, ObjectsError, PartPlan};

/// The longest that a URL can be good for: a week, S3's limit. One signed with a role's credentials ends with these.
pub const SECONDS_MAX: u32 = 7 * 86_400;

/// The longest file name that is given to a browser, in characters: what is longer is cut.
const NAME_CHARS_MAX: usize = 200;

/// A URL that whoever has it can use: a secret, so it is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUrl(String);

impl SignedUrl {
    /// The URL.
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

/// Where one part is to be PUT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresignedPart {
    /// Its number, from 1.
    pub number: u32,
    /// Where.
    pub url: SignedUrl,
    /// How many bytes it must have: the signature covers the header `content-length`.
    pub size_bytes: u64,
}

fn lasting(seconds: u32) -> Result<PresigningConfig, ObjectsError> {
    let seconds = seconds.clamp(1, SECONDS_MAX);
    PresigningConfig::expires_in(Duration::from_secs(u64::from(seconds)))
        .map_err(ObjectsError::refused)
}

impl Objects {
    /// A URL that downloads an object for so many seconds (up to a week), under this file name and as this mime type, and
    /// is never shown in place: what a stranger put into a file must not run under our name.
    ///
    /// # Errors
    /// [`ObjectsError`], where there are no credentials to sign with.
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
            .presigned(lasting(seconds)?)
            .await?;
        Ok(SignedUrl(signed.uri().to_owned()))
    }

    /// URLs to which these parts of the plan can be PUT for so many seconds (up to a week). Numbers without a part are left
    /// out. The upload was begun with [`Objects::begin_presigned`].
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
                .presigned(lasting(seconds)?)
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

/// What a header can hold of a text: printable ASCII.
pub(crate) fn header_text(text: &str) -> String {
    let printable = |letter: &char| letter.is_ascii_graphic() || *letter == ' ';
    text.chars().filter(printable).collect()
}

/// The header `Content-Disposition` that saves a body under this name, as RFC 6266 says: a plain form, in which everything
/// that could end the quotes or is not ASCII is `_`, and the true name in the extended form of RFC 8187. Slashes and control
/// characters are replaced in both, and a name of dots is none.
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
        // RFC 8187's attr-char, without those that some readers stumble over.
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
    fn a_name_is_told_in_both_forms() {
        let told = |name| content_disposition(name);
        assert_eq!(
            told("Report 2026.pdf"),
            "attachment; filename=\"Report 2026.pdf\"; filename*=UTF-8''Report%202026.pdf"
        );
        assert_eq!(
            told("Menü \"a\"; b.txt"),
            "attachment; filename=\"Men_ _a__ b.txt\"; filename*=UTF-8''Men%C3%BC%20%22a%22%3B%20b.txt"
        );
        assert_eq!(
            told("../etc/passwd\r\nX: y"),
            "attachment; filename=\".._etc_passwd__X: y\"; filename*=UTF-8''.._etc_passwd__X%3A%20y"
        );
        for none in ["", " ", ".", ".."] {
            assert!(told(none).contains("\"download\""), "{none:?}");
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
