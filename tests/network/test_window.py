"""The law of a window."""

import pytest

from simbench.network.window import Window

MS = 10**6
SEGMENT = 1000


def window(**more):
    return Window(
        **({"initial_bytes": 10_000, "segment_bytes": SEGMENT, "max_bytes": 10**6} | more)
    )


def test_it_doubles_in_slow_start_up_to_the_buffers():
    each = window()
    for expected in (20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 10**6, 10**6):
        each.grow()
        assert each.num_bytes == expected


def test_after_slow_start_it_grows_by_nine_seventeenths_of_a_segment():
    each = window()
    each.settle(100_000)
    for _ in range(17):
        each.grow()
    assert each.num_bytes == pytest.approx(100_000 + 9 * SEGMENT)


@pytest.mark.parametrize(
    ("idle_ms", "expected"),
    [(0, 160_000), (250, 160_000), (251, 80_000), (501, 40_000), (10_000, 10_000)],
)
def test_it_is_halved_for_every_time_out_without_sending(idle_ms, expected):
    each = window()
    each.settle(160_000)
    each.end(7 * MS)

    each.begin((7 + idle_ms) * MS, round_trip_ns=50 * MS)

    assert each.num_bytes == expected


def test_where_a_round_trip_takes_no_time_it_limits_nothing():
    assert window().rate_bps(0) == float("inf")
    assert window().rate_bps(8 * MS) == 10_000_000
