//! The words of the sentences.

use crate::operation::StopReason;
use crate::rate_limit::WriteKind;
use crate::{Field, Rule, Skipped, Timestamp};

/// The sentence of what needs no other one.
pub(super) const IN_STEP: &str = "It is in step with Drive.";

/// The longest foreign text in a sentence, in characters.
const QUOTED_CHARS_MAX: usize = 120;

/// Returns a text that is not ours in quotes, so that it can't be taken for a part of the sentence.
/// What can't be seen in it is escaped.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// Returns a point in time to the second, in UTC.
pub(super) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    let (day, time) = text.split_once('T').unwrap_or((&text, ""));
    format!("{day} {} UTC", time.get(..8).unwrap_or(time))
}

/// Returns ` since ...`, or nothing if the time is not known.
pub(super) fn since(at: Option<Timestamp>) -> String {
    at.map_or_else(String::new, |at| format!(" since {}", moment(at)))
}

/// Returns how long it is until a time: `now`, `in 40 s`, `in 5 min`.
pub(super) fn wait(until: Timestamp, now: Timestamp) -> String {
    let seconds = until.millis_since(now).saturating_add(999) / 1_000;
    match seconds {
        ..=0 => "now".to_owned(),
        1..120 => format!("in {seconds} s"),
        120..7_200 => format!("in {} min", seconds / 60),
        7_200..172_800 => format!("in {} h", seconds / 3_600),
        172_800.. => format!("in {} days", seconds / 86_400),
    }
}

/// Returns `, next try in ...`, or nothing if there is none.
pub(super) fn next_try(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(String::new, |at| format!("; next try {}", wait(at, now)))
}

/// Returns how often: `once`, `3 times`.
pub(super) fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

/// Returns a number of things: `1 file`, `3 files`.
pub(super) fn number_of(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Returns a field in words.
pub(super) fn field(field: &Field) -> String {
    match field {
        Field::Existence => "whether the file exists".to_owned(),
        Field::Name => "the name".to_owned(),
        Field::Description => "the description".to_owned(),
        Field::Starred => "the star".to_owned(),
        Field::Trashed => "whether it is in the trash".to_owned(),
        Field::Parent => "the folder".to_owned(),
        Field::Content => "the content".to_owned(),
        Field::Property(key) => format!("the property {}", quoted(key)),
        Field::Permission(principal) => format!("the role of {}", quoted(principal)),
    }
}

/// Returns the first two of the fields in words, and the number of the others.
pub(super) fn fields(all: &[&Field]) -> String {
    let named: Vec<String> = all.iter().take(2).map(|one| field(one)).collect();
    match (named.as_slice(), all.len()) {
        ([one, two], 3..) => format!("{one}, {two} and {} more", all.len() - 2),
        (named, _) => named.join(" and "),
    }
}

/// Returns the sentence with a capital letter at its beginning.
pub(super) fn capital(sentence: &str) -> String {
    let mut chars = sentence.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + chars.as_str()
}

/// Returns a rule in words.
pub(super) fn rule(rule: &Rule) -> String {
    match rule {
        Rule::Folder(id) => format!("folder {}", quoted(id.as_str())),
        Rule::MimeType(pattern) => format!("mime_type {}", quoted(pattern.as_str())),
        Rule::Name(glob) => format!("name {}", quoted(glob.as_str())),
    }
}

/// Returns why content is left in Drive.
pub(super) const fn left_out(skipped: Skipped) -> &'static str {
    match skipped {
        Skipped::Size => "Its content stays in Drive: it is larger than the connection's limit.",
        Skipped::Type => "Its content stays in Drive: the connection leaves out its type.",
        Skipped::Format => {
            "Its content stays in Drive: the connection has no export format for its type."
        }
        Skipped::NoChecksum => {
            "Its content stays in Drive: Drive states nothing that identifies it."
        }
    }
}

/// Returns what stopped the reading of changes, as a word and in words.
pub(super) const fn stop(reason: StopReason) -> (&'static str, &'static str) {
    match reason {
        StopReason::TokenRepeats => ("token_repeats", "Drive's pages repeat"),
        StopReason::EntriesRepeat => ("entries_repeat", "Drive's pages repeat"),
        StopReason::EmptyPages => ("empty_pages", "Drive returns only empty pages"),
        StopReason::TooManyPages => ("too_many_pages", "Drive's pages do not end"),
        StopReason::TokenRefused => ("token_refused", "Drive refuses its own page token"),
        StopReason::Incomplete => ("incomplete", "Drive says that its list is incomplete"),
    }
}

/// The kind of the write that a field needs.
pub(super) const fn write_of(field: &Field) -> WriteKind {
    match field {
        Field::Content => WriteKind::Upload,
        Field::Permission(_) => WriteKind::Share,
        Field::Existence
        | Field::Name
        | Field::Description
        | Field::Starred
        | Field::Trashed
        | Field::Parent
        | Field::Property(_) => WriteKind::Edit,
    }
}

/// Returns what a reason of a suspension means, and what ends it.
///
/// The words are those of Google's token endpoint (RFC 6749, 5.2), of Drive, of Secrets Manager,
/// and this system's own.
pub(super) fn remedy(reason: &str) -> (&'static str, &'static str) {
    match reason {
        "another_account" => (
            "the credentials are those of another Google account",
            "Put the credentials of the account that it has synced so far into the secret, or \
             continue with the other account: PATCH the connection with \
             {\"replace_account\": true}.",
        ),
        "subject_not_allowed" | "drive_not_allowed" | "whole_drive_not_allowed" => (
            "its secret does not allow this user or drive",
            "Add the user or the drive to the lists in the secret, or change the connection's \
             subject; then POST .../resume.",
        ),
        "credentialsUnusable"
        | "ResourceNotFoundException"
        | "InvalidRequestException"
        | "InvalidParameterException"
        | "DecryptionFailure"
        | "AccessDeniedException" => (
            "the secret with its credentials can't be read or used",
            "Put valid credentials into the secret, under the name that the connection has; then \
             POST .../resume.",
        ),
        "accessNotConfigured" => (
            "the Drive API is not enabled in the project of its credentials",
            "Enable the Google Drive API in that Google Cloud project; then POST .../resume.",
        ),
        "insufficientPermissions"
        | "unauthorized_client"
        | "invalid_scope"
        | "access_denied"
        | "admin_policy_enforced" => (
            "Google does not allow its credentials this access to Drive",
            "Allow the client the scope https://www.googleapis.com/auth/drive in the Workspace's \
             admin console (domain-wide delegation); then POST .../resume.",
        ),
        "invalid_grant" | "invalid_client" | "deleted_client" | "disabled_client" | "authError" => {
            (
                "Google refuses its credentials: they were revoked, deleted or have expired",
                "Grant access again, or make a new key, and put it into the secret; then POST \
             .../resume.",
            )
        }
        _ => (
            "Drive refuses its calls",
            "Remove the cause that the reason names; then POST .../resume.",
        ),
    }
}
