"""Moments: tensors by key in whole files, within a limit, whatever other processes do."""

import os
import sqlite3
import subprocess
import sys
import time

import pytest
import torch

from simbench.execution.memo import Memo
from simbench.execution.moments import Moments

KILLED = """
import os, signal, sys
from pathlib import Path
from simbench.execution import moments
from simbench.execution.memo import Memo

memo = Memo(Path(sys.argv[1]))
memo.moments.keep(b"owner", "first", {b"old": 1})

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(*(moments.torch, "save", die) if sys.argv[2] == "writing" else (moments, "_make_last", die))
memo.moments.keep(b"owner", "second", {b"new": 2})
"""

KEEPER = """
import sys
from pathlib import Path
from simbench.execution.memo import Memo

memo = Memo(Path(sys.argv[1]), limit_bytes=int(sys.argv[3]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(60):
    memo.moments.keep(b"shared", "shared", {b"shared": number, sys.argv[2].encode(): number})
    memo.moments.keep(f"{sys.argv[2]} {number % 7}".encode(), "own", {b"own": number})
    assert memo.moments.recall(b"own") is not None or int(sys.argv[3]) < 10**6
    memo.moments.let_go()
memo.close()
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def memo(folder):
    memo = Memo(folder)
    yield memo
    memo.close()


def files(folder):
    return sorted(each.name for each in (folder / "moments").iterdir())


def size_of_one(memo):
    memo.moments.keep(b"probe", "probe", {b"vector": torch.zeros(1000)})
    (kept,) = memo.moments.kept()
    memo.moments.prune(limit_bytes=0)
    return kept.num_bytes


def keep_in_turn(memo, *owners):
    for owner in owners:
        memo.moments.keep(owner, owner.decode(), {owner: torch.zeros(1000)})
        time.sleep(0.01)  # times must differ for an order to be seen


def labels(memo):
    return [each.label for each in memo.moments.kept()]


def test_they_hold_tensors_bit_for_bit(folder, memo):
    moment = {
        b"vector": torch.randn(1000),
        b"state": {"step": torch.tensor(3.0), "exp_avg": torch.randn(5, dtype=torch.float64)},
        b"both": (torch.zeros(2), {}),
        b"part": (0.1, 3),
    }
    memo.moments.keep(b"owner", "run", moment)

    again = Memo(folder)

    assert again.moments.keys() == set(moment)
    assert torch.equal(again.moments.recall(b"vector"), moment[b"vector"])
    assert torch.equal(again.moments.recall(b"state")["exp_avg"], moment[b"state"]["exp_avg"])
    assert again.moments.recall(b"both")[1] == {}
    assert again.moments.recall(b"part") == (0.1, 3)
    assert again.moments.recall(b"other") is None
    again.close()


def test_an_owner_has_one_and_others_keep_theirs(folder, memo):
    memo.moments.keep(b"one", "one", {b"old": 1, b"shared": 2})
    memo.moments.keep(b"other", "other", {b"shared": 2})
    assert memo.moments.recall(b"old") == 1
    memo.moments.let_go()

    memo.moments.keep(b"one", "one", {b"new": 3})

    assert memo.moments.keys() == {b"shared", b"new"}
    assert memo.moments.recall(b"shared") == 2
    assert memo.moments.recall(b"old") is None
    assert len(files(folder)) == 2


def test_what_another_process_has_replaced_is_unknown(folder, memo):
    memo.moments.keep(b"owner", "run", {b"key": 1})
    known = memo.moments.keys()
    other = Memo(folder)

    other.moments.keep(b"owner", "run", {b"later": 2})

    assert known == {b"key"}
    assert memo.moments.recall(b"key") is None
    other.close()


def test_those_used_least_recently_go_first(memo):
    memo.moments._limit_bytes = 2 * size_of_one(memo)
    keep_in_turn(memo, b"first", b"second")
    memo.moments.recall(b"first")
    time.sleep(0.01)

    keep_in_turn(memo, b"third")

    assert labels(memo) == ["third", "first"]
    assert memo.moments.recall(b"second") is None


def test_one_that_never_fits_pushes_no_other_out(folder, memo):
    memo.moments._limit_bytes = 2 * size_of_one(memo)
    keep_in_turn(memo, b"first", b"second")

    memo.moments.keep(b"large", "large", {b"large": torch.zeros(10_000)})

    assert labels(memo) == ["second", "first"]
    assert len(files(folder)) == 2


def test_losses_stay_where_moments_go(folder):
    memo = Memo(folder, limit_bytes=0)
    memo.put(b"key", {"loss": 1.0})

    memo.moments.keep(b"owner", "run", {b"key": torch.zeros(3)})

    assert (memo.moments.kept(), memo.get(b"key")) == ([], {"loss": 1.0})
    memo.close()


def test_pruning_goes_by_last_use(memo):
    keep_in_turn(memo, b"first", b"second")
    between_s = time.time()
    memo.moments.recall(b"first")

    memo.moments.prune(unused_since_s=between_s)

    assert labels(memo) == ["first"]


@pytest.mark.parametrize("moment", ["writing", "renaming"])
def test_after_a_kill_the_last_whole_one_is_there_and_nothing_is_left_over(folder, moment):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder), moment], check=False)
    assert killed.returncode == -9
    assert len(files(folder)) == 2
    for each in (folder / "moments").glob("*.unfinished"):
        os.utime(each, (0, 0))  # long ago

    memo = Memo(folder)

    assert memo.moments.recall(b"old") == 1
    assert memo.moments.keys() == {b"old"}
    memo.moments.prune()
    assert len(files(folder)) == 1
    memo.close()


def test_what_another_process_is_writing_is_left_alone(folder, memo):
    (folder / "moments" / "theirs.moment.unfinished").write_bytes(b"half")

    memo.moments.keep(b"owner", "run", {b"key": 1})

    assert "theirs.moment.unfinished" in files(folder)


@pytest.mark.parametrize("limit_bytes", [10**9, 5000], ids=["room", "no room"])
def test_processes_may_keep_at_once(folder, limit_bytes):
    keepers = [
        subprocess.Popen(
            [sys.executable, "-c", KEEPER, str(folder), name, str(limit_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in ("a", "b")
    ]
    for keeper in keepers:
        assert keeper.stdout.readline() == b"ready\n"
    for keeper in keepers:
        keeper.stdin.write(b"go\n")
        keeper.stdin.flush()
    for keeper in keepers:
        keeper.communicate()

    assert [keeper.returncode for keeper in keepers] == [0, 0]
    memo = Memo(folder)
    kept = memo.moments.kept()
    assert len(files(folder)) == len(kept)
    assert sum(each.num_bytes for each in kept) <= limit_bytes
    if limit_bytes == 10**9:
        assert len(kept) == 1 + 2 * 7
        assert memo.moments.recall(b"shared") == 59
        assert len({b"a", b"b"} & memo.moments.keys()) == 1
    memo.close()


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "COMMIT"])
def test_ctrl_c_may_come_when_a_statement_has_just_been_done(folder, statement):
    class Interrupted(sqlite3.Connection):
        """Hears of Ctrl-C behind one statement, as Python does: once that has ended."""

        armed = True

        def execute(self, sql, *arguments):
            done = super().execute(sql, *arguments)
            if sql == statement and self.armed:
                self.armed = False
                raise KeyboardInterrupt
            return done

    folder.mkdir()
    database = sqlite3.connect(folder / "index", isolation_level=None, factory=Interrupted)
    moments = Moments(database, folder, 10**9)

    with pytest.raises(KeyboardInterrupt):
        moments.keep(b"owner", "first", {b"key": 1})
    assert len(moments.kept()) == (statement == "COMMIT")

    moments.keep(b"owner", "second", {b"key": 2})
    assert [each.label for each in moments.kept()] == ["second"]
    assert moments.recall(b"key") == 2
    database.close()
