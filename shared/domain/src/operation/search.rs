//! An exhaustive search of one operation with its executors: breadth-first over every interleaving
//! of steps, crashes (a step was done and its transition is not recorded), slow executors (a
//! transition is recorded late, or twice), lost and repeated page tokens, listings that end early
//! or that Drive says are incomplete, outages of the connection, and a person's decisions, within a
//! budget of each.
//!
//! What must hold: every run ends; what is found is counted once; nothing is repaired before
//! everything is verified, above the removal limit without confirmation, in a dry run, or after it
//! was cancelled; the log is released exactly when every page is queued; no run is done before two
//! whole listings were compared, and none that is done lacks a file that either of them showed; no
//! page token is followed twice; and a content scan that a caller relied on reaches every file.

use std::collections::{HashMap, HashSet};

use super::{
    ConnectionFacts, DriftCounts, ListedPage, LogRead, Operation, OperationState, RemovalLimits,
    Run, SelfCheckPhase, Work, entries_hash,
};
use crate::{ConnectionId, ConnectionKey, Jitter, LogId, OperationId, TenantId, Timestamp};

mod cases;

const T: Timestamp = Timestamp::from_millis(1_000_000);
const JITTER: Jitter = Jitter(0.5);
const MONTHS: i64 = 100 * 24 * 3_600_000;
/// More steps than any undisturbed run takes.
const STEPS_MAX: usize = 60;

pub(super) fn operation(run: Run, at: Timestamp) -> Operation {
    let key = ConnectionKey {
        tenant: TenantId::parse("acme").unwrap(),
        connection: ConnectionId::parse("c1").unwrap(),
    };
    let id = OperationId::parse("op1").unwrap();
    Operation::new(key, id, LogId::user(), "ann", at, run)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Budget {
    crashes: u8,
    slow: u8,
    lost_tokens: u8,
    outages: u8,
    decisions: u8,
    /// Listings that end after their first page, as if it were the last.
    short_listings: u8,
    /// Pages of which Drive says that the listing is incomplete.
    incomplete_pages: u8,
    /// Pages that name themselves as the next one.
    repeated_tokens: u8,
}

/// What Drive does to one page of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PageFault {
    None,
    EndsEarly,
    Incomplete,
    Repeats,
}

/// Two pages of everything: of Drive's files, stored records, candidates, marks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    operation: Operation,
    /// A transition that a slow executor has yet to record.
    late: Option<(Operation, Operation)>,
    log_waits: bool,
    active: bool,
    limit: u32,
    /// Pages that were queued, by token; that arrived, by number.
    queued: [bool; 2],
    /// Pages of the second listing that were compared with the records.
    seen: [bool; 2],
    /// A page of the present walk was said to be incomplete.
    incomplete: bool,
    /// Drive ended the first listing early.
    short: bool,
    arrived: u32,
    scan_scheduled: bool,
    log_was_read: bool,
    answered: [bool; 2],
    repaired: [bool; 2],
    confirmed: bool,
    cancelled: bool,
    /// Files of a drive that was left, one to a page; a file may come late.
    present: [bool; 2],
    /// Files whose content was woken, since a caller last relied on that.
    woken: [bool; 2],
    relied: bool,
    left: Budget,
    wrong: Option<&'static str>,
}

/// The rules under search, or a mutant of them.
#[derive(Clone, Copy)]
struct Rules {
    next_work: fn(&Operation, &ConnectionFacts, Timestamp) -> Work,
    on_page: fn(&Operation, &ListedPage<'_>) -> Operation,
    on_all_arrived: fn(&Operation) -> Operation,
    on_verified: fn(&Operation, &DriftCounts, Option<String>, &ConnectionFacts) -> Operation,
    decide: fn(&Operation, bool) -> Option<Operation>,
    stands_like: fn(&Operation, &Operation) -> bool,
    is_pending_scan: fn(&Operation) -> bool,
}

const OURS: Rules = Rules {
    next_work: Operation::next_work,
    on_page: |operation, page| operation.on_page(page, T, JITTER),
    on_all_arrived: |operation| operation.on_all_arrived(T),
    on_verified: |operation, found, next, facts| operation.on_verified(found, next, facts, T),
    decide: |operation, confirmed| operation.decide(confirmed, "bob", T).ok(),
    stands_like: Operation::stands_like,
    is_pending_scan: Operation::is_pending_scan,
};

/// The page at a position, and the position of the page after it.
fn page(position: Option<&str>) -> (usize, Option<String>) {
    match position {
        None => (0, Some("2".to_owned())),
        Some(_) => (1, None),
    }
}

impl World {
    fn new(run: Run, limit: u32, left: Budget) -> Self {
        let operation = operation(run, T);
        Self {
            log_waits: operation.blocks_log(),
            operation,
            late: None,
            active: true,
            limit,
            queued: [false; 2],
            seen: [false; 2],
            incomplete: false,
            short: false,
            arrived: 0,
            scan_scheduled: false,
            log_was_read: false,
            answered: [false; 2],
            repaired: [false; 2],
            confirmed: false,
            cancelled: false,
            present: [true; 2],
            woken: [false; 2],
            relied: false,
            left,
            wrong: None,
        }
    }

    fn facts(&self) -> ConnectionFacts {
        ConnectionFacts {
            active: self.active,
            mirrors_content: true,
            has_rules: true,
            removals: RemovalLimits {
                share_percent_max: 0,
                unasked_max: self.limit,
            },
        }
    }

    /// Does what is to be done now: the effects, and the transition to record.
    fn step(&mut self, fault: PageFault, rules: &Rules, now: Timestamp) -> Option<Operation> {
        let before = self.operation.clone();
        let facts = self.facts();
        if let (true, Some(token)) = (before.blocks_log(), before.page_to_list()) {
            return Some(self.list(token, fault, rules));
        }
        Some(match (rules.next_work)(&before, &facts, now) {
            Work::Nothing => return None,
            Work::Advance(after) | Work::Remind(after) => *after,
            Work::SelfCheck(part) => {
                let next = match &part {
                    SelfCheckPhase::LogsAndOperations => None,
                    SelfCheckPhase::Files(cursor) | SelfCheckPhase::Conflicts(cursor) => {
                        page(cursor.as_deref()).1
                    }
                };
                before.on_self_check(part.following(next), T)
            }
            Work::ListPage(token) | Work::SecondLook(token) => {
                self.list(token.as_deref(), fault, rules)
            }
            Work::CheckArrival { page } => {
                let pages = self.arrived.saturating_sub(page);
                before.on_arrival(pages, u64::from(pages), 0, T)
            }
            Work::Arrived { scan } => {
                self.scan_scheduled |= scan;
                (rules.on_all_arrived)(&before)
            }
            Work::Compare(position) => before.on_compared(1, page(position.as_deref()).1, T),
            Work::Verify {
                position,
                awaits_log,
            } => {
                let read_at = self.log_was_read.then_some(T.plus_millis(1));
                let read = before.log_was_read(read_at, T.plus_millis(60_000));
                if awaits_log && read != LogRead::Yes {
                    return Some(before.on_log_awaited(T));
                }
                let (at, next) = page(position.as_deref());
                self.answered[at] = true;
                let found = DriftCounts {
                    missing_here: u64::from(at == 0),
                    missing_there: u64::from(at == 1),
                    ..DriftCounts::default()
                };
                (rules.on_verified)(&before, &found, next, &facts)
            }
            Work::Repair(position) => {
                let (at, next) = page(position.as_deref());
                self.repair(at);
                before.on_repaired(next, T)
            }
            Work::MarkFiles(position) => {
                let (at, next) = page(position.as_deref());
                let marks = u64::from(std::mem::take(&mut self.present[at]));
                before.on_marked(marks, next, T)
            }
            Work::ScanContent(position) => {
                let (at, next) = page(position.as_deref());
                self.woken[at] = true;
                before.on_scanned(1, next, T)
            }
            // An erasure has a search of its own.
            Work::Erase(..)
            | Work::Certify
            | Work::CompareWithHistory(_)
            | Work::RestoreFiles(_) => return None,
        })
    }

    fn list(&mut self, token: Option<&str>, fault: PageFault, rules: &Rules) -> Operation {
        let (at, next) = page(token);
        let before = self.operation.clone();
        let second = before.form().second_look.is_some();
        let shown = if second {
            &mut self.seen
        } else {
            &mut self.queued
        };
        shown[at] = true;
        let next = match fault {
            PageFault::None | PageFault::Incomplete => next,
            PageFault::EndsEarly => None,
            PageFault::Repeats => Some("2".to_owned()),
        };
        let page = ListedPage {
            files: 1,
            entries: entries_hash([at]),
            next: next.as_deref(),
            incomplete: fault == PageFault::Incomplete,
        };
        self.short |= fault == PageFault::EndsEarly;
        self.incomplete = fault == PageFault::Incomplete || self.incomplete && token.is_some();
        let after = (rules.on_page)(&before, &page);
        let went_on =
            after.page_to_list().is_none() || after.form().second_look.is_some() != second;
        if self.incomplete && went_on {
            self.wrong = Some("an incomplete listing was taken for whole");
        }
        if fault == PageFault::Repeats && after.stopped_until(T).is_none() {
            self.wrong = Some("a token was followed twice");
        }
        after
    }

    /// What Drive may do to the page that is listed next.
    fn page_faults(&self) -> Vec<PageFault> {
        let (token, left) = (self.operation.page_to_list(), &self.left);
        let second_page = token.is_some_and(|token| token.is_some());
        // Of two listings that both end early, no rule can know.
        let first_page = token == Some(None) && !self.short;
        let faults = [
            (PageFault::EndsEarly, first_page && left.short_listings > 0),
            (
                PageFault::Incomplete,
                token.is_some() && left.incomplete_pages > 0,
            ),
            (PageFault::Repeats, second_page && left.repeated_tokens > 0),
        ];
        let possible = faults.into_iter().filter(|(_, possible)| *possible);
        possible.map(|(fault, _)| fault).collect()
    }

    fn repair(&mut self, at: usize) {
        self.repaired[at] = true;
        let wrong = |wrong, what| if wrong { Some(what) } else { None };
        self.wrong = wrong(
            self.answered != [true; 2],
            "repaired before it was verified",
        )
        .or(wrong(self.limit == 0 && !self.confirmed, "removed unasked"))
        .or(wrong(self.operation.is_dry_run(), "a dry run repaired"))
        .or(self.wrong);
    }

    /// Records a transition, if the operation still stands where it was computed from.
    fn record(&mut self, before: &Operation, after: Operation, rules: &Rules) {
        if !(rules.stands_like)(before, &self.operation) {
            return;
        }
        if before.blocks_log() && !after.blocks_log() {
            self.log_waits = false;
            if !after.has_ended() && !self.short && self.queued != [true; 2] {
                self.wrong = Some("the log was released too early");
            }
        }
        self.operation = after;
    }

    fn next(&self, rules: &Rules) -> Vec<(&'static str, Self)> {
        let mut out = Vec::new();
        for fault in self.page_faults() {
            let mut next = self.clone();
            let (left, what) = match fault {
                PageFault::None => continue,
                PageFault::EndsEarly => (
                    &mut next.left.short_listings,
                    "Drive ends the listing early",
                ),
                PageFault::Incomplete => (
                    &mut next.left.incomplete_pages,
                    "Drive says it is incomplete",
                ),
                PageFault::Repeats => (&mut next.left.repeated_tokens, "the token repeats"),
            };
            *left -= 1;
            if let Some(after) = next.step(fault, rules, T) {
                next.record(&self.operation, after, rules);
                out.push((what, next));
            }
        }
        let mut done = self.clone();
        if let Some(after) = done.step(PageFault::None, rules, T) {
            let before = &self.operation;
            if self.left.crashes > 0 {
                let mut crashed = done.clone();
                crashed.left.crashes -= 1;
                out.push(("a step is done and not recorded", crashed));
            }
            if self.left.slow > 0 && self.late.is_none() {
                let mut slow = done.clone();
                slow.left.slow -= 1;
                slow.late = Some((before.clone(), after.clone()));
                out.push(("a step is done by a slow executor", slow));
            }
            done.record(before, after, rules);
            out.push(("a step", done));
        }
        if let Some((before, after)) = self.late.clone() {
            let mut next = self.clone();
            next.late = None;
            next.record(&before, after, rules);
            out.push(("the slow executor records", next));
        }
        self.decisions(rules, &mut out);
        self.surroundings(rules, &mut out);
        out
    }

    fn decisions(&self, rules: &Rules, out: &mut Vec<(&'static str, Self)>) {
        for confirmed in [true, false] {
            let decided = (rules.decide)(&self.operation, confirmed);
            let (Some(after), true) = (decided, self.left.decisions > 0) else {
                continue;
            };
            let mut next = self.clone();
            next.left.decisions -= 1;
            next.confirmed |= confirmed;
            next.cancelled |= !confirmed;
            next.operation = after;
            out.push(("a person decides", next));
        }
    }

    fn surroundings(&self, rules: &Rules, out: &mut Vec<(&'static str, Self)>) {
        let mut event = |what, possible: bool, change: &dyn Fn(&mut Self)| {
            if possible {
                let mut next = self.clone();
                change(&mut next);
                out.push((what, next));
            }
        };
        let operation = &self.operation;
        event("the log is read", !self.log_was_read, &|next| {
            next.log_was_read = true
        });
        let awaited = operation
            .page_awaited()
            .is_some_and(|(page, _)| page == self.arrived);
        event("a page arrives", awaited, &|next| next.arrived += 1);
        let token = operation.page_to_list().flatten().is_some();
        event(
            "the token is lost",
            token && self.left.lost_tokens > 0,
            &|next| {
                next.left.lost_tokens -= 1;
                next.operation = operation.on_token_lost(T, JITTER);
                next.incomplete = false;
            },
        );
        event("the drive is left", self.log_waits, &|next| {
            next.operation = operation.failed("the shared drive was left", T);
            next.log_waits = false;
        });
        let switches = self.left.outages > 0 || !self.active;
        event("the connection is stopped or resumed", switches, &|next| {
            next.left.outages -= u8::from(self.active);
            next.active = !self.active;
        });
        let waits = operation.awaits_confirmation().is_some();
        event("months pass", waits, &|next| {
            let after = next.step(PageFault::None, rules, T.plus_millis(MONTHS));
            next.operation = after.unwrap_or_else(|| operation.clone());
        });
        let coming = operation
            .leave_drive()
            .is_some_and(|leave| leave.rounds == 0);
        event("a file of the drive comes late", coming, &|next| {
            next.present[0] = true
        });
        let scan = matches!(operation.run, Run::ContentScan(_)) && !operation.has_ended();
        let relies = scan && (rules.is_pending_scan)(operation);
        event("a caller relies on the scan", relies, &|next| {
            next.relied = true;
            next.woken = [false; 2];
        });
    }

    /// Returns what is wrong with this state, going by what really happened.
    fn judge(&self) -> Option<&'static str> {
        let operation = &self.operation;
        let form = operation.form();
        let state = form.state;
        let counts = form.comparison.counts;
        let compared = form.comparison.compared_at.is_some();
        let wrong = |wrong: bool, what| wrong.then_some(what);
        let decided = [
            OperationState::AwaitingConfirmation,
            OperationState::Repairing,
        ]
        .contains(&state)
            || state == OperationState::Done && compared;
        let whole = (counts.present, counts.missing_here, counts.missing_there) == (2, 1, 1);
        let done = state == OperationState::Done;
        let listing = matches!(operation.run, Run::Sync(_));
        let lists = listing || matches!(operation.run, Run::Audit(_));
        // What the second listing showed and the records lacked was looked up and repaired.
        let stored = |page: usize| self.queued[page] || self.seen[page] && self.repaired[page];
        self.wrong
            .or(wrong(decided && !whole, "the counts are not exact"))
            .or(wrong(
                self.log_waits != operation.blocks_log(),
                "the log waits for nothing",
            ))
            .or(wrong(
                operation.stall(self.log_waits, true, T).is_some(),
                "no executor takes it up",
            ))
            .or(wrong(
                self.cancelled && self.repaired != [false; 2],
                "cancelled and repaired",
            ))
            .or(wrong(
                done && lists && self.seen != [true; 2] && !self.short,
                "done without a second look",
            ))
            .or(wrong(
                done && listing && !(stored(0) && stored(1)),
                "done without a file",
            ))
            .or(wrong(
                done && listing && !self.scan_scheduled,
                "no content scan followed",
            ))
            .or(wrong(
                done && form.kind == super::OperationKind::LeaveDrive && self.present[0],
                "a file of the drive was left out",
            ))
            .or(wrong(
                done && self.relied && self.woken != [true; 2],
                "the scan missed a file",
            ))
            .or(wrong(
                form.into_run().as_ref() != Some(&operation.run),
                "not read back",
            ))
    }

    /// Whether it ends when nothing disturbs it any more, and nobody confirms it.
    fn ends(&self, rules: &Rules) -> bool {
        let mut world = self.clone();
        (world.active, world.log_was_read, world.late) = (true, true, None);
        for _ in 0..STEPS_MAX {
            world.arrived = u32::MAX;
            let before = world.operation.clone();
            let waits = before.awaits_confirmation().is_some();
            let now = T.plus_millis(if waits { MONTHS } else { 0 });
            match world.step(PageFault::None, rules, now) {
                Some(after) => world.record(&before, after, rules),
                None => return before.has_ended(),
            }
        }
        false
    }
}

/// Searches every state that can be reached; gives their number, and what went wrong first, with
/// its trace.
fn search(start: World, rules: &Rules) -> (usize, Option<String>) {
    let mut seen = HashSet::from([start.clone()]);
    // What the world did before makes no difference to how an operation ends.
    let mut ends: HashMap<(Operation, [bool; 2]), bool> = HashMap::new();
    let mut worlds = vec![(start, 0, "start")];
    let mut at = 0;
    while let Some((world, ..)) = worlds.get(at).cloned() {
        let end = ends.entry((world.operation.clone(), world.present));
        let ends = *end.or_insert_with(|| world.ends(rules));
        let endless = (!ends).then_some("it never ends");
        if let Some(wrong) = world.judge().or(endless) {
            let mut path = vec![];
            let mut back = at;
            while back > 0 {
                path.push(worlds[back].2);
                back = worlds[back].1;
            }
            path.reverse();
            return (worlds.len(), Some(format!("{wrong}: {path:?} {world:?}")));
        }
        for (event, next) in world.next(rules) {
            if seen.insert(next.clone()) {
                worlds.push((next, at, event));
            }
        }
        at += 1;
    }
    (worlds.len(), None)
}
