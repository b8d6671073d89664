"""Many nodes in little memory: peaks of whole processes, measured side by side in one run.

    python benchmarks/many_nodes.py

A synchronous step of 1,024 nodes against one of a single node: gradients are added up where they
are, so few are alive at a time. And local SGD with 256 nodes, whose replicas are all alive. Each
case is a process of its own, with as many actors as there are cores.
"""

import json
import subprocess
import sys
from contextlib import closing
from typing import Annotated

import typer

from simbench.cluster.cluster import Cluster
from simbench.cluster.machines.fixed import Fixed
from simbench.execution.memo import Memo
from simbench.execution.memory import peak_resident_bytes
from simbench.execution.processes import ProcessExecutor
from simbench.learning.datasets.text import Text
from simbench.learning.models.gpt import GPT
from simbench.learning.task import Task
from simbench.network.topologies.star import Star
from simbench.scenario import Scenario, Stop
from simbench.simulation import simulate
from simbench.strategies.averaging import Averaging

TASK = Task(model=GPT(layers=3, width=72, heads=4, context=64), data=Text(), batch_size=4)

CASES = {
    "1 node": (1, Averaging(combine="gradients")),
    "1,024 nodes": (1024, Averaging(combine="gradients")),
    "256 nodes, local SGD": (256, Averaging(period=4)),
}
UPDATES = 4


def main(
    case: Annotated[str | None, typer.Option(help="Run this one alone, as JSON.")] = None,
) -> None:
    """Measure and print."""
    if case is not None:
        print(json.dumps(measured(*CASES[case])))
        return
    print(f"GPT of {TASK.num_parameters / 1e6:.2f} M parameters, {UPDATES} steps a node")
    peaks = {}
    for name in CASES:
        done = subprocess.run(  # noqa: S603 - this file itself
            [sys.executable, __file__, "--case", name], capture_output=True, text=True, check=True
        )
        found = json.loads(done.stdout)
        peaks[name] = found["driver"] + sum(found["actors"])
        print(
            f"{name}: {len(found['actors'])} actors, {found['gradients']:,} gradients run; peak of "
            f"driver {found['driver'] / 2**20:,.0f} MiB, of actors "
            f"{', '.join(f'{each / 2**20:,.0f}' for each in found['actors'])} MiB"
        )
    ratio = peaks["1,024 nodes"] / peaks["1 node"]
    print(f"1,024 nodes / 1 node, of all processes: {ratio:.2f}; claim: at most 2")


def measured(nodes: int, strategy: Averaging) -> dict[str, object]:
    """Train; return the peaks in bytes, and the gradients that ran."""
    described = Scenario(
        name="many-nodes",
        task=TASK,
        cluster=Cluster(nodes=nodes, machine=Fixed()),
        network=Star(),
        strategies={"only": strategy},
        evaluate_every=UPDATES,
        stop=Stop(updates=UPDATES),
        seeds=(0,),
    )
    with closing(ProcessExecutor(nodes)) as executor:
        simulate(described, "only", 0, executor, Memo(None))
        return {
            "driver": peak_resident_bytes(),
            "actors": executor.peak_memory_bytes,
            "gradients": executor.operations_run["gradient"],
        }


if __name__ == "__main__":
    typer.run(main)
