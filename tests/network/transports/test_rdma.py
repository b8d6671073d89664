"""RDMA against its formula."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.network.collective import PointToPoint, seconds_on
from simbench.network.topologies.star import Star
from simbench.network.topology import Network
from simbench.network.transports.rdma import RDMA


@given(st.integers(1, 10**9), st.integers(0, 10**6), st.integers(0, 10**5))
def test_a_message_takes_overhead_latency_and_its_packets(size, latency, overhead):
    star = Star(bandwidth=10**11, latency=latency, transport=RDMA(overhead=overhead))

    taken_s = seconds_on(Network(star, 2), [PointToPoint(0, 1, size)])

    wire_bytes = size + 82 * -(-size // 4096)
    expected_s = (overhead + latency) / 1e9 + 8 * wire_bytes / 1e11
    assert taken_s == pytest.approx(expected_s, rel=1e-6, abs=2e-9)
