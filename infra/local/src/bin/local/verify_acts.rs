//! `verify-acts`: verifies the chains of exported acts, and of pages of `GET /v1/audit`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use domain::TenantId;
use domain::content::ContentHash;
use domain::trail::{ActPlace, ChainBreak, ChainCheck};
use objects::ContentHasher;
use serde_json::{Map, Value};
use store::act_line;

use crate::cli::{Failure, one_line, say};

/// The most findings that are printed.
const PRINTED_MAX: usize = 20;

/// What the files contain, and where they do not hold.
#[derive(Debug, Default)]
struct Verified {
    acts: usize,
    findings: Vec<String>,
    chains: BTreeMap<TenantId, ChainCheck>,
    /// The hash of the last exported file of each tenant.
    last_files: BTreeMap<TenantId, ContentHash>,
}

/// Verifies files in their order (`-` is the standard input), prints the result, and returns
/// whether every act is as it was written, and none is missing between two of a chain.
pub(crate) fn verify_acts(files: &[PathBuf]) -> Result<bool, Failure> {
    let mut verified = Verified::default();
    for file in files {
        let text = read(file)?;
        verified.file(&file.display().to_string(), &text);
    }
    for finding in verified.findings.iter().take(PRINTED_MAX) {
        say(finding);
    }
    let (acts, wrong) = (verified.acts, verified.findings.len());
    let files = files.len();
    match wrong {
        0 => say(&format!("{acts} acts in {files} files: every chain holds")),
        _ => say(&format!("{acts} acts in {files} files: {wrong} findings")),
    }
    Ok(wrong == 0)
}

fn read(file: &Path) -> Result<String, Failure> {
    let failed = |error: &std::io::Error| format!("{}: {}", file.display(), one_line(error));
    if file == Path::new("-") {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        return read.map(|_| text).map_err(|error| failed(&error));
    }
    std::fs::read_to_string(file).map_err(|error| failed(&error))
}

impl Verified {
    fn file(&mut self, name: &str, text: &str) {
        let before = self.acts;
        let mut head = None;
        for (number, line) in text.lines().enumerate() {
            let at = format!("{name}:{}", number + 1);
            match serde_json::from_str(line) {
                Ok(Value::Object(members)) => {
                    if let Some(export) = members.get("export") {
                        head = Some(export.clone());
                        self.head(&at, export);
                    } else if let Some(Value::Array(items)) = members.get("items") {
                        for item in items {
                            self.act(&at, item.as_object().unwrap_or(&Map::new()));
                        }
                    } else {
                        self.act(&at, &members);
                    }
                }
                Ok(_) | Err(_) => self.findings.push(format!("{at}: not a JSON object")),
            }
        }
        let Some(head) = head else {
            return;
        };
        let found = self.acts - before;
        let wanted = head.get("acts").unwrap_or(&Value::Null);
        if *wanted != found {
            let finding = format!("{name}: {found} acts, and {wanted} were exported");
            self.findings.push(finding);
        }
        if let Some(tenant) = tenant(head.get("tenant")) {
            let hash = ContentHasher::sha256(text.as_bytes());
            self.last_files.insert(tenant, hash);
        }
    }

    /// Compares the hash that a file names with that of the tenant's file before it.
    fn head(&mut self, at: &str, export: &Value) {
        let Some(last) =
            tenant(export.get("tenant")).and_then(|tenant| self.last_files.get(&tenant))
        else {
            return;
        };
        let of_previous = |pointer| export.pointer(pointer).unwrap_or(&Value::Null);
        if *of_previous("/previous/sha256") != last.to_string() {
            let named = of_previous("/previous/name");
            let finding = format!("{at}: the file before it is not {named} as it was exported");
            self.findings.push(finding);
        }
    }

    fn act(&mut self, at: &str, members: &Map<String, Value>) {
        self.acts += 1;
        let link = match act_line::link(members) {
            Ok(link) => link,
            Err(error) => return self.findings.push(format!("{at}: {error}")),
        };
        let Some(tenant) = tenant(members.get("tenant")) else {
            return self.findings.push(format!("{at}: names no tenant"));
        };
        let breaks = self.chains.entry(tenant).or_default().take(&link);
        let breaks = breaks.into_iter().map(|found| explain(at, found));
        self.findings.extend(breaks);
    }
}

fn tenant(named: Option<&Value>) -> Option<TenantId> {
    TenantId::parse(named?.as_str()?).ok()
}

fn explain(at: &str, found: ChainBreak) -> String {
    let act = |place: ActPlace| format!("act {} of chain {}", place.number, place.chain);
    match found {
        ChainBreak::Altered(place) => format!("{at}: {} is not as it was written", act(place)),
        ChainBreak::Unlinked(place) => {
            format!(
                "{at}: {} follows another act than the one before it",
                act(place)
            )
        }
        ChainBreak::Missing { from, until } => {
            let last = until.saturating_sub(1);
            format!("{at}: {} to {last} are missing", act(from))
        }
        ChainBreak::Repeated(place) => format!("{at}: {} is there again", act(place)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Returns lines of acts in one chain.
    fn lines(numbers: std::ops::Range<u64>, mut previous: String) -> (Vec<String>, String) {
        let mut lines = Vec::new();
        for number in numbers {
            let act = json!({
                "tenant": "acme", "what": "update_file", "chain": 3, "number": number,
                "previous": previous,
            });
            let mut members = act.as_object().unwrap().clone();
            previous = act_line::hash_of(&act_line::hashed_text(&members)).to_string();
            members.insert("hash".to_owned(), previous.clone().into());
            lines.push(act_line::line(&Value::Object(members)));
        }
        (lines, previous)
    }

    fn file(acts: &[String], previous: Option<&str>) -> String {
        let previous = previous.map(|text| {
            let hash = ContentHasher::sha256(text.as_bytes()).to_string();
            json!({"name": "acme/audit/1.jsonl", "sha256": hash})
        });
        let head = json!({"tenant": "acme", "acts": acts.len(), "previous": previous});
        format!("{}\n{}\n", json!({ "export": head }), acts.join("\n"))
    }

    fn findings(files: &[String]) -> usize {
        let mut verified = Verified::default();
        for (number, text) in files.iter().enumerate() {
            verified.file(&number.to_string(), text);
        }
        verified.findings.len()
    }

    #[test]
    fn whole_files_hold_and_any_altered_line_is_found() {
        let (first, last) = lines(1..6, "0".repeat(64));
        let (second, _) = lines(6..9, last);
        let one = file(&first, None);
        let two = file(&second, Some(&one));
        assert_eq!(findings(&[one.clone(), two.clone()]), 0);
        assert_eq!(
            findings(std::slice::from_ref(&two)),
            0,
            "earlier ones may be elsewhere"
        );
        for number in 0..5 {
            let mut altered = first.clone();
            altered[number] = altered[number].replace("update_file", "list_files");
            assert!(
                findings(&[file(&altered, None), two.clone()]) >= 1,
                "{number}"
            );
            let mut shorter = first.clone();
            shorter.remove(number);
            assert!(
                findings(&[file(&shorter, None), two.clone()]) >= 1,
                "{number}"
            );
        }
        assert!(findings(&[two, one]) >= 1, "in another order");
        let cut = format!("{}\n", first[0]);
        assert_eq!(findings(&[cut.replace('}', "")]), 1);
    }

    #[test]
    fn pages_of_the_api_are_read_as_well() {
        let (acts, _) = lines(1..4, "0".repeat(64));
        let mut items: Vec<Value> = acts
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        items[0]["subject"] = json!("ann");
        let page = json!({"items": items, "next_cursor": null}).to_string();
        assert_eq!(findings(std::slice::from_ref(&page)), 0);
        assert_eq!(findings(&[page.replace("update_file", "x")]), 3);
    }
}
