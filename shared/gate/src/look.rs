//! Looking at many files at once: which are there, and why the others are not.

use std::sync::Arc;

use domain::pace::CallKind;
use domain::{FileId, Gone, Mirror, Observation};
use drive::{BATCH_CALLS_MAX, DriveError};
use runtime::telemetry;

use crate::pass::passes;
use crate::{GateError, Pass};

/// A file that Drive is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The file.
    pub file: &'a FileId,
    /// As it was last seen, where why it is not there matters: its drive is then asked about too.
    pub last_seen: Option<&'a Mirror>,
}

/// What became of one question. Several may have the same error.
type Answer = Result<Observation, Arc<GateError>>;

impl Pass {
    /// What Drive holds of these files now: one answer for each, in their order, with deleted files told from those of
    /// a drive that is out of reach ([`crate::Reach`]). A hundred files are one request, and a drive is another.
    ///
    /// # Errors
    /// Each file has its own: what is refused, lost or throttled is so for that file alone, and is asked again in place
    /// as by [`Pass::ask`]. Those that were not admitted within the patience, all have the one that says so.
    pub async fn look_at(&self, questions: &[Question<'_>]) -> Vec<Answer> {
        let mut answers = self.look_once(questions).await;
        let mut asked = 1;
        let open = |answer: &Answer| answer.as_ref().is_err_and(|error| passes(error));
        while answers.iter().any(open) && self.waits_again(asked).await {
            let unanswered = questions.iter().zip(&answers);
            let unanswered = unanswered.filter(|(_, answer)| open(answer));
            let unanswered: Vec<Question<'_>> = unanswered.map(|(asked, _)| *asked).collect();
            let repeated = self.look_once(&unanswered).await;
            let places = answers.iter_mut().filter(|answer| open(answer));
            for (answer, repeated) in places.zip(repeated) {
                *answer = repeated;
            }
            asked += 1;
        }
        self.told_apart(questions, answers).await
    }

    async fn look_once(&self, questions: &[Question<'_>]) -> Vec<Answer> {
        let mut answers: Vec<Answer> = Vec::with_capacity(questions.len());
        let mut rest = questions;
        while !rest.is_empty() {
            let most = rest.len().min(BATCH_CALLS_MAX);
            match self.admit(&[CallKind::Read], count(most)).await {
                Ok(admitted) => {
                    let asked = most.min(usize::try_from(admitted).unwrap_or(most));
                    let (now, later) = rest.split_at(asked);
                    let looked = self.look_now(now).await;
                    answers.extend(looked.into_iter().map(|look| look.map_err(from_drive)));
                    rest = later;
                }
                Err(error) => {
                    let error = Arc::new(error);
                    answers.extend(rest.iter().map(|_| Err(Arc::clone(&error))));
                    rest = &[];
                }
            }
        }
        answers
    }

    /// One request, for which there is room. What Drive answers stands, whether or not the table takes note of it.
    async fn look_now(&self, questions: &[Question<'_>]) -> Vec<Result<Observation, DriveError>> {
        let files: Vec<FileId> = questions.iter().map(|asked| asked.file.clone()).collect();
        let looked = self.drive().look_all(&files).await;
        if let Err(error) = self.tell_all(CallKind::Read, &looked).await {
            let error = telemetry::chain(&error);
            tracing::warn!(error, metric = "pace_unnoted", "the pace was not noted");
        }
        looked
    }

    /// The drives of those that are not there are looked at after all of the files were.
    async fn told_apart(&self, questions: &[Question<'_>], answers: Vec<Answer>) -> Vec<Answer> {
        let is_gone = |answer: &Answer| matches!(answer, Ok(Observation::Gone(Gone::Removed)));
        let asked = questions.iter().zip(&answers);
        let gone = asked.filter(|(_, answer)| is_gone(answer));
        let reach = self.reach(gone.filter_map(|(question, _)| question.last_seen));
        let reach = reach.await;
        let told = |(question, answer): (&Question<'_>, Answer)| match (question.last_seen, answer?)
        {
            (Some(mirror), Observation::Gone(gone)) => {
                reach.tell_apart(gone, mirror).map(Observation::Gone)
            }
            (_, seen) => Ok(seen),
        };
        questions.iter().zip(answers).map(told).collect()
    }
}

fn from_drive(error: DriveError) -> Arc<GateError> {
    Arc::new(error.into())
}

fn count(files: usize) -> u32 {
    u32::try_from(files).unwrap_or(u32::MAX)
}
