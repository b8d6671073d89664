"""A base for pure operations: name the settings, write the formula, and the key is right."""

import functools
import re
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from simbench.execution.identity import source_hash
from simbench.execution.values import Effort


@dataclass(frozen=True)
class PureOperation:
    """A pure function whose settings are the fields of a frozen dataclass.

    A subclass writes ``__call__``, which changes none of its inputs and returns something new, or
    an input itself, but no view of one: its memory may be written into later. Its ``identity``
    covers the settings and the source of its file, and of what that imports from its package. What
    is drawn comes in by arguments, such as (rank, step), and a setting, the seed.

    >>> @dataclass(frozen=True)
    ... class Scale(PureOperation):
    ...     factor: float
    ...
    ...     def __call__(self, vector):
    ...         return self.factor * vector
    >>> Scale(2.0).name, Scale(2.0)(21)
    ('scale', 42.0)
    """

    effort: ClassVar[Effort] = "light"
    """What computing it costs, beside sending its result to another machine."""

    @property
    def name(self) -> str:
        """What it is called: its class's name, in_small_letters."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def is_entrywise(self) -> bool:
        """Whether it works entry by entry on vectors: a piece of its result needs theirs alone."""
        return False

    @functools.cached_property
    def identity(self) -> str:
        """What the result depends on beside the inputs: settings and source."""
        settings = {each.name: getattr(self, each.name) for each in fields(self)}
        others = {type(each) for each in settings.values() if _is_of_a_package(each)}
        # As Any, which mypy takes for hashable.
        classes: list[Any] = [type(self), *sorted(others, key=repr)]
        source = source_hash(*classes)
        return f"{type(self).__qualname__} {settings!r} {source}"

    def __call__(self, *inputs: Any) -> Any:
        """Return the result; arguments of the recipe follow its inputs."""
        raise NotImplementedError


def _is_of_a_package(setting: Any) -> bool:
    """Whether it is an object of somebody's class, whose source counts as well."""
    return setting is not None and type(setting).__module__ != "builtins"
