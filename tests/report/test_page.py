"""The page needs nothing but itself, and its Markdown twin nothing but its figures."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from simbench.report.figure import report_figures
from simbench.report.page import _flat, write_report
from simbench.report.words import meanings


@pytest.fixture(scope="module")
def report(tmp_path_factory, write):
    folder = tmp_path_factory.mktemp("report")
    return write_report(write(folder / "run"), folder / "reports" / "small")


def test_the_page_loads_nothing(report):
    page = report.read_text(encoding="utf-8")

    assert report.name == "index.html"
    assert page.count('src="data:image/svg+xml;base64,') == len(report_figures())
    assert "<script" not in page
    assert "<link" not in page
    assert not re.search(r"""(src|href|url|@import)\s*[=(]?\s*["']?\s*(https?:)?//""", page)


def test_the_page_holds_verdict_scenario_and_provenance(report):
    page = report.read_text(encoding="utf-8")

    assert "averaging reaches loss 2.5 first" in page
    assert "not reached within 12.0 s" in page
    assert "&lt;script&gt;alert" in page  # the scenario is shown, not run
    assert "operations.run.gradient" in page
    assert "one machine more than the 4 workers" in page
    assert "computed by PyTorch" in page


def test_the_twin_says_the_same_and_its_links_resolve(report):
    twin = (report.parent / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", twin)

    assert len(links) == 2 * len(report_figures())
    assert all((report.parent / link).is_file() for link in links)
    assert "averaging reaches loss 2.5 first" in twin
    assert r"one \| two" in twin
    # A heading that is indented or glued to a paragraph would be no heading.
    assert all(before == "" for before in re.findall(r"(.*)\n## ", twin))


def test_every_figure_is_there_twice(report):
    folder = report.parent / "figures"

    for kind in report_figures():
        assert (folder / f"{kind}.svg").read_text(encoding="utf-8").startswith("<?xml")
        assert (folder / f"{kind}.png").read_bytes().startswith(b"\x89PNG")


def test_same_records_same_bytes(report, write, tmp_path):
    again = write_report(write(tmp_path / "run"), tmp_path / "other")

    for path in report.parent.rglob("*.*"):
        assert path.read_bytes() == (again.parent / path.relative_to(report.parent)).read_bytes()


def test_figures_of_an_earlier_report_do_not_stay(make_run, tmp_path):
    stale = tmp_path / "out" / "figures" / "gone.svg"
    stale.parent.mkdir(parents=True)
    stale.touch()
    notes = tmp_path / "out" / "notes.txt"
    notes.touch()

    write_report(make_run(most_steps=1), tmp_path / "out")

    assert not stale.exists()
    assert notes.exists()


def test_a_report_imports_no_simulation():
    code = (
        "import sys, simbench.report.page as page;"
        "from simbench.report.figure import report_figures; report_figures();"
        "print(*sorted(sys.modules))"
    )
    root = Path(__file__).parents[2]
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root
    ).stdout.split()

    assert not {"torch", "simpy", "ray"} & {name.split(".")[0] for name in loaded}
    ours = {name for name in loaded if name.startswith("simbench.") and ".report" not in name}
    assert ours <= {"simbench.nearest", "simbench.records", "simbench.spec", "simbench.units"}


def test_provenance_says_that_settings_are_as_they_come():
    assert list(_flat({"fingerprint": {"settings": "", "device": "cpu"}, "data": None})) == [
        ("fingerprint.settings", "default"),
        ("fingerprint.device", "cpu"),
        ("data", "none"),
    ]


@pytest.mark.parametrize("down", [0.0, 0.2])
def test_being_down_is_explained_where_something_went_wrong(make_run, alone, down):
    assert ("Down" in meanings(make_run([replace(alone, down=down)]))) == bool(down)
