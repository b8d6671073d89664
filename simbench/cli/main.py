"""The ``simbench`` command: finds the commands of this folder and speaks for their errors.

Exit codes: 0 done, 1 the run failed, 2 the request was wrong, 130 interrupted.
"""

import importlib
import pkgutil
import sys

import click
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
            app.command(module.name)(found.command)
    return app


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        code = build()(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = 2
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.exceptions.Exit as error:
        code = error.exit_code
    except RequestError as error:
        complain(str(error))
        code = 2
    except (KeyboardInterrupt, click.Abort):
        complain("interrupted; run the same command again: losses that are known stay known")
        code = 130
    sys.exit(code or 0)
