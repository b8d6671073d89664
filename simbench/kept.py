"""What nodes keep to go on from: the states that are handed over, and the checkpoints of a run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from simbench.clock import Clock
from simbench.execution.values import Value
from simbench.node import Node, State, Steps
from simbench.policies.restart import Restart


class Kept(NamedTuple):
    """What a node needs to go on."""

    memory: tuple[Any, ...]
    """How much is done, and what else the strategy told."""
    steps_begun: int
    """Batches that it had drawn."""

    @property
    def done(self) -> int:
        """How much is done, as the strategy counts."""
        return int(self.memory[0])

    @property
    def num_bytes(self) -> int:
        """Size of all Values in it."""
        return sum(value.num_bytes for value in _values(self.memory))

    def held_by(self, node: Node) -> tuple[Any, ...]:
        """Return the memory as what ``node`` holds, whoever had kept it."""
        return tuple(_held_by(node, each) for each in self.memory)


def stored(states: Mapping[int, Kept], rank: int) -> Kept | None:
    """Return what ``rank`` had kept, or else what another had; None if nobody had."""
    return states.get(rank) or next((states[each] for each in sorted(states)), None)


@dataclass
class _Checkpoint:
    """The states of one round."""

    done: int
    states: dict[int, Kept] = field(default_factory=dict)


class Checkpoints:
    """Written by all nodes in the same round, the first that is due when nobody is further."""

    def __init__(self, policy: Restart, clock: Clock, nodes: Sequence[Node]) -> None:
        self._policy, self._clock, self._nodes = policy, clock, nodes
        self._since_ns = 0
        """When the one that counts was written, or training began again."""
        self._last = self._next = _Checkpoint(0)
        """The one that counts, and another if one is being written."""
        self._furthest = 0
        self.written_ns: list[int] = []
        """When each was complete."""

    @property
    def done(self) -> int:
        """The round of the one that counts."""
        return self._last.done

    @property
    def states(self) -> Mapping[int, Kept]:
        """What each had kept in it."""
        return self._last.states

    def write(self, rank: int, kept: Kept, writers: Sequence[int]) -> Steps:
        """Write what ``rank`` keeps, if its round is one; all ``writers`` make it whole."""
        is_idle = self._next is self._last
        is_due = self._clock.now_ns - self._since_ns >= self._policy.interval
        if is_idle and is_due and kept.done > self._furthest:
            self._next = _Checkpoint(kept.done)
        self._furthest = max(self._furthest, kept.done)
        writing = self._next
        if writing is self._last or writing.done != kept.done:
            return
        if self._policy.cost:
            yield self._nodes[rank].compute(self._policy.cost)
        writing.states[rank] = kept
        if all(each in writing.states for each in writers):
            self._last = writing
            self._since_ns = self._clock.now_ns
            self.written_ns.append(self._since_ns)

    def go_back(self, done: int) -> None:
        """Give up what is being written: all are behind ``done``, and begin soon."""
        self._next, self._furthest = self._last, done
        self._since_ns = self._clock.now_ns + self._policy.recovery


def _values(memory: Any) -> Iterator[Value]:
    """Yield the Values in what a node keeps."""
    if isinstance(memory, Value):
        yield memory
    elif isinstance(memory, State):
        yield from (memory.parameters, memory.optimizer)
    elif isinstance(memory, tuple):
        for each in memory:
            yield from _values(each)


def _held_by(node: Node, memory: Any) -> Any:
    if isinstance(memory, Value):
        return node.hold(memory.recipe)
    if isinstance(memory, State):
        return State(node.hold(memory.parameters.recipe), node.hold(memory.optimizer.recipe))
    return tuple(_held_by(node, each) for each in memory) if isinstance(memory, tuple) else memory
