//! The words of the code: standard terms in plain English, in lines and names that can be read.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::{sources, top};

/// Phrases that say nothing, or that stand where the field has a term. `_` counts as a space, so
/// identifiers are held to them too.
const DENIED: [&str; 27] = [
    "as it were",
    "came to nothing",
    "come by",
    "comes by",
    "did not do it",
    "did not take it",
    "for want of",
    "go by",
    "goes by",
    "heed",
    "in vain",
    "is at it",
    "is is",
    "it is none",
    "is told",
    "let go",
    "let it go",
    "lets go",
    "look through",
    "made good",
    "of whom",
    "told apart",
    "told of",
    "untold",
    "what becomes of",
    "what is told",
    "whoever",
];

/// The longest name of a test that a terminal shows in one line.
const TEST_NAME_LENGTH_MAX: usize = 80;
/// The longest line, in characters. rustfmt holds the code to it, this test the comments and texts.
const LINE_LENGTH_MAX: usize = 100;
/// The most files of one name in the workspace: more of them can't be told apart in an editor.
const FILES_OF_ONE_NAME_MAX: usize = 3;
/// The most Rust files of one folder.
const FILES_OF_ONE_FOLDER_MAX: usize = 15;

/// Returns the Rust sources, this file left out: it names what it forbids.
fn all_sources() -> Vec<(String, String)> {
    let folders = ["functions", "shared", "infra", "tests"];
    let files = folders
        .iter()
        .flat_map(|folder| sources(&top().join(folder)));
    let shown = |file: &Path| file.strip_prefix(top()).unwrap().display().to_string();
    let read = files.map(|file| (shown(&file), std::fs::read_to_string(&file).unwrap()));
    read.filter(|(file, _)| !file.ends_with("wording.rs"))
        .collect()
}

/// Returns whether a line has a phrase, as whole words.
fn has_phrase(line: &str, phrase: &str) -> bool {
    // `Option::is_none` is not ours to name.
    let line = line.replace("is_none", "");
    let spaced = format!(" {} ", line.replace(|c: char| !c.is_alphanumeric(), " "));
    spaced.to_lowercase().contains(&format!(" {phrase} "))
}

#[test]
fn denied_phrases_are_found_in_comments_texts_and_identifiers() {
    for line in [
        "// It Goes by.",
        "\"it goes by\"",
        "fn a_wake_goes_by_unseen() {",
    ] {
        assert!(has_phrase(line, "goes by"), "{line}");
    }
    assert!(!has_phrase("// It goes bye.", "goes by"));
}

#[test]
fn no_source_has_a_denied_phrase() {
    let mut found = Vec::new();
    for (file, text) in all_sources() {
        for (number, line) in text.lines().enumerate() {
            if let Some(phrase) = DENIED.iter().find(|phrase| has_phrase(line, phrase)) {
                found.push(format!("{file}:{}: {phrase}", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The members that a log line has besides those that its statement names.
const MEMBERS_OF_EVERY_LINE: [&str; 5] = ["timestamp", "level", "message", "target", "span"];

/// Returns the members of a log statement's line that the line has twice. `statement` is what is
/// between its brackets.
fn repeated_members(statement: &str) -> Vec<&str> {
    let name = |part: &'_ str| {
        let part = part.trim().trim_start_matches(['%', '?']);
        let end = part.find(|c: char| !c.is_alphanumeric() && c != '_');
        let (name, rest) = part.split_at(end.unwrap_or(part.len()));
        let is_member = rest.is_empty() || rest.trim_start().starts_with("= ");
        MEMBERS_OF_EVERY_LINE
            .into_iter()
            .find(|member| is_member && *member == name)
    };
    statement.split(',').filter_map(name).collect()
}

#[test]
fn a_member_that_a_log_line_has_already_is_found() {
    for (statement, expected) in [
        ("message = letter.id, \"parked a message\"", vec!["message"]),
        ("%target, level = 3, \"done\"", vec!["target", "level"]),
        ("message_id = letter.id, \"parked a message\"", vec![]),
        ("reason = %letter.message, \"parked\"", vec![]),
    ] {
        assert_eq!(repeated_members(statement), expected, "{statement}");
    }
}

#[test]
fn no_log_line_has_a_member_twice() {
    let mut found = Vec::new();
    for (file, text) in all_sources() {
        for level in ["error", "warn", "info", "debug", "trace"] {
            for statement in text.split(&format!("tracing::{level}!(")).skip(1) {
                let statement = statement.split(");").next().unwrap_or_default();
                for member in repeated_members(statement) {
                    found.push(format!("{file}: {member}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_line_is_too_long() {
    let mut found = Vec::new();
    for (file, text) in all_sources() {
        for (number, line) in text.lines().enumerate() {
            // A text that can't be broken (a URL, a token, sample data) has no space to break it at.
            let breakable = line
                .trim()
                .chars()
                .take(LINE_LENGTH_MAX / 2)
                .any(|c| c == ' ');
            if line.chars().count() > LINE_LENGTH_MAX && breakable {
                found.push(format!("{file}:{}", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_test_name_is_too_long() {
    let mut found = Vec::new();
    for (file, text) in all_sources() {
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            let name = line
                .strip_prefix("async ")
                .unwrap_or(line)
                .strip_prefix("fn ");
            if let Some(name) = name
                .and_then(|rest| rest.split('(').next())
                .filter(|_| is_test)
                && name.len() > TEST_NAME_LENGTH_MAX
            {
                found.push(format!("{file}: {name} ({})", name.len()));
            }
            is_test = line.starts_with("#[") && (is_test || line.contains("test"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn files_have_names_of_their_own_and_folders_have_few() {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut folders: BTreeMap<String, usize> = BTreeMap::new();
    for (file, _) in all_sources() {
        let (folder, name) = file.rsplit_once('/').unwrap();
        *folders.entry(folder.to_owned()).or_default() += 1;
        if !["lib.rs", "main.rs", "mod.rs", "tests.rs"].contains(&name) {
            names.entry(name.to_owned()).or_default().push(file.clone());
        }
    }
    names.retain(|_, files| files.len() > FILES_OF_ONE_NAME_MAX);
    assert!(names.is_empty(), "{names:#?}");
    folders.retain(|_, files| *files > FILES_OF_ONE_FOLDER_MAX);
    assert!(folders.is_empty(), "{folders:#?}");
}
