"""Jitter as it was measured: factors from a file, replayed."""

from typing import Literal

from pydantic import Field, PositiveFloat, model_validator

from simbench.cluster.jitter import Jitter
from simbench.cluster.trace_file import TraceFileError, read_column
from simbench.seeds import generator
from simbench.spec import InputFile, misfit

# Nine steps like each other, and one that takes half as long again.
_HICCUP = (1.0, 1.02, 0.98, 1.01, 0.99, 1.0, 1.02, 0.98, 1.0, 1.5)


class Trace(Jitter):
    """Measured times of steps over their mean, replayed in their order, again and again.

    Each node begins somewhere else: its offset is drawn from (seed, rank), each place being as
    likely. Then step k takes what stands k places further on, so slow spells stay together.
    """

    kind: Literal["trace"] = "trace"
    times: tuple[PositiveFloat, ...] | None = Field(default=None, min_length=1)
    """The times, in any unit; by default, and without a file, a short made-up one."""
    file: InputFile | None = None
    """A CSV file, in UTF-8 and with commas, whose first line names the columns."""
    column: str | None = None
    """Name of the column that holds the times, in any unit; by default the first."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> "Trace":
        if self.times is not None and self.file is not None:
            raise misfit(("times",), "has no effect beside file; give one of the two")
        if self.column is not None and self.file is None:
            raise misfit(("column",), "has no effect without file")
        if self.file is not None:
            try:
                read_column(self.file, self.column)
            except TraceFileError as error:
                raise misfit((error.key,), str(error)) from None
        return self

    def factor(self, seed: int, rank: int, step: int) -> float:
        """Return what stands ``step`` places after the node's offset, over the mean."""
        times, mean = self._times
        offset = int(generator(seed, "offset in trace", rank, 0).integers(len(times)))
        return times[(offset + step) % len(times)] / mean

    @property
    def _times(self) -> tuple[tuple[float, ...], float]:
        if self.file is not None:
            return read_column(self.file, self.column)
        times = self.times or _HICCUP
        return times, sum(times) / len(times)
