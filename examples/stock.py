"""Whether there is enough of everything: a function that a check of the type `script` runs."""

from __future__ import annotations

from heartbeat import CheckFailed, Probe


async def check(probe: Probe, url: str, least: int) -> None:
    """Ask a shop for its products. Raises ``CheckFailed`` where there are fewer than ``least`` of one."""
    answer = await probe.http.get(url)
    if answer.status_code != 200:
        raise CheckFailed("the shop does not show its products", reason="status", observed=answer.status_code)
    products = answer.json()["products"]
    probe.record("products", len(products))
    scarce = sorted(product["name"] for product in products if product["in_stock"] < least)
    if scarce:
        raise CheckFailed(f"{', '.join(scarce)}: nearly sold out", reason="limit", expected=f"at least {least} of each")
