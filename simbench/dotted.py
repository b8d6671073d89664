"""Dotted keys, such as ``network.latency``, in a scenario and in the tree that a file holds."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from simbench.spec import Spec, misfit, unknown_name


def place_of(key: str) -> tuple[str, ...]:
    """Return where the value of ``key`` is kept: a ``kind`` is a class, so the whole of it."""
    keys = tuple(key.split("."))
    return keys[:-1] if keys[-1] == "kind" else keys


def child(holder: Any, key: str) -> Any:
    """Return what one key of a spec, a mapping or a tuple holds; None if there is none."""
    if isinstance(holder, Spec):
        return getattr(holder, key) if key in type(holder).model_fields else None
    if isinstance(holder, Mapping):
        return holder.get(key)
    if isinstance(holder, tuple) and key.isdecimal() and int(key) < len(holder):
        return holder[int(key)]
    return None


def look_up(holder: Any, keys: tuple[str, ...]) -> Any:
    """Return what lies at ``keys``; None if there is nothing."""
    for key in keys:
        holder = child(holder, key)
    return holder


def replaced(holder: Any, keys: tuple[str, ...], value: Any) -> Any:
    """Return a spec, or what one holds, with ``value`` at ``keys``; it is not validated again."""
    if not keys:
        return value
    key, *rest = keys
    new = replaced(child(holder, key), tuple(rest), value)
    if isinstance(holder, Spec):
        return holder.model_copy(update={key: new})
    if isinstance(holder, tuple):
        return (*holder[: int(key)], new, *holder[int(key) + 1 :])
    return {**holder, key: new}


def tree_of(part: Any) -> Any:
    """Return a spec, or what one holds, as a file does, with lists as tuples."""
    if isinstance(part, Spec):
        return tree_of(part.model_dump(mode="json"))
    if isinstance(part, Mapping):
        return {key: tree_of(value) for key, value in part.items()}
    return tuple(map(tree_of, part)) if isinstance(part, (list, tuple)) else part


def overlay(tree: Any, default: Any, keys: tuple[str, ...], value: Any) -> Any:
    """Return a tree with ``value`` at ``keys``; what it leaves out on the way is as in ``default``.

    Raises:
        ValidationError: there is nothing that could hold the key.
    """
    if not keys:
        return value
    key, *rest = keys
    # Where another kind is chosen, keys of the default's kind would be too many.
    tree = tree_of(default if tree is None and key != "kind" else tree)
    if tree is None:
        tree = {}
    inner, beneath = child(tree, key), child(default, key)
    if isinstance(tree, tuple) and inner is not None:
        new = overlay(inner, beneath, tuple(rest), value)
        return (*tree[: int(key)], new, *tree[int(key) + 1 :])
    if not isinstance(tree, Mapping):
        raise misfit((), f"nothing that holds a key {key!r}")
    if rest and inner is None and beneath is None:
        raise unknown_key(key, default)
    return {**tree, key: overlay(inner, beneath, tuple(rest), value)}


def unknown_key(key: str, holder: Any) -> ValidationError:
    """Return the error for a ``key`` that a spec or a mapping doesn't have."""
    known = list(type(holder).model_fields) if isinstance(holder, Spec) else list(holder or ())
    return misfit((), unknown_name(key, known, "key").message())
