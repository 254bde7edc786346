//! Content that Drive does not provide, although the file exists and its metadata is current.

use crate::DriveError;

/// The reason why the content of a file is unavailable. Sources: the Drive guides "Resolve errors"
/// and "Download and export files"; `exportSizeLimitExceeded` and `cannotExportFile` are reported
/// by clients and undocumented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unavailable {
    /// The export exceeds 10 MB. The long-running `files.download` has no such limit.
    TooLarge,
    /// The type can't be exported. Its own bytes or `files.download` must be used.
    NotExportable,
    /// The file has no bytes of its own, or its owner has disabled downloads.
    NotDownloadable,
    /// The user may not export it.
    Forbidden,
    /// Classified as malware or spam: only the owner may acknowledge that and download it.
    Abusive,
}

impl DriveError {
    /// Returns the reason why the content is unavailable, if that is the meaning of the error (a
    /// 403). A retry is useless; otherwise the file is fine.
    #[must_use]
    pub fn content_unavailable(&self) -> Option<Unavailable> {
        if self.status() != Some(403) {
            return None;
        }
        match self.reason()? {
            "exportSizeLimitExceeded" => Some(Unavailable::TooLarge),
            "fileNotExportable" => Some(Unavailable::NotExportable),
            "fileNotDownloadable" => Some(Unavailable::NotDownloadable),
            "cannotExportFile" => Some(Unavailable::Forbidden),
            "cannotDownloadAbusiveFile" => Some(Unavailable::Abusive),
            _ => None,
        }
    }
}
