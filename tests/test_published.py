"""Figures that others have published come out of scenarios: see benchmarks/published.py."""

import importlib.util
import math
from pathlib import Path

import pytest

from simbench.strategies.averaging import Averaging
from simbench.strategies.streaming_diloco import StreamingDiLoCo

FILE = Path(__file__).parents[1] / "benchmarks" / "published.py"
SPEC = importlib.util.spec_from_file_location("published_benchmark", FILE)
published = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(published)

CELLS = [
    pytest.param(
        case,
        utilisation,
        gbps,
        id=f"{case.name} {utilisation:.0%}",
        marks=() if utilisation in (0.5, 0.99) else pytest.mark.nightly,
    )
    for case, row in published.PUBLISHED_GBPS.items()
    for utilisation, gbps in zip(published.UTILISATIONS, row, strict=True)
]


@pytest.mark.parametrize(("case", "utilisation", "gbps"), CELLS)
def test_bandwidth_for_a_compute_utilisation_is_the_published_one(case, utilisation, gbps):
    """Within a factor of 1.5: published values lie on a grid of 1.2068, step times are rounded."""
    assert published.utilisation_at(case, gbps / 1.5 * 1e9) < utilisation
    assert published.utilisation_at(case, gbps * 1.5 * 1e9) >= utilisation


@pytest.mark.parametrize(
    "utilisation",
    [
        pytest.param(each, marks=() if each == 0.9 else pytest.mark.nightly)
        for each in published.UTILISATIONS
    ],
)
@pytest.mark.parametrize(
    "case",
    [case for case in published.PUBLISHED_GBPS if "10B" in case.name],
    ids=lambda case: case.name,
)
def test_with_many_buckets_the_bandwidth_is_the_closed_form(case, utilisation):
    """1 % below it, 1,000 buckets don't reach the utilisation; 1 % above it they do."""
    # Streaming: a step brings out 1,000 slices, of which the fragment that is due has its share.
    fine = case._replace(buckets=1000 // math.gcd(case.period, case.fragments))
    closed_form_bps = fine.closed_form_bps(utilisation)

    assert published.utilisation_at(fine, 0.99 * closed_form_bps) < utilisation
    assert published.utilisation_at(fine, 1.01 * closed_form_bps) >= utilisation


@pytest.mark.parametrize("overlap", [1, 5])
def test_steps_of_overlap_hide_as_much_more_of_a_fragment(overlap):
    """Two fragments in turn: what is waited for is what tau steps don't cover."""
    streaming = StreamingDiLoCo(period=20, fragments=2, overlap=overlap, alpha=0)
    step_ns, entries = 10**9, 2 * 10**6
    transfer_ns = round((overlap + 1.25) * step_ns)
    bandwidth_bps = round(32 * entries / 2 * 1e9 / transfer_ns)
    end_ns = published.planned_ns(streaming, 2, step_ns, entries, bandwidth_bps)
    # The last fragment has begun, and what is left of it belongs to the next period.
    assert end_ns - 20 * step_ns == pytest.approx(1.25 * step_ns - step_ns / 3, rel=1e-5)


def test_few_buckets_matter_where_next_to_nothing_may_stick_out():
    """Data-parallel training at 99 %: the last of 48 buckets alone asks for 1.4 times as much."""
    case = next(each for each in published.PUBLISHED_GBPS if each.name == "data-parallel 10B")
    last_bucket_bps = case.bits / 48 / (0.8 * 0.01 / 0.99)

    assert last_bucket_bps > 1.39 * case.closed_form_bps(0.99)
    assert published.needed_bps(case, 0.99) == pytest.approx(last_bucket_bps, rel=0.01)


def test_slowmo_iterations_take_what_was_measured():
    assert published.slowmo_iteration_ms(1) == pytest.approx(420, rel=0.1)
    assert 0.9 * 282 <= published.slowmo_iteration_ms(12) <= 1.1 * 294


def test_intellect_1_computes_as_much_of_the_time_as_was_measured():
    assert round(100 * published.intellect_utilisation(), 1) == 95.7


@pytest.mark.parametrize("nodes", [2, 5])
@pytest.mark.parametrize("period", [2, 7])
@pytest.mark.parametrize("ratio", [0.1, 1, 3])
def test_a_period_gains_what_it_spares_of_communication(nodes, period, ratio):
    """(1 + a) / (1 + a/H), for an all-reduce that takes a times as long as a step."""
    step_ns, entries = 10**9, 1000 * nodes
    ring_bits = 2 * (nodes - 1) / nodes * 32 * entries
    bandwidth_bps = round(ring_bits / ratio)

    def steps_per_s(period):
        each = published.planned_ns(
            Averaging(period=period), nodes, step_ns, entries, bandwidth_bps
        )
        return period / each * 1e9

    expected = (1 + ratio) / (1 + ratio / period)
    assert steps_per_s(period) / steps_per_s(1) == pytest.approx(expected, rel=1e-5)
