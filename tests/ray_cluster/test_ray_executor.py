"""Actors of Ray find room on the cluster, or say that there is none."""

import pytest

from simbench.ray_cluster.executor import RayExecutor

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


@pytest.mark.parametrize(("nodes", "nodes_per_actor", "expected"), [(5, None, 2), (7, 3, 3)])
def test_every_actor_finds_room_on_the_cores(nodes, nodes_per_actor, expected):
    executor = RayExecutor(nodes, nodes_per_actor)
    try:
        assert len(executor._actors) == expected
        assert executor.width == min(2, expected)
        assert executor.device == "cpu"
    finally:
        executor.close()


def test_a_full_cluster_is_an_error_and_not_a_wait(monkeypatch):
    first = RayExecutor(2, 1)
    monkeypatch.setattr("simbench.ray_cluster.executor._START_S", 3.0)
    try:
        with pytest.raises(
            ConnectionError, match=r"^2 of 2 actors .* within 3 s: is the cluster full"
        ):
            RayExecutor(2, 1)
    finally:
        first.close()
