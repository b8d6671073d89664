"""``auto`` chooses the fastest algorithm for a size, some nodes and a network."""

from hypothesis import given
from hypothesis import strategies as st

from simbench.network.collective import seconds
from simbench.network.collectives.all_reduce.auto import Auto
from simbench.network.collectives.all_reduce.binomial import Binomial
from simbench.network.collectives.all_reduce.double_binary_tree import DoubleBinaryTree
from simbench.network.collectives.all_reduce.halving_doubling import HalvingDoubling
from simbench.network.collectives.all_reduce.hierarchical import Hierarchical
from simbench.network.collectives.all_reduce.recursive_doubling import RecursiveDoubling
from simbench.network.collectives.all_reduce.ring import Ring
from simbench.network.collectives.broadcast.auto import Auto as AutoBroadcast
from simbench.network.topologies.islands import Islands
from simbench.network.topologies.star import Star
from simbench.network.topology import Network

GBIT = 10**9
MB = 10**6
TEN_GBIT = Star(bandwidth=10 * GBIT, latency=50_000)
STARS = st.builds(
    Star, bandwidth=st.sampled_from([10**6, GBIT, 10**11]), latency=st.integers(0, 10**8)
)


def test_auto_takes_few_steps_for_small_vectors_and_little_traffic_for_large_ones():
    def chosen(auto, num_bytes, star):
        return auto.chosen(num_bytes, tuple(range(8)), Network(star, 8)).kind

    assert chosen(Auto(), 1000, TEN_GBIT) == "recursive_doubling"
    assert chosen(Auto(), 100 * MB, TEN_GBIT) == "halving_doubling"
    assert chosen(AutoBroadcast(), 1000, TEN_GBIT) == "binomial"
    assert chosen(AutoBroadcast(), 100 * MB, TEN_GBIT) == "chain"


@given(st.integers(1, 10), st.integers(1, 10**8), STARS)
def test_auto_is_the_fastest_of_all_and_without_need_no_other(p, num_bytes, star):
    network, ranks = Network(star, p), tuple(range(p))
    others = [
        Ring(), RecursiveDoubling(), HalvingDoubling(), Binomial(), DoubleBinaryTree(),
        Hierarchical(),
    ]  # fmt: skip

    took_s = seconds(Auto(), num_bytes, range(p), star)

    times = {each.kind: seconds(each, num_bytes, range(p), star) for each in others}
    assert took_s <= min(times.values()) * (1 + 1e-6) + 1e-9
    kind = Auto().chosen(num_bytes, ranks, network).kind
    assert times[kind] == took_s
    assert kind == Auto().chosen(num_bytes, ranks, network).kind


def test_of_equally_fast_algorithms_auto_takes_the_one_with_the_fewest_messages():
    # Without latency, a ring, halving-doubling and rings of islands all take 2(p-1)/p.
    star = Star(bandwidth=GBIT, latency=0)

    assert Auto().chosen(8 * MB, tuple(range(8)), Network(star, 8)).kind == "ring"


def test_auto_knows_islands():
    islands = Islands(islands=3, size=8, bandwidth=900 * GBIT, bandwidth_between=10 * GBIT)

    assert Auto().chosen(100 * MB, tuple(range(24)), Network(islands, 24)).kind == "hierarchical"
