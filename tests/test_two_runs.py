"""Two runs at once on one cache: both end right."""

import subprocess
import sys

from simbench.execution.memo import Memo
from simbench.execution.threads import ThreadExecutor
from simbench.records import RunFolder
from simbench.run import differing_tables, run
from simbench.scenario_file import load

SCENARIO = """\
name: shared
task:
  model: {kind: gpt, layers: 1, width: 16, heads: 2, context: 16}
  data: {kind: text, validation_samples: 16}
  batch_size: 2
  optimizer: {kind: adamw, learning_rate: 0.003}
cluster:
  nodes: 3
  machine: {kind: fixed, step_time: 100 ms, jitter: {kind: lognormal}}
network: {kind: star, bandwidth: 10 Mbit/s, latency: 1 ms}
strategies:
  averaging: {kind: averaging, period: 3}
  asynchronous: {kind: asynchronous}
evaluate_every: 2
stop: {updates: 30}
seeds: [0]
"""

RUNNER = """
import sys
from pathlib import Path
from simbench.execution.memo import Memo
from simbench.execution.threads import ThreadExecutor
from simbench.records import RunFolder
from simbench.run import run
from simbench.scenario_file import load

executor = ThreadExecutor(1)
memo = Memo(Path("cache"), keep_every_s=0)
scenario = load(Path("shared.yaml"), sys.argv[2:])
print("ready", flush=True)
sys.stdin.readline()
run(scenario, executor, memo, RunFolder(Path(sys.argv[1])))
memo.close()
executor.close()
"""

SETS = {
    "short": ["stop={updates: 30}"],
    "long": ["stop={updates: 44}", "network.bandwidth=20 Mbit/s"],
}


def test_overlapping_runs_on_one_cache_both_end_right(tmp_path):
    (tmp_path / "shared.yaml").write_text(SCENARIO)
    runners = [
        subprocess.Popen(
            [sys.executable, "-c", RUNNER, name, *sets],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name, sets in SETS.items()
    ]
    for runner in runners:
        assert runner.stdout.readline() == b"ready\n"
    for runner in runners:
        runner.stdin.write(b"go\n")
        runner.stdin.flush()
    for runner in runners:
        runner.communicate(timeout=120)

    assert [runner.returncode for runner in runners] == [0, 0]
    executor = ThreadExecutor(1)
    for name, sets in SETS.items():
        scenario = load(tmp_path / "shared.yaml", sets)
        alone = run(scenario, executor, Memo(None), RunFolder(tmp_path / f"{name} alone"))
        assert differing_tables(alone, RunFolder(tmp_path / name)) == []
    executor.close()
    memo = Memo(tmp_path / "cache")
    kept = memo.moments.kept()
    # Both runs' moments of a strategy have one owner, and neither left anything over.
    assert len(list((tmp_path / "cache" / "moments").iterdir())) == len(kept) == 2
    memo.close()
