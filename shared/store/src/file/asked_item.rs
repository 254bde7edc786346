//! What a conflict's resolver is asked, as part of the conflict's item and of the file's.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::webhook::LeaseToken;
use domain::{
    AskCourse, Asked, ConflictRecord, ConnectionKey, EndpointId, NoDecision, Question, Resolver,
};
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value;

use crate::file::value_item::{ItemDefect, at};
use crate::table::key::Key;
use crate::table::store::Applied;
use crate::table::update::Update;
use crate::{Store, StoreError, Updated};

/// The attribute of a conflict's item.
const ASKED: &str = "asked";

/// A question. Also part of an open conflict in a file's item.
#[derive(Serialize, Deserialize)]
pub(crate) struct QuestionItem {
    #[serde(rename = "w")]
    webhook: String,
    #[serde(rename = "s")]
    seconds_max: u32,
    #[serde(rename = "a")]
    asked_at: i64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct AskedItem {
    question: QuestionItem,
    course: CourseItem,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CourseItem {
    Owed {
        at: i64,
        failures: u32,
    },
    Sending {
        token: u64,
        until: i64,
        failures: u32,
    },
    Answered {
        at: i64,
    },
    Left {
        why: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        at: i64,
    },
}

impl QuestionItem {
    pub(crate) fn of(question: &Question) -> Self {
        Self {
            webhook: question.resolver.endpoint.to_string(),
            seconds_max: question.resolver.seconds_max,
            asked_at: question.asked_at.as_millis(),
        }
    }

    pub(crate) fn into_question(self) -> Result<Question, ItemDefect> {
        let endpoint = EndpointId::parse(&self.webhook);
        Ok(Question {
            resolver: Resolver {
                endpoint: endpoint.map_err(|_| "the id of its resolver is invalid")?,
                seconds_max: self.seconds_max,
            },
            asked_at: at(self.asked_at),
        })
    }
}

impl AskedItem {
    pub(crate) fn of(asked: &Asked) -> Self {
        Self {
            question: QuestionItem::of(&asked.question),
            course: match &asked.course {
                AskCourse::Owed { at, failures } => CourseItem::Owed {
                    at: at.as_millis(),
                    failures: *failures,
                },
                AskCourse::Sending {
                    token,
                    until,
                    failures,
                } => CourseItem::Sending {
                    token: token.0,
                    until: until.as_millis(),
                    failures: *failures,
                },
                AskCourse::Answered { at } => CourseItem::Answered { at: at.as_millis() },
                AskCourse::Left { why, detail, at } => CourseItem::Left {
                    why: why.label().to_owned(),
                    detail: detail.clone(),
                    at: at.as_millis(),
                },
            },
        }
    }

    pub(crate) fn into_asked(self) -> Result<Asked, ItemDefect> {
        Ok(Asked {
            question: self.question.into_question()?,
            course: match self.course {
                CourseItem::Owed {
                    at: millis,
                    failures,
                } => AskCourse::Owed {
                    at: at(millis),
                    failures,
                },
                CourseItem::Sending {
                    token,
                    until,
                    failures,
                } => AskCourse::Sending {
                    token: LeaseToken(token),
                    until: at(until),
                    failures,
                },
                CourseItem::Answered { at: millis } => AskCourse::Answered { at: at(millis) },
                CourseItem::Left {
                    why,
                    detail,
                    at: millis,
                } => AskCourse::Left {
                    why: NoDecision::from_label(&why).ok_or("its reason is unknown")?,
                    detail,
                    at: at(millis),
                },
            },
        })
    }

    fn into_attribute(self) -> Result<AttributeValue, StoreError> {
        to_attribute_value(self).map_err(|error| StoreError::Refused(error.into()))
    }
}

impl Store {
    /// Stores where the question of a conflict is, on condition that the conflict is still in the
    /// state that was read, with the same question at the same place. Otherwise nothing is written:
    /// the conflict has moved or ended, or another worker has the question.
    ///
    /// # Errors
    /// [`StoreError`]; after `Busy` it may or may not be stored.
    pub async fn move_question(
        &self,
        key: &ConnectionKey,
        read: &ConflictRecord,
        next: &Asked,
    ) -> Result<Updated, StoreError> {
        let Some(before) = &read.asked else {
            return Ok(Updated::Absent);
        };
        let update = Update::of(Key::conflict(key, &read.id))
            .set(ASKED, AskedItem::of(next).into_attribute()?)
            .due(next.due_at())
            .when(ASKED, Some(AskedItem::of(before).into_attribute()?))
            .when_number("moves", read.moves)
            .when_number("opened_at", read.opened_at.as_millis());
        Ok(match self.update(update).await? {
            Applied::Done(_) => Updated::Done,
            Applied::Refused(_) => Updated::Absent,
        })
    }
}
