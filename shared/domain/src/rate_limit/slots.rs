//! What a tenant has begun and not ended, counted against its limits.
//!
//! A slot is only a hint: what it stands for may have ended. So a slot is given up when it is
//! needed and the record that it names says so, and nothing else has to free it.

use crate::rate_limit::{TenantLimit, TenantLimits};
use crate::{ConnectionId, LogId, OperationId};

/// Something that a tenant has begun.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The connection that it belongs to.
    pub connection: ConnectionId,
    /// What it is.
    pub kind: SlotKind,
}

/// The kinds of things that a tenant begins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SlotKind {
    /// An upload in parts.
    Upload {
        /// Its id.
        id: String,
        /// The bytes that it announces.
        bytes: u64,
    },
    /// An operation.
    Operation {
        /// Its id.
        id: OperationId,
        /// The log, if there may be one such operation of a log only: an audit.
        audits: Option<LogId>,
    },
}

/// All slots of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slots(pub Vec<Slot>);

/// Why there is no room for a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRoom {
    /// A limit is reached.
    Limit(TenantLimit),
    /// The log is being audited by this operation.
    Audited(OperationId),
}

/// What slots stand for together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlotsUsed {
    /// Operations.
    pub operations: u64,
    /// Uploads.
    pub uploads: u64,
    /// The bytes that the uploads announce.
    pub upload_bytes: u64,
}

impl Slot {
    fn audit(&self) -> Option<(&ConnectionId, &LogId, &OperationId)> {
        match &self.kind {
            SlotKind::Operation { id, audits } => Some((&self.connection, audits.as_ref()?, id)),
            SlotKind::Upload { .. } => None,
        }
    }
}

impl Slots {
    /// Adds what one request begins: all or nothing. The operations of a request, one for each of
    /// its logs, are admitted together if fewer than the limit run, however many logs there are.
    /// What has a slot already takes no other.
    ///
    /// # Errors
    /// Why there is no room. What has ended should be taken out then, and this tried again.
    pub fn admit(&self, wanted: &[Slot], limits: &TenantLimits) -> Result<Self, NoRoom> {
        let new = |slot: &&Slot| !self.0.contains(slot);
        let wanted: Vec<Slot> = wanted.iter().filter(new).cloned().collect();
        for (connection, log, _) in wanted.iter().filter_map(Slot::audit) {
            let mut running = self.0.iter().filter_map(Slot::audit);
            if let Some((.., id)) = running.find(|(of, at, _)| (*of, *at) == (connection, log)) {
                return Err(NoRoom::Audited(id.clone()));
            }
        }
        let (before, own) = (self.used(), Self(wanted.clone()).used());
        let uploads = before.uploads + own.uploads;
        let bytes = before.upload_bytes.saturating_add(own.upload_bytes);
        let reached = [
            (
                own.operations > 0 && before.operations >= u64::from(limits.operations),
                TenantLimit::Operations,
            ),
            (
                own.uploads > 0 && uploads > u64::from(limits.uploads),
                TenantLimit::Uploads,
            ),
            (
                own.uploads > 0 && bytes > limits.upload_bytes,
                TenantLimit::UploadBytes,
            ),
        ];
        match reached.into_iter().find(|(reached, _)| *reached) {
            Some((_, limit)) => Err(NoRoom::Limit(limit)),
            None => Ok(Self([self.0.clone(), wanted].concat())),
        }
    }

    /// Returns what they stand for.
    #[must_use]
    pub fn used(&self) -> SlotsUsed {
        let mut used = SlotsUsed::default();
        for slot in &self.0 {
            match &slot.kind {
                SlotKind::Upload { bytes, .. } => {
                    used.uploads += 1;
                    used.upload_bytes = used.upload_bytes.saturating_add(*bytes);
                }
                SlotKind::Operation { .. } => used.operations += 1,
            }
        }
        used
    }

    /// Returns the slots without these.
    #[must_use]
    pub fn without(&self, ended: &[Slot]) -> Self {
        let stays = |slot: &&Slot| !ended.contains(slot);
        Self(self.0.iter().filter(stays).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(name: &str) -> ConnectionId {
        ConnectionId::parse(name).unwrap()
    }

    fn upload(id: &str, bytes: u64) -> Slot {
        let id = id.to_owned();
        Slot {
            connection: connection("c_1"),
            kind: SlotKind::Upload { id, bytes },
        }
    }

    fn operation(of: &str, number: u32, audits: Option<LogId>) -> Slot {
        let id = OperationId::at(crate::Timestamp::from_millis(0), number);
        Slot {
            connection: connection(of),
            kind: SlotKind::Operation { id, audits },
        }
    }

    fn filled(slots: impl IntoIterator<Item = Slot>, limits: &TenantLimits) -> Slots {
        let add = |slots: Slots, slot| slots.admit(&[slot], limits).unwrap();
        slots.into_iter().fold(Slots::default(), add)
    }

    #[test]
    fn each_limit_ends_its_kind_alone() {
        let limits = TenantLimits {
            uploads: 2,
            upload_bytes: 100,
            operations: 2,
            ..TenantLimits::default()
        };
        let slots = [
            upload("a", 40),
            operation("c_1", 1, None),
            operation("c_1", 2, None),
        ];
        let slots = filled(slots, &limits);
        let limit = |slot| match slots.admit(&[slot], &limits) {
            Err(NoRoom::Limit(limit)) => Some(limit),
            Err(NoRoom::Audited(_)) | Ok(_) => None,
        };
        assert_eq!(limit(upload("b", 60)), None);
        assert_eq!(limit(upload("b", 61)), Some(TenantLimit::UploadBytes));
        assert_eq!(
            limit(operation("c_2", 3, None)),
            Some(TenantLimit::Operations)
        );
        let full = slots.admit(&[upload("b", 1)], &limits).unwrap();
        let third = full.admit(&[upload("c", 1)], &limits);
        assert_eq!(third, Err(NoRoom::Limit(TenantLimit::Uploads)));
        let freed = full.without(&[upload("a", 40)]);
        assert!(freed.admit(&[upload("c", 1)], &limits).is_ok());
    }

    #[test]
    fn a_log_has_one_audit_and_another_log_its_own() {
        let limits = TenantLimits::default();
        let (user, drive) = (LogId::user(), LogId::parse("0Adrive").unwrap());
        let slots = filled([operation("c_1", 1, Some(user.clone()))], &limits);
        let SlotKind::Operation { id, .. } = operation("c_1", 1, None).kind else {
            panic!("not an operation")
        };
        let again = slots.admit(&[operation("c_1", 2, Some(user.clone()))], &limits);
        assert_eq!(again, Err(NoRoom::Audited(id)));
        for other in [
            operation("c_1", 2, Some(drive)),
            operation("c_2", 2, Some(user)),
            operation("c_1", 2, None),
        ] {
            assert!(slots.admit(&[other], &limits).is_ok());
        }
    }

    #[test]
    fn a_request_for_more_logs_than_the_limit_is_admitted_whole() {
        let limits = TenantLimits {
            operations: 2,
            ..TenantLimits::default()
        };
        let logs: Vec<Slot> = (0..5)
            .map(|number| operation("c_1", number, None))
            .collect();
        let one = filled([operation("c_1", 9, None)], &limits);
        let full = one.admit(&logs, &limits).unwrap();
        assert_eq!(full.used().operations, 6);
        let more = full.admit(&[operation("c_2", 1, None)], &limits);
        assert_eq!(
            more,
            Err(NoRoom::Limit(TenantLimit::Operations)),
            "of another"
        );
        let again = full.admit(&logs, &limits);
        assert_eq!(again, Ok(full), "each has its slot");
    }
}
