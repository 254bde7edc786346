//! What Drive does wrong for a while: false refusals, foreign pages, listings that lie. None of it
//! may become a lasting verdict.

use fastrand::Rng;
use serde_json::{Value, json};

use crate::support::sim::Sim;

/// The time that a trouble lasts, in seconds. A false 404 lasts shorter than the ten minutes after
/// which three of them count.
const SECONDS: std::ops::RangeInclusive<u32> = 20..=400;
/// Where the calls for one file, or for the files, go.
const OF_FILES: &str = "/drive/v*/files*";

/// One kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Files that are there are 404, in Google's JSON.
    FalseNotFound,
    /// The same, as a page of HTML.
    ForeignNotFound,
    /// Answers are pages of HTML, with any status.
    ForeignPages,
    /// A page of a list names itself as the next one.
    RepeatedToken,
    /// Listings end early without a word, and the log has to be listed anew.
    ShortListing,
    /// The same, and Drive says that the search was incomplete.
    IncompleteListing,
    /// Every write is refused, for minutes.
    RefusedWrites,
    /// Writes are refused for a reason that nobody has heard of.
    UnknownReason,
    /// Current etags are refused.
    FalseConflict,
}

/// Every kind of trouble.
pub const ALL: [Trouble; 9] = [
    Trouble::FalseNotFound,
    Trouble::ForeignNotFound,
    Trouble::ForeignPages,
    Trouble::RepeatedToken,
    Trouble::ShortListing,
    Trouble::IncompleteListing,
    Trouble::RefusedWrites,
    Trouble::UnknownReason,
    Trouble::FalseConflict,
];

/// Draws a trouble and the seconds that it lasts. A short listing and a false 404 of the same file
/// agree, and are believed until the next comparison, so false 404s are played alone.
pub fn draw(rng: &mut Rng) -> (Trouble, u32) {
    let kind = match ALL[rng.usize(0..ALL.len())] {
        Trouble::FalseNotFound => Trouble::ForeignNotFound,
        other => other,
    };
    (kind, rng.u32(SECONDS))
}

impl Trouble {
    /// Begins the trouble, which ends by itself.
    pub async fn begin(self, sim: &Sim, seconds: u32) {
        for mut fault in self.faults() {
            fault["times"] = json!(0);
            fault["lasts_seconds"] = json!(seconds);
            sim.control("faults", &fault).await;
        }
        if let Some(mut pages) = self.pages() {
            pages["lasts_seconds"] = json!(seconds);
            sim.control("pages", &pages).await;
            // Only a log that is lost is listed anew.
            sim.simulator().invalidate_tokens(false, true);
        }
    }

    fn faults(self) -> Vec<Value> {
        let of = |method: &str| format!("{method} {OF_FILES}");
        match self {
            Self::FalseNotFound => ["GET", "PATCH"]
                .map(
                    |method| json!({"match": of(method), "share": 0.4, "respond": {"status": 404}}),
                )
                .into(),
            Self::ForeignNotFound => {
                let page = json!({"status": 404, "html": true});
                vec![json!({"match": "* /drive/*", "share": 0.4, "respond": page})]
            }
            Self::ForeignPages => [200, 403, 502]
                .into_iter()
                .flat_map(|status| {
                    let page = json!({"status": status, "html": true});
                    // A write follows a read, and is met less often.
                    [("PATCH /drive/*", 0.3), ("* /drive/*", 0.1)]
                        .map(|(of, share)| json!({"match": of, "share": share, "respond": page}))
                })
                .collect(),
            Self::RepeatedToken => ["GET /drive/v3/changes", "GET /drive/v3/files"]
                .map(|of| json!({"match": of, "repeat_token": 1}))
                .into(),
            Self::ShortListing | Self::IncompleteListing => Vec::new(),
            Self::RefusedWrites => {
                vec![json!({"match": of("PATCH"), "respond": {"status": 503}})]
            }
            Self::UnknownReason => {
                let reason = json!({"status": 403, "reason": "reasonOfTomorrow"});
                vec![json!({"match": of("PATCH"), "share": 0.7, "respond": reason})]
            }
            Self::FalseConflict => {
                let refused = json!({"status": 412});
                vec![json!({
                    "match": of("PATCH"), "share": 0.6, "with_header": "If-Match",
                    "respond": refused,
                })]
            }
        }
    }

    fn pages(self) -> Option<Value> {
        match self {
            Self::ShortListing => Some(json!({"search_ends_after": 1})),
            Self::IncompleteListing => Some(json!({
                "search_ends_after": 2, "incomplete_search": true,
            })),
            Self::FalseNotFound
            | Self::ForeignNotFound
            | Self::ForeignPages
            | Self::RepeatedToken
            | Self::RefusedWrites
            | Self::UnknownReason
            | Self::FalseConflict => None,
        }
    }
}
