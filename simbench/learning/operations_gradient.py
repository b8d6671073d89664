"""The pure operation between a node's gradient and whoever gets it."""

import functools
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from simbench.execution.values import Effort
from simbench.learning.operations import Bench
from simbench.learning.transform import Memory, apply_chain
from simbench.seeds import generator


@dataclass(frozen=True)
class TransformGradient:
    """What ``task.gradient`` makes of node ``rank``'s gradient (n,) number ``step``.

    Returns it and what the chain remembers; ``parameters`` (n,) are where the gradient was taken.
    """

    bench: Bench
    name = "transform_gradient"
    effort: ClassVar[Effort] = "medium"

    @functools.cached_property
    def identity(self) -> str:
        chain = self.bench.task.gradient
        seed = self.bench.seed if any(each.draws for each in chain) else None
        return self.bench.identify(self.name, *chain, seed=seed)

    def __call__(
        self, gradient: Tensor, parameters: Tensor, memory: Memory, rank: int, step: int
    ) -> tuple[Tensor, Memory]:
        return apply_chain(
            self.bench.task.gradient,
            gradient,
            parameters,
            memory,
            lambda place: generator(self.bench.seed, f"gradient.{place}", rank, step),
        )
