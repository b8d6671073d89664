"""Which of the names that there are may be meant by one that isn't among them."""

import difflib
from collections.abc import Iterable

_ALIKE = 0.65
"""How alike two names are: "gtp" and "gpt" 0.67, "sta" and "star" 0.86; "gossip" and "ring" 0.4."""


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Return the name that is most like ``name``, or none where no name is like it."""
    return difflib.get_close_matches(name, list(names), n=1, cutoff=_ALIKE)


def hint(meant: Iterable[str]) -> str:
    """Return a question to put into a message, a space behind it; nothing where nothing is meant.

    >>> hint(nearest("sta", ["ring", "star"]))
    "did you mean 'star'? "
    """
    names = " or ".join(map(repr, meant))
    return f"did you mean {names}? " if names else ""
