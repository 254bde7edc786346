//! Conflicts to JSON, and decisions from JSON.

use std::collections::BTreeMap;

use axum::response::Response;
use domain::{
    AskCourse, Choice, ConflictRecord, ConflictStatus, Field, Keeping, Resolution, Value,
};
use serde::Serialize;
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

use crate::conflicts::conflict_id;
use crate::files::field_value::{self, ValueBody};
use crate::http::{Kind, Problem, tagged};

/// A field where the application and Drive both changed the value they had agreed on, and differ.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Conflict)]
pub(crate) struct ConflictView {
    /// Opaque.
    id: String,
    file_id: String,
    /// `name`, `properties.KEY`, ...; `existence` if the file was removed while something was owed.
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
    /// The number of times that the sides have moved while it was open: the `ETag`.
    moves: u32,
    /// Whether it was opened because the outcome of a write to Drive is unknown.
    unsure: bool,
    /// For `existence`: the application's values that were never written to Drive.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    owed: BTreeMap<String, Json>,
    opened_at: String,
    /// When the sides agreed again without a decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<String>,
    /// The decision, if there was one.
    resolution: Option<ResolutionView>,
    /// The webhook that is asked to decide it, if a policy says so. A person may decide all the
    /// time.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolver: Option<ConflictResolverView>,
    /// True if it is open and its file is out of scope: it can't be resolved until the file is in
    /// scope again.
    #[serde(rename = "held", skip_serializing_if = "Option::is_none")]
    out_of_scope: Option<bool>,
    /// The cause of its last change: of the request that resolved it, or of the notification,
    /// request or operation that opened, moved or closed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{32}$")]
    cause: Option<String>,
}

/// `resolving`: both contents are kept, and the application's is not in Drive yet; it is open until
/// then. `resolved`: a person or a policy decided. `closed`: the sides agreed again without a
/// decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConflictStatus)]
enum ConflictStatusView {
    Open,
    Resolving,
    Resolved,
    Closed,
}

/// A decision.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Resolution)]
pub(crate) struct ResolutionView {
    /// `app`, `drive`, `base`, `value` or, for content, `both`: Drive's value, and a second file.
    choose: &'static str,
    /// The value that the application has since then.
    #[schema(value_type = Option<ValueBody>)]
    value: Json,
    /// For `both`: the id of the file with the application's content.
    #[serde(skip_serializing_if = "Option::is_none")]
    copy: Option<String>,
    /// The subject who decided, or `policy`.
    by: String,
    at: String,
    /// While it is `resolving`: the reason why Drive has not accepted the copy. It is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What a conflict's resolver is asked, and what came of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConflictResolver)]
struct ConflictResolverView {
    /// The webhook's id.
    endpoint: String,
    status: ResolverStatusView,
    /// When the sides became those that it is asked about.
    asked_at: String,
    /// When its time is over.
    until: String,
    /// For `undecided`: the reason, as a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// For `undecided`: the reason in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// `waiting`: for its answer. `decided`: its answer decided the conflict. `undecided`: a person
/// decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ResolverStatus)]
enum ResolverStatusView {
    Waiting,
    Decided,
    Undecided,
}

impl ConflictResolverView {
    /// Returns what came of asking, unless the conflict ended otherwise.
    fn of(conflict: &ConflictRecord) -> Option<Self> {
        let asked = conflict.asked.as_ref()?;
        let open = conflict.status == ConflictStatus::Open;
        let (status, left) = match &asked.course {
            AskCourse::Owed { .. } | AskCourse::Sending { .. } if open => {
                (ResolverStatusView::Waiting, None)
            }
            AskCourse::Left { why, detail, .. } if open => {
                let words = match detail {
                    Some(detail) => format!("{}: {detail}", why.words()),
                    None => why.words().to_owned(),
                };
                let said = format!("the resolver did not decide: {words}");
                (ResolverStatusView::Undecided, Some((why.label(), said)))
            }
            AskCourse::Answered { .. } => (ResolverStatusView::Decided, None),
            AskCourse::Owed { .. } | AskCourse::Sending { .. } | AskCourse::Left { .. } => {
                return None;
            }
        };
        let (reason, detail) = left.unzip();
        Some(Self {
            endpoint: asked.question.resolver.endpoint.to_string(),
            status,
            asked_at: asked.question.asked_at.to_string(),
            until: asked.question.until().to_string(),
            reason,
            detail,
        })
    }
}

impl ConflictView {
    /// The view of a conflict. An open one waits while its file is out of scope.
    pub(crate) fn new(conflict: &ConflictRecord, out_of_scope: bool) -> Self {
        let (status, closed_at, resolution) = match &conflict.status {
            ConflictStatus::Open => match &conflict.keeping {
                None => (ConflictStatusView::Open, None, None),
                Some(keeping) => (
                    ConflictStatusView::Resolving,
                    None,
                    Some(ResolutionView::of_keeping(keeping, &conflict.drive)),
                ),
            },
            ConflictStatus::Resolved(made) => (
                ConflictStatusView::Resolved,
                None,
                Some(ResolutionView::new(made)),
            ),
            ConflictStatus::Closed { at } => {
                (ConflictStatusView::Closed, Some(at.to_string()), None)
            }
        };
        Self {
            id: conflict_id::encode(&conflict.id),
            file_id: conflict.id.file.to_string(),
            field: conflict.id.field.label(),
            status,
            base: field_value::to_json(&conflict.base),
            app: field_value::to_json(&conflict.app),
            drive: field_value::to_json(&conflict.drive),
            moves: conflict.moves,
            unsure: conflict.unsure,
            owed: conflict
                .owed
                .iter()
                .map(|(field, owed)| (field.label(), field_value::to_json(owed)))
                .collect(),
            opened_at: conflict.opened_at.to_string(),
            closed_at,
            resolution,
            resolver: ConflictResolverView::of(conflict),
            out_of_scope: (out_of_scope && conflict.status == ConflictStatus::Open).then_some(true),
            cause: conflict.cause.map(|cause| cause.to_string()),
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
            value: field_value::to_json(&made.value),
            by: made.by.to_string(),
            at: made.at.to_string(),
            reason: None,
        }
    }

    fn of_keeping(keeping: &Keeping, drive: &Value) -> Self {
        Self {
            choose: "both",
            copy: Some(keeping.copy.to_string()),
            value: field_value::to_json(drive),
            by: keeping.by.to_string(),
            at: keeping.at.to_string(),
            reason: keeping.reason.clone(),
        }
    }
}

/// The side whose value is chosen.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Choose)]
#[expect(
    dead_code,
    reason = "describes what `choice` and `RequestedResolution::read` read"
)]
pub(crate) enum ChooseBody {
    App,
    Drive,
    Base,
    /// For content: Drive's, with the application's in a copy of the file.
    Both,
    /// For content: the text with the changes of both sides, if all three are stored here and no
    /// changes clash.
    Merge,
}

/// A decision: exactly one of the two.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `choice` reads")]
pub(crate) struct ResolutionBody {
    /// The side whose value is chosen.
    #[schema(nullable = false)]
    choose: Option<ChooseBody>,
    /// Another value; null removes a property.
    #[schema(value_type = Option<ValueBody>)]
    value: Option<Json>,
}

/// Responds with a conflict and its entity tag.
pub(crate) fn respond(conflict: &ConflictRecord, out_of_scope: bool) -> Response {
    let view = ConflictView::new(conflict, out_of_scope);
    tagged(u64::from(conflict.moves), view)
}

/// Reads the decision of a conflict on `field` from members that are a [`ResolutionBody`];
/// `pointer` is their JSON pointer.
pub(crate) fn choice(
    members: &Map<String, Json>,
    field: &Field,
    pointer: &str,
) -> Result<Choice, Problem> {
    let not_allowed = |detail: &str, at: String| {
        Err(Problem::new(Kind::MemberNotAllowed, detail.to_owned()).at(at))
    };
    match (members.get("choose"), members.get("value")) {
        (Some(choose), None) => match choose.as_str() {
            Some("app") => Ok(Choice::App),
            Some("drive") => Ok(Choice::Drive),
            Some("base") => Ok(Choice::Base),
            Some(_) | None => {
                let detail = "choose must be app, drive or base; both and merge are possible for a \
                              single conflict on content";
                Err(Problem::new(Kind::ValueNotAllowed, detail).at(format!("{pointer}/choose")))
            }
        },
        (None, Some(json)) => {
            field_value::from_json(field, json, &format!("{pointer}/value")).map(Choice::Value)
        }
        (None, None) => not_allowed("choose or value is required", pointer.to_owned()),
        (Some(_), Some(_)) => not_allowed(
            "choose and value exclude each other",
            format!("{pointer}/value"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::described::check::check;
    use domain::{ConflictId, Decider, FileId, Timestamp};
    use serde_json::json;

    fn read(json: &Json, field: &Field) -> Result<Choice, String> {
        let read = check::<ResolutionBody>(json, "")
            .and_then(|()| choice(json.as_object().unwrap(), field, ""));
        read.map_err(|problem| {
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
    fn a_resolved_conflict_shows_the_decision() {
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
            keeping: None,
            asked: None,
            status: ConflictStatus::Resolved(Resolution {
                choice: Choice::App,
                value: Value::text("b"),
                by: Decider::Person("ada".to_owned()),
                at,
            }),
            cause: None,
        };
        let view = serde_json::to_value(ConflictView::new(&conflict, false)).unwrap();
        assert_eq!(view["status"], "resolved");
        assert_eq!((&view["base"], &view["drive"]), (&json!("a"), &json!("c")));
        assert_eq!(
            view["resolution"],
            json!({"choose": "app", "value": "b", "by": "ada", "at": "1970-01-01T00:00:00.000Z"})
        );
    }
}
