"""What each key of a plug-in takes, in words, from the same JSON Schema that editors read."""

import inspect
import json
from typing import Any, NamedTuple

from simbench.spec import Spec


class Key(NamedTuple):
    """A key of a plug-in, as a file would write it."""

    key: str
    takes: str
    default: str
    about: str


def keys_of(plugin: type[Spec]) -> list[Key]:
    """Return every key that a scenario may set beside the ``kind``."""
    schema = plugin.model_json_schema()
    return [
        Key(name, _takes(rule, schema.get("$defs", {})), _flow(rule["default"]), _about(rule))
        for name, rule in schema["properties"].items()
        if name != "kind"
    ]


def first_line(plugin: type) -> str:
    """Return the first line of a docstring, without its marks of code."""
    return inspect.cleandoc(plugin.__doc__ or "").partition("\n")[0].replace("``", "")


def _about(rule: dict[str, Any]) -> str:
    paragraph = inspect.cleandoc(rule.get("description", "")).partition("\n\n")[0]
    return " ".join(paragraph.split()).replace("``", "")


def _flow(value: Any) -> str:
    """Return a default in YAML's short form: ``{kind: ring}``."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return value if isinstance(value, str) and value else json.dumps(value)


_TYPES = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "object": "mapping",
    "array": "list",
    "null": "null",
}
_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def _takes(rule: dict[str, Any], parts: dict[str, Any]) -> str:
    """Return in words what a rule of the schema lets through, its ``$ref``s among ``parts``."""
    match rule:
        case {"then": chosen}:  # where a mapping without a kind is one of the default's
            words = _takes(chosen, parts)
        case {"oneOf": members}:
            kinds = [_part(each, parts)["kind"]["const"] for each in members]
            words = f"kind: {_either(kinds)}"
        case {"anyOf": ways}:
            words = _either([_takes(each, parts) for each in ways])
        case {"$ref": _}:
            words = f"mapping of {', '.join(_part(rule, parts))}"
        case {"enum": values}:
            words = _either(values)
        case {"const": value}:
            words = str(value)
        case {"pattern": _, "examples": [example]}:
            words = f"such as {example}"
        case {"items": each}:
            words = f"list of ({_takes(each, parts)})"
        case _:
            bounds = [f"{sign} {rule[name]:g}" for name, sign in _BOUNDS.items() if name in rule]
            words = f"{_TYPES[rule['type']]} {' and '.join(bounds)}".rstrip()
    return words


def _part(rule: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of the spec that a rule refers to."""
    keys: dict[str, Any] = parts[rule["$ref"].rpartition("/")[2]]["properties"]
    return keys


def _either(ways: list[str]) -> str:
    *others, last = map(str, dict.fromkeys(ways))
    return f"{', '.join(others)} or {last}" if others else last
