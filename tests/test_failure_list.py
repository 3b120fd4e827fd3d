"""The failures that must lose nothing: each line names the tests that hold it, or the part that will bring it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ACCEPTANCE = "acceptance/test_daemon.py"
CRASH = "acceptance/test_crash_points.py::test_a_crash_loses_nothing_and_what_comes_twice_is_the_same"
EMAIL = "channels/test_email.py"
FALLBACK = "outbox/test_fallback.py"
POSTING = "channels/test_posting.py"
POWER = "store/test_power_loss.py::"
POWER += "test_after_a_power_loss_all_that_was_confirmed_is_there_and_no_half_of_a_transition"
OUTBOX = "outbox/test_outbox.py"
SOAK = "acceptance/test_soak.py::test_a_crash_loop_with_misbehaving_receivers_loses_nothing_and_keeps_order"
WEBHOOK = "channels/test_webhook.py"

COVERED: dict[str, tuple[str, ...]] = {
    # Crash points
    "before the state transaction commits": (CRASH, POWER),
    "between state commit and the worker's claim": (
        CRASH,
        f"{ACCEPTANCE}::test_kill_between_the_state_change_and_the_sending_loses_nothing",
    ),
    "after claim (lease), before connect": (CRASH,),
    "after connect, half of the body written": (
        "acceptance/test_failures.py::test_killed_with_half_a_request_on_the_wire_it_sends_the_whole_one_under_its_id",
    ),
    "after 250 to DATA": (
        CRASH,
        f"{EMAIL}::test_a_connection_lost_after_the_final_dot_is_tried_again_with_identical_bytes",
    ),
    "in the middle of a batch to 3 receivers": (
        "acceptance/test_failures.py::test_who_has_acknowledged_before_a_kill_is_not_told_again",
    ),
    "between firing and resolved, resolved happens while we are down": (
        "acceptance/test_failures.py::test_what_got_well_while_nobody_was_running_is_told_after_the_start",
    ),
    "during schema migration": (
        CRASH,
        POWER,
        "store/test_migrate.py::test_a_migration_that_fails_leaves_nothing_behind",
    ),
    "during WAL checkpoint": (CRASH, POWER),
    "during retention delete": (CRASH, "store/test_retention.py::test_what_is_still_on_its_way_is_never_touched"),
    "during config reload": (
        "test_roster.py::test_no_run_ever_sees_half_of_a_reload",
        "acceptance/test_reload.py::test_reloads_in_a_row_and_a_stop_among_them_break_nothing",
    ),
    "crash loop 50 times in a row": (SOAK,),
    "SIGTERM with a 30 s hanging receiver": (
        f"{OUTBOX}::test_a_drain_ends_in_time_and_what_hangs_stays_pending",
        "acceptance/test_failures.py::test_a_hanging_receiver_does_not_hold_up_a_stop_and_is_told_at_the_next_start",
    ),
    "SIGKILL in pending k of N": ("core/test_advance.py::test_a_restart_anywhere_changes_nothing",),
    # Receivers
    "receiver down 1 h": (
        f"{OUTBOX}::test_a_receiver_that_is_down_for_an_hour_gets_every_incident_afterwards_in_order",
    ),
    "500 x5 then 200": (
        f"{WEBHOOK}::test_five_refusals_and_a_success_share_id_and_body_and_are_each_signed_anew",
        "outbox/test_pace.py::test_waits_are_spread_by_a_fifth",
    ),
    "429 with Retry-After": (
        f"{WEBHOOK}::test_retry_after_is_passed_on",
        f"{OUTBOX}::test_the_wait_a_receiver_asks_for_holds_for_its_other_incidents_too",
    ),
    "Retry-After as HTTP-date": (f"{POSTING}::test_retry_after_is_understood_and_clamped",),
    "Retry-After in the past, negative, garbage, 10 years": (f"{POSTING}::test_retry_after_is_understood_and_clamped",),
    "400/404/422": (
        f"{POSTING}::test_every_status_has_its_row_in_the_table",
        f"{FALLBACK}::test_what_is_refused_for_good_is_told_to_the_fallback_with_the_reason",
        "acceptance/test_watching_the_watcher.py::test_who_was_told_what_is_logged_and_a_dead_letter_is_sent_again",
    ),
    "401/403": (
        f"{WEBHOOK}::test_a_refused_login_is_tried_again_slowly",
        f"{OUTBOX}::test_a_changed_channel_is_tried_at_once",
        "config/test_child.py::test_a_rotated_secret_stays_a_secret",
    ),
    "410": (f"{POSTING}::test_every_status_has_its_row_in_the_table",),
    "accepts TCP, never answers": (
        f"{WEBHOOK}::test_a_receiver_without_an_answer_is_left_when_the_time_is_up",
        f"{OUTBOX}::test_a_hanging_channel_delays_no_other_and_no_sibling",
    ),
    "sends 1 byte/s for ever": (f"{WEBHOOK}::test_the_status_decides_although_the_body_never_ends",),
    "answers 10 GB body / gzip bomb": (
        f"{WEBHOOK}::test_an_answer_of_any_length_is_read_only_so_far",
        "http/test_engine.py::test_a_packed_body_is_unpacked_only_up_to_the_limit",
    ),
    "answers 200 with HTML login page": (
        f"{POSTING}::test_what_the_receiver_says_is_passed_on_in_one_line_but_a_page_is_not",
        "channels/test_all_kinds.py::test_an_answer_of_200_that_means_a_failure_is_one",
    ),
    "DNS fails": (f"{POSTING}::test_what_never_left_is_not_ambiguous",),
    "DNS returns a private address": (
        "http/test_guard.py::test_metadata_link_local_multicast_and_nothing_are_refused",
        "http/test_engine.py::test_the_guard_sees_the_address_that_is_used",
    ),
    "TLS certificate expired / wrong host / TLS 1.0 only": (
        f"{WEBHOOK}::test_a_certificate_is_verified",
        "http/test_engine.py::test_an_older_tls_than_allowed_is_refused",
    ),
    "connection reset after request sent": (
        f"{POSTING}::test_a_request_that_was_taken_and_not_answered_is_ambiguous",
        "outbox/test_receivers.py::test_a_webhook_gets_through_trouble_with_one_id_and_a_valid_signature_each_time",
    ),
    "receiver flaps between 200 and 500": (SOAK,),
    "Alertmanager sink restarts": (
        "acceptance/test_alertmanager.py::test_an_alertmanager_that_was_away_is_told_again_what_stands_and_what_has_ended",
        "test_reassert.py::test_an_end_is_told_for_a_quarter_of_an_hour_with_its_own_time",
    ),
    "Alertmanager answers 400 for one bad alert of ten": (
        "test_reassert.py::test_a_refused_part_is_counted_and_the_rest_is_sent",
    ),
    # SMTP
    "421 on connect, 450 greylist, 451, 452": (
        f"{EMAIL}::test_each_reply_means_what_the_table_says",
        "channels/test_postfix.py::test_a_mail_that_is_greylisted_gets_through_later_as_it_was",
    ),
    "550 for one of three recipients": (
        "outbox/test_receivers.py::test_one_refused_recipient_of_three_is_dead_and_the_others_get_one_mail",
    ),
    "535 auth failure": (
        f"{EMAIL}::test_a_wrong_password_is_tried_again_slowly_and_is_not_repeated",
        f"{FALLBACK}::test_what_only_a_person_can_mend_is_told_to_the_fallback_at_once_and_tried_on",
    ),
    "STARTTLS not offered (stripped)": (f"{EMAIL}::test_where_starttls_was_stripped_nothing_leaves_in_plain_text",),
    "STARTTLS response injection": (
        "channels/test_starttls.py::test_what_was_said_in_plain_text_is_not_believed_after_tls",
    ),
    "disconnect after final dot": (
        f"{EMAIL}::test_a_connection_lost_after_the_final_dot_is_tried_again_with_identical_bytes",
    ),
    "SIZE limit 552": (
        f"{EMAIL}::test_an_overlong_mail_is_sent_again_in_short_with_the_same_id",
        "channels/test_postfix.py::test_a_mail_that_is_too_large_arrives_in_short",
    ),
    "idle connection closed by server between two alerts": (
        "channels/test_smtp.py::test_a_server_that_left_between_two_mails_is_called_again",
    ),
    "firing, reminder, resolved land in one thread": (
        "channels/test_mime.py::test_the_messages_of_an_incident_share_subject_and_thread",
    ),
    # Clock and process
    "+10 years step": (
        "test_timetable.py::test_a_plan_jumps_over_missed_slots_in_constant_time",
        f"{OUTBOX}::test_a_step_of_the_wall_clock_strands_nothing",
    ),
    "DST forward/back in a cron schedule": ("test_timetable.py::test_cron_times_are_read_on_the_clocks_of_their_zone",),
    "leap second / NTP slew": ("test_clock.py::test_many_small_steps_add_up_to_one",),
    "CPU starvation": (
        "core/test_judge.py::test_a_timeout_during_which_we_stood_still_is_distorted",
        "selfwatch/test_vitals.py::test_runs_that_start_late_are_told",
    ),
    "1,000 checks at start": ("core/test_schedule.py::test_checks_are_spread_over_the_interval",),
    "blocked for ever": (f"{ACCEPTANCE}::test_a_plugin_that_holds_the_loop_ends_the_process_and_is_named",),
    "plugin raises, returns None, NaN, inf, 100 MB string, 10,000 labels": (
        f"{ACCEPTANCE}::test_a_broken_plugin_never_stops_the_others",
        "acceptance/test_hostile.py::test_hostile_plugins_harm_nobody_else",
        "test_runner.py::test_a_bad_record_makes_the_run_an_error",
    ),
    "plugin calls os._exit": (f"{ACCEPTANCE}::test_a_plugin_that_ends_the_process_is_in_quarantine_at_the_next_start",),
    "plugin import error in one of 50": (
        "config/test_load.py::test_a_broken_plugin_is_told_with_its_line_beside_the_other_mistakes",
    ),
    "max_instances": ("test_dispatch.py::test_a_run_that_still_goes_on_is_not_doubled",),
    "fd exhaustion (EMFILE)": (
        "http/test_engine.py::test_exhausted_descriptors_are_our_fault",
        "acceptance/test_reload.py::test_a_reload_without_descriptors_is_refused_and_the_daemon_goes_on",
    ),
    "PID limit reached in container": ("test_pool.py::test_a_machine_without_threads_left_is_an_exhausted_pool",),
    # Storage
    "read-only remount / EIO on fsync": (
        "store/test_broken_disk.py::test_a_sync_that_fails_confirms_nothing_is_said_and_gets_well_again",
        "store/test_writer.py::test_a_disk_that_takes_no_more_bytes_fails_the_record_and_recovers",
        "acceptance/test_hostile.py::test_a_full_disk_is_told_and_gets_well_again",
    ),
    "corrupt DB page / truncated WAL / missing -shm": (
        "store/test_files.py::test_a_damaged_store_is_refused_with_its_name_and_what_to_do",
        "store/test_files.py::test_an_emptied_store_beside_its_log_is_refused_and_the_log_kept",
        POWER,
    ),
    "DB from a newer version": ("store/test_migrate.py::test_a_store_of_a_newer_version_is_refused_and_not_changed",),
    "volume not writable at start": ("store/test_files.py::test_a_folder_that_cannot_be_written_is_named",),
    "10 M result rows": (
        "store/test_retention.py::test_retention_uses_the_index_by_age",
        "store/test_retention.py::test_pending_deliveries_are_found_by_the_partial_index",
    ),
    # Alert logic
    "threshold check value NaN / missing": (
        "core/test_judge.py::test_what_was_not_measured_breaks_no_limit",
        "core/test_advance.py::test_only_a_success_clears_a_failure",
        "test_runner.py::test_a_bad_record_makes_the_run_an_error",
    ),
    "reminders after restart keep their cadence": (
        "core/test_advance.py::test_a_restart_anywhere_changes_nothing",
        "test_ticker.py::test_reminders_that_are_due_go_out_once",
    ),
    "reload with an invalid file": (
        f"{ACCEPTANCE}::test_an_invalid_file_leaves_the_old_configuration_running_and_says_so",
    ),
    # Judging
    "SIGKILL while flapping": (
        "core/test_advance.py::test_a_restart_while_it_flaps_changes_nothing",
        "simulation/test_play.py::test_a_restart_anywhere_changes_no_later_message",
    ),
    "fail, ok, fail, ok": (
        "core/test_flapping.py::test_five_changes_at_the_end_do_not_make_it_flap_and_six_do",
        "stories/test_stories.py::test_it_goes_as_the_story_says",
    ),
    "parent and child fail together": (
        "core/test_dependencies.py::test_a_child_waits_for_a_look_at_its_parent_but_only_for_so_long",
        "stories/test_stories.py::test_it_goes_as_the_story_says",
    ),
    "dependency cycle": ("config/test_dependencies.py::test_a_circle_is_shown_whole",),
    "silence ends while still failing": (
        "acceptance/test_quiet.py::test_a_silence_tells_nobody_is_seen_survives_a_kill_and_tells_at_its_end",
    ),
    "maintenance starts during an incident": (
        "orders/test_given.py::test_maintenance_during_an_incident_keeps_back_reminders_and_never_the_end",
    ),
    "DST forward/back in a maintenance window": (
        "quiet/test_maintenance.py::test_over_a_change_of_the_clocks_it_begins_at_the_time_they_show_and_lasts_its_duration",
    ),
    "ack then resolve then fail again": (
        "orders/test_given.py::test_what_is_acknowledged_is_not_reminded_of_until_it_ends",
    ),
    # Security
    "canary secrets": ("acceptance/test_secrets.py::test_a_secret_is_seen_by_its_addressee_only",),
    "target redirects to another host": (
        "http/test_redirects.py::test_another_port_never_sees_the_credentials",
        "http/test_redirects.py::test_own_headers_and_certificate_stay_at_the_origin",
    ),
    "API: wrong Host, slow headers": (
        "web/test_app.py::test_nothing_can_be_written",
        "web/test_guard.py::test_another_host_is_refused_on_loopback",
        "web/test_serve.py::test_a_connection_that_sends_no_whole_head_is_closed",
    ),
    "read-only root fs, random uid, no capabilities": (
        "acceptance/test_image.py::test_the_container_turns_healthy_with_a_random_user_and_a_read_only_root",
    ),
    "catastrophic regex in a check": ("http/test_expect.py::test_an_evil_pattern_ends_in_linear_time",),
}

LATER: dict[str, int] = {
    "API without token, wrong token, cross-site POST": 5,
    "OOM-kill of a plugin process": 6,
}
"""Lines about what does not exist yet, with the part that brings it."""

NEVER = {
    "PostgreSQL failover mid-transaction": "the store is SQLite; other databases are refused until replicas come",
    "web config file swapped to broken YAML": "there is no second file: the web's settings are in the configuration",
    "plugin calls SIGSEGV": "plugins live in the daemon's process: it dies with them, and is started again",
}
"""Lines about what is not built, and why."""


@cache
def functions(path: str) -> frozenset[str]:
    nodes = ast.walk(ast.parse((TESTS / path).read_bytes()))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("line", COVERED)
def test_the_tests_that_hold_a_line_exist(line: str) -> None:
    assert COVERED[line]
    for name in COVERED[line]:
        path, _, function = name.partition("::")
        assert function.startswith("test_"), name
        assert function in functions(path), name


def test_a_line_stands_in_one_place_only() -> None:
    assert not COVERED.keys() & LATER.keys()
    assert not NEVER.keys() & (COVERED.keys() | LATER.keys())
    assert set(LATER.values()) <= {3, 4, 5, 6}, "what an earlier part brought has its tests by now"
