"""What strategies make of failures: waiting, going on without, going back to a checkpoint.

A byte takes a nanosecond, a message 7 more; a vector has 100 bytes, a step takes 10 ns.
"""

from collections import Counter

import numpy as np
import pytest

from simbench.conditions.late_join import LateJoin
from simbench.conditions.node_failure import NodeFailure
from simbench.conditions.node_failures import NodeFailures
from simbench.learning.aggregators.median import Median
from simbench.learning.compression.fp4 import FP4
from simbench.learning.compression.int8 import Int8
from simbench.learning.compression.powersgd import PowerSGD
from simbench.learning.compression.qsgd import QSGD
from simbench.learning.compression.random_k import RandomK
from simbench.learning.compression.top_k import TopK
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.star import Star
from simbench.policies.go_on import GoOn
from simbench.policies.restart import Restart
from simbench.scenario import Stop
from simbench.spec import discover
from simbench.strategies.ad_psgd import ADPSGD
from simbench.strategies.async_local_sgd import AsyncLocalSGD
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.d_psgd import DPSGD
from simbench.strategies.diloco import DiLoCo
from simbench.strategies.hierarchical_averaging import HierarchicalAveraging
from simbench.strategies.k_batch_sync import KBatchSync
from simbench.strategies.matching_gossip import MatchingGossip
from simbench.strategies.parameter_server import ParameterServer
from simbench.strategies.post_local_sgd import PostLocalSGD
from simbench.strategies.slowmo import SlowMo
from simbench.strategies.sparta import SPARTA
from simbench.strategies.ssp import StaleSynchronous
from simbench.strategies.streaming_diloco import StreamingDiLoCo
from simbench.strategy import GossipStrategy, Strategy
from simbench.testing import run

S = 10**9
GO_ON = GoOn(detection=50)
EVERY = {k: s for k, s in discover("simbench.strategies", Strategy).items() if s.resumes}

# Neighbours who compress can only wait.
COMPRESSING = {
    kind
    for kind, strategy in EVERY.items()
    if "compression" in strategy.model_fields and not issubclass(strategy, GossipStrategy)
}


def times(simulation):
    return [update.time_ns for update in simulation.updates]


def changes(simulation):
    """Return what happened to members, and when."""
    events = simulation.events_until(simulation.end_ns)
    return [(h.time_ns, h.subject, h.what) for h in events if h.kind == "membership"]


# -- going on without


def test_the_others_go_on_once_a_failure_is_detected(train):
    """Down at 5, known at 55; then the all-reduce of the two others: 2 * 7 + 100."""
    gone = NodeFailure(nodes=(2,), at=5)

    simulation = train(gone, strategy=Averaging(on_failure=GO_ON), nodes=3, updates=3)

    assert times(simulation) == [55 + 114, 55 + 114 + 124, 55 + 114 + 124 + 124]
    assert changes(simulation) == [(55, "node 2", "left")]
    assert simulation.samples(3) == 6


def test_a_collective_begins_anew_without_who_leaves_and_both_are_priced(train):
    """It began at 10, and nothing of its first 4 * 28 bytes counts."""
    gone = NodeFailure(nodes=(2,), at=30)

    simulation = train(gone, strategy=Averaging(on_failure=GO_ON), nodes=3)

    assert times(simulation) == [80 + 114]
    sent = simulation.messages_until(simulation.end_ns)
    assert [m.sent_ns for m in sent] == [10, 10, 10, 80, 80]
    assert [m.arrived_ns for m in sent] == [None, None, None, 194, 194]
    assert changes(simulation)[1:] == [
        (80, "1 -> 2", "dropped"),
        (80, "2 -> 0", "dropped"),
        (80, "0 -> 1", "dropped"),
    ]


def test_an_outage_that_ends_before_it_is_detected_is_waited_for(train):
    blip = NodeFailure(nodes=(2,), at=5, until=54)

    waiting, going_on = (
        train(blip, strategy=Averaging(on_failure=policy), nodes=3, updates=3)
        for policy in (Averaging().on_failure, GO_ON)
    )

    assert times(going_on) == times(waiting)
    assert not changes(going_on)


def test_the_state_is_sent_to_who_is_back_at_the_next_round_and_takes_its_time(train):
    """Rounds of two end at 169, 293, 417. Back at 300, node 2 is sent 100 bytes from 417 on."""
    failure = NodeFailure(nodes=(2,), at=5, until=300)

    simulation = train(failure, strategy=Averaging(on_failure=GO_ON), nodes=3, updates=4)

    assert changes(simulation) == [
        (55, "node 2", "left"),
        (417, "node 2", "joined"),
        (417 + 107, "node 2", "restored"),
    ]
    # Its step, and an all-reduce of three, each of whose flows carries 2 * 2/3 of a vector.
    assert times(simulation) == [169, 293, 417, 524 + 10 + 4 * 7 + 134]
    assert simulation.samples(4) == 9
    state = [m for m in simulation.world.messages if m.tag == "state"]
    assert [(m.sender, m.receiver, m.num_bytes) for m in state] == [(0, 2, 100)]


@pytest.mark.parametrize(
    ("strategy", "vectors"),
    [
        (Averaging(), 2),
        (DiLoCo(period=2), 4),
        (DiLoCo(period=2, outer=SGD(learning_rate=1.0)), 3),
        # What all have had last, but not what the donor hasn't sent yet.
        (Averaging(compression=TopK(share=0.2)), 3),
        (PostLocalSGD(compression=Int8(error_feedback=True)), 3),
        (DiLoCo(period=2, compression=TopK()), 4),
        (StreamingDiLoCo(period=2, fragments=1, overlap=0, compression=TopK()), 4),
    ],
)
def test_the_state_is_all_that_a_node_needs_optimisers_among_it(train, strategy, vectors):
    failure = NodeFailure(nodes=(2,), at=5, until=300)
    task = Task(
        model=Quadratic(dimension=25), data=Gaussian(), batch_size=1, optimizer=SGD(momentum=0.9)
    )
    going_on = strategy.model_copy(update={"on_failure": GO_ON})

    simulation = train(failure, strategy=going_on, nodes=3, updates=24, task=task)

    (_, (joined, _, _), (restored, _, _)) = changes(simulation)
    assert restored - joined == 7 + 100 * vectors


def test_who_comes_late_is_never_waited_for_and_starts_from_the_state_then(train):
    late = LateJoin(nodes=(1,), at=1000)

    simulation = train(late, strategy=Averaging(on_failure=GO_ON), nodes=2, updates=103)

    # Alone, a round is a step; from 1000 on there are two.
    assert times(simulation)[:100] == [10 * step for step in range(1, 101)]
    assert times(simulation)[100:] == [1010, 1010 + 107 + 124, 1010 + 107 + 248]
    assert simulation.samples(103) == 101 + 2 * 2


def test_a_server_answers_who_joins_with_its_model(train):
    """The question takes 7, the answer 107; a step and its push end 117 later."""
    late = LateJoin(nodes=(1,), at=900)

    simulation = train(late, strategy=Asynchronous(on_failure=GO_ON), nodes=2, updates=12)

    assert changes(simulation) == [
        (0, "node 1", "left"),
        (907, "node 1", "joined"),
        (907 + 107, "node 1", "restored"),
    ]
    first = next(update for update in simulation.updates if update.node == 1)
    assert first.time_ns == 907 + 107 + 117
    # Between its reading at 907 and its update, node 0's at 1013 = 117 + 4 * 224 came.
    assert first.staleness_updates == 1


def test_a_server_whose_workers_have_all_left_waits_for_one(train):
    away = NodeFailure(nodes=(0, 1), at=5, until=1000)

    simulation = train(away, strategy=ParameterServer(on_failure=GO_ON), nodes=2, updates=2)

    # Both ask at 1007, and what they are sent shares the server's link.
    assert changes(simulation)[-2:] == [(1214, "node 0", "restored"), (1214, "node 1", "restored")]
    assert times(simulation)[0] == 1214 + 10 + 7 + 200
    assert simulation.samples(2) == 4


def test_stale_workers_are_let_go_when_the_slowest_leaves(train):
    gone = NodeFailure(nodes=(1,), at=5)
    strategy = StaleSynchronous(staleness=0, on_failure=GoOn(detection=200))

    simulation = train(gone, strategy=strategy, nodes=2, updates=3)

    # The push of node 0 comes at 117; from 205 on nobody else is there, and it is answered.
    assert times(simulation) == [117, 205 + 224, 205 + 448]


def test_a_partner_that_leaves_is_no_partner(train):
    gone = NodeFailure(nodes=(1,), at=15)

    simulation = train(gone, strategy=MatchingGossip(on_failure=GO_ON), nodes=2, updates=3)

    assert times(simulation) == [65, 75, 85]


@pytest.mark.parametrize("compression", [TopK(share=0.2), Int8(error_feedback=True)], ids=str)
def test_with_compression_islands_take_in_a_node_when_all_have_averaged(train, compression):
    """Back in the middle of a round of 4 steps, it is handed the state at the end of that."""
    failure = NodeFailure(nodes=(3,), at=5, until=300)
    strategy = HierarchicalAveraging(outer_period=4, compression=compression, on_failure=GO_ON)

    simulation = train(failure, strategy=strategy, nodes=4, updates=16)

    joined, restored = (
        next(at for at, _, what in changes(simulation) if what == word)
        for word in ("joined", "restored")
    )
    assert 300 < joined < restored
    assert joined in times(simulation)[3::4]
    version = times(simulation).index(joined) + 1
    assert simulation.samples(version) == 3 * version
    assert simulation.samples(16) == 3 * version + 4 * (16 - version)


def test_who_waits_for_a_mean_from_one_that_leaves_goes_on_from_its_own(train):
    """Node 0 has sent at 0, and would hear at 214."""
    gone = NodeFailure(nodes=(1,), at=15)

    simulation = train(gone, strategy=ADPSGD(on_failure=GO_ON), nodes=2, updates=4)

    assert [(each.time_ns, each.node) for each in simulation.updates] == [
        (10, 1),
        (65, 0),
        (75, 0),
        (85, 0),
    ]


def test_a_passive_worker_does_not_notice_who_leaves(train):
    gone = NodeFailure(nodes=(0,), at=15)

    simulation = train(gone, strategy=ADPSGD(on_failure=GO_ON), nodes=2, updates=20)

    assert times(simulation) == [10 * step for step in range(1, 21)]


def test_who_joins_gossip_in_pairs_is_sent_a_replica_and_is_a_partner_at_once(train):
    """Node 0 is alone from 65 on, and ends a step at 305."""
    failure = NodeFailure(nodes=(1,), at=15, until=300)

    simulation = train(failure, strategy=ADPSGD(on_failure=GO_ON), nodes=2, updates=40)

    # What node 0 sends to average shares the link with the state of 100 bytes.
    assert changes(simulation)[1:] == [
        (65, "0 -> 1", "dropped"),
        (305, "node 1", "joined"),
        (305 + 207, "node 1", "restored"),
    ]
    state = [m for m in simulation.world.messages if m.tag == "state"]
    assert [(m.sender, m.receiver, m.num_bytes) for m in state] == [(0, 1, 100)]
    # Its step has waited for the mean, which node 1 answers with once it has its replica.
    assert next(each.time_ns for each in simulation.updates[26:] if each.node == 0) == 512 + 107
    # Since it was handed its replica, nobody has made an update.
    first = simulation.updates[26]
    assert (first.time_ns, first.node, first.staleness_updates) == (522, 1, 0)


def test_a_window_closes_when_whom_it_waits_for_leaves(train):
    gone = NodeFailure(nodes=(1,), at=5)
    strategy = AsyncLocalSGD(period=1, grace=None, on_failure=GoOn(detection=200))

    simulation = train(gone, strategy=strategy, nodes=2, updates=3)

    # The push of node 0 comes at 117; from 205 on nobody else is awaited.
    assert times(simulation) == [205, 205 + 224, 205 + 448]


def test_a_worker_that_joins_computes_for_the_version_that_it_was_sent(train):
    """Else the server would drop all that it brings, and wait for ever once it is alone."""
    late, gone = LateJoin(nodes=(1,), at=3000), NodeFailure(nodes=(0,), at=2000)
    strategy = KBatchSync(batches=2, on_failure=GO_ON)

    simulation = train(late, gone, strategy=strategy, nodes=2, stop=Stop(virtual_time=6000))

    alone = [at for at in times(simulation) if at > 3000]
    assert len(alone) > 5
    assert simulation.samples(len(times(simulation))) == 2 * len(times(simulation))


def test_without_anybody_a_run_is_stuck_and_says_so(train):
    gone = NodeFailure(nodes=(0, 1), at=5)

    simulation = train(gone, strategy=Averaging(on_failure=GO_ON), nodes=2)

    assert simulation.ended_by == "stuck"
    assert simulation.who_waits().startswith("every worker has left; node 0 is down for ever")


def test_the_first_who_is_back_goes_on_from_its_own_state_if_all_had_left(train):
    """Done at 124; the second round is lost with both."""
    away = [NodeFailure(nodes=(rank,), at=130, until=1000 + rank) for rank in (0, 1)]

    simulation = train(*away, strategy=Averaging(on_failure=GO_ON), nodes=2, updates=3)

    assert changes(simulation) == [
        (180, "node 0", "left"),
        (180, "node 1", "left"),
        (1000, "node 0", "joined"),
        (1000, "node 0", "restored"),
        (1010, "node 1", "joined"),
        (1010 + 107, "node 1", "restored"),
    ]
    assert times(simulation) == [124, 1010, 1117 + 124]


def test_a_server_that_fails_is_waited_for(train):
    failure = NodeFailure(nodes=(2,), at=50, until=1000)

    for strategy in (ParameterServer(), Asynchronous()):
        waiting = train(failure, strategy=strategy, nodes=2, updates=4)
        going_on = strategy.model_copy(update={"on_failure": GO_ON})
        assert times(train(failure, strategy=going_on, nodes=2, updates=4)) == times(waiting)


# -- several servers: each holds a piece, and all take in a worker for the same version


def test_servers_of_pieces_go_on_without_a_worker_and_take_it_in(train):
    """Of 96 bytes, each has 48: a round takes 10 and 2 * 103, for one worker as for two."""
    failure = NodeFailure(nodes=(1,), at=5, until=300)
    strategy = ParameterServer(servers=2, on_failure=GO_ON)

    simulation = train(failure, strategy=strategy, nodes=2, updates=3, dimension=24)

    # Asked at 307, both servers are in their second round, and it has to wait for node 1.
    assert changes(simulation) == [
        (55, "node 1", "left"),
        (307, "node 1", "joined"),
        (307 + 103, "node 1", "restored"),
    ]
    assert times(simulation) == [113, 410 + 113, 523 + 216]
    assert [simulation.samples(update) for update in (1, 2, 3)] == [1, 3, 5]
    asked = [m for m in simulation.world.messages if m.tag == "join"]
    assert [(m.sender, m.receiver, m.num_bytes) for m in asked] == [(1, 2, 0), (1, 3, 0)]


def test_a_server_that_is_behind_sends_who_joins_the_version_of_the_others(train):
    """Two pieces of 48 bytes each are there at 10 + 7 + 96; of 52, 8 later on the one link."""
    late = LateJoin(nodes=(2,), at=108)
    strategy = ParameterServer(servers=2, on_failure=GO_ON)

    simulation = train(late, strategy=strategy, nodes=3, updates=2)

    sent = [m for m in simulation.world.messages if m.receiver == 2 and m.tag == "model"]
    assert [(m.sent_ns, m.sender, m.num_bytes) for m in sent[:2]] == [(115, 3, 48), (121, 4, 52)]
    assert changes(simulation)[1] == (115, "node 2", "joined")
    # It is waited for in the round in which the first server was.
    assert [simulation.samples(update) for update in (1, 2)] == [2, 5]


def test_a_version_that_one_server_alone_had_a_push_for_is_passed_over(train):
    """Both leave when the piece of 48 bytes has come, and that of 52 hasn't."""
    away = NodeFailure(nodes=(0, 1), at=114, until=1000)
    strategy = ParameterServer(servers=2, on_failure=GoOn(detection=0))

    simulation = train(away, strategy=strategy, nodes=2, updates=3)

    assert [update.update for update in simulation.updates] == [2, 3]
    assert simulation.samples(1) == 0
    assert simulation.samples(3) == 4
    welcome = [m for m in simulation.world.messages if m.tag == "model" and m.sent_ns == 1007]
    assert sorted((m.sender, m.receiver) for m in welcome) == [(2, 0), (2, 1), (3, 0), (3, 1)]


def test_servers_that_add_on_arrival_answer_who_joins_together(train):
    late = LateJoin(nodes=(1,), at=900)
    strategy = Asynchronous(servers=2, on_failure=GO_ON)

    simulation = train(late, strategy=strategy, nodes=2, updates=12, dimension=24)

    assert changes(simulation) == [
        (0, "node 1", "left"),
        (907, "node 1", "joined"),
        (907 + 103, "node 1", "restored"),
    ]
    first = next(update for update in simulation.updates if update.node == 1)
    assert first.time_ns == 907 + 103 + 113


@pytest.mark.parametrize("kind", [ParameterServer, Asynchronous])
def test_a_machine_with_a_piece_is_waited_for_and_one_without_is_not(train, kind):
    strategy = kind(servers=2, server="colocated")
    going_on = kind(servers=2, server="colocated", on_failure=GO_ON)

    def run(rank, each):
        failure = NodeFailure(nodes=(rank,), at=50, until=2000)
        return train(failure, strategy=each, nodes=3, updates=6)

    assert times(run(1, going_on)) == times(run(1, strategy))
    assert not changes(run(1, going_on))
    assert changes(run(2, going_on))[0] == (100, "node 2", "left")


# -- values


@pytest.mark.parametrize("compression", [None, TopK(share=0.2)], ids=str)
@pytest.mark.parametrize("kind", EVERY)
def test_means_are_over_those_who_are_there_bit_for_bit(scenario, kind, compression):
    """A cluster of 4 whose last node never comes trains as a cluster of 3 does."""
    if compression and kind not in COMPRESSING:
        pytest.skip("it compresses nothing, or can only wait then")
    fields = EVERY[kind].model_fields
    small = {"period": 2, "inner_period": 2, "outer_period": 4, "moving_rate": 0.2}
    small |= {"fragments": 2, "overlap": 0, "interval": 4}
    strategy = EVERY[kind](**{key: small[key] for key in small if key in fields})
    if compression:
        strategy = strategy.model_copy(update={"compression": compression})

    def train(nodes, strategy, *conditions):
        task = Task(
            model=Quadratic(dimension=25, noise=0.5),
            data=Gaussian(),
            batch_size=1,
            optimizer=SGD(momentum=0.5),
        )
        return run(
            scenario(
                strategies={"only": strategy},
                nodes=nodes,
                task=task,
                network=Star(bandwidth=8 * S, latency=7),
                stop=Stop(updates=24),
                conditions=conditions,
            )
        )

    going_on = strategy.model_copy(update={"on_failure": GO_ON})
    few, many = train(3, strategy), train(4, going_on, NodeFailure(nodes=(3,), at=0))

    assert many.updates == few.updates
    assert many.evaluations[-1].samples == few.evaluations[-1].samples
    # Of the last parameters: a loss is a sum over as many parts as a cluster has nodes.
    assert many.summary["parameters_sha256"] == few.summary["parameters_sha256"]


@pytest.mark.parametrize("kind", [ParameterServer, Asynchronous])
def test_servers_of_pieces_train_as_one_does_when_a_worker_never_comes(scenario, kind):
    def train(*conditions, **settings):
        return run(
            scenario(
                strategies={"only": kind(**settings)},
                nodes=4,
                network=Instant(),
                stop=Stop(updates=24),
                conditions=conditions,
            )
        )

    gone = NodeFailure(nodes=(3,), at=0)
    one = train(gone, on_failure=GO_ON)
    several = train(gone, on_failure=GO_ON, servers=3)

    assert several.updates == one.updates
    assert several.summary["samples"] == one.summary["samples"]
    assert several.summary["parameters_sha256"] == one.summary["parameters_sha256"]


# -- going back


def test_work_between_checkpoints_takes_what_theory_says(train):
    """Work of 600 s, a checkpoint of 30 s, MTBF 3600 s: (e^(l (w + c)) - 1) / l = 688.486 s."""
    failures = NodeFailures(mean_time_between_failures=3600 * S, mean_time_to_repair=0)
    policy = Restart(detection=0, interval=600 * S, cost=30 * S)

    simulation = train(
        failures,
        strategy=Averaging(on_failure=policy),
        nodes=1,
        step_ns=300 * S,
        network=Instant(),
        stop=Stop(virtual_time=688 * 2000 * S),
    )

    cycles = np.diff([0, *simulation.recovery.checkpoints.written_ns]) / 1e9
    error = 4 * cycles.std() / len(cycles) ** 0.5
    assert len(cycles) > 1800
    assert cycles.mean() == pytest.approx(688.486, abs=max(6.88, error))
    # Two steps each, whatever was done twice.
    assert len(simulation.updates) - 2 * len(cycles) in (0, 1, 2)


def test_all_go_back_to_the_last_checkpoint_and_take_the_same_steps_again(train):
    """Without a network a step takes 10; checkpoints every 30, of 5: after 30, 65, 100."""
    crash = NodeFailure(nodes=(1,), at=88, until=89)
    policy = Restart(detection=4, interval=30, cost=5, recovery=2)

    simulation = train(
        crash, strategy=Averaging(on_failure=policy), nodes=2, network=Instant(), updates=9
    )
    calm = train(strategy=Averaging(), nodes=2, network=Instant(), updates=9)

    # Step 7 was done at 80 and is done again from 94 on, without a new version.
    assert times(simulation) == [10, 20, 30, 45, 55, 65, 80, 114, 124]
    assert changes(simulation) == [(92, "node 0", "restored"), (92, "node 1", "restored")]
    assert [v.recipe.key for v in simulation.versions] == [v.recipe.key for v in calm.versions]


@pytest.mark.parametrize(
    "strategy",
    [
        Averaging(period=2, compression=TopK(share=0.2)),
        Averaging(combine="gradients", compression=RandomK(share=0.3)),
        Averaging(aggregator=Median(), compression=Int8(error_feedback=True)),
        PostLocalSGD(switch=2, period=2, compression=PowerSGD()),
        SlowMo(period=2, compression=QSGD()),
        DiLoCo(period=3, compression=FP4(error_feedback=True)),
        StreamingDiLoCo(period=4, fragments=2, slices=2, compression=RandomK(share=0.3)),
        StreamingDiLoCo(period=4, fragments=2),
        SPARTA(share=0.3),
        HierarchicalAveraging(outer_period=4, compression=TopK(share=0.2)),
        HierarchicalAveraging(inner_period=1, outer_period=3, compression=RandomK(share=0.3)),
    ],
    ids=str,
)
def test_what_was_not_sent_yet_is_in_the_checkpoint(train, strategy):
    """The same steps again are the very Values: also residuals, draws and warm starts are."""
    crash = NodeFailure(nodes=(1,), at=88, until=89)
    policy = Restart(detection=4, interval=30, cost=5, recovery=2)
    settings = {"nodes": 3, "network": Instant(), "updates": 12}

    going_back = strategy.model_copy(update={"on_failure": policy})
    simulation = train(crash, strategy=going_back, **settings)
    calm = train(strategy=strategy, **settings)

    assert [what for *_, what in changes(simulation)] == ["restored"] * 3
    assert [v.recipe.key for v in simulation.versions] == [v.recipe.key for v in calm.versions]


def test_a_checkpoint_that_is_sent_to_whose_it_is_has_what_it_had_not_sent(train):
    # A round takes 57.
    crash = NodeFailure(nodes=(1,), at=60, until=61)
    policy = Restart(detection=4, interval=0)
    strategy = Averaging(compression=TopK(share=0.2), on_failure=policy)

    simulation = train(crash, strategy=strategy, nodes=2, updates=2)

    state = [m for m in simulation.world.messages if m.tag == "state"]
    assert [(m.sender, m.receiver, m.num_bytes) for m in state] == [(0, 1, 300)]


def test_the_checkpoint_is_sent_to_who_failed(train):
    crash = NodeFailure(nodes=(1,), at=150, until=151)
    policy = Restart(detection=4, interval=0)

    simulation = train(crash, strategy=Averaging(on_failure=policy), nodes=2, updates=2)

    assert [each for each in changes(simulation) if each[2] == "restored"] == [
        (154, "node 0", "restored"),
        (154 + 107, "node 1", "restored"),
    ]
    assert times(simulation) == [124, 261 + 124]


def test_those_who_are_left_go_back_and_go_on(train):
    crash = NodeFailure(nodes=(2,), at=5)
    policy = Restart(detection=50, recovery=6)

    simulation = train(crash, strategy=Averaging(on_failure=policy), nodes=3, updates=2)

    assert [what for *_, what in changes(simulation)] == ["left", "restored", "restored"]
    assert times(simulation) == [55 + 6 + 124, 55 + 6 + 248]


@pytest.mark.parametrize(
    "strategy",
    [ParameterServer(), Asynchronous(), ParameterServer(servers=2), Asynchronous(servers=2)],
    ids=str,
)
def test_a_server_that_fails_goes_back_once_it_is_up(train, strategy):
    failure = NodeFailure(nodes=(2,), at=700, until=1000)
    policy = Restart(detection=50, interval=300)

    simulation = train(
        failure,
        strategy=strategy.model_copy(update={"on_failure": policy}),
        nodes=2,
        updates=16,
    )

    assert simulation.ended_by == "updates"
    assert (1000, "node 2", "restored") in changes(simulation)
    # The workers ask and are sent the model together: 7, and 7 + 2 * 100, or 2 * 52 from the
    # server of the larger piece.
    restored = [at for at, _, what in changes(simulation) if what == "restored"]
    is_one = len(simulation.servers) == 1
    assert restored == ([1000, 1214, 1214] if is_one else [1000, 1000, 1118, 1118])
    assert [update.update for update in simulation.updates] == [*range(1, 17)]


def test_what_is_dropped_when_it_would_arrive_does_not(train):
    """Where nothing takes time, pushes that wait for a server come at the moment when it is up."""
    failure = NodeFailure(nodes=(2,), at=15, until=1000)
    strategy = ParameterServer(on_failure=Restart(detection=50, interval=300))

    simulation = train(failure, strategy=strategy, nodes=2, network=Instant(), updates=3)

    dropped = [what for _, _, what in changes(simulation)].count("dropped")
    assert dropped == len(simulation.world.dropped) == 2
    assert not simulation.world.dropped.keys() & simulation.world.arrivals.keys()
    assert times(simulation) == [10, 1020, 1030]


# -- records


@pytest.mark.parametrize("policy", [GO_ON, Restart(detection=50, interval=300)], ids=str)
def test_the_summary_counts_what_the_events_tell(scenario, policy):
    strategies = {"only": Averaging(on_failure=policy)}
    failure = NodeFailure(nodes=(1,), at=500, until=900)
    described = scenario(
        strategies=strategies,
        nodes=3,
        network=Star(bandwidth=8 * S, latency=7),
        stop=Stop(updates=20),
        conditions=(failure,),
    )

    outcome, again = run(described), run(described, num_threads=3)

    counts = Counter(each.what for each in outcome.events if each.kind == "membership")
    for what in ("left", "joined", "restored"):
        assert outcome.summary[what] == counts[what] > 0, what
    assert outcome.summary["dropped_messages"] == counts["dropped"]
    assert (outcome.summary["checkpoints"] > 0) == policy.rolls_back
    assert again.evaluations == outcome.evaluations
    assert again.events == outcome.events
    assert again.summary == outcome.summary
    # Nobody sends to or hears from a node that has left, until it is sent the state.
    left, joined = (
        next(each.time_ns for each in outcome.events if each.what == what)
        for what in ("left", "joined")
    )
    assert not [
        span
        for span in outcome.spans
        if span.node == 1 and left < span.end_ns <= joined and span.activity not in ("down", "wait")
    ]


def test_samples_that_were_contributed_end_a_run(scenario):
    strategies = {"only": Averaging(on_failure=GO_ON)}
    gone = NodeFailure(nodes=(2,), at=15)

    outcome = run(
        scenario(
            strategies=strategies, nodes=3, stop=Stop(samples=10), conditions=(gone,), seeds=(0,)
        )
    )

    # Three of the first step, then two a step.
    assert [each.time_ns for each in outcome.updates] == [10, 65, 75, 85, 95]
    assert outcome.summary["samples"] == 11
    assert outcome.evaluations[-1].samples == 11
    assert outcome.summary["stopped_by"] == "samples"


def test_waiting_is_not_written_and_another_policy_is(scenario):
    written = scenario(
        strategies={"waits": Averaging(), "goes on": Averaging(on_failure=GO_ON)}
    ).model_dump(mode="json")["strategies"]

    assert "on_failure" not in written["waits"]
    assert written["goes on"]["on_failure"] == {"kind": "go_on", "detection": "50 ns"}


# -- refusals


def test_who_can_not_go_on_says_so():
    class Old(Averaging):
        resumes = False

    with pytest.raises(ValueError, match="can only wait"):
        Old(on_failure=GO_ON)
    with pytest.raises(ValueError, match="backup_workers go on without"):
        ParameterServer(backup_workers=1, on_failure=GO_ON)
    with pytest.raises(ValueError, match="an overlap below period / fragments, which is 3; got 3"):
        StreamingDiLoCo(period=12, fragments=4, overlap=3, on_failure=GO_ON)
    with pytest.raises(ValueError, match="there is no step that all have done"):
        ADPSGD(on_failure=Restart())
    with pytest.raises(ValueError, match="doesn't know what its own remembers"):
        HierarchicalAveraging(compression=PowerSGD(), on_failure=GO_ON)


@pytest.mark.parametrize("kind", [ParameterServer, Asynchronous])
def test_nobody_can_go_on_without_a_machine_if_each_has_a_piece(scenario, kind):
    def make(servers, policy):
        strategy = kind(servers=servers, server="colocated", on_failure=policy)
        return scenario(strategies={"only": strategy}, nodes=3)

    with pytest.raises(ValueError, match="each of the 3 nodes holds a piece") as caught:
        make(3, GO_ON)
    assert caught.value.errors()[0]["loc"] == ("strategies", "only", "on_failure")
    make(2, GO_ON)
    make(3, Restart())


def test_a_graph_that_can_not_average_without_a_node_is_refused(scenario):
    circle = {"kind": "edges", "directed": True, "edges": ((0, 1), (1, 2), (2, 0))}

    with pytest.raises(ValueError, match="edges have one direction"):
        scenario(strategies={"only": DPSGD(graph=circle, on_failure=GO_ON)}, nodes=3)


def test_it_depends_on_the_network_what_a_strategy_that_goes_on_computes():
    for kind, strategy in EVERY.items():
        assert strategy(on_failure=GO_ON).is_order_dependent, kind
    assert not Averaging().is_order_dependent
