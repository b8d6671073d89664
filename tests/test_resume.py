"""A run goes on from the moments that an earlier one kept: same records, little computed again."""

import errno
import itertools
from types import SimpleNamespace

import pytest

from simbench.execution.memo import Memo
from simbench.execution.threads import ThreadExecutor
from simbench.scenario import Scenario
from simbench.simulation import simulate

NODES, EVERY, LOOKAHEAD = 4, 2, 3
STRATEGIES = {
    "server": {"kind": "parameter_server", "combine": "gradients"},
    # With the mean, it would be the run of one server, of which all is known.
    "shards": {
        "kind": "parameter_server",
        "combine": "gradients",
        "servers": 2,
        "aggregator": {"kind": "median"},
    },
    "averaging": {"kind": "averaging", "period": 3},
    "overlapped": {"kind": "averaging", "period": 2, "bucket": "4 kB"},
    "asynchronous": {"kind": "asynchronous", "server": 1},
    "pairs": {"kind": "ad_psgd"},
}


def scenario(steps):
    """Return a scenario of so many steps of each worker."""
    machine = {"kind": "fixed", "step_time": "100 ms", "jitter": {"kind": "lognormal"}}
    return Scenario.model_validate(
        {
            "name": "tiny",
            "task": {
                "model": {"kind": "gpt", "layers": 1, "width": 16, "heads": 2, "context": 16},
                "data": {"kind": "text", "validation_samples": 16},
                "batch_size": 2,
                "optimizer": {"kind": "adamw", "learning_rate": 0.003},
            },
            "cluster": {"nodes": NODES, "machine": machine},
            "network": {"kind": "star", "bandwidth": "10 Mbit/s", "latency": "1 ms"},
            "strategies": STRATEGIES,
            "evaluate_every": EVERY,
            "stop": {"samples": steps * NODES * 2},
            "seeds": (0,),
        },
        context=".",
    )


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def executor():
    pool = ThreadExecutor(2)
    yield pool
    pool.close()


def moments_in(folder):
    return sorted((folder / "moments").glob("*.moment"))


class StopHereError(Exception):
    """Stands for whatever ends a run in its middle."""


def train(executor, folder, strategy, steps, interrupt_after=None, **options):
    """Return the outcome, or None if it was interrupted, and how many gradients were computed."""
    memo = Memo(folder, **options)
    evaluations = itertools.count(1)

    def settled(_):
        if next(evaluations) == interrupt_after:
            raise StopHereError

    before, outcome = executor.operations_run, None
    try:
        outcome = simulate(scenario(steps), strategy, 0, executor, memo, settled)
    except StopHereError:
        pass
    finally:
        memo.close()
    return outcome, (executor.operations_run - before)["gradient"]


def tables(outcome):
    return outcome.evaluations, outcome.updates, outcome.messages, outcome.spans, outcome.summary


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_longer_run_goes_on_from_a_shorter_one(executor, folder, tmp_path, strategy):
    whole, _ = train(executor, tmp_path / "other", strategy, 30)
    train(executor, folder, strategy, 20)

    longer, computed = train(executor, folder, strategy, 30)

    assert tables(longer) == tables(whole)
    # Those of 10 steps, and what the workers were about when it ended.
    assert computed <= (10 + 1) * NODES


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_interrupted_run_computes_little_again(executor, folder, tmp_path, strategy):
    whole, all_gradients = train(executor, tmp_path / "other", strategy, 30)
    _, first = train(executor, folder, strategy, 30, interrupt_after=10, keep_every_s=0)
    assert first < all_gradients

    resumed, rest = train(executor, folder, strategy, 30)

    assert tables(resumed) == tables(whole)
    # The moment before the interruption was kept; the clock had run ahead of it.
    assert first + rest <= all_gradients + (LOOKAHEAD + 2) * EVERY * NODES
    assert rest <= all_gradients * 2 / 3


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_moment_holds_what_is_live_and_no_more(executor, folder, strategy):
    """It doesn't grow with what was computed: a few Values a node, not all since the start."""
    sizes = []
    for steps in (6, 40):
        train(executor, folder, strategy, steps)
        memo = Memo(folder)
        sizes.append(len(memo.moments.keys()))
        memo.close()

    assert min(sizes) > 0
    # What the locals of each generator hold.
    assert max(sizes) <= 7 * NODES


def test_a_moment_takes_the_place_of_the_one_before(executor, folder):
    for steps, strategy in itertools.product((4, 8, 12), STRATEGIES):
        train(executor, folder, strategy, steps, keep_every_s=0)

    assert len(moments_in(folder)) == len(STRATEGIES)
    assert len(list((folder / "moments").iterdir())) == len(STRATEGIES)


def test_a_moment_that_was_deleted_is_computed_again(executor, folder, tmp_path):
    whole, all_gradients = train(executor, tmp_path / "other", "averaging", 20)
    train(executor, folder, "averaging", 10)
    for file in moments_in(folder):
        file.unlink()

    longer, computed = train(executor, folder, "averaging", 20)

    assert tables(longer) == tables(whole)
    assert computed >= all_gradients - NODES


def test_a_memo_without_a_folder_keeps_no_moments(executor):
    memo = Memo(None, keep_every_s=0)

    outcome = simulate(scenario(4), "averaging", 0, executor, memo)

    assert memo.moments is None
    assert memo.num_results == len(outcome.evaluations)


@pytest.mark.parametrize("strategy", ["averaging", "asynchronous"])
def test_what_is_done_again_is_bounded_by_the_interval(executor, folder, monkeypatch, strategy):
    """On a clock that moves on by a second with each evaluation, which is EVERY steps."""
    seconds = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: next(seconds))
    monkeypatch.setattr("simbench.execution.keeper.time", clock)
    _, all_gradients = train(executor, folder / "other", strategy, 60)
    interval = 5

    _, first = train(executor, folder, strategy, 60, interrupt_after=20, keep_every_s=interval)
    _, rest = train(executor, folder, strategy, 60)

    again = first + rest - all_gradients
    assert again <= (interval + 1 + LOOKAHEAD + 2) * EVERY * NODES
    assert first >= 19 * EVERY * NODES


def test_a_moment_that_cannot_be_written_costs_no_run(executor, folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("simbench.execution.moments.torch.save", full)
    with pytest.warns(UserWarning, match="tiny: averaging, seed 0 can't be kept .* No space left"):
        outcome, _ = train(executor, folder, "averaging", 4)

    assert len(outcome.evaluations) == 3
    assert list((folder / "moments").iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "spoilt"])
def test_a_moment_that_is_not_whole_is_computed_again(executor, folder, tmp_path, damage):
    whole, _ = train(executor, tmp_path / "other", "averaging", 20)
    train(executor, folder, "averaging", 10)
    (file,) = moments_in(folder)
    content = file.read_bytes()
    file.write_bytes(content[:-100] if damage == "cut" else b"x" * len(content))

    longer, _ = train(executor, folder, "averaging", 20)

    assert tables(longer) == tables(whole)
    assert moments_in(folder) != [file]


def test_what_was_recalled_and_is_needed_no_more_is_let_go(executor, folder):
    train(executor, folder, "averaging", 10)
    memo = Memo(folder)
    try:
        simulate(scenario(20), "averaging", 0, executor, memo)
        assert memo.moments._opened == {}
    finally:
        memo.close()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_run_whose_losses_are_known_computes_nothing_for_a_moment(executor, folder, strategy):
    _, first = train(executor, folder, strategy, 12)
    kept = moments_in(folder)

    _, again = train(executor, folder, strategy, 12, keep_every_s=0)

    assert first > 0
    assert again == 0
    assert moments_in(folder) == kept
