"""Links whose rate follows a trace."""

import csv
import functools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from simbench.condition import Course, LinkCondition
from simbench.influence import Influence
from simbench.spec import InputFile, misfit
from simbench.units import LINK_RATE_BPS, TIME_NS, PositiveNanoseconds

_COLUMNS = {f"time_{unit}": size for unit, size in TIME_NS.items()}
_RATES = {f"rate_{unit.removesuffix('/s').lower()}": size for unit, size in LINK_RATE_BPS.items()}

Sample = tuple[int, int]
"""A moment in ns, and the rate in bit/s from then on."""


class TraceFileError(ValueError):
    """The file isn't a trace; the message tells file, line and column."""


class BandwidthTrace(LinkCondition):
    """At each moment of the trace, links get the rate that it tells, and keep it until the next.

    Before the first moment they have their own. A rate of 0 stops what is under way without
    cutting it.
    """

    kind: Literal["bandwidth_trace"] = "bandwidth_trace"
    file: InputFile | None = None
    """A CSV file with a header and two columns: the time and the rate, each with its unit in the
    name, such as ``time_s,rate_mbit``. By default, 1 Gbit/s and after a minute a tenth of it."""
    repeat: PositiveNanoseconds | None = None
    """After this time it begins anew; by default the last rate stays."""

    @model_validator(mode="after")
    def _can_be_read(self) -> "BandwidthTrace":
        try:
            samples = self._samples()
        except TraceFileError as error:
            raise misfit(("file",), str(error)) from None
        if self.repeat is not None and self.repeat <= samples[-1][0]:
            raise misfit(("repeat",), "expected more than the last time of the trace")
        if self.repeat is not None and not any(rate for _, rate in samples):
            raise misfit(("repeat",), "has no effect: no rate of the trace is above 0")
        return self

    def play(self, influence: Influence) -> Course:
        """Follow the trace."""
        cables = self.cables(influence)
        samples = self._samples()
        start_ns = 0
        while cables:
            for time_ns, rate_bps in samples:
                yield from influence.wait_until(start_ns + time_ns)
                last = self.repeat is None and time_ns == samples[-1][0]
                for cable in cables:
                    influence.change_rate(cable, _always(rate_bps), last=last)
            if self.repeat is None:
                return
            start_ns += self.repeat

    def _samples(self) -> tuple[Sample, ...]:
        if self.file is None:
            return ((0, 10**9), (60 * 10**9, 10**8))
        return read_trace(self.file)


def _always(rate_bps: int) -> Callable[[int], int]:
    return lambda _: rate_bps


@functools.cache
def read_trace(path: str) -> tuple[Sample, ...]:
    """Return the samples in the CSV file ``path``.

    Raises:
        TraceFileError: one message tells file, line and column, what was expected and what came.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TraceFileError(f"{path}: can't be read: {error}") from None
    header = [name.strip() for name in rows[0]] if rows else []
    times = [name for name in header if name in _COLUMNS]
    rates = [name for name in header if name in _RATES]
    if len(header) != 2 or len(times) != 1 or len(rates) != 1:
        raise TraceFileError(
            f"{path}:1: expected a column of {', '.join(_COLUMNS)} and one of "
            f"{', '.join(_RATES)}; got {', '.join(header) or 'nothing'}"
        )
    samples: list[Sample] = []
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != 2:
            raise TraceFileError(f"{path}:{line}: expected 2 columns; got {len(row)}")
        cells = dict(zip(header, row, strict=True))
        time_ns = _number(f"{path}:{line}: {times[0]}", cells[times[0]], _COLUMNS[times[0]])
        rate_bps = _number(f"{path}:{line}: {rates[0]}", cells[rates[0]], _RATES[rates[0]])
        if samples and time_ns <= samples[-1][0]:
            raise TraceFileError(
                f"{path}:{line}: {times[0]}: expected more than in the line before; "
                f"got {cells[times[0]]!r}"
            )
        samples.append((time_ns, rate_bps))
    if not samples:
        raise TraceFileError(f"{path}:2: expected a row for each sample; got none")
    return tuple(samples)


def _number(where: str, text: str, unit: int) -> int:
    """Return ``text`` times ``unit``, rounded."""
    try:
        number = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        number = Fraction(-1)
    if number < 0:
        raise TraceFileError(f"{where}: expected a number of at least 0; got {text!r}")
    return round(number * unit)
