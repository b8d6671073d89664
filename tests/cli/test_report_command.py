import re
import shutil

import pytest

from simbench.records import ONLY_WHEN_ANY, TABLES

LOCAL = ("--executor", "local")

REPORT_WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        # Not None in sys.modules, where libraries look whether torch was imported already.
        if name.partition(".")[0] in ("torch", "ray", "simpy"):
            raise ModuleNotFoundError(f"no module named {name}", name=name)

sys.meta_path.insert(0, Missing())
from simbench.cli.main import main
main()
"""


def test_run_writes_a_folder_and_a_report_and_keeps_results_apart_from_talk(
    simbench, tiny, tmp_path
):
    said = simbench("run", tiny, *LOCAL)

    (folder,) = (tmp_path / "results" / "tiny").iterdir()
    whole = {f"{name}.parquet" for name in TABLES if name not in ONLY_WHEN_ANY}
    whole |= {"scenario.yaml", "summary.json", "provenance.json"}
    assert {file.name for file in folder.iterdir()} == whole
    assert (tmp_path / "reports" / "tiny" / "index.html").is_file()
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[:2] == [f"results: results/tiny/{folder.name}", "report:  reports/tiny/index.html"]
    assert 3 <= len(lines) <= 5
    assert "first" in lines[2]
    # What it takes, before; where it is, meanwhile; what it took, after.
    before, meanwhile, after = (
        re.search(pattern, said.err, re.MULTILINE)
        for pattern in (
            r"^up to about \d+ gradients to compute until the budget ends, 0 known; .* of records$",
            r"^parameter server \(seed 0\): virtual 0.0 s, real \d+ s, loss [\d.]+; \d+ gradients",
            r"^(\d+) gradients computed, 0 known; (\d+) evaluations computed, \d+ known; \d+ s$",
        )
    )
    assert before.start() < meanwhile.start() < after.start()
    assert int(after[1]) > 0


def test_a_report_is_made_from_records_alone(simbench, python, tiny, tmp_path):
    ran = simbench("run", tiny, *LOCAL)
    page = (tmp_path / "reports/tiny/index.html").read_bytes()

    again = python("-c", REPORT_WITHOUT, "report", "results/tiny", "--reports", "again")

    assert again.code == 0
    assert again.out == ran.out.replace("reports/", "again/")
    assert again.err == ""
    assert (tmp_path / "again/tiny/index.html").read_bytes() == page


@pytest.mark.usefixtures("no_figures")
def test_of_several_runs_the_newest_is_reported(simbench, tiny, tmp_path):
    simbench("run", tiny, *LOCAL, "--seed", 0)
    newest = simbench("run", tiny, *LOCAL, "--seed", 1)

    assert simbench("report", "results/tiny").out == newest.out
    shutil.copytree(tmp_path / newest.out.split()[1], tmp_path / "results/tiny/.again-0123")
    assert simbench("report", "results/tiny").out == newest.out
    shutil.rmtree(tmp_path / "results/tiny/.again-0123")
    oldest = {*(tmp_path / "results/tiny").iterdir()} - {tmp_path / newest.out.split()[1]}
    assert simbench("report", *oldest).out != newest.out
