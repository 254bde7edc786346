//! The three-way merge of one field, and the record of the writes that were sent to Drive.
//!
//! Everything here concerns one field of one file and is generic over the field's value, so that
//! the code that runs in production can be searched exhaustively over a tiny domain (`search` in
//! this crate's tests).
//!
//! Invariants of [`Sides`], kept by every operation:
//! - Drive's last observed value differs from `base` only while a conflict is open, so it is stored
//!   there and nowhere else.
//! - `sent` is the only record of our own writes. An entry is *settled* once Drive was observed at
//!   a version later than the one that the write was conditional on: by then it has landed, or it
//!   never will.

#[cfg(test)]
mod search;
#[cfg(test)]
mod truth_table;

use crate::{AttemptId, DriveVersion};

/// The attempt of an entry of [`Sides::sent`] whose sender has ended.
const LOST: AttemptId = AttemptId(0);

/// The three sides of one field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sides<V> {
    /// The last value that both sides agreed on.
    pub base: V,
    /// The application's value.
    pub app: V,
    /// The open conflict: Drive's side, where both sides have left the base and differ.
    pub conflict: Option<DriveSide<V>>,
    /// The writes to Drive whose outcome is not known yet.
    pub sent: Vec<SentWrite<V>>,
}

/// Drive's side of an open conflict.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriveSide<V> {
    /// Drive's last observed value.
    pub drive: V,
    /// The conflict was opened because the outcome of one of our writes can't be determined: Drive
    /// is back at the base, so either the write never landed or a person undid it. Such a conflict
    /// does not close by itself when Drive is at the base, since that is how it began.
    pub unsure: bool,
}

/// A write to Drive whose outcome is not known yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SentWrite<V> {
    /// The value that was sent.
    pub value: V,
    /// The Drive version that the write was conditional on.
    pub against: DriveVersion,
    /// The attempt that sent it; 0 once that has ended without an answer.
    pub attempt: AttemptId,
}

impl<V: Clone + Eq> Sides<V> {
    /// Creates a field on which both sides agree.
    pub fn agreed(value: V) -> Self {
        Self {
            base: value.clone(),
            app: value,
            conflict: None,
            sent: Vec::new(),
        }
    }

    /// Returns Drive's last observed value.
    pub fn drive(&self) -> &V {
        self.conflict
            .as_ref()
            .map_or(&self.base, |conflict| &conflict.drive)
    }

    /// Returns whether the application's value must still reach Drive: it differs from the base,
    /// and no conflict holds the field.
    pub fn owed(&self) -> bool {
        self.conflict.is_none() && self.app != self.base
    }

    /// Returns whether Drive must still be read for this field: it is owed, or a write with an
    /// unknown outcome was sent.
    pub fn pending(&self) -> bool {
        self.conflict.is_none() && (self.app != self.base || !self.sent.is_empty())
    }

    /// Merges one observation: Drive had the value `drive` at version `at`, later than any version
    /// seen before.
    ///
    /// An open conflict follows Drive. It closes when the sides agree again, or when Drive is back
    /// at the base (the application's value is owed then). Without a conflict the first case that
    /// applies decides: one of our own writes coming back or agreement moves the base, an unchanged
    /// Drive changes nothing, a changed application side makes a conflict, and otherwise Drive's
    /// value is taken.
    #[must_use]
    pub fn observe(&self, drive: V, at: DriveVersion) -> Self {
        if let Some(conflict) = &self.conflict {
            // 1. A conflict is open, and we know that the sides agree again: it closes.
            if drive == self.app {
                return self.advance_base(drive, at);
            }
            // 2. A conflict is open, and we know that Drive has returned to the base: only the
            // application's side has moved, so the conflict closes and the field is owed. An unsure
            // conflict began with Drive at the base, so this says nothing new about it.
            if drive == self.base && !conflict.unsure {
                return Self {
                    conflict: None,
                    ..self.clone()
                };
            }
            // 3. A conflict is open, and we know that both sides are still apart: it follows Drive.
            let conflict = Some(DriveSide {
                drive,
                unsure: conflict.unsure,
            });
            return Self {
                conflict,
                ..self.clone()
            };
        }
        // From here on we know that no conflict is open, so Drive was last observed at the base.
        //
        // 4. We know that Drive agrees with the application, or that it left the base and has the
        // value of one of our own settled writes. Either way the base follows and the application's
        // side stays: a newer edit is still owed, and does not conflict with our older write.
        let own_write = self.settled(at).any(|sent| sent.value == drive);
        if drive == self.app || (own_write && drive != self.base) {
            return self.advance_base(drive, at);
        }
        // 5. We know that Drive has not moved: nothing changes. If the field is owed and a settled
        // write has an unknown outcome, only the next push may assess that, since it reads Drive's
        // current state. A snapshot from a queue may date from before the write.
        if drive == self.base {
            return self.clone();
        }
        // 6. We know that Drive moved, to a value that is neither the application's nor that of a
        // settled write. The application's side moved too, or a settled write of another value
        // shows that it moved and returned: this is a conflict.
        if self.app != self.base || self.settled(at).any(|sent| sent.value != self.app) {
            let conflict = Some(DriveSide {
                drive,
                unsure: false,
            });
            return Self {
                conflict,
                ..self.clone()
            };
        }
        // 7. We know that only Drive moved: both sides take its value.
        Self {
            base: drive.clone(),
            app: drive,
            conflict: None,
            sent: self.unsettled(at),
        }
    }

    /// Assesses the settled writes before a push, after Drive was read at `at` and the read was
    /// merged.
    ///
    /// If Drive is at the base, the field is owed and there is a settled write of unknown outcome,
    /// then that write never landed or a person undid it. Sending again would overwrite that
    /// person, so this becomes a conflict marked `unsure`. The settled entries then carry no
    /// further information and are removed. A field that is already in conflict is left alone.
    ///
    /// If Drive is at the very next version, there was one change since. Had it been our write,
    /// Drive would have our value; so the write did not land, and is sent again.
    #[must_use]
    pub fn assess_in_flight(&self, at: DriveVersion) -> Self {
        if self.conflict.is_some() {
            return self.clone();
        }
        let undone = |sent: &SentWrite<V>| sent.against.0.saturating_add(1) < at.0;
        let unknown_outcome = self.settled(at).any(undone);
        let conflict = (unknown_outcome && self.app != self.base).then(|| DriveSide {
            drive: self.base.clone(),
            unsure: true,
        });
        Self {
            conflict,
            sent: self.unsettled(at),
            ..self.clone()
        }
    }

    /// Removes all sent writes: Drive was read at the version that they were conditional on, and
    /// none of them can be in flight any more, so they did not happen and never will.
    ///
    /// Without this, a write that never landed and whose edit was withdrawn would be remembered
    /// until something else changes the file in Drive.
    #[must_use]
    pub fn discard_in_flight(&self) -> Self {
        let mut sides = self.clone();
        if sides.conflict.is_none() {
            sides.sent.clear();
        }
        sides
    }

    /// Removes the writes that were sent against a version before `at`. Used where such a write
    /// can't have happened.
    #[must_use]
    pub fn discard_settled(&self, at: DriveVersion) -> Self {
        Self {
            sent: self.unsettled(at),
            ..self.clone()
        }
    }

    /// Records that attempt `attempt` sends the application's value on condition of version
    /// `against`.
    #[must_use]
    pub fn claimed(&self, against: DriveVersion, attempt: AttemptId) -> Self {
        let mut sides = self.clone();
        sides.sent.push(SentWrite {
            value: self.app.clone(),
            against,
            attempt,
        });
        sides
    }

    /// Removes an attempt that Drive definitely refused: the write did not happen.
    #[must_use]
    pub fn refused(&self, attempt: AttemptId) -> Self {
        let mut sides = self.clone();
        sides.sent.retain(|sent| sent.attempt != attempt);
        sides
    }

    /// Records that an attempt ended without an answer: nobody will confirm or refuse it. Its entry
    /// stays as a lost one. Any number of lost writes of one value against one version say the same
    /// and are remembered once.
    #[must_use]
    pub fn unanswered(&self, attempt: AttemptId) -> Self {
        let mut sides = self.clone();
        let mine = sides.sent.iter().position(|sent| sent.attempt == attempt);
        let Some(mine) = mine.map(|at| sides.sent.remove(at)) else {
            return sides;
        };
        let lost = SentWrite {
            attempt: LOST,
            ..mine
        };
        if !sides.sent.contains(&lost) {
            sides.sent.push(lost);
        }
        sides
    }

    /// Records that Drive confirmed an attempt: it had `value` at version `at`, and was last
    /// observed at `seen`.
    ///
    /// The base becomes the confirmed value, and so does the application's value if it is still
    /// what was sent (Drive may have normalised it). A value that Drive was observed to have later
    /// is merged again. If the entry is gone, an observation has already settled it and nothing
    /// changes.
    #[must_use]
    pub fn confirmed(
        &self,
        attempt: AttemptId,
        value: V,
        at: DriveVersion,
        seen: DriveVersion,
    ) -> Self {
        let Some(mine) = self.sent.iter().find(|sent| sent.attempt == attempt) else {
            return self.clone();
        };
        let app = if self.app == mine.value {
            value.clone()
        } else {
            self.app.clone()
        };
        let drive = if seen > at {
            self.drive().clone()
        } else {
            value.clone()
        };
        let mut sent = self.unsettled(at);
        sent.retain(|sent| sent.attempt != attempt);
        if drive == app || app == value {
            return Self {
                base: drive.clone(),
                app: drive,
                conflict: None,
                sent,
            };
        }
        let conflict = (drive != value).then_some(DriveSide {
            drive,
            unsure: false,
        });
        Self {
            base: value,
            app,
            conflict,
            sent,
        }
    }

    /// Sets the application's value, Drive having been observed at `seen`.
    ///
    /// Callers refuse an edit while a conflict is open. Returning to the base with nothing in
    /// flight withdraws the edit, so settled entries are removed.
    #[must_use]
    pub fn edited(&self, value: V, seen: DriveVersion) -> Self {
        let withdrawn = self.conflict.is_none() && value == self.base;
        let sent = if withdrawn {
            self.unsettled(seen)
        } else {
            self.sent.clone()
        };
        Self {
            app: value,
            sent,
            ..self.clone()
        }
    }

    /// Applies a decision that saw Drive's current value: Drive's value becomes the base and `app`
    /// the application's value. If they differ, the field is owed. Without a conflict nothing
    /// changes.
    #[must_use]
    pub fn resolved(&self, app: V, seen: DriveVersion) -> Self {
        match &self.conflict {
            None => self.clone(),
            Some(conflict) => Self {
                base: conflict.drive.clone(),
                app,
                conflict: None,
                sent: self.unsettled(seen),
            },
        }
    }

    /// Returns the sides with another form of the same value in place of `from`. Nothing moves.
    #[must_use]
    pub fn renamed(&self, from: &V, to: &V) -> Self {
        let rename = |value: &V| {
            if value == from {
                to.clone()
            } else {
                value.clone()
            }
        };
        Self {
            base: rename(&self.base),
            app: rename(&self.app),
            conflict: self.conflict.as_ref().map(|conflict| DriveSide {
                drive: rename(&conflict.drive),
                unsure: conflict.unsure,
            }),
            sent: self
                .sent
                .iter()
                .map(|sent| SentWrite {
                    value: rename(&sent.value),
                    ..sent.clone()
                })
                .collect(),
        }
    }

    /// Moves the base to Drive's value and keeps the application's side. Settled entries are
    /// removed, since the base has moved.
    fn advance_base(&self, drive: V, at: DriveVersion) -> Self {
        Self {
            base: drive,
            app: self.app.clone(),
            conflict: None,
            sent: self.unsettled(at),
        }
    }

    fn settled(&self, at: DriveVersion) -> impl Iterator<Item = &SentWrite<V>> {
        self.sent.iter().filter(move |sent| sent.against < at)
    }

    fn unsettled(&self, at: DriveVersion) -> Vec<SentWrite<V>> {
        self.sent
            .iter()
            .filter(|sent| sent.against >= at)
            .cloned()
            .collect()
    }
}
