"""Who is told of an event, or why nobody is.

In this order, as in the filters of Nagios and Alertmanager: what it depends on, a storm, a quiet time, a hold, the
receivers. What stands against telling holds back that something began, never that it ended: who heard of the beginning
hears of the end, and nobody else. (While a check flaps ``advance`` makes no event; what is acknowledged is not reminded
of there.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from heartbeat.core.model import OVER, Address, Delivery, DeliveryState, Event, Kind, Severity, Track, derive_id
from heartbeat.core.passing import owed, wake_at
from heartbeat.core.policy import Policy
from heartbeat.core.status import Incident, Status, incident_on, incidents, with_incident
from heartbeat.core.times import readable

NOBODY = Address(receiver="", channel="")
NO_RECEIVER = "no receiver is configured for this check"
ABOUT_THE_TARGET = frozenset({Track.TARGET, Track.FLAPPING, Track.BUDGET})
"""The tracks that another check, or the network, may explain."""


@dataclass(frozen=True, slots=True)
class Objections:
    """What stands against telling of a check at the moment; each a sentence, empty where nothing does."""

    dependency: str = ""
    storm: str = ""
    quiet: str = ""


NONE = Objections()


def decide(
    status: Status, event: Event, against: Objections, ways_out: tuple[Address, ...], policy: Policy
) -> tuple[Status, tuple[Delivery, ...]]:
    """Return one delivery per way out; where there is none, one suppressed delivery that says why.

    Both are recorded, so that "why was I not told?" can always be answered. The status comes back with what it needs
    to know of it: who was told, or why nobody was.
    """
    incident = incident_on(status, event.track)
    objection = ""
    if event.kind in OVER:
        if event.told:
            ways_out = event.told
        elif event.untold:  # otherwise an earlier version told those who are configured, and did not say whom
            objection = f"nobody was told that it began: {event.untold}"
    elif incident:
        if event.kind is Kind.EASED:
            ways_out = _union(event.told, ways_out)
        objection = find_objection(event.track, incident, against, policy, event.at)
    if objection:
        ways_out = ()
    deliveries = tuple(_delivery(event, address, event.at) for address in ways_out)
    if not deliveries:
        deliveries = (_delivery(event, NOBODY, event.at, DeliveryState.SUPPRESSED, objection or NO_RECEIVER),)
    if incident is None:
        return status, deliveries
    incident = _remember(incident, event, ways_out, objection)
    status = with_incident(status, event.track, incident)
    return replace(status, wake_at=wake_at(status, policy)), deliveries


def find_objection(track: Track, incident: Incident, against: Objections, policy: Policy, now: float) -> str:
    """Return the first thing that stands against telling of an incident now, or nothing."""
    if track in ABOUT_THE_TARGET and (explained := against.dependency or against.storm):
        return explained
    if against.quiet:
        return against.quiet
    if now < incident.opened + policy.hold:
        return f"it is held until {readable(incident.opened + policy.hold)}, in case it passes"
    return ""


def find_released(
    status: Status,
    against: Objections,
    policy: Policy,
    now: float,
    reaches: Callable[[Kind, Severity], bool] = lambda _kind, _severity: False,
) -> tuple[Track, ...]:
    """Return the tracks whose news were kept back, and need not be any longer.

    What nobody was configured to hear waits until it ``reaches`` somebody, as after a reload.
    """

    def is_released(track: Track, incident: Incident) -> bool:
        kind = owed(status, track, incident, policy, now)
        if kind is None or (incident.untold == NO_RECEIVER and not reaches(kind, incident.severity)):
            return False
        return not find_objection(track, incident, against, policy, now)

    return tuple(track for track, incident in incidents(status) if is_released(track, incident))


def pass_on(delivery: Delivery, ways_out: tuple[Address, ...], now: float, note: str) -> tuple[Delivery, ...]:
    """Return the deliveries to others that take the place of one that its receiver could not be told, and say why.

    Their ids are those of ordinary deliveries: who was to be told anyhow is not told twice.
    """
    to = delivery.address
    who = f"{to.channel} could not tell {to.recipient}" if to.recipient else f"{to.channel} could not be told"
    return tuple(_delivery(delivery.event, address, now, why=f"{who}: {note}") for address in ways_out)


def _remember(incident: Incident, event: Event, told: tuple[Address, ...], objection: str) -> Incident:
    if objection:
        escalated = incident.escalated and event.kind is not Kind.ESCALATED  # it is not done yet
        return replace(incident, untold=objection, escalated=escalated)
    is_news = event.kind not in (Kind.REMINDER, Kind.ESCALATED)
    if not told:
        return replace(incident, untold=NO_RECEIVER if is_news else "")
    incident = replace(incident, told=_union(incident.told, told), untold="")
    if event.kind is Kind.ESCALATED:
        return incident
    is_first = incident.first_told is None or event.severity > incident.worst_told
    return replace(
        incident,
        first_told=event.at if is_first else incident.first_told,
        told_severity=event.severity,
        worst_told=max(event.severity, incident.worst_told),
    )


def _union(known: tuple[Address, ...], more: tuple[Address, ...]) -> tuple[Address, ...]:
    return tuple(dict.fromkeys((*known, *more)))


def _delivery(  # noqa: PLR0913 - the fields of a delivery
    event: Event,
    address: Address,
    now: float,
    state: DeliveryState = DeliveryState.PENDING,
    note: str = "",
    *,
    why: str = "",
) -> Delivery:
    identity = derive_id("dlv", event.id, address.channel, address.recipient)
    return Delivery(identity, event, address, state, next_at=now, note=note, why=why)
