"""Writes the report: a page that needs nothing else, a Markdown twin, and the figures."""

import base64
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from simbench.records import RunFolder
from simbench.report.figure import pictures, report_figures
from simbench.report.nodes import strategies
from simbench.report.outcomes import outcomes
from simbench.report.quantities import join, show_loss, show_time
from simbench.report.table import rows
from simbench.report.troubles import troubles
from simbench.report.verdict import verdict
from simbench.report.words import meanings, reading


def write_report(run: RunFolder, out: Path) -> Path:
    """Write the report of one run into the folder ``out`` and return its ``index.html``.

    The same records give the same bytes. Figures of an earlier report there are replaced; other
    files are left alone.
    """
    figures = []
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    for old in itertools.chain(folder.glob("*.png"), folder.glob("*.svg")):
        old.unlink()
    for kind, figure in report_figures().items():
        files = pictures(figure, run)
        for suffix, content in files.items():
            (folder / f"{kind}.{suffix}").write_bytes(content)
        # As an image of its own, a figure's element ids can't clash with another figure's.
        inline = "data:image/svg+xml;base64," + base64.b64encode(files["svg"]).decode()
        figures.append(
            {"kind": kind, "title": figure.title, "caption": figure.caption, "inline": inline}
        )
    facts = {**_facts(run), "figures": figures}
    (out / "README.md").write_text(_render("page.md.j2", facts), encoding="utf-8")
    page = out / "index.html"
    page.write_text(_render("page.html.j2", facts), encoding="utf-8")
    return page


def _facts(run: RunFolder) -> dict[str, Any]:
    """Return everything that the templates say, ready to be read."""
    summary = run.summary
    target, budget = summary["target_loss"], summary["budget_ns"]
    seeds = list(dict.fromkeys(entry["seed"] for entry in summary["runs"]))
    setting = [
        f"{summary['workers']} workers",
        f"{len(strategies(run))} {'strategy' if len(strategies(run)) == 1 else 'strategies'}",
        f"seed{'s' if len(seeds) > 1 else ''} {join([str(seed) for seed in seeds])}",
        "no target loss" if target is None else f"target loss {show_loss(target)}",
        "no time budget" if budget is None else f"budget {show_time(budget)} of virtual time",
    ]
    return {
        "scenario": summary["scenario"],
        "setting": " · ".join(setting),
        "verdict": verdict(run),
        # A column per strategy: thirteen rows fit where thirteen columns would not.
        "table": rows(outcomes(run), target),
        "reading": reading(run),
        "troubles": troubles(run),
        "meanings": meanings(run),
        "scenario_yaml": run.scenario_yaml.rstrip("\n"),
        "provenance": list(_flat(run.provenance)),
    }


def _flat(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield every leaf of a nested mapping with its dotted path."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", "none" if value is None else str(value)


def _render(template: str, facts: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=PackageLoader("simbench.report"),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["plain"] = _plain
    return environment.get_template(template).render(facts)


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is, also in a table."""
    for special in "\\`*_[]<>|":
        text = text.replace(special, f"\\{special}")
    return " ".join(text.split())
