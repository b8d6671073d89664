"""``simbench report``: make the report of a run again, from its records alone."""

from pathlib import Path
from typing import Annotated

import typer

from simbench.cli import _terminal as terminal
from simbench.cli._terminal import out


def command(
    run: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="A run folder, or a scenario's folder of results."),
    ],
    reports: terminal.ReportsFolder = Path("reports"),
) -> None:
    """Write the page, its Markdown twin and the figures of a run; print the verdict.

    Of a scenario's folder, the newest run is taken.
    """
    from simbench.records import RunFolder
    from simbench.report.page import write_report
    from simbench.report.verdict import verdict

    # A hidden folder is on its way to another place, or was left by a run that was killed.
    candidates = [run, *(each for each in run.glob("*/") if not each.name.startswith("."))]
    whole = [folder for folder in map(RunFolder, candidates) if folder.exists]
    if not whole:
        raise terminal.RequestError(f"{run}: no run here: a run folder holds a summary.json")
    newest = max(whole, key=lambda folder: (folder.path / "summary.json").stat().st_mtime)
    terminal.check_writable(reports)
    page = write_report(newest, reports / newest.summary["scenario"])
    out.print(f"results: {newest.path}\nreport:  {page}")
    for line in verdict(newest):
        out.print(line)
