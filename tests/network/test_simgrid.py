"""Finish times agree with SimGrid's, where it is installed: see benchmarks/simgrid.py."""

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "simgrid.py"
SPEC = importlib.util.spec_from_file_location("simgrid_benchmark", FILE)
benchmark = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(benchmark)


@pytest.fixture(scope="module", autouse=True)
def _peer():
    reason = benchmark.why_not()
    if reason:
        pytest.skip(reason)


@pytest.mark.parametrize("weighted", [True, False], ids=["weights of 1/latency", "no weights"])
@pytest.mark.parametrize("name", list(benchmark.TOPOLOGIES))
def test_finish_times_agree_within_1e_6_or_2_ns_per_change_of_rate(name, weighted):
    topology = benchmark.TOPOLOGIES[name]
    found = benchmark.agreement(benchmark.case(topology, 100, seed=7, weighted=weighted))

    assert found.largest_allowed <= 1
