//! `restore-plan`: prints the commands of `infra/restore.md`, for one stack and one time.

use clap::ValueEnum;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cli::{Failure, say};

/// The description, whose commands are printed.
const DESCRIPTION: &str = include_str!("../../../../restore.md");

/// What is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lost {
    /// Nothing yet: what is prepared.
    Before,
    /// The table.
    Table,
    /// Objects of the bucket.
    Bucket,
    /// The region.
    Region,
}

impl Lost {
    fn heading(self) -> &'static str {
        match self {
            Self::Before => "Before anything is lost",
            Self::Table => "The table",
            Self::Bucket => "The bucket",
            Self::Region => "The region",
        }
    }
}

/// Prints the commands.
pub(crate) fn restore_plan(
    what: Lost,
    stack: &str,
    to: &str,
    backup_region: Option<&str>,
) -> Result<(), Failure> {
    let is_name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if stack.is_empty() || !is_name(stack) {
        return Err(format!("{stack} is no name of a stack"));
    }
    if OffsetDateTime::parse(to, &Rfc3339).is_err() {
        return Err(format!("{to} is no time: write 2026-12-01T12:00:00Z"));
    }
    if backup_region.is_some_and(|region| !is_name(region)) {
        return Err("--backup-region is no name of a region".to_owned());
    }
    say(&format!("STACK={stack}"));
    say(&format!("TO={to}"));
    if let Some(region) = backup_region {
        say(&format!("BACKUP_REGION={region}"));
    }
    for block in commands(what) {
        say("");
        say(block);
    }
    Ok(())
}

/// Returns the blocks of commands of a section.
fn commands(what: Lost) -> impl Iterator<Item = &'static str> {
    let heading = what.heading();
    let sections = DESCRIPTION.split("\n## ");
    let section = sections
        .filter_map(|section| section.split_once('\n'))
        .find(|(title, _)| *title == heading);
    let text = section.map_or("", |(_, text)| text);
    let blocks = text.split("```sh\n").skip(1);
    blocks.filter_map(|block| Some(block.split_once("\n```")?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_description_is_in_one_plan() {
        let all = [Lost::Before, Lost::Table, Lost::Bucket, Lost::Region];
        let planned = all.into_iter().flat_map(commands);
        let planned: Vec<&str> = planned.collect();
        assert_eq!(planned.len(), DESCRIPTION.matches("```sh\n").count());
        for what in all {
            assert!(commands(what).next().is_some(), "{what:?}");
        }
        let table: Vec<&str> = commands(Lost::Table).collect();
        let table = table.join("\n");
        let restored = table.find("restore-table-to-point-in-time").unwrap();
        let streams = table.find("--stream-specification").unwrap();
        let used = table.find("UseTable=").unwrap();
        assert!(restored < streams && streams < used);
    }

    #[test]
    fn names_that_a_shell_would_read_otherwise_are_refused() {
        let time = "2026-12-01T12:00:00Z";
        assert!(restore_plan(Lost::Table, "a; rm", time, None).is_err());
        assert!(restore_plan(Lost::Table, "drivesync", "yesterday", None).is_err());
        assert!(restore_plan(Lost::Table, "drivesync", time, Some("$(x)")).is_err());
    }
}
