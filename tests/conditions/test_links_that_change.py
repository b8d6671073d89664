"""Links that fail, slow down, follow a trace or carry the traffic of others: exact times."""

import pytest

from simbench.conditions.background_traffic import BackgroundTraffic
from simbench.conditions.bandwidth_trace import BandwidthTrace
from simbench.conditions.link_degradation import LinkDegradation
from simbench.conditions.link_failure import LinkFailure
from simbench.conditions.link_failures import LinkFailures
from simbench.conditions.node_failure import NodeFailure
from simbench.conditions.partition import Partition
from simbench.network.topologies.leaf_spine import LeafSpine
from simbench.network.topologies.ring import Ring
from simbench.network.topologies.star import Star
from simbench.scenario import Stop
from simbench.simulation import Simulation
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging

GBIT = 10**9
BYTE_PER_NS = 8 * GBIT
RING = Ring(bandwidth=BYTE_PER_NS, latency=7)
LINKS = {"network": Star(bandwidth=BYTE_PER_NS, latency=7), "dimension": 25}
UP = ((0, "switch"),)


def told(simulation):
    return [(h.time_ns, h.subject, h.what) for h in simulation.events_until(10**15)]


@pytest.fixture
def trace(tmp_path):
    """Write a trace and return the path of its file."""

    def write(text):
        (tmp_path / "trace.csv").write_text(text)
        return str(tmp_path / "trace.csv")

    return write


# -- failures


@pytest.mark.parametrize("links", [{"links": UP}, {"nodes": (0,)}, {"nodes": (1,)}, {}])
def test_a_transfer_goes_on_with_the_rest_when_its_link_is_mended(post, links):
    simulation = post(LinkFailure(**links, at=57, until=80))

    # 50 bytes were through; the rest waits for the latency once more.
    assert simulation.world.arrivals == {0: 80 + 7 + 50}
    assert simulation.events_until(200)[-1].resent_bytes == 0


def test_what_is_cut_before_its_first_byte_starts_over(post):
    assert post(LinkFailure(links=UP, at=3, until=80)).world.arrivals == {0: 187}


def test_one_way_leaves_the_other_direction_alone(post):
    there = LinkFailure(links=((0, "switch"),), one_way=True, at=57, until=80)
    back = LinkFailure(links=(("switch", 0),), one_way=True, at=57, until=80)

    assert post(there).world.arrivals == {0: 137}
    assert post(back).world.arrivals == {0: 107}
    assert told(post(back)) == [(57, "switch -> 0", "down"), (80, "switch -> 0", "up")]


def test_where_there_is_another_way_the_rest_takes_it(post):
    simulation = post(LinkFailure(links=((0, 1),), at=57), network=RING, nodes=3)

    assert simulation.world.arrivals == {0: 57 + 14 + 50}
    assert told(simulation) == [
        (57, "0 - 1", "down"),
        (57, "0 -> 1", "cut"),
        (57, "0 -> 1", "again"),
    ]


def test_a_connection_that_waits_for_its_link_breaks_with_its_node(post):
    """The rest would do for the link; but the receiver forgets what had come through."""
    simulation = post(
        LinkFailure(links=UP, at=57, until=100), NodeFailure(nodes=(1,), at=70, until=80)
    )

    assert simulation.world.arrivals == {0: 100 + 107}
    assert simulation.events_until(300)[-1].resent_bytes == 50


def test_a_link_is_up_when_all_that_hold_it_down_have_let_go(post):
    simulation = post(
        LinkFailure(links=UP, at=57, until=80),
        Partition(places=(0,), at=60, until=90),
        NodeFailure(nodes=(0,), at=0, until=5),
    )

    # Anew from 5, so 45 bytes are through at 57.
    assert simulation.world.arrivals == {0: 90 + 7 + 55}


def test_links_fail_at_random_and_every_message_arrives(train):
    failures = LinkFailures(mean_time_between_failures=400, mean_time_to_repair=100)

    simulation = train(failures, nodes=3, updates=50)

    assert simulation.ended_by == "updates"
    assert simulation.end_ns > 50 * 159
    assert set(simulation.world.arrivals) == {m.number for m in simulation.world.messages}
    up, down = (
        [h for h in simulation.events_until(simulation.end_ns) if h.what == what]
        for what in ("up", "down")
    )
    assert {h.subject for h in up} == {f"{rank} - switch" for rank in range(3)}
    assert len(down) > 60


def test_a_link_that_is_never_mended_leaves_its_node_waited_for(post):
    simulation = post(
        LinkFailure(links=UP, at=57),
        LinkFailures(nodes=(1,), mean_time_between_failures=1000, mean_time_to_repair=1000),
    )

    assert simulation.ended_by == "stuck"
    assert simulation.who_waits() == (
        "node 1 for a message 'news'; 0 - switch is down for ever; "
        "a message from node 0 to node 1 can't be carried"
    )


def test_a_way_around_that_will_be_mended_is_waited_for(post):
    simulation = post(
        LinkFailure(links=((0, 1),), at=57),
        LinkFailure(links=((1, 2),), at=57, until=10**9),
        network=RING,
        nodes=3,
    )

    assert simulation.world.arrivals == {0: 10**9 + 14 + 50}


# -- partitions


def test_a_partition_holds_what_crosses_until_it_heals(train):
    """Two racks of two: each ring flow of 4 nodes that crosses has 12 ns until the cut."""
    racks = LeafSpine(nodes_per_leaf=2, spines=1, bandwidth=BYTE_PER_NS, latency=0)
    partition = Partition(places=("leaf 0",), at=40, until=1000)

    whole = train(network=racks, nodes=4)
    simulation = train(partition, network=racks, nodes=4)

    # A step of 10 ns; 2 (4 - 1) / 4 of 100 bytes to the next in the ring.
    assert whole.end_ns == 10 + 150
    # 30 bytes were through of two flows; 120 are left.
    assert simulation.end_ns == 1000 + 120
    cables = [subject for _, subject, what in told(simulation) if what == "down"]
    assert cables == ["leaf 0 - spine 0"]


def test_those_on_one_side_still_reach_each_other(world):
    arrived = {}

    def worker(node):
        if node.rank in (0, 2):
            for to in (1, 3):
                node.send(to, node.initial_state().parameters, tag=f"from {node.rank}")
        else:
            for _ in range(2):
                mail = yield node.receive()
                arrived[mail.sender, node.rank] = node._clock.now_ns
        yield from ()

    racks = LeafSpine(nodes_per_leaf=2, spines=1, bandwidth=BYTE_PER_NS, latency=0)

    world(worker, Partition(places=(0, 1, "leaf 0"), at=0, until=500), network=racks, nodes=4)

    assert arrived == {(0, 1): 100, (2, 3): 100, (0, 3): 600, (2, 1): 600}


# -- rates


@pytest.mark.parametrize(
    ("less", "slow"), [({"factor": 0.25}, 4), ({"rate": 2 * GBIT}, 4), ({}, 10)]
)
@pytest.mark.parametrize(("at", "until"), [(0, None), (57, None), (57, 77), (0, 27), (200, None)])
def test_a_degraded_link_takes_so_much_longer(post, less, slow, at, until):
    simulation = post(LinkDegradation(links=UP, at=at, until=until, **less))

    before = min(100, max(0, at - 7))
    slow_ns = 10**9 if until is None else until - max(7, at)
    slowly = min(100 - before, slow_ns / slow)
    expected = 7 + before + slowly * slow + (100 - before - slowly)
    assert simulation.world.arrivals[0] == pytest.approx(expected, abs=1)


def test_changes_of_one_link_apply_in_the_order_of_the_file(post, trace):
    follow = BandwidthTrace(links=UP, file=trace("time_ns,rate_gbit\n0,4\n"))
    half = LinkDegradation(links=UP, factor=0.5)
    at_most = LinkDegradation(links=UP, rate=3 * GBIT)

    assert post(half, at_most).world.arrivals == {0: 7 + 267}  # 8 -> 4 -> 3
    assert post(follow, half).world.arrivals == {0: 7 + 400}  # 4 -> 2
    assert post(half, follow).world.arrivals == {0: 7 + 200}  # the trace has the last word
    # Their end takes back what they said, and no more.
    over = LinkDegradation(links=UP, factor=0.5, until=107)
    assert post(follow, over).world.arrivals == {0: 107 + 75 * 2}  # 2 until 107, then 4


def test_the_order_of_the_file_counts_and_not_which_began_first(post, trace):
    follow = BandwidthTrace(links=UP, file=trace("time_ns,rate_gbit\n57,4\n"))

    # Half of 8 until 57, then half of 4: 25 bytes, and 75 in four times as long.
    assert post(follow, LinkDegradation(factor=0.5)).world.arrivals == {0: 57 + 300}


def test_a_rate_that_is_no_degradation_changes_nothing(post):
    assert post(LinkDegradation(rate=10**12)).world.arrivals == {0: 107}


def test_a_trace_is_followed_to_the_nanosecond(post, trace):
    """Bytes per ns: 1 until 27, 0.5 until 47, none until 100, then 2 (1 on the other link)."""
    file = trace("time_ns,rate_gbit\n0,8\n27,4\n47,0\n100,16\n")

    simulation = post(BandwidthTrace(links=UP, file=file))

    assert simulation.world.arrivals == {0: 100 + (100 - 20 - 10)}
    assert told(simulation) == [
        (0, "0 - switch", "8 Gbit/s"),
        (27, "0 - switch", "4 Gbit/s"),
        (47, "0 - switch", "0 bit/s"),
        (100, "0 - switch", "16 Gbit/s"),
    ]


def test_before_its_first_moment_a_trace_says_nothing(post, trace):
    file = trace("rate_mbit, time_us\n800,0.057\n")

    assert post(BandwidthTrace(links=UP, file=file)).world.arrivals == {0: 57 + 50 * 10}


def test_a_trace_repeats(post, trace):
    """10 ns on, 10 ns off."""
    file = trace("time_ns,rate_gbit\n0,8\n10,0\n")

    # From 7: 3 bytes by 10, then 10 in each of 9 periods, then 7.
    simulation = post(BandwidthTrace(links=UP, file=file, repeat=20))

    assert simulation.world.arrivals == {0: 20 * 10 + 7}


def test_a_trace_that_ends_at_nothing_leaves_its_link_dead(post, trace):
    file = trace("time_ns,rate_gbit\n57,0\n")
    noise = LinkFailures(nodes=(2,), mean_time_between_failures=1000, mean_time_to_repair=1000)

    simulation = post(BandwidthTrace(links=UP, file=file, one_way=True), noise, nodes=3)

    assert simulation.ended_by == "stuck"
    assert simulation.who_waits() == (
        "node 1 for a message 'news'; 0 -> switch carries nothing any more; "
        "a message from node 0 to node 1 can't be carried"
    )


# -- traffic of others


def test_one_endless_flow_halves_the_share(post):
    simulation = post(BackgroundTraffic(sender=0, receiver=1))

    assert simulation.world.arrivals == {0: 7 + 200}
    assert simulation.world.payload_bytes == 100
    assert len(simulation.world.messages) == 1


def test_a_slow_one_leaves_the_rest(post):
    simulation = post(BackgroundTraffic(sender=0, receiver=2, rate=2 * GBIT), nodes=3)

    assert simulation.world.arrivals[0] == pytest.approx(7 + 400 / 3, abs=1)


def test_it_ends_when_it_is_told_to(post):
    # Half as fast from 7 until 107, when 50 bytes are left.
    simulation = post(BackgroundTraffic(sender=0, receiver=1, until=107))

    assert simulation.world.arrivals == {0: 157}
    assert simulation.world.fabric.carried_bytes()[0] == 100 + 50


def test_on_another_link_it_disturbs_nobody(post):
    simulation = post(BackgroundTraffic(sender=2, receiver=3), nodes=4)

    assert simulation.world.arrivals == {0: 107}


def test_flows_and_pauses_take_their_share_of_time(train):
    """Alone, flows of 1000 ns and pauses of 500 ns on average carry two thirds of the rate."""
    traffic = BackgroundTraffic(sender=0, receiver=1, size=1000, gap=500)

    # Workers never talk: the link is the traffic's alone.
    simulation = train(
        traffic,
        strategy=Averaging(period=10**6),
        network=Star(bandwidth=BYTE_PER_NS, latency=0),
        step_ns=1000,
        updates=5000,
    )

    carried = simulation.world.fabric.carried_bytes()
    assert carried[0] / simulation.end_ns == pytest.approx(2 / 3, abs=0.05)
    assert simulation.world.payload_bytes == 0


def test_it_waits_for_nodes_that_are_down_and_goes_on(post):
    simulation = post(
        BackgroundTraffic(sender=1, receiver=2),
        NodeFailure(nodes=(2,), at=0, until=57),
        sender=0,
        receiver=2,
        nodes=3,
    )

    # Both set out at 57, and share the link to node 2.
    assert simulation.world.arrivals == {0: 57 + 7 + 200}


def test_traffic_alone_keeps_nothing_alive(train):
    endless = BackgroundTraffic(sender=0, receiver=1, size=10, gap=5)

    simulation = train(endless, NodeFailure(nodes=(1,), at=5), nodes=2)

    assert simulation.ended_by == "stuck"
    assert simulation.end_ns < 1000


def test_what_names_a_machine_that_a_strategy_lacks_is_passed_over(scenario, train):
    """Node 2 is the server's machine, which averaging doesn't have."""
    both = {"averaging": Averaging(), "asynchronous": Asynchronous()}
    conditions = (
        BackgroundTraffic(sender=2, receiver=0),
        NodeFailure(nodes=(2,), at=20, until=30),
        LinkFailure(links=((2, "switch"),), at=40, until=50),
        LinkDegradation(links=((2, "switch"),), one_way=True),
    )
    ends = {}
    for name in both:
        simulation = Simulation(
            scenario(strategies=both, conditions=conditions, stop=Stop(updates=1), **LINKS),
            name,
            seed=0,
        )
        while simulation.advance():
            pass
        ends[name] = simulation.end_ns

    assert ends["averaging"] == train().end_ns
    assert ends["asynchronous"] > train(strategy=Asynchronous()).end_ns
