"""Reading YAML so that every value knows its place: YAML 1.2 scalars, bounded, and strict about keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from heartbeat.config.problem import Place, Problem, problem_at, quoted
from heartbeat.config.scalars import kind_of, resolve

FILE_BYTES = 10 * 1024 * 1024
ALIASES = 100
NODES = 1_000_000
DEPTH = 50

Expand = Callable[[str, bool, Path], tuple[Any, bool]]
"""Takes a text, whether it is plain, and its file; returns the value (a scalar, or what stands for one) and
whether it is secret. Raises ValueError."""


class Node(NamedTuple):
    """A value with its place. ``value`` is a scalar, a list of nodes, or a mapping from text to nodes.

    ``keys`` says where each key of a mapping stands. ``secret`` says that a secret went into the text.
    """

    value: Any
    place: Place
    keys: dict[str, Place]
    secret: bool = False


class _Refused(Exception):  # noqa: N818 - no error of ours, only the way out
    """Reading cannot go on; the problem is already noted."""


def parse(text: str, file: Path, expand: Expand, problems: list[Problem]) -> Node | None:
    """Return the tree of a file, or None where it is no YAML; what is wrong is added to ``problems``."""
    composer = _Composer(file, expand, problems)
    try:
        return composer.document(_events(text, composer.refuse))
    except _Refused:
        return None


def lay_over(under: Node, over: Node) -> Node:
    """Return a tree in which what another says takes the place of what is there; mappings are merged key by key."""
    if not (isinstance(under.value, dict) and isinstance(over.value, dict)):
        return over
    both = {
        key: lay_over(under.value[key], child) if key in under.value else child for key, child in over.value.items()
    }
    return under._replace(value={**under.value, **both}, keys={**under.keys, **over.keys})


def to_python(node: Node) -> Any:
    """Return the bare value of a tree."""
    value = node.value
    if isinstance(value, dict):
        return {key: to_python(child) for key, child in value.items()}
    if isinstance(value, list):
        return [to_python(child) for child in value]
    return value


def holds_secret(node: Node) -> bool:
    """Say whether a secret is anywhere in the tree."""
    children = node.value.values() if isinstance(node.value, dict) else node.value
    return node.secret or (isinstance(node.value, (dict, list)) and any(map(holds_secret, children)))


def _events(text: str, refuse: Callable[[Any, str], NoReturn]) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        refuse(error.problem_mark or error.context_mark, _explain(error, text))
    except yaml.YAMLError as error:
        character = getattr(error, "character", None)
        what = f"the character U+{character:04X}" if isinstance(character, int) else "a character"
        refuse(None, f"holds {what}, which YAML does not allow")


_EXPLAINED = (
    (r"mapping values are not allowed", "is no YAML here: text with ': ' needs quotes, or a line is indented too far"),
    (r"could not find expected ':'", "is no YAML here: a key needs ': ' and its value behind it"),
    (r"did not find expected key", "is no YAML here: this line is not indented like the ones above it"),
    (r"did not find expected ',' or", "is no YAML here: a ',' or the closing bracket is missing"),
    (r"unexpected end of stream", "is no YAML here: a quote is not closed"),
)  # fmt: skip


def _explain(error: yaml.MarkedYAMLError, text: str) -> str:
    said = error.problem or "it cannot be understood"
    lines, mark = text.splitlines(), error.problem_mark
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    if mark and "cannot start any token" in said:
        character = line[mark.column : mark.column + 1]
        tab = "a tab cannot indent YAML; use spaces"
        return tab if character == "\t" else f"text that starts with {character} needs quotes"
    if "${" in line and "did not find expected" in said:
        return 'is no YAML here: inside { } and [ ], write "${NAME}" in quotes'
    for pattern, sentence in _EXPLAINED:
        if re.search(pattern, said):
            return sentence
    return f"is no YAML here: {said}"


class _Composer:
    """Builds nodes from events; ours, because PyYAML's forgets duplicate keys and expands aliases without a bound."""

    def __init__(self, file: Path, expand: Expand, problems: list[Problem]) -> None:
        self.file = file
        self.expand = expand
        self.problems = problems
        self.path: list[str] = []
        self.anchors: dict[str, Node | None] = {}
        self.aliases = 0
        self.nodes = 0
        self.events: Iterator[Any] = iter(())

    def document(self, events: Iterator[Any]) -> Node:
        self.events = events
        root = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    self.refuse(event.start_mark, "a second document (---) begins here; write one document per file")
                root = self.node(next(events), 1)
        return root or Node(None, Place(self.file, 1, 1), {})

    def refuse(self, mark: Any, message: str) -> NoReturn:
        self.note(mark, message)
        raise _Refused

    def note(self, mark: Any, message: str) -> None:
        place = self.place(mark) if mark else Place(self.file)
        self.problems.append(problem_at(place, ".".join(self.path), message))

    def place(self, mark: Any) -> Place:
        return Place(self.file, mark.line + 1, mark.column + 1)

    def node(self, event: Any, depth: int) -> Node:
        if type(event) is yaml.AliasEvent:
            return self.alias(event, depth)
        self.nodes += 1
        if depth > DEPTH or self.nodes > NODES:
            self.refuse(
                event.start_mark,
                f"is nested deeper than {DEPTH}" if depth > DEPTH else f"holds more than {NODES:,} values",
            )
        if event.anchor:
            self.anchors[event.anchor] = None
        if type(event) is yaml.ScalarEvent:
            node = self.scalar(event)
        elif type(event) is yaml.MappingStartEvent:
            node = self.mapping(event, depth)
        else:
            node = self.sequence(event, depth)
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def alias(self, event: Any, depth: int) -> Node:
        name = event.anchor
        self.aliases += 1
        if self.aliases > ALIASES:
            self.refuse(event.start_mark, f"is more than the {ALIASES} aliases (*{name}) that a file may have")
        target = self.anchors.get(name)
        if target is None:
            within = name in self.anchors
            self.refuse(
                event.start_mark, f"*{name} " + ("refers to itself" if within else f"has no anchor &{name} above it")
            )
        size, height = _measure(target)
        self.nodes += size
        if self.nodes > NODES or depth + height > DEPTH + 1:
            self.refuse(event.start_mark, f"*{name} makes the file larger than {NODES:,} values or deeper than {DEPTH}")
        return target

    def scalar(self, event: Any) -> Node:
        plain = not event.style
        value, secret = event.value, False
        if "${" in value:
            try:
                value, secret = self.expand(value, plain, self.file)
            except ValueError as error:
                self.note(event.start_mark, str(error))
        elif plain and event.tag is None:
            value = resolve(value)
        if event.tag not in _TEXT_TAGS:
            self.note(event.start_mark, f"the tag {quoted(event.tag)} is not supported")
        return Node(value, self.place(event.start_mark), _NO_KEYS, secret)

    def sequence(self, start: Any, depth: int) -> Node:
        items: list[Node] = []
        self.untagged(start)
        while type(event := next(self.events)) is not yaml.SequenceEndEvent:
            self.path.append(str(len(items)))
            items.append(self.node(event, depth + 1))
            self.path.pop()
        return Node(items, self.place(start.start_mark), _NO_KEYS)

    def mapping(self, start: Any, depth: int) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        self.untagged(start)
        while type(event := next(self.events)) is not yaml.MappingEndEvent:
            key = self.key(event)
            self.path.append(key)
            value = self.node(next(self.events), depth + 1)
            if key in keys:
                self.note(event.start_mark, f"{quoted(key)} is already there, in line {keys[key].line}")
            self.path.pop()
            values.setdefault(key, value)
            keys.setdefault(key, self.place(event.start_mark))
        return Node(values, self.place(start.start_mark), keys)

    def key(self, event: Any) -> str:
        if type(event) is not yaml.ScalarEvent:
            self.refuse(event.start_mark, "a key must be text, not an alias, a list or a mapping")
        name = str(event.value)
        if not event.style and event.tag is None and not isinstance(value := resolve(name), str):
            self.note(event.start_mark, f"the key {name or '(nothing)'} is {kind_of(value)} here; put it in quotes")
        if name == "<<" and not event.style:
            self.refuse(event.start_mark, "<< is not part of YAML 1.2; put what is shared under defaults:")
        return name

    def untagged(self, event: Any) -> None:
        if event.tag is not None:
            self.note(event.start_mark, f"the tag {quoted(event.tag)} is not supported")


_TEXT_TAGS = (None, "!", "tag:yaml.org,2002:str")
_NO_KEYS: dict[str, Place] = {}


def _measure(node: Node) -> tuple[int, int]:
    """Return how many values a tree has when it is written out, and how deep it is."""
    if not isinstance(node.value, (dict, list)):
        return 1, 1
    children = node.value.values() if isinstance(node.value, dict) else node.value
    measured = [_measure(child) for child in children]
    return 1 + sum(size for size, _ in measured), 1 + max((height for _, height in measured), default=0)
