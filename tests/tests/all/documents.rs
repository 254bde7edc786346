//! The documents: every link leads somewhere, and the first page stays short.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::{sources, top};

/// Returns all Markdown files of the workspace.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![top()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                let is_source = !name.starts_with('.') && name != "target";
                folders.extend(is_source.then_some(path));
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Returns the lines outside code blocks.
fn prose(markdown: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            lines.push(line);
        }
    }
    lines
}

/// Returns the anchors of the headings, as GitHub makes them.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let headings = prose(markdown).into_iter().filter_map(|line| {
        line.trim_start_matches('#')
            .strip_prefix(' ')
            .filter(|_| line.starts_with('#'))
    });
    let anchor = |heading: &str| {
        let kept = heading.trim().chars().filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
            _ => None,
        });
        kept.collect()
    };
    headings.map(anchor).collect()
}

/// Returns the targets of the links of a document, those of the web left out.
fn links(markdown: &str) -> Vec<String> {
    let text = prose(markdown).join("\n");
    let targets = text.split("](").skip(1);
    let targets = targets.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    let is_web = |target: &&str| target.contains("://") || target.starts_with("mailto:");
    let targets = targets.filter(|target| !is_web(target));
    targets.map(str::to_owned).collect()
}

/// Returns the broken links of a document.
fn broken(document: &Path, markdown: &str) -> Vec<String> {
    let mut broken = Vec::new();
    for link in links(markdown) {
        let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
        let target = match path {
            "" => document.to_owned(),
            path => document.parent().unwrap().join(path),
        };
        let page = if target.is_dir() {
            target.join("README.md")
        } else {
            target.clone()
        };
        let is_found = target.exists()
            && (anchor.is_empty()
                || std::fs::read_to_string(page).is_ok_and(|page| anchors(&page).contains(anchor)));
        if !is_found {
            broken.push(link);
        }
    }
    broken
}

#[test]
fn every_link_of_the_documents_leads_to_a_file_and_its_heading() {
    let documents = documents();
    assert!(documents.len() > 10, "{documents:?}");
    for document in documents {
        let markdown = std::fs::read_to_string(&document).unwrap();
        let broken = broken(&document, &markdown);
        assert!(broken.is_empty(), "{}: {broken:?}", document.display());
    }
}

#[test]
fn a_broken_link_is_found() {
    let readme = top().join("README.md");
    let markdown = "# One `two`, three\n[a](#one-two-three) [b](tests#no-such-heading)\n\
        [c](no/such/file) [d](LICENSE) [e](https://example.com/x)\n```\n[f](nor/this)\n```\n";
    let anchors = anchors(markdown);
    assert!(anchors.contains("one-two-three"), "{anchors:?}");
    let text = markdown.replace("(#one-two-three)", "(LICENSE)");
    let broken = broken(&readme, &text);
    assert_eq!(broken, ["tests#no-such-heading", "no/such/file"]);
}

#[test]
fn the_first_page_is_short() {
    let readme = std::fs::read_to_string(top().join("README.md")).unwrap();
    assert!(readme.lines().count() <= 200, "{}", readme.lines().count());
    assert!(readme.len() <= 20_000, "{} bytes", readme.len());
}

/// Returns the code spans of a document, those in tables included.
fn code_spans(markdown: &str) -> Vec<String> {
    let lines = prose(markdown);
    let spans = lines
        .iter()
        .flat_map(|line| line.split('`').skip(1).step_by(2));
    spans.map(str::to_owned).collect()
}

#[test]
fn every_path_that_a_document_names_exists() {
    let roots = [
        "functions/",
        "shared/",
        "infra/",
        "tests/",
        "events/",
        ".ci/",
    ];
    for document in documents() {
        let markdown = std::fs::read_to_string(&document).unwrap();
        for span in code_spans(&markdown) {
            let is_path = roots.iter().any(|root| span.starts_with(root))
                && !span.contains(|c: char| c.is_whitespace() || c == '*');
            let folder = document.parent().unwrap();
            let exists = top().join(&span).exists() || folder.join(&span).exists();
            assert!(!is_path || exists, "{}: {span}", document.display());
        }
    }
}

#[test]
fn every_guarantee_of_the_first_page_names_tests_that_exist() {
    let readme = std::fs::read_to_string(top().join("README.md")).unwrap();
    let folder = top().join("tests/tests/all");
    let tests: Vec<String> = sources(&folder)
        .iter()
        .map(|file| {
            let module = file.strip_prefix(&folder).unwrap().display().to_string();
            module + "\n" + &std::fs::read_to_string(file).unwrap()
        })
        .collect();
    let spans = code_spans(&readme);
    let filters = spans
        .iter()
        .filter_map(|span| span.strip_prefix("cargo test -p tests "));
    let mut count = 0;
    for filter in filters {
        let names = |test: &String| {
            let (module, text) = test.split_once('\n').unwrap();
            let has_tests = text.contains("#[test]");
            let mut functions = text.lines().filter(|line| line.starts_with("fn "));
            has_tests && (module.contains(filter) || functions.any(|line| line.contains(filter)))
        };
        assert!(tests.iter().any(names), "no test is named {filter}");
        count += 1;
    }
    assert!(count >= 8, "{count}");
}

#[test]
fn every_row_of_what_is_kept_names_a_test_or_a_check_that_exists() {
    let readme = std::fs::read_to_string(top().join("infra/README.md")).unwrap();
    let (_, section) = readme
        .split_once("## What is kept, and for how long")
        .unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows: Vec<&str> = section
        .lines()
        .filter(|line| line.starts_with("| "))
        .collect();
    assert!(rows.len() > 10, "{rows:?}");
    let rules = ["rules.py", "recovery.py"].map(|name| top().join(".ci/template").join(name));
    let rules = rules.into_iter().map(std::fs::read_to_string);
    let mut texts: Vec<String> = rules.map(Result::unwrap).collect();
    for folder in ["shared", "functions", "tests"] {
        let files = sources(&top().join(folder)).into_iter();
        texts.extend(files.map(|file| std::fs::read_to_string(file).unwrap()));
    }
    for row in rows.into_iter().skip(1) {
        let holders = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<&str> = holders.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            let is_held = |text: &String| {
                ["fn ", "def "]
                    .iter()
                    .any(|word| text.contains(&format!("{word}{name}(")))
            };
            assert!(texts.iter().any(is_held), "{name}");
        }
    }
}
