"""What commands share: results on standard output, everything else on standard error."""

import json
import math
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from simbench.units import parse

if TYPE_CHECKING:
    from simbench.execution.memo import Memo
    from simbench.execution.moments import Moments
    from simbench.scenario import Scenario

# Names come from users: square brackets and colons in them are no markup.
out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
err = Console(highlight=False, markup=False, emoji=False, stderr=True)

ScenarioFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A scenario file (YAML).", show_default=False)
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key, as network.latency='20 ms'."),
]
Seeds = Annotated[
    list[int] | None,
    typer.Option("--seed", metavar="N", help="Use this seed instead (may be repeated)."),
]
NodesPerActor = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Nodes that one actor stands in for.", show_default="by cores"
    ),
]
ResultsFolder = Annotated[
    Path, typer.Option("--results", metavar="FOLDER", help="Where run folders go.")
]
ReportsFolder = Annotated[
    Path, typer.Option("--reports", metavar="FOLDER", help="Where reports go.")
]
CacheFolder = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="FOLDER",
        help="Where known losses are kept.",
        show_default="your cache folder",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


CacheLimit = Annotated[
    str,
    typer.Option(
        "--cache-limit",
        metavar="SIZE",
        envvar="SIMBENCH_CACHE_LIMIT",
        help="What moments to go on from may take; the least recently used go first.",
    ),
]


class RequestError(Exception):
    """The request was wrong: one message, exit code 2, no traceback."""


def say(message: str) -> None:
    """Print a line for people beside the results; terminals break it, files keep it whole."""
    err.print(message, soft_wrap=True)


def complain(message: str) -> None:
    """Print an error for people."""
    err.print(Text.assemble(("simbench:", "bold red"), " ", message), soft_wrap=True)


def print_json(content: Any) -> None:
    """Print JSON for programs; a number that JSON doesn't have (a loss gone to NaN) is null."""
    out.print_json(json.dumps(_without_nonfinite(content), allow_nan=False))


def _without_nonfinite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_nonfinite(each) for key, each in content.items()}
    if isinstance(content, list):
        return [_without_nonfinite(each) for each in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


@contextmanager
def wrong_requests() -> Iterator[None]:
    """Turn what a user can get wrong into a ``RequestError``."""
    from simbench.scenario_file import ScenarioError
    from simbench.simulation import NoNumbersError

    try:
        yield
    except (ScenarioError, NoNumbersError, ConnectionError) as error:
        raise RequestError(str(error)) from None


def read_scenario(file: Path, sets: list[str] | None, seeds: list[int] | None) -> "Scenario":
    """Return the scenario in ``file`` with what the command line sets.

    Raises:
        RequestError: there is something wrong with it.
    """
    from simbench.scenario_file import load

    chosen = [f"seeds={list(seeds)}"] if seeds else []
    with wrong_requests():
        return load(file, [*(sets or []), *chosen])


def check_writable(*folders: Path) -> None:
    """Find out before hours of training that their results can't be written.

    Raises:
        RequestError: one of ``folders`` can't be made or written to.
    """
    for folder in folders:
        there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            raise RequestError(f"{folder}: can't be written: {there} is no folder to write to")


def quantity(option: str, text: str, units: Mapping[str, int]) -> int:
    """Return what was said to ``option``, such as "2 GB", in the smallest of ``units``.

    Raises:
        RequestError: it isn't a number and a unit.
    """
    try:
        return parse(text, units)
    except ValueError as error:
        raise RequestError(f"{option}: {error}") from None


def megabytes(num_bytes: int) -> str:
    """Return a size for people."""
    return f"{num_bytes / 1e6:,.1f} MB"


@contextmanager
def opened_memo(folder: Path | None, **options: Any) -> Iterator["Memo"]:
    """Open the memo in ``folder``, by default the user's; ``options`` are those of ``Memo``.

    Raises:
        RequestError: it can't be read or written.
    """
    from simbench.execution.memo import Memo, default_folder

    folder = folder or default_folder()
    check_writable(folder)
    try:
        memo = Memo(folder, **options)
    except sqlite3.Error as error:
        raise RequestError(f"{folder}: known losses can't be read: {error}; delete it") from None
    try:
        yield memo
    finally:
        memo.close()


@contextmanager
def opened_cache(folder: Path | None) -> Iterator[tuple[Path, "Memo", "Moments"]]:
    """Open what is known, to be looked at: where it lies, losses and moments.

    Raises:
        RequestError: there is none in ``folder``, or it can't be read or written.
    """
    from simbench.execution.memo import DATABASE, default_folder

    if folder is not None and not (folder / DATABASE).exists():
        raise RequestError(f"{folder}: there is no cache here: one holds a {DATABASE}")
    with opened_memo(folder) as memo:
        assert memo.moments is not None, "a memo in a folder keeps moments"
        yield folder or default_folder(), memo, memo.moments
