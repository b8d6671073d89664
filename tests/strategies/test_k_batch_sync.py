"""K-batch-sync: the first K gradients of a version, by closed form, by hand, and on slow links."""

import itertools
import math

import numpy as np
import pytest

from simbench import testing
from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.jitters.exponential import Exponential
from simbench.cluster.machines.fixed import Fixed
from simbench.cluster.stragglers.persistent import Persistent
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.star import Star
from simbench.scenario import Stop
from simbench.simulation import Simulation
from simbench.strategies.k_batch_sync import KBatchSync
from simbench.strategies.parameter_server import ParameterServer
from simbench.testing import MS, run, small_scenario

SECOND = 1000 * MS


def played(scenario):
    """Return the clock plane of a scenario, without training."""
    simulation = Simulation(scenario, "law", 0)
    while simulation.ended_by is None:
        simulation.advance()
    return simulation


@pytest.mark.parametrize(("batches", "nodes"), [(4, 8), (8, 8), (9, 4), (3, 1)])
def test_a_step_of_exponential_workers(batches, nodes):
    """K theta/N: without memory, gradients come at the rate N/theta, whoever computes them."""
    theta_s, steps = 2.0, 400
    simulation = played(
        small_scenario(
            KBatchSync(batches=batches),
            task=Task(model=Quadratic(dimension=1), data=Gaussian()),
            cluster=Cluster(
                nodes=nodes, machine=Fixed(step_time=round(theta_s * SECOND), jitter=Exponential())
            ),
            network=Instant(),
            stop=Stop(updates=steps),
            evaluate_every=10**6,
        )
    )
    taken_s = np.diff([0, *(row.time_ns for row in simulation.updates)]) / SECOND
    expected_s = batches * theta_s / nodes
    error_s = 4 * taken_s.std() / math.sqrt(steps)
    assert taken_s.mean() == pytest.approx(expected_s, abs=max(0.01 * expected_s, error_s))
    # The sum of K exponential times has a variance of K (theta/N)^2.
    assert taken_s.std() == pytest.approx(math.sqrt(batches) * theta_s / nodes, rel=0.2)


def by_hand(strategy, updates=5, slowdown=1.6, network=None, **task):
    """Return a scenario of 2 workers, of which the second takes 1.6 s where the first takes 1 s."""
    return small_scenario(
        strategy,
        task=Task(
            model=Quadratic(dimension=1, optimum=(3.0, -5.0)),
            data=Gaussian(),
            batch_size=1,
            dtype="float64",
            **task,
        ),
        cluster=Cluster(
            nodes=2,
            machine=Fixed(step_time=SECOND, jitter=Constant()),
            stragglers=(Persistent(nodes=(1,), slowdown=slowdown),),
        ),
        network=network or Instant(),
        stop=Stop(updates=updates),
        evaluate_every=1,
    )


def test_a_worker_may_bring_several_gradients_of_the_same_parameters():
    """1 s, 1.6 s, 2 s: two of the first worker, one of the second, which then begins anew."""
    outcome = run(by_hand(KBatchSync(batches=3)))
    assert [row.time_ns for row in outcome.updates] == [2 * k * SECOND for k in range(1, 6)]
    x = [1.0]
    for _ in range(5):
        x.append(x[-1] - 0.1 * (2 * (x[-1] - 3) + (x[-1] + 5)) / 3)
    expected = [((each - 3) ** 2 + (each + 5) ** 2) / 4 for each in x]
    assert [each.loss for each in outcome.evaluations] == pytest.approx(expected, rel=1e-12)
    assert [each.samples for each in outcome.evaluations] == [3 * k for k in range(6)]


def test_news_undo_what_a_worker_is_about():
    """From 1.6 s to 2 s the second worker is at its next batch, which nobody will use."""
    simulation = played(by_hand(KBatchSync(batches=3), updates=2))
    assert [(start, end) for rank, start, end in simulation.work if rank == 1] == [
        (0, 1600 * MS),
        (1600 * MS, 2 * SECOND),
        (2 * SECOND, 3600 * MS),
    ]


def test_with_a_gradient_of_each_it_is_the_parameter_server():
    strategies = KBatchSync(batches=4), ParameterServer(combine="gradients")
    outcomes = [
        run(
            small_scenario(
                strategy,
                cluster=Cluster(nodes=4, machine=Fixed(step_time=20 * MS, jitter=Constant())),
                network=Instant(),
                stop=Stop(updates=12),
            )
        )
        for strategy in strategies
    ]
    assert outcomes[0].evaluations[-1].loss == outcomes[1].evaluations[-1].loss
    shas = {outcome.summary["parameters_sha256"] for outcome in outcomes}
    assert len(shas) == 1
    assert outcomes[0].updates == outcomes[1].updates


@pytest.mark.parametrize("batches", [1, 3, 8])
def test_on_slow_links_nothing_piles_up(batches):
    """At most one vector is under way from each worker to the server, and one to each worker."""
    scenario = small_scenario(
        KBatchSync(batches=batches),
        network=Star(bandwidth=5 * 10**6, latency=2 * MS),
        stop=Stop(updates=60),
        evaluate_every=10**6,
    )
    simulation = played(scenario)
    assert simulation.ended_by == "updates"
    ways = {}
    for message in simulation.world.messages:
        arrived_ns = simulation.world.arrivals.get(message.number, math.inf)
        ways.setdefault((message.sender, message.receiver), []).append(
            (message.sent_ns, arrived_ns)
        )
    assert len(ways) == 8
    for way in ways.values():
        for (_, arrived_ns), (sent_ns, _) in itertools.pairwise(way):
            assert sent_ns >= arrived_ns
    assert simulation.world.num_unread <= 4, "what waits is what comes while the clock stops"


def test_a_gradient_waits_until_the_push_before_it_has_arrived():
    """One worker, K = 1, 1 s to compute and 3 s each way: what leaves when."""
    scenario = by_hand(KBatchSync(batches=1), updates=4).model_copy(
        update={
            "cluster": Cluster(nodes=1, machine=Fixed(step_time=SECOND, jitter=Constant())),
            "network": Star(bandwidth=64, latency=2 * SECOND),  # and 1 s for a float64
        }
    )
    simulation = played(scenario)
    pushes, models = (
        [each.sent_ns // SECOND for each in simulation.world.messages if each.tag == tag]
        for tag in ("push", "model")
    )
    # The 2nd gradient is done at 2 s, and the 1st push arrives at 4 s: only then the 2nd leaves,
    # for nothing, since its version has been stepped on. The news come at 7 s. What was done for
    # the new version at 8 s leaves at once, for the 2nd push has arrived at 7 s.
    assert pushes[:3] == [1, 4, 8]
    assert models[:2] == [4, 11]


def test_the_server_steps_by_its_own_optimizer():
    own = run(by_hand(KBatchSync(batches=3, optimizer=AdamW(learning_rate=0.3))))
    tasks = run(by_hand(KBatchSync(batches=3), optimizer=AdamW(learning_rate=0.3)))
    assert own.evaluations == tasks.evaluations
    assert own.evaluations != run(by_hand(KBatchSync(batches=3), optimizer=SGD())).evaluations


@pytest.mark.parametrize(
    "strategy", [KBatchSync(batches=3), KBatchSync(batches=9, server=0)], ids=str
)
def test_laws(strategy):
    testing.check_strategy(strategy)
