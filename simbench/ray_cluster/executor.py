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
        num_gpus = int(resources.get("GPU", 0))
        most = num_gpus or int(resources.get("CPU", 1))
        nodes_per_actor = nodes_per_actor or math.ceil(num_nodes / min(num_nodes, most))
        num_actors = math.ceil(num_nodes / nodes_per_actor)
        # More actors than cores share the cores: what Ray reserves for each is not the real limit.
        share = (
            {"num_gpus": min(1, num_gpus / num_actors)}
            if num_gpus
            else {"num_cpus": min(1, most / num_actors)}
        )
        remote: Any = ray.remote
        actor = remote(concurrency_groups={"news": 1})(NodeActor).options(**share)
        actors = [RayActor(actor.remote()) for _ in range(num_actors)]
        described = self._describe(actors, deterministic=deterministic)
        if any(each != described[0] for each in described):
            raise ValueError(f"the actors' machines differ, so their bits would: {described}")
        super().__init__(actors, nodes_per_actor, min(most, num_actors), *described[0])

    def _describe(
        self, actors: list["RayActor"], *, deterministic: bool
    ) -> list[tuple[str, dict[str, str]]]:
        """Wait until all actors have started; return their devices and fingerprints."""
        answers: Any = [each.actor.describe.remote(deterministic=deterministic) for each in actors]
        _, missing = ray.wait(answers, num_returns=len(answers), timeout=_START_S)
        if missing:
            for actor in actors:
                actor.kill()
            if self._owns_ray:
                ray.shutdown()
            raise ConnectionError(
                f"{len(missing)} of {len(answers)} actors haven't started within {_START_S:.0f} s: "
                "is the cluster full?"
            )
        return list(ray.get(answers))

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
