//! What the store promises, checked against a table.
//!
//! Every check below takes a [`Store`] and works under tenants of its own, so that the same suite runs
//! against any endpoint: by itself against an embedded table, one per check; and, where
//! `AWS_ENDPOINT_URL` and `DRIVESYNC_TEST_TABLE` are set, against that table at that endpoint (made if
//! it is missing; region and credentials from the usual variables), in one go.

mod checks_ancestry;
mod checks_connections;
mod checks_content;
mod checks_drift;
mod checks_files;
mod checks_flaws;
mod checks_incoming;
mod checks_lists;
mod checks_logs;
mod checks_membership;
mod checks_operations;
mod checks_pace;
mod faults;
mod random;
mod sizes;
mod support;
mod transport;

use crate::Store;

/// One list of checks makes both the single tests and the run of them all.
macro_rules! suite {
    ($($group:ident: $($check:ident),+;)+) => {
        /// Every check, one after the other, in one table.
        async fn run_all(store: &Store) {
            // On the heap: a test's stack bears no future with all of them in it.
            $($(Box::pin($group::$check(store)).await;)+)+
        }

        mod embedded {
            $($(
                #[tokio::test(start_paused = true)]
                async fn $check() {
                    super::$group::$check(&super::support::embedded().await).await;
                }
            )+)+
        }
    };
}

suite! {
    checks_ancestry:
        the_folders_above_many_files_are_found,
        a_folders_change_is_seen_below_it_as_soon_as_it_is_stored;
    checks_files:
        a_record_is_made_once_and_comes_back_equal,
        a_stale_revision_returns_the_current_record,
        a_commit_on_nothing_is_stale_without_a_record,
        fifty_increments_of_five_writers_all_count,
        every_write_moves_the_revision,
        a_conflict_is_written_with_its_record_or_not_at_all,
        many_files_come_back_each_once,
        two_tenants_with_the_same_ids_never_meet,
        an_item_of_newer_code_is_refused,
        an_item_that_is_not_ours_is_corrupt,
        history_is_newest_first_and_writing_it_again_changes_nothing,
        a_tombstone_of_an_unknown_file_expires_and_others_do_not,
        a_request_makes_one_file_however_often_it_comes,
        a_file_that_is_being_made_is_listed_and_due;
    checks_flaws:
        a_file_that_an_index_has_wrong_is_seen_and_put_right_by_a_write,
        a_log_a_channel_and_an_operation_that_are_not_due_are_seen_and_put_right,
        a_conflict_that_no_list_has_is_seen,
        a_flaw_comes_back_as_it_was_and_of_one_thing_the_latest_is_kept,
        an_operation_keeps_how_many_flaws_it_found;
    checks_lists:
        a_file_is_listed_under_the_folder_where_the_application_has_it,
        every_file_is_listed_once_page_by_page,
        an_intent_is_owed_then_failed_then_gone_from_the_list,
        due_files_come_earliest_first_and_not_before_their_time,
        what_is_held_is_released_and_nothing_else,
        conflicts_are_listed_by_state_and_field,
        attention_is_counted,
        a_hostile_cursor_is_invalid,
        a_cursor_of_another_connection_reads_nothing_of_it;
    checks_connections:
        a_connection_is_made_once_saved_on_its_revision_and_listed,
        a_channel_counts_before_its_resource_is_known,
        a_replaced_channel_is_not_activated,
        an_input_that_is_parked_again_keeps_its_history,
        of_two_who_decide_on_a_parked_input_one_does,
        a_parked_snapshot_is_not_missing,
        a_table_is_made_only_once;
    checks_logs:
        a_log_is_made_once_and_listed,
        of_two_racers_on_one_token_one_advances,
        advancing_to_where_the_log_stands_already_is_done,
        a_log_that_lists_does_not_advance_for_who_followed,
        the_channel_of_a_log_is_set_once,
        a_watch_is_put_off_until_a_channel_is_set,
        what_is_due_comes_earliest_first_in_its_shard;
    checks_pace:
        a_pace_is_made_once_and_comes_back_equal,
        workers_that_race_for_units_take_no_more_than_there_are;
    checks_membership:
        a_drive_that_is_left_ends_its_listing_and_begins_the_marking,
        a_log_that_moved_is_not_left,
        a_drive_that_is_joined_again_begins_anew,
        comparing_the_drives_is_wanted_again_after_a_listing_began,
        a_walk_goes_on_from_where_it_was_recorded,
        a_file_that_is_gone_has_arrived_and_is_told_apart;
    checks_operations:
        a_listing_goes_from_its_first_page_to_done,
        a_page_that_was_recorded_is_stale,
        of_two_listings_of_one_log_one_begins,
        a_superseded_listing_does_not_set_the_log_free,
        an_audit_leaves_the_log_alone,
        a_restarted_listing_does_not_take_a_page_of_the_one_before,
        an_operation_that_failed_says_why,
        operations_are_listed_newest_first_without_their_pages,
        a_walk_is_made_unless_one_is_to_come;
    checks_drift:
        an_operation_goes_from_step_to_step_and_who_is_late_moves_nothing,
        a_suspicion_is_written_once_and_settled_once,
        every_finding_comes_back_as_it_was_page_by_page,
        of_a_large_finding_a_part_is_kept,
        the_pages_of_a_listing_are_read_in_order;
    checks_content:
        a_version_comes_back_equal_and_the_newest_first,
        of_two_who_store_one_content_the_first_stands,
        a_version_is_counted_once_however_often_it_is_linked,
        a_pinned_version_stays,
        what_nothing_names_is_due_and_collected_in_its_time,
        what_is_being_collected_is_not_linked,
        an_object_is_held_for_who_is_about_to_link_it,
        another_tenants_same_content_is_another_object,
        versions_that_race_leave_the_count_right_and_nothing_named_is_collected,
        a_content_state_is_saved_on_its_revision;
    checks_incoming:
        an_upload_is_kept_until_it_is_dropped_or_expires,
        a_restored_version_says_who_and_why;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_suite_holds_in_one_table() {
    let store = match support::elsewhere().await {
        Some(store) => store,
        None => support::embedded().await,
    };
    run_all(&store).await;
}
