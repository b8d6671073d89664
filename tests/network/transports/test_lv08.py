"""SimGrid's model against its formula."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.network.collective import PointToPoint, seconds_on
from simbench.network.topologies.star import Star
from simbench.network.topology import Network
from simbench.network.transports.lv08 import LV08


def taken_s(num_bytes, bandwidth, latency, *, num_flows=1):
    star = Star(bandwidth=bandwidth, latency=latency, transport=LV08())
    flows = [PointToPoint(sender, 0, num_bytes) for sender in range(1, num_flows + 1)]
    return seconds_on(Network(star, 1 + num_flows), flows)


@given(st.integers(1, 10**9), st.integers(10**6, 10**11), st.integers(0, 10**8))
def test_a_message_takes_13_01_latency_and_its_bytes_over_97_percent(size, bandwidth, latency):
    window_bps = 8 * 4194304 / (2 * latency / 1e9) if latency else float("inf")
    rate = min(0.97 * bandwidth, 0.97 * window_bps)

    expected_s = 13.01 * latency / 1e9 + 8 * size / rate

    assert taken_s(size, bandwidth, latency) == pytest.approx(expected_s, rel=1e-6, abs=3e-9)


def test_equal_flows_into_one_link_share_it():
    one_s, four_s = (taken_s(10**7, 10**9, 10**5, num_flows=n) for n in (1, 4))

    latency_s = 13.01e-4
    assert four_s - latency_s == pytest.approx(4 * (one_s - latency_s), rel=1e-6)
