"""Several servers that share the parameters: closed forms of time, and the very run of one."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from simbench import testing
from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.fixed import Fixed
from simbench.execution.memo import Memo
from simbench.learning.aggregators.krum import Krum
from simbench.learning.aggregators.median import Median
from simbench.learning.aggregators.weighted_mean import WeightedMean
from simbench.learning.datasets.classification import Classification
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.logistic import Logistic
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.learning.transforms.clip_by_norm import ClipByNorm
from simbench.network.topologies.star import Star
from simbench.scenario import Stop
from simbench.simulation import Simulation
from simbench.strategies.parameter_server import ParameterServer
from simbench.testing import MS, run, small_scenario

SECOND = 1000 * MS
STEP_S, LATENCY_S, RATE_BPS = 0.02, 0.001, 10**8


def step_seconds(strategy, nodes, entries):
    """Return the time of each of 3 steps, less computing and latency, on equal links."""
    scenario = small_scenario(
        strategy,
        task=Task(model=Quadratic(dimension=entries), data=Gaussian()),
        cluster=Cluster(
            nodes=nodes, machine=Fixed(step_time=round(STEP_S * SECOND), jitter=Constant())
        ),
        network=Star(bandwidth=RATE_BPS, latency=round(LATENCY_S * SECOND)),
        stop=Stop(updates=3),
    )
    simulation = Simulation(scenario, "law", 0)
    while simulation.advance():
        pass
    # The last push of a step has arrived when it is published: a pull belongs to the next step.
    times_s = [row.time_ns / SECOND for row in simulation.updates]
    return [
        later - earlier - STEP_S - 2 * LATENCY_S for earlier, later in itertools.pairwise(times_s)
    ]


ENTRIES = 3_628_800  # which all numbers up to 10 divide


def seconds_per_vector(entries=ENTRIES):
    return 4 * entries * 8 / RATE_BPS


@pytest.mark.parametrize(("nodes", "servers"), [(1, 1), (4, 1), (4, 2), (6, 3), (3, 5), (2, 8)])
def test_servers_of_their_own_cost_the_fuller_link_each_way(nodes, servers):
    """max(S/B, N S/(k B)) to push and as much to pull; with one server N S/B."""
    expected = 2 * max(1, nodes / servers) * seconds_per_vector()
    for found in step_seconds(ParameterServer(servers=servers), nodes, ENTRIES):
        assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("nodes", [2, 3, 8])
@pytest.mark.parametrize("combine", ["parameters", "gradients"])
def test_a_shard_on_each_worker_costs_what_an_all_reduce_costs(nodes, combine):
    """2 (N-1)/N S/B: what stays on a machine crosses no link."""
    strategy = ParameterServer(servers=nodes, server="colocated", combine=combine)
    expected = 2 * (nodes - 1) / nodes * seconds_per_vector()
    for found in step_seconds(strategy, nodes, ENTRIES):
        assert found == pytest.approx(expected, rel=1e-6)


def test_fewer_shards_than_workers_stand_on_the_first_ones():
    few = {"stop": Stop(updates=2)}
    outcome = run(small_scenario(ParameterServer(servers=2, server="colocated"), **few))
    assert outcome.summary["servers"] == [0, 1]
    assert outcome.summary["machines"] == 4
    assert {each.receiver for each in outcome.messages if each.tag == "push"} == {0, 1}
    own = run(small_scenario(ParameterServer(servers=2), **few))
    assert (own.summary["servers"], own.summary["machines"]) == ([4, 5], 6)


SMALL = {
    "task": Task(
        model=Quadratic(dimension=37, noise=0.4, condition=3.0),
        data=Gaussian(),
        optimizer=SGD(learning_rate=0.05, momentum=0.5),
    ),
    "stop": Stop(updates=6),
    "evaluate_every": 2,
}


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"combine": "gradients"},
        {"combine": "gradients", "optimizer": AdamW(learning_rate=0.03, weight_decay=0.1)},
        {"combine": "gradients", "aggregator": Median()},
    ],
    ids=str,
)
def test_any_number_of_servers_is_the_run_of_one_and_trains_nothing_again(keys):
    memo = Memo(None)
    one = run(small_scenario(ParameterServer(**keys), **SMALL), memo=memo)
    for servers, server in ((2, "own_machine"), (5, "own_machine"), (3, "colocated")):
        strategy = ParameterServer(servers=servers, server=server, **keys)
        several = run(small_scenario(strategy, **SMALL), memo=memo)
        assert [e.loss for e in several.evaluations] == [e.loss for e in one.evaluations]
        assert several.summary["parameters_sha256"] == one.summary["parameters_sha256"]
        assert several.known["gradient"] == 6 * 4, "every gradient was known"
        assert several.summary["end_ns"] != one.summary["end_ns"]


def test_unequal_weights_are_those_of_one_server_as_well():
    """Of two vectors, where x + w y would be rounded otherwise in another place."""
    task = Task(model=Logistic(features=30), data=Classification(samples=101))
    memo = Memo(None)
    outcomes = [
        run(
            small_scenario(
                ParameterServer(servers=servers, aggregator=WeightedMean()),
                task=task,
                cluster=Cluster(nodes=2, machine=Fixed()),
                stop=Stop(updates=5),
            ),
            memo=memo,
        )
        for servers in (1, 2, 7)
    ]
    assert len({outcome.summary["parameters_sha256"] for outcome in outcomes}) == 1
    assert [outcome.known["gradient"] for outcome in outcomes] == [0, 10, 10]


@settings(max_examples=12)
@given(st.data())
def test_the_losses_of_one_server_on_any_network(data):
    combine = data.draw(st.sampled_from(["parameters", "gradients"]))
    one = data.draw(testing.small_scenarios(st.just(ParameterServer(combine=combine))))
    several = ParameterServer(combine=combine, servers=data.draw(st.integers(2, 5)))
    outcomes = [run(one), run(one.model_copy(update={"strategies": {"law": several}}))]
    losses = [[each.loss for each in outcome.evaluations] for outcome in outcomes]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("keys", "key", "says"),
    [
        (
            {"server": 1},
            "servers",
            "2 servers need server: own_machine or colocated; got server: 1",
        ),
        (
            {"backup_workers": 1},
            "backup_workers",
            "needs servers: 1, since each would drop other workers' pieces",
        ),
        (
            {"aggregator": Krum(faulty=0)},
            "aggregator",
            "krum looks at whole vectors, and needs servers: 1",
        ),
        (
            {"servers": 5, "server": "colocated"},
            "servers",
            "expected at most the 4 nodes of the cluster, which they are colocated with; got 5",
        ),
    ],
    ids=str,
)
def test_what_several_servers_cannot_do_is_refused(keys, key, says):
    with pytest.raises(ValidationError) as caught:
        small_scenario(ParameterServer(**{"servers": 2, **keys}))
    error = caught.value.errors()[0]
    assert error["loc"][-1] == key
    assert error["msg"] == says


@pytest.mark.parametrize(
    "strategy",
    [
        ParameterServer(servers=3, combine="gradients"),
        ParameterServer(servers=4, server="colocated"),
    ],
    ids=str,
)
def test_laws(strategy):
    testing.check_strategy(strategy)


def test_what_looks_at_whole_gradients_is_refused_where_servers_have_pieces():
    clipped = SGD(transforms=(ClipByNorm(norm=1.0),))
    with pytest.raises(ValidationError, match="need servers: 1"):
        ParameterServer(servers=2, combine="gradients", optimizer=clipped)
    task = Task(model=Quadratic(), data=Gaussian(), optimizer=clipped)
    with pytest.raises(ValidationError, match="of which each server has a piece"):
        small_scenario(ParameterServer(servers=2, combine="gradients"), task=task)
    assert small_scenario(ParameterServer(servers=2), task=task)
