//! Reading the change logs.

use crate::{
    errors::DriveError,
    ids::{DriveId, UserId},
    state::{
        State, View,
        change_logs::{
            change_log::{ChangeLog, Entry, Subject},
            page_token::PageToken,
        },
        items::{breaches::Breach, item::Home},
    },
};

/// The log to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Log {
    /// The caller's log.
    User,
    /// A shared drive's log.
    Drive(DriveId),
}

impl Log {
    /// Returns the scope of its page tokens.
    pub(crate) fn scope(&self, user: &UserId) -> String {
        match self {
            Self::User => format!("log:user:{user}"),
            Self::Drive(id) => format!("log:drive:{id}"),
        }
    }
}

/// The parameters of a `changes.list`.
#[derive(Debug, Clone)]
pub(crate) struct FeedRequest {
    pub(crate) page_token: String,
    pub(crate) page_size: usize,
    pub(crate) log: Log,
    pub(crate) include_removed: bool,
    pub(crate) include_all_drives: bool,
    pub(crate) include_corpus_removals: bool,
    pub(crate) my_drive_only: bool,
    /// Only application data is requested, of which there is none.
    pub(crate) app_data_only: bool,
}

/// One change as a reader sees it.
#[derive(Debug, Clone)]
pub(crate) struct ChangeView {
    pub(crate) subject: Subject,
    pub(crate) time_ms: i64,
    pub(crate) removed: bool,
    pub(crate) file: Option<View>,
}

/// One page of changes.
#[derive(Debug)]
pub(crate) struct FeedPage {
    pub(crate) changes: Vec<ChangeView>,
    pub(crate) next_page_token: Option<String>,
    pub(crate) new_start_page_token: Option<String>,
}

impl State {
    /// Returns the token after the last entry of a log.
    ///
    /// # Errors
    /// 404 for a shared drive that the user is not a member of.
    pub(crate) fn start_page_token(&self, user: &UserId, log: &Log) -> Result<String, DriveError> {
        let end = match log {
            Log::User => self
                .user_logs
                .get(user)
                .map_or(0, |log| self.visible_end(log)),
            Log::Drive(id) => self.visible_end(&self.drive(user, id.as_str())?.1.log),
        };
        Ok(self.log_token(user, log, end, 0))
    }

    /// Returns the position of a token, after checking that it belongs to the log.
    ///
    /// # Errors
    /// 400 `invalid` at `pageToken` for any other token.
    pub(crate) fn position(
        &self,
        user: &UserId,
        log: &Log,
        token: &str,
    ) -> Result<u64, DriveError> {
        let scope = log.scope(user);
        PageToken::decode(token)
            .filter(|token| token.epoch == self.epoch_of(&scope) && token.scope == scope)
            .map(|token| token.position)
            .ok_or_else(|| {
                if self.breaches.has(Breach::InvalidPageTokenIsLocated) {
                    DriveError::bad_request("Bad Request")
                } else {
                    DriveError::invalid("pageToken")
                }
            })
    }

    /// Returns one page of a log.
    ///
    /// # Errors
    /// 400 for a token of another log, 404 for an inaccessible shared drive.
    pub(crate) fn changes(
        &mut self,
        user: &UserId,
        request: &FeedRequest,
    ) -> Result<FeedPage, DriveError> {
        if let Log::Drive(id) = &request.log {
            self.drive(user, id.as_str())?;
        }
        let start = self.position(user, &request.log, &request.page_token)?;
        let (pages, empty_page) = self.paging.begin_page();
        if empty_page {
            let next = self.log_token(user, &request.log, start, pages);
            return Ok(FeedPage {
                changes: Vec::new(),
                next_page_token: Some(next),
                new_start_page_token: None,
            });
        }
        let size = self.paging.size_of(request.page_size);
        let (mut changes, mut position, mut more) = (Vec::new(), start, false);
        let empty = ChangeLog::default();
        let log = match &request.log {
            Log::User => self.user_logs.get(user).unwrap_or(&empty),
            Log::Drive(id) => &self.drive(user, id.as_str())?.1.log,
        };
        let visible = |(_, entry): &(u64, &Entry)| self.is_visible(entry);
        for (id, entry) in log.after(start).take_while(visible) {
            if changes.len() == size {
                more = true;
                break;
            }
            position = id;
            if request.include_all_drives && !log.is_latest(id, &entry.subject) {
                continue;
            }
            changes.extend(self.change_view(user, request, entry));
        }
        if !more {
            position = self.visible_end(log).max(start);
        }
        let token = self.log_token(user, &request.log, position, 0);
        let (next_page_token, new_start_page_token) = if more {
            (Some(token), None)
        } else {
            (None, Some(token))
        };
        Ok(FeedPage {
            changes,
            next_page_token,
            new_start_page_token,
        })
    }

    /// Returns the entry as this reader sees it; `None` if it is not visible to them.
    fn change_view(
        &self,
        user: &UserId,
        request: &FeedRequest,
        entry: &Entry,
    ) -> Option<ChangeView> {
        if request.app_data_only || (entry.drive.is_some() && !request.include_all_drives) {
            return None;
        }
        let file = match &entry.subject {
            Subject::File(file) => self.view(user, file),
            Subject::Drive(_) => None,
        };
        let removed =
            entry.removed || (matches!(entry.subject, Subject::File(_)) && file.is_none());
        let elsewhere = |view: &View| view.home != Home::MyDrive(user.clone());
        if (removed && !request.include_removed)
            || (request.my_drive_only && file.as_ref().is_some_and(elsewhere))
        {
            return None;
        }
        let file = file.filter(|_| !removed || request.include_corpus_removals);
        Some(ChangeView {
            subject: entry.subject.clone(),
            time_ms: entry.time_ms,
            removed,
            file,
        })
    }

    fn log_token(&self, user: &UserId, log: &Log, position: u64, salt: u64) -> String {
        let scope = log.scope(user);
        PageToken {
            epoch: self.epoch_of(&scope),
            scope,
            position,
            salt,
        }
        .encode()
    }

    /// Invalidates the page tokens of one log; `user` is the log's user, if it is a user's log.
    pub(crate) fn invalidate_log_tokens(&mut self, user: &UserId, log: &Log) {
        let generation = self.log_generations.entry(log.scope(user)).or_default();
        *generation = generation.wrapping_add(1);
    }

    /// Returns the current epoch of a log, which valid tokens have.
    pub(crate) fn epoch_of(&self, scope: &str) -> u32 {
        let generation = self.log_generations.get(scope).copied().unwrap_or(0);
        self.epoch.wrapping_add(generation)
    }

    /// Returns whether an entry is visible yet. Entries appear in the order in which they were
    /// written.
    pub(crate) fn is_visible(&self, entry: &Entry) -> bool {
        entry.time_ms.saturating_add(self.visibility_delay_ms) <= self.now_ms
    }

    /// Returns the position after the last visible entry of a log.
    pub(crate) fn visible_end(&self, log: &ChangeLog) -> u64 {
        if self.visibility_delay_ms == 0 {
            return log.end();
        }
        log.after(0)
            .rev()
            .take_while(|(_, entry)| !self.is_visible(entry))
            .last()
            .map_or(log.end(), |(id, _)| id.saturating_sub(1))
    }
}
