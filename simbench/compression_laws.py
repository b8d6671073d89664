"""Laws of compressions; ``simbench.testing`` offers them."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from simbench.cluster.cluster import Cluster
from simbench.exchange import Exchange
from simbench.execution.threads import ThreadExecutor
from simbench.execution.values import Value
from simbench.learning.compressor import Compression, Layout, Summable, payload_bytes
from simbench.learning.datasets.text import Text
from simbench.learning.models.gpt import GPT
from simbench.learning.task import Task
from simbench.node import Node, Steps
from simbench.scenario import Scenario, Stop
from simbench.simulation import simulation_on
from simbench.strategies.averaging import Averaging
from simbench.strategy import Strategy

_WORKERS = 3
_TURNS = 4


class _Probe(Strategy):
    """Workers give gradients to each other, and to a server, and note what becomes of them."""

    kind: Literal["compression_probe"] = "compression_probe"
    compression: Compression
    note: Callable[[str, int, int, Value | None], None]

    counts: ClassVar[Literal["steps", "updates"]] = "steps"

    @property
    def server_place(self) -> tuple[Literal["own_machine"]]:
        return ("own_machine",)

    def work(self, node: Node) -> Steps:
        state, exchange = node.initial_state(), Exchange(node, self.compression)
        for turn in range(_TURNS):
            gradient = yield node.compute_gradient(state.parameters)
            self.note("given", node.rank, turn, gradient)
            payload = yield from exchange.encode(gradient)
            self.note("payload", node.rank, turn, payload)
            node.send(node.server, payload, tag=f"push {turn}")
            self.note("kept", node.rank, turn, exchange.residual())
            mean = yield from exchange.all_reduce(gradient, tag="mean")
            self.note("mean", node.rank, turn, mean)
            self.note("kept of mean", node.rank, turn, exchange.residual("mean"))
            # Away from the start, where parts of a model have gradients of 0.
            state = node.step(state, gradient)

    def serve(self, node: Node) -> Steps:
        exchange = Exchange(node, self.compression)
        for turn in range(_TURNS):
            pushes = yield from node.receive_from_each(node.workers, f"push {turn}")
            for push in pushes:
                self.note("decoded", push.sender, turn, exchange.decode(push.body))


def check_compression(compression: Compression) -> None:
    """Check that the clock charges the bytes that are sent, and that nothing is lost.

    A payload has as many bytes as its message. With error feedback, all that was decoded, with
    what is kept, is all that was given, by each node to a server and by all to each other. All
    nodes hold the same mean, the very same Value, of the same bits each time.
    """
    for dtype in ("float32", "float64"):
        found, charged, layout = _play(compression, dtype)
        again, _, _ = _play(compression, dtype)
        for name, value in found.items():
            assert _same(value, again[name]), f"{compression.kind}: other bits the second time"
        for rank in range(_WORKERS):
            for turn in range(_TURNS):
                payload = found["payload", rank, turn]
                real = payload_bytes(payload)
                assert real == charged[rank, turn], (
                    f"{compression.kind} sends {real} bytes and charges {charged[rank, turn]}"
                )
                if isinstance(compression, Summable):
                    sizes = tuple(part.nbytes for part in payload[1:])
                    assert sizes == compression.part_bytes(layout), "other parts than charged"
                assert found["mean key", rank, turn] == found["mean key", 0, turn], "another mean"
        if compression.error_feedback:
            _check_feedback(compression, found, 1e-4 if dtype == "float32" else 1e-11)


def _check_feedback(compression: Compression, found: dict[Any, Any], tolerance: float) -> None:
    """Check that what was sent and what is kept are what was given, after each turn."""

    def over_turns(what: str, rank: int) -> Tensor:
        return torch.stack([found[what, rank, turn] for turn in range(_TURNS)])

    given = [over_turns("given", rank) for rank in range(_WORKERS)]
    for rank in range(_WORKERS):
        decoded, kept = over_turns("decoded", rank), over_turns("kept", rank)
        _check_sums(compression, given[rank], decoded, kept, tolerance)
    if not compression.takes_sign:
        # Where numbers of few bits are added up, each addition rounds.
        last = found["payload", 0, 0][-1]
        rounds = isinstance(compression, Summable) and torch.finfo(last.dtype).eps > tolerance
        kept = torch.stack([over_turns("kept of mean", r) for r in range(_WORKERS)]).mean(0)
        tolerance = 10 * torch.finfo(last.dtype).eps if rounds else tolerance
        _check_sums(compression, torch.stack(given).mean(0), over_turns("mean", 0), kept, tolerance)


def _check_sums(
    compression: Compression, given: Tensor, sent: Tensor, kept: Tensor, tolerance: float
) -> None:
    left = torch.zeros_like(given[0])
    for turn in range(_TURNS):
        left = compression.residual_weight * left + given[turn] - sent[turn]
        difference = (left - kept[turn]).abs().max()
        assert difference <= tolerance * (1 + given[turn].abs().max()), (
            f"{compression.kind} loses {difference:g}"
        )


def _play(
    compression: Compression, dtype: Literal["float32", "float64"]
) -> tuple[dict[Any, Any], dict[tuple[int, int], int], Layout]:
    """Return all notes as tensors, what the clock charged for each payload, and the layout."""
    scenario = Scenario(
        name="law",
        task=Task(
            model=GPT(layers=1, width=16, heads=2, context=8),
            data=Text(),
            batch_size=1,
            dtype=dtype,
        ),
        cluster=Cluster(nodes=_WORKERS),
        strategies={"probe": Averaging()},
        stop=Stop(updates=_TURNS),
    )
    notes: dict[Any, Value] = {}

    def note(what: str, rank: int, turn: int, value: Value | None) -> None:
        if value is not None:
            notes[what, rank, turn] = value

    probe = _Probe(compression=compression, note=note)
    executor = ThreadExecutor(1)
    try:
        scenario = scenario.model_copy(update={"strategies": {"probe": probe}})
        simulation = simulation_on(executor, scenario, "probe", 0)
        while simulation.advance():
            pass
        charged = {
            (each.sender, int(each.tag.split()[1])): each.num_bytes
            for each in simulation.world.messages
            if each.tag.startswith("push")
        }
        found = {name: executor.start(value.recipe).result() for name, value in notes.items()}
        for (what, rank, turn), value in notes.items():
            if what == "mean":
                found["mean key", rank, turn] = value.key
    finally:
        executor.close()
    return found, charged, simulation.nodes[0].layout


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple):
        return all(map(_same, one, other))
    return torch.equal(one, other) if isinstance(one, Tensor) else bool(one == other)
