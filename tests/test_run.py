"""A whole run in this process: the same bits however computed, stopped where it should."""

import itertools
from collections import Counter
from typing import Literal

import pytest

from simbench import simulation
from simbench.execution.memo import Memo
from simbench.execution.threads import ThreadExecutor
from simbench.records import RunFolder
from simbench.run import differing_tables, run, run_folder
from simbench.scenario import Scenario, Stop
from simbench.scenario_file import dump, load
from simbench.simulation import simulate
from simbench.strategies.averaging import Averaging

NODES, BATCH, EVERY = 4, 2, 2
QUADRATIC = {
    "model": {"kind": "quadratic", "dimension": 10, "noise": 0.3},
    "data": {"kind": "gaussian"},
    "batch_size": BATCH,
    "optimizer": {"kind": "sgd", "learning_rate": 0.1},
}
GPT = {
    "model": {"kind": "gpt", "layers": 1, "width": 16, "heads": 2, "context": 16},
    "data": {"kind": "text", "validation_samples": 16},
    "batch_size": BATCH,
    "optimizer": {"kind": "adamw", "learning_rate": 0.003},
}
FAMILIES = {
    "server": {"kind": "parameter_server"},
    "averaging": {"kind": "averaging", "period": 2},
    "asynchronous": {"kind": "asynchronous"},
}


def tiny(jitter="lognormal", bandwidth="10 kbit/s", **keys):
    """Return a scenario as a file would say it."""
    machine = {"kind": "fixed", "step_time": "100 ms", "jitter": {"kind": jitter}}
    return Scenario.model_validate(
        {
            "name": "tiny",
            "task": QUADRATIC,
            "cluster": {"nodes": NODES, "machine": machine},
            "network": {"kind": "star", "bandwidth": bandwidth, "latency": "1 ms"},
            "strategies": FAMILIES,
            "evaluate_every": EVERY,
            "stop": {"updates": 12},
            "seeds": (0, 1),
            **keys,
        },
        context=".",
    )


def operations(folder, which):
    return Counter(folder.provenance["operations"][which])


def only(folder, **of):
    """Return the one summary that fits."""
    (summary,) = (
        each for each in folder.summary["runs"] if all(each[k] == v for k, v in of.items())
    )
    return summary


def each_run(folder, *tables):
    """Yield the summary of each strategy and seed, and its share of the tables."""
    for summary in folder.summary["runs"]:
        shares = []
        for name in tables:
            table = folder.table(name)
            mine = (table["strategy"] == summary["strategy"]) & (table["seed"] == summary["seed"])
            shares.append(table[mine])
        yield summary, *shares


# -- the same bits


def test_threads_memo_and_repetition_do_not_change_records(ran):
    scenario, memo = tiny(task=GPT, stop={"updates": 6}), Memo(None)

    cold = ran(scenario, threads=1, memo=memo)
    others = {
        "two threads": ran(scenario, threads=2),
        "three threads": ran(scenario, threads=3),
        "warm memo": ran(scenario, threads=2, memo=memo),
    }

    assert {name: differing_tables(cold, other) for name, other in others.items()} == {
        "two threads": [],
        "three threads": [],
        "warm memo": [],
    }
    for folder in (cold, others["two threads"], others["three threads"]):
        assert operations(folder, "run")["gradient"] >= 3 * 2 * 6
    assert operations(others["warm memo"], "run") == Counter()
    assert operations(others["warm memo"], "known") >= Counter(gradient=3 * 2 * 6)


@pytest.mark.parametrize("stop", [{"updates": 12}, {"loss": 1.0, "virtual_time": "5 s"}])
def test_how_far_the_clock_runs_ahead_does_not_change_records(ran, monkeypatch, stop):
    scenario = tiny(stop=stop)
    folders = []

    for lookahead in (1, 3, 16):
        monkeypatch.setattr(simulation, "_LOOKAHEAD", lookahead)
        folders.append(ran(scenario))

    assert differing_tables(folders[0], folders[1]) == []
    assert differing_tables(folders[0], folders[2]) == []
    stopped = {each["stopped_by"] for each in folders[0].summary["runs"]}
    assert stopped == ({"loss"} if "loss" in stop else {"updates"})


class Chatty(Averaging):
    """Averages, and sends what nobody reads."""

    kind: Literal["chatty"] = "chatty"

    def work(self, node):
        steps, answer = super().work(node), None
        while True:
            node.send((node.rank + 1) % len(node.workers), None, tag="gossip")
            answer = yield steps.send(answer)


def test_messages_that_nobody_read_are_counted_where_the_run_ends(monkeypatch):
    averaging = tiny(strategies={"averaging": FAMILIES["averaging"]}, stop={"updates": 12})
    scenario = averaging.model_copy(update={"strategies": {"chatty": Chatty(period=2)}})
    executor = ThreadExecutor(1)

    def summary(stop, lookahead=3):
        monkeypatch.setattr(simulation, "_LOOKAHEAD", lookahead)
        stopping = scenario.model_copy(update={"stop": stop})
        return simulate(stopping, "chatty", 0, executor, Memo(None)).summary

    whole = summary(Stop(updates=12))
    target = Stop(updates=12, loss=whole["final_loss"] * 1.5)
    stopped = [summary(target, lookahead) for lookahead in (1, 3, 16)]
    executor.close()

    assert [each["stopped_by"] for each in stopped] == ["loss"] * 3
    assert stopped[0] == stopped[1] == stopped[2]
    assert 0 < stopped[0]["unread_messages"] < whole["unread_messages"]


def test_a_table_that_differs_is_named(ran):
    one, other = (ran(tiny(seeds=(0,), bandwidth=rate)) for rate in ("10 kbit/s", "20 kbit/s"))

    # The updates and messages are the same in number, but not in time.
    assert differing_tables(one, one) == []
    assert differing_tables(one, other) == [
        "evaluations", "updates", "spans", "messages", "summary", "scenario",
    ]  # fmt: skip


# -- what is trained, and what isn't


def test_another_bandwidth_computes_no_gradient_of_synchronous_strategies(ran):
    synchronous = {name: FAMILIES[name] for name in ("server", "averaging")}
    memo = Memo(None)
    first = ran(tiny(strategies=synchronous), memo=memo)

    second = ran(tiny(strategies=synchronous, bandwidth="1 Mbit/s"), memo=memo)

    assert operations(first, "run")["gradient"] == 2 * 2 * 12 * NODES
    assert operations(second, "run") == Counter()
    assert operations(second, "known")["gradient"] == 2 * 2 * 12 * NODES
    losses = [folder.table("evaluations")["loss"].tolist() for folder in (first, second)]
    assert losses[0] == losses[1]
    times = [folder.table("evaluations")["time_ns"].tolist() for folder in (first, second)]
    assert times[0] != times[1]


def test_going_further_trains_again_but_evaluates_only_what_is_new(ran):
    memo, one = Memo(None), {"server": FAMILIES["server"]}
    ran(tiny(strategies=one, seeds=(0,), stop={"updates": 8}), memo=memo)

    further = ran(tiny(strategies=one, seeds=(0,), stop={"updates": 12}), memo=memo)

    assert operations(further, "run")["evaluation"] == 2
    assert operations(further, "known")["evaluation"] == 5


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("threads", [1, 2])
def test_hardly_more_gradients_run_than_the_stop_needed(ran, kind, threads):
    whole = ran(tiny(task=GPT, strategies={kind: FAMILIES[kind]}, seeds=(0,), stop={"updates": 40}))
    losses = whole.table("evaluations")["loss"]
    # Stop at the first evaluation behind the middle that is lower than all before it.
    lowest = losses.cummin().shift()
    target = losses[(losses < lowest) & (losses.index >= len(losses) // 2)].iloc[0]

    stopped = ran(
        tiny(
            task=GPT,
            strategies={kind: FAMILIES[kind]},
            seeds=(0,),
            stop={"loss": target, "updates": 1000},
        ),
        threads=threads,
    )

    needed = only(stopped)["samples"] // BATCH
    assert only(stopped)["stopped_by"] == "loss"
    # Behind the one that settles it, two evaluations may be under way; blind lookahead would have
    # computed hundreds.
    assert needed <= operations(stopped, "run")["gradient"] <= needed + 2 * EVERY * NODES


def test_the_model_that_all_start_from_is_evaluated_once_per_seed(ran):
    folder = ran(tiny())

    starts = folder.table("evaluations").query("progress == 0")
    assert len(starts) == 3 * 2
    assert operations(folder, "known")["evaluation"] == 2 * 2
    assert all(len(set(losses)) == 1 for _, losses in starts.groupby("seed")["loss"])
    assert set(starts["time_ns"]) == {0}


# -- where a run stops


def test_a_target_stops_at_the_first_evaluation_at_or_below_it(ran):
    losses = ran(tiny(seeds=(0,))).table("evaluations").query("strategy == 'server'")["loss"]
    target = losses.iloc[3]
    assert (losses.iloc[:3] > target).all()

    folder = ran(tiny(stop={"loss": target, "updates": 12}))

    for summary, evaluations in each_run(folder, "evaluations"):
        reached = evaluations[evaluations["loss"] <= target]
        if len(reached):
            assert len(reached) == 1
            assert summary["stopped_by"] == "loss"
            assert summary["time_to_target_ns"] == reached["time_ns"].iloc[0]
            assert summary["end_ns"] == summary["time_to_target_ns"]
            # What is sent at that very moment, but after it, no longer counts.
            assert summary["payload_bytes"] == reached["payload_bytes"].iloc[0]
            assert summary["final_loss"] == reached["loss"].iloc[0]
        else:
            assert summary["stopped_by"] == "updates"
            assert summary["time_to_target_ns"] is None
    assert only(folder, strategy="server", seed=0)["final_loss"] == target


def test_a_budget_of_virtual_time_is_kept_to_the_nanosecond(ran):
    folder = ran(tiny(stop={"virtual_time": "1234567890 ns"}))

    for summary, updates, messages, spans in each_run(folder, "updates", "messages", "spans"):
        assert (summary["stopped_by"], summary["end_ns"]) == ("virtual_time", 1234567890)
        assert updates["time_ns"].max() <= 1234567890
        assert messages["sent_ns"].max() <= 1234567890
        assert messages["arrived_ns"].dropna().max() <= 1234567890
        assert spans["end_ns"].max() == 1234567890
    assert folder.table("messages")["arrived_ns"].isna().any()


@pytest.mark.parametrize(
    ("stop", "why", "synchronous", "asynchronous"),
    [
        # Progress counts steps of all nodes where they step together, else the server's updates.
        ({"updates": 7}, "updates", 7, 7),
        ({"samples": 41}, "samples", 6, 21),
        ({"samples": 1}, "samples", 1, 1),
        ({"samples": 80, "updates": 50}, "samples", 10, 40),
        ({"samples": 80, "updates": 10}, "updates", 10, 10),
    ],
)
def test_budgets_of_progress_end_at_the_update_that_uses_them_up(
    ran, stop, why, synchronous, asynchronous
):
    folder = ran(tiny(stop=stop, seeds=(0,)))

    for summary, evaluations, updates in each_run(folder, "evaluations", "updates"):
        each = summary["strategy"] != "asynchronous"
        count = synchronous if each else asynchronous
        assert summary["stopped_by"] == why
        assert summary["updates"] == len(updates) == count
        assert updates["update"].tolist() == list(range(1, count + 1))
        assert summary["samples"] == count * BATCH * (NODES if each else 1)
        # The last version is evaluated, whatever the rhythm says.
        assert evaluations["progress"].iloc[-1] == count
        assert evaluations["time_ns"].iloc[-1] == summary["end_ns"]


# -- what is recorded


def test_bytes_are_those_of_all_messages(ran):
    folder = ran(tiny())

    for summary, evaluations, messages in each_run(folder, "evaluations", "messages"):
        assert summary["payload_bytes"] == messages["num_bytes"].sum() > 0
        assert evaluations["payload_bytes"].is_monotonic_increasing
        for row in evaluations.itertuples():
            before = messages[messages["sent_ns"] < row.time_ns]["num_bytes"].sum()
            until = messages[messages["sent_ns"] <= row.time_ns]["num_bytes"].sum()
            assert before <= row.payload_bytes <= until
        assert messages["number"].tolist() == list(range(len(messages)))
        late = messages["arrived_ns"].dropna() > summary["end_ns"]
        assert not late.any()


def test_spans_tile_every_node(ran):
    folder = ran(tiny())

    for summary, spans in each_run(folder, "spans"):
        assert set(spans["node"]) == set(range(summary["machines"]))
        for _, tiles in spans.groupby("node"):
            assert tiles["start_ns"].iloc[0] == 0
            assert tiles["end_ns"].iloc[-1] == summary["end_ns"]
            assert (tiles["start_ns"].iloc[1:].to_numpy() == tiles["end_ns"].iloc[:-1]).all()
            assert (tiles["end_ns"] > tiles["start_ns"]).all()
            activities = tiles["activity"].tolist()
            assert all(one != other for one, other in itertools.pairwise(activities))


def test_staleness_counts_the_updates_between_reading_and_adding(ran):
    folder = ran(tiny(jitter="constant", stop={"updates": 20}, seeds=(0,)))

    for summary, updates in each_run(folder, "updates"):
        staleness = updates["staleness_updates"].tolist()
        if summary["strategy"] == "asynchronous":
            # Equal workers take turns: each meets one push of each of the others.
            assert staleness == [*range(NODES), *[NODES - 1] * (20 - NODES)]
            assert updates["node"].tolist() == [0, 1, 2, 3] * 5
        else:
            assert set(staleness) == {0}
            assert updates["node"].isna().all()
        assert summary["mean_staleness_updates"] == sum(staleness) / 20


def test_progress_is_told_with_every_evaluation(ran):
    told = []

    folder = ran(tiny(), progress=told.append)

    evaluations = folder.table("evaluations")
    assert [each.evaluation.loss for each in told] == evaluations["loss"].tolist()
    assert {each.num_runs for each in told} == {6}
    done = [each.runs_done for each in told]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 5)


# -- the folder


def test_the_folder_depends_on_the_question_alone(tmp_path):
    scenario = tiny()
    (tmp_path / "resolved.yaml").write_text(dump(scenario))

    read_back = load(tmp_path / "resolved.yaml")
    place = run_folder(scenario, tmp_path).path

    assert place == tmp_path / "tiny" / scenario.run_id
    assert run_folder(read_back, tmp_path).path == place
    others = [
        tiny(bandwidth="11 kbit/s"),
        tiny(jitter="constant"),
        tiny(seeds=(0,)),
        tiny(seeds=(1, 0)),
        tiny(stop={"updates": 13}),
        tiny(evaluate_every=3),
        tiny(strategies={**FAMILIES, "server": {"kind": "parameter_server", "server": 0}}),
        tiny(task={**QUADRATIC, "batch_size": 3}),
    ]
    assert len({each.run_id for each in [scenario, *others]}) == 1 + len(others)


def test_the_folder_depends_on_the_contents_of_files_and_not_on_their_names(tmp_path):
    def with_text(name, text):
        (tmp_path / name).write_text(text)
        data = {"kind": "text", "path": str(tmp_path / name)}
        return tiny(task={**GPT, "data": data}).run_id

    one = with_text("one.txt", "a line of text\n" * 3000)

    assert with_text("other.txt", "a line of text\n" * 3000) == one
    assert with_text("changed.txt", "a line of test\n" * 3000) != one


class Breaking(ThreadExecutor):
    """Fails the second evaluation."""

    def start(self, recipe):
        if self.operations_run["evaluation"]:
            raise OSError("no more")
        return super().start(recipe)


def test_what_goes_wrong_leaves_no_folder(tmp_path):
    executor = Breaking(1)
    try:
        with pytest.raises(OSError, match="no more"):
            run(tiny(), executor, Memo(None), RunFolder(tmp_path / "results" / "it"))
    finally:
        executor.close()

    assert list(tmp_path.rglob("*")) == []
