"""Scenario files: YAML in and out, with errors that name file, line and key."""

import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from simbench.scenario import Scenario
from simbench.spec import Packing


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
    except YAMLError as error:
        line, problem = _yaml_problem(error)
        raise ScenarioError(f"{path}:{line}: not valid YAML: {problem}") from None
    if not isinstance(tree, CommentedMap):
        raise ScenarioError(f"{path}:1: expected a mapping of keys such as 'name' and 'strategies'")
    laid_over = [_lay_over(tree, assignment) for assignment in sets]
    try:
        scenario = Scenario.model_validate(_plain(tree), context=str(path.parent))
    except ValidationError as error:
        expected: dict[str, list[str]] = {}
        for each in error.errors():
            where, what = _explain(path, tree, each, laid_over)
            expected.setdefault(where, []).append(what)
        messages = [f"{where}: {_either(what)}" for where, what in expected.items()]
        raise ScenarioError("\n".join(messages)) from None
    _check_effect(scenario, laid_over)
    return scenario


def dump(scenario: Scenario, packing: Packing | None = None) -> str:
    """Return ``scenario`` as YAML with every default written out; ``load`` reads it back.

    With ``packing``, files are told by their places in the folder that it describes.
    """
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 100
    out = io.StringIO()
    yaml.dump(scenario.model_dump(mode="json", context=packing), out)
    return out.getvalue()


def pack(scenario: Scenario, folder: Path) -> Path:
    """Write ``scenario`` and every file that it names into ``folder``; return the YAML file.

    The folder can be moved anywhere: what it holds doesn't tell where the files came from.
    """
    packing = Packing()
    text = dump(scenario, packing)
    for place, file in packing.files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / place)
    (folder / "scenario.yaml").write_text(text, encoding="utf-8")
    return folder / "scenario.yaml"


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
        raise ScenarioError(
            f"--set {assignment!r}: expected KEY=VALUE, such as network.latency=5ms"
        )
    try:
        value = YAML().load(text)
    except YAMLError as error:
        problem = _yaml_problem(error)[1]
        raise ScenarioError(f"--set {assignment!r}: not valid YAML: {problem}") from None
    inner: Any = tree
    default: object = Scenario
    for depth, key in enumerate(keys[:-1]):
        inner = _step_into(inner, key, assignment, ".".join(keys[:depth]))
        default = _default_of(default, key)
        if isinstance(inner, CommentedMap) and hasattr(default, "kind"):
            if not inner:
                inner["kind"] = default.kind  # what isn't in the file is there by default
            elif inner.get("kind") != default.kind:
                default = None
    if isinstance(inner, CommentedSeq):
        _check_index(inner, keys[-1], assignment, ".".join(keys[:-1]))
        inner[int(keys[-1])] = value
    elif isinstance(inner, CommentedMap):
        inner[keys[-1]] = value
    else:
        raise ScenarioError(f"--set {assignment!r}: {'.'.join(keys[:-1])} holds no keys")
    return keys


def _check_effect(scenario: Scenario, laid_over: list[tuple[str, ...]]) -> None:
    """Refuse to set a key that every point of the sweep sets again."""
    for axis in scenario.sweep:
        for key in axis.keys:
            place = tuple(key.split("."))
            if any(keys[: len(place)] == place for keys in laid_over):
                raise ScenarioError(
                    f"--set {key}: has no effect, since axis {axis.name!r} of the sweep sets it; "
                    "set the sweep, or sweep={} to have none"
                )


def _step_into(inner: Any, key: str, assignment: str, where: str) -> Any:
    if isinstance(inner, CommentedSeq):
        _check_index(inner, key, assignment, where)
        return inner[int(key)]
    if not isinstance(inner, CommentedMap):
        raise ScenarioError(f"--set {assignment!r}: {where} holds no keys")
    if inner.get(key) is None:
        inner[key] = CommentedMap()
    return inner[key]


def _default_of(section: object, key: str) -> object:
    """Return what ``key`` of ``section`` holds where a file doesn't name it, or None."""
    if section is Scenario:
        field = Scenario.model_fields.get(key)
        return field.default if field else None
    return getattr(section, key, None)


def _check_index(items: CommentedSeq, key: str, assignment: str, where: str) -> None:
    if not key.isdecimal() or int(key) >= len(items):
        raise ScenarioError(
            f"--set {assignment!r}: {where} is a list of {len(items)}; expected an index from 0, "
            f"got {key!r}"
        )


def _yaml_problem(error: YAMLError) -> tuple[int, str]:
    """Return the line of a syntax error, and what is wrong there."""
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        return mark.line + 1 if mark else 1, str(error.problem)
    return 1, str(error).partition("\n")[0]


def _explain(
    path: Path, tree: CommentedMap, error: ErrorDetails, laid_over: list[tuple[str, ...]]
) -> tuple[str, str]:
    """Return "file:line: key", and what was expected there and what came."""
    keys: list[str] = []
    line = 1
    inner: Any = tree
    location = [*error["loc"]]
    context = error.get("ctx", {})
    if error["type"] == "unknown_name":
        location.append(context["key"] if context["what"] == "key" else "kind")
    for key in location:
        if isinstance(inner, CommentedMap) and key in inner:
            line = inner.lc.key(key)[0] + 1 if key in (inner.lc.data or {}) else line
            inner = inner[key]
        elif isinstance(inner, CommentedSeq) and isinstance(key, int) and key < len(inner):
            line = inner.lc.item(key)[0] + 1
            inner = inner[key]
        elif isinstance(inner, CommentedMap) and key == inner.get("kind"):
            continue  # by which pydantic tells the members of a choice apart
        elif error["type"] != "misfit" and (error["type"] != "missing" or key != location[-1]):
            continue
        keys.append(str(key))
    where = f"{path}:{line}"
    for each in laid_over:
        if keys[: len(each)] == list(each):
            where = f"--set {'.'.join(each)}"
        elif keys == list(each[: len(keys)]):
            where = f"{path}:{line} with --set {'.'.join(each)}"
    name = ".".join(keys) or "scenario"
    return where if where == f"--set {name}" else f"{where}: {name}", _say(error)


_EXPECTED = {
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "string_type": "expected text",
    "tuple_type": "expected a list",
    "dict_type": "expected a mapping",
    "string_pattern_mismatch": "expected text that matches {pattern}",
    "too_short": "expected at least {min_length}",
    "greater_than": "expected a number above {gt}",
    "greater_than_equal": "expected a number of at least {ge}",
    "less_than": "expected a number below {lt}",
    "less_than_equal": "expected a number of at most {le}",
}
"""How errors of pydantic's own read in a file: it speaks of tuples and dictionaries."""


def _say(error: ErrorDetails) -> str:
    if error["type"] in ("value_error", "unknown_name", "no_kind", "misfit"):
        return error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        return "missing; this key has no default"
    if error["type"] in _EXPECTED:
        message = _EXPECTED[error["type"]].format(**error.get("ctx", {}))
    else:
        message = error["msg"].replace("Input should be", "expected")
    got = list(error["input"]) if isinstance(error["input"], tuple) else error["input"]
    return f"{message}; got {got!r}"


def _either(messages: list[str]) -> str:
    """Return one message where a key may hold several things and holds none of them."""
    first, *others = messages
    start, _, got = first.partition("; got ")
    ways = [other.removeprefix("expected ").removesuffix(f"; got {got}") for other in others]
    return " or ".join([start, *ways]) + (f"; got {got}" if got else "")
