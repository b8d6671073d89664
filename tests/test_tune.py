"""The search before a comparison, on bowls where the best rate is known.

Without noise, gradient descent on x^2/2 takes x to (1 - rate) x: in one step to the optimum at rate
1, and as far from it at rate 1 - d as at 1 + d.
"""

import pytest

from simbench.estimate import estimate
from simbench.execution.memo import Memo
from simbench.execution.threads import ThreadExecutor
from simbench.records import TABLES
from simbench.report.tuning import tuning_note, tuning_table, tuning_verdict
from simbench.scenario_file import ScenarioError, dump, load

FILE = """\
name: tuned
task:
  model: {kind: quadratic, dimension: 4}
  data: {kind: gaussian}
  batch_size: 2
  dtype: float64
  optimizer: {kind: sgd, learning_rate: 0.1}
cluster:
  nodes: 2
  machine: {kind: fixed, step_time: 100 ms, jitter: {kind: constant}}
network: {kind: star, bandwidth: 10 kbit/s, latency: 1 ms}
strategies:
  averaging: {kind: averaging}
  DiLoCo: {kind: diloco, period: 2}
  fixed: {kind: averaging, learning_rate: 0.3}
evaluate_every: 2
stop: {loss: 0.01, updates: 12}
seeds: [0]
"""
SWEEP = """\
sweep:
  network:
    near: {kind: star, bandwidth: 1 Gbit/s, latency: 20 us}
    far: {kind: star, bandwidth: 1 kbit/s, latency: 40 ms}
"""


@pytest.fixture
def read(tmp_path):
    """Write a file of these pieces and read it."""

    def read(*pieces, sets=()):
        (tmp_path / "tuned.yaml").write_text("".join([FILE, *pieces]))
        return load(tmp_path / "tuned.yaml", sets)

    return read


def chosen(folder):
    table = folder.table("tuning")
    return dict(table[table["chosen"]][["strategy", "settings"]].itertuples(index=False))


ONE = ("strategies={a: {kind: averaging}}",)


# -- what is chosen


def test_the_best_reaches_the_target_first_and_is_compared(read, ran):
    scenario = read("tune: {keys: {learning_rate: [0.5, 1.0, 1.9]}}\n", sets=ONE)

    folder = ran(scenario)

    table = folder.table("tuning")
    assert list(table["learning_rate"]) == [0.5, 1.0, 1.9]
    assert list(table["chosen"]) == [False, True, False]
    assert set(table["seed"]) == {100}
    # Evaluated every 2 steps: at rate 1 it is there at the first, at 1/2 when 4 * 0.5^k is small.
    assert list(table["stopped_by"]) == ["loss", "loss", "updates"]
    step_ns = table["end_ns"][2] // 12
    assert abs(table["time_to_target_ns"][1] - 2 * step_ns) < step_ns
    assert table["loss"][1] < 1e-9
    (compared,) = folder.summary["runs"]
    assert compared["learning_rate"] == 1.0
    assert compared["time_to_target_ns"] == table["time_to_target_ns"][1]


def test_where_none_reaches_the_target_the_lowest_loss_is_best(read, ran):
    scenario = read(
        "tune: {keys: {learning_rate: [0.001, 0.01, 0.1, 2.1]}}\n",
        sets=[*ONE, "stop={loss: 1e-9, updates: 4}"],
    )
    folder = ran(scenario)

    table = folder.table("tuning")
    assert table["time_to_target_ns"].isna().all()
    assert chosen(folder) == {"a": "learning_rate: 0.1"}
    assert table["loss"].idxmin() == 2


def test_of_equals_the_first_is_taken_and_the_others_told(read, ran):
    # Powers of two: |1 - 1/2| and |1 - 3/2| give the same bits.
    scenario = read("tune: {keys: {learning_rate: [1.5, 0.5, 0.25]}}\n", sets=ONE)

    folder = ran(scenario)

    assert chosen(folder) == {"a": "learning_rate: 1.5"}
    told = folder.summary["tuning"]["strategies"]["a"]
    assert told["ties"] == ["learning_rate: 0.5"]
    assert "learning_rate: 0.5 is as good" in tuning_table(folder)[1][-1]


@pytest.mark.parametrize(
    ("grid", "edge"),
    [
        ("[0.2, 0.4, 0.9]", {"learning_rate": "largest"}),
        ("[0.9, 0.4, 0.2]", {"learning_rate": "largest"}),
        ("[1.1, 1.5, 1.9]", {"learning_rate": "smallest"}),
        ("[0.2, 1.0, 1.9]", {}),
    ],
)
def test_a_best_value_at_the_edge_of_its_grid_is_told(read, ran, grid, edge):
    folder = ran(read(f"tune: {{keys: {{learning_rate: {grid}}}}}\n", sets=ONE))

    assert folder.summary["tuning"]["strategies"]["a"]["at_edge"] == edge
    told = tuning_verdict(folder)
    assert told == (
        ["The search chose a value at the edge of its grid for a: a better one may lie beyond."]
        if edge
        else []
    )


def test_a_search_that_only_diverges_says_so(read, ran):
    rates = "tune: {keys: {learning_rate: [1e200, 1e250]}}\n"

    folder = ran(read(rates, sets=ONE))

    assert folder.table("tuning")["loss"].isna().all()
    assert "The search found nothing that trains for a." in tuning_verdict(folder)


# -- who is searched, over what


def test_each_strategy_is_searched_over_the_keys_that_it_has_and_does_not_set(read, ran):
    scenario = read(
        "tune:\n  keys: {learning_rate: [0.5, 1.0], outer.learning_rate: [0.5, 1.0, 1.5]}\n"
    )
    grids = scenario.tune.strategies

    assert grids == {
        "averaging": {"learning_rate": (0.5, 1.0)},
        "DiLoCo": {"learning_rate": (0.5, 1.0), "outer.learning_rate": (0.5, 1.0, 1.5)},
        "fixed": {},
    }
    table = ran(scenario).table("tuning")
    assert table.groupby("strategy").size().to_dict() == {"averaging": 2, "DiLoCo": 6}


def test_what_a_strategy_keeps_of_a_part_that_is_searched(read):
    scenario = read("tune: {keys: {outer.learning_rate: [0.5]}}\n")
    found = scenario.model_copy(
        update={
            "tune": scenario.tune.model_copy(
                update={"chosen": {"DiLoCo": {"outer.learning_rate": 0.5}}}
            )
        }
    )

    outer = found.points[0].scenario.strategies["DiLoCo"].outer
    assert (outer.learning_rate, outer.momentum, outer.nesterov) == (0.5, 0.9, True)


def test_a_strategy_may_have_a_grid_of_its_own_or_none(read):
    scenario = read(
        "tune:\n  keys: {learning_rate: [0.5, 1.0]}\n"
        "  strategies:\n    DiLoCo: {}\n    fixed: {learning_rate: [0.2], period: [1, 2]}\n"
    )

    assert scenario.tune.strategies == {
        "averaging": {"learning_rate": (0.5, 1.0)},
        "DiLoCo": {},
        "fixed": {"learning_rate": (0.2,), "period": (1, 2)},
    }


# -- where it is searched, and what is refused


def test_the_search_is_made_at_the_named_point_alone(read, ran):
    scenario = read(SWEEP, "tune: {keys: {learning_rate: [0.5, 1.0]}, at: {network: far}}\n")

    folder = ran(scenario)

    alone = read("tune: {keys: {learning_rate: [0.5, 1.0]}}\n", sets=[
        "network={kind: star, bandwidth: 1 kbit/s, latency: 40 ms}"
    ])  # fmt: skip
    assert folder.table("tuning").equals(ran(alone).table("tuning"))
    assert folder.summary["tuning"]["at"] == {"network": "far"}
    assert "ran by itself at far, on seed 100" in tuning_note(folder)
    rates = {each["learning_rate"] for each in folder.summary["runs"]}
    assert rates == {1.0, 0.5, 0.3}


def test_the_search_may_have_a_network_of_its_own(read, ran):
    own = "network: {kind: instant}"
    scenario = read(SWEEP, f"tune: {{keys: {{learning_rate: [0.5, 1.0]}}, {own}}}\n", sets=ONE)

    folder = ran(scenario)

    assert folder.table("tuning")["time_to_target_ns"].min() == 2 * 100 * 10**6
    assert "on a instant" not in tuning_note(folder)
    assert "on a network of its own (instant)" in tuning_note(folder)


WRONG = {
    "a seed that is compared": (
        "seed: 0",
        "FILE:19: tune.seed: 0 is compared: it is among seeds",
    ),
    "a network that is compared": (
        "network: {kind: star, bandwidth: 10 kbit/s, latency: 1 ms}",
        "FILE:19: tune.network: this network is compared: leave it out",
    ),
    "an axis that isn't there": (
        "at: {network: far}",
        "FILE:19: tune.at.network: no axis of the sweep",
    ),
    "a strategy that isn't there": (
        "strategies: {averagin: {}}",
        "FILE:19: tune.strategies.averagin: unknown key 'averagin'; did you mean 'averaging'?",
    ),
    "a key that no strategy has": (
        "keys: {learning_rat: [1.0]}",
        "FILE:19: tune.keys.learning_rat: no strategy has a key 'learning_rat'",
    ),
    "a key that this strategy doesn't have": (
        "strategies: {averaging: {perod: [1]}}",
        "FILE:19: tune.strategies.averaging.perod: unknown key 'perod'; did you mean 'period'?",
    ),
    "a value that won't do": (
        "keys: {learning_rate: [1.0, -1.0]}",
        "FILE:19: tune.keys.learning_rate.1: expected greater than 0; got -1.0",
    ),
    "the same value twice": (
        "keys: {learning_rate: [1.0, 1.0]}",
        "FILE:19: tune.keys.learning_rate.1: each counts once; 1.0 is there already",
    ),
    "no values": (
        "keys: {learning_rate: []}",
        "FILE:19: tune.keys.learning_rate: expected at least 1; got []",
    ),
    "unknown key": ("sed: 7", "FILE:19: tune.sed: unknown key 'sed'; did you mean 'seed'?"),
    "nothing to search": (
        "strategies: {averaging: {}, DiLoCo: {}, fixed: {}}",
        "FILE:19: tune: nothing to search: no strategy is left with a key to tune",
    ),
    "a choice that isn't in the grid": (
        "chosen: {averaging: {learning_rate: 3.0}}",
        "FILE:19: tune.chosen.averaging: isn't a choice of its grid",
    ),
}


@pytest.mark.parametrize(("keys", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_line_and_key(read, tmp_path, keys, message):
    grid = "" if keys.startswith("keys") else "keys: {learning_rate: [0.5, 1.0]}, "
    with pytest.raises(ScenarioError) as error:
        read(f"tune: {{{grid}{keys}}}\n")

    assert message in str(error.value).replace(str(tmp_path / "tuned.yaml"), "FILE")


def test_a_network_of_its_own_that_a_point_has_is_refused_by_its_name(read):
    with pytest.raises(ScenarioError, match=r"this network is compared; say at: {'network': 'far'"):
        read(SWEEP, "tune:\n  keys: {learning_rate: [1.0]}\n"
             "  network: {kind: star, bandwidth: 1 kbit/s, latency: 40 ms}\n")  # fmt: skip


def test_a_network_of_its_own_must_suit_the_cluster(read):
    with pytest.raises(ScenarioError, match=r"tune\.network"):
        read("tune: {keys: {learning_rate: [1.0]}, network: {kind: torus, dimensions: [3, 3]}}\n")


def test_a_key_is_not_both_swept_and_tuned(read):
    with pytest.raises(ScenarioError, match="sets a key that is tuned"):
        read(
            "sweep: {strategies.averaging.learning_rate: [0.1, 0.2]}\n"
            "tune: {strategies: {averaging: {learning_rate: [1.0]}}}\n"
        )


# -- what is written, known and counted


def test_what_is_written_is_read_back(read, tmp_path):
    scenario = read(SWEEP, "tune: {keys: {learning_rate: [0.5], outer.learning_rate: [0.5]}}\n")

    (tmp_path / "again.yaml").write_text(dump(scenario))

    again = load(tmp_path / "again.yaml")
    assert again == scenario
    assert again.run_id == scenario.run_id
    assert read().run_id != read("tune: {keys: {learning_rate: [0.5]}}\n").run_id
    assert "\ntune:" not in dump(read())


def test_the_resolved_scenario_says_what_was_chosen_and_is_not_searched_again(read, ran):
    first = ran(read("tune: {keys: {learning_rate: [0.5, 1.0]}}\n"))

    resolved = load(first.path / "scenario.yaml")

    # The outer momentum overshoots from the optimum that rate 1 finds at once.
    assert resolved.tune.chosen == {
        "averaging": {"learning_rate": 1.0},
        "DiLoCo": {"learning_rate": 0.5},
    }
    again = ran(resolved)
    assert again.table("tuning").empty
    for name in set(TABLES) - {"tuning"}:
        assert again.table(name).equals(first.table(name)), name
    assert again.summary["runs"] == first.summary["runs"]


def test_the_compared_runs_are_those_of_a_scenario_with_these_rates(read, ran):
    tuned = ran(read("tune: {keys: {learning_rate: [0.5, 1.0]}}\n"))

    found = {"averaging": 1.0, "DiLoCo": 0.5}
    by_hand = ran(read(sets=[f"strategies.{n}.learning_rate={r}" for n, r in found.items()]))

    assert tuned.summary["runs"] == by_hand.summary["runs"]
    assert tuned.table("messages").equals(by_hand.table("messages"))


def test_a_second_run_trains_nothing_again(read, ran):
    memo, scenario = Memo(None), read("tune: {keys: {learning_rate: [0.5, 1.0]}}\n")
    first = ran(scenario, memo=memo)

    second = ran(scenario, memo=memo)

    assert second.provenance["operations"]["run"] == {}
    assert second.table("tuning").equals(first.table("tuning"))


def test_progress_and_estimate_count_the_search(read, ran):
    told = []
    scenario = read("tune: {keys: {learning_rate: [0.5, 0.6, 0.7]}}\n", sets=[*ONE, "stop.loss=-1"])

    folder = ran(scenario, progress=told.append)

    assert [*dict.fromkeys(each.point for each in told)] == [
        *(f"search, learning_rate: {rate}" for rate in (0.5, 0.6, 0.7)),
        "",
    ]
    assert {each.num_runs for each in told} == {4}
    executor = ThreadExecutor(1)
    expected = estimate(scenario, executor, Memo(None))
    executor.close()
    counts = folder.provenance["operations"]["run"]
    assert expected.gradients == 4 * 12 * 2 == counts["gradient"]
