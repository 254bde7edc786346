//! The number of files that a connection's rules match, in a bounded number of files.

use domain::{FileId, FileRecord, Rule, Side};
use serde::Serialize;
use store::{Connection, PageRequest, StoreError, Tombstones};
use utoipa::ToSchema;

use crate::Deps;
use crate::connections::rules_body::RuleBody;

/// The most files that are checked, besides the folders that the rules name.
const FILES_MAX: u32 = 500;

/// The matches of one rule. A rule without matches may name a folder that is gone or misspelt.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RuleStatus)]
pub(crate) struct RuleStatusView {
    list: RuleListView,
    rule: RuleBody,
    /// The number of matches in up to 500 of the connection's files and the folder that the rule
    /// names.
    matches: u64,
    /// Whether these were all files, so that 0 matches means that there are none.
    complete: bool,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RuleList)]
enum RuleListView {
    Include,
    Exclude,
}

/// Counts the matches of each rule of a connection. Reads nothing if there are no rules.
pub(crate) async fn count_matches(
    deps: &Deps,
    connection: &Connection,
) -> Result<Vec<RuleStatusView>, StoreError> {
    let rules = &connection.rules;
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let key = &connection.key;
    let all = rules.include.iter().chain(&rules.exclude);
    let folders: Vec<FileId> = all.filter_map(folder).cloned().collect();
    let first = PageRequest::first(FILES_MAX);
    let list = deps.store.list_files(key, None, Tombstones::Skip, &first);
    let (page, named) = tokio::try_join!(list, deps.store.load_files(key, &folders))?;
    let mut files: Vec<FileRecord> = page.items;
    for record in named.into_values() {
        if record.is_present() && files.iter().all(|known| known.file != record.file) {
            files.push(record);
        }
    }
    let ancestry = deps.store.ancestry(connection, &files).await?;
    let view = |list: RuleListView, rule: &Rule| {
        let matches =
            |record: &&FileRecord| rule.matches(&ancestry.lineage(&record.file, Side::Drive));
        RuleStatusView {
            list,
            rule: RuleBody::from(rule),
            matches: files.iter().filter(matches).count() as u64,
            complete: page.next_cursor.is_none(),
        }
    };
    let include = rules.include.iter().map(|r| view(RuleListView::Include, r));
    let exclude = rules.exclude.iter().map(|r| view(RuleListView::Exclude, r));
    Ok(include.chain(exclude).collect())
}

fn folder(rule: &Rule) -> Option<&FileId> {
    match rule {
        Rule::Folder(id) => Some(id),
        Rule::MimeType(_) | Rule::Name(_) => None,
    }
}
