"""A cluster that runs already takes jobs and drivers, and gives the same bits as this process."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import simbench
from simbench.execution.memo import Memo
from simbench.execution.threads import ThreadExecutor
from simbench.records import RunFolder
from simbench.run import differing_tables, run, run_folder
from simbench.scenario_file import load

pytestmark = pytest.mark.ray

SCENARIO = """\
name: submitted
task:
  model: {{kind: gpt, layers: 1, width: 16, heads: 2, context: 16}}
  data: {{kind: text, path: {text}, validation_samples: 16}}
  batch_size: 2
  optimizer: {{kind: adamw, learning_rate: 0.003}}
cluster:
  nodes: 4
  machine: {{kind: fixed, step_time: 100 ms}}
network: {{kind: star, bandwidth: 10 Mbit/s, latency: 1 ms}}
strategies:
  parameter server: {{kind: parameter_server}}
  averaging: {{kind: averaging, period: 2}}
  asynchronous: {{kind: asynchronous}}
evaluate_every: 2
stop: {{updates: 4}}
seeds: [0]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A scenario with a text of the user's own, far from where any job runs."""
    folder = tmp_path_factory.mktemp("user")
    text = folder / "my own text.txt"
    text.write_text("\n".join(f"line {n} of a text that nobody else has" for n in range(3000)))
    (folder / "scenario.yaml").write_text(SCENARIO.format(text=text))
    return folder


@pytest.fixture(scope="module")
def in_process(place):
    executor = ThreadExecutor(2)
    try:
        return run(
            load(place / "scenario.yaml"), executor, Memo(None), RunFolder(place / "in-process")
        )
    finally:
        executor.close()


@pytest.fixture
def command(place):
    """Run the command in a process of its own, which begins with the cluster's token."""

    def call(*words):
        return subprocess.run(
            [sys.executable, "-m", "simbench", *map(str, words)],
            cwd=place,
            env=os.environ
            | {
                "PYTHONPATH": str(Path(simbench.__file__).parents[1]),
                "XDG_CACHE_HOME": str(place / "cache"),
                "NO_COLOR": "1",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )

    return call


def test_a_job_streams_its_progress_and_stores_the_same_bits(
    head, command, place, in_process, tmp_path
):
    said = command(
        "submit", "scenario.yaml", "--address", head.dashboard, "--storage", tmp_path / "stored",
        "--nodes-per-actor", 2,
    )  # fmt: skip

    assert said.returncode == 0, said.stderr
    stored = run_folder(load(place / "scenario.yaml"), tmp_path / "stored")
    assert differing_tables(stored, in_process) == []
    assert (stored.path / "provenance.json").is_file()
    assert stored.provenance["executor"] == "2 Ray actors on cpu, 2 nodes each"
    assert stored.provenance["operations"]["run"]["gradient"] >= 2 * 4 * 4 + 4
    # The folder can be run again where the user's file isn't.
    assert load(stored.path / "scenario.yaml").run_id == stored.path.name
    assert said.stdout == ""
    lines = said.stderr.splitlines()
    assert any(line.endswith(f" on {head.dashboard}") for line in lines)
    begun = re.compile(r"parameter server \(seed 0\): virtual 0.0 s, real \d+ s, loss")
    assert any(begun.match(line) for line in lines)
    assert any("gradients computed, 0 known" in line for line in lines)
    assert lines[-1].startswith(f"results are in {tmp_path / 'stored'}; simbench report ")


def test_a_job_that_fails_ends_with_its_exit_code(head, command, tmp_path):
    # A folder is where the job's results should go: the job finds out, and this side can't.
    blocked = tmp_path / "blocked"
    blocked.write_text("a file is no folder")

    said = command(
        "submit", "scenario.yaml", "--address", head.dashboard, "--storage", blocked,
        "--set", "strategies={one: {kind: averaging}}", "--set", "stop.updates=1",
    )  # fmt: skip

    assert said.returncode == 1
    assert "results are in" not in said.stderr


def test_a_driver_joins_the_cluster_itself(head, command, place, in_process):
    said = command("run", "scenario.yaml", "--address", head.address, "--results", "joined")

    assert said.returncode == 0, said.stderr
    assert f"joining {head.address} ..." in said.stderr
    joined = run_folder(load(place / "scenario.yaml"), place / "joined")
    assert differing_tables(joined, in_process) == []
