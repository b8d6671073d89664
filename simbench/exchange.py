"""How vectors get from node to node: as they are, or compressed with error feedback."""

import functools
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from simpy.events import Event

from simbench.execution.values import Value
from simbench.learning.compressor import Compression, Summable
from simbench.learning.operations_compression import CountBytes, Decode, Encode, Join, Part, Sign
from simbench.node import Node


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

    def __init__(self, node: Node, compression: Compression | None) -> None:
        self._node = node
        self._compression = compression
        self._memories: dict[str, _Memory] = {}
        self._turns = 0

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
        layout = self._node.layout
        decode = _made(Decode, self._compression, layout)
        return self._node.apply(decode, payload, num_bytes=layout.vector_bytes)

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

    def _given(self, vector: Value, since: Value | None, memory: _Memory) -> Value:
        assert self._compression is not None
        self._turns += 1
        given = vector if since is None else self._node.subtract(vector, since)
        if memory.residual is None:
            return given
        weight = self._compression.residual_weight
        return self._node.mix(given, memory.residual, weights=(1.0, weight))

    def _encoded(
        self, compression: Compression, given: Value, memory: _Memory
    ) -> Generator[Event, Any, Value]:
        node, layout = self._node, self._node.layout
        turn = (node.rank, self._turns - 1) if compression.draws else ()
        num_bytes = compression.payload_bytes(layout)
        if num_bytes is None:
            count = node.apply(_made(CountBytes, compression, layout), given, num_bytes=8)
            num_bytes = yield node.observe(count)
        encode = _made(Encode, compression, layout)
        inputs = (given,) if memory.before is None else (given, memory.before)
        payload = node.apply(encode, *inputs, arguments=turn, num_bytes=num_bytes)
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
        node, layout = self._node, self._node.layout
        before = () if memory.before is None else (memory.before,)
        # All draw the same, or what they send couldn't be added up.
        turn = (0, self._turns - 1) if compression.draws else ()
        own: list[Value] = []
        means: list[Value] = []
        for number, num_bytes in enumerate(compression.part_bytes(layout)):
            part = _made(Part, compression, layout, number)
            inputs = given, *means, *before
            own.append(node.apply(part, *inputs, arguments=turn, num_bytes=num_bytes))
            means.append((yield node.all_reduce(own[-1], tag, among)))
        join = functools.partial(
            node.apply,
            _made(Join, compression, layout, len(means)),
            arguments=turn,
            num_bytes=layout.vector_bytes,
        )
        self._keep(memory, given, join(*means[:-1], own[-1]), means[-1])
        return join(*means)

    def _keep(self, memory: _Memory, given: Value, decoded: Value, before: Value) -> None:
        assert self._compression is not None
        if self._compression.error_feedback:
            memory.residual = self._node.subtract(given, decoded)
        if self._compression.remembers:
            memory.before = before
