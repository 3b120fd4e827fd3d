"""Policies: when to raise and when to clear, when to look again, whom to tell of what, and when to remind."""

from __future__ import annotations

from dataclasses import dataclass, field

from heartbeat.core.model import Event, Kind, Severity


@dataclass(frozen=True, slots=True)
class Latch:
    """When a latch sets and clears: ``raise_`` of the last ``window`` verdicts reach it; the last ``clear`` do not."""

    raise_: int = 1
    window: int = 1
    clear: int = 1

    @property
    def memory(self) -> int:
        """How many verdicts the latch needs to remember."""
        return max(self.window, self.clear)


@dataclass(frozen=True, slots=True)
class Flapping:
    """From which share of changes among the last runs on a check flaps, and below which it has settled.

    The numbers are Nagios' defaults (low and high flap threshold of a service).
    """

    start: float = 0.30
    stop: float = 0.20


@dataclass(frozen=True, slots=True)
class Policy:
    """When to raise and when to clear, when to look again, and when to remind; all times in seconds.

    Attributes:
        warn: the latch of warnings.
        fail: the latch of failures.
        broken: the latch of the check itself.
        recheck: how long after a first failure the check runs again (None: never).
        remind: how long lies between two reminders of an incident (None: never).
        hold: how long an incident is kept back after it was raised, in case it passes.
        escalate: after how long others are told of what nobody has acknowledged (None: never).
        flapping: when a check flaps (None: never).
        missed: after how many slots in a row without a run its absence is told (None: never).
        interval: that of the check (None: cron).
    """

    warn: Latch = Latch()
    fail: Latch = Latch()
    broken: Latch = Latch(raise_=3, window=3, clear=1)
    recheck: float | None = None
    remind: float | None = None
    hold: float = 0.0
    escalate: float | None = None
    flapping: Flapping | None = Flapping()
    missed: int | None = 3
    interval: float | None = None
    memory: int = field(init=False, repr=False, compare=False)
    """How many verdicts the two latches need to remember; worked out once, as every run asks for it."""

    def __post_init__(self) -> None:
        """Work out what follows from the rest."""
        object.__setattr__(self, "memory", max(self.warn.memory, self.fail.memory))


@dataclass(frozen=True, slots=True)
class Routes:
    """The names of the receivers that are told: of everything, or apart by kind of event and by severity.

    ``apart`` has pairs of a word, that of a kind (``check_broken``) or of a severity (``warn``), and receivers;
    ``escalation`` are those that are told of what nobody acknowledged.
    """

    usual: tuple[str, ...] = ()
    apart: tuple[tuple[str, tuple[str, ...]], ...] = ()
    escalation: tuple[str, ...] = ()

    def receivers(self, event: Event) -> tuple[str, ...]:
        """Return who is told of an event."""
        return self.named(event.kind, event.severity)

    def named(self, kind: Kind, severity: Severity) -> tuple[str, ...]:
        """Return who is told of a kind of event: it is looked for first, then its severity, then what is usual.

        Where nothing is usual, what has no severity (that a check is broken, or flaps) goes the way of failures: to
        tell failures apart must not keep it from everyone.
        """
        if kind is Kind.ESCALATED:
            return self.escalation
        apart = dict(self.apart)
        usual = self.usual or (() if severity else apart.get(Severity.FAIL.word, ()))
        return apart.get(kind.value, apart.get(severity.word, usual))

    @property
    def everyone(self) -> tuple[str, ...]:
        """All receivers that may be told, each once."""
        named = (*self.usual, *(name for _, names in self.apart for name in names), *self.escalation)
        return tuple(dict.fromkeys(named))
