"""What a strategy is: what each worker does, and what the server does where there is one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from simbench.exchange import Exchange
from simbench.learning.aggregator import Aggregator
from simbench.learning.compressor import Compression
from simbench.learning.optimizer import Optimizer
from simbench.node import Node, Steps
from simbench.policies.wait import Wait
from simbench.policy import Policy
from simbench.public_copies import PublicCopies
from simbench.spec import OneOf, Spec, misfit

ServerPlace = Literal["own_machine"] | NonNegativeInt
"""Where the server runs: on one machine more, with a link like the others, or on a node's."""

ShardPlace = Literal["own_machine", "colocated"] | NonNegativeInt
"""Where servers run that share the vector: ``colocated`` is one on each of the first workers."""

OptimizerChoice = Annotated[Optimizer, OneOf("simbench.learning.optimizers")]
"""An optimiser of the strategy's own, beside the task's."""

CompressionChoice = Annotated[Compression, OneOf("simbench.learning.compression")]
"""How vectors are compressed on their way."""

AggregatorChoice = Annotated[Aggregator, OneOf("simbench.learning.aggregators")]
"""What becomes of what workers push."""


class Strategy(Spec, ABC):
    """A choice of strategy; its fields are the YAML keys.

    Its methods run for ever: the scenario's stop rule ends them.
    """

    kind: str
    learning_rate: PositiveFloat | None = None
    """Replaces the task's own: each strategy deserves its best."""
    on_failure: Annotated[Policy, OneOf("simbench.policies")] = Wait()
    """What to do when a node fails, and when it is back: wait, go on without it, or restart."""

    counts: ClassVar[Literal["steps", "updates"]]
    """What ``publish`` counts: local steps that every node has done, or updates of a server."""
    resumes: ClassVar[bool] = False
    """Whether it tells with ``keep`` what it needs to go on, so that nodes can leave and join."""

    @model_validator(mode="after")
    def _can_do_so(self) -> "Strategy":
        if self.on_failure.goes_on and not self.resumes:
            raise misfit(
                ("on_failure",),
                f"{self.kind} can only wait: it doesn't tell what a node would need to go on",
            )
        return self

    @model_serializer(mode="wrap")
    def _write(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the policy that all had before there were others: records stay."""
        written: dict[str, Any] = write(self)
        if self.on_failure == Wait():
            written.pop("on_failure", None)
        return written

    @property
    @abstractmethod
    def server_place(self) -> ServerPlace | tuple[ServerPlace, ...] | None:
        """Where the server runs, or each of several; None if there is no server."""

    @property
    def server_places(self) -> tuple[ServerPlace, ...]:
        """Where all of its servers run, one place each."""
        place = self.server_place
        if place is None:
            return ()
        return place if isinstance(place, tuple) else (place,)

    @property
    def steps_on_pieces(self) -> bool:
        """Whether the task's optimiser is to step on pieces of a vector, at several servers."""
        return False

    @property
    def is_order_dependent(self) -> bool:
        """Whether what it computes depends on who comes first, and so on network and machines.

        With a policy that goes on without nodes, it depends on when they fail.
        """
        return self.counts == "updates" or self.on_failure.goes_on

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

    def donors(self, newcomer: int, members: Sequence[int], num_workers: int) -> Sequence[int]:
        """Return which of ``members`` may hand what they ``keep`` to a worker that joins.

        The one that ends a round next does; by default whoever it is.
        """
        return members

    @abstractmethod
    def work(self, node: Node) -> Steps:
        """Be a worker."""

    def serve(self, node: Node) -> Steps:
        """Be the server, or one of several. Strategies without one leave this out."""
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

    def exchange(self, node: Node, memory: tuple[Any, ...] = ()) -> Exchange:
        """Return how ``node`` gives to the others and gets from them, from ``memory`` on."""
        return Exchange(node, self.compression, memory)


class GossipStrategy(CompressingStrategy, ABC):
    """A strategy of peers that each mix their parameters with those of neighbours."""

    also_called: ClassVar[tuple[str, ...]] = ("gossip", "decentralized", "decentralised")

    consensus_step_size: float | None = Field(default=None, gt=0, le=1)
    """How far compressed parameters go towards the neighbours'; needed with a compression.

    1 for one that leaves little out, such as fp16 or int8; for others about the share of a vector
    that gets through.
    """

    @model_validator(mode="after")
    def _has_step_size(self) -> "GossipStrategy":
        key = ("consensus_step_size",)
        if self.compression and self.consensus_step_size is None:
            raise misfit(
                key,
                "needed with a compression: 1 where it leaves little out, as fp16 and int8 do, "
                "else about the share of a vector that gets through",
            )
        if self.consensus_step_size is not None and not self.compression:
            raise misfit(key, "is for a compression, and there is none")
        return self

    @model_validator(mode="after")
    def _copies_settle(self) -> "GossipStrategy":
        if self.compression and self.compression.exaggerates:
            raise misfit(
                ("compression", self.compression.kind, "error_feedback"),
                "expected true: between neighbours what isn't sent is always kept, and entries "
                "that are scaled up for those that aren't would overshoot",
            )
        return self

    @model_validator(mode="after")
    def _copies_are_of_neighbours(self) -> "GossipStrategy":
        if self.compression and self.on_failure.goes_on:
            raise misfit(
                ("on_failure",),
                "with compression, one can only wait: who joins has no copies of its neighbours' "
                "parameters",
            )
        return self

    @property
    def server_place(self) -> None:
        """There is no server."""
        return None

    def copies(self, node: Node) -> PublicCopies:
        """Return what ``node`` compresses by what it sends to its neighbours."""
        return PublicCopies(node, self.compression, self.consensus_step_size or 1.0)


def shard_places(server: ShardPlace, num_servers: int) -> tuple[ServerPlace, ...]:
    """Return the places of ``num_servers`` servers that ``server`` says."""
    if server == "colocated":
        return tuple(range(num_servers))
    return (server,) * num_servers


def check_shards(
    server: ShardPlace, num_servers: int, num_workers: int, on_failure: Policy
) -> None:
    """Refuse several servers on one machine, and more than there are workers to hold them.

    Raises:
        ValidationError: for the key ``servers``, as ``spec.misfit`` makes it, or for ``on_failure``
            where there is a piece on every worker's machine, so that nobody can go on without one.
    """
    if isinstance(server, int) and num_servers > 1:
        raise misfit(
            ("servers",),
            f"{num_servers} servers need server: own_machine or colocated; got server: {server}",
        )
    if server == "colocated" and num_servers > num_workers:
        raise misfit(
            ("servers",),
            f"expected at most the {num_workers} nodes of the cluster, which they are colocated "
            f"with; got {num_servers}",
        )
    everywhere = server == "colocated" and num_servers == num_workers
    if everywhere and on_failure.goes_on and not on_failure.rolls_back:
        raise misfit(
            ("on_failure",),
            f"each of the {num_workers} nodes holds a piece of the parameters that no other has, "
            "so there is none that the others could go on without; one can wait or restart, or "
            "have fewer servers",
        )
