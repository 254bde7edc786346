//! What the resolver of a conflict is asked, and its answer.

use std::collections::BTreeMap;

use domain::{
    Choice, ConflictId, ConflictRecord, ConnectionKey, Field, FileRecord, Question, Timestamp,
};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::{conflict_id, value};

/// The type of the event that asks.
pub const DECISION_REQUESTED: &str = "conflict:decision_requested";

/// The largest answer, in bytes: the longest description takes 100,000 characters, each of which
/// may be escaped.
pub const ANSWER_BYTES_MAX: usize = 1_000_000;

/// A conflict that a resolver is to decide, as a CloudEvents 1.0 event.
#[derive(Debug, Serialize)]
pub struct QuestionView {
    #[serde(rename = "specversion")]
    spec_version: &'static str,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: &'static str,
    subject: String,
    time: String,
    #[serde(rename = "datacontenttype")]
    data_content_type: &'static str,
    data: QuestionDataView,
}

#[derive(Debug, Serialize)]
struct QuestionDataView {
    conflict: String,
    file: String,
    field: String,
    base: Json,
    app: Json,
    drive: Json,
    moves: u32,
    unsure: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    owed: BTreeMap<String, Json>,
    opened_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_edit: Option<WhoView>,
    drive_change: WhoView,
    answer_until: String,
}

/// Who changed a side, and when, as far as it is known.
#[derive(Debug, Serialize)]
struct WhoView {
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

impl QuestionView {
    /// Returns the event about a conflict as it is now, of a file with this record.
    #[must_use]
    pub fn of(
        key: &ConnectionKey,
        conflict: &ConflictRecord,
        record: &FileRecord,
        question: &Question,
    ) -> Self {
        let id = conflict_id::encode(&conflict.id);
        let edit = record.edits.get(&conflict.id.field);
        let owed = conflict.owed.iter();
        Self {
            spec_version: "1.0",
            id: format!("{id}.{}", conflict.moves),
            source: format!("/v1/connections/{}", key.connection),
            kind: DECISION_REQUESTED,
            subject: format!("files/{}", conflict.id.file),
            time: question.asked_at.to_string(),
            data_content_type: "application/json",
            data: QuestionDataView {
                conflict: id,
                file: conflict.id.file.to_string(),
                field: conflict.id.field.label(),
                base: value::to_json(&conflict.base),
                app: value::to_json(&conflict.app),
                drive: value::to_json(&conflict.drive),
                moves: conflict.moves,
                unsure: conflict.unsure,
                owed: owed
                    .map(|(field, owed)| (field.label(), value::to_json(owed)))
                    .collect(),
                opened_at: conflict.opened_at.to_string(),
                app_edit: edit.map(|edit| WhoView {
                    by: Some(edit.by.clone()),
                    at: Some(edit.at.to_string()),
                }),
                drive_change: WhoView {
                    by: record.metadata.modified_by.clone(),
                    at: record
                        .metadata
                        .modified_at
                        .map(|at: Timestamp| at.to_string()),
                },
                answer_until: question.until().to_string(),
            },
        }
    }
}

/// Reads an answer: a side by its name, or another value, and nothing else. A content can only be
/// chosen.
///
/// # Errors
/// Says what is wrong with it.
pub fn read_answer(body: &[u8], conflict: &ConflictId) -> Result<Choice, String> {
    let json: Json = serde_json::from_slice(body).map_err(|_| "it is not JSON".to_owned())?;
    let Json::Object(members) = json else {
        return Err("it is not a JSON object".to_owned());
    };
    if members
        .keys()
        .any(|name| name != "choose" && name != "value")
    {
        return Err("it has members besides choose and value".to_owned());
    }
    read_choice(&members, &conflict.field)
}

fn read_choice(members: &Map<String, Json>, field: &Field) -> Result<Choice, String> {
    match (members.get("choose"), members.get("value")) {
        (Some(choose), None) => match (choose.as_str(), field) {
            (Some("app"), _) => Ok(Choice::App),
            (Some("drive"), _) => Ok(Choice::Drive),
            (Some("base"), Field::Content) => Err("choose must be app or drive".to_owned()),
            (Some("base"), _) => Ok(Choice::Base),
            (Some(_) | None, _) => Err("choose must be app, drive or base".to_owned()),
        },
        (None, Some(_)) if *field == Field::Content => {
            Err("a content can't be given as a value: choose app or drive".to_owned())
        }
        (None, Some(json)) => match value::from_json(field, json) {
            Ok(value) => Ok(Choice::Value(value)),
            Err(why) => Err(why.to_string()),
        },
        (None, None) => Err("choose or value is required".to_owned()),
        (Some(_), Some(_)) => Err("choose and value exclude each other".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{FileId, Value};

    fn id(field: Field) -> ConflictId {
        ConflictId {
            file: FileId::parse("1abc").unwrap(),
            field,
            number: 1,
        }
    }

    #[test]
    fn an_answer_is_one_side_or_one_value() {
        let name = id(Field::Name);
        let read = |body: &str| read_answer(body.as_bytes(), &name);
        assert_eq!(read(r#"{"choose":"app"}"#), Ok(Choice::App));
        assert_eq!(read(r#"{"choose":"drive"}"#), Ok(Choice::Drive));
        assert_eq!(read(r#"{"choose":"base"}"#), Ok(Choice::Base));
        assert_eq!(
            read(r#" {"value":"x"} "#),
            Ok(Choice::Value(Value::text("x")))
        );
        for bad in [
            "",
            "app",
            "[]",
            "null",
            "{}",
            r#"{"choose":"App"}"#,
            r#"{"choose":"both"}"#,
            r#"{"choose":null}"#,
            r#"{"choose":"app","value":"x"}"#,
            r#"{"choose":"app","why":"x"}"#,
            r#"{"value":""}"#,
            r#"{"value":7}"#,
            r#"{"value":{"choose":"app"}}"#,
            r#"{"choose":"app"}{"choose":"drive"}"#,
            "{\"choose\":\"app\"",
            "<html>",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read_answer(b"{\"choose\":\"\xff\"}", &name).is_err());
        let content = id(Field::Content);
        assert_eq!(
            read_answer(br#"{"choose":"app"}"#, &content),
            Ok(Choice::App)
        );
        for bad in [r#"{"choose":"base"}"#, r#"{"value":"00"}"#] {
            assert!(read_answer(bad.as_bytes(), &content).is_err(), "{bad}");
        }
        let existence = id(Field::Existence);
        assert!(read_answer(br#"{"value":"present"}"#, &existence).is_err());
    }
}
