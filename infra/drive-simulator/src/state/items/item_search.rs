//! `files.list`: searching, sorting and paging.

use std::{cmp::Ordering, ops::Bound};

use crate::{
    errors::DriveError,
    ids::{DriveId, FileId, UserId},
    query::{Query, Searchable},
    state::{State, View, change_logs::page_token::PageToken, items::item::Home},
};

/// The items that a search covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Corpus {
    /// The caller's own items and those shared with them.
    User,
    /// The same, and the items of every shared drive that the caller is a member of.
    All,
    /// One shared drive.
    Drive(DriveId),
}

/// One key of `orderBy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrderKey {
    /// By name, case-insensitively.
    Name,
    /// Folders first.
    Folder,
    /// By the last modification.
    ModifiedTime,
    /// By creation.
    CreatedTime,
    /// Starred items first.
    Starred,
    /// By the bytes used.
    QuotaBytesUsed,
}

/// A key, and whether the order is reversed.
pub(crate) type Order = (OrderKey, bool);

/// The parameters of a `files.list`.
#[derive(Debug)]
pub(crate) struct SearchRequest {
    pub(crate) query: Option<Query>,
    pub(crate) order: Vec<Order>,
    pub(crate) corpus: Corpus,
    pub(crate) page_size: usize,
    pub(crate) page_token: Option<String>,
    /// Identifies the search: a page token of another search is refused.
    pub(crate) fingerprint: String,
    /// Only application data is requested, of which there is none.
    pub(crate) app_data_only: bool,
}

/// One page of items.
#[derive(Debug)]
pub(crate) struct SearchPage {
    pub(crate) views: Vec<View>,
    pub(crate) next_page_token: Option<String>,
    /// Drive says that not every corpus was searched.
    pub(crate) incomplete: bool,
}

/// Parses `orderBy`, e.g. `folder,modifiedTime desc,name`, whose `renamed` keys have other names
/// in v3.
///
/// # Errors
/// 400 `invalid` at `orderBy` for an unknown key, 403 for one that occurs twice.
pub(crate) fn parse_order(text: &str, renamed: &[(&str, &str)]) -> Result<Vec<Order>, DriveError> {
    let mut order: Vec<Order> = Vec::new();
    for key in text.split(',') {
        let (key, reversed) =
            parse_order_key(key, renamed).ok_or_else(|| DriveError::invalid("orderBy"))?;
        if order.iter().any(|(known, _)| *known == key) {
            let message = "The orderBy parameter cannot contain duplicate sort keys.";
            let error = DriveError::new(403, "orderByContainsDuplicateSortKeys", message);
            return Err(error.at("orderBy"));
        }
        order.push((key, reversed));
    }
    Ok(order)
}

fn parse_order_key(text: &str, renamed: &[(&str, &str)]) -> Option<Order> {
    let mut words = text.split_ascii_whitespace();
    let word = words.next()?;
    let renamed = renamed.iter().find(|(other, _)| *other == word);
    let (key, reversed_by_nature) = match renamed.map_or(word, |(_, name)| *name) {
        "name" | "name_natural" => (OrderKey::Name, false),
        "folder" => (OrderKey::Folder, false),
        "modifiedTime" => (OrderKey::ModifiedTime, false),
        "recency" => (OrderKey::ModifiedTime, true),
        "createdTime" => (OrderKey::CreatedTime, false),
        "starred" => (OrderKey::Starred, false),
        "quotaBytesUsed" => (OrderKey::QuotaBytesUsed, false),
        _ => return None,
    };
    let reversed = match words.next() {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(_) => return None,
    };
    words
        .next()
        .is_none()
        .then_some((key, reversed != reversed_by_nature))
}

impl State {
    /// Returns one page of a search. Unsorted pages continue after the last item; sorted ones at an
    /// offset.
    ///
    /// # Errors
    /// 400 `invalid` at `pageToken` for a token of another search, 404 for an inaccessible drive.
    pub(crate) fn search(
        &mut self,
        user: &UserId,
        request: &SearchRequest,
    ) -> Result<SearchPage, DriveError> {
        if let Corpus::Drive(id) = &request.corpus {
            self.drive(user, id.as_str())?;
        }
        let start = match &request.page_token {
            None => 0,
            Some(token) => PageToken::decode(token)
                .filter(|token| token.epoch == self.epoch && token.scope == request.fingerprint)
                .map(|token| token.position)
                .ok_or_else(|| DriveError::invalid("pageToken"))?,
        };
        let (pages, empty_page) = self.paging.begin_page();
        let next = |position, salt| {
            PageToken {
                scope: request.fingerprint.clone(),
                epoch: self.epoch,
                position,
                salt,
            }
            .encode()
        };
        if empty_page {
            return Ok(SearchPage {
                views: Vec::new(),
                next_page_token: Some(next(start, pages)),
                incomplete: self.paging.incomplete_search,
            });
        }
        let size = self.paging.size_of(request.page_size);
        let joins_parents = request.query.as_ref().is_some_and(Query::joins_parents);
        let loss = self.paging.loss(!request.order.is_empty(), joins_parents);
        let incomplete = self.paging.incomplete_search;
        let mut rng = (loss > 0.0).then(|| self.rng.fork());
        let mut lose = |views: &mut Vec<View>| {
            if let Some(rng) = &mut rng {
                views.retain(|_| rng.f64() >= loss);
            }
        };
        if request.order.is_empty() {
            let mut views: Vec<View> = self
                .candidates(user, request, start)
                .take(size + 1)
                .collect();
            let ends_after = self.paging.search_ends_after;
            let more = views.len() > size && ends_after.is_none();
            views.truncate(ends_after.map_or(size, |max| size.min(max)));
            let last = views.last().map(|view| view.item.sequence);
            let next_page_token = last.filter(|_| more).map(|last| next(last, 0));
            lose(&mut views);
            return Ok(SearchPage {
                views,
                next_page_token,
                incomplete,
            });
        }
        let mut found: Vec<View> = self.candidates(user, request, 0).collect();
        found.sort_by(|left, right| compare(&request.order, left, right));
        let skip = usize::try_from(start).unwrap_or(usize::MAX);
        let more = found.len().saturating_sub(skip) > size;
        let mut views = found.into_iter().skip(skip).take(size).collect();
        lose(&mut views);
        let end = start.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
        Ok(SearchPage {
            views,
            next_page_token: more.then(|| next(end, 0)),
            incomplete,
        })
    }

    /// Returns the matching items after a position in the order of creation: those of one folder if
    /// the query implies one, or all.
    fn candidates<'s>(
        &'s self,
        user: &'s UserId,
        request: &'s SearchRequest,
        after: u64,
    ) -> impl Iterator<Item = View> + 's {
        let folder = request
            .query
            .as_ref()
            .and_then(Query::folder)
            .map(|id| self.resolve_alias(user, id));
        let index = match &folder {
            Some(id) => self.children.get(id),
            None => Some(&self.by_sequence),
        };
        let ids = index.filter(|_| !request.app_data_only).into_iter();
        let ids = ids
            .flat_map(move |index| index.range((Bound::Excluded(after), Bound::Unbounded)))
            .map(|(_, id)| id);
        ids.filter_map(|id| self.view(user, id))
            .filter(move |view| {
                let in_corpus = match (&request.corpus, &view.home) {
                    (Corpus::All, _) | (Corpus::User, Home::MyDrive(_)) => true,
                    (Corpus::User, Home::Shared(_)) | (Corpus::Drive(_), Home::MyDrive(_)) => false,
                    (Corpus::Drive(wanted), Home::Shared(drive)) => wanted == drive,
                };
                in_corpus
                    && view.listed
                    && request
                        .query
                        .as_ref()
                        .is_none_or(|query| query.matches(&SearchedItem { state: self, view }))
            })
    }

    fn resolve_alias(&self, user: &UserId, id: &str) -> FileId {
        match self.roots.get(user) {
            Some(root) if id == "root" => root.clone(),
            _ => FileId::from(id),
        }
    }
}

fn compare(order: &[Order], left: &View, right: &View) -> Ordering {
    let by_key = |key: OrderKey| match key {
        OrderKey::Name => left
            .item
            .name
            .to_lowercase()
            .cmp(&right.item.name.to_lowercase()),
        OrderKey::Folder => right.item.is_folder().cmp(&left.item.is_folder()),
        OrderKey::ModifiedTime => left.item.modified_ms.cmp(&right.item.modified_ms),
        OrderKey::CreatedTime => left.item.created_ms.cmp(&right.item.created_ms),
        OrderKey::Starred => right.starred().cmp(&left.starred()),
        OrderKey::QuotaBytesUsed => size(left).cmp(&size(right)),
    };
    order
        .iter()
        .map(|(key, reversed)| {
            if *reversed {
                by_key(*key).reverse()
            } else {
                by_key(*key)
            }
        })
        .find(|ordering| *ordering != Ordering::Equal)
        .unwrap_or_else(|| left.item.sequence.cmp(&right.item.sequence))
}

fn size(view: &View) -> u64 {
    view.item
        .content
        .as_ref()
        .map_or(0, |content| content.size())
}

/// An item as the query tests it.
struct SearchedItem<'s> {
    state: &'s State,
    view: &'s View,
}

impl Searchable for SearchedItem<'_> {
    fn name(&self) -> &str {
        &self.view.item.name
    }

    fn mime_type(&self) -> &str {
        &self.view.item.mime_type
    }

    fn trashed(&self) -> bool {
        self.view.trashed
    }

    fn starred(&self) -> bool {
        self.view.starred()
    }

    fn shared_with_me(&self) -> bool {
        self.view
            .owner()
            .is_some_and(|owner| *owner != self.view.viewer)
    }

    fn in_folder(&self, id: &str) -> bool {
        let folder = self.state.resolve_alias(&self.view.viewer, id);
        self.view.item.is_in(&folder)
    }

    fn owned_by(&self, who: &str) -> bool {
        let wanted = if who == "me" {
            self.view.viewer.clone()
        } else {
            UserId::from_email(who)
        };
        self.view.owner() == Some(&wanted)
    }

    fn modified_ms(&self) -> i64 {
        self.view.item.modified_ms
    }

    fn created_ms(&self) -> i64 {
        self.view.item.created_ms
    }

    fn property(&self, private: bool, key: &str) -> Option<&str> {
        let properties = if private {
            &self.view.item.app_properties
        } else {
            &self.view.item.properties
        };
        properties.get(key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_by_is_a_list_of_keys_with_directions() {
        assert_eq!(
            parse_order("folder, modifiedTime desc,name", &[]),
            Ok(vec![
                (OrderKey::Folder, false),
                (OrderKey::ModifiedTime, true),
                (OrderKey::Name, false)
            ])
        );
        for text in ["size", "name up", "name desc desc", "name,"] {
            assert_eq!(
                parse_order(text, &[]),
                Err(DriveError::invalid("orderBy")),
                "{text}"
            );
        }
    }
}
