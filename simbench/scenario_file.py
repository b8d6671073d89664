"""Scenario files: YAML in and out, with errors that name file, line and key."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from simbench.scenario import Scenario


class ScenarioError(ValueError):
    """The request was wrong; the message says where and what was expected."""


def load(path: Path, sets: Sequence[str] = ()) -> Scenario:
    """Return the scenario in ``path``, with ``sets`` ("network.latency=20 ms") laid over it.

    Raises:
        ScenarioError: no such file, not YAML, or not a scenario; one message tells all of it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ScenarioError(f"{path}: can't be read: {reason}") from None
    try:
        tree = YAML().load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ScenarioError(f"{path}:{line}: not valid YAML: {error.problem}") from None
    if not isinstance(tree, CommentedMap):
        raise ScenarioError(f"{path}:1: expected a mapping of keys such as 'name' and 'strategies'")
    laid_over = [_lay_over(tree, assignment) for assignment in sets]
    try:
        return Scenario.model_validate(_plain(tree), context=str(path.parent))
    except ValidationError as error:
        messages = [_explain(path, tree, each, laid_over) for each in error.errors()]
        raise ScenarioError("\n".join(messages)) from None


def dump(scenario: Scenario) -> str:
    """Return ``scenario`` as YAML with every default written out; ``load`` reads it back."""
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 100
    out = io.StringIO()
    yaml.dump(scenario.model_dump(mode="json"), out)
    return out.getvalue()


def _plain(tree: Any) -> Any:
    """Return plain Python, lists as tuples, as strict specs want them."""
    if isinstance(tree, dict):
        return {str(key): _plain(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return tuple(_plain(value) for value in tree)
    if isinstance(tree, str):
        return str(tree)
    if isinstance(tree, float):
        return float(tree)
    return int(tree) if type(tree) is not bool and isinstance(tree, int) else tree


def _lay_over(tree: CommentedMap, assignment: str) -> tuple[str, ...]:
    """Set one key of ``tree`` and return its path."""
    name, equals, text = assignment.partition("=")
    keys = tuple(name.strip().split("."))
    if not equals or not all(keys):
        raise ScenarioError(f"--set {assignment!r}: expected KEY=VALUE, such as network.latency=5ms")
    try:
        value = YAML().load(text)
    except MarkedYAMLError as error:
        raise ScenarioError(f"--set {assignment!r}: not valid YAML: {error.problem}") from None
    inner: Any = tree
    for depth, key in enumerate(keys[:-1]):
        inner = _step_into(inner, key, assignment, ".".join(keys[:depth]))
    if isinstance(inner, CommentedSeq):
        _check_index(inner, keys[-1], assignment, ".".join(keys[:-1]))
        inner[int(keys[-1])] = value
    elif isinstance(inner, CommentedMap):
        inner[keys[-1]] = value
    else:
        raise ScenarioError(f"--set {assignment!r}: {'.'.join(keys[:-1])} holds no keys")
    return keys


def _step_into(inner: Any, key: str, assignment: str, where: str) -> Any:
    if isinstance(inner, CommentedSeq):
        _check_index(inner, key, assignment, where)
        return inner[int(key)]
    if not isinstance(inner, CommentedMap):
        raise ScenarioError(f"--set {assignment!r}: {where} holds no keys")
    if inner.get(key) is None:
        inner[key] = CommentedMap()
    return inner[key]


def _check_index(items: CommentedSeq, key: str, assignment: str, where: str) -> None:
    if not key.isdecimal() or int(key) >= len(items):
        raise ScenarioError(
            f"--set {assignment!r}: {where} is a list of {len(items)}; expected an index from 0, "
            f"got {key!r}"
        )


def _explain(
    path: Path, tree: CommentedMap, error: ErrorDetails, laid_over: list[tuple[str, ...]]
) -> str:
    """Return "file:line: key: what was expected, what came"."""
    keys: list[str] = []
    line = 1
    inner: Any = tree
    location = [*error["loc"]]
    context = error.get("ctx", {})
    if error["type"] == "unknown_name":
        location.append(context["key"] if context["what"] == "key" else "kind")
    elif error["type"] == "no_kind":
        pass
    for key in location:
        if isinstance(inner, CommentedMap) and key in inner:
            line = inner.lc.key(key)[0] + 1 if key in (inner.lc.data or {}) else line
            inner = inner[key]
        elif isinstance(inner, CommentedSeq) and isinstance(key, int) and key < len(inner):
            line = inner.lc.item(key)[0] + 1
            inner = inner[key]
        elif error["type"] != "missing" or key != location[-1]:
            continue  # the kind by which pydantic tells the members of a choice apart
        keys.append(str(key))
    where = f"{path}:{line}"
    if any(keys[: len(each)] == list(each) for each in laid_over):
        where = "--set"
    return f"{where}: {'.'.join(keys) or 'scenario'}: {_say(error)}"


def _say(error: ErrorDetails) -> str:
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] in ("value_error", "unknown_name", "no_kind"):
        return message
    if error["type"] == "missing":
        return "missing; this key has no default"
    return f"{message.replace('Input should be', 'expected')}; got {error['input']!r}"
