"""Redaction by value: a secret is replaced wherever it would appear, in its plain and its encoded forms."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from functools import lru_cache
from html import escape
from html.entities import codepoint2name
from json import dumps
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

if TYPE_CHECKING:
    import re2

MINIMUM = 4
"""Shorter values are not redacted: a secret ``a`` would destroy every text, and hides nothing from who can count."""
VALUES_PER_NAME = 32
"""How many values of one name stay known through rotations; the oldest goes first."""
LINE_MINIMUM = 16
"""Lines of a longer secret (a key in PEM) are secrets of their own from this many characters on."""
MEMORY = 64 << 20
"""Bytes that the compiled pattern may take; RE2 starts its tables anew where they would grow beyond."""
CUT = "…"
"""What a text was shortened at: the beginning of a secret may stand before it."""
STUMP = 6
"""The shortest beginning of a secret that is redacted where the text was cut."""
STUMP_MOST = 8192
DEPTH = 32
"""Data that nests deeper is cut: it may well contain itself."""


class Redactor:
    """Replaces secrets by ``<redacted:NAME>``. Values can be added at any time; rotated ones stay known.

    A value is found plain, percent-encoded, escaped as JSON, HTML, Python or shell text (also mixed and doubled), as
    hex, and as base64 of either alphabet wherever in the encoded text it lies. Looking costs about two
    microseconds for a line; finding costs more, and is rare. Calling it twice changes nothing more.
    """

    def __init__(self, secrets: dict[str, str] | None = None) -> None:
        self._secrets: dict[str, list[str]] = {}
        self._finder: _Finder | None = None
        for name, value in (secrets or {}).items():
            self.add(name, value)

    def add(self, name: str, value: str) -> bool:
        """Learn a secret; say False if it is too short (under 4 characters) to be redacted, so that someone warns."""
        value = _encodable(value).strip()
        if len(value) < MINIMUM:
            return False
        values = self._secrets.setdefault(name, [])
        if value not in values:
            values.append(value)
            del values[:-VALUES_PER_NAME]
            self._finder = None
        return True

    def adopt(self, other: Redactor) -> None:
        """Learn all that another one knows: after a reload, the secrets of the old configuration are secrets still."""
        for name, values in other._secrets.items():
            for value in values:
                self.add(name, value)

    def knows(self, other: Redactor) -> bool:
        """Say whether all secrets of another one are known here."""
        return all(set(values) <= set(self._secrets.get(name, ())) for name, values in other._secrets.items())

    def __call__(self, text: str) -> str:
        """Return the text without any known secret, in whatever form."""
        if not self._secrets or not text:
            return text
        finder = self._finder
        if finder is None:
            finder = self._finder = _Finder(self._secrets)
        return finder.replace(text)

    def redact_data(self, value: object) -> object:
        """Return a copy of nested dicts, lists, tuples and strings without secrets; other values are passed on."""
        return self._walk(value, DEPTH) if self._secrets else value

    def _walk(self, value: object, depth: int) -> object:
        if isinstance(value, str):
            return self(value)
        if isinstance(value, bytes):
            return self(value.decode(errors="backslashreplace")).encode()
        if not isinstance(value, (dict, list, tuple)):
            return value
        if depth == 0:
            return "…"
        if isinstance(value, dict):
            return {self._walk(key, depth): self._walk(item, depth - 1) for key, item in value.items()}
        items = [self._walk(item, depth - 1) for item in value]
        return items if isinstance(value, list) else tuple(items)


def concealer(values: Iterable[tuple[str, str]]) -> Callable[[str], str]:
    """Return what leaves values out of texts in their usual spellings, and makes no pattern: they are soon forgotten.

    Args:
        values: names, and what is to be concealed; what is shorter than 4 characters is left.
    """
    named = {_encodable(value).strip(): name for name, value in values}
    spelled = [(text, name) for value, name in named.items() if len(value) >= MINIMUM for text in _written_out(value)]
    spelled.sort(key=lambda pair: len(pair[0]), reverse=True)

    def conceal(text: str) -> str:
        for whole, name in spelled:
            text = text.replace(whole, f"<redacted:{name}>")
        if text.endswith(CUT):
            longest, name = max(((_stump(text[:-1], whole), name) for whole, name in spelled), default=(0, ""))
            text = f"{text[: -1 - longest]}<redacted:{name}>{CUT}" if longest else text
        return text

    return conceal


class _Finder:
    """One pattern for all secrets, in RE2: neither their number nor a tricky text makes it slow."""

    def __init__(self, secrets: dict[str, list[str]]) -> None:
        named = [(part, name) for name, values in secrets.items() for value in values for part in _parts(value)]
        named.sort(key=lambda pair: len(pair[0]), reverse=True)
        # What is redacted already is passed over first: a secret may be a part of its own name.
        self._marker = "<redacted:(?:" + "|".join(sorted(map(re.escape, secrets), reverse=True)) + ")>"
        self._patterns = [(_forms(part), name) for part, name in named]
        self._pattern = _compile("|".join([self._marker, *(pattern for pattern, _ in self._patterns)]))
        self._spelled = [(text[:STUMP_MOST], name) for part, name in named for text in _written_out(part)]

    def replace(self, text: str) -> str:
        """Replace whole secrets, then what is left of those that were cut."""
        clean = self._replace_whole(text)
        if CUT not in clean:
            return clean
        *cut, last = clean.split(CUT)
        return CUT.join([*map(self._without_stump, cut), last])

    def _without_stump(self, text: str) -> str:
        """Return a text that was cut at its end without the beginning of a secret there."""
        if text.endswith(">") and _compile_once(self._marker + "$").search(text):
            return text
        stumps = ((_stump(text, spelled), name) for spelled, name in self._spelled)
        longest, name = max(stumps, default=(0, ""))
        return f"{text[:-longest]}<redacted:{name}>" if longest else text

    def _replace_whole(self, text: str) -> str:
        try:
            found = self._pattern.search(text)
        except UnicodeEncodeError:  # lone surrogates, from bytes that were no UTF-8
            text = _encodable(text)
            found = self._pattern.search(text)
        return str(self._pattern.sub(self._name, text)) if found else text

    def _name(self, match: re.Match[str]) -> str:
        found = match.group()
        if _compile_once(self._marker).fullmatch(found):
            return found
        names = (name for pattern, name in self._patterns if _compile_once(pattern).fullmatch(found))
        return f"<redacted:{next(names, 'secret')}>"


def _encodable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def _compile(pattern: str) -> re2._Regexp:
    import re2  # noqa: PLC0415 - without a secret nothing of it is needed

    options = re2.Options()
    options.max_mem = MEMORY
    options.never_capture = True
    options.log_errors = False
    return re2.compile(pattern, options)


_compile_once = lru_cache(maxsize=256)(_compile)  # those of single secrets, needed only where one was found


def _parts(value: str) -> Iterable[str]:
    """Yield the value, and its long lines where it has several (the frame of a PEM file is no secret)."""
    yield value
    lines = value.splitlines()
    if len(lines) > 1:
        yield from (line for line in map(str.strip, lines) if len(line) >= LINE_MINIMUM and line[:5] != "-----")
    elif "://" in value:
        yield from _parts_of_url(value)


def _parts_of_url(value: str) -> Iterable[str]:
    """Yield what is likely to be secret in a secret URL: messages show the host, and may show pieces of the rest."""
    try:
        url = urlsplit(value)
        found = [url.path, f"{url.path}?{url.query}", url.query, url.password or ""]
    except ValueError:
        return
    found += [*url.path.split("/"), *(text for _, text in parse_qsl(url.query, errors="replace"))]
    yield from (part for part in dict.fromkeys(found) if len(part) >= LINE_MINIMUM)


def _forms(value: str) -> str:
    """Return a pattern for the value in all its forms."""
    raws = dict.fromkeys(text.encode() for text in (value, dumps(value)[1:-1], dumps(value, ensure_ascii=False)[1:-1]))
    spelled = "".join(map(_spellings, value))
    encoded = (pattern for raw in raws for pattern in (f"(?i:{raw.hex()})", *(_base64(raw, n) for n in range(3))))
    return "|".join([spelled, *encoded])


def _written_out(value: str) -> Iterable[str]:
    """Return the usual spellings of a value, to find a beginning of one where a text was cut."""
    raw = value.encode()
    escaped = (value, dumps(value)[1:-1], dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1], escape(value))
    percent = (quote(value), quote(value, safe=""), quote_plus(value))
    base64 = (b64encode(bytes(n) + raw)[-(-n * 8 // 6) :].decode() for n in range(3))
    return dict.fromkeys((*escaped, *percent, raw.hex(), *base64))


def _stump(text: str, spelled: str) -> int:
    """Return how many characters at the end of the text are the beginning of what is spelled; 0 where too few are."""
    at = text.find(spelled[:STUMP], max(0, len(text) - len(spelled)))
    while at >= 0:
        if spelled.startswith(text[at:]):
            return len(text) - at
        at = text.find(spelled[:STUMP], at + 1)
    return 0


@lru_cache(maxsize=4096)
def _spellings(char: str) -> str:
    """Return a pattern for the ways in which URLs, JSON, HTML, Python and shells write one character.

    Letters, digits and the like are written as they are by all of them. Backslashes before the rest may be doubled by
    every further layer, so any number of them counts.
    """
    if char.isascii() and char.isalnum():
        return char
    if char == "\\":
        return r"(?:\\+|%(?:25)?5[cC]|&#92;|&#x5[cC];|&bsol;)"
    raw = char.encode()
    spelled = {re.escape(char), *_escapes(char), *_entities(char)}
    spelled |= {"".join(f"%(?:25)?{_hex(byte)}" for byte in raw), "".join(rf"\\+x{_hex(byte)}" for byte in raw)}
    if char == " ":
        spelled.add(r"\+")
    if char == "'":  # both ways in which a quote leaves its quotes in a shell
        spelled |= {r"'\\''", "'\"'\"'"}
    return rf"(?:\\|%(?:25)?5[cC])*(?:{'|'.join(sorted(spelled, key=len, reverse=True))})"


def _escapes(char: str) -> Iterable[str]:
    """Yield the backslash escapes of JSON and Python, as patterns."""
    short = dumps(char)[1:-1] if ord(char) < 128 else ""
    if len(short) == 2:
        yield r"\\+" + re.escape(short[1])
    units = char.encode("utf-16-be")
    yield "".join(rf"\\+u{_hex(units[i])}{_hex(units[i + 1])}" for i in range(0, len(units), 2))
    if ord(char) < 256:
        yield rf"\\+x{_hex(ord(char))}"
    yield r"\\+U" + "".join(_hex(byte) for byte in char.encode("utf-32-be"))


def _entities(char: str) -> Iterable[str]:
    """Yield the entities of HTML, as patterns; the ampersand may be escaped once more."""
    yield rf"&(?:amp;)?#0*{ord(char)};"
    yield rf"&(?:amp;)?#[xX]0*(?i:{ord(char):x});"
    if name := codepoint2name.get(ord(char), "apos" if char == "'" else ""):
        yield f"&(?:amp;)?{name};"


def _hex(byte: int) -> str:
    """Return a pattern for two hexadecimal digits of either case."""
    return f"(?i:{byte:02x})"


def _base64(raw: bytes, offset: int) -> str:
    """Return a pattern for the bytes in base64 text that begins ``offset`` (0 to 2) bytes before them.

    Digits that hold bits of the value alone are matched. One at its end that shares its bits with what follows goes
    with it; one at its start stays (it tells four bits): to match it would make every search several times slower.
    """
    digits = b64encode(bytes(offset) + raw).decode().rstrip("=")
    start, stop = -(-offset * 8 // 6), (offset + len(raw)) * 8 // 6
    shared = "[A-Za-z0-9+/_-]?" if stop < len(digits) else ""
    return f"{''.join(map(_digit, digits[start:stop]))}{shared}(?:=|%3[dD]){{0,2}}"


def _digit(digit: str) -> str:
    """Return a pattern for one digit of base64 in either alphabet, also inside a URL or JSON."""
    if digit in "+/":
        other = {"+": "-", "/": "_"}[digit]
        return rf"(?:\\*[{digit}{other}]|{re.escape(quote(digit, safe=''))}|(?i:{quote(digit, safe='')}))"
    return digit
