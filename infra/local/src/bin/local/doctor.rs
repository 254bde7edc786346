//! `doctor`: says what is wrong with each connection of a running system, in one list, each with
//! the command that mends it.

use runtime::Clock;
use serde_json::{Value, json};

use crate::caller::{Caller, items, text};
use crate::cli::{Arguments, Failure, say};

/// The owed edits that the oldest is looked for among, the earliest due first.
const OWED_MAX: &str = "20";
/// The operations among which the last audit is looked for, newest first.
const OPERATIONS_MAX: &str = "100";

/// Something that is wrong.
struct Finding {
    /// Whether it does not end by itself.
    needs_person: bool,
    what: String,
    /// What mends it, or shows more of it.
    command: String,
}

/// Prints what is wrong, and returns whether nothing of it needs a person.
pub(crate) async fn doctor(arguments: &Arguments, stop_channels: bool) -> Result<bool, Failure> {
    let caller = Caller::new(arguments)?;
    let listed = caller.get("/v1/connections", &[]).await?;
    let mut well = true;
    for connection in items(&listed.unwrap_or_default(), "/items") {
        let examined = Examined {
            caller: &caller,
            at: format!("/v1/connections/{}", text(connection, "/id")),
        };
        if stop_channels {
            let path = format!("{}/stray-channels/stop", examined.at);
            caller.post(&path).await?;
        }
        let found = examined.findings().await?;
        well &= !found.iter().any(|finding| finding.needs_person);
        print(arguments, connection, &found);
    }
    Ok(well)
}

fn print(arguments: &Arguments, connection: &Value, found: &[Finding]) {
    let (id, name) = (text(connection, "/id"), text(connection, "/name"));
    if arguments.json {
        let findings = found.iter().map(|finding| {
            json!({
                "needs_person": finding.needs_person,
                "what": finding.what,
                "command": finding.command,
            })
        });
        let findings: Vec<Value> = findings.collect();
        say(&json!({"connection": id, "findings": findings}).to_string());
        return;
    }
    say(&format!("{name} ({id})"));
    if found.is_empty() {
        say("  nothing is wrong");
    }
    for finding in found {
        let mark = if finding.needs_person { "!" } else { "-" };
        say(&format!("  {mark} {}", finding.what));
        say(&format!("      {}", finding.command));
    }
}

/// A connection that is examined.
struct Examined<'a> {
    caller: &'a Caller<'a>,
    /// Its path in the API.
    at: String,
}

impl Examined<'_> {
    /// Returns what is wrong, what needs a person first.
    async fn findings(&self) -> Result<Vec<Finding>, Failure> {
        let mut found = self.reasons().await?;
        found.extend(self.stray_channels().await?);
        found.extend(self.expired_channels().await?);
        found.extend(self.oldest_owed().await?);
        found.extend(self.last_audit().await?);
        found.sort_by_key(|finding| !finding.needs_person);
        Ok(found)
    }

    async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
        let path = format!("{}{path}", self.at);
        Ok(self.caller.get(&path, query).await?.unwrap_or_default())
    }

    /// The command that posts to a path.
    fn post(&self, path: &str, body: &str) -> String {
        let arguments = self.caller.arguments();
        let body = match body {
            "" => String::new(),
            body => format!(" -H 'Content-Type: application/json' -d '{body}'"),
        };
        let (data_dir, addr) = (arguments.data_dir.display(), arguments.api_addr);
        let token = format!("$(local token --data-dir '{data_dir}')");
        format!("curl -X POST -H \"Authorization: Bearer {token}\"{body} 'http://{addr}{path}'")
    }

    /// The reasons why the connection is as it is that are troubles: it is suspended, files are in
    /// conflict, dead letters wait, Drive fails.
    async fn reasons(&self) -> Result<Vec<Finding>, Failure> {
        let why = self.get("/why", &[]).await?;
        let all = std::iter::once(&why).chain(items(&why, "/also"));
        let troubles = all.filter_map(|reason| {
            let needs_person = match text(reason, "/group") {
                "needs_person" => true,
                "waits" => false,
                _ => return None,
            };
            let name = text(reason, "/reason");
            // The oldest of what is owed is shown by itself, and a listing is no trouble.
            if matches!(name, "owed" | "listing") {
                return None;
            }
            let at = &self.at;
            let connection = at.rsplit('/').next().unwrap_or_default();
            let command = match name {
                "suspended" | "paused" => self.post(&format!("{at}/resume"), ""),
                "owed_held" => self.post(&format!("{at}/restore/confirm"), ""),
                "edit_refused" => self.post(&format!("{at}/intents/retry"), r#"{"all":true}"#),
                "parked" | "parked_for_now" => {
                    let body = format!(r#"{{"all":true,"connection":"{connection}"}}"#);
                    self.post("/v1/dead-letters/redrive", &body)
                }
                _ => format!("local why{}", self.options()),
            };
            Some(Finding {
                needs_person,
                what: text(reason, "/sentence").to_owned(),
                command,
            })
        });
        Ok(troubles.collect())
    }

    /// The options that a command of this program needs to find the same system.
    fn options(&self) -> String {
        let arguments = self.caller.arguments();
        let (data_dir, addr) = (arguments.data_dir.display(), arguments.api_addr);
        format!(" --data-dir '{data_dir}' --api-addr {addr}")
    }

    /// Channels that Drive notifies and nothing names.
    async fn stray_channels(&self) -> Result<Option<Finding>, Failure> {
        let strays = self.get("/stray-channels", &[]).await?;
        let count = items(&strays, "/items").count();
        let first = items(&strays, "/items").map(|stray| text(stray, "/stops_at"));
        Ok(first.min().map(|stops_at| Finding {
            needs_person: false,
            what: format!(
                "Drive notifies {count} channel(s) of this system that nothing names; the first \
                 is stopped at {stops_at}."
            ),
            command: format!("local doctor --stop-channels{}", self.options()),
        }))
    }

    /// Channels that a log still has although Drive has let them expire.
    async fn expired_channels(&self) -> Result<Vec<Finding>, Failure> {
        let status = self.get("/status", &[]).await?;
        let now = Clock::system().now().to_string();
        let expired = items(&status, "/logs").filter_map(|log| {
            let expired_at = text(log, "/channel/expires_at");
            let is_over = !expired_at.is_empty() && expired_at < now.as_str();
            is_over.then(|| Finding {
                needs_person: false,
                what: format!(
                    "The channel of the log {} expired at {expired_at}; until another is opened, \
                     changes are only polled.",
                    text(log, "/log")
                ),
                command: self.post(
                    &format!("{}/sync", self.at),
                    r#"{"mode":"audit","dry_run":false}"#,
                ),
            })
        });
        Ok(expired.collect())
    }

    /// The edit that has been owed for the longest time.
    async fn oldest_owed(&self) -> Result<Option<Finding>, Failure> {
        let query = [
            ("status", "owed".to_owned()),
            ("limit", OWED_MAX.to_owned()),
        ];
        let owed = self.get("/intents", &query).await?;
        let mut oldest: Option<(String, String, String)> = None;
        for file in items(&owed, "/items") {
            let id = text(file, "/id");
            let why = self.get(&format!("/files/{id}/why"), &[]).await?;
            let all = std::iter::once(&why).chain(items(&why, "/also"));
            let owed = all.filter(|reason| text(reason, "/group") != "note");
            let since = owed.map(|reason| (text(reason, "/since"), text(reason, "/sentence")));
            for (since, sentence) in since.filter(|(since, _)| !since.is_empty()) {
                let older = oldest
                    .as_ref()
                    .is_none_or(|(oldest, _, _)| since < oldest.as_str());
                if older {
                    oldest = Some((since.to_owned(), id.to_owned(), sentence.to_owned()));
                }
            }
        }
        Ok(oldest.map(|(since, id, sentence)| Finding {
            needs_person: false,
            what: format!("The oldest edit that Drive does not have is of {since}: {sentence}"),
            command: format!("local why {id}{}", self.options()),
        }))
    }

    /// What the last audit has found and not mended.
    async fn last_audit(&self) -> Result<Option<Finding>, Failure> {
        let query = [("limit", OPERATIONS_MAX.to_owned())];
        let operations = self.get("/operations", &query).await?;
        let is_done_audit = |operation: &&Value| {
            text(operation, "/kind") == "audit" && text(operation, "/state") == "done"
        };
        let Some(audit) = items(&operations, "/items").find(is_done_audit) else {
            return Ok(None);
        };
        let number = |value: &Value, pointer: &str| {
            let number = value.pointer(pointer).and_then(Value::as_u64);
            number.unwrap_or_default()
        };
        let dry_run = audit.pointer("/dry_run") == Some(&Value::Bool(true));
        let kinds = ["missing_here", "missing_there", "stale", "differing"];
        let drift = kinds.map(|kind| number(audit, &format!("/drift/{kind}")));
        let drift: u64 = if dry_run { drift.iter().sum() } else { 0 };
        let findings = audit.pointer("/findings").and_then(Value::as_object);
        let left: u64 = findings
            .into_iter()
            .flat_map(serde_json::Map::values)
            .map(|count| number(count, "/found").saturating_sub(number(count, "/repaired")))
            .sum();
        Ok((drift + left > 0).then(|| Finding {
            needs_person: true,
            what: format!(
                "The audit of {} left {drift} difference(s) from Drive and {left} \
                 inconsistency(ies) unrepaired.",
                text(audit, "/finished_at")
            ),
            command: self.post(
                &format!("{}/sync", self.at),
                r#"{"mode":"audit","dry_run":false}"#,
            ),
        }))
    }
}
