//! The shape of the workspace: what may depend on what, what may lie where.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::top;

/// The packages as cargo sees them.
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

/// The folder of a package below the top.
fn folder(package: &Value) -> PathBuf {
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    manifest
        .parent()
        .unwrap()
        .strip_prefix(top())
        .unwrap()
        .to_owned()
}

/// What a package needs to be built (`null`), or its tests as well.
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
        ["domain", "drive", "gate", "objects", "runtime", "store"]
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
            "store" | "drive" | "objects" | "runtime" => ["domain".to_owned()].into(),
            // Beneath the functions, above the rest: it joins what must not know each other.
            "gate" => ["domain", "drive", "runtime", "store"]
                .map(str::to_owned)
                .into(),
            name if functions.contains(name) => shared.clone(),
            "drive-simulator" => BTreeSet::new(),
            "local" | "tests" => ours.clone(),
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
fn the_domain_stands_on_the_standard_library() {
    let packages = packages();
    assert_eq!(
        dependencies(&packages["domain"], false),
        ["time".to_owned()].into()
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
            assert!(!text.contains(word), "{}: {word}", file.display());
        }
    }
}

#[test]
fn a_functions_folder_is_its_package_and_its_binary_and_the_one_that_the_deployment_names() {
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
fn the_top_holds_what_was_agreed_and_nothing_else() {
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
    // What git knows: what a build or a run leaves behind is ignored.
    let mut git = Command::new("git");
    git.current_dir(top()).args(["ls-files", "--cached"]);
    let Ok(output) = git.output() else { return };
    if !output.status.success() {
        // Not a checkout: a copy of the sources has nothing to hide.
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

/// The Rust sources below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                found.push(path);
            }
        }
    }
    found
}

fn all_sources() -> Vec<PathBuf> {
    ["functions", "shared", "infra", "tests"]
        .iter()
        .flat_map(|folder| sources(&top().join(folder)))
        .collect()
}

#[test]
fn no_file_is_too_long_to_hold_in_ones_head() {
    const LINES_MAX: usize = 600;
    for file in all_sources() {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        assert!(
            lines <= LINES_MAX,
            "{} has {lines} lines: it is two things",
            file.display()
        );
    }
}

#[test]
fn no_test_is_switched_off_and_none_waits_by_sleeping_blindly() {
    let off = ["#[", "ignore"].concat();
    for file in all_sources() {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&off), "{}", file.display());
    }
}

#[test]
fn every_command_of_the_readme_names_something_that_is_there() {
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
fn every_behaviour_of_drive_that_is_listed_names_a_test_that_is_there() {
    let listed = std::fs::read_to_string(top().join("shared/drive/README.md")).unwrap();
    let named: Vec<&str> = listed
        .split('`')
        .filter(|word| word.starts_with("pain_"))
        .collect();
    for number in 1..=20 {
        let pain = format!("pain_{number:02}");
        let file = top().join(format!("tests/tests/all/pains/{pain}.rs"));
        let tests = std::fs::read_to_string(file).unwrap();
        let mut own = named
            .iter()
            .filter(|name| name.starts_with(&pain))
            .peekable();
        assert!(own.peek().is_some(), "{pain} is not listed");
        for name in own {
            assert!(tests.contains(&format!("fn {name}(")), "{name} is no test");
        }
    }
    // What happens to content is shown by the client's own tests.
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
fn every_invariant_that_is_listed_names_a_test_that_is_there() {
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
