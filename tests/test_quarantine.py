from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from heartbeat import CheckBroken, Probe
from heartbeat.core.model import Reason
from heartbeat.quarantine import Case, Quarantine, load_cases, save_cases
from heartbeat.testing.bench import a_check

SHOP = a_check()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "heartbeat.db.quarantine"


def blamed(path: Path) -> Quarantine:
    quarantine = Quarantine(path)
    quarantine.checks = {"shop": SHOP}
    quarantine.blame("shop", "held the main loop for 30 s")
    return quarantine


def test_a_check_that_did_nothing_runs_as_it_is(path: Path) -> None:
    blamed(path)
    other = a_check("other")
    assert Quarantine(path).keep_apart(other) is other


async def test_a_blamed_check_is_kept_apart_at_the_next_start_and_says_why(path: Path) -> None:
    blamed(path)
    kept = Quarantine(path).keep_apart(SHOP)
    assert kept == replace(SHOP, check=kept.check)
    with pytest.raises(CheckBroken, match=r"held the main loop for 30 s.*heartbeat run-now shop") as caught:
        await kept.check.run(Probe())
    assert caught.value.reason is Reason.PLUGIN


def test_keeping_apart_twice_is_no_change(path: Path) -> None:
    quarantine = blamed(path)
    assert quarantine.keep_apart(SHOP) == quarantine.keep_apart(SHOP)


def test_a_check_that_has_changed_since_runs_again(path: Path) -> None:
    blamed(path)
    mended = replace(SHOP, fingerprint="shop-2")
    assert Quarantine(path).keep_apart(mended) is mended


def test_a_lifted_check_runs_again_also_after_the_next_start(path: Path) -> None:
    quarantine = blamed(path)
    assert quarantine.lift("shop")
    assert quarantine.keep_apart(SHOP) is SHOP
    assert Quarantine(path).keep_apart(SHOP) is SHOP
    assert not quarantine.lift("shop")


@pytest.mark.parametrize("name", ["", "heartbeat.store", "gone"])
def test_what_is_not_configured_is_not_blamed(path: Path, name: str) -> None:
    blamed(path).blame(name, "held the main loop for 30 s")
    assert set(load_cases(path)) == {"shop"}


def test_a_new_case_keeps_the_others(path: Path) -> None:
    quarantine = blamed(path)
    quarantine.checks = {"shop": SHOP, "cart": a_check("cart")}
    quarantine.blame("cart", "ended the daemon with os._exit(7)")
    assert load_cases(path) == {
        "shop": Case(SHOP.fingerprint, "held the main loop for 30 s"),
        "cart": Case("cart-1", "ended the daemon with os._exit(7)"),
    }


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "5", "null", '{"shop": 5}', '{"shop": {"why": "x"}}', '{"shop": {"a": 1}}', "\udcff"]
)
def test_an_unreadable_file_is_no_reason_not_to_start(path: Path, text: str) -> None:
    path.write_text(text, errors="surrogateescape")
    assert Quarantine(path).keep_apart(SHOP) is SHOP
    blamed(path)
    assert set(load_cases(path)) == {"shop"}


def test_a_missing_file_is_no_case(path: Path) -> None:
    assert load_cases(path) == {}


def test_the_file_is_replaced_as_a_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_cases(path, {"shop": Case("shop-1", "x")})
    before = path.read_text()

    def fail(self: Path, target: Path) -> Path:
        assert target == path
        assert path.read_text() == before
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        save_cases(path, {})
    assert load_cases(path) == {"shop": Case("shop-1", "x")}
