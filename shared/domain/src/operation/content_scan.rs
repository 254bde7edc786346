//! A content scan: the content of every file of a connection is woken. After content is turned on,
//! or the connection was not active for a while, nothing else reports what was there before.

use super::{ConnectionFacts, End, Operation, Run, Work};
use crate::Timestamp;

/// A scan of all file records of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContentScan {
    /// Its state.
    pub state: ScanState,
    /// The number of scanned pages of records.
    pub pages: u32,
    /// The number of files whose content was woken.
    pub woken: u64,
    /// The time of the last page, or of the start; `None` until it starts.
    pub progressed_at: Option<Timestamp>,
}

/// The state of a content scan.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ScanState {
    /// It has not started: it will process every file in its state at that time.
    Pending,
    /// It is in progress, and may already have passed a file.
    Scanning {
        /// The position reached; `None` at the beginning.
        position: Option<String>,
    },
    /// It has ended.
    Ended(End),
}

impl Run {
    /// Creates a content scan.
    #[must_use]
    pub fn content_scan() -> Self {
        Self::ContentScan(ContentScan {
            state: ScanState::Pending,
            pages: 0,
            woken: 0,
            progressed_at: None,
        })
    }
}

impl ContentScan {
    pub(super) fn end(&self) -> Option<&End> {
        match &self.state {
            ScanState::Ended(end) => Some(end),
            ScanState::Pending | ScanState::Scanning { .. } => None,
        }
    }
}

impl Operation {
    pub(super) fn scan_work(
        &self,
        scan: &ContentScan,
        facts: &ConnectionFacts,
        now: Timestamp,
    ) -> Work {
        if !facts.active {
            return self.inactive(now);
        }
        if !facts.mirrors_content {
            let reason = "content mirroring is disabled for the connection";
            return Work::Advance(Box::new(self.failed(reason, now)));
        }
        match &scan.state {
            // Recorded before anything is woken: a caller that needs every file scanned schedules
            // another from now on.
            ScanState::Pending => {
                let begun = ContentScan {
                    state: ScanState::Scanning { position: None },
                    progressed_at: Some(now),
                    ..scan.clone()
                };
                Work::Advance(Box::new(self.moved(Run::ContentScan(begun), 0, now)))
            }
            ScanState::Scanning { position } => Work::ScanContent(position.clone()),
            ScanState::Ended(_) => Work::Nothing,
        }
    }

    /// Returns whether it is a content scan that has not started: another one need not be
    /// scheduled.
    #[must_use]
    pub fn is_pending_scan(&self) -> bool {
        matches!(&self.run, Run::ContentScan(scan) if scan.state == ScanState::Pending)
    }

    /// Records that this many more files were woken; without a `next` position the scan is
    /// complete. The wakes are sent before this is recorded, so a scan that is cut off sends those
    /// of one page again.
    #[must_use]
    pub fn on_scanned(&self, woken: u64, next: Option<String>, now: Timestamp) -> Self {
        let Run::ContentScan(scan) = &self.run else {
            return self.clone();
        };
        let ScanState::Scanning { .. } = scan.state else {
            return self.clone();
        };
        let scan = ContentScan {
            state: match next {
                None => ScanState::Ended(End::Done),
                position => ScanState::Scanning { position },
            },
            pages: scan.pages + 1,
            woken: scan.woken + woken,
            progressed_at: Some(now),
        };
        self.moved(Run::ContentScan(scan), 0, now)
    }
}
