"""Nodes that fail, are preempted or join late: exact times, and a mean that theory gives."""

import itertools

import numpy as np
import pytest
from simpy.events import Event

from simbench.clock import Clock
from simbench.cluster.processor import Processor
from simbench.conditions.late_join import LateJoin
from simbench.conditions.link_failure import LinkFailure
from simbench.conditions.node_failure import NodeFailure
from simbench.conditions.node_failures import NodeFailures
from simbench.conditions.preemption import Preemption
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.ring import Ring
from simbench.scenario import Stop
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer

S = 10**9


def told(simulation):
    return [(h.time_ns, h.subject, h.what) for h in simulation.events_until(simulation.end_ns)]


def tiles(simulation, rank):
    end_ns = simulation.end_ns
    spans = simulation.spans_until(end_ns, simulation.messages_until(end_ns))
    return [(s.activity, s.start_ns, s.end_ns) for s in spans if s.node == rank]


# -- work


def test_work_under_way_is_lost_and_begins_anew_when_the_node_is_back(train):
    simulation = train(NodeFailure(nodes=(0,), at=600, until=700), nodes=1, step_ns=1000)

    assert simulation.end_ns == 1700
    assert tiles(simulation, 0) == [("compute", 0, 600), ("down", 600, 700), ("compute", 700, 1700)]
    assert [(h.what, h.lost_ns) for h in simulation.events_until(1700)] == [
        ("down", 600),
        ("up", None),
    ]


def test_work_that_ends_when_the_node_fails_is_done(train):
    """What goes wrong at a moment comes after all else that happens then."""
    failure = NodeFailure(nodes=(0,), at=1000, until=1500)

    simulation = train(failure, nodes=1, step_ns=1000, updates=2)

    assert [update.time_ns for update in simulation.updates] == [1000, 2500]
    assert simulation.events_until(2500)[0].lost_ns == 0


def test_what_waits_in_the_queue_keeps_its_place(world):
    log = []

    def worker(node):
        for name in ("a", "b"):
            work = node.compute(10)
            work.callbacks.append(lambda _, name=name: log.append((name, node._clock.now_ns)))
        yield node.compute(10)

    world(worker, NodeFailure(nodes=(0,), at=15, until=20), nodes=1)

    assert log == [("a", 10), ("b", 30)]


def test_work_that_loses_a_race_while_its_node_is_down_never_runs(world):
    log = []

    def worker(node):
        if node.rank:
            yield node.compute(1000)
            node.send(0, None, tag="news")
            return
        work, news = node.compute(700), node.receive("news")
        winner = yield from node.race(work, news)
        log.append((winner is news, node._clock.now_ns))
        yield node.compute(5)
        log.append(node._clock.now_ns)

    world(worker, NodeFailure(nodes=(0,), at=600, until=900))

    # Anew from 900, given up when the news come at 1007.
    assert log == [(True, 1007), 1012]


@pytest.mark.parametrize("order", [*itertools.permutations([(600, 700), (700, 800), (650, 750)])])
def test_a_node_is_up_when_all_that_hold_it_down_have_let_go(train, order):
    failures = [NodeFailure(nodes=(0,), at=at, until=until) for at, until in order]

    simulation = train(*failures, nodes=1, step_ns=1000)

    assert simulation.end_ns == 1800


# -- messages


@pytest.mark.parametrize("node", [0, 1])
def test_a_transfer_is_sent_anew_from_its_first_byte_when_both_ends_are_up(post, node):
    simulation = post(NodeFailure(nodes=(node,), at=57, until=80))

    assert simulation.world.arrivals == {0: 80 + 107}
    assert told(simulation) == [
        (57, f"node {node}", "down"),
        (57, "0 -> 1", "cut"),
        (80, f"node {node}", "up"),
        (80, "0 -> 1", "again"),
    ]
    assert simulation.events_until(187)[-1].resent_bytes == 50
    assert simulation.world.payload_bytes == 100


def test_while_a_message_has_no_way_neither_end_is_sending(post):
    simulation = post(NodeFailure(nodes=(1,), at=57, until=80))

    assert tiles(simulation, 0) == [("send", 0, 57), ("wait", 57, 80), ("send", 80, 187)]
    assert tiles(simulation, 1) == [("receive", 0, 57), ("down", 57, 80), ("receive", 80, 187)]


def test_what_is_sent_to_a_node_that_is_down_waits_for_it(post):
    simulation = post(LateJoin(nodes=(1,), at=80))

    assert simulation.world.arrivals == {0: 187}
    assert [h.what for h in simulation.events_until(187)] == ["down", "up"]


def test_a_message_to_oneself_waits_too(post):
    simulation = post(LateJoin(nodes=(0,), at=80), receiver=0, nodes=1)

    assert simulation.world.arrivals == {0: 80}


def test_without_links_nodes_fail_too(post):
    simulation = post(LateJoin(nodes=(1,), at=80), network=Instant())

    assert simulation.world.arrivals == {0: 80}


def test_a_node_that_is_down_passes_nothing_on(post):
    """Over nodes 0, 1, 2 of a ring of 5, and back around over 4 and 3 while node 1 is down."""
    ring = Ring(bandwidth=8 * 10**9, latency=7)

    simulation = post(
        NodeFailure(nodes=(1,), at=64, until=10**6), receiver=2, network=ring, nodes=5
    )

    # 50 bytes are through at 64; the rest needs 3 * 7 ns of latency on the longer way.
    assert simulation.world.arrivals == {0: 64 + 21 + 50}
    assert simulation.events_until(10**6)[2].resent_bytes == 0


def test_an_all_reduce_goes_on_when_its_node_is_back(train):
    """A step of 10 ns; each ring flow carries 100 bytes, after twice 7 ns of latency."""
    failure = NodeFailure(nodes=(1,), at=54, until=500)

    simulation = train(failure, nodes=2)

    assert simulation.end_ns == 500 + 14 + 100
    assert [h.what for h in simulation.events_until(614)].count("again") == 2
    assert simulation.world.payload_bytes == 200


def test_the_rest_of_a_chain_of_messages_does_not_wait_for_all_its_latencies_again(train):
    """A ring flow waits for the latency twice; 30 of its 100 bytes are through at 54."""
    simulation = train(LinkFailure(nodes=(1,), at=54, until=500), nodes=2)

    assert simulation.end_ns == 500 + 7 + 70


def test_who_fails_before_an_all_reduce_is_waited_for(train):
    simulation = train(NodeFailure(nodes=(1,), at=5, until=500), nodes=2)

    assert simulation.end_ns == 500 + 10 + 114


# -- late nodes


def test_a_late_node_holds_synchronous_strategies(train):
    simulation = train(LateJoin(nodes=(1,), at=5000), nodes=2, updates=2)

    assert [update.time_ns for update in simulation.updates] == [5124, 5248]
    assert tiles(simulation, 1)[0] == ("down", 0, 5000)


def test_asynchronous_workers_go_on_without_a_late_one(train):
    simulation = train(LateJoin(nodes=(1,), at=5000), strategy=Asynchronous(), updates=40, nodes=2)

    early = [update for update in simulation.updates if update.time_ns < 5000]
    assert {update.node for update in early} == {0}
    # A step of 10 ns, there and back 107 ns each.
    assert [update.time_ns for update in early] == [117 + 224 * i for i in range(22)]
    assert 1 in {update.node for update in simulation.updates}


# -- at random


def test_work_under_exponential_failures_takes_what_theory_says(train):
    """Work of 600 s and a checkpoint of 30 s, MTBF 3600 s: (e^(l (w + c)) - 1) / l = 688.486 s."""
    failures = NodeFailures(mean_time_between_failures=3600 * S, mean_time_to_repair=0)

    simulation = train(failures, nodes=1, step_ns=630 * S, network=Instant(), updates=8000)

    times = np.diff([0, *(update.time_ns for update in simulation.updates)]) / 1e9
    error = 4 * times.std() / len(times) ** 0.5
    assert times.mean() == pytest.approx(688.486, abs=max(6.88, error))
    # The law itself: what isn't disturbed takes 630 s, which e^(-l w) of the steps are.
    assert (times == 630).mean() == pytest.approx(np.exp(-630 / 3600), abs=0.02)


def test_repairs_add_their_mean_to_every_failure(train):
    """(e^(l w) - 1) (1/l + r) with 1/l = r = w: (e - 1) 2 w."""
    failures = NodeFailures(mean_time_between_failures=10**6, mean_time_to_repair=10**6)

    simulation = train(failures, nodes=1, step_ns=10**6, network=Instant(), updates=4000)

    times = np.diff([0, *(update.time_ns for update in simulation.updates)]) / 1e6
    error = 4 * times.std() / len(times) ** 0.5
    assert times.mean() == pytest.approx(2 * (np.e - 1), abs=max(0.034, error))


def test_every_strategy_meets_the_same_failures(train):
    """They depend on the seed and the node, not on what happens."""
    failures = [
        NodeFailures(mean_time_between_failures=1000, mean_time_to_repair=300),
        Preemption(mean_time_between=700, at_once=2, away=500),
    ]

    def outages(strategy, seed=0, nodes=4):
        simulation = train(
            *failures, strategy=strategy, seed=seed, nodes=nodes, stop=Stop(virtual_time=20_000)
        )
        return [event for event in told(simulation) if event[1].startswith("node")]

    met = outages(Averaging())
    assert len(met) > 50
    assert outages(ParameterServer()) == met
    assert outages(Asynchronous()) == met
    assert outages(Averaging(), seed=1) != met


def test_a_preemption_takes_some_and_brings_them_back(train):
    preemption = Preemption(nodes=(1, 2, 3), mean_time_between=10_000, at_once=2, away=500)

    simulation = train(preemption, nodes=4, stop=Stop(virtual_time=10**6))

    downs, ups = (
        [(at_ns, subject) for at_ns, subject, what in told(simulation) if what == change]
        for change in ("down", "up")
    )
    assert {subject for _, subject in downs} == {"node 1", "node 2", "node 3"}
    by_moment = [len(list(group)) for _, group in itertools.groupby(downs, lambda d: d[0])]
    assert set(by_moment) <= {1, 2}
    assert by_moment.count(2) > 80
    assert ups == [(at_ns + 500, subject) for at_ns, subject in downs if at_ns + 500 <= 10**6]


# -- for ever


@pytest.mark.parametrize(
    ("strategy", "complaint"),
    [
        (
            Averaging(),
            (
                "node 0 for nodes [1] to join 'all_reduce'; node 1 is down for ever in the middle "
                "of work"
            ),
        ),
        (
            ParameterServer(),
            (
                "node 0 for a message 'model' from node 2; node 2 for a message 'push' from node "
                "1; node 1 is down for ever in the middle of work"
            ),
        ),
    ],
    ids=["averaging", "parameter server"],
)
@pytest.mark.parametrize("noise", [False, True])
def test_who_waits_for_a_node_that_is_down_for_ever_is_told(train, strategy, complaint, noise):
    """Failures and repairs of others go on for ever, and keep nothing alive."""
    more = [NodeFailures(nodes=(0,), mean_time_between_failures=1000)] if noise else []

    simulation = train(NodeFailure(nodes=(1,), at=5), *more, strategy=strategy, nodes=2, updates=5)

    assert simulation.ended_by == "stuck"
    assert simulation.who_waits() == complaint


def test_an_all_reduce_that_loses_a_node_for_ever_is_told(train):
    simulation = train(NodeFailure(nodes=(1,), at=54), nodes=2)

    assert simulation.ended_by == "stuck"
    assert simulation.who_waits() == (
        "node 1 is down for ever; a message from node 0 to node 1 can't be carried; "
        "a message from node 1 to node 0 can't be carried"
    )


def test_others_go_on_without_a_node_that_nobody_waits_for(train):
    gone = NodeFailure(nodes=(1,), at=5)

    simulation = train(gone, strategy=Asynchronous(), nodes=2, updates=30)

    assert simulation.ended_by == "updates"
    assert {update.node for update in simulation.updates} == {0}


def test_work_that_always_fails_before_its_end_does_not_run_for_ever(train, monkeypatch):
    monkeypatch.setattr("simbench.surroundings._MOST_ATTEMPTS", 1000)
    failures = NodeFailures(mean_time_between_failures=10, mean_time_to_repair=0)

    simulation = train(failures, nodes=1, step_ns=10**6)

    assert simulation.ended_by == "stuck"
    assert simulation.who_waits() == (
        "node 0 has begun the same work 1,000 times, and always failed before its end"
    )


def test_a_transfer_that_is_always_cut_does_not_run_for_ever(post, monkeypatch):
    monkeypatch.setattr("simbench.surroundings._MOST_ATTEMPTS", 1000)

    simulation = post(NodeFailures(nodes=(1,), mean_time_between_failures=3, mean_time_to_repair=0))

    assert simulation.ended_by == "stuck"
    assert "node 0 has sent the same to node 1 1,000 times" in simulation.who_waits()


def test_the_server_may_fail_where_there_is_one(train):
    failure = NodeFailure(nodes=(2,), at=50, until=1000)

    for strategy in (ParameterServer(), Asynchronous()):
        assert train(failure, strategy=strategy, nodes=2).end_ns > 1000


@pytest.mark.parametrize(
    ("calls", "stretches"),
    [
        ({4: "stop", 6: "start"}, [(0, 4), (6, 16)]),
        # Within an instant, down and up several times: the work is lost, and nothing else.
        ({5: "stop start stop start"}, [(0, 5), (5, 15)]),
        ({5: "stop start stop", 8: "start"}, [(0, 5), (8, 18)]),
        ({3: "stop", 5: "start stop", 8: "start"}, [(0, 3), (8, 18)]),
    ],
)
def test_a_processor_loses_what_it_works_on_at_a_stop(calls, stretches):
    clock, worked = Clock(), []
    processor = Processor(clock, 0, lambda *stretch: worked.append(stretch))
    done = Event(clock)
    processor.occupy(10, done, None)

    def call(names):
        for name in names.split():
            getattr(processor, name)()

    for at_ns, names in calls.items():
        clock.timeout(at_ns).callbacks.append(lambda _, names=names: call(names))
    clock.run()

    assert [stretch[1:] for stretch in worked if stretch[1] < stretch[2]] == stretches
    assert done.processed
    assert processor.num_held == 0
