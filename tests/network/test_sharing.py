"""Max-min fairness, by its definition."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from simbench.network.sharing import max_min_rates

LINKS = st.lists(st.integers(1, 10**12), min_size=1, max_size=6)


@st.composite
def networks(draw):
    link_rates = draw(LINKS)
    path = st.lists(st.integers(0, len(link_rates) - 1), min_size=1, max_size=4, unique=True)
    return draw(st.lists(path, max_size=12)), link_rates


def loads(paths, rates, num_links):
    return [
        sum(rate for path, rate in zip(paths, rates, strict=True) if link in path)
        for link in range(num_links)
    ]


@given(networks())
def test_no_link_carries_more_than_it_can(network):
    paths, link_rates = network

    rates = max_min_rates(paths, link_rates)

    for load, limit in zip(loads(paths, rates, len(link_rates)), link_rates, strict=True):
        assert load <= limit * (1 + 1e-9)
    assert all(rate > 0 for rate in rates)


@given(networks())
def test_every_flow_has_a_full_link_on_which_no_other_is_faster(network):
    paths, link_rates = network

    rates = max_min_rates(paths, link_rates)

    carried = loads(paths, rates, len(link_rates))
    for flow, path in enumerate(paths):
        assert any(
            carried[link] >= link_rates[link] * (1 - 1e-9)
            and all(
                rates[other] <= rates[flow] * (1 + 1e-9)
                for other, its_path in enumerate(paths)
                if link in its_path
            )
            for link in path
        )


@given(networks(), st.randoms(use_true_random=False))
def test_rates_do_not_depend_on_the_order_of_flows(network, random):
    paths, link_rates = network
    order = list(range(len(paths)))
    random.shuffle(order)

    rates = max_min_rates(paths, link_rates)
    shuffled = max_min_rates([paths[flow] for flow in order], link_rates)

    assert shuffled == pytest.approx([rates[flow] for flow in order], rel=1e-9)


@given(networks(), st.integers(2, 1000))
def test_faster_links_all_over_make_all_flows_faster_alike(network, factor):
    paths, link_rates = network

    rates = max_min_rates(paths, link_rates)
    faster = max_min_rates(paths, [factor * rate for rate in link_rates])

    assert faster == pytest.approx([factor * rate for rate in rates], rel=1e-9)


@given(networks(), st.data())
def test_one_flow_less_never_harms_the_slowest(network, data):
    paths, link_rates = network
    assume(len(paths) > 1)
    gone = data.draw(st.integers(0, len(paths) - 1))

    before = max_min_rates(paths, link_rates)
    after = max_min_rates(paths[:gone] + paths[gone + 1 :], link_rates)

    assert min(after) >= min(before) * (1 - 1e-9)


@pytest.mark.parametrize(
    ("paths", "link_rates", "rates"),
    [
        ([[0, 1], [0], [1]], [10, 4], [2, 8, 2]),
        ([[0]] * 4, [10], [2.5] * 4),
        ([[0, 1], [0, 2]], [10, 3, 100], [3, 7]),
        ([[0], [0, 1], [1, 2], [2]], [6, 6, 10], [3, 3, 3, 7]),
        ([[], [0]], [5], [float("inf"), 5]),
        ([], [5], []),
    ],
    ids=["GOLDEN", "equal shares", "bottlenecks of their own", "chain", "no link", "no flow"],
)
def test_known_networks(paths, link_rates, rates):
    assert max_min_rates(paths, link_rates) == rates


@pytest.mark.parametrize("num_nodes", [2, 50, 2000])
def test_a_ring_of_unequal_links_settles_the_slow_ones_first(num_nodes):
    """Each flow has two links of its own, so it gets the slower; whatever the number of links."""
    paths = [[2 * node, 2 * ((node + 1) % num_nodes) + 1] for node in range(num_nodes)]
    link_rates = [10**9 + 7919 * link % 1009 for link in range(2 * num_nodes)]

    assert max_min_rates(paths, link_rates) == [min(link_rates[a], link_rates[b]) for a, b in paths]
