from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from heartbeat.config import Config
from heartbeat.config.advice import advise
from heartbeat.config.credentials import AccountConfig, Credentials
from heartbeat.config.inline import find_inline
from heartbeat.config.reader import read_as_written

Load = Callable[..., Config]
Complaints = Callable[..., list[str]]
USED = "checks: {a: {shop: {url: '${accounts.shopper.user}'}}}\n"


def values(found: Credentials) -> dict[str, str]:
    given = {name: getattr(found, name) for name in found.fields}
    return {name: one if isinstance(one, str) else one.get_secret_value() for name, one in given.items()}


def account(load_text: Load, text: str, **environ: str) -> AccountConfig:
    return load_text(f"accounts: {{shopper: {text}}}\n{USED}", **environ).accounts["shopper"]


def test_an_account_has_what_it_was_given(load_text: Load) -> None:
    found = account(load_text, "{user: synthetic, password: '${secret:PASSWORD}'}", PASSWORD="swordfish")
    assert values(found.current) == {"user": "synthetic", "password": "swordfish"}
    assert found.following is None
    assert "swordfish" not in repr(found)


def test_a_token_may_be_long(load_text: Load) -> None:
    token = "x" * 10_000
    assert (
        values(account(load_text, "{user: synthetic, token: '${secret:TOKEN}'}", TOKEN=token).current)["token"] == token
    )


def test_what_comes_next_is_complete(load_text: Load) -> None:
    found = account(load_text, "{user: synthetic, password: swordfish, next: {password: marlinfish}}")
    assert found.following is not None
    assert values(found.following) == {"user": "synthetic", "password": "marlinfish"}


@pytest.mark.parametrize("later", ["{password: '${NEXT:-}'}", "{}", ""])
def test_what_is_empty_is_nothing_to_come(load_text: Load, later: str) -> None:
    assert account(load_text, f"{{user: synthetic, password: swordfish, next: {later}}}").following is None


@pytest.mark.parametrize("written", ["JBSWY3DPEHPK3PXP", "jbsw y3dp ehpk 3pxp", "JBSW-Y3DP-EHPK-3PXP"])
def test_the_secret_of_codes_is_taken_as_people_write_it(load_text: Load, written: str) -> None:
    assert values(account(load_text, f"{{user: x, totp: {written}}}").current)["totp"] == "JBSWY3DPEHPK3PXP"


def test_all_values_but_the_user_are_kept_out_of_messages(load_text: Load) -> None:
    config = load_text(
        "accounts: {shopper: {user: synthetic, password: swordfish, totp: jbsw y3dp ehpk 3pxp, "
        f"next: {{password: marlinfish}}}}}}\n{USED}"
    )
    said = config.redactor("synthetic swordfish marlinfish jbsw y3dp ehpk 3pxp JBSWY3DPEHPK3PXP")
    assert said == (
        "synthetic <redacted:shopper.password> <redacted:shopper.password> <redacted:shopper.totp> "
        "<redacted:shopper.totp>"
    )


def test_a_mistake_in_an_account_does_not_show_its_values(complaints: Complaints) -> None:
    said = complaints(f"accounts: {{shopper: {{user: synthetic, pass: swordfish, totp: marlinfish1}}}}\n{USED}")
    assert len(said) == 2
    assert "fish" not in " ".join(said)
    assert 'unknown key "pass"; did you mean "password"?' in said[0]


def test_an_account_with_a_mistake_may_be_referred_to(complaints: Complaints) -> None:
    text = "accounts: {shopper: {user: 5}}\nchecks: {a: {shop: {url: '${accounts.shopper.password}'}}}\n"
    assert complaints(text) == ["accounts.shopper.user: must be text, not a number; put it in quotes"]


def test_other_values_of_an_account_change_no_check(load_text: Load) -> None:
    one, other = (
        load_text(f"accounts: {{shopper: {{password: {word}fish}}}}\n{USED.replace('user', 'password')}").checks["a"]
        for word in ("sword", "marlin")
    )
    assert (one.fingerprint, one.check) == (other.fingerprint, other.check)


def test_traffic_is_marked_unless_somebody_says_no(load_text: Load) -> None:
    assert load_text("checks: {a: {shop: {}}}\n").mark_traffic
    assert not load_text("mark_traffic: false\nchecks: {a: {shop: {}}}\n").mark_traffic


def test_an_account_that_nobody_refers_to_is_told(load_text: Load) -> None:
    config = load_text(f"accounts: {{shopper: {{user: x}}, other: {{token: swordfish}}}}\n{USED}")
    (found,) = [one for one in advise(config) if one.rule == "account-unused"]
    assert str(found) == "accounts.other: no check refers to it, as by ${accounts.other.token}"
    assert found.spots == (("accounts", "other"),)


def test_passwords_that_are_written_out_are_told(folder: Path) -> None:
    (folder / "config.yaml").write_text(
        "accounts: {a: {user: x, password: swordfish, next: {token: '${TOKEN}'}}, b: {token: '${secret:TOKEN}'}}\n"
        "checks: {c: {shop: {steps: [{http: {json: {password: swordfish}}}, {http: {token: '${accounts.a.token}'}}],"
        " take: {token: $.token}}}}\n"
    )
    assert [one.subject for one in find_inline(read_as_written([folder / "config.yaml"]))] == [
        "checks.c.shop.steps.0.http.json.password",
        "accounts.a.password",
        "accounts.a.next.token",
    ]
