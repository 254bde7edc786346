//! Reads a run from the flat form of an operation.

use super::{
    Audit, ContentScan, End, Erase, ErasePerson, ErasePersonStage, EraseStage, EraseTenant,
    EraseTenantStage, Export, ExportStage, LeaveDrive, Listing, OperationForm, OperationKind,
    OperationState, Restore, RestoreStage, Run, ScanState, SelfCheckPhase, Stage, Sync, SyncKind,
};

impl OperationForm {
    fn end(&self) -> Option<End> {
        match self.state {
            OperationState::Done => Some(End::Done),
            OperationState::Cancelled => Some(End::Cancelled),
            OperationState::Failed => Some(End::Failed {
                reason: self.reason.clone().unwrap_or_default(),
            }),
            OperationState::SelfChecking
            | OperationState::Listing
            | OperationState::Listed
            | OperationState::Comparing
            | OperationState::Verifying
            | OperationState::AwaitingConfirmation
            | OperationState::Repairing
            | OperationState::Restoring
            | OperationState::Waiting
            | OperationState::Erasing
            | OperationState::Draining
            | OperationState::Exporting
            | OperationState::Ready
            | OperationState::Cancelling => None,
        }
    }

    /// Returns the run; `None` if its kind has no such state.
    #[must_use]
    pub fn into_run(self) -> Option<Run> {
        match self.kind {
            OperationKind::InitialSync => self.into_sync(SyncKind::Initial),
            OperationKind::Delta => self.into_sync(SyncKind::Delta),
            OperationKind::Resync => self.into_sync(SyncKind::Resync),
            OperationKind::Audit => self.into_audit(),
            OperationKind::LeaveDrive => self.into_leave_drive(),
            OperationKind::ContentScan => self.into_content_scan(),
            OperationKind::Erase => self.into_erase(),
            OperationKind::Export => self.into_export(),
            OperationKind::ErasePerson => self.into_person_erasure(),
            OperationKind::EraseTenant => self.into_tenant_erasure(),
            OperationKind::Restore => self.into_restore(),
        }
    }

    /// Returns the listing; a run without comparison has no stages after `Listed`.
    fn into_listing(self, compares: bool) -> Option<Listing> {
        let position = self.position.clone();
        let stage = match self.state {
            OperationState::SelfChecking | OperationState::Listing => Stage::Listing {
                token: self.page_token.clone(),
            },
            OperationState::Listed => match self.second_look {
                None => Stage::Listed,
                Some(_) => Stage::SecondLook {
                    token: self.page_token.clone(),
                },
            },
            OperationState::Done | OperationState::Cancelled | OperationState::Failed => {
                Stage::Ended(self.end()?)
            }
            OperationState::Comparing => Stage::Comparing { position },
            OperationState::Verifying => Stage::Verifying { position },
            OperationState::AwaitingConfirmation => {
                let since = self.since?;
                Stage::AwaitingConfirmation { since }
            }
            OperationState::Repairing => Stage::Repairing { position },
            OperationState::Restoring
            | OperationState::Waiting
            | OperationState::Erasing
            | OperationState::Draining
            | OperationState::Exporting
            | OperationState::Ready
            | OperationState::Cancelling => return None,
        };
        let possible = compares
            || matches!(
                stage,
                Stage::Listing { .. } | Stage::Listed | Stage::Ended(_)
            );
        possible.then_some(Listing {
            stage,
            pages: self.pages,
            listed: self.listed,
            progressed_at: self.progressed_at,
            second_look: self.second_look,
            walk: self.walk,
            incomplete: self.incomplete,
            stop: self.stop,
            comparison: self.comparison,
        })
    }

    fn into_sync(self, kind: SyncKind) -> Option<Run> {
        if self.state == OperationState::SelfChecking {
            return None;
        }
        Some(Run::Sync(Sync {
            kind,
            pages_verified: self.pages_verified,
            verified: self.verified,
            errors: self.errors,
            listing: self.into_listing(kind.lists_all())?,
        }))
    }

    fn into_audit(mut self) -> Option<Run> {
        let checking = self.state == OperationState::SelfChecking;
        Some(Run::Audit(Audit {
            dry_run: self.dry_run,
            self_check: checking.then(|| SelfCheckPhase::parse(self.position.as_deref())),
            inconsistencies: std::mem::take(&mut self.inconsistencies),
            listing: self.into_listing(true)?,
        }))
    }

    fn into_leave_drive(self) -> Option<Run> {
        let end = self.end();
        (end.is_some() || self.state == OperationState::Listed).then_some(Run::LeaveDrive(
            LeaveDrive {
                end,
                position: self.page_token,
                rounds: self.pages,
                queued: self.listed,
                queued_before: self.verified,
            },
        ))
    }

    fn into_content_scan(self) -> Option<Run> {
        let state = match (self.end(), self.progressed_at) {
            (Some(end), _) => ScanState::Ended(end),
            (None, _) if self.state != OperationState::Listed => return None,
            (None, None) => ScanState::Pending,
            (None, Some(_)) => ScanState::Scanning {
                position: self.position,
            },
        };
        Some(Run::ContentScan(ContentScan {
            state,
            pages: self.pages,
            woken: self.listed,
            progressed_at: self.progressed_at,
        }))
    }
}

impl OperationForm {
    fn into_export(self) -> Option<Run> {
        let position = self.position.as_deref();
        let stage = match (self.end(), self.state) {
            (Some(end), _) => ExportStage::Ended(end),
            (None, OperationState::Exporting) => Export::reading_at(position)?,
            (None, OperationState::Ready) => Export::ready_at(position)?,
            (None, OperationState::Cancelling) => ExportStage::Cancelling,
            (None, _) => return None,
        };
        let form = self.export?;
        Some(Run::Export(Export {
            scope: form.scope,
            stage,
            files: form.files,
            counts: form.counts,
            steps: self.pages,
            progressed_at: self.progressed_at,
        }))
    }

    fn into_person_erasure(self) -> Option<Run> {
        let stage = match (self.end(), self.state) {
            (Some(end), _) => ErasePersonStage::Ended(end),
            (None, OperationState::Draining) => ErasePersonStage::Draining,
            (None, OperationState::Erasing) => ErasePerson::looking_at(self.position.as_deref()?)?,
            (None, _) => return None,
        };
        let form = self.person?;
        Some(Run::ErasePerson(ErasePerson {
            dry_run: self.dry_run,
            person: form.person,
            number: form.number,
            quiet_at: form.quiet_at,
            stage,
            counts: form.counts,
            in_drive: form.in_drive,
            in_settings: form.in_settings,
            steps: self.pages,
            progressed_at: self.progressed_at,
        }))
    }

    fn into_tenant_erasure(self) -> Option<Run> {
        let position = self.position.as_deref();
        let stage = match (self.end(), self.state) {
            (Some(end), _) => EraseTenantStage::Ended(end),
            (None, OperationState::Draining) => EraseTenant::draining_at(position?)?,
            (None, OperationState::Erasing) => EraseTenant::stage_at(position?)?,
            (None, _) => return None,
        };
        Some(Run::EraseTenant(EraseTenant {
            dry_run: self.dry_run,
            stage,
            counts: self.tenant?,
            steps: self.pages,
            progressed_at: self.progressed_at,
        }))
    }

    fn into_restore(self) -> Option<Run> {
        let stage = match (self.end(), self.state) {
            (Some(end), _) => RestoreStage::Ended(end),
            (None, OperationState::Comparing) => RestoreStage::Comparing(self.position),
            (None, OperationState::AwaitingConfirmation) => {
                let since = self.since?;
                RestoreStage::AwaitingConfirmation { since }
            }
            (None, OperationState::Restoring) => RestoreStage::Restoring(self.position),
            (None, _) => return None,
        };
        let form = self.restore?;
        Some(Run::Restore(Restore {
            dry_run: self.dry_run,
            folder: form.folder,
            at: form.at,
            stage,
            counts: form.counts,
            decision: self.comparison.decision,
            steps: self.pages,
            progressed_at: self.progressed_at,
        }))
    }

    fn into_erase(self) -> Option<Run> {
        let stage = match (self.end(), self.state) {
            (Some(end), _) => EraseStage::Ended(end),
            (None, OperationState::Waiting) => EraseStage::Waiting,
            (None, OperationState::Draining) => EraseStage::Draining,
            (None, OperationState::Erasing) => Erase::stage_at(self.position.as_deref()?)?,
            (None, _) => return None,
        };
        let form = self.erasure?;
        Some(Run::Erase(Erase {
            dry_run: self.dry_run,
            generation: form.generation,
            begins_at: form.begins_at,
            quiet_at: form.quiet_at,
            stage,
            counts: form.counts,
            steps: self.pages,
            progressed_at: self.progressed_at,
        }))
    }
}
