"""The actor on Ray: it may have a GPU, and Ray brings its news to the driver."""

from collections.abc import Iterator

import ray

from simbench.execution.actor import Actor
from simbench.execution.device import prepare


class NodeActor(Actor):
    """Stands in for some nodes; an actor of Ray once ``ray.remote`` is applied to it."""

    def __init__(self) -> None:
        here: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        super().__init__(here, "cuda" if ray.get_gpu_ids() else "cpu")

    def describe(self, *, deterministic: bool) -> tuple[str, dict[str, str]]:
        """Return the device that this actor computes on, and what its bits depend on."""
        return self.device, prepare(self.device, deterministic=deterministic)

    @ray.method(concurrency_group="news", num_returns="streaming")
    def stream_news(self) -> Iterator[bytes]:
        """Yield what ``news`` does."""
        yield from self.news()
