"""Flags: the OpenFeature provider that the configuration names, loaded where a check first asks for a flag.

All of it may wait, for a network or for an import: it is called in the pool, never on the loop.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from threading import Lock
from typing import Any

from heartbeat.config.model import CheckConfig, FlagProvider
from heartbeat.core.switches import Found, InFlag

_DOMAINS = count(1)
LIBRARY = "openfeature"


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

    def ask(self, questions: Iterable[Question]) -> list[Found]:
        """Return what the provider says, or why it says nothing; in the order of the questions. It may wait."""
        try:
            client = self._load()
        except Exception as error:  # noqa: BLE001 - the provider is foreign code: whatever it raises, we know nothing
            return [_unready(error) for _ in questions]
        return [_evaluate(client, question) for question in questions]

    def close(self) -> None:
        """Let go of the provider. It is told so beside everything else, as it may wait."""
        if self._client is not None:
            from openfeature import api  # noqa: PLC0415 - imported on use
            from openfeature.provider.no_op_provider import NoOpProvider  # noqa: PLC0415 - as above

            api.set_provider(NoOpProvider(), self._domain)
            self._client = None

    def _load(self) -> Any:
        with self._lock:  # one that was given up may still be at it
            if self._client is None:
                if self.configured is None:
                    raise RuntimeError("none is configured")
                from openfeature import api  # noqa: PLC0415 - imported on use

                logging.getLogger(LIBRARY).setLevel(logging.CRITICAL)  # what goes wrong is told by us, and once
                module, _, name = self.configured.provider.partition(":")
                provider = getattr(import_module(module), name)(**self.configured.options)
                api.set_provider_and_wait(provider, self._domain)
                self._client = api.get_client(self._domain)
            return self._client


def question_of(asks: InFlag, check: CheckConfig, location: str) -> Question:
    """Return what the provider is asked for a check: its name, type, labels and location, and what is configured."""
    told = {"check": check.name, "type": check.type, "labels": dict(check.labels), "location": location}
    return Question(asks.flag, check.name, told | json.loads(asks.context or "{}"), check.enabled.default)


def _evaluate(client: Any, question: Question) -> Found:
    from openfeature.evaluation_context import EvaluationContext  # noqa: PLC0415 - imported on use

    context = EvaluationContext(question.check, question.context)
    try:
        details = client.get_boolean_details(question.flag, question.default, context)
    except Exception as error:  # noqa: BLE001 - hooks and providers are foreign code
        return _unready(error)
    if details.error_code:
        told = f": {details.error_message}" if details.error_message else ""
        return f"the provider says {details.error_code.value}{told}"
    return details.value if isinstance(details.value, bool) else "the provider says neither on nor off"


def _unready(error: Exception) -> str:
    return f"the provider does not work: {type(error).__name__}: {error}"
