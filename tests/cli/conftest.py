"""Commands as users meet them: words in, an exit code and two streams out, in an empty folder."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import simbench as package
from simbench.cli.main import main

TINY = """\
name: tiny
task:
  model: {kind: quadratic, dimension: 10, noise: 0.3}
  data: {kind: gaussian}
  batch_size: 2
  optimizer: {kind: sgd, learning_rate: 0.1}
cluster:
  nodes: 4
  machine: {kind: fixed, step_time: 100 ms, jitter: {kind: constant}}
network: {kind: star, bandwidth: 1 kbit/s, latency: 1 ms}
strategies:
  parameter server: {kind: parameter_server}
  averaging [2]: {kind: averaging, period: 2}
  asynchronous: {kind: asynchronous}
evaluate_every: 2
stop: {loss: 0.5, updates: 12}
seeds: [0, 1]
"""


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def simbench(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder, with an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["simbench", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = Said(ended.value.code or 0, *capsys.readouterr())
        assert "Traceback" not in said.out + said.err
        return said

    return run


@pytest.fixture
def tiny(tmp_path):
    """Write the smallest scenario of all three families."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    return "tiny.yaml"


@pytest.fixture
def no_figures(monkeypatch):
    """Write reports without figures, which take seconds each."""

    def write_report(run, reports):
        reports.mkdir(parents=True, exist_ok=True)
        (reports / "index.html").write_text(f"report of {run.path}")
        return reports / "index.html"

    monkeypatch.setattr("simbench.report.page.write_report", write_report)


@pytest.fixture
def python(tmp_path):
    """Run a Python of its own in the same folder."""

    def run(*words, **variables):
        source = str(Path(package.__file__).parents[1])
        environment = {
            "PYTHONPATH": os.pathsep.join([source, *variables.pop("path", [])]),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "COLUMNS": "80",
        }
        ended = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=tmp_path,
            env=os.environ | environment | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        return Said(ended.returncode, ended.stdout, ended.stderr)

    return run
