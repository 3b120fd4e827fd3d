"""Which addresses a webhook may not reach: those where only a machine's own secrets or nothing at all can be found."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

METADATA = ip_network("fd00:ec2::254/128")
LINK_LOCAL = (ip_network("169.254.0.0/16"), ip_network("fe80::/10"))
NAT64 = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
OTHER_METADATA = ip_network("100.100.100.200/32")  # Alibaba Cloud's, outside of link-local


def guard_webhook_target(address: str, port: int) -> str | None:
    """Say why a webhook may not connect there, or None.

    Link-local addresses (cloud metadata lives there, RFC 3927), multicast and the unspecified address are refused,
    also when they are wrapped into IPv6 (RFC 4291 mapped, RFC 6052 NAT64, RFC 3056 6to4). Private ones are allowed.
    """
    ip = _unwrap(ip_address(address.partition("%")[0]))
    if any(ip in network for network in (*LINK_LOCAL, METADATA, OTHER_METADATA)):
        return f"{address}:{port} is a link-local or metadata address"
    if ip.is_multicast:
        return f"{address}:{port} is a multicast address"
    if ip.is_unspecified or (ip.version == 4 and int(ip) < 2**24):
        return f"{address}:{port} is no address of a server"
    return None


def _unwrap(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(ip, IPv4Address):
        return ip
    if any(ip in network for network in NAT64) or (int(ip) >> 32 == 0 and int(ip) > 1):  # ::/96 is "compatible"
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
