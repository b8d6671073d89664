"""What stands in front of an optimiser: transformations of the gradient, and a schedule.

Their memory lies in the optimiser's state, under names of two words, which torch's never have.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from simbench.execution.operation import PureOperation
from simbench.learning.optimizer import Optimizer
from simbench.learning.schedule import chain_factor
from simbench.learning.transform import apply_chain
from simbench.seeds import generator

OptimizerState = dict[str, Tensor]
"""What torch keeps per parameter, by its own names, and what stands in front; empty at first."""

_STEPS = "schedule steps"
_TRANSFORM = "transform "


class Front(NamedTuple):
    """What torch's step is given, and what goes into the state beside what it leaves."""

    gradient: Tensor
    learning_rate: float
    state: OptimizerState
    memory: OptimizerState


def step_front(
    optimizer: Optimizer,
    parameters: Tensor,
    state: OptimizerState,
    gradient: Tensor,
    seed: int,
    num_workers: int,
) -> Front:
    """Return what the transformations and the schedule of ``optimizer`` make of a step.

    Args:
        optimizer: with a chain, a schedule or both.
        parameters: ``(n,)``, before the step.
        state: after the step before.
        gradient: ``(n,)``.
        seed: of what is drawn.
        num_workers: N, for schedules that depend on it.
    """
    own = {name: each for name, each in state.items() if " " not in name}
    memory = {
        name.removeprefix(_TRANSFORM): each
        for name, each in state.items()
        if name.startswith(_TRANSFORM)
    }
    count = int(state.get(_STEPS, 0))
    gradient, memory = apply_chain(
        optimizer.transforms,
        gradient,
        parameters,
        memory,
        # Whoever takes this step draws the same: replicas that take it each for itself stay equal.
        lambda place: generator(seed, f"optimizer.{place}", 0, count),
    )
    factor = chain_factor(optimizer.schedule, count, num_workers)
    kept = {_TRANSFORM + name: each for name, each in memory.items()}
    kept[_STEPS] = torch.tensor(count + 1)
    return Front(gradient, factor * optimizer.learning_rate, own, kept)


@dataclass(frozen=True)
class Forget(PureOperation):
    """The state of an optimiser that remembers nothing but how many steps it has taken."""

    def __call__(self, state: OptimizerState) -> OptimizerState:
        return {name: each for name, each in state.items() if name == _STEPS}
