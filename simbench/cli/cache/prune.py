"""``simbench cache prune``: delete moments that weren't used for longest."""

import time
from typing import Annotated

import typer

from simbench.cli import _terminal as terminal
from simbench.cli._terminal import out
from simbench.units import SIZE_BYTES, TIME_NS


def command(
    to: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Until no more than this is left: '2 GB'.", show_default=False
        ),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="What wasn't used for so long: '48 h'.", show_default=False
        ),
    ] = None,
    cache: terminal.CacheFolder = None,
    as_json: terminal.AsJson = False,
) -> None:
    """Delete moments, those first that weren't used for longest. Losses are tiny and stay.

    A run whose moment is gone trains again what it would have gone on from.
    """
    if to is None and older_than is None:
        raise terminal.RequestError(
            "say what may be left: --to SIZE, --older-than DURATION, or both"
        )
    limit_bytes = None if to is None else terminal.quantity("--to", to, SIZE_BYTES)
    since_s = None
    if older_than is not None:
        since_s = time.time() - terminal.quantity("--older-than", older_than, TIME_NS) / 1e9
    with terminal.opened_cache(cache) as (_, _, moments):
        before = moments.kept()
        moments.prune(limit_bytes, since_s)
        after = moments.kept()
    deleted = len(before) - len(after)
    left = sum(each.num_bytes for each in after)
    freed = sum(each.num_bytes for each in before) - left
    if as_json:
        terminal.print_json({"deleted": deleted, "freed_bytes": freed, "left_bytes": left})
        return
    out.print(
        f"{deleted:,} moments deleted, {terminal.megabytes(freed)}; "
        f"{len(after):,} left, {terminal.megabytes(left)}"
    )
