"""``simbench list``: the plug-ins that a scenario may choose from."""

from typing import Annotated

import typer
from rich import box
from rich.table import Table

from simbench.cli import _terminal as terminal
from simbench.cli._terminal import out
from simbench.nearest import hint, nearest


def command(
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY", help="Only what fits this key, such as strategies.", show_default=False
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND", help="The keys of this kind, such as d_psgd.", show_default=False
        ),
    ] = None,
    as_json: terminal.AsJson = False,
) -> None:
    """List every kind that a scenario may choose, by the key that it goes under; or a kind's keys.

    Of a KIND, what each of its keys takes, its default and what it is.
    """
    from simbench.cli._keys import first_line, keys_of
    from simbench.scenario import CHOICES
    from simbench.spec import discover, unknown_kind

    if key is not None and key not in CHOICES:
        raise terminal.RequestError(
            f"{key}: not a key with a choice; {_hint(key, list(CHOICES))}those are "
            f"{', '.join(CHOICES)}"
        )
    if key is not None and kind is not None:
        kinds = discover(*CHOICES[key])
        if kind not in kinds:
            raise terminal.RequestError(f"{key}: {unknown_kind(kind, kinds).message()}")
        keys = keys_of(kinds[kind])
        if as_json:
            terminal.print_json([each._asdict() for each in keys])
            return
        out.print(f"{kind}: {first_line(kinds[kind])}\n", soft_wrap=False)
        _print("key", "takes", [(k.key, f"{k.takes}\ndefault {k.default}", k.about) for k in keys])
        return
    rows = [
        (where, name, first_line(found))
        for where, (package, base) in CHOICES.items()
        for name, found in discover(package, base).items()
        if key in (None, where)
    ]
    if as_json:
        terminal.print_json([dict(zip(("key", "kind", "about"), r, strict=True)) for r in rows])
    else:
        _print("key", "kind", rows)


def _print(first: str, second: str, rows: list[tuple[str, str, str]]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in (first, second, "what it is"):
        # A name is one word, to be copied.
        table.add_column(heading, no_wrap=heading in ("key", "kind"), overflow="fold")
    for row in rows:
        table.add_row(*row)
    out.print(table, soft_wrap=False)


def _hint(key: str, keys: list[str]) -> str:
    """Return which keys may be meant: those that end so (``compression``), or the nearest."""
    return hint([each for each in keys if each.endswith(f".{key}")] or nearest(key, keys))
