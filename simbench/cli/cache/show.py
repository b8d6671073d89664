"""``simbench cache show``: where the cache lies and what it holds."""

import time
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from simbench.cli import _terminal as terminal
from simbench.cli._terminal import out

if TYPE_CHECKING:
    from simbench.execution.moments import KeptMoment


def command(cache: terminal.CacheFolder = None, as_json: terminal.AsJson = False) -> None:
    """Show where the cache lies, how many losses it knows, and the moments that it keeps."""
    with terminal.opened_cache(cache) as (folder, memo, moments):
        kept, losses = moments.kept(), memo.num_results
    total = sum(each.num_bytes for each in kept)
    if as_json:
        facts = {"folder": str(folder), "losses": losses, "moments_bytes": total}
        terminal.print_json({**facts, "moments": [each._asdict() for each in kept]})
        return
    out.print(
        f"{folder}\n{losses:,} losses and numbers that a strategy looked at\n"
        f"{len(kept):,} moments to go on from, {terminal.megabytes(total)}"
    )
    if kept:
        out.print(_table(kept), soft_wrap=False)


def _table(kept: "list[KeptMoment]") -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("moment of", overflow="fold")
    for heading in ("size", "kept", "used last"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in kept:
        table.add_row(
            each.label, terminal.megabytes(each.num_bytes), _date(each.kept_s), _date(each.used_s)
        )
    return table


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
