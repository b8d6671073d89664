"""Quantities with units: what is read, what is refused, and that nothing changes on the way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from simbench.units import (
    COMPUTE_RATE_FLOPS,
    LINK_RATE_BPS,
    SIZE_BYTES,
    TIME_NS,
    BitsPerSecond,
    Bytes,
    FlopsPerSecond,
    Nanoseconds,
    PositiveNanoseconds,
    parse,
    render,
)

TABLES = [TIME_NS, SIZE_BYTES, LINK_RATE_BPS, COMPUTE_RATE_FLOPS]
FROM_A_FILE = "folder of the file"


@given(st.sampled_from(TABLES), st.integers(0, 10**30))
def test_what_is_rendered_is_read_back(units, amount):
    assert parse(render(amount, units), units) == amount


@given(st.sampled_from(TABLES), st.integers(1, 10**20), st.data())
def test_rendered_text_uses_the_largest_unit_that_is_exact(units, amount, data):
    used = units[render(amount, units).split()[1]]

    other = data.draw(st.sampled_from(sorted(units.values())))

    assert other <= used or amount % other


@pytest.mark.parametrize(
    ("text", "units", "amount"),
    [
        ("2.5 ms", TIME_NS, 2_500_000),
        ("10min", TIME_NS, 600 * 10**9),
        (" 1.5 h ", TIME_NS, 5400 * 10**9),
        ("1e-9 s", TIME_NS, 1),
        ("1 MB", SIZE_BYTES, 1_000_000),
        ("1 MiB", SIZE_BYTES, 1_048_576),
        ("1 kB", SIZE_BYTES, 1000),
        ("1 KiB", SIZE_BYTES, 1024),
        ("10 Gbit/s", LINK_RATE_BPS, 10**10),
        ("0.5 bit/s", LINK_RATE_BPS, None),
        ("2 TFLOP/s", COMPUTE_RATE_FLOPS, 2 * 10**12),
        ("0.3 ns", TIME_NS, None),
        ("1.0000000001 s", TIME_NS, None),
    ],
)
def test_a_quantity_is_whole_in_the_smallest_unit_or_refused(text, units, amount):
    if amount is not None:
        assert parse(text, units) == amount
        return
    with pytest.raises(ValueError, match=f"'{text}' is finer than one (ns|bit/s)$"):
        parse(text, units)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        (50, TIME_NS),
        (50.0, TIME_NS),
        (True, TIME_NS),
        (None, TIME_NS),
        ("50", TIME_NS),
        ("ms", TIME_NS),
        ("-1 ms", TIME_NS),
        ("1,5 ms", TIME_NS),
        ("1 ms 2 us", TIME_NS),
        ("nan ms", TIME_NS),
        ("50 sec", TIME_NS),
        ("1 Ms", TIME_NS),
        ("1 Mb", SIZE_BYTES),
        ("1 KB", SIZE_BYTES),
        ("1 mb", SIZE_BYTES),
        ("1 Gbps", LINK_RATE_BPS),
        ("1 GB/s", LINK_RATE_BPS),
        ("1 Gibit/s", LINK_RATE_BPS),
        ("1 TFLOPS", COMPUTE_RATE_FLOPS),
    ],
)
def test_no_unit_or_another_unit_is_refused_and_the_known_ones_are_told(text, units):
    with pytest.raises(ValueError, match=r"^expected a number and one of ") as refusal:
        parse(text, units)

    assert all(unit in str(refusal.value) for unit in units)
    assert str(refusal.value).endswith(f"got {text!r}")


def test_an_absurd_exponent_is_refused_before_it_fills_the_memory():
    with pytest.raises(ValueError, match="expected a number"):
        parse("1e999999999 s", TIME_NS)


@pytest.mark.parametrize("kind", [Nanoseconds, Bytes, BitsPerSecond, FlopsPerSecond])
def test_an_integer_is_a_quantity_in_python_but_never_in_a_file(kind):
    adapter = TypeAdapter(kind)

    assert adapter.validate_python(1000) == 1000
    with pytest.raises(ValidationError, match=r"expected a number and one of .*; got 1000"):
        adapter.validate_python(1000, context=FROM_A_FILE)


@pytest.mark.parametrize("kind", [PositiveNanoseconds, Bytes, BitsPerSecond, FlopsPerSecond])
def test_what_must_be_above_zero_refuses_zero(kind):
    with pytest.raises(ValidationError, match="must be above 0; got 0"):
        TypeAdapter(kind).validate_python(0)


def test_a_latency_may_be_zero_but_not_negative():
    assert TypeAdapter(Nanoseconds).validate_python("0 ms", context=FROM_A_FILE) == 0
    with pytest.raises(ValidationError, match="must be at least 0; got -1"):
        TypeAdapter(Nanoseconds).validate_python(-1)


@given(st.integers(1, 10**18))
def test_json_holds_text_that_the_same_type_reads(amount):
    adapter = TypeAdapter(Nanoseconds)

    text = adapter.dump_python(amount, mode="json")

    assert isinstance(text, str)
    assert adapter.validate_python(text, context=FROM_A_FILE) == amount
