"""Averaging among the workers, without a server: all-reduce SGD and local SGD."""

import itertools
import sys
from typing import ClassVar, Literal

from pydantic import PositiveInt, model_validator

from simbench.learning.aggregators.mean import Mean
from simbench.node import Node, Steps
from simbench.spec import misfit
from simbench.strategy import AggregatorChoice, CompressingStrategy
from simbench.units import Bytes


class Averaging(CompressingStrategy):
    """All-reduce every ``period`` steps; nothing is sent in between.

    With ``combine: parameters``, workers train alone and then set theta_i <- 1/N sum_j theta_j
    (local SGD; period 1 is synchronous SGD). With ``combine: gradients``, they gather the gradients
    of ``period`` batches at the same parameters and take one step on the mean of all of them.

    With a ``bucket``, communication overlaps with the last backward pass of a period: what is
    averaged goes out in buckets, one all-reduce after the other, as soon as each has come out.

    With another ``aggregator`` than the mean, that is made of what all have: everybody sends its
    vector to everybody (an all-gather), unless it is a sum, and each makes the same of them.

    Source:
        Stich, "Local SGD Converges Fast and Communicates Little", ICLR 2019, arXiv:1805.09767,
        algorithm 1; Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour",
        2017, arXiv:1706.02677, section 2; Li et al., "PyTorch Distributed: Experiences on
        Accelerating Data Parallel Training", VLDB 2020, arXiv:2006.15704, section 3.2 (buckets).
    """

    kind: Literal["averaging"] = "averaging"
    period: PositiveInt = 1
    """Local steps from one all-reduce to the next."""
    combine: Literal["parameters", "gradients"] = "parameters"
    """What is averaged."""
    bucket: Bytes | None = None
    """Size of a bucket, such as 25 MiB; by default all is averaged at once, after the step."""

    aggregator: AggregatorChoice = Mean()
    """What is made of what all have."""

    counts: ClassVar[Literal["steps", "updates"]] = "steps"
    resumes: ClassVar[bool] = True
    also_called: ClassVar[tuple[str, ...]] = (
        "all_reduce", "allreduce", "ddp", "data_parallel", "synchronous",
        "fedavg", "local_sgd",  # with a period
    )  # fmt: skip

    @model_validator(mode="after")
    def _compresses_all_at_once(self) -> "Averaging":
        if self.bucket and self.compression:
            raise misfit(("bucket",), "can't be combined with compression, which takes all at once")
        if self.bucket and self.aggregator != Mean():
            raise misfit(
                ("bucket",),
                f"needs aggregator: mean; {self.aggregator.kind} is made of all at once",
            )
        return self

    @model_validator(mode="after")
    def _weights_add_up(self) -> "Averaging":
        if self.aggregator.reads_samples and self.on_failure.goes_on:
            raise misfit(
                ("on_failure",),
                f"with {self.aggregator.kind}, one can only wait: who leaves takes a weight along",
            )
        return self

    @property
    def server_place(self) -> None:
        """There is no server."""
        return None

    @property
    def exchanges_gradients(self) -> bool:
        """If they are averaged."""
        return self.combine == "gradients"

    def check(self, num_workers: int) -> None:
        """Refuse an aggregator that can't do with so few."""
        self.aggregator.check("aggregator", num_workers)
        if self.on_failure.goes_on:
            # So few may be left.
            self.aggregator.check("aggregator", 1)

    def work(self, node: Node) -> Steps:
        """Train alone, meet the others every ``period`` steps."""
        state = node.initial_state()
        # What all have had last, which what is sent is compared with where it is compressed.
        since = state.parameters if self.compression else None
        done, state, gathered, since, sent = node.resume(0, state, None, since, ())
        exchange = self.exchange(node, sent)
        at_once = self.compression or self.aggregator != Mean()
        for step in itertools.count(done + 1):
            meeting = step % self.period == 0
            if self.combine == "gradients":
                # Without a size, all is one bucket, which is out at the end.
                bucket = (self.bucket or sys.maxsize) if meeting else None
                computing = node.compute_gradient(
                    state.parameters, bucket_bytes=bucket, add_to=gathered
                )
                if meeting:
                    if at_once:
                        mean = yield from exchange.aggregate(self.aggregator, (yield computing))
                    else:
                        mean = yield from node.all_reduce_buckets(computing)
                    state = node.step(state, node.mix(mean, weights=(1 / self.period,)))
                    gathered = None
                else:
                    gathered = yield computing
            elif meeting and self.bucket:
                stepping = node.compute_step(state, bucket_bytes=self.bucket)
                mean = yield from node.all_reduce_buckets(stepping)
                state = (yield stepping).with_parameters(mean)
            else:
                gradient = yield node.compute_gradient(state.parameters)
                state = node.step(state, gradient)
                if meeting:
                    mean = yield from exchange.aggregate(self.aggregator, state.parameters, since)
                    since = mean if self.compression else None
                    state = state.with_parameters(mean)
            node.publish(state.parameters, progress=step)
            yield from node.keep(step, state, gathered, since, exchange.memory)
