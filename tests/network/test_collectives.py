"""An all-reduce as a handful of flows takes as long as the messages that it stands for."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.network.collective import AllReduce, seconds
from simbench.network.collectives.all_reduce.ring import Ring
from simbench.network.topologies.star import Star
from simbench.network.topology import Network
from simbench.scenario import Stop
from simbench.spec import discover
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer

GBIT = 10**9
ALGORITHMS = discover("simbench.network.collectives.all_reduce", AllReduce).values()


def ring(num_bytes, p, star, simulate):
    return round(seconds(Ring(simulate=simulate), num_bytes, range(p), star) * 1e9)


STARS = st.builds(
    Star, bandwidth=st.sampled_from([10**6, GBIT, 10**11]), latency=st.integers(0, 10**7)
)


@given(st.integers(2, 9), st.integers(1, 10**6), STARS)
def test_flows_take_as_long_as_messages(p, chunk_bytes, star):
    flows_ns = ring(p * chunk_bytes, p, star, "flows")
    messages_ns = ring(p * chunk_bytes, p, star, "messages")

    assert flows_ns == pytest.approx(messages_ns, rel=1e-6, abs=2 * (p - 1))


def passes_chunks(until_step):
    """Return a worker that all-reduces by sending and receiving a p-th at a time."""

    def worker(node):
        chunk = node.initial_state().parameters
        p = len(node.workers)
        for step in range(until_step(p)):
            node.send((node.rank + 1) % p, chunk, tag=str(step))
            chunk = (yield node.receive(str(step), (node.rank - 1) % p)).body

    return worker


def joins_an_all_reduce(node):
    yield node.all_reduce(node.initial_state().parameters)


@pytest.mark.parametrize("p", [2, 3, 8])
def test_a_strategy_that_passes_chunks_itself_takes_as_long_as_the_word(stage, p):
    star = Star(bandwidth=GBIT, latency=50_000)

    by_hand = stage(passes_chunks(lambda p: 2 * (p - 1)), nodes=p, dimension=1000, network=star)
    by_word = stage(joins_an_all_reduce, nodes=p, dimension=1000 * p, network=star)

    assert by_word.clock.now_ns == pytest.approx(by_hand.clock.now_ns, rel=1e-6, abs=2 * p)
    assert by_word.world.payload_bytes == by_hand.world.payload_bytes == 2 * (p - 1) * 4000 * p


@given(st.integers(2, 16), st.integers(0, 10**6))
def test_flows_of_a_ring_carry_every_byte_of_every_chunk_twice_to_all_but_one(p, num_bytes):
    flows = Ring().flows(num_bytes, tuple(range(p)), Network(Star(), p))

    assert sum(flow.num_bytes for flow in flows) == 2 * (p - 1) * num_bytes
    spread = [flow.num_bytes for flow in flows]
    assert max(spread) - min(spread) <= 2


@given(st.sampled_from(sorted(ALGORITHMS, key=str)), st.integers(0, 10**6), st.data())
def test_flows_connect_all_who_joined_and_nobody_else(algorithm, num_bytes, data):
    ranks = data.draw(st.lists(st.integers(0, 99), min_size=1, max_size=9, unique=True))

    flows = algorithm().flows(num_bytes, tuple(sorted(ranks)), Network(Star(), 100))

    assert all(flow.sender != flow.receiver and flow.num_bytes >= 0 for flow in flows)
    if len(ranks) > 1:
        assert {flow.sender for flow in flows} | {flow.receiver for flow in flows} == set(ranks)
    else:
        assert flows == []


@pytest.mark.parametrize("p", [2, 5, 8, 32])
def test_without_latency_the_ring_has_the_bus_bandwidth_of_its_links(p):
    num_bytes, rate_bps = 10**6 * p, GBIT

    took_s = seconds(Ring(), num_bytes, range(p), Star(bandwidth=rate_bps, latency=0))

    bus_bytes_per_s = num_bytes / took_s * 2 * (p - 1) / p  # as nccl-tests defines it
    assert bus_bytes_per_s * 8 == pytest.approx(rate_bps, rel=1e-6)


# 100 MB over links of 1.25e9 B/s with 50 us, 8 workers.
HUNDRED_MB = {
    "nodes": 8,
    "dimension": 25_000_000,
    "step_ns": 10**9,
    "network": Star(bandwidth=10 * GBIT, latency=50_000),
}


def rounds_s(simulation, count):
    """Return the virtual seconds from each update to the next, computing left out."""
    while len(simulation.updates) < count + 1:
        assert simulation.advance()
    times_ns = [update.time_ns for update in simulation.updates]
    return [(b - a - 10**9) / 1e9 for a, b in itertools.pairwise(times_ns)][:count]


def test_golden_ring(scenario, simulation):
    ring = simulation(scenario(strategies={"only": Averaging()}, **HUNDRED_MB))

    assert rounds_s(ring, 2) == pytest.approx([0.140700] * 2, rel=1e-6)


def test_golden_one_server_push_then_pull(scenario, simulation):
    server = simulation(scenario(strategies={"only": ParameterServer()}, **HUNDRED_MB))

    assert rounds_s(server, 2) == pytest.approx([1.280100] * 2, rel=1e-6)
    pushes = [m for m in server.world.messages if m.tag == "push"]
    first = server.world.arrivals[pushes[0].number] - pushes[0].sent_ns
    assert first / 1e9 == pytest.approx(0.640050, rel=1e-6)


def test_a_single_worker_needs_no_network(scenario, simulation):
    alone = simulation(
        scenario(nodes=1, strategies={"only": Averaging()}, step_ns=10, stop=Stop(updates=3))
    )
    while alone.advance():
        pass

    assert [update.time_ns for update in alone.updates] == [10, 20, 30]
    assert alone.world.messages == []


@pytest.mark.parametrize("rank", [0, 3])
def test_a_server_on_a_workers_machine_saves_that_workers_messages(scenario, simulation, rank):
    shared = simulation(
        scenario(
            nodes=4,
            strategies={"only": ParameterServer(server=rank)},
            network=Star(bandwidth=GBIT, latency=0),
            dimension=1000,
            stop=Stop(updates=2),
        )
    )
    while shared.advance():
        pass

    # Three pushes share its link down, three pulls its link up: 3 * 4000 B = 96 us, each way.
    assert [update.time_ns for update in shared.updates] == [96_010, 3 * 96_000 + 20]
    assert {message.num_bytes for message in shared.world.messages if message.sender == rank} == {
        0,
        4000,
    }
