"""The memo: small results by key, across processes."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.execution.memo import Memo, default_folder

WRITER = """
import sys
from pathlib import Path
from simbench.execution.memo import Memo

memo = Memo(Path(sys.argv[1]))
for number in range(100):
    memo.put(number.to_bytes(4, "big"), {"loss": number / 7})
    memo.put(f"{sys.argv[2]} {number}".encode(), {"loss": number})
memo.close()
"""


OPENER = """
import sys
from pathlib import Path
from simbench.execution.memo import Memo

print("ready", flush=True)
sys.stdin.readline()
for number in range(150):
    memo = Memo(Path(sys.argv[1]) / str(number))
    memo.put(b"key", 1)
    memo.close()
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache" / "simbench"


def test_nothing_is_known_at_first(folder):
    memo = Memo(folder)

    assert memo.get(b"key") is None
    memo.close()


def test_what_is_known_stays_known_after_opening_again(folder):
    memo = Memo(folder)
    memo.put(b"key", {"loss": 0.1, "parameters_sha256": "ab"})
    memo.close()

    again = Memo(folder)

    assert again.get(b"key") == {"loss": 0.1, "parameters_sha256": "ab"}
    assert again.get(b"other") is None
    again.close()


@given(st.floats())
def test_floats_survive_to_the_last_bit(loss):
    memo = Memo(None)

    memo.put(b"key", {"loss": loss})

    assert repr(memo.get(b"key")["loss"]) == repr(loss)
    memo.close()


def test_without_a_folder_all_is_forgotten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    memo = Memo(None)
    memo.put(b"key", 1)
    memo.close()

    again = Memo(None)

    assert again.get(b"key") is None
    assert list(tmp_path.iterdir()) == []
    again.close()


def test_a_result_never_changes(folder):
    memo = Memo(folder)
    memo.put(b"key", 1)

    memo.put(b"key", 2)

    assert memo.get(b"key") == 1
    memo.close()


def test_two_processes_may_write_at_once(folder):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(folder), name]) for name in ("a", "b")
    ]

    assert [writer.wait() for writer in writers] == [0, 0]
    memo = Memo(folder)
    assert all(
        memo.get(number.to_bytes(4, "big")) == {"loss": number / 7}
        and memo.get(f"a {number}".encode()) == memo.get(f"b {number}".encode()) == {"loss": number}
        for number in range(100)
    )
    memo.close()


def test_many_may_open_a_new_memo_at_the_same_moment(folder):
    """The trap: switching on a write-ahead log fails at once where another does the same."""
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    for opener in openers:
        assert opener.stdout.readline() == b"ready\n"
    for opener in openers:
        opener.stdin.write(b"go\n")
        opener.stdin.flush()
    for opener in openers:
        opener.communicate()

    assert [opener.returncode for opener in openers] == [0, 0, 0]


def test_what_one_writes_another_reads_while_both_are_open(folder):
    first, second = Memo(folder), Memo(folder)

    first.put(b"key", 1)

    assert second.get(b"key") == 1
    first.close()
    second.close()


def test_the_default_place_is_the_users_cache():
    assert default_folder().name == "simbench"


def test_what_is_known_is_counted_and_can_be_forgotten(folder):
    memo = Memo(folder)
    memo.put(b"key", 1)
    memo.put(b"other", 2)
    memo.moments.keep(b"owner", "run", {b"key": 1})
    assert memo.num_results == 2

    memo.clear()

    assert (memo.num_results, memo.get(b"key"), memo.moments.kept()) == (0, None, [])
    memo.put(b"key", 3)
    assert memo.get(b"key") == 3
    memo.close()
