//! What the search finds: nothing with the rules, and each mutant of them.

use super::super::{
    ConnectionFacts, End, ListedPage, OperationState, PageWalk, RemovalLimits, Run, Stage, SyncKind,
};
use super::{Budget, JITTER, OURS, Rules, T, World, search};

const BUDGET: Budget = Budget {
    crashes: 2,
    slow: 1,
    lost_tokens: 1,
    outages: 1,
    decisions: 1,
    short_listings: 0,
    incomplete_pages: 0,
    repeated_tokens: 0,
};
/// Less of all else, and the false words of Drive.
const FALSE_LISTINGS: Budget = Budget {
    crashes: 0,
    slow: 1,
    lost_tokens: 1,
    outages: 0,
    decisions: 0,
    short_listings: 1,
    incomplete_pages: 1,
    repeated_tokens: 1,
};

#[track_caller]
fn holds(run: Run, limit: u32, states_at_least: usize) {
    holds_within(run, limit, BUDGET, states_at_least);
}

#[track_caller]
fn holds_within(run: Run, limit: u32, budget: Budget, states_at_least: usize) {
    let (states, wrong) = search(World::new(run, limit, budget), &OURS);
    eprintln!("{states} states");
    assert_eq!(wrong, None);
    assert!(states >= states_at_least, "only {states} states were seen");
}

#[track_caller]
fn caught(run: Run, limit: u32, rules: &Rules, wrong: &str) {
    caught_within(run, limit, BUDGET, rules, wrong);
}

#[track_caller]
fn caught_within(run: Run, limit: u32, budget: Budget, rules: &Rules, wrong: &str) {
    let (_, found) = search(World::new(run, limit, budget), rules);
    let found = found.expect("not caught");
    assert!(found.starts_with(wrong), "{found}");
}

#[test]
fn listings_end_with_everything_queued_and_scanned() {
    holds(Run::sync(SyncKind::Initial), 0, 4_000);
    holds(Run::sync(SyncKind::Resync), 0, 15_000);
}

#[test]
fn audits_repair_nothing_unverified_or_unconfirmed() {
    holds(Run::audit(false), 0, 15_000);
    holds(Run::audit(false), 1, 15_000);
    holds(Run::audit(true), 1, 15_000);
}

#[test]
fn leaving_a_drive_marks_every_file() {
    holds(Run::leave_drive(), 0, 2_500);
}

#[test]
fn a_content_scan_reaches_every_file() {
    holds(Run::content_scan(), 0, 1_500);
}

#[test]
fn a_transition_recorded_without_a_condition_is_caught() {
    let rules = Rules {
        stands_like: |_, _| true,
        ..OURS
    };
    caught(Run::audit(false), 1, &rules, "cancelled and repaired");
    let listing = Run::sync(SyncKind::Initial);
    caught(listing, 0, &rules, "the log waits for nothing");
}

#[test]
fn a_removal_above_the_limit_without_confirmation_is_caught() {
    let rules = Rules {
        on_verified: |operation, found, next, facts| {
            let removals = RemovalLimits::default();
            let facts = ConnectionFacts { removals, ..*facts };
            operation.on_verified(found, next, &facts, T)
        },
        ..OURS
    };
    caught(Run::audit(false), 0, &rules, "removed unasked");
}

#[test]
fn a_repair_before_everything_is_verified_is_caught() {
    let rules = Rules {
        on_verified: |operation, found, _, facts| operation.on_verified(found, None, facts, T),
        ..OURS
    };
    caught(Run::audit(false), 1, &rules, "the counts are not exact");
}

#[test]
fn a_dry_run_that_repairs_is_caught() {
    let rules = Rules {
        on_verified: |operation, found, next, facts| {
            let mut wet = operation.clone();
            if let Run::Audit(audit) = &mut wet.run {
                audit.dry_run = false;
            }
            let mut after = wet.on_verified(found, next, facts, T);
            if let Run::Audit(audit) = &mut after.run {
                audit.dry_run = true;
            }
            after
        },
        ..OURS
    };
    caught(Run::audit(true), 1, &rules, "a dry run repaired");
}

#[test]
fn a_cancellation_after_a_repair_is_caught() {
    let rules = Rules {
        decide: |operation, confirmed| {
            if operation.state() == OperationState::Repairing && !confirmed {
                return Some(operation.ended(End::Cancelled, T));
            }
            (OURS.decide)(operation, confirmed)
        },
        ..OURS
    };
    caught(Run::audit(false), 1, &rules, "cancelled and repaired");
}

#[test]
fn an_operation_that_waits_for_a_person_for_ever_is_caught() {
    let rules = Rules {
        next_work: |operation, facts, _| operation.next_work(facts, T),
        ..OURS
    };
    caught(Run::audit(false), 0, &rules, "it never ends");
}

#[test]
fn a_log_that_is_released_before_the_last_page_is_caught() {
    let rules = Rules {
        on_page: |operation, page| {
            let last = ListedPage {
                next: None,
                ..*page
            };
            operation.on_page(&last, T, JITTER)
        },
        ..OURS
    };
    let listing = Run::sync(SyncKind::Initial);
    caught(listing, 0, &rules, "the log was released too early");
}

#[test]
fn listings_that_drive_cuts_short_end_with_every_file_that_it_showed() {
    holds_within(Run::sync(SyncKind::Initial), 1, FALSE_LISTINGS, 1_000);
    holds_within(Run::sync(SyncKind::Resync), 1, FALSE_LISTINGS, 1_000);
    holds_within(Run::audit(false), 1, FALSE_LISTINGS, 1_000);
    holds_within(Run::comparison(), 1, FALSE_LISTINGS, 200);
}

#[test]
fn a_first_sync_that_is_done_after_one_short_listing_is_caught() {
    let rules = Rules {
        on_all_arrived: |operation| {
            let arrived = operation.on_all_arrived(T);
            if arrived.form().second_look.is_none() {
                return arrived;
            }
            operation.ended(End::Done, T)
        },
        ..OURS
    };
    let listing = Run::sync(SyncKind::Initial);
    caught_within(listing, 1, FALSE_LISTINGS, &rules, "done without a");
}

#[test]
fn a_token_that_is_followed_twice_is_caught() {
    let rules = Rules {
        on_page: |operation, page| {
            let mut forgetful = operation.clone();
            if let Run::Sync(sync) = &mut forgetful.run {
                sync.listing.walk = PageWalk::default();
                if let Stage::Listing { token } | Stage::SecondLook { token } =
                    &mut sync.listing.stage
                {
                    *token = None;
                }
            }
            forgetful.on_page(page, T, JITTER)
        },
        ..OURS
    };
    let listing = Run::sync(SyncKind::Resync);
    caught_within(
        listing,
        1,
        FALSE_LISTINGS,
        &rules,
        "a token was followed twice",
    );
}

#[test]
fn an_incomplete_listing_that_is_taken_for_whole_is_caught() {
    let rules = Rules {
        on_page: |operation, page| {
            let believed = ListedPage {
                incomplete: false,
                ..*page
            };
            operation.on_page(&believed, T, JITTER)
        },
        ..OURS
    };
    let listing = Run::sync(SyncKind::Initial);
    let wrong = "an incomplete listing was taken for whole";
    caught_within(listing, 1, FALSE_LISTINGS, &rules, wrong);
}

#[test]
fn a_scan_that_is_relied_on_while_it_runs_is_caught() {
    let rules = Rules {
        is_pending_scan: |operation| matches!(operation.run, Run::ContentScan(_)),
        ..OURS
    };
    caught(Run::content_scan(), 0, &rules, "the scan missed a file");
}
