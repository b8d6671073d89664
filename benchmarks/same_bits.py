"""How many different parameters come out of one scenario: the claim is one, whoever computes.

    python benchmarks/same_bits.py

Every way to run is gone five times: threads, processes, Ray with 1, 2 and 5 actors, and a run that
goes on from an earlier shorter one, with a cold and a warm memo.
"""

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from simbench.execution.executor import Executor
from simbench.execution.memo import Memo
from simbench.execution.processes import ProcessExecutor
from simbench.execution.threads import ThreadExecutor
from simbench.ray_cluster.executor import RayExecutor
from simbench.scenario import Scenario, Stop
from simbench.scenario_file import load
from simbench.simulation import simulate

QUICKSTART = Path(__file__).parent.parent / "scenarios" / "quickstart.yaml"
NODES = 10
UPDATES = 40


def main(runs: Annotated[int, typer.Option(help="Of each way.")] = 5) -> None:
    """Train and print."""
    scenario = load(QUICKSTART, ["seeds=[0]", f"cluster.nodes={NODES}"])
    whole, half = (
        scenario.model_copy(update={"stop": Stop(updates=updates)})
        for updates in (UPDATES, UPDATES // 2)
    )
    found: dict[str, set[str]] = defaultdict(set)
    gradients: dict[str, int] = defaultdict(int)
    for _ in range(runs):
        for way, executor in executors():
            with closing(executor):
                for strategy in whole.strategies:
                    found[strategy].add(final(whole, strategy, executor, Memo(None)))
                gradients[way] += executor.operations_run["gradient"]
        for strategy in whole.strategies:
            with tempfile.TemporaryDirectory() as folder:
                for way, wanted in (("shorter", half), ("resumed", whole), ("warm memo", whole)):
                    with closing(ThreadExecutor()) as executor, closing(Memo(Path(folder))) as memo:
                        digest = final(wanted, strategy, executor, memo)
                        gradients[way] += executor.operations_run["gradient"]
                        if wanted is whole:
                            found[strategy].add(digest)
    for way, count in gradients.items():
        print(f"{way}: {count:,} gradients run")
    for strategy, digests in found.items():
        print(f"{strategy}: {len(digests)} different final parameters; claim: 1")


def executors() -> Iterator[tuple[str, Executor]]:
    """Yield each way to compute, started, with its name."""
    yield "threads", ThreadExecutor()
    yield "processes", ProcessExecutor(NODES)
    for actors in (1, 2, 5):
        yield f"Ray, {actors} actors", RayExecutor(NODES, NODES // actors)


def final(scenario: Scenario, strategy: str, executor: Executor, memo: Memo) -> str:
    """Return the hash of the parameters at the end."""
    digest: str = simulate(scenario, strategy, 0, executor, memo).summary["parameters_sha256"]
    return digest


if __name__ == "__main__":
    typer.run(main)
