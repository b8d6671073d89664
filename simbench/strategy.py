"""What a strategy is: what each worker does, and what the server does where there is one."""

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveFloat, model_validator

from simbench.exchange import Exchange
from simbench.learning.compressor import Compression
from simbench.learning.optimizer import Optimizer
from simbench.node import Node, Steps
from simbench.spec import OneOf, Spec, misfit

ServerPlace = Literal["own_machine"] | NonNegativeInt
"""Where the server runs: on one machine more, with a link like the others, or on a node's."""

OptimizerChoice = Annotated[Optimizer, OneOf("simbench.learning.optimizers")]
"""An optimiser of the strategy's own, beside the task's."""

CompressionChoice = Annotated[Compression, OneOf("simbench.learning.compression")]
"""How vectors are compressed on their way."""


class Strategy(Spec, ABC):
    """A choice of strategy; its fields are the YAML keys.

    Its methods run for ever: the scenario's stop rule ends them.
    """

    kind: str
    learning_rate: PositiveFloat | None = None
    """Replaces the task's own: each strategy deserves its best."""

    counts: ClassVar[Literal["steps", "updates"]]
    """What ``publish`` counts: local steps that every node has done, or updates of a server."""

    @property
    @abstractmethod
    def server_place(self) -> ServerPlace | None:
        """Where the server runs; None if there is no server."""

    @property
    def is_order_dependent(self) -> bool:
        """Whether what it computes depends on who comes first, and so on network and machines."""
        return self.counts == "updates"

    def check(self, num_workers: int) -> None:
        """Refuse what can't be done with so many workers.

        Raises:
            ValidationError: as ``spec.misfit`` makes it, for a key of this strategy.
        """

    def batches_per_count(self, num_workers: int) -> int:
        """Return how many workers' batches are behind one count of ``publish``.

        Where an update brings another number, ``publish`` says how many.
        """
        return num_workers if self.counts == "steps" else 1

    @abstractmethod
    def work(self, node: Node) -> Steps:
        """Be a worker."""

    def serve(self, node: Node) -> Steps:
        """Be the server. Strategies without one leave this out."""
        yield from ()


class CompressingStrategy(Strategy, ABC):
    """A strategy whose exchange of gradients or parameters may be compressed."""

    compression: CompressionChoice | None = None
    """How what a node gives to the others is compressed; by default it isn't."""

    @property
    def exchanges_gradients(self) -> bool:
        """Whether gradients are given away, and not changes of parameters."""
        return False

    @model_validator(mode="after")
    def _keeps_scale(self) -> "CompressingStrategy":
        compression = self.compression
        if compression and not compression.keeps_scale and not self.exchanges_gradients:
            raise misfit(
                ("compression",),
                f"{compression.kind} as it is set forgets how large things are, which does for "
                "gradients alone; here the change of parameters is sent",
            )
        return self

    def exchange(self, node: Node) -> Exchange:
        """Return how ``node`` gives to the others and gets from them."""
        return Exchange(node, self.compression)
