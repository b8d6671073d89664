"""``simbench list``: the plug-ins that a scenario may choose from."""

import difflib
import inspect
from typing import Annotated

import typer
from rich.table import Table

from simbench.cli import _terminal as terminal
from simbench.cli._terminal import out


def command(
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY", help="Only what fits this key, such as strategies.", show_default=False
        ),
    ] = None,
    as_json: terminal.AsJson = False,
) -> None:
    """List every kind that a scenario may choose, by the key that it goes under."""
    from simbench.scenario import CHOICES
    from simbench.spec import discover

    if key is not None and key not in CHOICES:
        raise terminal.RequestError(
            f"{key}: not a key with a choice; {_hint(key, list(CHOICES))}those are "
            f"{', '.join(CHOICES)}"
        )
    rows = [
        (where, kind, _first_line(found))
        for where, (package, base) in CHOICES.items()
        for kind, found in discover(package, base).items()
        if key in (None, where)
    ]
    if as_json:
        terminal.print_json([dict(zip(("key", "kind", "about"), r, strict=True)) for r in rows])
        return
    table = Table("key", "kind", "what it is")
    for row in rows:
        table.add_row(*row)
    out.print(table, soft_wrap=False)


def _hint(key: str, keys: list[str]) -> str:
    """Return which keys may be meant: those that end so (``compression``), or the nearest."""
    near = [each for each in keys if each.endswith(f".{key}")]
    near = near or difflib.get_close_matches(key, keys, n=1)
    return f"did you mean {' or '.join(map(repr, near))}? " if near else ""


def _first_line(plugin: type) -> str:
    return inspect.cleandoc(plugin.__doc__ or "").partition("\n")[0].replace("``", "")
