"""Secrets that stand in a configuration as they are, where ``${secret:NAME}`` or ``${file:PATH}`` is meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlsplit

from heartbeat.config.accounts import NEXT
from heartbeat.config.advice import Advice, Keys
from heartbeat.config.credentials import FIELDS
from heartbeat.config.document import Node
from heartbeat.plugins.source import CHECK_KEYS

RULE = "secret-inline"
KNOWN_BY_URL = frozenset({"slack", "teams", "discord", "ntfy", "apprise"})
"""Channels whose address is all that is needed to send in our name."""
_NAME = re.compile(
    r"(.*[_-])?(passwords?|passwd|passphrase|secrets?|token|(api|routing|access|private|signing)[_-]?key"
    r"|credentials?|authorization|cookie|bearer)",
    re.IGNORECASE,
)
_KEPT = re.compile(r"\$\{((secret|file):|(steps|accounts|run|item)\.)")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:-)?\}")
_NO_SECRETS = frozenset({"expect", "name", "labels", "take"})
"""Keys below which no secret belongs: what a target should say, and what is shown."""


def find_inline(root: Node) -> Iterator[Advice]:
    """Yield every secret that is written out, or that comes from a plain variable.

    Args:
        root: the tree with its references as they are written.
    """
    yield from _in_receivers(root)
    for name, check in _entries(root, "checks").items():
        for key, options in _mapping(check).items():
            if key not in CHECK_KEYS:
                yield from _in_options(options, ("checks", name, key), key)
    yield from _at_the_top(root)


def _in_receivers(root: Node) -> Iterator[Advice]:
    for name, receiver in _entries(root, "receivers").items():
        for index, channel in enumerate(receiver.value if isinstance(receiver.value, list) else ()):
            for kind, options in _mapping(channel).items():
                yield from _in_options(options, ("receivers", name, str(index), kind), kind)


def _at_the_top(root: Node) -> Iterator[Advice]:
    for name, target in _entries(root, "targets").items():
        if _has_credentials(_text(target)):
            yield from _judge(target, ("targets", name))
    for name, account in _entries(root, "accounts").items():
        yield from _in_account(account, ("accounts", name))
    if tokens := _entries(root, "api").get("tokens"):
        for name, token in _mapping(tokens).items():
            yield from _judge(token, ("api", "tokens", name))
    url = _entries(root, "watchdog").get("url")
    if url is not None and _is_telling(_text(url)):
        yield from _judge(url, ("watchdog", "url"))


def _in_account(node: Node, keys: Keys) -> Iterator[Advice]:
    """Look at all fields of an account but the name that it logs in with, and at those it will have."""
    for key, one in _mapping(node).items():
        if key == NEXT:
            yield from _in_account(one, (*keys, key))
        elif key in FIELDS and key != "user":
            yield from _judge(one, (*keys, key))


def _in_options(node: Node, keys: Keys, kind: str) -> Iterator[Advice]:
    """Look at all that is below a node."""
    for key, child in _mapping(node).items():
        here = (*keys, key)
        if key in _NO_SECRETS:
            continue
        for one, place in _leaves(child, here):
            if _NAME.fullmatch(key) or _is_secret_url(key, _text(one), kind):
                yield from _judge(one, place)
            if isinstance(child.value, list):
                yield from _in_options(one, place, kind)
        yield from _in_options(child, here, kind)


def _leaves(node: Node, keys: Keys) -> Iterator[tuple[Node, Keys]]:
    if isinstance(node.value, list):
        yield from ((one, (*keys, str(index))) for index, one in enumerate(node.value))
    else:
        yield node, keys


def _is_secret_url(key: str, text: str, kind: str) -> bool:
    if "url" not in key.lower():
        return False
    if key == "url" and kind in KNOWN_BY_URL:
        return _is_telling(text)
    return _has_credentials(text)


def _is_telling(text: str) -> bool:
    """Say whether an address is one that a stranger could make use of: not empty, and not on this machine."""
    try:
        parts = urlsplit(re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", text))
        host = parts.hostname or ""
        return bool(parts.path.strip("/") or parts.query) and not (host == "localhost" or ip_address(host).is_loopback)
    except ValueError:  # a name, no address
        return True


def _has_credentials(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(parts.password) or any(_NAME.fullmatch(name) and value for name, value in parse_qsl(parts.query))
    except ValueError:
        return False


def _judge(node: Node, keys: Keys) -> Iterator[Advice]:
    text = _text(node)
    if not text or _KEPT.search(text):
        return
    if variable := _VARIABLE.search(text):
        sentence = f"comes from a plain variable, which nothing keeps out of messages: write ${{secret:{variable[1]}}}"
    else:
        sentence = "a secret stands here for all to read: write ${secret:NAME} or ${file:PATH}"
    yield Advice(RULE, ".".join(keys), sentence, (keys,))


def _text(node: Node) -> str:
    value = node.value
    return "" if isinstance(value, (dict, list, bool)) or value is None else str(value)


def _mapping(node: Node) -> Mapping[str, Node]:
    return node.value if isinstance(node.value, dict) else {}


def _entries(root: Node, key: str) -> Mapping[str, Node]:
    found = _mapping(root).get(key)
    return _mapping(found) if found is not None else {}
