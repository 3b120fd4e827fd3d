from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from heartbeat import __version__
from heartbeat.metrics.instruments import Backlog, Instruments


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
    for operation in ("open", "read", "write", "prune"):
        assert read[f"heartbeat_store_errors_total,operation={operation}"] == 0
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
