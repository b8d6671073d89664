"""``simbench cache clear``: forget everything."""

import sys
from typing import Annotated

import typer

from simbench.cli import _terminal as terminal
from simbench.cli._terminal import out


def command(
    cache: terminal.CacheFolder = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    as_json: terminal.AsJson = False,
) -> None:
    """Forget all losses and moments. Results and reports stay; what is asked anew trains anew."""
    with terminal.opened_cache(cache) as (folder, memo, moments):
        losses, kept = memo.num_results, moments.kept()
        freed = sum(each.num_bytes for each in kept)
        if not yes:
            if not sys.stdin.isatty():
                raise terminal.RequestError("nobody here can be asked: say --yes")
            question = f"Forget {losses:,} losses and {len(kept):,} moments in {folder}?"
            if not typer.confirm(question, err=True):
                terminal.say("nothing was forgotten")
                return
        memo.clear()
    if as_json:
        facts = {"folder": str(folder), "losses": losses, "moments": len(kept)}
        terminal.print_json({**facts, "freed_bytes": freed})
        return
    out.print(f"{losses:,} losses and {len(kept):,} moments forgotten, {terminal.megabytes(freed)}")
