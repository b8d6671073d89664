"""Actors of Ray find room on the cluster, or say that there is none."""

import pytest

from simbench.cluster.cluster import Cluster
from simbench.cluster.machines.fixed import Fixed
from simbench.execution.memo import Memo
from simbench.learning.datasets.text import Text
from simbench.learning.models.gpt import GPT
from simbench.learning.task import Task
from simbench.parallel.parallel import Parallel
from simbench.parallel.pipelines.one_forward_one_backward import OneForwardOneBackward
from simbench.ray_cluster.executor import RayExecutor
from simbench.scenario import Stop
from simbench.simulation import simulate
from simbench.strategies.adacomm import AdaComm
from simbench.strategies.averaging import Averaging
from simbench.testing import run, small_scenario

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


def test_actors_that_do_not_fit_together_give_their_cores_back(monkeypatch):
    def refuse(*_, **__):
        raise ValueError("the actors' machines differ")

    monkeypatch.setattr(RayExecutor, "_describe", refuse)
    with pytest.raises(ValueError, match="machines differ"):
        RayExecutor(2, 1)
    monkeypatch.undo()

    RayExecutor(2, 1).close()


def test_stages_of_a_pipeline_on_actors_of_their_own_give_the_same_bits():
    """Activations and their gradients go from actor to actor."""
    scenario = small_scenario(
        Averaging(),
        task=Task(
            model=GPT(layers=2, width=16, heads=2, context=12),
            data=Text(validation_samples=20),
            batch_size=4,
        ),
        cluster=Cluster(nodes=1, machine=Fixed()),
        parallel=Parallel(pipeline=OneForwardOneBackward(stages=2, microbatches=2)),
        evaluate_every=1,
        stop=Stop(updates=3),
    )
    assert scenario.num_devices == 2
    executor = RayExecutor(scenario.num_devices, 1)
    try:
        on_ray = simulate(scenario, "law", 0, executor, Memo(None))
        ran = [each[0]["part_backward"] for each in executor._call_all("counts")]
    finally:
        executor.close()
    assert min(ran) > 0
    assert on_ray.evaluations == run(scenario).evaluations


def test_a_strategy_that_looks_at_numbers_sees_the_same_ones():
    scenario = small_scenario(AdaComm(period=6, interval=6), stop=Stop(updates=30))
    executor = RayExecutor(4, 2)
    try:
        on_ray = simulate(scenario, "law", 0, executor, Memo(None))
    finally:
        executor.close()
    here = run(scenario)
    assert on_ray.evaluations == here.evaluations
    assert on_ray.messages == here.messages
    assert on_ray.summary == here.summary
