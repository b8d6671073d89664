"""Gossip by compressed differences: the mean stays, replicas come together, and what it costs."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from simbench import testing
from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.jitters.lognormal import LogNormal
from simbench.cluster.machines.fixed import Fixed
from simbench.learning.compression.fp4 import FP4
from simbench.learning.compression.fp16 import FP16
from simbench.learning.compression.int8 import Int8
from simbench.learning.compression.powersgd import PowerSGD
from simbench.learning.compression.random_k import RandomK
from simbench.learning.compression.signsgd import SignSGD
from simbench.learning.compression.threshold import Threshold
from simbench.learning.compression.top_k import TopK
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.datasets.text import Text
from simbench.learning.models.gpt import GPT
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.schedules.linear import Linear
from simbench.learning.task import Task
from simbench.network.topologies.star import Star
from simbench.peer_graphs.complete import CompleteGraph
from simbench.peer_graphs.edges import EdgesGraph
from simbench.peer_graphs.one_peer_exponential import OnePeerExponentialGraph
from simbench.peer_graphs.ring import RingGraph
from simbench.policies.go_on import GoOn
from simbench.scenario import Stop
from simbench.strategies.ad_psgd import ADPSGD
from simbench.strategies.d_psgd import DPSGD
from simbench.strategies.matching_gossip import MatchingGossip
from simbench.strategies.push_sum import PushSum
from simbench.testing import MS, run, small_scenario

ONE_WAY = EdgesGraph(edges=((0, 1), (0, 2), (1, 2), (2, 3), (3, 0)), directed=True)

GOSSIP = [
    DPSGD(),
    DPSGD(order="adapt_then_combine", graph=OnePeerExponentialGraph()),
    PushSum(),
    PushSum(graph=ONE_WAY),
    MatchingGossip(),
    ADPSGD(),
]


def bowls(strategy, nodes=4, dimension=20, steps=40, schedule=(), **changes):
    """Return noisy bowls of one curvature, with optima far apart: 0, 3, 6 and so on."""
    task = Task(
        model=Quadratic(
            dimension=dimension, optimum=tuple(3.0 * i for i in range(nodes)), noise=2.0
        ),
        data=Gaussian(),
        optimizer=SGD(learning_rate=0.1, schedule=schedule),
        dtype="float64",
    )
    settings = {
        "task": task,
        "cluster": Cluster(nodes=nodes, machine=Fixed(step_time=10 * MS, jitter=Constant())),
        "stop": Stop(updates=steps),
        "evaluate_every": 1,
    }
    return small_scenario(strategy, **{**settings, **changes})


def more(*case):
    return pytest.param(*case, marks=pytest.mark.nightly)


def compressed(strategy, compression, gamma=1.0):
    return strategy.model_copy(update={"compression": compression, "consensus_step_size": gamma})


def apart(replicas):
    """Return sum_i |x_i - mean|^2 after each step, of replicas (steps, nodes, dimension)."""
    return ((replicas - replicas.mean(1, keepdims=True)) ** 2).sum((1, 2))


@pytest.mark.parametrize(
    "strategy",
    [
        DPSGD(compression=TopK(share=0.2), consensus_step_size=0.4),
        DPSGD(compression=Threshold(threshold=0.001), consensus_step_size=1.0),
        PushSum(compression=SignSGD(), consensus_step_size=0.5),
        more(MatchingGossip(compression=RandomK(share=0.3), consensus_step_size=0.5)),
        more(ADPSGD(compression=Int8(), consensus_step_size=1.0)),
        ADPSGD(compression=Threshold(threshold=0.001), consensus_step_size=1.0),
    ],
    ids=str,
)
def test_laws(strategy):
    testing.check_strategy(strategy)


# -- identities


@pytest.mark.parametrize("strategy", [each for each in GOSSIP if each.counts == "steps"], ids=str)
@pytest.mark.parametrize("compression", [TopK(share=1), RandomK(share=1)], ids=str)
def test_sending_everything_changes_no_replica(strategy, compression, replicas):
    plain = replicas(bowls(strategy, steps=12))
    np.testing.assert_allclose(
        replicas(bowls(compressed(strategy, compression), steps=12)), plain, rtol=1e-12, atol=1e-12
    )
    assert apart(plain)[-1] > 0.01


def test_sending_everything_changes_no_loss_where_pairs_come_together_at_any_time():
    """Bowls of unlike curvature, whose mean loss tells the replicas."""
    changes = {
        "task": Task(
            model=Quadratic(dimension=6, curvature=(1.0, 3.0), optimum=(0.0, 4.0), noise=1.0),
            data=Gaussian(),
            optimizer=SGD(learning_rate=0.1),
            dtype="float64",
        ),
        "cluster": Cluster(nodes=5, machine=Fixed(step_time=10 * MS, jitter=LogNormal())),
        "steps": 60,
    }
    losses = [
        [each.loss for each in run(bowls(strategy, **changes)).evaluations]
        for strategy in (ADPSGD(), compressed(ADPSGD(), TopK(share=1)))
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-12)
    assert losses[0] != losses[1]  # other sums: it isn't the uncompressed run


def test_powersgd_of_full_rank_changes_nothing(replicas):
    task = Task(
        model=GPT(layers=1, width=16, heads=2, context=8),
        data=Text(validation_samples=16),
        batch_size=2,
        dtype="float64",
    )
    # In the other order the first difference is 0, and no way to begin the next from.
    after_steps = DPSGD(order="adapt_then_combine")
    plain, full = (
        replicas(bowls(each, task=task, steps=4, nodes=3))
        for each in (after_steps, compressed(after_steps, PowerSGD(rank=999)))
    )
    np.testing.assert_allclose(full, plain, atol=1e-12)


@pytest.mark.parametrize("gamma", [1.0, 0.3])
def test_a_step_size_makes_a_lazier_graph(replicas, gamma):
    """W becomes (1 - gamma) I + gamma W: the ring's slowest mode, in closed form."""
    nodes = 5
    mode = np.cos(2 * math.pi * np.arange(nodes) / nodes)
    task = Task(
        model=Quadratic(dimension=1, optimum=tuple(mode)),
        data=Gaussian(),
        optimizer=SGD(learning_rate=0.1),
        dtype="float64",
    )
    strategy = compressed(DPSGD(order="adapt_then_combine"), TopK(share=1), gamma)
    found = replicas(bowls(strategy, nodes=nodes, task=task, steps=20))[:, :, 0]
    mixing = 1 - gamma * (1 - (1 / 3 + 2 / 3 * math.cos(2 * math.pi / nodes)))
    size = 0.0
    for step in range(20):
        size = mixing * ((1 - 0.1) * size + 0.1)
        np.testing.assert_allclose(
            found[step] - found[step].mean(), size * mode, rtol=1e-9, atol=1e-12
        )


# -- what one gives another gets


@pytest.mark.parametrize("strategy", GOSSIP, ids=str)
@pytest.mark.parametrize(
    ("compression", "gamma"),
    [
        more(FP16(), 1.0),
        (FP4(), 1.0),
        (TopK(share=0.1), 0.2),
        more(RandomK(share=0.3), 0.5),
        more(SignSGD(), 0.5),
    ],
    ids=str,
)
def test_the_mean_moves_by_the_mean_step_whatever_is_left_out(strategy, compression, gamma):
    """Where curvatures are equal the mean is gradient descent's, so losses are the same."""
    if isinstance(strategy, PushSum) and strategy.graph == ONE_WAY:
        pytest.skip("gradients are taken at z, whose mean is another on this graph")
    plain = run(bowls(strategy))
    lossy = run(bowls(compressed(strategy, compression, gamma)))

    assert [each.loss for each in lossy.evaluations] == pytest.approx(
        [each.loss for each in plain.evaluations], rel=1e-9
    )
    assert lossy.summary["payload_bytes"] < plain.summary["payload_bytes"]


# -- consensus

ONE_STEP = (Linear(steps=1, end=0.0),)
"""All step once, away from each other, and only gossip from then on."""


@pytest.mark.parametrize("nodes", [4, 6])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_replicas_come_together_at_the_proven_rate(replicas, nodes, share):
    """Theorem 2: E_t <= (1 - rho^2 delta / 82)^t E_0, E = sum |x_i - mean|^2 + |x_i - copy_i|^2.

    With the step size that it names, eigenvalues of the ring of 1/3's, and delta = k/d of top-k.
    """
    eigenvalues = 1 / 3 + 2 / 3 * np.cos(2 * math.pi * np.arange(nodes) / nodes)
    rho, beta = 1 - np.sort(np.abs(eigenvalues))[-2], (1 - eigenvalues).max()
    gamma = rho**2 * share / (16 * rho + rho**2 + 4 * beta**2 + 2 * rho * beta**2 - 8 * rho * share)
    strategy = compressed(DPSGD(order="adapt_then_combine"), TopK(share=share), gamma)
    found = replicas(bowls(strategy, nodes=nodes, steps=60, schedule=ONE_STEP))

    # What all began with are the copies before the first exchange.
    plain = replicas(bowls(DPSGD(), nodes=nodes, steps=1))[0]
    at_first = ((plain - plain.mean(0)) ** 2).sum() + ((plain - 1.0) ** 2).sum()
    bound = (1 - rho**2 * share / 82) ** np.arange(1, 61) * at_first
    assert (apart(found) <= bound).all()


@pytest.mark.parametrize(
    ("strategy", "compression", "gamma"),
    [
        (DPSGD(), TopK(share=0.1), 0.2),
        more(DPSGD(), SignSGD(), 0.4),
        more(DPSGD(graph=OnePeerExponentialGraph()), TopK(share=0.3), 0.4),
        more(PushSum(), RandomK(share=0.3), 0.2),
        (PushSum(graph=ONE_WAY), TopK(share=0.3), 0.4),
        (MatchingGossip(), TopK(share=0.3), 0.4),
        more(DPSGD(), FP4(), 1.0),
    ],
    ids=str,
)
def test_replicas_become_one_though_little_is_sent(replicas, strategy, compression, gamma):
    strategy = compressed(strategy, compression, gamma)
    scenario = bowls(strategy, steps=300, schedule=ONE_STEP)
    found = replicas(scenario)
    if isinstance(strategy, PushSum) and strategy.graph == ONE_WAY:
        # They come to multiples of one vector: x_i = w_i z.
        found = found / found[:, :, :1]
    assert apart(found)[-1] < 1e-6 * apart(found)[0]
    assert apart(found)[0] > 1e-3


def test_too_large_a_step_size_drives_replicas_apart(replicas):
    """What is left out comes late, and late news at full weight overshoot."""
    ring = DPSGD(graph=RingGraph())
    settings = {"nodes": 8, "steps": 150, "schedule": ONE_STEP, "dimension": 100}
    wild = apart(replicas(bowls(compressed(ring, TopK(share=0.01), 1.0), **settings)))
    tame = apart(replicas(bowls(compressed(ring, TopK(share=0.01), 0.02), **settings)))
    assert wild[-1] > wild[0] > tame[-1]


# -- what it costs


def test_a_neighbour_is_sent_the_payload():
    """2500 float64, a quarter of them with their places: 7500 bytes at 1000 a millisecond."""
    strategy = DPSGD(
        order="adapt_then_combine",
        graph=CompleteGraph(),
        compression=TopK(share=0.25),
        consensus_step_size=0.5,
    )
    outcome = run(
        bowls(
            strategy,
            dimension=2500,
            steps=3,
            network=Star(bandwidth=8 * 10**6, latency=2 * MS),
        )
    )
    assert {each.num_bytes for each in outcome.messages} == {7500}
    # Three leave through one link, and three come in through one.
    step = 10 + 2 + 3 * 7.5
    assert [each.time_ns / MS for each in outcome.updates] == pytest.approx(
        [step, 2 * step, 3 * step], rel=1e-6
    )


def test_both_of_an_asynchronous_pair_send_payloads():
    strategy = ADPSGD(compression=TopK(share=0.25), consensus_step_size=0.5)
    outcome = run(bowls(strategy, dimension=2500, steps=20))

    assert {(each.tag, each.num_bytes) for each in outcome.messages} == {
        ("average", 7500),
        ("mean", 7500),
    }


# -- refusals


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"compression": TopK()}, "consensus_step_size: needed with a compression"),
        ({"consensus_step_size": 0.5}, "consensus_step_size: is for a compression"),
        (
            {"compression": RandomK(error_feedback=False), "consensus_step_size": 0.1},
            "compression.random_k.error_feedback: expected true",
        ),
        (
            {
                "compression": SignSGD(variant="majority_vote", error_feedback=False),
                "consensus_step_size": 0.1,
            },
            "forgets how large things are",
        ),
        (
            {"compression": TopK(), "consensus_step_size": 0.1, "on_failure": GoOn()},
            "with compression, one can only wait",
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [DPSGD, PushSum, MatchingGossip, ADPSGD])
def test_what_cannot_be_is_refused_in_words(kind, settings, expected):
    if kind is ADPSGD and "on_failure" in settings:
        expected = "can only wait"
    with pytest.raises(ValidationError) as refused:
        kind(**settings)
    told = "; ".join(
        ".".join(map(str, each["loc"])) + ": " + each["msg"] for each in refused.value.errors()
    )
    assert expected in told.replace("Value error, ", "")
