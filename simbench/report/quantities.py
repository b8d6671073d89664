"""Numbers as people read them: three digits, and a unit that suits their size."""

import math
from dataclasses import dataclass

from simbench.units import SIZE_BYTES, TIME_NS


@dataclass(frozen=True)
class Unit:
    """What an axis counts in."""

    name: str
    size: int


def time_unit(largest_ns: float) -> Unit:
    """Return the unit in which times up to ``largest_ns`` are pleasant to read.

    >>> time_unit(90e9).name, time_unit(4_000_000).name
    ('s', 'ms')
    """
    # Seconds stay readable up to a few hundred, hours and minutes only help beyond.
    starts = {"h": 5 * TIME_NS["h"], "min": 15 * TIME_NS["min"]}
    return _fitting({unit: starts.get(unit, size) for unit, size in TIME_NS.items()}, largest_ns)


def size_unit(largest_bytes: float) -> Unit:
    """Return the decimal unit in which sizes up to ``largest_bytes`` are pleasant to read."""
    decimal = {name: size for name, size in SIZE_BYTES.items() if "i" not in name}
    return _fitting(decimal, largest_bytes)


def sample_unit(largest: float) -> Unit:
    """Return how to count samples up to ``largest``: singly, in thousands or in millions."""
    for name, size in {"millions": 10**6, "thousands": 10**3}.items():
        if largest >= 10 * size:
            return Unit(name, size)
    return Unit("number", 1)


def _fitting(starts: dict[str, int], largest: float) -> Unit:
    sizes = TIME_NS | SIZE_BYTES
    name = max(
        (unit for unit, start in starts.items() if largest >= start),
        key=lambda unit: sizes[unit],
        default=min(starts, key=lambda unit: sizes[unit]),
    )
    return Unit(name, sizes[name])


def digits(number: float) -> str:
    """Return three digits of a number, and all that stand before its point.

    >>> digits(1234.5), digits(41.234), digits(15), digits(0.98765)
    ('1,234', '41.2', '15.0', '0.988')
    """
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    return f"{number:,.0f}" if abs(number) >= 99.95 else f"{number:#.3g}"


def show_time(time_ns: float) -> str:
    """Return a time with its unit.

    >>> show_time(41_234_000_000), show_time(2_500_000)
    ('41.2 s', '2.50 ms')
    """
    return _show(time_ns, time_unit(time_ns))


def show_size(num_bytes: float) -> str:
    """Return a size with its unit.

    >>> show_size(2_345_678)
    '2.35 MB'
    """
    return _show(num_bytes, size_unit(num_bytes))


def show_share(share: float) -> str:
    """Return a part of one in percent; a part too small for a digit isn't shown as none.

    >>> show_share(0.423), show_share(0.0004)
    ('42 %', 'under 1 %')
    """
    if math.isnan(share):
        return "none recorded"
    return "under 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def show_loss(loss: float) -> str:
    """Return a loss, or a perplexity, with four digits: a zero at its end is one of them.

    >>> show_loss(3.14), show_loss(1234.5)
    ('3.140', '1234')
    """
    if not math.isfinite(loss):
        return "no finite number"
    return f"{loss:#.4g}".rstrip(".")


def show_target(loss: float) -> str:
    """Return a loss that was asked for, in as many digits as it has, up to four.

    >>> show_target(2.9)
    '2.9'
    """
    return f"{loss:.4g}"


def join(parts: list[str]) -> str:
    """Return a list in words.

    >>> join(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _show(amount: float, unit: Unit) -> str:
    number = f"{amount:,.0f}" if unit.size == 1 else digits(amount / unit.size)
    return f"{number} {unit.name}"
