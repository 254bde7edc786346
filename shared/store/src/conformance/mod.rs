//! The store's guarantees, checked against a table.
//!
//! Every check takes a [`Store`] and works under tenants of its own, so that the same suite runs
//! against any endpoint: against an embedded table, one per check; and, if `AWS_ENDPOINT_URL` and
//! `DRIVESYNC_TEST_TABLE` are set, against that table at that endpoint (created if it is missing;
//! region and credentials from the usual variables), all checks in one run.

mod checks;
pub(crate) mod deletion;
pub(crate) mod events;
mod faults;
mod random;
mod recorded;
mod sizes;
mod support;
mod transport;
pub(crate) mod webhooks;

use crate::Store;

/// One list of checks generates both the single tests and the run of them all.
macro_rules! suite {
    ($($group:ident: $($check:ident),+;)+) => {
        /// Runs every check, one after the other, in one table.
        async fn run_all(store: &Store) {
            // On the heap: the future of all checks does not fit on a test's stack.
            $($(Box::pin(checks::$group::$check(store)).await;)+)+
        }

        mod embedded {
            $($(
                #[tokio::test(start_paused = true)]
                async fn $check() {
                    super::checks::$group::$check(&super::support::embedded().await).await;
                }
            )+)+
        }
    };
}

suite! {
    checks_ancestry:
        the_ancestors_of_many_files_are_found,
        a_change_to_a_folder_shows_below_it_at_once;
    checks_files:
        a_record_is_created_once_and_read_back_equal,
        a_stale_revision_returns_the_current_record,
        a_commit_on_nothing_is_stale_without_a_record,
        fifty_increments_by_five_writers_all_count,
        every_write_increments_the_revision,
        a_conflict_is_written_with_its_record_or_not_at_all,
        many_files_are_read_each_once,
        two_tenants_with_the_same_ids_never_meet,
        an_item_of_a_format_after_the_next_is_refused,
        a_malformed_item_is_corrupt,
        history_is_newest_first_and_writing_it_again_changes_nothing,
        the_state_of_a_time_is_found_and_kept_when_it_is_replaced,
        a_tombstone_expires_after_its_retention_unless_in_conflict,
        a_repeated_request_creates_one_file,
        a_file_in_creation_is_listed_and_due;
    checks_events:
        events_are_read_back_in_order_from_any_cursor,
        concurrent_writers_leave_no_gap,
        a_cursor_that_is_not_of_the_log_has_expired,
        a_log_begins_again_after_its_newest_item_expired,
        a_reader_without_a_cursor_passes_over_what_has_expired,
        a_restored_table_begins_a_new_epoch,
        a_reset_is_owed_until_it_is_reported,
        a_log_that_begins_has_a_state_that_is_due,
        an_unreadable_newest_item_is_followed_by_a_new_epoch,
        the_events_of_a_connection_are_among_its_remains;
    checks_inconsistencies:
        the_files_of_a_restore_are_read_back_equal_and_completed_once,
        a_misindexed_file_is_detected_and_repaired_by_a_write,
        a_log_channel_or_operation_missing_from_due_is_detected_and_repaired,
        a_conflict_missing_from_its_index_is_detected,
        of_one_kind_and_subject_the_latest_inconsistency_is_kept,
        an_operation_stores_its_inconsistency_counts;
    checks_formats:
        an_unknown_attribute_of_any_item_survives_every_write,
        an_item_is_never_written_back_in_a_lower_format,
        old_current_and_next_formats_are_read_and_later_ones_refused,
        a_write_in_the_next_format_still_depends_on_its_revision;
    checks_lists:
        a_file_is_listed_under_the_folder_that_the_application_sees,
        every_file_is_listed_once_page_by_page,
        an_intent_is_owed_then_failed_then_gone_from_the_list,
        due_files_come_earliest_first_and_not_before_their_time,
        only_out_of_scope_files_are_rescheduled,
        conflicts_are_listed_by_state_and_field,
        attention_is_counted,
        a_hostile_cursor_is_invalid,
        a_cursor_of_another_connection_reads_nothing_of_it;
    checks_answers:
        an_answer_is_stored_with_the_write_of_its_request_or_not_at_all,
        an_answer_ends_after_a_day_by_the_time_of_its_reader,
        a_connection_is_created_with_its_log_or_not_at_all,
        an_act_is_written_with_its_change_or_not_at_all,
        acts_at_the_same_time_are_all_there_once_in_whole_chains,
        an_altered_act_is_found_and_an_erased_person_breaks_nothing,
        what_a_policy_decides_is_an_act;
    checks_connections:
        a_connection_is_created_once_saved_on_its_revision_and_listed,
        a_list_of_some_connections_has_full_pages,
        a_channel_is_known_before_its_resource_id,
        a_replaced_channel_is_not_activated,
        a_stray_channel_is_remembered_once_listed_and_forgotten,
        the_key_of_channel_tokens_is_made_once,
        an_input_that_fails_again_keeps_its_history,
        of_two_decisions_on_a_dead_letter_one_is_saved,
        a_snapshot_with_a_dead_letter_is_not_missing,
        a_table_is_created_only_once;
    checks_deletion:
        a_deleted_connection_is_restored_or_leaves_a_tombstone,
        a_page_of_connections_is_full_whatever_was_deleted,
        everything_of_a_connection_is_found_and_erased;
    checks_logs:
        a_log_is_created_once_and_listed,
        of_two_workers_on_one_token_one_advances,
        a_stopped_log_is_due_at_the_end_of_its_wait,
        a_comparison_begins_once,
        advancing_to_the_current_cursor_is_done,
        a_listing_log_does_not_advance_for_a_follower,
        the_channel_of_a_log_is_set_once,
        a_watch_is_postponed_until_a_channel_is_set,
        due_items_are_listed_earliest_first_per_shard;
    checks_rate_limit:
        a_rate_limit_is_created_once_and_read_back_equal,
        concurrent_workers_lease_no_more_units_than_there_are,
        a_tenants_rates_are_shared_by_all_workers,
        what_a_tenant_begins_is_admitted_with_it_or_not_at_all,
        what_is_read_is_counted;
    checks_drive_logs:
        leaving_a_drive_fails_its_listing_and_creates_the_scan,
        a_log_that_moved_is_not_left,
        a_drive_that_is_joined_again_starts_anew,
        the_drives_are_compared_again_after_a_listing_began,
        a_scan_continues_from_its_recorded_position,
        a_gone_file_has_arrived_and_is_reported_as_gone;
    checks_operations:
        a_listing_goes_from_its_first_page_to_done,
        a_page_that_was_recorded_is_stale,
        a_page_that_stops_its_listing_is_not_recorded,
        of_two_listings_of_one_log_one_begins,
        a_superseded_listing_does_not_release_the_log,
        an_audit_leaves_the_log_alone,
        a_restarted_listing_refuses_a_page_of_the_previous_one,
        a_failed_operation_has_a_reason,
        operations_are_listed_newest_first_without_their_pages,
        a_scan_is_created_unless_one_is_pending;
    checks_drift:
        an_operation_moves_state_by_state_and_late_writers_change_nothing,
        a_candidate_is_recorded_once_and_verified_once,
        every_finding_is_read_back_equal_page_by_page,
        a_large_finding_is_cut,
        the_pages_of_a_listing_are_read_in_order;
    checks_content:
        versions_are_read_back_equal_newest_first,
        of_two_uploads_of_one_content_the_first_wins,
        a_version_is_counted_once_however_often_it_is_linked,
        a_pinned_version_stays,
        an_unreferenced_object_is_due_and_collected_in_its_time,
        an_object_in_collection_is_not_linked,
        an_object_is_retained_for_a_caller_about_to_link_it,
        another_tenants_same_content_is_another_object,
        concurrent_versions_keep_the_count_right_and_no_referenced_object_is_collected,
        a_content_state_is_saved_on_its_revision,
        two_workers_never_take_the_same_slot_of_the_retries;
    checks_multipart_uploads:
        an_upload_is_kept_until_it_is_deleted_or_expires,
        a_restored_version_records_who_and_why;
    checks_webhooks:
        an_endpoint_is_created_once_read_back_equal_and_due_while_active,
        of_two_workers_one_claims_an_endpoint,
        a_place_moves_on_only_from_where_it_is,
        deliveries_are_listed_newest_first_and_go_with_their_endpoint,
        an_erased_connection_leaves_nothing_in_endpoints;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_suite_passes_in_one_table() {
    let store = match support::elsewhere().await {
        Some(store) => store,
        None => support::embedded().await,
    };
    run_all(&store).await;
}
