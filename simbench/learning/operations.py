"""The pure operations of training. Each returns new tensors and changes none of its inputs.

An operation's ``identity`` hashes its settings, its data, the source that it runs and the machine's
fingerprint, and with the keys of its inputs becomes the key of its Value.
"""

import functools
import hashlib
import json
import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from simbench.execution.devices import uploaded
from simbench.execution.identity import compiler, source_hash
from simbench.execution.operation import PureOperation
from simbench.execution.values import Effort
from simbench.learning.checkpointing import checkpoint_blocks
from simbench.learning.model import Batch, Model
from simbench.learning.operations_step import OptimizerState, step_front
from simbench.learning.optimizer import Optimizer
from simbench.learning.privacy import private_gradient
from simbench.learning.task import Task
from simbench.learning.together import ModelLoss, evaluations, gradients, losses, scalars, steps
from simbench.learning.vectors import flatten, gradient_of, load
from simbench.seeds import generator
from simbench.spec import Spec, dump_by_contents


@dataclass(frozen=True)
class Bench:
    """Where operations of one task are done: everything they share beside their inputs."""

    task: Task
    seed: int
    num_shards: int
    device: str
    fingerprint: str
    weights: tuple[int, ...] | None = None
    """Sizes of the nodes' shards, in proportion; equal if None."""

    def identify(self, name: str, *specs: Spec, classes: tuple[type, ...] = (), **more: Any) -> str:
        """Return the identity of an operation that reads ``specs`` and ``more``."""
        code = [each for spec in specs for each in spec.user_code]
        facts = {
            "name": name,
            "specs": [dump_by_contents(spec) for spec in specs],
            "dtype": self.task.dtype,
            "source": source_hash(Bench, *map(type, specs), *classes, *code),
            "fingerprint": self.fingerprint,
            **({"compiler": compiler()} if self.task.compile else {}),
            **more,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def place(self, batch: Batch) -> Batch:
        """Return ``batch`` on the device, its floats in the task's type."""
        return tuple(
            uploaded(each, self.device, self.task.torch_dtype if each.is_floating_point() else None)
            for each in batch
        )

    def batch(self, rank: int, step: int) -> Batch:
        """Return node ``rank``'s batch number ``step``, placed."""
        return self.place(self._drawn(rank, step))

    def batches(self, numbers: Sequence[tuple[int, int]]) -> Batch:
        """Return the batches of several (rank, step), stacked, and placed in one go."""
        return self.place(stacked([self._drawn(rank, step) for rank, step in numbers]))

    def _drawn(self, rank: int, step: int) -> Batch:
        draw = generator(self.seed, "batch", rank, step)
        return self.task.batch(draw, rank, self.shares)

    def shard_samples(self, rank: int) -> int:
        """Return how many samples node ``rank`` has of its own; 1 each where data never end."""
        sizes = self.task.shard_sizes(self.shares)
        return 1 if sizes is None else sizes[rank]

    @property
    def shares(self) -> tuple[int, ...]:
        """Sizes of the nodes' shards, in proportion."""
        return self.weights or (1,) * self.num_shards

    def identify_batches(self, name: str, **more: Any) -> str:
        """Return the identity of an operation on ``batch``."""
        task = self.task
        return self.identify(
            name,
            task.model,
            task.data,
            *filter(None, [task.sharding]),
            data=task.data.content,
            batch_size=task.samples_per_step,
            seed=self.seed,
            num_shards=self.num_shards,
            weights=self.weights,
            **more,
        )

    def module_with(self, vector: Tensor) -> tuple[nn.Module, list[nn.Parameter]]:
        """Return this thread's own module with ``vector`` as its parameters, and those in order.

        Two threads that shared a module would mix their parameters up.
        """
        recomputes = self.task.checkpoint_activations
        name = (self.task.model, self.task.dtype, self.device, recomputes)
        if name not in _OWN.modules:
            module = self.task.model.build().to(self.device, self.task.torch_dtype)
            if recomputes:
                checkpoint_blocks(module)
            # Walking the tree of modules costs as much as a layer: once will do.
            _OWN.modules[name] = module, list(module.parameters())
        module, parameters = _OWN.modules[name]
        load(parameters, vector)
        return module, parameters

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the mean loss to train by, in the precision that the task asks for."""
        if self.task.mixed_precision is None:
            return self.whole_loss(module, batch)
        with torch.autocast(self.device, torch.bfloat16):
            return self.whole_loss(module, batch)

    def whole_loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the mean loss in the precision of the parameters."""
        model = self.task.model
        return (_compiled(model) if self.task.compile else model.loss)(module, batch)


@functools.cache
def _compiled(model: Model) -> ModelLoss:
    """Return the model's loss as torch compiles it.

    All of it or nothing, and for each shape of a batch by itself: else the bits would depend on
    which shapes came before.
    """
    loss: ModelLoss = torch.compile(model.loss, fullgraph=True, dynamic=False)
    return loss


def stacked(batches: Sequence[Batch]) -> Batch:
    """Return batches of one shape with a new first axis, which counts them."""
    return tuple(torch.stack(each) for each in zip(*batches, strict=True))


class _Own(threading.local):
    """What belongs to one thread."""

    def __init__(self) -> None:
        self.modules: dict[tuple[Model, str, str, bool], tuple[nn.Module, list[nn.Parameter]]] = {}
        self.optimizers: dict[
            tuple[Optimizer, int, bool], tuple[list[nn.Parameter], torch.optim.Optimizer]
        ] = {}


_OWN = _Own()


@dataclass(frozen=True)
class Initial:
    """The first parameters, a flat vector of shape (n,)."""

    bench: Bench
    name = "initial"
    effort: ClassVar[Effort] = "heavy"

    @functools.cached_property
    def identity(self) -> str:
        return self.bench.identify(self.name, self.bench.task.model, seed=self.bench.seed)

    def __call__(self) -> Tensor:
        module = self.bench.task.model.build().to(self.bench.task.torch_dtype)
        draw = generator(self.bench.seed, "initial", 0, 0)
        source = torch.Generator().manual_seed(int(draw.integers(2**63)))
        self.bench.task.model.initialise(module, source)
        return flatten(module).to(self.bench.device)


@dataclass(frozen=True)
class Gradient:
    """The gradient (n,) at the parameters (n,) of node ``rank``'s batch number ``step``."""

    bench: Bench
    name = "gradient"
    effort: ClassVar[Effort] = "heavy"

    @functools.cached_property
    def identity(self) -> str:
        task = self.bench.task
        return self.bench.identify_batches(
            self.name,
            # Checkpointing is left out: it gives the same bits.
            accumulate=task.accumulate,
            mixed_precision=task.mixed_precision,
            privacy=task.privacy and (task.privacy.clip, task.privacy.noise_multiplier),
        )

    def __call__(self, parameters: Tensor, rank: int, step: int) -> Tensor:
        task, batch = self.bench.task, self.bench.batch(rank, step)
        module, own = self.bench.module_with(parameters)
        if task.accumulate == 1 and task.privacy is None:
            return gradient_of(self.bench.loss(module, batch), own)
        micro_batches = list(
            zip(*(torch.split(each, task.batch_size) for each in batch), strict=True)
        )
        if task.privacy is not None:
            draw = generator(self.bench.seed, "privacy", rank, step)
            return private_gradient(task.privacy, self.bench.loss, module, micro_batches, draw)
        total = torch.zeros_like(parameters)
        for micro_batch in micro_batches:
            total += gradient_of(self.bench.loss(module, micro_batch), own)
        return total / task.accumulate

    def alike(self, parameters: Tensor, rank: int, step: int) -> Hashable:
        """Return what all share: nothing else than the task."""
        return ()

    def together(self, calls: Sequence[tuple[Tensor, int, int]]) -> list[Tensor]:
        """Return the gradients of several nodes."""
        task = self.bench.task
        vectors, numbers = [call[0] for call in calls], [call[1:] for call in calls]
        module, _ = self.bench.module_with(vectors[0])
        micro_batches = zip(
            *(torch.split(each, task.batch_size, dim=1) for each in self.bench.batches(numbers)),
            strict=True,
        )
        total = functools.reduce(
            torch.add,
            (gradients(self.bench.loss, module, vectors, each) for each in micro_batches),
        )
        # Copies, since a view would keep all of them alive.
        return [each / task.accumulate for each in total]


@dataclass(frozen=True)
class Loss:
    """The loss, of shape (), at the parameters (n,) of node ``rank``'s batch number ``step``."""

    bench: Bench
    name = "loss"
    effort: ClassVar[Effort] = "heavy"

    @functools.cached_property
    def identity(self) -> str:
        return self.bench.identify_batches(self.name)

    def __call__(self, parameters: Tensor, rank: int, step: int) -> Tensor:
        module, _ = self.bench.module_with(parameters)
        with torch.no_grad():
            return self.bench.whole_loss(module, self.bench.batch(rank, step))

    def alike(self, parameters: Tensor, rank: int, step: int) -> Hashable:
        """Return what all share: nothing else than the task."""
        return ()

    def together(self, calls: Sequence[tuple[Tensor, int, int]]) -> list[Tensor]:
        """Return the losses of several nodes."""
        vectors = [call[0] for call in calls]
        module, _ = self.bench.module_with(vectors[0])
        batches = self.bench.batches([call[1:] for call in calls])
        with torch.no_grad():
            told = losses(self.bench.whole_loss, module, vectors, batches)
        return [each.clone() for each in told]


@dataclass(frozen=True)
class LossNumber(PureOperation):
    """A loss as a plain number, to be looked at: those are known from run to run."""

    def __call__(self, tensor: Tensor) -> float:
        return float(tensor)


@dataclass(frozen=True)
class Step:
    """One step of a torch optimiser: parameters, its state and a gradient give new ones of both.

    What stands in front of it has its memory in the same state.
    """

    bench: Bench
    optimizer: Optimizer
    name = "step"
    effort: ClassVar[Effort] = "medium"

    @functools.cached_property
    def identity(self) -> str:
        optimizer = self.optimizer
        more: dict[str, Any] = {"seed": self.bench.seed} if optimizer.draws else {}
        if optimizer.schedule:
            more["num_workers"] = self.bench.num_shards
        parts = (*optimizer.transforms, *optimizer.schedule)
        return self.bench.identify(
            self.name, optimizer, classes=tuple(type(part) for part in parts), **more
        )

    def __call__(
        self, parameters: Tensor, state: OptimizerState, gradient: Tensor
    ) -> tuple[Tensor, OptimizerState]:
        return self.overwrite((False, False, False), parameters, state, gradient)

    def overwrite(
        self, spent: Sequence[bool], parameters: Tensor, state: OptimizerState, gradient: Tensor
    ) -> tuple[Tensor, OptimizerState]:
        """Return the same, in the place of parameters and state that are spent."""
        if not self.optimizer.transforms and not self.optimizer.schedule:
            return self._step(parameters, state, gradient, spent=spent)
        # What stands in front may keep its inputs, so nothing is overwritten.
        front = step_front(
            self.optimizer, parameters, state, gradient, self.bench.seed, self.bench.num_shards
        )
        stepped, own = self._step(parameters, front.state, front.gradient, front.learning_rate)
        return stepped, own | front.memory

    def alike(self, parameters: Tensor, state: OptimizerState, gradient: Tensor) -> Hashable:
        """Return how far the optimiser is; None if a step isn't made entry by entry."""
        return scalars(state) if self.optimizer.is_entrywise else None

    def together(
        self, calls: Sequence[tuple[Tensor, OptimizerState, Tensor]]
    ) -> list[tuple[Tensor, OptimizerState]]:
        """Return the steps of several nodes."""
        return steps(self, calls)

    def _step(
        self,
        parameters: Tensor,
        state: OptimizerState,
        gradient: Tensor,
        learning_rate: float | None = None,
        spent: Sequence[bool] = (False, False),
    ) -> tuple[Tensor, OptimizerState]:
        on_cpu = parameters.device.type == "cpu"
        fused = on_cpu and len(parameters) >= _LONG and _has_kernel(self.optimizer)
        # These optimisers work entry by entry, so what they are given may be cut anywhere.
        size = _PIECE if on_cpu and not fused else len(parameters)
        stepped = parameters if spent[0] else parameters.clone()
        new = state if spent[1] else {name: each.clone() for name, each in state.items()}
        pieces, optimizer = self._own_optimizer(-(-len(parameters) // size), fused)
        for number, (piece, values, slopes) in enumerate(
            zip(pieces, torch.split(stepped, size), torch.split(gradient, size), strict=True)
        ):
            piece.data, piece.grad = values, slopes
            if state:
                optimizer.state[piece] = {
                    name: torch.split(each, size)[number] if each.dim() else each.clone()
                    for name, each in new.items()
                }
        if not state and _begins_with_a_state(self.optimizer):
            optimizer = self._build(pieces, fused)
        if learning_rate is not None:
            optimizer.param_groups[0]["lr"] = learning_rate
        optimizer.step()
        parts = [optimizer.state[piece] for piece in pieces]
        # torch keeps None for what a setting turns off, such as SGD's momentum buffer at 0.
        names = [name for name, each in parts[0].items() if each is not None]
        after = {name: _joined([part[name] for part in parts], new.get(name)) for name in names}
        # What this thread's optimiser still held would outlive its last reader.
        optimizer.state.clear()
        for piece in pieces:
            piece.grad, piece.data = None, stepped.new_empty(0)
        return stepped, after

    def _own_optimizer(
        self, num_pieces: int, fused: bool
    ) -> tuple[list[nn.Parameter], torch.optim.Optimizer]:
        """Return this thread's optimiser of so many pieces, and the pieces."""
        name = self.optimizer, num_pieces, fused
        if name not in _OWN.optimizers:
            pieces = [nn.Parameter(torch.empty(0)) for _ in range(num_pieces)]
            _OWN.optimizers[name] = pieces, self._build(pieces, fused)
        return _OWN.optimizers[name]

    def _build(self, pieces: list[nn.Parameter], fused: bool) -> torch.optim.Optimizer:
        optimizer = self.optimizer.build(pieces)
        if fused:
            optimizer.param_groups[0]["fused"] = True
        return optimizer


@functools.cache
def _has_kernel(optimizer: Optimizer) -> bool:
    """Whether torch steps all at once with these settings, which takes a third of the time.

    It does if it is told to, for which it wants the choice of a way to be left to it.
    """
    (group,) = optimizer.build([nn.Parameter(torch.empty(0))]).param_groups
    settled = (group.get(each) for each in ("foreach", "differentiable", "capturable"))
    return "fused" in group and group["fused"] is None and not any(settled)


@functools.cache
def _begins_with_a_state(optimizer: Optimizer) -> bool:
    """Whether torch makes the first state with the optimiser, as Adagrad's, not at the first step.

    Then each first step takes a new one.
    """
    return bool(optimizer.build([nn.Parameter(torch.empty(1))]).state)


_LONG = 1 << 12
"""Entries from which on a kernel pays; below, what is the same by formula is so in each bit."""

_PIECE = 1 << 17
"""Entries that a processor's cache holds with all that an optimiser keeps: a third faster."""


def _joined(parts: list[Tensor], flat: Tensor | None) -> Tensor:
    """Return one vector of ``parts``, which is ``flat`` if torch wrote into that."""
    if not parts[0].dim():
        return parts[0]
    if flat is not None and flat.data_ptr() == parts[0].data_ptr():
        return flat
    return torch.cat(parts)


@dataclass(frozen=True)
class FreshState:
    """The state of an optimiser that hasn't stepped: empty."""

    name = "fresh_state"
    effort: ClassVar[Effort] = "light"
    identity = "fresh_state"

    def __call__(self) -> OptimizerState:
        return {}


@dataclass(frozen=True)
class Item:
    """One part of an operation's several results."""

    index: int
    name = "item"
    effort: ClassVar[Effort] = "light"

    @property
    def identity(self) -> str:
        return f"item {self.index}"

    def __call__(self, parts: tuple[Any, ...]) -> Any:
        return parts[self.index]


@dataclass(frozen=True)
class Mix(PureOperation):
    """The sum of one or two vectors, each times its weight."""

    weights: tuple[float, ...]

    def __call__(self, first: Tensor, second: Tensor | None = None) -> Tensor:
        total = first if self.weights[0] == 1 else first * self.weights[0]
        return total if second is None else torch.add(total, second, alpha=self.weights[1])


@dataclass(frozen=True)
class Cut(PureOperation):
    """Entries ``begin`` to ``end`` of a vector: a copy, since a view would keep all of it alive."""

    def __call__(self, vector: Tensor, begin: int, end: int) -> Tensor:
        return vector[begin:end].clone()


@dataclass(frozen=True)
class CutState(PureOperation):
    """What an optimiser remembers of entries ``begin`` to ``end``; counters are for all of them."""

    def __call__(self, state: OptimizerState, begin: int, end: int) -> OptimizerState:
        return {
            name: each[begin:end].clone() if each.dim() else each for name, each in state.items()
        }


@dataclass(frozen=True)
class Paste(PureOperation):
    """Vectors, one behind the other, as one."""

    def __call__(self, *pieces: Tensor) -> Tensor:
        return torch.cat(pieces)


@dataclass(frozen=True)
class EvaluatePart:
    """The mean loss on one part of the held-out data, the number of its samples, the accuracy."""

    bench: Bench
    name = "evaluate_part"
    effort: ClassVar[Effort] = "heavy"

    @functools.cached_property
    def identity(self) -> str:
        task = self.bench.task
        return self.bench.identify(
            self.name,
            task.model,
            task.data,
            data=task.data.content,
            num_shards=self.bench.num_shards,
        )

    @functools.cached_property
    def num_parts(self) -> int:
        """How many parts there are."""
        return len(self._parts())

    def _parts(self) -> tuple[Batch, ...]:
        return _validation(self.bench.task, self.bench.num_shards)

    def __call__(self, parameters: Tensor, part: int) -> tuple[float, int, float | None]:
        module, _ = self.bench.module_with(parameters)
        batch = self._parts()[part]
        with torch.no_grad():
            loss, accuracy = self.bench.task.model.evaluate(module, self.bench.place(batch))
        return float(loss), len(batch[0]), None if accuracy is None else float(accuracy)

    def alike(self, parameters: Tensor, part: int) -> Hashable:
        """Return the shape of the part: one may be shorter."""
        return tuple(each.shape for each in self._parts()[part])

    def together(
        self, calls: Sequence[tuple[Tensor, int]]
    ) -> list[tuple[float, int, float | None]]:
        """Return the same of several parts."""
        vectors, parts = [call[0] for call in calls], [self._parts()[call[1]] for call in calls]
        module, _ = self.bench.module_with(vectors[0])
        with torch.no_grad():
            batches = self.bench.place(stacked(parts))
            means, shares = evaluations(self.bench.task.model.evaluate, module, vectors, batches)
        accuracies = [None] * len(calls) if shares is None else shares.tolist()
        size = len(parts[0][0])
        return [(mean, size, each) for mean, each in zip(means.tolist(), accuracies, strict=True)]


@functools.lru_cache(maxsize=4)
def _validation(task: Task, num_shards: int) -> tuple[Batch, ...]:
    return task.data.validation(num_shards, task.model.length)


@dataclass(frozen=True)
class Evaluation:
    """Loss and accuracy over all held-out parts, and the SHA-256 of the parameters' bytes.

    The accuracy is None where the model tells none.
    """

    bench: Bench
    name = "evaluation"
    effort: ClassVar[Effort] = "medium"

    @functools.cached_property
    def identity(self) -> str:
        return self.bench.identify(self.name)

    def __call__(
        self, parameters: Tensor, *parts: tuple[float, int, float | None]
    ) -> dict[str, Any]:
        num_samples = sum(size for _, size, _ in parts)
        digest = hashlib.sha256(parameters.cpu().numpy().tobytes()).hexdigest()
        loss = sum(mean * size for mean, size, _ in parts) / num_samples
        shares = [share * size for _, size, share in parts if share is not None]
        accuracy = sum(shares) / num_samples if shares else None
        return {"loss": loss, "accuracy": accuracy, "parameters_sha256": digest}
