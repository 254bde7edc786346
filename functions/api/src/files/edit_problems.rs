//! The problems of an edit that a file's record does not allow.

use axum::http::header;
use domain::{EditRefused, FileRecord};

use crate::conflicts::conflict_id;
use crate::files::file_patch::pointer_of;
use crate::files::file_view::FileView;
use crate::http::{Kind, Problem, tag};

/// The problem of an edit of a file that has changed since the caller read it.
pub(crate) fn stale(record: &FileRecord) -> Problem {
    let detail = "the file has changed; `current` is the file now";
    Problem::new(Kind::Stale, detail)
        .current(&FileView::new(record))
        .header(header::ETAG, tag(record.visible.0))
}

/// The problem of an edit that a file's record refuses.
pub(crate) fn refused(record: &FileRecord, why: EditRefused) -> Problem {
    match why {
        EditRefused::Gone => {
            Problem::new(Kind::Gone, "the file is gone from Drive").current(&FileView::new(record))
        }
        EditRefused::Deleting => {
            let detail = "the file is being deleted; cancel its intent first";
            Problem::new(Kind::StateNotAllowed, detail).current(&FileView::new(record))
        }
        EditRefused::InConflict(conflicts) => {
            let fields: Vec<String> = conflicts.iter().map(|id| id.field.label()).collect();
            let detail = format!("resolve the conflicts on {} first", fields.join(", "));
            let ids = conflicts.iter().map(conflict_id::encode).collect();
            Problem::new(Kind::ConflictOpen, detail).conflicts(ids)
        }
        EditRefused::Value(field, why) => Problem::value(&field, &why, pointer_of(&field)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{ConflictId, Field, FileId, Gone, Timestamp};

    #[test]
    fn the_problem_of_an_edit_that_conflicts_hold_has_their_ids() {
        let file = FileId::parse("1abc").unwrap();
        let record = FileRecord::tombstone(file.clone(), Gone::Removed, Timestamp::from_millis(0));
        let conflicts = vec![ConflictId {
            file,
            field: Field::Name,
            number: 1,
        }];
        let problem = refused(&record, EditRefused::InConflict(conflicts.clone()));
        assert_eq!(problem.status(), 409);
        let body = serde_json::to_value(problem.into_body()).unwrap();
        let id = conflict_id::encode(&conflicts[0]);
        assert_eq!(body["conflicts"], serde_json::json!([id]));
    }
}
