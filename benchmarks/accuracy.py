"""Times of the clock plane against real TCP and gloo on shaped links.

    python benchmarks/accuracy.py           # the measurements in benchmarks/data
    python benchmarks/accuracy.py FILE.csv --predictions OUT.csv   # others, with the same columns

Behind it come tables that others have published (benchmarks/published.py).

Every row is predicted from what is described of its configuration and one number, the overhead of
a message, from the rows between two nodes of the same configuration. Nothing is tuned for a case.
"""

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import published
import typer
from calibration import Calibration
from measured_links import PUBLIC, Row, read
from predictions import UnknownOperationError, predict
from rich.console import Console
from rich.table import Table
from textbook import textbook_s

WORST = 15


class Judged(NamedTuple):
    """A row, what simbench says of it and what the textbook does."""

    row: Row
    predicted: float
    textbook: float | None

    @property
    def error(self) -> float:
        """Relative error of simbench."""
        return self.predicted / self.row.median_s - 1

    @property
    def textbook_error(self) -> float | None:
        """Relative error of the textbook."""
        return None if self.textbook is None else self.textbook / self.row.median_s - 1


class Bar(NamedTuple):
    """Rows that are judged together, and what is known of SimGrid on the public ones."""

    name: str
    rows: list[Judged]
    aim: str
    simgrid: str
    """Flow level (CM02); with gloo's algorithms and ready messages written in."""


def main(
    file: Annotated[Path, typer.Argument(help="Measurements.")] = PUBLIC,
    predictions: Annotated[
        Path | None, typer.Option(help="Write every prediction to this CSV file.")
    ] = None,
    tables: Annotated[bool, typer.Option(help="Plan what others have published, too.")] = True,
) -> None:
    """Predict every row, write the predictions, and print how far off they are."""
    try:
        rows = read(file)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    judged = list(judge(rows))
    if predictions is not None:
        write(predictions, judged)
    # Wide enough for its tables where it isn't read on a terminal.
    console = Console(width=None if Console().is_terminal else 140)
    console.print(summary(judged))
    scored = [each for each in judged if is_scored(each.row)]
    console.print(by("operation", scored, lambda row: family(row.operation)))
    console.print(by("latency", scored, latency_class))
    console.print(worst(scored))
    if tables:
        console.print("\nPublished, simbench, ratio\n")
        published.main()


def judge(rows: Sequence[Row]) -> Iterator[Judged]:
    """Yield every row with what is predicted; tell of those that nobody knows how to predict."""
    calibration = Calibration(rows)
    for row in rows:
        try:
            predicted = predict(row, calibration.overhead_ns(row))
        except UnknownOperationError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        yield Judged(row, predicted, textbook_s(row, rows))


def is_scored(row: Row) -> bool:
    """Whether a row counts: it was repeatable, and isn't what overheads are taken from."""
    return row.accept == "yes" and not row.op.startswith("p2p")


def is_loop(row: Row) -> bool:
    """Whether a row tells how fast asynchronous workers go round."""
    return row.op == "async_rounds_per_s" or (row.op == "train_async_comm" and is_scored(row))


def family(operation: str) -> str:
    """Return what operations of several sizes are called together."""
    if operation.startswith("flows"):
        return "flows over a trunk"
    if operation.startswith("rtt2"):
        return "flows of two round trips"
    return operation


def latency_class(row: Row) -> str:
    """Return the class of a row's latency."""
    latencies = sorted(set(row.latencies_ms))
    return " and ".join(f"{latency:g}" for latency in latencies) + " ms a link"


def write(path: Path, judged: Iterable[Judged]) -> None:
    """Write what was predicted."""
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["config", "op", "bytes", "predicted_s"])
        for row, predicted, _ in judged:
            out.writerow([row.config, row.op, row.num_bytes, f"{predicted:.9g}"])


def summary(judged: Sequence[Judged]) -> Table:
    """Return a table of the bars."""
    scored = [each for each in judged if is_scored(each.row)]
    loops = [each for each in judged if is_loop(each.row)]
    bars = [
        Bar("accepted rows", scored, "0.7 / 4.5 / 35", "2.0 / 31 / 96; 0.8 / 5.8 / 90"),
        Bar(
            "with latency",
            [each for each in scored if each.row.has_latency],
            "- / 6.5 / -",
            "- / 49.6 / -; - / 8.6 / -",
        ),
        Bar("rounds of asynchronous loops", loops, "0.9 / 9 / -", "16.7 / 47 / -; 0.9 / 10.5 / -"),
        Bar(
            "ends of single flows",
            [each for each in scored if each.row.flow is not None],
            "- / 15 / -",
            "- / 46 / -",
        ),
    ]
    table = Table(title="Relative error, %: median / 90th percentile / maximum")
    for name in ("rows", "number", "simbench", "aim", "textbook", "SimGrid on the public rows"):
        table.add_column(name, justify="right" if name == "number" else "left")
    for bar in bars:
        table.add_row(
            bar.name,
            str(len(bar.rows)),
            spread(each.error for each in bar.rows),
            bar.aim,
            spread(each.textbook_error for each in bar.rows),
            bar.simgrid,
        )
    table.caption = "SimGrid: flow level; the same with gloo's algorithms and ready messages"
    return table


def by(name: str, judged: Sequence[Judged], key) -> Table:  # noqa: ANN001 - a function of rows
    """Return a table of errors by ``key`` of a row."""
    table = Table(title=f"By {name}, %: median / 90th percentile / maximum")
    for column in (name, "number", "simbench", "textbook"):
        table.add_column(column, justify="right" if column == "number" else "left")
    for each in sorted({key(one.row) for one in judged}):
        rows = [one for one in judged if key(one.row) == each]
        errors = spread(one.error for one in rows), spread(one.textbook_error for one in rows)
        table.add_row(each, str(len(rows)), *errors)
    return table


def spread(errors: Iterable[float | None]) -> str:
    """Return median, 90th percentile and maximum of the absolute values, in percent."""
    known = [abs(each) for each in errors if each is not None]
    if not known:
        return "-"
    values = 100 * np.quantile(known, [0.5, 0.9, 1])
    return " / ".join(f"{each:.2f}" if each < 10 else f"{each:.1f}" for each in values)


def worst(judged: Sequence[Judged]) -> Table:
    """Return a table of the rows that are furthest off, with what the model lacks."""
    table = Table(title=f"The {WORST} worst rows")
    for column in (
        "configuration",
        "operation",
        "bytes",
        "measured",
        "simbench",
        "error",
        "missing",
    ):
        table.add_column(column, justify="right" if column in ("bytes", "error") else "left")
    for each in sorted(judged, key=lambda one: -abs(one.error))[:WORST]:
        row = each.row
        table.add_row(
            row.config,
            row.op,
            f"{row.num_bytes:,}",
            f"{row.median_s:.4g} s",
            f"{each.predicted:.4g} s",
            f"{100 * each.error:+.1f} %",
            missing(row),
        )
    return table


def missing(row: Row) -> str:
    """Return the mechanism that the model lacks where a row of this kind is off."""
    what = row.operation
    if what.startswith("rtt2"):
        return "windows over time: who loses packets when, and CUBIC's growth after it"
    if what.startswith("flows"):
        return "which flow the queue favours; it settles within seconds"
    if what == "broadcast":
        return "the root's first send has a head start over the others"
    if row.n * max(row.rates_mbit) >= KERNEL_MBIT:
        return "processor time: one kernel forwards the packets of all nodes"
    if what in ("all_gather", "all_reduce", "reduce", "reduce_scatter", "ring_isend"):
        return "how long gloo's threads take to wake up, which differs"
    return "windows after idle times: how far they were open before"


KERNEL_MBIT = 800
"""Where all nodes together send so much, the machine that measured was busy with packets."""


if __name__ == "__main__":
    typer.run(main)
