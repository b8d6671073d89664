"""A run that is killed or interrupted goes on with the same command, to the same bits."""

import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from simbench.cli._terminal import read_scenario
from simbench.execution.memo import DATABASE, Memo
from simbench.execution.threads import ThreadExecutor
from simbench.records import RunFolder
from simbench.run import differing_tables, run

KILLS = 10 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 2
NODES, EVERY, STEPS, LOOKAHEAD = 4, 2, 100, 3
LONG = f"""\
name: long
task:
  model: {{kind: gpt, layers: 1, width: 16, heads: 2, context: 16}}
  data: {{kind: text, validation_samples: 16}}
  batch_size: 2
  optimizer: {{kind: adamw, learning_rate: 0.003}}
cluster:
  nodes: {NODES}
  machine: {{kind: fixed, step_time: 100 ms, jitter: {{kind: lognormal}}}}
network: {{kind: star, bandwidth: 10 Mbit/s, latency: 1 ms}}
strategies:
  averaging: {{kind: averaging, period: 3}}
  asynchronous: {{kind: asynchronous}}
evaluate_every: {EVERY}
stop: {{samples: {STEPS * NODES * 2}}}
seeds: [0]
"""
COMMAND = ("run", "long.yaml", "--executor", "local", "--cache", "cache", "--keep-every", "0 s")


@pytest.fixture
def start(tmp_path):
    """Start the command in a process group of its own, as a terminal does."""
    (tmp_path / "long.yaml").write_text(LONG)
    started = []

    def start_it():
        command = subprocess.Popen(
            [sys.executable, "-m", "simbench", *COMMAND],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(command)
        return command

    yield start_it
    for command in started:
        if command.poll() is None:
            os.killpg(command.pid, signal.SIGKILL)
        command.communicate()


def losses(folder):
    if not (folder / "cache" / DATABASE).exists():
        return 0
    memo = Memo(folder / "cache")
    try:
        return memo.num_results
    finally:
        memo.close()


def wait_for(condition, seconds=60):
    ends_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends_s
        time.sleep(0.005)


def is_gone(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.usefixtures("no_figures")
def test_after_any_kill_the_same_command_ends_with_the_same_bits(start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "long.yaml").write_text(LONG)
    scenario = read_scenario(tmp_path / "long.yaml", None, None)
    pool = ThreadExecutor(2)
    whole = run(scenario, pool, Memo(None), RunFolder(tmp_path / "whole"))
    pool.close()
    num_losses = len(whole.table("evaluations"))
    draw = random.Random(5)  # noqa: S311 - where it is killed
    known = 0
    for kill in range(KILLS):
        left = max(1, int(0.6 * num_losses) - known)
        # At first early, since what is asked to end may be done before it has heard.
        target = known + draw.randint(1, min(left, 1 + 2 * left // (KILLS - kill)) if kill else 6)
        command = start()
        wait_for(lambda: losses(tmp_path) >= target or command.poll() is not None)  # noqa: B023
        time.sleep(draw.random() / 50)
        assert command.poll() is None
        # The first time it is asked to end; afterwards it can't say a word.
        if kill == 0:
            os.killpg(command.pid, signal.SIGINT)
            said = command.communicate(timeout=30)[0]
            assert command.returncode == 130
            assert re.search(
                r"^simbench: interrupted; .* run the same command again: .* in the last 0 s is done"
                r" again$",
                said,
                re.MULTILINE,
            )
            assert "Traceback" not in said
        else:
            command.kill()
            command.wait()
        # Actors end with their driver.
        wait_for(lambda: is_gone(command.pid))  # noqa: B023
        known = losses(tmp_path)
    assert not (tmp_path / "results").exists()

    command = start()
    said, _ = command.communicate(timeout=120)

    assert command.returncode == 0, said
    (folder,) = (tmp_path / "results" / "long").iterdir()
    ended = RunFolder(folder)
    assert differing_tables(whole, ended) == []
    computed, all_gradients = (
        each.provenance["operations"]["run"]["gradient"] for each in (ended, whole)
    )
    # What was computed behind the last moment that was kept; the clock had run ahead of it.
    assert computed <= all_gradients - (known - 2 - 2 - LOOKAHEAD) * EVERY * NODES
    assert computed > 0
    # A kill may also leave a file that wasn't finished, which others leave alone for ten minutes.
    assert len(list((tmp_path / "cache" / "moments").glob("*.moment"))) == 2
