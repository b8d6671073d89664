"""The committed comparison of strategies: what docs/design/comparison.md says of it holds.

It takes half an hour to run, so tests read its records; ``scenarios/strategies.yaml`` itself runs
shortened with all other scenarios.
"""

from pathlib import Path

import pandas as pd
import pytest

from simbench.records import RunFolder
from simbench.report.verdict import verdict
from simbench.scenario_file import load

ROOT = Path(__file__).parent.parent
RUN = RunFolder(ROOT / "results" / "comparison")
NETWORKS = ("data centre", "office", "two sites")


@pytest.fixture(scope="module")
def runs():
    table = pd.DataFrame(RUN.summary["runs"])
    table["network"] = [point["network"] for point in table["point"]]
    return table.set_index(["strategy", "network", "seed"]).sort_index()


@pytest.fixture(scope="module")
def times(runs):
    """Median seconds to the target, infinite where a seed didn't arrive."""
    seconds = runs["time_to_target_ns"].astype(float).fillna(float("inf")) / 1e9
    return seconds.groupby(level=["strategy", "network"]).median()


def test_it_is_a_run_of_the_committed_scenario():
    kept, asked = load(RUN.path / "scenario.yaml"), load(ROOT / "scenarios" / "strategies.yaml")
    assert set(kept.tune.chosen) == set(asked.strategies) - {"asynchronous at 0.004"}
    tune = kept.tune.model_copy(update={"chosen": {}})
    assert kept.model_copy(update={"tune": tune}).model_dump() == asked.model_dump()
    assert len(asked.strategies) >= 12
    assert [point.name for point in asked.points] == list(NETWORKS)
    assert not {asked.tune.seed} & set(asked.seeds)


def test_not_waiting_wins_under_a_persistent_straggler(times):
    assert times["AD-PSGD", "data centre"] < times["gossip", "data centre"] / 3
    assert times["asynchronous", "data centre"] < times["parameter server", "data centre"]
    assert times["backup worker", "data centre"] < times["parameter server", "data centre"] / 2
    assert times["asynchronous", "two sites"] < times["parameter server", "two sites"] / 3
    # Where the server's link is full, nobody gains by not waiting.
    assert times["asynchronous", "office"] > times["parameter server", "office"]


@pytest.mark.parametrize("network", NETWORKS)
def test_not_waiting_hurts_at_too_large_a_rate(runs, network):
    for seed in (0, 1):
        tuned, too_fast = (
            runs.loc[name, network, seed]["final_loss"]
            for name in ("asynchronous", "asynchronous at 0.004")
        )
        assert tuned < 2.34 < too_fast - 0.2


def test_local_sgd_beats_all_reduce_on_slow_links_and_loses_without(times):
    assert times["local SGD", "two sites"] < times["all-reduce", "two sites"] / 2
    assert 1.5 < times["local SGD", "data centre"] / times["all-reduce", "data centre"] < 1.7


def test_diloco_sends_a_period_th_of_the_bytes(runs):
    for seed in (0, 1):
        all_reduce, diloco = (
            runs.loc[name, "data centre", seed] for name in ("all-reduce", "DiLoCo")
        )
        each = [run["payload_bytes"] / run["samples"] for run in (all_reduce, diloco)]
        assert each[0] / each[1] == pytest.approx(8, rel=0.02)
        assert all_reduce["payload_bytes"] / diloco["payload_bytes"] > 5.5


@pytest.mark.parametrize("network", NETWORKS)
def test_a_nesterov_step_outside_beats_plain_averaging(times, network):
    assert times["DiLoCo", network] < 0.9 * times["local SGD", network]


def test_each_found_its_best_inside_its_grid():
    """A best at the edge of a grid isn't known to be one."""
    for _, found in RUN.table("tuning").groupby("strategy", sort=False):
        assert list(found["chosen"]) == [False, True, False]


def test_gossip_in_8_bits_is_as_good_for_a_quarter_of_the_bytes(runs, times):
    for seed in (0, 1):
        plain, compressed = (
            runs.loc[name, "two sites", seed] for name in ("gossip", "gossip in 8 bits")
        )
        each = [run["payload_bytes"] / run["samples"] for run in (plain, compressed)]
        assert each[0] / each[1] == pytest.approx(4, rel=0.03)
    assert times["gossip in 8 bits", "two sites"] < times["gossip", "two sites"] / 3
    assert times["gossip in 8 bits", "data centre"] < 1.02 * times["gossip", "data centre"]


def test_two_rings_of_few_bytes_are_slower_than_one_where_latency_is_what_costs(times):
    assert times["PowerSGD", "two sites"] > 1.5 * times["all-reduce", "two sites"]


@pytest.mark.parametrize("network", NETWORKS)
def test_pairs_that_wait_for_nobody_are_first(times, network):
    assert times.xs(network, level="network").idxmin() == "AD-PSGD"


def test_its_verdict_says_who_did_not_arrive_within_what():
    assert (
        "two sites: not reached within 53.5 s: top-k all-reduce; within 23.1 s: asynchronous at "
        "0.004; within 10.5 s: FedBuff (reached by 1 of 2 seeds)."
    ) in verdict(RUN)
