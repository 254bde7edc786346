//! The structure of the workspace: its dependencies, folders, files and modules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{sources, top};

/// Returns the packages of the workspace, from cargo.
fn packages() -> BTreeMap<String, Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(top()).args([
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--offline",
    ]);
    let output = cargo.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().clone();
    packages
        .into_iter()
        .map(|package| (package["name"].as_str().unwrap().to_owned(), package))
        .collect()
}

/// Returns the folder of a package, relative to the top.
fn folder(package: &Value) -> PathBuf {
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    manifest
        .parent()
        .unwrap()
        .strip_prefix(top())
        .unwrap()
        .to_owned()
}

/// Returns the dependencies of a package, with or without those of its tests.
fn dependencies(package: &Value, with_tests: bool) -> BTreeSet<String> {
    let all = package["dependencies"].as_array().unwrap().iter();
    let wanted = all.filter(|dependency| with_tests || dependency["kind"] != "dev");
    wanted
        .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
        .collect()
}

fn in_folder(packages: &BTreeMap<String, Value>, name: &str) -> BTreeSet<String> {
    let mine = packages
        .iter()
        .filter(|(_, package)| folder(package).starts_with(name));
    mine.map(|(name, _)| name.clone()).collect()
}

#[test]
fn dependencies_point_one_way() {
    let packages = packages();
    let ours: BTreeSet<String> = packages.keys().cloned().collect();
    let functions = in_folder(&packages, "functions");
    let shared = in_folder(&packages, "shared");
    assert_eq!(
        shared,
        [
            "domain", "drive", "events", "objects", "runtime", "store", "throttle", "webhooks",
            "worker"
        ]
        .map(str::to_owned)
        .into()
    );
    for (name, package) in &packages {
        let needs: BTreeSet<String> = dependencies(package, false)
            .intersection(&ours)
            .cloned()
            .collect();
        let allowed: BTreeSet<String> = match name.as_str() {
            "domain" => BTreeSet::new(),
            "store" | "drive" | "events" | "objects" | "runtime" | "webhooks" => {
                ["domain".to_owned()].into()
            }
            // They join crates that do not know each other.
            "throttle" => ["domain", "drive", "runtime", "store"]
                .map(str::to_owned)
                .into(),
            "worker" => [
                "domain", "drive", "events", "objects", "runtime", "store", "throttle",
            ]
            .map(str::to_owned)
            .into(),
            name if functions.contains(name) => shared.clone(),
            "drive-simulator" | "sqs-fifo" | "sdk-in-process" | "unified-features" => {
                BTreeSet::new()
            }
            "local" | "tests" | "worker-testing" => ours.clone(),
            other => panic!("{other} is a package that this test does not know"),
        };
        assert!(
            needs.is_subset(&allowed),
            "{name} needs {:?}",
            needs.difference(&allowed)
        );
    }
}

#[test]
fn the_domain_depends_only_on_the_standard_library_and_on_values() {
    let packages = packages();
    assert_eq!(
        dependencies(&packages["domain"], false),
        ["icu_normalizer", "time"].map(str::to_owned).into()
    );
    for file in sources(&top().join("shared/domain/src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        for word in [
            "async fn",
            "SystemTime",
            "std::net",
            "std::fs",
            "tokio",
            "aws_",
        ] {
            let mut found = text.match_indices(word);
            let named = found.any(|(at, _)| !text[..at].ends_with(char::is_alphanumeric));
            assert!(!named, "{}: {word}", file.display());
        }
    }
}

#[test]
fn a_functions_folder_package_binary_and_deployment_have_one_name() {
    let packages = packages();
    let template = std::fs::read_to_string(top().join("template.yaml")).unwrap();
    for name in in_folder(&packages, "functions") {
        let package = &packages[&name];
        assert_eq!(folder(package), Path::new("functions").join(&name));
        let targets = package["targets"].as_array().unwrap();
        let binaries: Vec<&str> = targets
            .iter()
            .filter(|t| t["kind"][0] == "bin")
            .map(|t| t["name"].as_str().unwrap())
            .collect();
        assert_eq!(binaries, [name.as_str()]);
        assert!(
            template.contains(&format!("Binary: {name}")),
            "template.yaml does not build {name}"
        );
    }
}

#[test]
fn the_top_folder_contains_only_the_agreed_entries() {
    let agreed = [
        "Cargo.toml",
        "Cargo.lock",
        "functions",
        "shared",
        "infra",
        "template.yaml",
        "samconfig.toml",
        "events",
        "tests",
        "README.md",
        "LICENSE",
        "clippy.toml",
        "deny.toml",
        "rustfmt.toml",
    ];
    // Only files that git tracks: the results of builds and runs are ignored.
    let mut git = Command::new("git");
    git.current_dir(top()).args(["ls-files", "--cached"]);
    let Ok(output) = git.output() else { return };
    if !output.status.success() {
        // A copy of the sources without a checkout.
        return;
    }
    let files = String::from_utf8(output.stdout).unwrap();
    let found: BTreeSet<&str> = files
        .lines()
        .map(|file| file.split('/').next().unwrap())
        .collect();
    for name in found {
        assert!(
            name.starts_with('.') || agreed.contains(&name),
            "{name} at the top"
        );
    }
}

fn all_sources() -> Vec<PathBuf> {
    ["functions", "shared", "infra", "tests"]
        .iter()
        .flat_map(|folder| sources(&top().join(folder)))
        .collect()
}

#[test]
fn no_file_is_too_long() {
    const LINES_MAX: usize = 600;
    for file in all_sources() {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines", file.display());
    }
}

#[test]
fn no_test_is_disabled() {
    let off = ["#[", "ignore"].concat();
    for file in all_sources() {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&off), "{}", file.display());
    }
}

#[test]
fn every_command_of_the_readme_names_an_existing_file_or_package() {
    let packages = packages();
    let readme = std::fs::read_to_string(top().join("README.md")).unwrap();
    let mut inside = false;
    let mut seen = 0;
    for line in readme.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
            continue;
        }
        if !inside {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words
            .windows(2)
            .filter(|pair| pair[0] == "-p" && words[0] == "cargo")
        {
            assert!(packages.contains_key(pair[1]), "{line}");
            seen += 1;
        }
        for word in words
            .iter()
            .filter(|word| word.starts_with("events/") || word.starts_with(".ci/"))
        {
            assert!(top().join(word).exists(), "{line}");
        }
    }
    assert!(seen >= 2, "README has its commands in code blocks");
}

#[test]
fn every_listed_behaviour_of_drive_names_an_existing_test() {
    let listed = std::fs::read_to_string(top().join("shared/drive/README.md")).unwrap();
    let named: Vec<&str> = listed
        .split('`')
        .filter(|word| word.starts_with("pain_"))
        .collect();
    let mut tests = String::new();
    for file in sources(&top().join("tests/tests/all")) {
        tests.push_str(&std::fs::read_to_string(file).unwrap());
    }
    for number in 1..=20 {
        let pain = format!("pain_{number:02}");
        let mut own = named
            .iter()
            .filter(|name| name.starts_with(&pain))
            .peekable();
        assert!(own.peek().is_some(), "{pain} is not listed");
        for name in own {
            assert!(tests.contains(&format!("fn {name}(")), "{name} is no test");
        }
    }
    // The rows about content name tests of the client.
    let (_, content) = listed.split_once("| what happens to content |").unwrap();
    let (content, _) = content.split_once("\n## ").unwrap();
    let mut tests = String::new();
    for file in sources(&top().join("shared/drive/tests")) {
        tests.push_str(&std::fs::read_to_string(file).unwrap());
    }
    let named: Vec<&str> = content.split('`').skip(1).step_by(2).collect();
    assert!(named.len() > 10);
    for name in named {
        assert!(tests.contains(&format!("fn {name}(")), "{name} is no test");
    }
}

#[test]
fn every_listed_invariant_names_an_existing_test() {
    let listed = std::fs::read_to_string(top().join("tests/README.md")).unwrap();
    let mut all = sources(&top().join("tests"));
    for folder in ["shared", "functions"] {
        all.extend(sources(&top().join(folder)));
    }
    let all: Vec<String> = all
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    let (rows, out_of_reach) = listed.split_once("Out of reach").unwrap();
    for number in 1..=36 {
        let Some(row) = rows
            .lines()
            .find(|line| line.starts_with(&format!("| {number} |")))
        else {
            let words = || out_of_reach.split(|letter: char| !letter.is_ascii_digit());
            assert!(
                words().any(|word| word == number.to_string()),
                "{number} is not listed"
            );
            continue;
        };
        let mut named = row.split('`').skip(1).step_by(2).peekable();
        assert!(named.peek().is_some(), "{number} names no test");
        for name in named {
            let test = format!("fn {name}(");
            assert!(
                all.iter().any(|text| text.contains(&test)),
                "{name} is no test"
            );
        }
    }
}

/// Returns the lines of a source that are compiled outside tests.
fn without_tests(text: &str) -> String {
    let (code, _) = text
        .split_once("#[cfg(test)]\nmod tests")
        .unwrap_or((text, ""));
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the path of a module in its crate, `file::view` for `src/file/view.rs`; none for the
/// crate's root and for tests.
fn module(src: &Path, file: &Path) -> Option<String> {
    let path = file.strip_prefix(src).unwrap().with_extension("");
    let mut parts: Vec<&str> = path.iter().map(|part| part.to_str().unwrap()).collect();
    if parts.last() == Some(&"mod") {
        parts.pop();
    }
    let left_out = ["lib", "main", "tests"];
    let is_left_out = parts.is_empty() || parts.iter().any(|part| left_out.contains(part));
    (!is_left_out).then(|| parts.join("::"))
}

/// Returns the paths that a source names after `prefix`, as `crate::`: of `crate::a::{b, c::D}`,
/// these are `a::b` and `a::c::D`.
fn paths_after(text: &str, prefix: &str) -> Vec<String> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        if text[..at].ends_with(is_path) {
            continue;
        }
        let rest = &text[at + prefix.len()..];
        let path = rest.split(|c| !is_path(c)).next().unwrap();
        let behind = &rest[path.len()..];
        match behind.strip_prefix('{') {
            Some(group) => {
                let items = group_items(group).into_iter();
                found.extend(items.map(|item| format!("{path}{item}")));
            }
            None => found.push(path.to_owned()),
        }
    }
    found
}

/// Returns the paths of a `use` group up to its closing brace, with those of nested groups.
fn group_items(group: &str) -> Vec<String> {
    let (mut prefixes, mut items, mut item) = (vec![String::new()], Vec::new(), String::new());
    for c in group.chars() {
        let Some(prefix) = prefixes.last() else { break };
        match c {
            '{' => prefixes.push(format!("{prefix}{}", std::mem::take(&mut item))),
            ',' | '}' => {
                if !item.is_empty() {
                    items.push(format!("{prefix}{}", std::mem::take(&mut item)));
                }
                if c == '}' {
                    prefixes.pop();
                }
            }
            c if c.is_whitespace() => {}
            c => item.push(c),
        }
    }
    items
}

/// The modules of a crate, and the modules that each uses.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// Returns the submodule that a module has an item from, by a `use` of it.
fn origin(module: &str, item: &str, sources: &BTreeMap<String, String>) -> Option<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    sources[module].split(';').find_map(|statement| {
        let (_, used) = statement.rsplit_once("use ")?;
        let (child, items) = used.trim_start_matches("self::").split_once("::")?;
        let child = format!("{module}::{child}");
        let named = items.split(|c| !is_word(c)).any(|word| word == item);
        (named && sources.contains_key(&child)).then_some(child)
    })
}

/// Returns the uses between the modules of a crate, given by their paths and sources. A parent's
/// use of its submodules, and theirs of it, is not counted: together they are one module.
fn uses(sources: &BTreeMap<String, String>) -> Uses {
    // The longest path of a module that a path begins with, or where that has the next part from.
    let known = |path: &str| {
        let mut parts: Vec<&str> = path.split("::").collect();
        let mut item = "";
        while !parts.is_empty() {
            let joined = parts.join("::");
            if sources.contains_key(&joined) {
                return Some(origin(&joined, item, sources).unwrap_or(joined));
            }
            item = parts.pop().unwrap_or_default();
        }
        None
    };
    let mut all = Uses::new();
    for (name, text) in sources {
        let parent = name.rsplit_once("::").map_or("", |(parent, _)| parent);
        let relative = paths_after(text, "super::")
            .into_iter()
            .map(|path| match parent {
                "" => path,
                parent => format!("{parent}::{path}"),
            });
        let named = paths_after(text, "crate::").into_iter().chain(relative);
        let contains = |outer: &str, inner: &str| {
            inner == outer
                || inner
                    .strip_prefix(outer)
                    .is_some_and(|rest| rest.starts_with("::"))
        };
        let used = named
            .filter_map(|path| known(&path))
            .filter(|used| !contains(used, name) && !contains(name, used));
        all.insert(name.clone(), used.collect());
    }
    all
}

/// Returns a circle of modules that use each other, if there is one.
fn circle(uses: &Uses) -> Option<Vec<String>> {
    fn visit(name: &str, uses: &Uses, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
        if let Some(start) = way.iter().position(|visited| visited == name) {
            way.drain(..start);
            return true;
        }
        if done.contains(name) {
            return false;
        }
        way.push(name.to_owned());
        for used in uses.get(name).into_iter().flatten() {
            if visit(used, uses, way, done) {
                return true;
            }
        }
        way.pop();
        done.insert(name.to_owned());
        false
    }
    let mut done = BTreeSet::new();
    uses.keys().find_map(|name| {
        let mut way = Vec::new();
        visit(name, uses, &mut way, &mut done).then_some(way)
    })
}

#[test]
fn a_circle_of_modules_is_found() {
    let source = |(name, text): (&str, &str)| (name.to_owned(), text.to_owned());
    let straight = [
        (
            "files",
            "use crate::{error::ApiError, view::{FileView, Link}};",
        ),
        ("error", "fn of(text: &str) {}"),
        (
            "view",
            "mod link; pub(crate) use self::link::{Link, Target}; use super::error::ApiError;",
        ),
        (
            "view::link",
            "use super::Shown; use crate::error::ApiError;",
        ),
    ];
    let straight = BTreeMap::from(straight.map(source));
    assert_eq!(circle(&uses(&straight)), None);
    let mut closed = straight;
    closed.insert(
        "error".to_owned(),
        "fn of() -> crate::files::File {}".to_owned(),
    );
    let found = circle(&uses(&closed)).unwrap();
    let found = found.iter().map(String::as_str).collect::<BTreeSet<_>>();
    assert!(found.is_superset(&["error", "files"].into()), "{found:?}");
    closed.insert("error".to_owned(), String::new());
    closed.insert(
        "view::link".to_owned(),
        "use crate::files::File;".to_owned(),
    );
    let found = circle(&uses(&closed)).unwrap();
    assert_eq!(found, ["files", "view::link"]);
    let comment = without_tests("// See crate::files.\nfn of() {}\n#[cfg(test)]\nmod tests {}");
    assert_eq!(comment, "fn of() {}");
}

#[test]
fn no_function_has_a_circle_of_modules() {
    let mut crates = 0;
    for entry in std::fs::read_dir(top().join("functions")).unwrap() {
        let src = entry.unwrap().path().join("src");
        let read = |file: PathBuf| {
            let text = std::fs::read_to_string(&file).unwrap();
            Some((module(&src, &file)?, without_tests(&text)))
        };
        let modules: BTreeMap<_, _> = sources(&src).into_iter().filter_map(read).collect();
        let found = circle(&uses(&modules));
        assert!(found.is_none(), "{}: {found:?}", src.display());
        crates += 1;
    }
    assert!(crates >= 8, "{crates}");
}
