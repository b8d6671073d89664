"""Robust aggregation without a server: the same as with one, for the time of an all-gather."""

import pytest
from pydantic import ValidationError

from simbench import testing
from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.fixed import Fixed
from simbench.learning.aggregators.krum import Krum
from simbench.learning.aggregators.mean import Mean
from simbench.learning.aggregators.median import Median
from simbench.learning.aggregators.trimmed_mean import TrimmedMean
from simbench.learning.aggregators.weighted_mean import WeightedMean
from simbench.learning.compression.int8 import Int8
from simbench.learning.compression.powersgd import PowerSGD
from simbench.learning.compression.random_k import RandomK
from simbench.learning.compression.signsgd import SignSGD
from simbench.learning.compression.top_k import TopK
from simbench.learning.datasets.classification import Classification
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.logistic import Logistic
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.star import Star
from simbench.policies.go_on import GoOn
from simbench.scenario import Stop
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer
from simbench.testing import MS, run, small_scenario

ROBUST = [Median(), TrimmedMean(), Krum(), Krum(chosen=3)]
VOTE = SignSGD(variant="majority_vote", error_feedback=False)


def on_five(strategy, **changes):
    settings = {
        "task": Task(
            model=Quadratic(dimension=10, noise=1.0, optimum=(1.0, 2.0, 4.0, 8.0, -9.0)),
            data=Gaussian(),
            optimizer=SGD(learning_rate=0.1),
            dtype="float64",
        ),
        "cluster": Cluster(nodes=5, machine=Fixed(step_time=20 * MS, jitter=Constant())),
        "stop": Stop(updates=12),
        "evaluate_every": 1,
    }
    return run(small_scenario(strategy, **{**settings, **changes}))


@pytest.mark.parametrize("combine", ["gradients", "parameters"])
@pytest.mark.parametrize("aggregator", ROBUST, ids=str)
def test_peers_make_of_their_vectors_what_a_server_does(aggregator, combine):
    server, peers, mean = (
        on_five(strategy)
        for strategy in (
            ParameterServer(combine=combine, aggregator=aggregator),
            Averaging(combine=combine, aggregator=aggregator),
            Averaging(combine=combine),
        )
    )
    assert [e.loss for e in peers.evaluations] == [e.loss for e in server.evaluations]
    assert peers.summary["parameters_sha256"] == server.summary["parameters_sha256"]
    assert peers.summary["parameters_sha256"] != mean.summary["parameters_sha256"]


@pytest.mark.parametrize(
    ("combine", "compression"),
    [
        ("parameters", Int8()),
        ("parameters", TopK(share=0.3)),
        ("gradients", PowerSGD()),
        ("gradients", VOTE),
    ],
    ids=str,
)
@pytest.mark.parametrize("aggregator", [Median(), Krum()], ids=str)
def test_what_is_compressed_is_decoded_before(aggregator, combine, compression):
    server, peers, plain = (
        on_five(kind(combine=combine, aggregator=aggregator, compression=each))
        for kind, each in (
            (ParameterServer, compression),
            (Averaging, compression),
            (Averaging, None),
        )
    )
    assert [e.loss for e in peers.evaluations] == [e.loss for e in server.evaluations]
    assert peers.summary["parameters_sha256"] == server.summary["parameters_sha256"]
    if not isinstance(compression, PowerSGD):  # of one vector it sends all
        assert peers.summary["parameters_sha256"] != plain.summary["parameters_sha256"]


@pytest.mark.parametrize("compression", [TopK(share=1), RandomK(share=1)], ids=str)
@pytest.mark.parametrize("kind", [ParameterServer, Averaging])
def test_sending_everything_changes_nothing(kind, compression):
    """Of gradients, which are sent as they are."""
    plain, compressed = (
        on_five(kind(combine="gradients", aggregator=Median(), compression=each))
        for each in (None, compression)
    )
    assert compressed.summary["parameters_sha256"] == plain.summary["parameters_sha256"]


def times_ms(strategy, dimension=2500):
    outcome = on_five(
        strategy,
        task=Task(model=Quadratic(dimension=dimension), data=Gaussian(), dtype="float64"),
        # 1000 bytes a millisecond.
        network=Star(bandwidth=8 * 10**6, latency=2 * MS),
        stop=Stop(updates=2),
    )
    return [each.time_ns / MS for each in outcome.updates], outcome.messages


@pytest.mark.parametrize("combine", ["gradients", "parameters"])
def test_everybody_sends_all_to_everybody(combine):
    """20,000 bytes around a ring of five, four times; a mean's pieces are a fifth, eight times."""
    times, messages = times_ms(Averaging(combine=combine, aggregator=Median()))
    step = 20 + 4 * (2 + 20)
    assert times == pytest.approx([step, 2 * step], rel=1e-6)
    # A flow of equal pieces is in the books as one message to each neighbour.
    assert [each.num_bytes for each in messages] == [4 * 20_000] * 2 * 5

    mean, _ = times_ms(Averaging(combine=combine))
    assert mean[0] == pytest.approx(20 + 8 * (2 + 4), rel=1e-6)


def test_payloads_are_what_is_gathered():
    _, messages = times_ms(Averaging(aggregator=Median(), compression=Int8()))
    assert {each.num_bytes for each in messages} == {4 * (2500 + 4)}


def test_the_default_is_the_mean_with_the_same_messages():
    assert Averaging() == Averaging(aggregator=Mean())
    # Data without an end: all weights are equal.
    plain, weighted = (on_five(Averaging(aggregator=a)) for a in (Mean(), WeightedMean()))
    assert weighted.messages == plain.messages
    assert weighted.evaluations == plain.evaluations


@pytest.mark.parametrize("compression", [None, TopK(share=1)], ids=str)
def test_a_weighted_mean_is_a_sum_and_all_reduced_unless_it_is_compressed(compression):
    """7 points on 3 nodes are 2, 2 and 3."""
    task = Task(
        model=Logistic(features=2),
        data=Classification(samples=7, validation_samples=5),
        optimizer=SGD(learning_rate=0.5),
        batch_size=6,
        dtype="float64",
    )
    server, peers, plain = (
        on_five(
            kind(aggregator=aggregator, compression=compression),
            task=task,
            cluster=Cluster(nodes=3, machine=Fixed(step_time=10 * MS)),
        )
        for kind, aggregator in (
            (ParameterServer, WeightedMean()),
            (Averaging, WeightedMean()),
            (Averaging, Mean()),
        )
    )
    losses = [[each.loss for each in outcome.evaluations] for outcome in (server, peers, plain)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-12)
    assert losses[1][-1] != pytest.approx(losses[2][-1], rel=1e-6)
    assert {m.tag for m in peers.messages} == {"all_gather" if compression else "all_reduce"}


@pytest.mark.parametrize(
    ("keys", "key", "says"),
    [
        (
            {"aggregator": Median(), "bucket": 100},
            "bucket",
            "needs aggregator: mean; median is made of all at once",
        ),
        (
            {"aggregator": WeightedMean(), "on_failure": GoOn()},
            "on_failure",
            "with weighted_mean, one can only wait: who leaves takes a weight along",
        ),
    ],
    ids=str,
)
def test_what_can_not_be_done_is_refused(keys, key, says):
    with pytest.raises(ValidationError) as caught:
        Averaging(**keys)
    assert caught.value.errors()[0]["loc"] == (key,)
    assert caught.value.errors()[0]["msg"] == says


@pytest.mark.parametrize("on_failure", [{}, {"on_failure": GoOn()}], ids=str)
def test_too_few_workers_are_refused(on_failure):
    """With ``go_on``, all but one may leave."""
    nodes = 5 if on_failure else 4
    with pytest.raises(ValidationError) as caught:
        small_scenario(
            Averaging(aggregator=Krum(), **on_failure),
            cluster=Cluster(nodes=nodes, machine=Fixed()),
        )
    assert caught.value.errors()[0]["loc"] == ("strategies", "law", "aggregator", "faulty")


def test_laws():
    testing.check_strategy(Averaging(combine="gradients", period=2, aggregator=TrimmedMean()))


def test_laws_of_failures():
    testing.check_policies(Averaging(aggregator=Median()))
