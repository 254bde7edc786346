//! Which events a reader asked for.

use std::collections::BTreeSet;

use super::{Event, EventType, Subject};
use crate::FileId;

/// The events that a reader asked for: those that every given part selects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// The types; empty for all.
    pub types: BTreeSet<EventType>,
    /// The files; empty for all.
    pub files: BTreeSet<FileId>,
    /// The folder that a file is in, or was before.
    pub folder: Option<FileId>,
    /// Who made the change, as [`super::Author`] is written: `drive`, `user:<subject>`.
    pub actor: Option<String>,
}

impl EventFilter {
    /// Returns whether it selects the event. No filter hides that events may be missing.
    #[must_use]
    pub fn selects(&self, event: &Event) -> bool {
        if event.kind.concerns_every_reader() {
            return true;
        }
        let file = match &event.subject {
            Subject::File(file) => Some(file),
            Subject::Operation(_)
            | Subject::DeadLetter(_)
            | Subject::Webhook(_)
            | Subject::Connection => None,
        };
        let of_type = self.types.is_empty() || self.types.contains(&event.kind);
        let of_file = self.files.is_empty() || file.is_some_and(|file| self.files.contains(file));
        let of_folder = self.folder.as_ref().is_none_or(|folder| {
            let details = &event.details;
            let folders = [&details.folder, &details.folder_before];
            folders.contains(&&Some(folder.clone()))
        });
        let of_actor = self.actor.as_ref();
        let of_actor = of_actor.is_none_or(|actor| *actor == event.by.to_string());
        of_type && of_file && of_folder && of_actor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Author, Details};
    use crate::fixture::NOW;

    fn id(text: &str) -> FileId {
        FileId::parse(text).unwrap()
    }

    fn event(kind: EventType, file: &str) -> Event {
        Event {
            kind,
            subject: Subject::File(id(file)),
            state: "1".to_owned(),
            at: NOW,
            by: Author::User("u1".to_owned()),
            cause: None,
            details: Details {
                folder: Some(id("d2")),
                folder_before: Some(id("d1")),
                ..Details::default()
            },
        }
    }

    #[test]
    fn an_event_must_match_every_part() {
        let moved = event(EventType::FileMoved, "f1");
        let all = EventFilter::default();
        assert!(all.selects(&moved));
        let selects = |edit: &dyn Fn(&mut EventFilter)| {
            let mut filter = EventFilter {
                types: BTreeSet::from([EventType::FileMoved]),
                files: BTreeSet::from([id("f1")]),
                folder: Some(id("d1")),
                actor: Some("user:u1".to_owned()),
            };
            edit(&mut filter);
            filter.selects(&moved)
        };
        assert!(selects(&|_| {}));
        assert!(selects(&|filter| filter.folder = Some(id("d2"))));
        assert!(!selects(&|filter| filter.folder = Some(id("d3"))));
        assert!(!selects(
            &|filter| filter.types = BTreeSet::from([EventType::FileCreated])
        ));
        assert!(!selects(&|filter| filter.files = BTreeSet::from([id("f2")])));
        assert!(!selects(&|filter| filter.actor = Some("drive".to_owned())));
    }

    #[test]
    fn no_filter_hides_a_reset() {
        let mut reset = event(EventType::SyncReset, "f1");
        reset.subject = Subject::Connection;
        let filter = EventFilter {
            types: BTreeSet::from([EventType::FileMoved]),
            files: BTreeSet::from([id("f9")]),
            folder: Some(id("d9")),
            actor: Some("drive".to_owned()),
        };
        assert!(filter.selects(&reset));
    }
}
