"""What commands share: results on standard output, everything else on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from simbench.scenario import Scenario

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False)

ScenarioFile = Annotated[Path, typer.Argument(help="A scenario file (YAML).", show_default=False)]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key, as network.latency='20 ms'."),
]
Seeds = Annotated[
    list[int] | None, typer.Option("--seed", help="Use this seed instead (may be repeated).")
]
ResultsFolder = Annotated[Path, typer.Option("--results", help="Where run folders go.")]
ReportsFolder = Annotated[Path, typer.Option("--reports", help="Where reports go.")]
CacheFolder = Annotated[
    Path | None,
    typer.Option("--cache", help="Where known losses are kept.", show_default="your cache folder"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


class RequestError(Exception):
    """The request was wrong: one message, exit code 2, no traceback."""


def complain(message: str) -> None:
    """Print an error for people."""
    err.print(f"[bold red]simbench:[/] {escape(message)}", soft_wrap=True)


def escape(text: str) -> str:
    """Return ``text`` so that Rich prints its square brackets."""
    from rich.markup import escape as rich_escape

    return rich_escape(text)


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
