"""Writes the report: a page that needs nothing else, a Markdown twin, and the figures."""

import base64
import itertools
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from simbench.records import RunFolder
from simbench.report.figure import pictures, report_figures, sweep_figures
from simbench.report.nodes import strategies
from simbench.report.outcomes import outcomes
from simbench.report.points import name_of
from simbench.report.quantities import join, show_target, show_time
from simbench.report.sweep_table import sweep_facts
from simbench.report.table import rows
from simbench.report.troubles import troubles
from simbench.report.tuning import tuning_note, tuning_table
from simbench.report.verdict import verdict
from simbench.report.words import meanings, reading

_MOST_PAGES = 4
"""Points that have a page of their own: seven figures each take a while to draw."""


def write_report(run: RunFolder, out: Path) -> Path:
    """Write the report of one run into the folder ``out`` and return its ``index.html``.

    A sweep has a page of its own for its first points, and one of all of them together. The same
    records give the same bytes. Figures and points of an earlier report there are replaced; other
    files are left alone.
    """
    shutil.rmtree(out / "points", ignore_errors=True)
    is_sweep = bool(run.axes) and not run.point
    pages = []
    for place, point in enumerate(run.points[:_MOST_PAGES] if is_sweep else []):
        own = f"points/{place + 1:02}-{_slug(name_of(point.point))}"
        write_report(point, out / own)
        pages.append({"name": name_of(point.point), "folder": own})
    figures = []
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    for old in itertools.chain(folder.glob("*.png"), folder.glob("*.svg")):
        old.unlink()
    for kind, figure in (sweep_figures(run) if is_sweep else report_figures()).items():
        files = pictures(figure, run)
        for suffix, content in files.items():
            (folder / f"{kind}.{suffix}").write_bytes(content)
        # As an image of its own, a figure's element ids can't clash with another figure's.
        inline = "data:image/svg+xml;base64," + base64.b64encode(files["svg"]).decode()
        figures.append(
            {"kind": kind, "title": figure.title, "caption": figure.caption, "inline": inline}
        )
    facts = {**(sweep_facts(run) if is_sweep else _facts(run)), "figures": figures}
    facts |= {"pages": pages, "num_points": len(run.points) if is_sweep else 0}
    facts |= {"troubles": [] if is_sweep else troubles(run)}
    facts |= {"search": tuning_table(run), "search_note": tuning_note(run)}
    facts |= {"scenario_yaml": run.scenario_yaml.rstrip("\n")}
    facts |= {"provenance": list(_flat(run.provenance)), "verdict": verdict(run)}
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
        *([f"one point of a sweep: {name_of(run.point)}"] if run.point else []),
        f"{summary['workers']} workers",
        f"{len(strategies(run))} {'strategy' if len(strategies(run)) == 1 else 'strategies'}",
        f"seed{'s' if len(seeds) > 1 else ''} {join([str(seed) for seed in seeds])}",
        "no target loss" if target is None else f"target loss {show_target(target)}",
        "no time budget" if budget is None else f"budget {show_time(budget)} of virtual time",
    ]
    return {
        "scenario": summary["scenario"],
        "setting": " · ".join(setting),
        # A column per strategy: thirteen rows fit where thirteen columns would not.
        "table": rows(outcomes(run), target),
        "reading": reading(run),
        "meanings": meanings(run),
        "heading": "The time taken apart",
    }


def _slug(name: str) -> str:
    """Return a name as a part of a path."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "point"


def _flat(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield every leaf of a nested mapping with its dotted path."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            # Settings of libraries that nobody has changed are an empty text.
            yield f"{above}{key}", "none" if value is None else str(value) or "default"


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
