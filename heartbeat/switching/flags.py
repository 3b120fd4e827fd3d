"""Flags: the OpenFeature provider that the configuration names, loaded where a check first asks for a flag.

All of it may wait, for a network or for an import: it is called in the pool, never on the loop.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import count
from threading import Lock
from time import monotonic
from typing import Any

from heartbeat.config.model import CheckConfig, FlagProvider
from heartbeat.core.switches import Found, InFlag, Source
from heartbeat.switching.helper import Helper

_DOMAINS = count(1)
LIBRARY = "openfeature"
AT_A_STRETCH = 2.0
"""Seconds after which no further flag is asked for in one call: each may be a question over a network."""
DOUBTFUL = ("STALE", "ERROR")
"""States in which a provider goes on answering from what it knew."""


@dataclass(frozen=True, slots=True)
class Question:
    """A flag that is asked for a check. ``context`` is what the provider is told besides the name of the check."""

    flag: str
    check: str
    context: Mapping[str, Any]
    default: bool = True


class Flags:
    """The provider of a configuration, in a domain of its own: what plugins do with OpenFeature is not touched."""

    def __init__(self, configured: FlagProvider | None) -> None:
        self.configured = configured
        self._client: Any = None
        self._domain = f"heartbeat-{next(_DOMAINS)}"
        self._lock = Lock()
        self._is_closed = False

    def ask(self, questions: Iterable[Question]) -> Iterator[Found]:
        """Yield what the provider says, or why it says nothing; in the order of the questions. It may wait."""
        client, problem = None, ""
        try:
            client = self._load()
        except BaseException as error:  # noqa: BLE001 - the provider is foreign code: it may even call sys.exit
            problem = _unready(error)
        for question in questions:
            yield problem or _evaluate(client, question)

    def close(self) -> None:
        """Let go of the provider, also of one that is still to come up; what is said from now on means nothing.

        It is told so beside everything else, as it may wait.
        """
        self._is_closed = True
        if self._client is not None:
            self._let_go()

    def _let_go(self) -> None:
        from openfeature import api  # noqa: PLC0415 - imported on use
        from openfeature.provider.no_op_provider import NoOpProvider  # noqa: PLC0415 - as above

        api.set_provider(NoOpProvider(), self._domain)

    def _load(self) -> Any:
        with self._lock:  # one that was given up may still be at it
            if self._client is None:
                if self.configured is None:
                    raise RuntimeError("none is configured")
                from openfeature import api  # noqa: PLC0415 - imported on use

                logging.getLogger(LIBRARY).setLevel(logging.CRITICAL)  # what goes wrong is told by us, and once
                module, _, name = self.configured.provider.partition(":")
                provider = getattr(import_module(module), name)(**self.configured.options)
                try:
                    api.set_provider_and_wait(provider, self._domain)
                except BaseException:
                    self._let_go()
                    raise
                self._client = api.get_client(self._domain)
                if self._is_closed:  # while it came up
                    self._let_go()
            return self._client


def question_of(asks: InFlag, check: CheckConfig, location: str) -> Question:
    """Return what the provider is asked for a check: its name, type, labels and location, and what is configured."""
    told = {"check": check.name, "type": check.type, "labels": dict(check.labels), "location": location}
    return Question(asks.flag, check.name, told | json.loads(asks.context or "{}"), check.enabled.default)


async def ask_flags(helper: Helper, flags: Flags, asked: Mapping[Source, Question]) -> dict[Source, Found]:
    """Ask the provider of flags; return what it said in the time that there is. The rest is to be asked again."""
    found: list[Found] = []
    try:
        await helper.run(partial(_collect, flags.ask(tuple(asked.values())), found))
    except TimeoutError:
        silent = dict.fromkeys(asked, f"the provider did not answer within {helper.timeout:g} s")
        return silent | dict(zip(asked, tuple(found), strict=False))
    return dict(zip(asked, found, strict=False))


def _collect(answers: Iterable[Found], found: list[Found]) -> None:
    ends = monotonic() + AT_A_STRETCH
    for said in answers:
        found.append(said)
        if monotonic() > ends:
            return


def _evaluate(client: Any, question: Question) -> Found:
    from openfeature.evaluation_context import EvaluationContext  # noqa: PLC0415 - imported on use

    context = EvaluationContext(question.check, question.context)
    try:
        details = client.get_boolean_details(question.flag, question.default, context)
        state = client.get_provider_status().value
    except Exception as error:  # noqa: BLE001 - hooks and providers are foreign code
        return _unready(error)
    if details.error_code:
        told = f": {details.error_message}" if details.error_message else ""
        return f"the provider says {details.error_code.value}{told}"
    if state in DOUBTFUL:
        return f"the provider is in the state {state}: what it knows may be old"
    return details.value if isinstance(details.value, bool) else "the provider says neither on nor off"


def _unready(error: BaseException) -> str:
    while not str(error) and error.__cause__ is not None:  # the library's own say nothing by themselves
        error = error.__cause__
    return f"the provider does not work: {type(error).__name__}" + (f": {error}" if str(error) else "")
