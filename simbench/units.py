"""Quantities with units: "10 Gbit/s" in a file, an integer of the smallest unit in the program.

1 Mbit is 10^6 bit, 1 MB is 10^6 bytes, 1 MiB is 2^20 bytes, and nothing else is accepted.
"""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema

TIME_NS = {
    "h": 3600 * 10**9,
    "min": 60 * 10**9,
    "s": 10**9,
    "ms": 10**6,
    "us": 10**3,
    "ns": 1,
}
SIZE_BYTES = {
    "TB": 10**12,
    "TiB": 2**40,
    "GB": 10**9,
    "GiB": 2**30,
    "MB": 10**6,
    "MiB": 2**20,
    "kB": 10**3,
    "KiB": 2**10,
    "B": 1,
}
LINK_RATE_BPS = {
    "Tbit/s": 10**12,
    "Gbit/s": 10**9,
    "Mbit/s": 10**6,
    "kbit/s": 10**3,
    "bit/s": 1,
}
COMPUTE_RATE_FLOPS = {
    "PFLOP/s": 10**15,
    "TFLOP/s": 10**12,
    "GFLOP/s": 10**9,
    "MFLOP/s": 10**6,
    "kFLOP/s": 10**3,
    "FLOP/s": 1,
}

_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?(?:[eE][+-]?\d{1,2})?)\s*([A-Za-z/]+)\s*")


def parse(text: object, units: Mapping[str, int]) -> int:
    """Return ``text`` (such as ``"2.5 ms"``) as a whole number of the smallest unit.

    >>> parse("2.5 ms", TIME_NS)
    2500000

    Raises:
        ValueError: no unit, an unknown unit, or finer than the smallest unit.
    """
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[2] not in units:
        said = _in_bits(match) if match and "bit/s" in units else ""
        raise ValueError(f"expected a number and one of {', '.join(units)}{said}; got {text!r}")
    amount = Fraction(match[1]) * units[match[2]]
    if amount.denominator != 1:
        raise ValueError(f"{text!r} is finer than one {min(units, key=lambda unit: units[unit])}")
    return int(amount)


def _in_bits(match: re.Match[str]) -> str:
    """Return what a rate is that was said in bytes (GB/s) or in short (Gbps), in brackets."""
    number, unit = match.groups()
    if (short := unit.removesuffix("bps") + "bit/s") in LINK_RATE_BPS:
        return f" ({unit} is {short})"
    size, per, _ = unit.partition("/s")
    rate = 8 * Fraction(number) * SIZE_BYTES.get(size, 0)
    if not per or not rate or rate.denominator != 1:
        return ""
    return f" ({number} {unit} is {render(int(rate), LINK_RATE_BPS)})"


def render(amount: int, units: Mapping[str, int]) -> str:
    """Return ``amount`` in the largest unit that holds it exactly; ``parse`` reads it back.

    >>> render(2_500_000, TIME_NS), render(10**10, LINK_RATE_BPS)
    ('2500 us', '10 Gbit/s')
    """
    unit = max(
        (name for name, size in units.items() if amount % size == 0), key=lambda name: units[name]
    )
    if amount == 0:
        unit = min(units, key=lambda name: units[name])
    return f"{amount // units[unit]} {unit}"


class _Quantity:
    """Makes the pydantic type of a quantity: text with a unit in files, an integer in Python."""

    def __init__(self, units: Mapping[str, int], example: str, positive: bool) -> None:
        self.units, self.example, self.positive = units, example, positive

    def read_each(self, value: object, info: ValidationInfo) -> int | tuple[int, ...]:
        """Read one quantity, or a list with one for each node."""
        if not isinstance(value, (tuple, list)):
            return self.read(value, info)
        return tuple(self.read(each, info) for each in value)

    def read(self, value: object, info: ValidationInfo) -> int:
        """Parse text; take an integer as it is, but only from Python code, never from a file."""
        if info.context is None and isinstance(value, int) and not isinstance(value, bool):
            amount = value
        else:
            amount = parse(value, self.units)
        if amount < self.positive:
            raise ValueError(f"must be {'above' if self.positive else 'at least'} 0; got {value!r}")
        return amount

    def write_each(self, amount: int | tuple[int, ...]) -> str | list[str]:
        """Render what ``read_each`` read."""
        if isinstance(amount, int):
            return render(amount, self.units)
        return [render(each, self.units) for each in amount]

    def annotations(self) -> tuple[object, ...]:
        return (
            BeforeValidator(self.read),
            PlainSerializer(
                lambda amount: render(amount, self.units), return_type=str, when_used="json"
            ),
            WithJsonSchema(self._schema),
        )

    def annotations_each(self) -> tuple[object, ...]:
        return (
            BeforeValidator(self.read_each),
            PlainSerializer(self.write_each, return_type=str | list[str], when_used="json"),
            WithJsonSchema({"anyOf": [self._schema, {"type": "array", "items": self._schema}]}),
        )

    @property
    def _schema(self) -> dict[str, Any]:
        names = "|".join(re.escape(unit) for unit in self.units)
        return {
            "type": "string",
            "pattern": rf"^\s*\d+(\.\d+)?([eE][+-]?\d{{1,2}})?\s*({names})\s*$",
            "examples": [self.example],
        }


Nanoseconds = Annotated[int, *_Quantity(TIME_NS, "50 ms", positive=False).annotations()]
"""A duration of zero or more: "50 ms"."""
PositiveNanoseconds = Annotated[int, *_Quantity(TIME_NS, "50 ms", positive=True).annotations()]
"""A duration above zero: "10 min"."""
Bytes = Annotated[int, *_Quantity(SIZE_BYTES, "25 MiB", positive=True).annotations()]
"""A size: "25 MiB"."""
NonNegativeBytes = Annotated[int, *_Quantity(SIZE_BYTES, "64 KiB", positive=False).annotations()]
"""A size of zero or more: "0 B"."""
BitsPerSecond = Annotated[int, *_Quantity(LINK_RATE_BPS, "10 Gbit/s", positive=True).annotations()]
"""The rate of a link: "10 Gbit/s"."""
NanosecondsEach = Annotated[
    int | tuple[int, ...], *_Quantity(TIME_NS, "50 ms", positive=False).annotations_each()
]
"""A duration for all nodes, or a list with one for each: ["50 ms", "1 ms"]."""
BitsPerSecondEach = Annotated[
    int | tuple[int, ...], *_Quantity(LINK_RATE_BPS, "1 Gbit/s", positive=True).annotations_each()
]
"""The rate of every node's link, or a list with one for each: ["1 Gbit/s", "100 Mbit/s"]."""
NonNegativeBytesEach = Annotated[
    int | tuple[int, ...], *_Quantity(SIZE_BYTES, "64 KiB", positive=False).annotations_each()
]
"""A size for all nodes, or a list with one for each: ["0 B", "64 KiB"]."""
FlopsPerSecond = Annotated[
    int, *_Quantity(COMPUTE_RATE_FLOPS, "2 TFLOP/s", positive=True).annotations()
]
"""The rate of a machine: "2 TFLOP/s"."""
