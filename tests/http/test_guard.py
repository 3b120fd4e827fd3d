from __future__ import annotations

import pytest

from heartbeat.http.guard import guard_webhook_target


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200", "224.0.0.1",
        "ff02::1", "0.0.0.0", "::", "0.1.2.3", "::ffff:169.254.169.254", "::169.254.169.254",
        "64:ff9b::169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::ffff:0.0.0.0",
    ],
)  # fmt: skip
def test_metadata_link_local_multicast_and_nothing_are_refused(address: str) -> None:
    assert address in str(guard_webhook_target(address, 80))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "fd00::1",
        "8.8.8.8",
        "2001:db8::1",
        "::ffff:10.0.0.1",
    ],
)
def test_private_and_public_hosts_are_allowed(address: str) -> None:
    assert guard_webhook_target(address, 443) is None
