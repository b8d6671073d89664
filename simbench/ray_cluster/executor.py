"""The executor on Ray actors, started on a cluster or on this machine."""

import math
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import ray
from ray.actor import ActorHandle

from simbench.execution.actors import ActorExecutor
from simbench.ray_cluster.actor import NodeActor
from simbench.ray_cluster.joining import join

_START_S = 120.0
"""Actors that haven't started by then find no room; Ray itself would wait for ever."""


class RayExecutor(ActorExecutor):
    """Actors of Ray, each of which stands in for some nodes."""

    def __init__(
        self,
        num_nodes: int,
        nodes_per_actor: int | None = None,
        address: str | None = None,
        *,
        deterministic: bool = True,
    ) -> None:
        """Join the cluster at ``address``, or start one on this machine, and start the actors.

        They give the same bits each time, on GPUs unless ``deterministic`` is given up.

        Raises:
            ConnectionError: nothing answers at ``address``, or the cluster has no room.
            ValueError: the actors' machines or libraries differ, so bits would too.
        """
        self._owns_ray = not ray.is_initialized()
        if self._owns_ray:
            join(address)
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        num_gpus, num_cpus = (int(resources.get(kind, 0)) for kind in ("GPU", "CPU"))
        most = num_gpus or num_cpus or 1
        nodes_per_actor = nodes_per_actor or math.ceil(num_nodes / min(num_nodes, most))
        num_actors = math.ceil(num_nodes / nodes_per_actor)
        share = share_of_an_actor(num_actors, num_cpus, num_gpus)
        remote: Any = ray.remote
        actor = remote(concurrency_groups={"news": 1})(NodeActor).options(**share)
        actors = [RayActor(actor.remote()) for _ in range(num_actors)]
        try:
            described = self._describe(actors, deterministic=deterministic)
        except BaseException:
            # What they hold of the cluster others may want.
            for each in actors:
                each.kill()
            if self._owns_ray:
                ray.shutdown()
            raise
        super().__init__(actors, nodes_per_actor, min(most, num_actors), *described[0])

    def _describe(
        self, actors: list["RayActor"], *, deterministic: bool
    ) -> list[tuple[str, dict[str, str]]]:
        """Wait until all actors have started; return their devices and fingerprints, all alike."""
        answers: Any = [each.actor.describe.remote(deterministic=deterministic) for each in actors]
        _, missing = ray.wait(answers, num_returns=len(answers), timeout=_START_S)
        if missing:
            raise ConnectionError(
                f"{len(missing)} of {len(answers)} actors haven't started within {_START_S:.0f} s: "
                "is the cluster full?"
            )
        described: list[tuple[str, dict[str, str]]] = ray.get(answers)
        if any(each != described[0] for each in described):
            raise ValueError(f"the actors' machines differ, so their bits would: {described}")
        return described

    @property
    def description(self) -> str:
        """One line for people."""
        plural = "" if len(self._actors) == 1 else "s"
        return (
            f"{len(self._actors)} Ray actor{plural} on {self.device}, "
            f"{self._nodes_per_actor} nodes each"
        )

    def close(self) -> None:
        """End the actors, and Ray if it was started here."""
        super().close()
        if self._owns_ray:
            ray.shutdown()


def share_of_an_actor(num_actors: int, num_cpus: int, num_gpus: int) -> dict[str, float]:
    """Return what Ray is to reserve for each of ``num_actors``, so that all find room.

    More actors than cores share the cores: what Ray reserves for each is not the real limit. Each
    GPU is shared by equally many actors, since none can have parts of two.

    >>> share_of_an_actor(3, num_cpus=2, num_gpus=2)
    {'num_cpus': 0.6666666666666666, 'num_gpus': 0.5}
    """
    share: dict[str, float] = {"num_cpus": min(1, num_cpus / num_actors)}
    if num_gpus:
        share["num_gpus"] = 1 / math.ceil(num_actors / num_gpus)
    return share


class RayActor:
    """How the driver reaches an actor of Ray."""

    def __init__(self, actor: "ActorHandle[NodeActor]") -> None:
        self.actor = actor

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        """Have the actor call one of its methods."""
        answer: Future[Any] = getattr(self.actor, method).remote(*arguments).future()
        return answer

    def news(self) -> Iterator[bytes]:
        """Yield what the actor has to tell.

        Raises:
            RayActorError: it has ended.
        """
        told: Any = self.actor.stream_news.remote()
        yield from map(ray.get, told)

    def kill(self) -> None:
        """End the actor at once."""
        ray.kill(self.actor)
