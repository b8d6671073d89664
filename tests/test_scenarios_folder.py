"""Every file in scenarios/ loads and runs, shortened."""

from pathlib import Path

import pytest

from simbench.execution.memo import Memo
from simbench.execution.threads import ThreadExecutor
from simbench.records import RunFolder
from simbench.run import run
from simbench.scenario_file import load

SCENARIOS = sorted((Path(__file__).parents[1] / "scenarios").glob("*.yaml"))


def test_there_are_scenarios():
    assert "quickstart" in {file.stem for file in SCENARIOS}


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_the_scenario_runs(file, tmp_path):
    scenario = load(file)
    shortened = load(file, ["stop={updates: 2}", "seeds=[0]", "evaluate_every=1"])
    executor = ThreadExecutor(2)

    try:
        folder = run(shortened, executor, Memo(None), RunFolder(tmp_path / "run"))
    finally:
        executor.close()

    runs = folder.summary["runs"]
    assert [each["strategy"] for each in runs] == [*scenario.strategies] * len(scenario.points)
    assert {each["stopped_by"] for each in runs} == {"updates"}
    assert scenario.stop.loss is not None
    losses = folder.table("evaluations")["loss"]
    assert losses.gt(scenario.stop.loss).all(), "a target that is met at once shows nothing"
