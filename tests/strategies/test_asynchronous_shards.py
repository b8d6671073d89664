"""Asynchronous training behind several servers, each of which adds on arrival."""

import itertools

import numpy as np
import pytest
from pydantic import ValidationError

from simbench import testing
from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.exponential import Exponential
from simbench.cluster.machines.fixed import Fixed
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.star import Star
from simbench.scenario import Stop
from simbench.strategies.asynchronous import Asynchronous
from simbench.testing import MS, run, small_scenario

SLOW = Star(bandwidth=10**7, latency=MS)
RATE, ENTRIES, OPTIMA = 0.1, 1001, (0.0, 1.0, -2.0, 5.0)


def scenario(strategy, nodes=4, updates=60, network=None):
    model = Quadratic(dimension=ENTRIES, optimum=OPTIMA[:nodes])
    return small_scenario(
        strategy,
        task=Task(
            model=model,
            data=Gaussian(),
            batch_size=1,
            optimizer=SGD(learning_rate=RATE),
            dtype="float64",
        ),
        cluster=Cluster(nodes=nodes, machine=Fixed(step_time=5 * MS, jitter=Exponential())),
        network=network or Instant(),
        stop=Stop(updates=updates),
        evaluate_every=1,
    )


def test_servers_that_hear_in_the_same_order_are_one_server():
    """Where nothing takes time, every push reaches all servers at once: the very same run."""
    one = run(scenario(Asynchronous()))
    for strategy in (Asynchronous(servers=3), Asynchronous(servers=4, server="colocated")):
        several = run(scenario(strategy))
        assert several.evaluations == [
            each._replace(payload_bytes=other.payload_bytes)
            for each, other in zip(one.evaluations, several.evaluations, strict=True)
        ]
        assert several.updates == one.updates
        assert several.summary["parameters_sha256"] == one.summary["parameters_sha256"]


@pytest.mark.parametrize("servers", [2, 3])
def test_readings_are_made_of_what_each_server_has(servers):
    """The losses of the records, worked out again from who came when to which server."""
    # What stays on a machine is there at once: each server hears in another order.
    outcome = run(scenario(Asynchronous(servers=servers, server="colocated"), network=SLOW))
    pushes = sorted(
        (message for message in outcome.messages if message.tag == "push" and message.arrived_ns),
        key=lambda message: message.arrived_ns,
    )
    pieces = [1.0] * servers  # all entries of a piece are equal
    reading = {(worker, shard): 1.0 for worker in range(4) for shard in range(servers)}
    history = [[1.0] for _ in range(servers)]
    senders = [[] for _ in range(servers)]
    for push in pushes:
        worker, shard = push.sender, push.receiver
        delta = -RATE * (reading[worker, shard] - OPTIMA[worker])
        pieces[shard] += delta
        reading[worker, shard] = pieces[shard]
        history[shard].append(pieces[shard])
        senders[shard].append(worker)
    edges = [ENTRIES * index // servers for index in range(servers + 1)]
    sizes = np.diff(edges)
    for each in outcome.evaluations:
        parts = [
            size * np.mean([(history[shard][each.progress] - c) ** 2 / 2 for c in OPTIMA])
            for shard, size in enumerate(sizes)
        ]
        assert each.loss == pytest.approx(sum(parts), rel=1e-12)
    assert senders[0][:60] != senders[-1][:60], "the orders must differ for this to show anything"
    for row in outcome.updates:
        who = {each[row.update - 1] for each in senders}
        assert row.node == (who.pop() if len(who) == 1 else None)


def test_staleness_is_that_of_the_stalest_piece():
    outcome = run(scenario(Asynchronous(servers=2, server="colocated"), network=SLOW))
    pushes = sorted(
        (each for each in outcome.messages if each.tag == "push" and each.arrived_ns),
        key=lambda each: each.arrived_ns,
    )
    stale = []
    for shard in (0, 1):
        senders, own, last = [each.sender for each in pushes if each.receiver == shard], [], {}
        for update, worker in enumerate(senders, 1):
            own.append(update - 1 - last.get(worker, 0))
            last[worker] = update
        stale.append(own)
    expected = [max(pair) for pair in zip(*stale, strict=False)]
    found = [row.staleness_updates for row in outcome.updates]
    assert found == expected[: len(found)]
    assert stale[0][: len(found)] != stale[1][: len(found)]


def test_an_update_is_there_when_the_last_server_has_made_it():
    outcome = run(scenario(Asynchronous(servers=2, server="colocated"), network=SLOW))
    arrivals = [
        sorted(
            each.arrived_ns
            for each in outcome.messages
            if each.tag == "push" and each.receiver == shard and each.arrived_ns
        )
        for shard in (0, 1)
    ]
    for row in outcome.updates:
        assert row.time_ns == max(times[row.update - 1] for times in arrivals)


@pytest.mark.parametrize("servers", [1, 2, 5])
def test_one_worker_descends_plainly_at_the_pace_of_its_link(servers):
    """S/B each way, however many servers: it is the worker's own link that is full."""
    outcome = run(
        scenario(
            Asynchronous(servers=servers),
            nodes=1,
            updates=8,
            network=Star(bandwidth=10**8, latency=MS),
        )
    )
    losses = [ENTRIES * (1 - RATE) ** (2 * step) / 2 for step in range(9)]
    assert [each.loss for each in outcome.evaluations] == pytest.approx(losses, rel=1e-12)
    busy = [span for span in outcome.spans if span.node == 0 and span.activity == "compute"]
    gaps = [(b.start_ns - a.end_ns) for a, b in itertools.pairwise(busy)]
    expected_ns = 2 * (MS + 8 * ENTRIES * 8 * 10)  # 10 ns a bit
    if servers == 1:
        assert gaps == pytest.approx([expected_ns] * 7, rel=1e-6)
    # Unequal pieces: the servers of the shorter ones answer while the longest still goes up.
    assert all(0.9 * expected_ns < gap <= expected_ns + 20 for gap in gaps)


def test_several_servers_on_one_machine_are_refused():
    with pytest.raises(ValidationError) as caught:
        scenario(Asynchronous(servers=2, server=0))
    assert caught.value.errors()[0]["loc"] == ("strategies", "law", "servers")


@pytest.mark.parametrize(
    "strategy",
    [Asynchronous(servers=2), Asynchronous(servers=4, server="colocated")],
    ids=str,
)
def test_laws(strategy):
    testing.check_strategy(strategy)
