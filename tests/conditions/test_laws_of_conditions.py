"""Whatever goes wrong, on whatever network: nothing is lost, and every run ends and says why."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simbench.condition import Condition
from simbench.condition_laws import check_books, play
from simbench.conditions.background_traffic import BackgroundTraffic
from simbench.conditions.bandwidth_trace import BandwidthTrace
from simbench.conditions.late_join import LateJoin
from simbench.conditions.link_degradation import LinkDegradation
from simbench.conditions.link_failure import LinkFailure
from simbench.conditions.link_failures import LinkFailures
from simbench.conditions.node_failure import NodeFailure
from simbench.conditions.node_failures import NodeFailures
from simbench.conditions.partition import Partition
from simbench.conditions.preemption import Preemption
from simbench.execution.memo import Memo
from simbench.execution.threads import ThreadExecutor
from simbench.network.collectives.all_reduce.halving_doubling import HalvingDoubling
from simbench.network.collectives.all_reduce.hierarchical import Hierarchical
from simbench.network.collectives.all_reduce.ring import Ring as RingAllReduce
from simbench.network.collectives.all_reduce.servers import Servers
from simbench.network.topologies.fully_connected import FullyConnected
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.ring import Ring
from simbench.network.topologies.star import Star
from simbench.network.topologies.torus import Torus
from simbench.records import Message
from simbench.scenario import Scenario, Stop
from simbench.simulation import simulate
from simbench.spec import discover
from simbench.strategy import Strategy
from simbench.testing import small_scenario, small_scenarios

MS = 10**6
KINDS = discover("simbench.strategies", Strategy)
OBSERVES = ("adacomm",)
"""They look at numbers, which the clock alone hasn't got."""
STRATEGIES = st.sampled_from([chosen() for kind, chosen in KINDS.items() if kind not in OBSERVES])
MOMENTS = st.integers(0, 2000).map(lambda ms: ms * MS)
LENGTHS = st.none() | st.integers(1, 500).map(lambda ms: ms * MS)
MEANS = st.integers(20, 1000).map(lambda ms: ms * MS)


def node_conditions(nodes):
    ranks = st.lists(st.integers(0, nodes - 1), min_size=1, max_size=2, unique=True).map(tuple)
    return [
        st.builds(
            lambda ranks, at, length: NodeFailure(
                nodes=ranks, at=at, until=None if length is None else at + length
            ),
            ranks,
            MOMENTS,
            LENGTHS,
        ),
        st.builds(LateJoin, nodes=ranks, at=MOMENTS.map(lambda ns: ns + 1)),
        st.builds(
            NodeFailures,
            nodes=ranks,
            mean_time_between_failures=MEANS,
            mean_time_to_repair=st.just(0) | MEANS,
        ),
        st.builds(Preemption, mean_time_between=MEANS, at_once=st.integers(1, 2), away=MEANS),
    ]


def link_conditions(nodes, network):
    which = st.fixed_dictionaries(
        {"nodes": st.just(()) | st.integers(0, nodes - 1).map(lambda rank: (rank,))}
    )
    found = [
        st.builds(
            lambda which, at, length: LinkFailure(
                **which, at=at, until=None if length is None else at + length
            ),
            which,
            MOMENTS,
            LENGTHS,
        ),
        st.builds(
            lambda which, up, down: LinkFailures(
                **which, mean_time_between_failures=up, mean_time_to_repair=down
            ),
            which,
            MEANS,
            MEANS,
        ),
        st.builds(
            lambda which, factor, at: LinkDegradation(**which, factor=factor, at=at),
            which,
            st.floats(0.01, 1),
            MOMENTS,
        ),
        st.builds(lambda which: BandwidthTrace(**which, repeat=70 * 10**9), which),
        st.builds(
            lambda at, length: Partition(at=at, until=None if length is None else at + length),
            MOMENTS,
            LENGTHS,
        ),
    ]
    if nodes > 1:
        found.append(
            st.builds(
                BackgroundTraffic,
                rate=st.none() | st.integers(10**5, 10**8),
                size=st.none() | st.integers(1, 10**5),
            )
        )
    return [] if network.kind == "instant" or nodes == 1 else found


@st.composite
def troubled_scenarios(draw):
    """Draw a small world, with up to four things that go wrong in it."""
    scenario = draw(small_scenarios(STRATEGIES))
    nodes = scenario.cluster.nodes
    # Slow enough that much is under way when something goes wrong.
    links = {"bandwidth": draw(st.integers(10**3, 10**5)), "latency": draw(st.integers(0, 50)) * MS}
    networks = [Star(**links), Ring(**links), FullyConnected(**links), Instant()]
    if nodes == 4:
        networks.append(Torus(dims=(2, 2), **links))
    scenario = scenario.model_copy(update={"network": draw(st.sampled_from(networks))})
    possible = node_conditions(nodes) + link_conditions(nodes, scenario.network)
    conditions = draw(st.lists(st.one_of(possible), max_size=4))
    algorithms = [RingAllReduce(), RingAllReduce(simulate="messages"), HalvingDoubling(), Servers()]
    if nodes % 2 == 0:
        algorithms.append(Hierarchical(island=2))
    # Made anew, so that everything is checked as a file's contents would be.
    return Scenario(
        **{name: getattr(scenario, name) for name in Scenario.model_fields}
        | {
            "conditions": tuple(conditions),
            "all_reduce": draw(st.sampled_from(algorithms)),
            "stop": Stop(updates=scenario.stop.updates, virtual_time=60_000 * MS),
        }
    )


@given(troubled_scenarios())
@settings(max_examples=60)
def test_nothing_is_lost_and_every_run_ends_and_says_why(scenario):
    simulation = play(scenario, "law")

    assert simulation.ended_by in ("updates", "virtual_time", "stuck")
    check_books(simulation)
    for message in simulation.world.messages:
        arrived_ns = simulation.world.arrivals.get(message.number)
        assert arrived_ns is None or arrived_ns >= message.sent_ns
    if simulation.ended_by == "stuck":
        assert "for ever" in simulation.who_waits()
    # Only what lasts for ever, or hardly lets anything through, ends a run without its updates.
    if simulation.ended_by == "virtual_time":
        assert scenario.conditions
    again = play(scenario, "law")
    assert again.end_ns == simulation.end_ns
    assert again.world.messages == simulation.world.messages
    assert again.world.arrivals == simulation.world.arrivals
    assert again.events_until(10**20) == simulation.events_until(10**20)


@given(troubled_scenarios())
@settings(max_examples=60)
def test_what_goes_wrong_changes_no_loss_where_no_order_matters(scenario):
    """It costs time: the same messages are sent, of the same bytes, only later."""
    simulation = play(scenario, "law")
    calm = play(scenario.model_copy(update={"conditions": ()}), "law")
    if scenario.strategies["law"].is_order_dependent or simulation.ended_by != "updates":
        return

    def versions(played):
        return [(each.progress, each.recipe.key) for each in played.versions]

    assert versions(simulation) == versions(calm)
    assert simulation.end_ns >= calm.end_ns or any(
        isinstance(each, BandwidthTrace) for each in scenario.conditions
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_with_training_has_the_books_of_its_plan(kind):
    chosen = KINDS[kind]
    # Who talks to everybody after every step has something to be cut.
    often = {"period": 1, "inner_period": 1, "island": 4, "share": 1.0}
    often |= {"fragments": 1, "overlap": 0}
    strategy = chosen(**{key: often[key] for key in often if key in chosen.model_fields})
    conditions = (
        NodeFailures(mean_time_between_failures=500 * MS, mean_time_to_repair=50 * MS),
        LinkFailures(mean_time_between_failures=500 * MS, mean_time_to_repair=50 * MS),
    )
    scenario = small_scenario(strategy, conditions=conditions, stop=Stop(samples=480))
    outcomes = []
    for threads in (1, 3):
        executor = ThreadExecutor(threads)
        outcomes.append(simulate(scenario, "law", 0, executor, Memo(None)))
        executor.close()
    outcome, again = outcomes

    assert again.summary == outcome.summary
    assert again.events == outcome.events
    assert again.spans == outcome.spans
    if kind not in OBSERVES:
        planned = play(scenario, "law")
        assert planned.events_until(planned.end_ns) == outcome.events
        assert planned.messages_until(planned.end_ns) == outcome.messages
    retries = [event for event in outcome.events if event.what == "again"]
    assert outcome.summary["retries"] == len(retries) > 3
    assert outcome.summary["resent_bytes"] == sum(event.resent_bytes for event in retries) > 0
    lost_ns = [event.lost_ns for event in outcome.events if event.lost_ns is not None]
    assert outcome.summary["lost_compute_ns"] == sum(lost_ns)
    assert outcome.summary["payload_bytes"] == sum(m.num_bytes for m in outcome.messages)
    assert all(isinstance(message, Message) for message in outcome.messages)


def test_where_nothing_goes_wrong_records_say_nothing_of_it():
    strategy = discover("simbench.strategies", Strategy)["averaging"]()
    executor = ThreadExecutor(1)
    scenario = small_scenario(strategy, stop=Stop(samples=80))
    outcome = simulate(scenario, "law", 0, executor, Memo(None))
    executor.close()

    assert outcome.events == []
    assert "retries" not in outcome.summary
    assert "conditions" not in scenario.model_dump(mode="json")


def test_every_kind_is_drawn_above():
    drawn = {
        BackgroundTraffic, BandwidthTrace, LateJoin, LinkDegradation, LinkFailure, LinkFailures,
        NodeFailure, NodeFailures, Partition, Preemption,
    }  # fmt: skip

    assert drawn == set(discover("simbench.conditions", Condition).values())
