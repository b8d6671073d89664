"""What was trained and what was charged, where the clock is that of another model."""

from collections.abc import Mapping
from typing import Any

from simbench.records import RunFolder
from simbench.report.points import name_of
from simbench.report.quantities import digits

_MOST_TOLD = 6


def in_words(pricing: Mapping[str, Any]) -> str:
    """Return one sentence of the facts that ``summary.json`` holds under ``priced_as``."""
    source = pricing["source"] or "as the scenario gives it"
    return (
        f"Trained: {pricing['trained']} of {count(pricing['trained_parameters'])} parameters; "
        f"clock and bytes are those of {pricing['model']}, {count(pricing['parameters'])} "
        f"parameters in {pricing['precision']}, {count(pricing['flops'])} FLOPs per "
        f"{pricing['unit']} ({source})."
    )


def pricing(run: RunFolder) -> str | None:
    """Return what was trained and charged; of a sweep, at each point if they differ."""
    whole = bool(run.axes) and not run.point
    every = [each.summary.get("priced_as") for each in (run.points if whole else [run])]
    told = [in_words(each) if each else "What is charged is what is trained." for each in every]
    if not any(every):
        return None
    if len(set(told)) == 1:
        return told[0]
    where: dict[str, list[str]] = {}
    for point, words in zip(run.points, told, strict=True):
        where.setdefault(words, []).append(name_of(point.point))
    return " ".join(
        f"At {', '.join(names[:_MOST_TOLD])}{' and others' if len(names) > _MOST_TOLD else ''}: "
        f"{words[0].lower()}{words[1:]}"
        for words, names in where.items()
    )


def count(number: int) -> str:
    """Return a number in words of three digits.

    >>> count(8_030_261_248), count(250_000), count(900), count(48_181_567_488)
    ('8.03 B', '250 k', '900', '48.2 B')
    """
    for unit, size in {"T": 10**12, "B": 10**9, "M": 10**6, "k": 10**3}.items():
        if number >= size:
            return f"{digits(number / size)} {unit}"
    return str(number)
