"""From files to a configuration: read everything, note every mistake, and only then say yes or no."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from heartbeat.config.accounts import read_accounts
from heartbeat.config.checks import Around, read_checks
from heartbeat.config.document import Expand, Node, lay_over, parse
from heartbeat.config.drills import read_drills
from heartbeat.config.enabled import enabled_reader
from heartbeat.config.expansion import (
    Deferred,
    Surroundings,
    expand,
    fill,
    is_one_variable,
    needs_matrix,
    needs_targets,
)
from heartbeat.config.files import list_files, merge, read_text
from heartbeat.config.filling import refuse_late
from heartbeat.config.matrix import Members, Values, expand_all, refuse_deferred
from heartbeat.config.notify import escalation_reader, notify_reader, receivers_named
from heartbeat.config.plan import Plan, Way
from heartbeat.config.problem import ConfigError, Place, Problem, problem_at
from heartbeat.config.reading import Reader, Spot, attempt
from heartbeat.config.receivers import read_receivers
from heartbeat.config.scalars import Scalar, resolve
from heartbeat.config.settings import STORE, control_path, read_defaults, read_top
from heartbeat.config.targets import fill_targets, take_targets, targets_of_checks
from heartbeat.config.typed import Known
from heartbeat.config.types import Types, problem_of
from heartbeat.core.model import NOTHING
from heartbeat.plugins import Found, Source, discover
from heartbeat.references import Late

MESSAGE_CHARACTERS = 500


@dataclass(slots=True)
class _Reading:
    """What reading gathers on its way."""

    around: Surroundings
    problems: list[Problem] = field(default_factory=list)
    unreadable: set[tuple[str, int, int]] = field(default_factory=set)
    """Where a value could not be had at all: what is said later of such a place only follows from that."""
    noted: int = 0
    deferred: bool = False
    """Something refers to the values of a matrix, or to targets."""
    late: bool = False
    """Something refers to what is known only while a check runs."""

    def expand(self, text: str, plain: bool, file: Path) -> tuple[Scalar | Deferred, bool]:
        """Expand one scalar; one that is a single plain variable may become a number."""
        if needs_matrix(text) or needs_targets(text):
            self.deferred = True
            return Deferred(text, plain), False
        return self.expand_now(text, plain and is_one_variable(text), file)

    def expand_now(self, text: str, may_be_number: bool, file: Path) -> tuple[Scalar, bool]:
        value, secret = expand(text, file.parent, self.around)
        self.late = self.late or isinstance(value, Late)
        return resolve(value) if may_be_number and value else value, secret

    def fill(self, node: Node, values: Values = NOTHING) -> Node:
        """Expand what was deferred: until the targets were known, or for one member of a matrix."""
        written: Deferred = node.value
        may_be_number = written.plain and is_one_variable(written.text)
        value, secret = self.expand_now(fill(written.text, values), may_be_number, node.place.file)
        return node._replace(value=value, secret=secret)

    def parsed(self, *, whole: bool) -> None:
        """Remember what was wrong with the files themselves; raise it if one of them could not be read at all."""
        self.noted = len(self.problems)
        self.unreadable = {(one.file, one.line, one.column) for one in self.problems}
        if not whole:
            self.fail()

    def fail(self) -> None:
        """Raise all that was noted, if anything was, with no secret in it."""
        later = (one for one in self.problems[self.noted :] if (one.file, one.line, one.column) not in self.unreadable)
        clean = [self._clean(one) for one in (*self.problems[: self.noted], *later)]
        if clean:
            raise ConfigError(clean, tuple(self.around.files))

    def _clean(self, problem: Problem) -> Problem:
        """Take secrets out of a message, and only then make it one line of a sensible length."""
        line = " ".join(self.around.redactor(problem.message).split())
        cut = line if len(line) <= MESSAGE_CHARACTERS else line[:MESSAGE_CHARACTERS] + "…"
        return replace(problem, message=cut)


def read(
    paths: Sequence[Path],
    environ: Mapping[str, str],
    loading: Callable[[Source], None] = lambda _: None,
    targets: Mapping[str, str] = NOTHING,
    over: Sequence[Path] = (),
) -> Plan:
    """Read files and folders into a plan.

    Args:
        paths: files, and folders of ``*.yaml`` and ``*.yml`` files; their top levels are merged.
        environ: what ``${NAME}`` stands for.
        loading: is told each plugin before its code runs.
        targets: what takes the place of targets of the configuration, by name.
        over: files that are laid over them: what they say holds, and the rest stays.

    Raises:
        ConfigError: with all mistakes.
    """
    reading = _Reading(Surroundings(environ))
    written = merge(_documents(paths, reading, reading.expand), reading.problems)
    for above in _documents(over, reading, reading.expand) if over else ():
        written = lay_over(written, above)
    root, about_targets = _with_targets(Spot(written, "", reading.problems), reading, targets)
    members = _members(root, reading)
    top = read_top(root)
    if "checks" not in root.node.value:
        root.wrong("has no checks:")
    types = _types(top, reading, loading)
    receivers = read_receivers(top["receivers"]) if "receivers" in top else {}
    notify = receivers_named(receivers)
    readers = _readers(receivers, environ, has_flags="flags" in root.node.value)
    defaults = read_defaults(top["defaults"], readers) if "defaults" in top else {}
    accounts = read_accounts(top["accounts"], reading.around) if "accounts" in top else {}
    drafts = read_checks(members, Around(defaults, Known(types, accounts, reading.around.files), readers))
    types.load_all(lambda source: source.path is not None and not source.bundled)
    settings = {**_settings(top, root), **about_targets, "tokens": top.get("api", {}), "accounts": accounts}
    settings["self_notify"] = attempt(top["self_notify"], notify, ()) if "self_notify" in top else ()
    if "drill" in top:
        hears = settings["self_notify"]
        settings["drills"] = attempt(top["drill"], lambda spot: read_drills(spot, receivers, notify, hears), ())
    reading.fail()
    settings["files"] = (*reading.around.files, *_plugin_files(types.found, settings["plugins"]))
    sources = {name: types.found.sources[name] for draft in drafts for name in (draft.type, *draft.uses)}
    return Plan(settings, receivers, drafts, sources, tuple(reading.around.secrets))


def _readers(
    receivers: Mapping[str, tuple[Way, ...]], environ: Mapping[str, str], *, has_flags: bool
) -> dict[str, Reader]:
    """Return what reads those keys of checks and defaults that depend on the rest of the configuration."""
    return {
        "notify": notify_reader(receivers),
        "escalate": escalation_reader(receivers),
        "enabled": enabled_reader(environ, has_flags=has_flags),
    }


def read_as_written(paths: Sequence[Path]) -> Node:
    """Return the tree of files and folders with its references as they are written. Raises ``ConfigError``."""
    reading = _Reading(Surroundings({}))
    return merge(_documents(paths, reading, lambda text, _plain, _file: (text, False)), reading.problems)


def _with_targets(tree: Spot, reading: _Reading, targets: Mapping[str, str]) -> tuple[Spot, dict[str, Any]]:
    """Return the root with the targets put in, and what ``Config`` keeps of them."""
    take_targets(tree, reading.around, targets)
    targeted = targets_of_checks(tree.node) if reading.deferred else {}
    root = replace(tree, node=fill_targets(tree, reading.fill)) if reading.deferred else tree
    values = {name: target.value for name, target in reading.around.targets.items()}
    return root, {"targets": values, "targeted": targeted}


def _members(root: Spot, reading: _Reading) -> Members:
    """Return the checks, matrices expanded. What cannot be expanded there could not be had at all, either."""
    entries = root.entries()
    members = expand_all(entries["checks"], reading.fill) if "checks" in entries else Members()
    if reading.deferred:
        refuse_deferred(root)
    if reading.late:
        refuse_late(root, [member.spot for member in members.checks])
    reading.parsed(whole=True)
    return members


def _settings(top: Mapping[str, Any], root: Spot) -> dict[str, Any]:
    """Return the arguments of ``Config`` that are set, and those that have no default there."""
    plain = (
        "location",
        "web",
        "history",
        "log",
        "watchdog",
        "grace",
        "stall_limit",
        "concurrency",
        "maintenance",
        "storm",
        "flags",
        "mark_traffic",
    )
    settings = {key: top[key] for key in plain if key in top}
    if top.get("metrics"):
        settings["duration_buckets"] = top["metrics"]
    plugins = tuple(folder for folder, _ in top.get("plugins", ()))
    return {**settings, "store": top.get("store", STORE), "control": control_path(top, root), "plugins": plugins}


def _types(top: Mapping[str, Any], reading: _Reading, loading: Callable[[Source], None]) -> Types:
    """Discover the check types; what is wrong with a folder is noted where the folder is named."""
    places: dict[Path, Place] = dict(reversed(top.get("plugins", ())))
    found = discover(places)
    for fault in found.faults:
        named = next((place for folder, place in places.items() if fault.file in (folder, folder.resolve())), None)
        if named and fault.file:
            reading.problems.append(problem_at(named, "plugins", f"{fault.file}: {fault.sentence}"))
        else:
            reading.problems.append(problem_of(fault))
    return Types(found, reading.problems, loading)


def _plugin_files(found: Found, folders: Iterable[Path]) -> tuple[Path, ...]:
    folders = tuple(folders)
    files = (source.path for source in found.sources.values() if source.path and not source.bundled)
    helpers = (file for folder in folders for file in folder.glob("_*.py"))
    return (*folders, *files, *helpers)


def _documents(paths: Sequence[Path], reading: _Reading, expand: Expand) -> list[Node]:
    trees = []
    files = list_files(paths, reading.problems)
    for path in (*paths, *files):
        reading.around.files[path.absolute()] = None
    for file in files:
        text = read_text(file, reading.problems)
        tree = parse(text, file, expand, reading.problems) if text is not None else None
        if tree is None:
            continue
        if not isinstance(tree.value, dict):
            what = "is empty" if tree.value is None else "must be a mapping (key: value) at its top"
            reading.problems.append(problem_at(tree.place, "", what))
            continue
        trees.append(tree)
    reading.parsed(whole=len(trees) == len(files) > 0)
    return trees
