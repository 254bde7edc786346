//! Conflicts of fields: their records, and the policies that decide them.

mod conflict_record;
mod policy;
#[cfg(test)]
mod policy_places;
mod resolver;
#[cfg(test)]
mod resolver_search;

pub use conflict_record::{ConflictId, ConflictRecord, ConflictStatus, Decider, Resolution};
pub use policy::{Choice, FolderPolicies, Policies, Policy, decide};
pub use resolver::{
    AnswerRefused, AskCourse, AskDuty, Asked, NoDecision, Question, Resolver, SECONDS_MAX,
};
