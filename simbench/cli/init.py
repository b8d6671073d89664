"""``simbench init``: a scenario to start from, every key explained."""

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from simbench.cli import _terminal as terminal
from simbench.cli._terminal import out


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")] = Path(
        "scenario.yaml"
    ),
) -> None:
    """Write a commented scenario to start from; a file that is there is never overwritten."""
    text = resources.files("simbench.cli").joinpath("starter.yaml").read_text(encoding="utf-8")
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise terminal.RequestError(f"{file} exists already; name another file") from None
    except OSError as error:
        raise terminal.RequestError(f"{file}: can't be written: {error.strerror}") from None
    out.print(f"wrote {file}; next: simbench plan {file}, then simbench run {file}")
