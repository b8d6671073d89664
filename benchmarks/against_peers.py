"""Synchronous training beside peers that train without a clock, as ratios measured in one run.

    python benchmarks/against_peers.py flower --python ~/flower/bin/python
    python benchmarks/against_peers.py exogym --python ~/exogym/bin/python

A peer lives in an environment of its own: ``pip install "flwr[simulation]<1.42" torch``; or the
repository of EXO Gym, in which, on Linux, ``lo0`` has become ``lo``. Both want pydantic and
ruamel.yaml as well, since they train simbench's own models. The clock of simbench runs along: its
times are those of simulating a network, too. Rounds alternate, memos are empty, and what is quoted
is the median.
"""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from simbench.cluster.cluster import Cluster
from simbench.cluster.machines.fixed import Fixed
from simbench.execution.executor import Executor
from simbench.execution.memo import Memo
from simbench.execution.processes import ProcessExecutor
from simbench.execution.threads import ThreadExecutor
from simbench.execution.vectorised import VectorisedExecutor
from simbench.learning.datasets.copy import Copy
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.datasets.text import Text
from simbench.learning.models.gpt import GPT
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.star import Star
from simbench.ray_cluster.executor import RayExecutor
from simbench.scenario import Scenario, Stop
from simbench.simulation import simulate
from simbench.strategies.averaging import Averaging
from simbench.strategies.diloco import DiLoCo
from simbench.strategy import Strategy

HERE = Path(__file__).parent

FLOATS = Task(model=Quadratic(dimension=1000), data=Gaussian(), batch_size=1)
MILLION = Task(
    model=GPT(layers=4, width=128, heads=4, context=128),
    data=Text(),
    batch_size=8,
    optimizer=SGD(learning_rate=0.1),
)
SMALL = Task(
    model=GPT(layers=2, width=64, heads=4, context=32, vocabulary=64),
    data=Copy(symbols=63, samples=20_000),
    batch_size=16,
    optimizer=AdamW(learning_rate=1e-3),
)

EXECUTORS: dict[str, Callable[[int], Executor]] = {
    "threads": lambda _: ThreadExecutor(),
    "processes": ProcessExecutor,
    "Ray": RayExecutor,
}
IN_ONE_CALL: dict[str, Callable[[int], Executor]] = {
    "vectorise": lambda _: VectorisedExecutor("cpu"),
}


class Peer(StrEnum):
    """Whom to measure."""

    flower = "flower"
    exogym = "exogym"


def main(
    peer: Annotated[Peer, typer.Argument()],
    python: Annotated[Path, typer.Option(help="A Python that has the peer.")],
    rounds: Annotated[int, typer.Option(help="Pairs of runs for each ratio.")] = 3,
) -> None:
    """Measure and print the ratios."""
    if peer is Peer.flower:
        script = HERE / "peers" / "flower_rounds.py"
        claims = {"vectorise": 50, "threads": 50, "processes": 50, "Ray": 10}
        compare(
            "1,000 floats", scenario(FLOATS, 8), 2000, claims, rounds, python, script, "floats", 20
        )
        claims = dict.fromkeys(EXECUTORS, 2.5)
        compare("GPT, 0.9 M", scenario(MILLION, 8), 40, claims, rounds, python, script, "gpt", 8)
    else:
        script = HERE / "peers" / "exogym_steps.py"
        claims = dict.fromkeys(EXECUTORS, 15.0)
        # As the peer does: the mean of the gradients, then a step.
        synchronous = scenario(SMALL, 4, Averaging(combine="gradients"))
        compare("all-reduce", synchronous, 300, claims, rounds, python, script, "all_reduce", 40)
        claims = dict.fromkeys(EXECUTORS, 4.0)
        diloco = scenario(SMALL, 4, DiLoCo(period=10))
        compare("DiLoCo, H=10", diloco, 300, claims, rounds, python, script, "diloco", 150)


def scenario(task: Task, nodes: int, strategy: Strategy | None = None) -> Scenario:
    """Return ``task`` on so many nodes with a network between them."""
    return Scenario(
        name="peers",
        task=task,
        cluster=Cluster(nodes=nodes, machine=Fixed()),
        network=Star(),
        strategies={"only": strategy or Averaging()},
        stop=Stop(updates=1),
        seeds=(0,),
    )


def compare(
    what: str,
    described: Scenario,
    steps: int,
    claims: dict[str, float],
    rounds: int,
    python: Path,
    script: Path,
    *arguments: Any,
) -> None:
    """Print how many times as fast as the peer each executor does a step of all nodes."""
    print(f"{what}, {described.cluster.nodes} nodes")
    ratios: dict[str, list[float]] = {name: [] for name in claims}
    for _ in range(rounds):
        theirs_s = peer_s(python, script, *arguments)
        line = f"  a step: peer {1000 * theirs_s:.1f} ms"
        for name in claims:
            asked = described.model_copy(update={"vectorise": name in IN_ONE_CALL})
            with closing((EXECUTORS | IN_ONE_CALL)[name](described.cluster.nodes)) as executor:
                step_s(asked, 5, executor)  # imports, modules, workers
                ours_s, gradients = step_s(asked, steps, executor)
            ratios[name].append(theirs_s / ours_s)
            line += f", {name} {1000 * ours_s:.2f} ms ({gradients:,} gradients run)"
        print(line)
    for name, claim in claims.items():
        low, high = min(ratios[name]), max(ratios[name])
        print(
            f"{what}, peer / simbench with {name}: {statistics.median(ratios[name]):.1f} "
            f"({low:.1f} to {high:.1f}); claim: at least {claim:g}"
        )


def step_s(described: Scenario, steps: int, executor: Executor) -> tuple[float, int]:
    """Return seconds for a step of all nodes, and the gradients that really ran."""
    stop = Stop(updates=steps)
    whole = described.model_copy(update={"stop": stop, "evaluate_every": steps})
    before = executor.operations_run["gradient"]
    begun_s = time.perf_counter()
    simulate(whole, "only", 0, executor, Memo(None))
    taken_s = time.perf_counter() - begun_s
    return taken_s / steps, executor.operations_run["gradient"] - before


def peer_s(python: Path, script: Path, *arguments: Any) -> float:
    """Return the peer's median seconds for a step, its operations on one thread each."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(  # noqa: S603 - the reader's own Python
        [str(python), str(script), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if '{"seconds"' in line]
    if not lines:
        raise SystemExit(f"{python} {script.name} failed:\n{done.stderr[-2000:]}")
    return statistics.median(json.loads(lines[-1][lines[-1].index("{") :])["seconds"])


if __name__ == "__main__":
    typer.run(main)
