"""Sharing that goes on from the last rates gives what sharing from scratch gives."""

import pytest
from fair_shares import fair_rates
from hypothesis import given
from hypothesis import strategies as st

from simbench.network.flow import Flow, Route
from simbench.network.sharing import Sharing

# Few different numbers, so that ties are common, and some that nothing divides.
RATES = st.sampled_from([1, 2, 3, 10, 10, 10, 97, 10**3, 10**9, 10**12]) | st.integers(1, 10**4)
WEIGHTS = st.sampled_from([1, 1, 1, 2, 0.5, 1e-7]) | st.floats(0.01, 100)
CAPS = st.none() | st.none() | RATES
BITS = st.integers(1, 10**6)


@st.composite
def histories(draw, max_links=8, max_changes=40):
    """Draw links, and what happens to flows over them one after the other."""
    links = draw(st.lists(RATES, min_size=1, max_size=max_links))
    index = st.integers(0, len(links) - 1)
    path = st.lists(index, min_size=1, max_size=4, unique=True)
    any_flow = st.integers(0, 10**6)
    step = st.one_of(
        st.tuples(st.just("join"), path, WEIGHTS, CAPS),
        st.tuples(st.just("join"), path, st.just(1), st.none()),
        st.tuples(st.just("leave"), any_flow),
        st.tuples(st.just("cap"), any_flow, CAPS),
        st.tuples(st.just("rate"), index, st.just(0) | RATES),
        st.tuples(st.just("cut"), index),
        st.tuples(st.just("time"), st.integers(1, 10**9)),
    )
    return links, draw(st.lists(step, max_size=max_changes))


class History:
    """Plays a history on a ``Sharing``, and keeps account of the same with fractions."""

    def __init__(self, links):
        self.link_rates = list(links)
        self.sharing = Sharing(links, lambda _: None)
        self.flows = {}
        self.bits_left = {}
        self.now_ns = 0
        self.number = 0

    def play(self, what, *how):
        if what in {"leave", "cap"}:
            if not self.flows:
                return
            flow = list(self.flows)[how[0] % len(self.flows)]
        if what == "join":
            self.join(*how)
        elif what == "leave":
            self.leave(flow)
        elif what == "cap":
            flow.cap_bps = how[1]
            self.sharing.limit(flow, self.now_ns)
        elif what == "rate":
            self.link_rates[how[0]] = how[1]
            self.sharing.set_rate(self.sharing.link(how[0]), how[1], self.now_ns)
        elif what == "cut":
            for flow in [flow for flow, path in self.flows.items() if how[0] in path]:
                self.leave(flow)
        else:
            self.settle()
            self.now_ns += how[0]

    def join(self, path, weight, cap):
        route = Route(0, 0, tuple(self.sharing.link(index) for index in path), 0)
        flow = Flow(self.number, route, 10**9, weight, cap, None, None)
        self.number += 1
        self.flows[flow] = path
        self.sharing.join(flow, self.now_ns)

    def leave(self, flow):
        self.sharing.leave(flow, self.now_ns)
        del self.flows[flow]

    def settle(self):
        if self.sharing.dirty:
            self.sharing.settle(self.now_ns)

    def expected(self):
        return fair_rates(
            list(self.flows.values()),
            self.link_rates,
            [flow.weight for flow in self.flows],
            [flow.cap_bps for flow in self.flows],
        )

    def check(self):
        self.settle()
        rates = [flow.rate_bps for flow in self.flows]
        # What a link has left is a difference, so its last bits are those of the link's rate.
        last_bits = 1e-14 * max(self.link_rates)
        assert rates == [
            pytest.approx(float(rate), rel=1e-9, abs=last_bits) for rate in self.expected()
        ]


@given(histories())
def test_after_every_change_rates_are_those_from_scratch(history):
    links, changes = history
    played = History(links)
    for change in changes:
        played.play(*change)
        played.check()


@given(histories())
def test_after_many_changes_at_once_rates_are_those_from_scratch(history):
    links, changes = history
    played = History(links)
    for change in changes:
        played.play(*change)
    played.check()
