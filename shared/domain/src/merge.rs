//! The merge of one field: three sides, and the memory of what we sent.
//!
//! Everything here is about one field of one file, generic over its value, so that the very code that
//! runs in production can be searched exhaustively over a tiny domain (`search` in this crate's tests).
//!
//! Invariants of [`Sides`], kept by every operation:
//! - Drive's last observed value differs from `base` only while a conflict is open, so it is stored
//!   there and nowhere else.
//! - `sent` is the only memory of our own writes. An entry is *settled* once Drive was observed at a
//!   version later than the one it was conditional on: by then it has landed, or it never will.

use crate::{AttemptId, DriveVersion};

/// One field, seen from its three sides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sides<V> {
    /// The last value that both sides agreed on.
    pub base: V,
    /// The application's value.
    pub app: V,
    /// Where both have left the base, and differ: what Drive holds.
    pub clash: Option<Clash<V>>,
    /// What we sent to Drive and have not yet seen the fate of.
    pub sent: Vec<Sent<V>>,
}

/// The Drive side of an open conflict.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clash<V> {
    /// Drive's last observed value.
    pub drive: V,
    /// Opened because the fate of a write of ours can't be told: Drive is back at the base, and either
    /// our write never landed or a person undid it. Such a conflict does not close by itself when
    /// Drive holds the base: that is how it began.
    pub unsure: bool,
}

/// A write of ours whose fate is unknown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sent<V> {
    /// The value that was sent.
    pub value: V,
    /// The Drive version that the write was conditional on.
    pub against: DriveVersion,
    /// Which attempt sent it.
    pub attempt: AttemptId,
}

impl<V: Clone + Eq> Sides<V> {
    /// A field on which both sides agree.
    pub fn agreed(value: V) -> Self {
        Self {
            base: value.clone(),
            app: value,
            clash: None,
            sent: Vec::new(),
        }
    }

    /// Drive's last observed value.
    pub fn drive(&self) -> &V {
        self.clash.as_ref().map_or(&self.base, |clash| &clash.drive)
    }

    /// Whether the application's value must still reach Drive: it left the base, and no conflict holds it.
    pub fn owed(&self) -> bool {
        self.clash.is_none() && self.app != self.base
    }

    /// Whether Drive must still be looked at for this field's sake: owed, or sent with an unknown fate.
    pub fn pending(&self) -> bool {
        self.clash.is_none() && (self.app != self.base || !self.sent.is_empty())
    }

    /// Takes one observation: Drive held `drive` at version `at`, later than any seen before.
    ///
    /// Where a conflict is open it follows Drive, and closes when the sides agree again or Drive is
    /// back at the base (the application's value is owed then). Otherwise, in this order: our own
    /// write coming back moves the base and leaves the application's side alone; agreement moves the
    /// base; an unmoved Drive changes nothing; an application's side that moved (or that a settled
    /// write of ours shows to have moved and returned) makes a conflict; else Drive's value is taken.
    #[must_use]
    pub fn observe(&self, drive: V, at: DriveVersion) -> Self {
        if let Some(clash) = &self.clash {
            if drive == self.app {
                return self.rebased(drive, at);
            }
            if drive == self.base && !clash.unsure {
                return Self {
                    clash: None,
                    ..self.clone()
                };
            }
            let clash = Some(Clash {
                drive,
                unsure: clash.unsure,
            });
            return Self {
                clash,
                ..self.clone()
            };
        }
        let own_write = self.settled(at).any(|sent| sent.value == drive);
        if drive == self.app || (own_write && drive != self.base) {
            return self.rebased(drive, at);
        }
        if drive == self.base {
            // Owed with a settled write of unknown fate: only the next push may judge that, since it
            // reads Drive now. A snapshot from a queue may be about the time before the write.
            return self.clone();
        }
        if self.app != self.base || self.settled(at).any(|sent| sent.value != self.app) {
            let clash = Some(Clash {
                drive,
                unsure: false,
            });
            return Self {
                clash,
                ..self.clone()
            };
        }
        Self {
            base: drive.clone(),
            app: drive,
            clash: None,
            sent: self.live(at),
        }
    }

    /// Judges the settled writes before a push, Drive having been read at `at` and observed.
    ///
    /// Drive at the base with something owed and a settled write of unknown fate: the write never
    /// landed, or a person undid it. Sending again would overwrite that person, so it becomes a
    /// conflict marked `unsure`. Otherwise the settled entries have said all that they can.
    #[must_use]
    pub fn judged(&self, at: DriveVersion) -> Self {
        if self.clash.is_some() {
            return self.clone();
        }
        let unknown_fate = self.settled(at).next().is_some();
        let clash = (unknown_fate && self.app != self.base).then(|| Clash {
            drive: self.base.clone(),
            unsure: true,
        });
        Self {
            clash,
            sent: self.live(at),
            ..self.clone()
        }
    }

    /// Drive was read at the version that these writes were conditional on, and none of them is on its way
    /// any more: they did not happen, and never will. As if each had been refused for certain.
    ///
    /// Without this a write that never landed, and whose edit was taken back, is remembered for as long as
    /// nothing else changes the file in Drive.
    #[must_use]
    pub fn unlanded(&self) -> Self {
        let mut sides = self.clone();
        if sides.clash.is_none() {
            sides.sent.clear();
        }
        sides
    }

    /// Forgets what was sent against a version before `at`: of use where such a write can't have happened.
    #[must_use]
    pub fn without_settled(&self, at: DriveVersion) -> Self {
        Self {
            sent: self.live(at),
            ..self.clone()
        }
    }

    /// Remembers that attempt `attempt` sends the application's value on condition of version `against`.
    #[must_use]
    pub fn claimed(&self, against: DriveVersion, attempt: AttemptId) -> Self {
        let mut sides = self.clone();
        sides.sent.push(Sent {
            value: self.app.clone(),
            against,
            attempt,
        });
        sides
    }

    /// Drive refused the attempt for certain: it did not happen.
    #[must_use]
    pub fn refused(&self, attempt: AttemptId) -> Self {
        let mut sides = self.clone();
        sides.sent.retain(|sent| sent.attempt != attempt);
        sides
    }

    /// Drive confirmed the attempt: it held `value` at version `at`, and was last observed at `seen`.
    ///
    /// The base becomes the confirmed value, and the application's too where it is still what was sent
    /// (Drive may have normalised it). What Drive was seen to hold later is merged again. Where the
    /// entry is gone, an observation has settled it already and there is nothing left to say.
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
        let mut sent = self.live(at);
        sent.retain(|sent| sent.attempt != attempt);
        if drive == app || app == value {
            return Self {
                base: drive.clone(),
                app: drive,
                clash: None,
                sent,
            };
        }
        let clash = (drive != value).then_some(Clash {
            drive,
            unsure: false,
        });
        Self {
            base: value,
            app,
            clash,
            sent,
        }
    }

    /// The application sets the field, Drive having been observed at `seen`.
    ///
    /// Callers refuse this while a conflict is open. Going back to the base with nothing in flight
    /// withdraws the edit: settled entries have nothing more to tell then.
    #[must_use]
    pub fn edited(&self, value: V, seen: DriveVersion) -> Self {
        let withdrawn = self.clash.is_none() && value == self.base;
        let sent = if withdrawn {
            self.live(seen)
        } else {
            self.sent.clone()
        };
        Self {
            app: value,
            sent,
            ..self.clone()
        }
    }

    /// A decision that saw Drive's current value: that becomes the base, and `app` the application's
    /// value; where they differ, it is owed. No conflict, no change.
    #[must_use]
    pub fn resolved(&self, app: V, seen: DriveVersion) -> Self {
        match &self.clash {
            None => self.clone(),
            Some(clash) => Self {
                base: clash.drive.clone(),
                app,
                clash: None,
                sent: self.live(seen),
            },
        }
    }

    /// The base follows Drive; the application's side stays. Settled entries go, as the base moved.
    fn rebased(&self, drive: V, at: DriveVersion) -> Self {
        Self {
            base: drive,
            app: self.app.clone(),
            clash: None,
            sent: self.live(at),
        }
    }

    fn settled(&self, at: DriveVersion) -> impl Iterator<Item = &Sent<V>> {
        self.sent.iter().filter(move |sent| sent.against < at)
    }

    fn live(&self, at: DriveVersion) -> Vec<Sent<V>> {
        self.sent
            .iter()
            .filter(|sent| sent.against >= at)
            .cloned()
            .collect()
    }
}
