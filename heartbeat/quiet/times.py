"""Quiet times as they stand while the daemon runs: silences, maintenance, checks that are switched off.

Checks go on running, and what they find is recorded and shown; only telling is kept back, and what ends an incident is
told nevertheless to whoever heard that it began (``core.decide``). What still fails when a quiet time ends is told at
once (``line.tick_of``). No time here is moved when the clock is set: people mean the wall clock.
"""

from __future__ import annotations

from collections.abc import Iterable

from heartbeat.config.model import CheckConfig
from heartbeat.core.deployment import Deployment
from heartbeat.core.quiet import OVER, Maintenance, Matcher, Order, QuietKind, covers
from heartbeat.core.switches import SwitchedOff
from heartbeat.quiet.deployments import Deployments
from heartbeat.quiet.maintenance import Window
from heartbeat.state import State

Standing = Order | Window | Deployment


class Quiet:
    """What keeps messages back that people asked to be kept back. Belongs to the main thread."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        """What was asked for at run time and has not ended, by id."""
        self.windows: tuple[Window, ...] = ()
        """What is configured."""
        self.deployments = Deployments()
        self.switched: dict[str, SwitchedOff] = {}
        """The checks that are off because of their switch (``switching``), by name."""
        self.doubts: dict[str, str] = {}
        """Of checks that are on, by name, why nobody knows whether their switch still says so."""
        self._standing: tuple[Standing, ...] = ()
        self._disabled: dict[str, Order] = {}
        self._covering: dict[str, tuple[CheckConfig, tuple[Standing, ...]]] = {}
        """What covers a check, of those that were asked about since anything changed."""

    def adopt(self, maintenance: Iterable[Maintenance]) -> None:
        """Take over the windows of a configuration; what was asked for at run time stays."""
        self.windows = tuple(Window(entry) for entry in maintenance)
        self._refresh()

    def put(self, order: Order) -> None:
        """Take in what was asked for, in place of what has the same id; what has ended is let go of."""
        if order.ended is None:
            self.orders[order.id] = order
        else:
            self.orders.pop(order.id, None)
        self._refresh()

    @property
    def is_any(self) -> bool:
        """Say whether there is anything that may keep messages back."""
        return bool(self._standing or self.orders or self.switched)

    def mark(self, deployment: Deployment) -> None:
        """Take in a deployment, or what has become of it."""
        self.deployments.put(deployment)
        self._refresh()

    def reason(self, check: CheckConfig, now: float) -> str:
        """Return why nobody is to be told of a check at a time, in a sentence, or nothing."""
        found = self._strongest(check, now)
        return found.say() if found else ""

    def kind(self, check: CheckConfig, now: float) -> str:
        """Return what keeps the messages of a check back: silence, maintenance, disabled, deployment, or nothing."""
        found = self._strongest(check, now)
        return found.kind.value if found else ""

    def disabled(self, name: str) -> Order | None:
        """Return by which order a check is switched off; by a person, that is."""
        return self._disabled.get(name)

    def is_disabled(self, name: str) -> bool:
        """Say whether a check is switched off, by a person or by its switch."""
        return name in self._disabled or name in self.switched

    def _strongest(self, check: CheckConfig, now: float) -> Standing | SwitchedOff | None:
        """Return what holds longest of all that covers a check now; before anything else that it is switched off."""
        off = self.switched.get(check.name)
        if off and check.name not in self._disabled:
            return off
        best, longest = None, OVER
        for one in self._covering_of(check):
            if (until := one.until(now)) > longest:
                best, longest = one, until
        return best

    def _covering_of(self, check: CheckConfig) -> tuple[Standing, ...]:
        if not self._standing:  # nearly always
            return ()
        kept = self._covering.get(check.name)
        if kept is None or kept[0] is not check:
            found = (one for one in self._standing if is_covered(check, one.matcher))
            kept = self._covering[check.name] = check, tuple(found)
        return kept[1]

    def _refresh(self) -> None:
        orders = [order for order in self.orders.values() if order.kind is not QuietKind.ACKNOWLEDGEMENT]
        off = [order for order in orders if order.kind is QuietKind.DISABLED]
        self._disabled = {name: order for order in off for name in order.matcher.checks}
        rest: tuple[Standing, ...] = (
            *(order for order in orders if order not in off),
            *self.windows,
            *self.deployments.holding(),
        )
        self._standing = (*off, *rest)
        self._covering.clear()


def is_covered(check: CheckConfig, matcher: Matcher) -> bool:
    """Say whether a matcher covers a check."""
    return covers(matcher, check.name, check.type, check.labels, check.tags)


def covered(state: State, matcher: Matcher) -> list[str]:
    """Return the names of the checks that a matcher covers."""
    return [name for name, live in state.checks.items() if is_covered(live.config, matcher)]
