"""What only a process of its own can show: the default executor, and plug-ins by entry point."""

import json
import re

import pytest

PLUGIN = '''
from typing import ClassVar, Literal

from simbench.strategies.parameter_server import ParameterServer


class Deadlock(ParameterServer):
    """The server waits for a message that nobody sends."""

    kind: Literal["deadlock"] = "deadlock"
    counts: ClassVar[Literal["steps", "updates"]] = "steps"

    def serve(self, node):
        yield node.receive("an answer", sender=2)
'''


@pytest.fixture
def plugin(tmp_path):
    """Install a package with a strategy that gets stuck; return the folder for the path."""
    folder = tmp_path / "site"
    (folder / "stuck-1.0.dist-info").mkdir(parents=True)
    (folder / "stuck_plugin.py").write_text(PLUGIN)
    (folder / "stuck-1.0.dist-info" / "METADATA").write_text("Name: stuck\nVersion: 1.0\n")
    (folder / "stuck-1.0.dist-info" / "entry_points.txt").write_text(
        "[simbench.strategies]\ndeadlock = stuck_plugin:Deadlock\n"
    )
    return str(folder)


def test_a_stuck_strategy_from_another_package_ends_with_1_and_says_who_waits(python, plugin, tiny):
    said = python(
        "-m", "simbench", "run", tiny, "--executor", "local", "--seed", 0, "--json",
        "--set", "strategies={fine: {kind: averaging}, bad: {kind: deadlock}}",
        path=[plugin],
    )  # fmt: skip

    assert said.code == 1, said.err
    runs = {run["strategy"]: run for run in json.loads(said.out)["runs"]}
    waiting = runs["bad"]["stuck"]
    assert runs["bad"]["stopped_by"] == "stuck"
    assert runs["fine"]["stuck"] is None
    assert "node 4 for a message 'an answer' from node 2" in waiting
    assert "node 0 for a message 'model'" in waiting
    assert f"simbench: bad gets stuck: {waiting}" in said.err
    assert "Traceback" not in said.err


@pytest.mark.ray
@pytest.mark.usefixtures("no_figures")
def test_without_options_ray_actors_compute_the_same_bits(simbench, python, tiny):
    by_ray = python("-m", "simbench", "run", tiny, "--seed", 0)
    in_process = simbench("run", tiny, "--seed", 0, "--executor", "local", "--no-cache")

    assert by_ray.code == in_process.code == 0, by_ray.err
    assert re.search(r"on \d+ Ray actors? on c.*, \d nodes each \(started in", by_ray.err)
    assert by_ray.out == in_process.out
    assert "is the same, bit for bit" in in_process.err
