"""A diagram of many networks for the price of one training, as a ratio measured in one run.

    python benchmarks/phase_diagram.py                  # 20 bandwidths x 20 latencies
    python benchmarks/phase_diagram.py --layers 2 --width 64

Synchronous strategies compute the same whatever the network, so all points of a sweep share one
training, and each costs its clock alone. What that comes to depends on how dear a gradient is: the
clock takes as long for a small model. The order of an asynchronous strategy's updates depends on
the network; for those the share that was known is told, from a smaller diagram and a tiny model.

Both sides begin with an empty memo.
"""

import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from simbench.execution.memo import Memo
from simbench.execution.processes import ProcessExecutor
from simbench.records import RunFolder
from simbench.run import run
from simbench.scenario import Scenario
from simbench.scenario_file import load

SCENARIO = """
name: phase-diagram
task:
  model: {{kind: gpt, layers: {layers}, width: {width}, heads: 4, context: 128}}
  data: {{kind: text, validation_samples: 16}}
  batch_size: 8
  optimizer: {{kind: sgd, learning_rate: 0.1}}
cluster: {{nodes: 8, machine: {{kind: fixed, step_time: 100 ms}}}}
network: {{kind: star, bandwidth: 1 Gbit/s, latency: 1 ms}}
sweep:
  network.bandwidth: [{bandwidths}]
  network.latency: [{latencies}]
strategies: {{{strategy}}}
evaluate_every: {updates}
stop: {{updates: {updates}}}
seeds: [0]
"""

SYNCHRONOUS = "all-reduce: {kind: averaging, combine: gradients}"
ASYNCHRONOUS = "asynchronous: {kind: asynchronous, learning_rate: 0.01}"


def main(
    layers: Annotated[int, typer.Option()] = 8,
    width: Annotated[int, typer.Option()] = 320,
    updates: Annotated[int, typer.Option(help="Rounds of each training.")] = 20,
    side: Annotated[int, typer.Option(help="Bandwidths, and latencies.")] = 20,
) -> None:
    """Measure and print."""
    diagram = scenario(SYNCHRONOUS, layers, width, updates, side)
    one = scenario(SYNCHRONOUS, layers, width, updates, 1)
    alone_s, _ = timed(one)
    all_s, provenance = timed(diagram)
    ran, known = gradients(provenance)
    print(
        f"{diagram.task.num_parameters / 1e6:.1f} M parameters, {updates} rounds of 8 nodes: one "
        f"network {alone_s:.1f} s, {side * side} networks {all_s:.1f} s, of which the clock "
        f"{provenance['clock_s']:.1f} s; {ran:,} gradients run, {known:,} known"
    )
    print(f"{side * side} networks / one training: {all_s / alone_s:.2f}; claim: at most 1.3")
    side = min(side, 5)
    _, provenance = timed(scenario(ASYNCHRONOUS, 1, 32, 8 * updates, side))
    ran, known = gradients(provenance)
    print(
        f"asynchronous, {side * side} networks: {known / (known + ran):.1%} of "
        f"{known + ran:,} updates were known"
    )


def scenario(strategy: str, layers: int, width: int, updates: int, side: int) -> Scenario:
    """Return the scenario with ``side`` bandwidths and as many latencies, evenly in logarithm."""
    steps = [index / max(1, side - 1) for index in range(side)]
    text = SCENARIO.format(
        layers=layers,
        width=width,
        updates=updates,
        bandwidths=", ".join(f"{10 * 1000**step:.4g} Mbit/s" for step in steps),
        latencies=", ".join(f"{10 * 5000**step:.4g} us" for step in steps),
        strategy=strategy,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenario.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path)


def timed(described: Scenario) -> tuple[float, dict[str, Any]]:
    """Run ``described`` with an empty memo; return the seconds that it took, and its provenance."""
    with (
        closing(ProcessExecutor(described.cluster.nodes)) as executor,
        tempfile.TemporaryDirectory() as folder,
    ):
        begun_s = time.perf_counter()
        records = run(described, executor, Memo(None), RunFolder(Path(folder) / "run"))
        return time.perf_counter() - begun_s, records.provenance


def gradients(provenance: dict[str, Any]) -> tuple[int, int]:
    """Return how many gradients ran and how many were known."""
    operations = provenance["operations"]
    return operations["run"].get("gradient", 0), operations["known"].get("gradient", 0)


if __name__ == "__main__":
    typer.run(main)
