"""One column of a CSV file: times that were measured."""

import csv
import functools
import math
from collections.abc import Iterator
from pathlib import Path

from simbench.spec import unknown_name


class TraceFileError(ValueError):
    """The file lacks the column, or a cell of it is no time; ``key`` says what to change."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def read_column(path: str, column: str | None) -> tuple[tuple[float, ...], float]:
    """Return the times in ``column`` of the CSV file at ``path``, and their mean.

    Without a ``column`` it is the first.

    Raises:
        TraceFileError: one message tells what is wrong, and in which file, line and column.
    """
    # Every step asks. A file that was written anew is read anew.
    state = Path(path).stat()
    return _read(path, column, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=64)
def _read(
    path: str, column: str | None, _changed_ns: int, _num_bytes: int
) -> tuple[tuple[float, ...], float]:
    times = tuple(_times(path, column))
    if not times:
        raise TraceFileError("file", f"{path}: expected a line of names and lines of times")
    return times, math.fsum(times) / len(times)


def _times(path: str, column: str | None) -> Iterator[float]:
    try:
        # Python's own csv wants to see the ends of lines as they are; Excel marks UTF-8 in front.
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, strict=True)
            names = [name.strip() for name in next(lines, [])]
            place = _place(path, names, column)
            for cells in lines:
                if cells:
                    where = f"{path}, line {lines.line_num}, column {names[place]!r}"
                    yield _time(cells[place] if place < len(cells) else "", where)
    except (csv.Error, UnicodeDecodeError) as error:
        raise TraceFileError("file", f"{path}: not a CSV file in UTF-8: {error}") from None


def _place(path: str, names: list[str], column: str | None) -> int:
    if column is not None and column not in names:
        raise TraceFileError("column", unknown_name(column, names, "column").message())
    place = 0 if column is None else names.index(column)
    if any(map(_is_number, names)):
        # A time in its place would be left out without a word.
        raise TraceFileError("file", f"{path}, line 1: expected names of columns; got {names}")
    return place


def _time(cell: str, where: str) -> float:
    if not _is_number(cell) or not 0 < float(cell) < math.inf:
        raise TraceFileError("file", f"{where}: expected a number above 0; got {cell!r}")
    return float(cell)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
