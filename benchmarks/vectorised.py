"""Steps of many nodes as one call against a loop over them, side by side, with the roofline.

    python benchmarks/vectorised.py                       # on the GPU if there is one
    python benchmarks/vectorised.py --bfloat16
    python benchmarks/vectorised.py --peak "67 TFLOP/s"   # instead of measuring one

All sides compute the same gradients and optimiser steps of the same nodes, each from parameters of
its own. The loop has each operation on its own; on a GPU, an actor's threads do the same, each with
a stream of its own; and the executor that ``vectorise: true`` starts has many in one call. What is
counted is node-steps per second: one gradient and one step of one node. The roofline is what the
device could do if it did nothing but this work's multiplications, at the given peak or at the rate
of one large matrix product that is measured here, in the type that the model is computed in.
"""

import functools
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from typing import Annotated

import torch
import typer

from simbench.execution.device import prepare
from simbench.execution.executor import Executor
from simbench.execution.threads import ThreadExecutor
from simbench.execution.values import Graph, Recipe
from simbench.execution.vectorised import WIDEST, VectorisedExecutor
from simbench.learning.models.gpt import GPT
from simbench.learning.operations import Bench
from simbench.learning.task import Task
from simbench.learning.training import Training
from simbench.units import COMPUTE_RATE_FLOPS, parse

_STREAMS = (1, 2, 4)

# 10 million parameters where there is a GPU, and what a processor can bear where there is none.
_MODELS = {
    "cuda": GPT(layers=8, width=320, heads=5, context=128),
    "cpu": GPT(layers=2, width=64, heads=4, context=32),
}


def main(
    device: Annotated[str, typer.Option()] = "cuda" if torch.cuda.is_available() else "cpu",
    nodes: Annotated[int, typer.Option()] = 64,
    steps: Annotated[int, typer.Option(help="Of each node in a round.")] = 2,
    rounds: Annotated[int, typer.Option(help="Pairs of both sides, in turn.")] = 3,
    batch_size: Annotated[int, typer.Option(help="Samples per node and step.")] = 4,
    bfloat16: Annotated[bool, typer.Option(help="Compute products in bfloat16.")] = False,
    peak: Annotated[
        str | None, typer.Option(metavar="RATE", help="Peak of the device, such as 67 TFLOP/s.")
    ] = None,
) -> None:
    """Measure and print."""
    task = Task(
        model=_MODELS[device],
        batch_size=batch_size,
        mixed_precision="bfloat16" if bfloat16 else None,
    )
    name = torch.cuda.get_device_name() if device == "cuda" else "one core of this processor"
    print(
        f"{name}: {nodes} nodes, {task.model.kind} of {task.num_parameters / 1e6:.2f} M parameters "
        f"in {task.mixed_precision or task.dtype}, {batch_size} samples of {task.model.length} "
        f"tokens a step, at most {WIDEST} operations a call"
    )
    prepare(device)
    sides: dict[str, Callable[[], Executor]] = {
        "one by one": lambda: VectorisedExecutor(device),
        **{
            f"{number} streams": functools.partial(ThreadExecutor, number, device)
            for number in (_STREAMS if device == "cuda" else ())
        },
        "vectorised": lambda: VectorisedExecutor(device),
    }
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(rounds + 1):
        for side, start in sides.items():
            with closing(start()) as executor:
                rate = node_steps_per_s(
                    task, executor, nodes, steps, one_by_one=side == "one by one"
                )
            if number:  # the first warms up
                rates[side].append(rate)
    flops = task.step_flops
    limit = parse(peak, COMPUTE_RATE_FLOPS) if peak else matrix_rate(device, bfloat16=bfloat16)
    for side, found in rates.items():
        rate = statistics.median(found)
        print(
            f"{side}: {rate:,.1f} node-steps/s ({min(found):,.1f} to {max(found):,.1f}), "
            f"{rate * flops / 1e12:.3f} TFLOP/s, {rate * flops / limit:.1%} of the roofline"
        )
    for side in list(rates)[1:]:
        ratios = [b / a for a, b in zip(rates["one by one"], rates[side], strict=True)]
        print(
            f"{side} / one by one: {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )
    print(
        f"roofline: {limit / flops:,.1f} node-steps/s at {limit / 1e12:.3f} TFLOP/s "
        f"({'as given' if peak else 'a measured matrix product'}), {flops / 1e9:.2f} GFLOP a step"
    )


def node_steps_per_s(
    task: Task, executor: Executor, nodes: int, steps: int, *, one_by_one: bool
) -> float:
    """Return how many gradients and steps a second are computed; asked for singly or together."""
    graph = Graph()
    training = Training(graph, Bench(task, 0, nodes, executor.device, ""), task.optimizer)
    parameters, state = training.initial(0)
    replicas: list[tuple[Recipe, Recipe]] = [(parameters, state)] * nodes
    begun_s = 0.0
    for step in range(steps + 1):
        for rank, (x, kept) in enumerate(replicas):
            gradient = training.gradient(x, rank, step)
            replicas[rank] = training.step(x, kept, gradient, rank)
            if one_by_one:
                executor.start(replicas[rank][0]).result()
        # The argument makes it another recipe each time.
        last = graph.recipe(All(), [x for x, _ in replicas], (step,))
        executor.start(last).result()
        if executor.device == "cuda":
            torch.cuda.synchronize()
        if not step:  # from here on, each node has parameters of its own
            begun_s = time.perf_counter()
    return nodes * steps / (time.perf_counter() - begun_s)


class All:
    """Waits for all its inputs; counts them and its argument."""

    name = identity = "all"
    effort = "light"

    def __call__(self, *inputs: object) -> int:
        """Return how many there are."""
        return len(inputs)


def matrix_rate(device: str, *, bfloat16: bool) -> float:
    """Return the FLOP/s of one large product of matrices in float32 or bfloat16."""
    size = 8192 if device == "cuda" else 1024
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a = torch.randn(size, size, device=device).to(torch.bfloat16 if bfloat16 else torch.float32)
    taken = []
    for _ in range(5):
        if device == "cuda":
            torch.cuda.synchronize()
        begun_s = time.perf_counter()
        a @ a
        if device == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - begun_s)
    torch.set_num_threads(threads)
    return 2 * size**3 / min(taken)


if __name__ == "__main__":
    typer.run(main)
