"""An all-reduce as a handful of flows takes as long as the messages that it stands for."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.clock import Clock
from simbench.network.collective import AllReduce
from simbench.network.collectives.ring import Ring
from simbench.network.fabric import Fabric
from simbench.network.topologies.star import Star
from simbench.scenario import Stop
from simbench.spec import discover
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer

GBIT = 10**9
ALGORITHMS = discover("simbench.network.collectives", AllReduce).values()


def ring_of_messages(joined_ns, num_bytes, star):
    """Pass real chunks around a ring, a node its next one when the last is through; all done."""
    clock, p = Clock(), len(joined_ns)
    fabric = Fabric(clock, star, p)
    came = [[clock.event() for _ in range(2 * (p - 1))] for _ in range(p)]
    ended = []

    def node(rank):
        yield clock.timeout(joined_ns[rank])
        for step in range(2 * (p - 1)):
            through = clock.event()
            after = (rank + 1) % p

            def arrived(through=through, news=came[after][step]):
                through.succeed()
                news.succeed()

            fabric.carry(rank, after, num_bytes // p, arrived)
            yield through & came[rank][step]
        ended.append(clock.now_ns)

    for rank in range(p):
        clock.process(node(rank))
    clock.run()
    assert len(ended) == p
    return max(ended)


def ring_of_flows(joined_ns, num_bytes, star):
    clock, p = Clock(), len(joined_ns)
    fabric = Fabric(clock, star, p)
    ended = []

    def begin(_):
        for flow in Ring().flows(num_bytes, tuple(range(p))):
            sender, receiver, flow_bytes, hops = flow
            fabric.carry(sender, receiver, flow_bytes, lambda: ended.append(clock.now_ns), hops)

    clock.timeout(max(joined_ns)).callbacks.append(begin)
    clock.run()
    assert len(ended) == p
    return max(ended)


STARS = st.builds(
    Star, bandwidth=st.sampled_from([10**6, GBIT, 10**11]), latency=st.integers(0, 10**7)
)


@given(st.integers(2, 9), st.integers(1, 10**6), STARS)
def test_flows_take_as_long_as_messages(p, chunk_bytes, star):
    together = [0] * p

    flows_ns = ring_of_flows(together, p * chunk_bytes, star)
    messages_ns = ring_of_messages(together, p * chunk_bytes, star)

    assert flows_ns == pytest.approx(messages_ns, rel=1e-6, abs=2 * (p - 1))


@given(st.lists(st.integers(0, 10**8), min_size=2, max_size=7), st.integers(1, 10**6), STARS)
def test_flows_take_as_long_as_messages_when_nodes_join_one_by_one(joined_ns, chunk_bytes, star):
    p = len(joined_ns)

    flows_ns = ring_of_flows(joined_ns, p * chunk_bytes, star)
    messages_ns = ring_of_messages(joined_ns, p * chunk_bytes, star)

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
    flows = Ring().flows(num_bytes, tuple(range(p)))

    assert sum(flow.num_bytes for flow in flows) == 2 * (p - 1) * num_bytes
    spread = [flow.num_bytes for flow in flows]
    assert max(spread) - min(spread) <= 2


@given(st.sampled_from(sorted(ALGORITHMS, key=str)), st.integers(0, 10**6), st.data())
def test_flows_connect_all_who_joined_and_nobody_else(algorithm, num_bytes, data):
    ranks = data.draw(st.lists(st.integers(0, 99), min_size=1, max_size=9, unique=True))

    flows = algorithm().flows(num_bytes, tuple(sorted(ranks)))

    assert all(flow.sender != flow.receiver and flow.num_bytes >= 0 for flow in flows)
    if len(ranks) > 1:
        assert {flow.sender for flow in flows} | {flow.receiver for flow in flows} == set(ranks)
    else:
        assert flows == []


@pytest.mark.parametrize("p", [2, 5, 8, 32])
def test_without_latency_the_ring_has_the_bus_bandwidth_of_its_links(p):
    num_bytes, rate_bps = 10**6 * p, GBIT

    took_s = ring_of_flows([0] * p, num_bytes, Star(bandwidth=rate_bps, latency=0)) / 1e9

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
