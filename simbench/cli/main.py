"""The ``simbench`` command: finds the commands of this folder and speaks for their errors.

Exit codes: 0 done, 1 the run failed, 2 the request was wrong, 130 interrupted.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import typer

import simbench.cli
from simbench.cli._terminal import RequestError, complain


def build() -> typer.Typer:
    """Return the application with one command for each file of this folder."""
    app = typer.Typer(
        help="Which way of synchronising workers reaches my target loss first?",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for module in pkgutil.iter_modules(simbench.cli.__path__):
        if not module.name.startswith("_") and module.name != "main":
            found = importlib.import_module(f"simbench.cli.{module.name}")
            app.command(module.name)(_with_exit_codes(found.command))
    return app


def _with_exit_codes(command: Callable[..., None]) -> Callable[..., None]:
    """Return ``command`` so that it tells wrong requests and interruptions in one line."""

    @functools.wraps(command)
    def speaking(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except RequestError as error:
            complain(str(error))
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            complain(
                "interrupted; nothing was written. To go on, run the same command again: "
                "strategies and seeds that had ended are known"
            )
            raise typer.Exit(130) from None

    return speaking


def main() -> None:
    """Run the command line and exit with its code."""
    # What Typer itself can't read (an unknown option, say) it tells in one message, with code 2.
    build()(prog_name="simbench")
