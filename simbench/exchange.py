"""How vectors get from node to node: as they are, or compressed with error feedback."""

import functools
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from simpy.events import Event

from simbench.execution.values import Value
from simbench.learning.aggregator import Aggregate, Aggregator
from simbench.learning.compressor import Compression, Layout, Summable
from simbench.learning.operations_compression import CountBytes, Decode, Encode, Join, Part, Sign
from simbench.node import Node, Own


@dataclass
class _Memory:
    """What one node keeps of one exchange that it has again and again."""

    residual: Value | None = None
    before: Value | None = None


@functools.lru_cache(maxsize=256)
def _made(kind: type[Any], *settings: Any) -> Any:
    """Return the operation, one for all nodes: what identifies it is worked out once."""
    return kind(*settings)


class Exchange:
    """What one node gives to others and gets from them; without a compression, all as it is.

    With one, a node keeps what its payloads leave out, if ``error_feedback`` says so:

        given <- vector + residual, residual <- given - decoded

    so that all it ever sent, and the residual, are all that it ever gave. ``since`` is what a
    vector of parameters has come from, known to all who take part: where there is compression, the
    change since then is what is compressed.

    Source:
        Karimireddy et al., "Error Feedback Fixes SignSGD and other Gradient Compression Schemes",
        ICML 2019, arXiv:1901.09847, algorithm 2.
    """

    def __init__(
        self,
        node: Node,
        compression: Compression | None,
        memory: tuple[Any, ...] = (),
        *,
        layout: Layout | None = None,
        turns: tuple[int, int] = (0, 1),
        missing: float = 1.0,
    ) -> None:
        """Begin.

        Args:
            node: whose it is.
            compression: how; None sends all as it is.
            memory: what another exchange had as its ``memory``, to go on from there.
            layout: of the vectors, by default the model's.
            turns: the number of its first turn, and from one to the next: draws are named by it.
            missing: the share of what wasn't sent that the next vector doesn't have in it anyway;
                0 keeps no residual.
        """
        self._node = node
        self._compression = compression
        self._layout = layout or node.layout
        self._first, self._apart = turns
        self._missing = missing
        self._turns: int
        self._turns, kept = memory or (0, ())
        self._memories = {tag: _Memory(own.what, before) for tag, own, before in kept}

    @property
    def memory(self) -> tuple[Any, ...]:
        """What it needs to go on, for ``Node.keep``; what hasn't been sent is the node's own."""
        if self._compression is None:
            return ()
        memories = self._memories.items()
        return self._turns, tuple((tag, Own(m.residual), m.before) for tag, m in memories)

    def all_reduce(
        self,
        vector: Value,
        since: Value | None = None,
        *,
        tag: str | None = None,
        among: Sequence[int] | None = None,
    ) -> Generator[Event, Any, Value]:
        """Return the mean of what all have given, once all have joined.

        What can be added up is all-reduced. All else is all-gathered, and decoded by each node.
        """
        node, compression = self._node, self._compression
        if compression is None:
            return (yield node.all_reduce(vector, tag or "all_reduce", among))  # type: ignore[no-any-return]
        memory = self._memories.setdefault(tag or "all_reduce", _Memory())
        given = self._given(vector, since, memory)
        if isinstance(compression, Summable):
            mean = yield from self._sum(compression, given, memory, tag or "all_reduce", among)
            return self.concluded(mean, since)
        payload = yield from self._encoded(compression, given, memory)
        return self.mean((yield node.all_gather(payload, tag or "all_gather", among)), since)

    def aggregate(
        self, aggregator: Aggregator, vector: Value, since: Value | None = None
    ) -> Generator[Event, Any, Value]:
        """Return what ``aggregator`` makes of what all have given, once all have joined.

        A sum is all-reduced: each gives its share, as it knows it from how data are shared out.
        What is none, or is compressed and has unequal weights, is all-gathered, and each node makes
        the same of it, as a server would.
        """
        node, samples = self._node, self._samples
        weights = aggregator.weights(samples)
        if weights is not None and len(set(weights)) == 1:
            return (yield from self.all_reduce(vector, since))
        if weights is not None and self._compression is None:
            share = len(weights) * weights[node.rank]
            return (yield node.all_reduce(node.mix(vector, weights=(share,))))  # type: ignore[no-any-return]
        payloads = yield node.all_gather((yield from self.encode(vector, since)))
        made = aggregate(node, aggregator, [*map(self.decode, payloads)], samples)
        return self.concluded(made, since)

    @functools.cached_property
    def _samples(self) -> list[int]:
        """How many samples each worker has of its own."""
        return [self._node.samples_of(each) for each in self._node.workers]

    def encode(self, vector: Value, since: Value | None = None) -> Generator[Event, Any, Value]:
        """Return what to send to a server, which has to ``decode`` it, or to make a ``mean``."""
        if self._compression is None:
            return vector
        memory = self._memories.setdefault("", _Memory())
        given = self._given(vector, since, memory)
        return (yield from self._encoded(self._compression, given, memory))

    def decode(self, payload: Value) -> Value:
        """Return the vector, or the change of it, that somebody's ``payload`` stands for."""
        if self._compression is None:
            return payload
        decode = _made(Decode, self._compression, self._layout)
        return self._node.apply(decode, payload, num_entries=self._layout.length)

    def mean(self, payloads: Sequence[Value], since: Value | None = None) -> Value:
        """Return the mean of what ``payloads`` stand for; ``since`` as who sent them had it."""
        return self.concluded(self._node.mix(*map(self.decode, payloads)), since)

    def concluded(self, mean: Value, since: Value | None = None) -> Value:
        """Return what all go on with, if ``mean`` is that of what was decoded, however made."""
        if self._compression is None:
            return mean
        if self._compression.takes_sign:
            mean = self._node.apply(Sign(), mean)
        return mean if since is None else self._node.add(since, mean)

    def residual(self, tag: str = "") -> Value | None:
        """Return what hasn't been sent yet, by ``encode`` or under the ``tag`` of an all-reduce."""
        return self._memories.get(tag, _Memory()).residual

    @property
    def _turn(self) -> int:
        """The number of the turn that has begun last."""
        return self._first + self._apart * (self._turns - 1)

    def _given(self, vector: Value, since: Value | None, memory: _Memory) -> Value:
        assert self._compression is not None
        self._turns += 1
        given = vector if since is None else self._node.subtract(vector, since)
        if memory.residual is None:
            return given
        weight = self._compression.residual_weight * self._missing
        return self._node.mix(given, memory.residual, weights=(1.0, weight))

    def _encoded(
        self, compression: Compression, given: Value, memory: _Memory
    ) -> Generator[Event, Any, Value]:
        node, layout = self._node, self._layout
        turn = (node.rank, self._turn) if compression.draws else ()
        num_bytes = compression.payload_bytes(layout)
        if num_bytes is None:
            count = node.apply(_made(CountBytes, compression, layout), given, num_bytes=8)
            num_bytes = yield node.observe(count)
        encode = _made(Encode, compression, layout)
        inputs = (given,) if memory.before is None else (given, memory.before)
        charged = node.payload_bytes(num_bytes)
        payload = node.apply(encode, *inputs, arguments=turn, num_bytes=charged)
        self._keep(memory, given, self.decode(payload), payload)
        return payload

    def _sum(
        self,
        compression: Summable,
        given: Value,
        memory: _Memory,
        tag: str,
        among: Sequence[int] | None,
    ) -> Generator[Event, Any, Value]:
        node, layout = self._node, self._layout
        before = () if memory.before is None else (memory.before,)
        # All draw the same, or what they send couldn't be added up.
        turn = (0, self._turn) if compression.draws else ()
        own: list[Value] = []
        means: list[Value] = []
        for number, num_bytes in enumerate(compression.part_bytes(layout)):
            part = _made(Part, compression, layout, number)
            inputs = given, *means, *before
            charged = node.payload_bytes(num_bytes)
            own.append(node.apply(part, *inputs, arguments=turn, num_bytes=charged))
            means.append((yield node.all_reduce(own[-1], tag, among)))
        join = functools.partial(
            node.apply,
            _made(Join, compression, layout, len(means)),
            arguments=turn,
            num_entries=layout.length,
        )
        self._keep(memory, given, join(*means[:-1], own[-1]), means[-1])
        return join(*means)

    def _keep(self, memory: _Memory, given: Value, decoded: Value, before: Value) -> None:
        assert self._compression is not None
        if self._compression.error_feedback and self._missing:
            memory.residual = self._node.subtract(given, decoded)
        if self._compression.remembers:
            memory.before = before


def aggregate(
    node: Node, aggregator: Aggregator, vectors: Sequence[Value], samples: Sequence[float]
) -> Value:
    """Return what ``aggregator`` makes of ``vectors``; it costs no virtual time.

    A sum is made by ``node.mix``, and equal weights are asked for as the mean.

    Args:
        node: who does it.
        aggregator: how.
        vectors: in the order of those whose they are.
        samples: that each of those has of its own.
    """
    weights = aggregator.weights(samples)
    if weights is None:
        return node.apply(Aggregate(aggregator), *vectors)
    if len(set(weights)) == 1:
        return node.mix(*vectors)
    # Each by itself, which rounds a piece of a vector as it rounds the whole.
    scaled = [node.mix(each, weights=(w,)) for each, w in zip(vectors, weights, strict=True)]
    return node.mix(*scaled, weights=[1.0] * len(scaled))
