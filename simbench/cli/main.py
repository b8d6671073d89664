"""The ``simbench`` command: finds the commands of this folder and speaks for their errors.

Exit codes: 0 done, 1 the run failed, 2 the request was wrong, 130 interrupted.
"""

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from types import ModuleType
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
    _add_commands(app, simbench.cli)
    return app


def _add_commands(app: typer.Typer, folder: ModuleType) -> None:
    """Add a command for each file of ``folder``, and a group of them for each folder in it."""
    for module in pkgutil.iter_modules(folder.__path__):
        if module.name.startswith("_") or module.name == "main":
            continue
        found = importlib.import_module(f"{folder.__name__}.{module.name}")
        if module.ispkg:
            about = inspect.cleandoc(found.__doc__ or "").partition(": ")[2]
            group = typer.Typer(help=about[:1].upper() + about[1:], no_args_is_help=True)
            _add_commands(group, found)
            app.add_typer(group, name=module.name)
        else:
            app.command(module.name)(_with_exit_codes(found.command))


def _with_exit_codes(command: Callable[..., None]) -> Callable[..., None]:
    """Return ``command`` so that it tells wrong requests and interruptions in one line."""

    @functools.wraps(command)
    def speaking(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except RequestError as error:
            complain(str(error))
            raise typer.Exit(2) from None
        except KeyboardInterrupt as interruption:
            # A command that can be gone on with says how.
            complain(f"interrupted; {str(interruption) or 'nothing was written'}")
            raise typer.Exit(130) from None

    return speaking


def main() -> None:
    """Run the command line and exit with its code."""
    # What Typer itself can't read (an unknown option, say) it tells in one message, with code 2.
    build()(prog_name="simbench")
