import json
import re

import pandas as pd
import pyarrow.parquet as pq
import pytest

from simbench.execution.memo import Memo
from simbench.execution.processes import ProcessExecutor

pytestmark = pytest.mark.usefixtures("no_figures")

LOCAL = ("--executor", "local")


def folders_of(tmp_path):
    return sorted((tmp_path / "results" / "tiny").iterdir())


def test_a_whole_run_is_shown_and_not_computed_again(simbench, tiny, monkeypatch):
    first = simbench("run", tiny, *LOCAL)
    monkeypatch.setattr("simbench.run.simulate", None)

    again = simbench("run", tiny, *LOCAL)

    assert "is whole already, so nothing is computed" in again.err
    assert "gradients" not in again.err
    assert (again.code, again.out) == (0, first.out)


def test_vectorise_computes_many_nodes_in_one_call_and_says_so(simbench, tiny, tmp_path):
    said = simbench("run", tiny, "--set", "vectorise=true")

    assert said.code == 0
    assert "(vectorise: true)" in said.out
    assert "in this process, up to 64 operations a call" in said.err
    (folder,) = folders_of(tmp_path)
    counts = json.loads((folder / "provenance.json").read_text())["operations"]
    assert 0 < counts["calls"]["gradient"] < counts["run"]["gradient"] / 2
    again = simbench("run", tiny, "--set", "vectorise=true", "--no-cache")
    assert "is the same, bit for bit" in again.err


def test_no_cache_computes_again_and_says_that_it_is_the_same(simbench, tiny, tmp_path):
    simbench("run", tiny, *LOCAL)

    said = simbench("run", tiny, *LOCAL, "--no-cache", "--seed", 0, "--seed", 1)

    assert said.code == 0
    assert "is the same, bit for bit" in said.err
    assert re.search(r"^[1-9]\d* gradients computed, 0 known", said.err, re.MULTILINE)
    assert len(folders_of(tmp_path)) == 1


def test_no_cache_names_the_table_that_differs_and_puts_it_right(simbench, tiny, tmp_path):
    simbench("run", tiny, *LOCAL)
    (folder,) = folders_of(tmp_path)
    table = folder / "evaluations.parquet"
    right = pd.read_parquet(table)
    wrong = pq.read_table(table).to_pylist()
    wrong[3]["loss"] += 1e-12
    pq.write_table(pq.read_table(table).from_pylist(wrong, pq.read_schema(table)), table)

    said = simbench("run", tiny, *LOCAL, "--no-cache")

    assert "differs in: evaluations\n" in said.err
    pd.testing.assert_frame_equal(pd.read_parquet(table), right, check_exact=True)


def test_a_loss_that_has_gone_to_nan_is_the_same_as_itself_and_null_in_json(simbench, tiny):
    diverging = ("run", tiny, *LOCAL, "--set", "task.optimizer.learning_rate=1e30", "--seed", 0)
    simbench(*diverging)

    said = simbench(*diverging, "--no-cache", "--json")

    assert "is the same, bit for bit" in said.err
    runs = json.loads(said.out, parse_constant=pytest.fail)["runs"]
    assert {run["final_loss"] for run in runs} == {None}


def test_json_is_all_that_stands_on_standard_output(simbench, tiny, tmp_path):
    said = simbench("run", tiny, *LOCAL, "--json")

    told = json.loads(said.out)
    (folder,) = folders_of(tmp_path)
    assert told["results"] == f"results/tiny/{folder.name}"
    assert told["report"] == "reports/tiny/index.html"
    assert len(told["verdict"]) >= 1
    assert len(told["runs"]) == 6
    assert json.loads((folder / "summary.json").read_text())["runs"] == told["runs"]


def test_set_and_seed_lay_other_values_over_the_file(simbench, tiny, tmp_path):
    said = simbench(
        "run", tiny, *LOCAL, "--json", "--results", "elsewhere", "--reports", "told",
        "--set", "name=other", "--set", "stop.updates=4", "--seed", 5,
    )  # fmt: skip

    told = json.loads(said.out)
    assert told["results"].startswith("elsewhere/other/")
    assert told["report"] == "told/other/index.html"
    assert {run["seed"] for run in told["runs"]} == {5}
    assert {run["updates"] for run in told["runs"]} == {4}
    assert not (tmp_path / "results").exists()


def test_another_bandwidth_trains_nothing_that_has_the_same_keys(simbench, tiny):
    simbench("run", tiny, *LOCAL)

    said = simbench("run", tiny, *LOCAL, "--set", "network.bandwidth=2 kbit/s")

    # Without jitter even the asynchronous strategy meets the same order of updates.
    assert re.search(r"^nothing to train: .* [1-9]\d* gradients are known$", said.err, re.MULTILINE)
    assert re.search(r"^0 gradients computed, [1-9]\d* known", said.err, re.MULTILINE)


def test_an_interrupted_run_leaves_no_folder_but_keeps_its_losses(
    simbench, tiny, tmp_path, monkeypatch
):
    put, puts = Memo.put, []

    def put_until_interrupted(memo, key, result):
        put(memo, key, result)
        puts.append(key)
        if len(puts) == 9:  # the second strategy has begun
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Memo, "put", put_until_interrupted)
        said = simbench("run", tiny, *LOCAL)

    assert said.code == 130
    assert said.err.splitlines()[-1].startswith(
        "simbench: interrupted; nothing was written to results. To go on, "
    )
    assert said.out == ""
    assert not list(tmp_path.rglob("results/**/*"))
    again = simbench("run", tiny, *LOCAL)
    assert again.code == 0
    known = re.search(r"computed, (\d+) known; .* evaluations computed, (\d+) known", again.err)
    assert int(known[1]) > 0
    assert int(known[2]) >= 9


def test_an_interruption_while_the_report_is_made_says_that_results_are_whole(
    simbench, tiny, tmp_path, monkeypatch
):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("simbench.report.page.write_report", interrupted)
        said = simbench("run", tiny, *LOCAL)

    (folder,) = folders_of(tmp_path)
    assert said.code == 130
    assert said.err.splitlines()[-1].startswith(
        "simbench: interrupted; the results are whole in results/tiny/"
    )
    again = simbench("run", tiny, *LOCAL)
    assert again.code == 0
    assert "is whole already" in again.err
    assert folders_of(tmp_path) == [folder]


def test_an_interruption_while_actors_are_sent_home_says_that_results_are_whole(
    simbench, tiny, tmp_path, monkeypatch
):
    close = ProcessExecutor.close

    def interrupted(executor):
        close(executor)
        raise KeyboardInterrupt

    monkeypatch.setattr(ProcessExecutor, "close", interrupted)

    said = simbench("run", tiny, *LOCAL)

    (folder,) = folders_of(tmp_path)
    where = f"results/tiny/{folder.name}"
    assert said.code == 130
    assert said.err.splitlines()[-1] == (
        f"simbench: interrupted; the results are whole in {where}, the report may not be: "
        f"simbench report {where} makes it"
    )
    assert simbench("report", where).code == 0


def test_an_interruption_while_records_are_written_leaves_no_half_folder(
    simbench, tiny, tmp_path, monkeypatch
):
    written = []

    def write_some(*table, **_):
        written.append(table)
        if len(written) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(pq, "write_table", write_some)

    said = simbench("run", tiny, *LOCAL)

    assert said.code == 130
    assert folders_of(tmp_path) == []
    assert not (tmp_path / "reports").exists()


def test_names_in_brackets_are_printed_as_they_are(simbench, tiny, tmp_path):
    text = (tmp_path / tiny).read_text().replace("averaging [2]", "'[/bold] :smile: {x}'")
    (tmp_path / "names.yaml").write_text(text)

    said = simbench("run", "names.yaml", *LOCAL, "--seed", 0, "--set", "stop.loss=0.001")
    planned = simbench("plan", "names.yaml")

    assert said.code == planned.code == 0
    assert "[/bold] :smile: {x}" in said.out
    assert "[/bold] :smile:" in planned.out
