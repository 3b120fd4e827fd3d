from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from heartbeat import __version__
from heartbeat.core.model import Address
from heartbeat.metrics.instruments import Backlog, Calls, Instruments


def series(instruments: Instruments) -> dict[str, float]:
    text = instruments.text().decode()
    return {
        sample.name + "".join(f",{key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counters_start_at_zero() -> None:
    read = series(Instruments())

    for reason in ("late", "busy", "overload", "paused"):
        assert read[f"heartbeat_scheduler_missed_runs_total,reason={reason}"] == 0
    for kind in ("step", "suspend", "pause"):
        assert read[f"heartbeat_clock_changes_total,kind={kind}"] == 0
    assert read["heartbeat_scheduler_lateness_seconds_count"] == 0
    assert read["heartbeat_loop_lag_seconds_count"] == 0


def test_the_build_and_the_process_are_told() -> None:
    read = series(Instruments())

    assert any(name.startswith("heartbeat_build_info") and f"version={__version__}" in name for name in read)
    assert read["process_resident_memory_bytes"] > 0


def test_two_daemons_in_one_process_share_nothing() -> None:
    one, other = Instruments(), Instruments()

    one.missed_runs.labels("late").inc()

    assert series(one)["heartbeat_scheduler_missed_runs_total,reason=late"] == 1
    assert series(other)["heartbeat_scheduler_missed_runs_total,reason=late"] == 0


def test_known_channels_start_at_zero_and_vanish_when_they_go() -> None:
    instruments = Instruments()
    instruments.know_channels([("oncall", "oncall/email"), ("oncall", "pager")])
    instruments.notifications.labels("oncall", "pager", "acknowledged").inc()

    instruments.know_channels([("oncall", "pager")])

    notified = {name: value for name, value in series(instruments).items() if "notifications" in name}
    assert len(notified) == 3
    assert notified["heartbeat_notifications_total,channel=pager,outcome=acknowledged,receiver=oncall"] == 1
    assert notified["heartbeat_notifications_total,channel=pager,outcome=dead,receiver=oncall"] == 0


def test_an_acknowledged_message_leaves_its_time_and_how_long_it_took() -> None:
    instruments = Instruments()
    instruments.know_channels([("oncall", "pager")])
    assert not any("last_notification" in name for name in series(instruments))

    instruments.count_notification(Address("oncall", "pager"), "retried", ())
    instruments.count_notification(Address("oncall", "pager"), "acknowledged", (0.05, 30.0))

    read = series(instruments)
    labels = "channel=pager,receiver=oncall"
    assert read[f"heartbeat_last_notification_success_timestamp_seconds,{labels}"] > 1e9
    assert read[f"heartbeat_notification_dwell_seconds_count,{labels}"] == 2
    assert read["heartbeat_notifications_total,channel=pager,outcome=retried,receiver=oncall"] == 1
    instruments.know_channels([])
    instruments.count_notification(Address("oncall", "pager"), "dead", ())
    assert not any("pager" in name for name in series(instruments))


def test_what_the_store_counts_is_read_at_each_scrape() -> None:
    instruments = Instruments()
    instruments.store_failures = failures = {"write": 0, "prune": 0}

    first = series(instruments)
    failures["write"] += 2
    second = series(instruments)

    assert first["heartbeat_store_errors_total,operation=write"] == 0
    assert second["heartbeat_store_errors_total,operation=write"] == 2
    assert second["heartbeat_store_errors_total,operation=prune"] == 0


def test_the_outbox_is_asked_at_each_scrape() -> None:
    instruments = Instruments()
    backlogs = [Backlog("oncall", "oncall/email", 3, 12.5)]
    instruments.backlogs = lambda: backlogs

    first = series(instruments)
    backlogs.clear()
    second = series(instruments)

    assert first["heartbeat_outbox_pending,channel=oncall/email,receiver=oncall"] == 3
    assert first["heartbeat_outbox_oldest_pending_seconds,channel=oncall/email,receiver=oncall"] == 12.5
    assert not any("outbox" in name for name in second)


def test_no_counter_brings_a_series_of_its_birth() -> None:
    assert b"_created" not in Instruments().text()


def test_the_calls_to_the_outside_watchdog_are_shown_where_there_is_one() -> None:
    instruments = Instruments()
    assert not any("watchdog" in name for name in series(instruments))

    instruments.calls = lambda: Calls(withheld=True)
    assert {name: value for name, value in series(instruments).items() if "watchdog" in name} == {
        "heartbeat_watchdog_withheld": 1
    }

    instruments.calls = lambda: Calls(withheld=False, last_success=1000.5)
    read = series(instruments)
    assert read["heartbeat_watchdog_withheld"] == 0
    assert read["heartbeat_watchdog_last_success_timestamp_seconds"] == 1000.5


def test_overdue_checks_are_counted_at_each_scrape() -> None:
    instruments = Instruments()
    assert series(instruments)["heartbeat_scheduler_overdue_checks"] == 0

    instruments.overdue = lambda: 3
    assert series(instruments)["heartbeat_scheduler_overdue_checks"] == 3
