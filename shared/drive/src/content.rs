//! Content that Drive does not give: the file is there, its metadata stays current, its bytes can't be had this way.

use crate::DriveError;

/// Why the content of a file can't be had. Sources: the Drive guides "Resolve errors" and "Download and export files";
/// `exportSizeLimitExceeded` and `cannotExportFile` are reported by clients and in no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unavailable {
    /// Longer than the 10 MB that an export may have. The long-running `files.download` has no such limit.
    TooLarge,
    /// Not of a type that can be exported: its own bytes, or `files.download`, are the way.
    NotExportable,
    /// It has no bytes of its own, or its owner has closed the download.
    NotDownloadable,
    /// This user may not export it.
    Forbidden,
    /// Found to be malware or spam: only its owner may acknowledge that and download it.
    Abusive,
}

impl DriveError {
    /// Why the file's content can't be had, where that is what a refusal (403) says. Asking again is no use, and the
    /// file is otherwise as good as any.
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
