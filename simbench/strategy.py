"""What a strategy is: what each worker does, and what the server does where there is one."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from pydantic import NonNegativeInt, PositiveFloat

from simbench.node import Node, Steps
from simbench.spec import Spec

ServerPlace = Literal["own_machine"] | NonNegativeInt
"""Where the server runs: on one machine more, with a link like the others, or on a node's."""


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

    def check(self, num_workers: int) -> None:
        """Refuse what doesn't fit so many workers; by default nothing.

        Raises:
            ValidationError: it tells the key; made by ``spec.misfit``.
        """
        return

    @abstractmethod
    def work(self, node: Node) -> Steps:
        """Be a worker."""

    def serve(self, node: Node) -> Steps:
        """Be the server. Strategies without one leave this out."""
        yield from ()
