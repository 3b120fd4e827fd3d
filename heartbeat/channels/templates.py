"""Templates of bodies: jinja2 in its sandbox, without what could read, loop for long or grow without bound.

The sandbox keeps a template from Python's insides; it stops neither loops nor large results. So calls and filters are
those of a closed list, there are no macros, no recursion and nothing to load, every round of every loop is counted, and
what is put together is measured. What comes from a target is data here and never a template.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import htmlsafe_json_dumps

SOURCE_CHARACTERS = 20_000
OUTPUT_CHARACTERS = 64_000
ROUNDS = 2_000
"""Of all loops of one message together."""
FILTERS = frozenset({
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "int", "items", "join",
    "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round",
    "select", "selectattr", "sort", "string", "sum", "title", "tojson", "trim", "truncate", "unique", "upper",
    "urlencode",
})  # fmt: skip
METHODS = frozenset({"get", "items", "keys", "values", "startswith", "endswith", "lower", "upper", "strip", "split"})
FORBIDDEN = (
    nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.AssignBlock,
    nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block,
)  # fmt: skip
BUDGET = "_rounds"


class TemplateFailed(Exception):  # noqa: N818 - the word of the domain, beside CheckFailed
    """A template made no body of this message; its text says why, and nothing of the data."""


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of body templates: one for all, as it keeps nothing."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=False, loader=None, cache_size=0)
        self.filters = {name: self.filters[name] for name in FILTERS}
        self.filters |= {"join": _join, "replace": _replace, "round": _round, "tojson": _tojson}
        self.filters |= {"_counted": _counted, "_measured": _measured}
        self.globals = {"range": _range}

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Allow the items of our data, and of its methods those that stay small."""
        return super().is_safe_attribute(obj, attr, value) and (attr in METHODS or not callable(value))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Do arithmetic with numbers; of texts and lists only sums, within bounds."""
        if operator == "+":
            return _measured(super().call_binop(context, operator, left, right))
        if not all(isinstance(side, (int, float)) and abs(side) < 10**15 for side in (left, right)):
            raise SecurityError(f"{operator} is for numbers")
        if operator == "**" and abs(right) > 64:
            raise SecurityError("the exponent is too large")
        return super().call_binop(context, operator, left, right)


@lru_cache(maxsize=64)
def compile_body(source: str) -> Template:
    """Compile a template. Raises ``ValueError`` with the line for what it must not hold."""
    if len(source) > SOURCE_CHARACTERS:
        raise ValueError(f"the template has more than {SOURCE_CHARACTERS} characters")
    try:
        tree = _SANDBOX.parse(source)
        _check(tree)
        _bound(tree)
        return _SANDBOX.from_string(tree)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise ValueError(f"the template is wrong{f' in line {line}' if line else ''}: {error.message}") from None
    except RecursionError:
        raise ValueError("the template nests too deeply") from None


def render_body(template: Template, data: Mapping[str, Any], *, is_json: bool) -> bytes:
    """Fill a template in. Raises ``TemplateFailed``, also for what is to be JSON and is none."""
    try:
        text = "".join(_bounded(template.generate({**data, BUDGET: [ROUNDS]})))
        if is_json:
            json.loads(text)
        return text.encode()
    except ValueError as error:
        raise TemplateFailed("it makes no JSON" if is_json else type(error).__name__) from None
    except TemplateError as error:
        raise TemplateFailed(f"{type(error).__name__}: {error.message}") from None
    except Exception as error:  # noqa: BLE001 - whatever a template does with data it did not expect, the alert goes out
        raise TemplateFailed(type(error).__name__) from None


def _bounded(parts: Iterable[str]) -> Iterator[str]:
    size = 0
    for part in parts:
        size += len(part)
        if size > OUTPUT_CHARACTERS:
            raise SecurityError(f"it makes more than {OUTPUT_CHARACTERS} characters")
        yield part


def _check(tree: nodes.Template) -> None:
    """Refuse what has no bound: what repeats itself, and filters and calls that are not on the list."""
    for node in tree.find_all(nodes.Node):
        problem = _problem(node)
        if problem:
            raise TemplateSyntaxError(problem, node.lineno)


def _problem(node: nodes.Node) -> str:
    if isinstance(node, FORBIDDEN) or (isinstance(node, nodes.For) and node.recursive):
        word = "recursive" if isinstance(node, nodes.For) else type(node).__name__.lower()
        return f"{word} is not allowed here"
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        return f"there is no filter {node.name!r} here; there are {', '.join(sorted(FILTERS))}"
    if isinstance(node, nodes.Name) and node.name == BUDGET:
        return f"{BUDGET} is not for templates"
    if isinstance(node, nodes.Call):
        callee = node.node
        if isinstance(callee, nodes.Name) and callee.name == "range":
            return ""
        if not isinstance(callee, nodes.Getattr) or callee.attr not in METHODS:
            return f"only range and the methods {', '.join(sorted(METHODS))} can be called"
    return ""


def _bound(tree: nodes.Template) -> None:
    """Count the rounds of every loop and measure every text that is put together."""
    for loop in tree.find_all(nodes.For):
        loop.iter = nodes.Filter(loop.iter, "_counted", [], [], None, None, lineno=loop.lineno)
    for parent in list(tree.find_all(nodes.Node)):
        for name, value in list(parent.iter_fields()):
            if isinstance(value, list):
                setattr(parent, name, [_measure(one) for one in value])
            else:
                setattr(parent, name, _measure(value))


def _measure(value: Any) -> Any:
    if isinstance(value, (nodes.Concat, nodes.Call)) or (isinstance(value, nodes.Filter) and value.name in FILTERS):
        return nodes.Filter(value, "_measured", [], [], None, None, lineno=value.lineno)
    return value


@pass_context
def _counted(context: Context, items: Iterable[Any]) -> Iterator[Any]:
    budget = context[BUDGET]
    for item in items:
        budget[0] -= 1
        if budget[0] < 0:
            raise SecurityError(f"its loops take more than {ROUNDS} rounds")
        yield item


def _measured(value: Any) -> Any:
    if hasattr(value, "__len__") and len(value) > OUTPUT_CHARACTERS:
        raise SecurityError(f"it puts more than {OUTPUT_CHARACTERS} characters together")
    return value


def _round(value: float, precision: int = 0) -> float:
    return round(value, max(-15, min(precision, 15)))


def _tojson(value: Any) -> str:
    """Write JSON in which also ``<>&'`` are escaped; there is no indent, which could be of any width."""
    return htmlsafe_json_dumps(value, ensure_ascii=False, allow_nan=False)


def _range(*bounds: int) -> range:
    found = range(*bounds)
    if len(found) > ROUNDS:
        raise SecurityError(f"range is for at most {ROUNDS}")
    return found


def _join(items: Iterable[Any], between: str = "") -> str:
    parts = [str(item) for item in items]
    if sum(map(len, parts)) + len(between) * len(parts) > OUTPUT_CHARACTERS:
        raise SecurityError(f"join makes more than {OUTPUT_CHARACTERS} characters")
    return between.join(parts)


def _replace(text: Any, old: str, new: str) -> str:
    whole = str(text)
    if len(whole) + whole.count(old) * len(new) > OUTPUT_CHARACTERS:
        raise SecurityError(f"replace makes more than {OUTPUT_CHARACTERS} characters")
    return whole.replace(old, new)


_SANDBOX = Sandbox()
