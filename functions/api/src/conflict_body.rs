//! Conflicts as JSON, both ways.

use std::collections::BTreeMap;

use domain::{Choice, ConflictRecord, ConflictStatus, Field, Resolution};
use serde::Serialize;
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

use crate::problem::{Kind, Problem, pointer_part};
use crate::value::ValueBody;
use crate::{conflict_id, value};

/// One field where the application and Drive both left what they had agreed on, and differ.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Conflict)]
pub(crate) struct ConflictView {
    /// Opaque.
    id: String,
    file_id: String,
    /// `name`, `properties.KEY`...; `existence` where the file went while something was owed to it.
    field: String,
    status: ConflictStatusView,
    /// The last value that both sides agreed on.
    #[schema(value_type = Option<ValueBody>)]
    base: Json,
    /// The application's value.
    #[schema(value_type = Option<ValueBody>)]
    app: Json,
    /// Drive's value.
    #[schema(value_type = Option<ValueBody>)]
    drive: Json,
    /// How often the sides have moved while it was open: the `ETag`.
    moves: u32,
    /// Opened because the fate of a write of ours can't be told.
    unsure: bool,
    /// Of a conflict on `existence`: the application's values that Drive never got.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    owed: BTreeMap<String, Json>,
    opened_at: String,
    /// When the sides came together without a decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<String>,
    /// The decision, where there was one.
    resolution: Option<ResolutionView>,
    /// True where it is open and waits for its file to be in scope again: it can't be settled meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<bool>,
}

/// `resolved`: somebody or a policy decided. `closed`: the sides came together by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConflictStatus)]
enum ConflictStatusView {
    Open,
    Resolved,
    Closed,
}

/// A decision.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Resolution)]
pub(crate) struct ResolutionView {
    /// `app`, `drive`, `base`, `value` or, of content, `both`: Drive's value, and a file beside it.
    choose: &'static str,
    /// The value that the application has since.
    #[schema(value_type = Option<ValueBody>)]
    value: Json,
    /// Of `both`: the id of the file that holds the application's content.
    #[serde(skip_serializing_if = "Option::is_none")]
    copy: Option<String>,
    /// The subject who decided, or `policy`.
    by: String,
    at: String,
}

impl ConflictView {
    pub(crate) fn new(conflict: &ConflictRecord) -> Self {
        let (status, closed_at, resolution) = match &conflict.status {
            ConflictStatus::Open => (ConflictStatusView::Open, None, None),
            ConflictStatus::Resolved(made) => (
                ConflictStatusView::Resolved,
                None,
                Some(ResolutionView::new(made)),
            ),
            ConflictStatus::Closed { at } => {
                (ConflictStatusView::Closed, Some(at.to_string()), None)
            }
        };
        let owed = conflict.owed.iter();
        Self {
            id: conflict_id::encode(&conflict.id),
            file_id: conflict.id.file.to_string(),
            field: conflict.id.field.label(),
            status,
            base: value::to_json(&conflict.base),
            app: value::to_json(&conflict.app),
            drive: value::to_json(&conflict.drive),
            moves: conflict.moves,
            unsure: conflict.unsure,
            owed: owed
                .map(|(field, owed)| (field.label(), value::to_json(owed)))
                .collect(),
            opened_at: conflict.opened_at.to_string(),
            closed_at,
            resolution,
            held: None,
        }
    }

    /// The conflict of a file that is out of scope, or is not.
    pub(crate) fn held_if(self, out_of_scope: bool) -> Self {
        Self {
            held: (out_of_scope && self.status == ConflictStatusView::Open).then_some(true),
            ..self
        }
    }
}

impl ResolutionView {
    fn new(made: &Resolution) -> Self {
        let choose = match &made.choice {
            Choice::App => "app",
            Choice::Drive => "drive",
            Choice::Base => "base",
            Choice::Value(_) => "value",
            Choice::Both(_) => "both",
        };
        let copy = match &made.choice {
            Choice::Both(copy) => Some(copy.to_string()),
            Choice::App | Choice::Drive | Choice::Base | Choice::Value(_) => None,
        };
        Self {
            choose,
            copy,
            value: value::to_json(&made.value),
            by: made.by.to_string(),
            at: made.at.to_string(),
        }
    }
}

/// Whose value counts.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Choose)]
#[expect(dead_code, reason = "describes what `choice` and `How::of` take")]
pub(crate) enum ChooseBody {
    App,
    Drive,
    Base,
    /// Of content: Drive's, and a copy of the file beside it that holds the application's.
    Both,
    /// Of content: what both sides changed of a text, where all three are stored here and nothing clashes.
    Merge,
}

/// A decision to be made: exactly one of the two.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `choice` takes")]
pub(crate) struct ResolutionBody {
    /// Whose value counts.
    choose: Option<ChooseBody>,
    /// Another value altogether; null unsets a property.
    #[schema(value_type = Option<ValueBody>)]
    value: Option<Json>,
}

/// Reads a decision about a conflict on `field` out of a body's members. `also` are members that the
/// body may have beside it; `pointer` is where the body stands.
pub(crate) fn choice(
    members: &Map<String, Json>,
    also: &[&str],
    field: &Field,
    pointer: &str,
) -> Result<Choice, Problem> {
    let not_allowed = |detail: &str, at: String| {
        Err(Problem::new(Kind::MemberNotAllowed, detail.to_owned()).at(at))
    };
    for member in members.keys() {
        let known = matches!(member.as_str(), "choose" | "value") || also.contains(&&**member);
        if !known {
            let at = format!("{pointer}/{}", pointer_part(member));
            return not_allowed("a resolution has no such member", at);
        }
    }
    match (members.get("choose"), members.get("value")) {
        (Some(choose), None) => match choose.as_str() {
            Some("app") => Ok(Choice::App),
            Some("drive") => Ok(Choice::Drive),
            Some("base") => Ok(Choice::Base),
            Some(_) | None => {
                let detail = "choose must be \"app\", \"drive\" or \"base\"; \"both\" and \"merge\" settle one \
                              conflict on content";
                Err(Problem::new(Kind::ValueNotAllowed, detail).at(format!("{pointer}/choose")))
            }
        },
        (None, Some(json)) => {
            value::from_json(field, json, &format!("{pointer}/value")).map(Choice::Value)
        }
        (None, None) => not_allowed("choose or value is needed", pointer.to_owned()),
        (Some(_), Some(_)) => not_allowed(
            "choose and value exclude each other",
            format!("{pointer}/value"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{ConflictId, Decider, FileId, Timestamp, Value};
    use serde_json::json;

    fn read(json: &Json, field: &Field) -> Result<Choice, String> {
        choice(json.as_object().unwrap(), &[], field, "").map_err(|problem| {
            assert_eq!(problem.status(), 422);
            problem.body().pointer().unwrap().to_owned()
        })
    }

    #[test]
    fn a_decision_is_one_choice_or_one_value() {
        let name = Field::Name;
        let stage = Field::Property("stage".to_owned());
        assert_eq!(read(&json!({"choose": "app"}), &name), Ok(Choice::App));
        assert_eq!(
            read(&json!({"value": "x"}), &name),
            Ok(Choice::Value(Value::text("x")))
        );
        assert_eq!(
            read(&json!({"value": null}), &stage),
            Ok(Choice::Value(Value::Null))
        );
        for (body, pointer) in [
            (json!({"choose": "mine"}), "/choose"),
            (json!({"choose": "app", "value": "x"}), "/value"),
            (json!({"value": ""}), "/value"),
            (json!({"value": 7}), "/value"),
            (json!({"choose": "app", "why": "x"}), "/why"),
            (json!({}), ""),
        ] {
            assert_eq!(read(&body, &name), Err(pointer.to_owned()), "{body}");
        }
        assert_eq!(
            read(&json!({"value": "present"}), &Field::Existence),
            Err("/value".to_owned())
        );
    }

    #[test]
    fn a_conflict_that_was_decided_shows_by_whom() {
        let at = Timestamp::from_millis(0);
        let conflict = ConflictRecord {
            id: ConflictId {
                file: FileId::parse("1abc").unwrap(),
                field: Field::Name,
                number: 1,
            },
            moves: 2,
            base: Value::text("a"),
            app: Value::text("b"),
            drive: Value::text("c"),
            unsure: false,
            owed: BTreeMap::new(),
            opened_at: at,
            status: ConflictStatus::Resolved(Resolution {
                choice: Choice::App,
                value: Value::text("b"),
                by: Decider::Person("ada".to_owned()),
                at,
            }),
        };
        let view = serde_json::to_value(ConflictView::new(&conflict)).unwrap();
        assert_eq!(view["status"], "resolved");
        assert_eq!((&view["base"], &view["drive"]), (&json!("a"), &json!("c")));
        assert_eq!(
            view["resolution"],
            json!({"choose": "app", "value": "b", "by": "ada", "at": "1970-01-01T00:00:00.000Z"})
        );
    }
}
