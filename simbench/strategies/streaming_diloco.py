"""Streaming DiLoCo: outer steps on a fragment of the model at a time, while training goes on."""

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from simpy.events import Process

from simbench.exchange import Exchange
from simbench.execution.values import Value
from simbench.learning.optimizers.sgd import SGD
from simbench.node import Node, State, Steps, Work
from simbench.spec import misfit
from simbench.strategy import CompressingStrategy, OptimizerChoice


class StreamingDiLoCo(CompressingStrategy):
    """Each of P ``fragments`` is synchronised every H steps, in turn, and its mean may be late.

    After step t with t = (p+1) H / P modulo H, rounded down, worker i sends how far its fragment p
    has come from the shared one, and after step t + tau all take the outer step and go part of the
    way to it, with alpha the share that stays:

        Delta   <- 1/N sum_i (theta_p - theta_p,i(t))
        theta_p <- OuterOptimizer(theta_p, Delta)
        theta_p,i(t + tau) <- alpha theta_p,i(t + tau) + (1 - alpha) theta_p

    Training goes on meanwhile; a worker waits only for what hasn't arrived after step t + tau. With
    P = 1, tau = 0 and alpha = 0 it is DiLoCo.

    The flat vector is cut into P times ``slices`` equal slices, and slice k, counted from the end,
    is of fragment k modulo P: with one slice fragments are contiguous, and with more they are
    strided, as the paper's are by layers. Slices are sent one after the other, each as soon as the
    backward pass has brought it out. With a ``compression``, each slice is compressed by itself.

    Source:
        Douillard et al., "Streaming DiLoCo with overlapping communication: Towards a Distributed
        Free Lunch", 2025, arXiv:2501.18512, algorithm 2. There H is 30 or 100, a fragment has 3
        layers, tau is 1 and at most 5 is advised, alpha = 0 and 0.5 are compared; its exchange in 4
        bits is ``compression: {kind: fp4}``.
    """

    kind: Literal["streaming_diloco"] = "streaming_diloco"
    period: PositiveInt = 16
    """H, the inner steps from one exchange of a fragment to its next."""
    fragments: PositiveInt = 4
    """P, at most H."""
    slices: PositiveInt = 1
    """Equal parts of a fragment, strided over the model; each is one all-reduce."""
    overlap: NonNegativeInt = 1
    """tau, the steps that a fragment may be on its way without anybody waiting; less than H."""
    alpha: float = Field(default=0.5, ge=0, lt=1)
    """The share of a worker's own fragment that stays; 0 takes the shared one."""
    outer: OptimizerChoice = SGD(learning_rate=0.7, momentum=0.9, nesterov=True)
    """The outer optimiser, with a learning rate of its own."""

    counts: ClassVar[Literal["steps", "updates"]] = "steps"
    resumes: ClassVar[bool] = True

    @model_validator(mode="after")
    def _one_fragment_at_a_time(self) -> "StreamingDiLoCo":
        if self.fragments > self.period:
            raise misfit(("fragments",), f"at most one fragment a step: no more than {self.period}")
        if self.overlap >= self.period:
            raise misfit(
                ("overlap",), f"a fragment must be back before its next turn, {self.period} later"
            )
        return self

    @model_validator(mode="after")
    def _can_be_cut(self) -> "StreamingDiLoCo":
        if self.compression and self.compression.reads_tensors:
            raise misfit(
                ("compression",),
                f"{self.compression.kind} needs the model's tensors, and a slice has parts of them",
            )
        return self

    @model_validator(mode="after")
    def _can_be_handed_over(self) -> "StreamingDiLoCo":
        between = self.period // self.fragments
        if self.on_failure.goes_on and self.overlap >= between:
            raise misfit(
                ("on_failure",),
                "one can only wait where a fragment is always on its way: expected an overlap "
                f"below period / fragments, which is {between}; got {self.overlap}",
            )
        return self

    @property
    def server_place(self) -> None:
        """There is no server."""
        return None

    def work(self, node: Node) -> Steps:
        """Train alone; send a fragment when it is due, take it in ``overlap`` steps later."""
        state = node.initial_state()
        slices = [node.fresh_state(each) for each in self._cut(node, state.parameters)]
        sent: tuple[Any, ...] = ((),) * len(slices)
        done, state, slices, sent = node.resume(0, state, tuple(slices), sent)
        shared: list[State] = list(slices)
        exchanges = self._exchanges(node, shared, sent)
        under_way: dict[int | None, Process] = {}
        for step in itertools.count(done + 1):
            due, late = self._due(step), self._due(step - self.overlap)
            slice_bytes = None if due is None else self._slice_bytes(node, state.parameters)
            stepping = node.compute_step(state, bucket_bytes=slice_bytes)
            if due is not None:
                under_way[due] = node.start(self._exchange(node, stepping, shared, exchanges, due))
            state = yield stepping
            if late in under_way:
                means = yield under_way.pop(late)
                state = state.with_parameters(self._merge(node, state.parameters, shared, means))
            node.publish(state.parameters, progress=step)
            if not under_way:
                memories = tuple(each.memory for each in exchanges)
                yield from node.keep(step, state, tuple(shared), memories)

    def _exchanges(
        self, node: Node, shared: Sequence[State], memories: Sequence[tuple[Any, ...]]
    ) -> list[Exchange]:
        """Return how each slice goes to the others, whose turns have numbers of their own."""
        lengths = [each.parameters.num_entries for each in shared]
        return [
            Exchange(
                node,
                self.compression,
                memory,
                layout=node.layout.piece(length),
                turns=(index, len(lengths)),
                # A worker that keeps a share of its own fragment is as far from the shared one.
                missing=1 - self.alpha,
            )
            for index, (length, memory) in enumerate(zip(lengths, memories, strict=True))
        ]

    def _exchange(
        self,
        node: Node,
        stepping: Work,
        shared: Sequence[State],
        exchanges: Sequence[Exchange],
        fragment: int,
    ) -> Steps:
        """Average how far a fragment's slices have come; return the means by slice."""
        means = {}
        for index in range(fragment, len(shared), self.fragments):
            delta = node.subtract(shared[index].parameters, (yield stepping.buckets[index]))
            tag = f"fragment {fragment}"
            means[index] = yield from exchanges[index].all_reduce(delta, tag=tag)
        return means

    def _merge(
        self, node: Node, parameters: Value, shared: list[State], means: dict[int, Value]
    ) -> Value:
        """Take the outer step on some slices; return ``parameters`` on the way to them."""
        pieces = self._cut(node, parameters)
        for index, mean in means.items():
            shared[index] = node.step(shared[index], mean, self.outer)
            both = pieces[index], shared[index].parameters
            # Without a share of its own, what a worker takes is the others' very Value.
            pieces[index] = (
                node.mix(*both, weights=(self.alpha, 1 - self.alpha)) if self.alpha else both[1]
            )
        return node.paste(pieces[::-1])

    def _due(self, step: int) -> int | None:
        """Return the fragment that is sent after ``step``; None if it is nobody's turn."""
        for fragment in range(self.fragments):
            if (step - (fragment + 1) * self.period // self.fragments) % self.period == 0:
                return fragment
        return None

    def _cut(self, node: Node, vector: Value) -> list[Value]:
        """Return the slices of ``vector``, its end first."""
        return node.cut(vector, self._slice_bytes(node, vector))[::-1]

    def _slice_bytes(self, node: Node, vector: Value) -> int:
        return node.vector_bytes(-(-vector.num_entries // (self.fragments * self.slices)))
