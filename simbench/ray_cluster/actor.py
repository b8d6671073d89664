"""The actor: it stands in for some nodes, keeps their results, computes as it is told."""

import os
import pickle
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import ray
import torch

from simbench.execution.identity import fingerprint
from simbench.execution.values import Operation


@dataclass
class Call:
    """What an actor is to do in one call; slots name results that it has or will have."""

    operations: dict[int, Operation] = field(default_factory=dict)
    """Operations that it hasn't met, by their number."""
    tasks: list[tuple[int, int, list[int], tuple[int, ...]]] = field(default_factory=list)
    """(slot, operation's number, slots of the inputs, arguments), in order."""
    imports: list[int] = field(default_factory=list)
    """Slots of what comes along from other actors."""
    exports: list[int] = field(default_factory=list)
    """Slots to put where other actors can fetch them."""
    wanted: list[int] = field(default_factory=list)
    """Slots whose results the driver wants to see."""
    dropped: list[int] = field(default_factory=list)
    """Slots that nobody needs any more."""


@dataclass
class Answer:
    """What an actor tells the driver."""

    results: dict[int, Any]
    seconds: dict[str, float]
    """Time spent per name of operation."""


class NodeActor:
    """Computes for the nodes that it stands in for, one single-threaded operation at a time."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        share_tensors_as_arrays()
        self._operations: dict[int, Operation] = {}
        self._results: dict[int, Any] = {}

    def describe(self) -> tuple[str, dict[str, str]]:
        """Return the device that this actor computes on, and what its bits depend on."""
        device = "cuda" if ray.get_gpu_ids() else "cpu"
        if device == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or cuBLAS isn't
            torch.use_deterministic_algorithms(mode=True)
        return device, fingerprint(device)

    def compute(self, pickled_call: bytes, *imported: Any) -> Any:
        """Do what the ``Call`` says; return a pickled ``Answer``, followed by the exports if any.

        Plain pickle is several times cheaper than what Ray does to find out how to pickle.
        """
        call: Call = pickle.loads(pickled_call)  # noqa: S301 - our own driver sent it
        for slot in call.dropped:
            self._results.pop(slot, None)
        self._operations.update(call.operations)
        self._results.update(zip(call.imports, imported, strict=True))
        seconds: defaultdict[str, float] = defaultdict(float)
        for slot, number, inputs, arguments in call.tasks:
            operation = self._operations[number]
            begun_s = time.perf_counter()
            self._results[slot] = operation(*(self._results[each] for each in inputs), *arguments)
            seconds[operation.name] += time.perf_counter() - begun_s
        wanted = {slot: self._results[slot] for slot in call.wanted}
        answer = pickle.dumps(Answer(wanted, dict(seconds)))
        if not call.exports:
            return answer
        return (answer, *(self._results[slot] for slot in call.exports))


def share_tensors_as_arrays() -> None:
    """Let Ray carry tensors as arrays, whose bytes go through its object store once."""
    ray.util.register_serializer(
        torch.Tensor,
        serializer=lambda tensor: (str(tensor.device), tensor.detach().cpu().numpy()),
        # A copy: what comes out of the object store can't be written to, which torch warns about.
        deserializer=lambda pair: torch.tensor(pair[1], device=pair[0]),
    )
