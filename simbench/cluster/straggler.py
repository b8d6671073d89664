"""What a straggler is: nodes whose steps take longer, always or at times."""

from abc import ABC, abstractmethod

from pydantic import Field, NonNegativeInt

from simbench.spec import Spec


class Straggler(Spec, ABC):
    """A choice of when; its fields are the YAML keys."""

    kind: str
    nodes: tuple[NonNegativeInt, ...] | None = Field(default=None, min_length=1)
    """Whom it concerns: their ranks, counted from 0; by default every worker."""
    slowdown: float = Field(default=2.0, gt=0)
    """Factor on the time of a slow step."""

    @abstractmethod
    def is_slow(self, seed: int, purpose: str, rank: int, step: int, num_nodes: int) -> bool:
        """Return whether gradient number ``step`` of node ``rank``, one of ``nodes``, is slow.

        It depends on nothing but the arguments.

        Args:
            seed: of all that is drawn.
            purpose: a name for its draws that no other straggler of the cluster has.
            rank: the node.
            step: counted from 0, by each node for itself.
            num_nodes: of workers, which have the ranks below it.
        """

    def factor(self, seed: int, purpose: str, rank: int, step: int, num_nodes: int) -> float:
        """Return ``slowdown`` for a slow step and 1 for any other; arguments as in ``is_slow``."""
        concerned = self.nodes is None or rank in self.nodes
        slow = concerned and self.is_slow(seed, purpose, rank, step, num_nodes)
        return self.slowdown if slow else 1.0
