"""Run folders: whole or not there, and tables that come back as they were."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.records import (
    TABLES,
    Evaluation,
    Happening,
    Message,
    RunFolder,
    Span,
    Trial,
    Update,
    schema,
)

UNITS = ("_ns", "_bytes", "_updates")
WITHOUT_UNIT = {
    "strategy",
    "seed",
    "progress",
    "samples",
    "loss",
    "accuracy",
    "update",
    "node",
    "activity",
    "number",
    "sender",
    "receiver",
    "tag",
    "kind",
    "subject",
    "what",
    "learning_rate",
    "settings",
    "stopped_by",
    "chosen",
}
ROWS = {
    "evaluations": [
        Evaluation("ps", 0, 5, 10**18 + 1, 80, 2**60 + 1, 0.1),
        Evaluation("ps", 0, 6, 10**18 + 2, 90, 2**60 + 3, 0.1, 0.75),
    ],
    "updates": [Update("ps", 0, 1, 7, None, 0), Update("ps", 1, 1, 8, 3, 2)],
    "spans": [Span("ps", 0, 0, "compute", 0, 7)],
    "messages": [
        Message("ps", 0, 0, 0, 1, "push", 4, 1, 2**60 + 1),
        Message("ps", 0, 1, 1, 0, "model", 4, 3, None),
    ],
    "events": [
        Happening("ps", 0, 5, "node_failure", "node 1", "down", 2**60 + 1, None),
        Happening("ps", 0, 9, "transfer", "1 -> 0", "again", None, 3),
    ],
    "tuning": [
        Trial("ps", 9, 0.1, "learning_rate: 0.1", "loss", 5, 5, 0.2, chosen=True),
        Trial("ps", 9, 0.2, "learning_rate: 0.2", "updates", 7, None, 0.4, chosen=False),
    ],
}
NOTHING = {name: [] for name in TABLES}


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "scenario" / "0123")


def write(folder, rows=ROWS, summary=None):
    folder.write("name: test\n", rows, summary or {"runs": [1]}, {"python": "3"})


def read(folder, name):
    frame = folder.table(name)
    kind = TABLES[name]
    rows = frame.astype(object).where(frame.notna(), None).itertuples(index=False, name=None)
    return [kind(*row) for row in rows]


@pytest.mark.parametrize("name", TABLES)
def test_tables_come_back_as_they_were(folder, name):
    write(folder)

    assert read(folder, name) == ROWS[name]


@pytest.mark.parametrize("name", TABLES)
def test_an_empty_table_keeps_its_columns(folder, name):
    write(folder, NOTHING)

    assert list(folder.table(name).columns) == list(TABLES[name]._fields)
    assert folder.table(name).empty


def test_the_events_of_a_run_without_any_have_no_file(folder):
    write(folder, NOTHING)

    files = {file.stem for file in folder.path.glob("*.parquet")}
    assert files == {"evaluations", "updates", "spans", "messages"}


def test_a_run_of_before_there_was_a_column_has_nothing_in_it(folder):
    write(folder)
    file = folder.path / "evaluations.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["accuracy"]), file)

    old = [each._replace(accuracy=None) for each in ROWS["evaluations"]]

    assert read(folder, "evaluations") == old


def test_nanoseconds_are_never_rounded_even_beside_missing_ones(folder):
    write(folder)

    arrived = folder.table("messages")["arrived_ns"]

    assert str(arrived.dtype) == "Int64"
    assert arrived[0] == 2**60 + 1
    assert arrived.isna().tolist() == [False, True]


@given(st.lists(st.floats(allow_nan=False), max_size=5))
def test_losses_survive_to_the_last_bit(tmp_path_factory, losses):
    folder = RunFolder(tmp_path_factory.mktemp("run") / "id")
    evaluations = [Evaluation("s", 0, i, i, i, i, loss) for i, loss in enumerate(losses)]

    write(folder, NOTHING | {"evaluations": evaluations})

    assert read(folder, "evaluations") == evaluations


def test_all_else_comes_back_too(folder):
    write(folder, summary={"runs": [{"loss": 0.1 + 0.2}]})

    assert folder.summary == {"runs": [{"loss": 0.30000000000000004}]}
    assert folder.provenance == {"python": "3"}
    assert folder.scenario_yaml == "name: test\n"
    assert folder.exists


def test_files_that_the_scenario_names_come_along(folder, tmp_path):
    (tmp_path / "prose.txt").write_text("to be")

    folder.write("", NOTHING, {}, {}, files={"files/ab/prose.txt": tmp_path / "prose.txt"})

    assert (folder.path / "files" / "ab" / "prose.txt").read_text() == "to be"


@pytest.mark.parametrize(
    "broken",
    [
        {"rows": {name: ROWS[name] for name in ("evaluations", "updates")}},
        {"rows": ROWS | {"messages": [("too", "short")]}},
        {"rows": ROWS | {"spans": [Span("ps", 0, 0, "compute", "soon", 7)]}},
        {"summary": {"runs": object()}},
    ],
    ids=["no table", "short row", "wrong type", "no json"],
)
def test_a_failure_in_the_middle_leaves_nothing(folder, broken):
    with pytest.raises(Exception, match=r".") as failure:
        write(folder, **broken)

    assert isinstance(failure.value, KeyError | TypeError | ValueError | pa.ArrowException)
    assert not folder.exists
    assert list(folder.path.parent.iterdir()) == []


def test_a_failure_in_the_middle_leaves_what_was_whole_before(folder):
    write(folder)

    with pytest.raises(TypeError):
        write(folder, summary={"runs": object()})

    assert folder.exists
    assert folder.summary == {"runs": [1]}
    assert [path.name for path in folder.path.parent.iterdir()] == ["0123"]


def test_a_whole_folder_is_replaced(folder):
    write(folder)
    (folder.path / "stray.txt").write_text("")

    write(folder, NOTHING, summary={"runs": []})

    assert folder.summary == {"runs": []}
    assert not (folder.path / "stray.txt").exists()


def test_what_is_replaced_is_deleted_only_when_the_new_is_in_place(folder, monkeypatch):
    """Killed in between, the old records are still somewhere."""
    write(folder)
    rename = Path.replace
    left = []

    def killed(path, target):
        if target == folder.path:
            left.extend(folder.path.parent.glob("*/summary.json"))
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", killed)

    with pytest.raises(KeyboardInterrupt):
        write(folder, NOTHING, summary={"runs": []})

    assert any(json.loads(file.read_text()) == {"runs": [1]} for file in left if file.exists())


def test_the_same_rows_are_the_same_bytes(tmp_path):
    folders = [RunFolder(tmp_path / name) for name in ("a", "b")]
    for folder in folders:
        write(folder)

    for path in sorted(folders[0].path.iterdir()):
        assert path.read_bytes() == (folders[1].path / path.name).read_bytes(), path.name


@pytest.mark.parametrize("name", TABLES)
def test_every_column_has_its_unit_in_its_name(name):
    bare = [column for column in schema(TABLES[name]).names if not column.endswith(UNITS)]

    assert set(bare) <= WITHOUT_UNIT


@pytest.mark.parametrize("name", TABLES)
def test_times_sizes_and_counts_are_integers(name):
    measured = [field for field in schema(TABLES[name]) if field.name.endswith(UNITS)]

    assert measured
    assert all(field.type == pa.int64() for field in measured)


@pytest.mark.parametrize("name", TABLES)
def test_every_table_tells_strategy_and_seed_first(name):
    assert schema(TABLES[name]).names[:2] == ["strategy", "seed"]
