"""``simbench cache``: what is known, how large it is, and how to be rid of it."""

import json
import re

import pytest
import torch

from simbench.execution.memo import Memo

pytestmark = pytest.mark.usefixtures("no_figures")
CACHE = ("--cache", "known")


@pytest.fixture
def known(tmp_path):
    """Make a cache with 2 losses and 3 moments of about 42 kB each."""
    memo = Memo(tmp_path / "known")
    for key in (b"one", b"two"):
        memo.put(key, {"loss": 1.0})
    for index, owner in enumerate(("first", "second", "third")):
        memo.moments.keep(owner.encode(), f"study: {owner}, seed 0", {b"x": torch.zeros(10_000)})
        memo._database.execute(
            "UPDATE kept_moment SET used_s = ? WHERE owner = ?", (10**9 + index, owner.encode())
        )
    memo.close()


def shown(simbench):
    return json.loads(simbench("cache", "show", *CACHE, "--json").out)


@pytest.mark.usefixtures("known")
def test_show_says_where_how_much_and_whose(simbench):
    said = simbench("cache", "show", *CACHE)
    facts = shown(simbench)

    assert said.code == 0
    assert (
        "known\n2 losses and numbers that a strategy looked at\n3 moments to go on from, 0."
        in said.out
    )
    assert re.search(r"study: third, seed 0 +0\.0 MB +20", said.out)
    assert (facts["folder"], facts["losses"]) == ("known", 2)
    assert facts["moments_bytes"] == sum(each["num_bytes"] for each in facts["moments"])
    assert [each["label"] for each in facts["moments"]] == [
        f"study: {owner}, seed 0" for owner in ("third", "second", "first")
    ]
    assert all(each["used_s"] < each["kept_s"] for each in facts["moments"])


def test_show_knows_what_a_run_left(simbench, tiny):
    run = ("run", tiny, "--executor", "local", "--seed", 0)
    simbench(*run)

    facts = json.loads(simbench("cache", "show", "--json").out)

    assert facts["losses"] > 10
    assert {each["label"] for each in facts["moments"]} == {
        f"tiny: {name}, seed 0" for name in ("parameter server", "averaging [2]", "asynchronous")
    }


@pytest.mark.usefixtures("known")
def test_prune_to_a_size_deletes_what_was_used_least_recently(simbench):
    said = simbench("cache", "prune", "--to", "90 kB", *CACHE)

    assert said.code == 0
    assert said.out.startswith("1 moments deleted, 0.0 MB; 2 left, 0.1 MB")
    assert [each["label"][7:12] for each in shown(simbench)["moments"]] == ["third", "secon"]
    assert shown(simbench)["losses"] == 2


@pytest.mark.usefixtures("known")
def test_prune_by_age(simbench, tmp_path):
    told = json.loads(simbench("cache", "prune", "--older-than", "24 h", *CACHE, "--json").out)

    assert (told["deleted"], told["left_bytes"]) == (3, 0)
    assert told["freed_bytes"] > 3 * 40_000
    assert list((tmp_path / "known" / "moments").iterdir()) == []


@pytest.mark.usefixtures("known")
def test_clear_forgets_everything(simbench):
    told = json.loads(simbench("cache", "clear", "--yes", *CACHE, "--json").out)

    assert (told["losses"], told["moments"]) == (2, 3)
    assert (shown(simbench)["losses"], shown(simbench)["moments"]) == (0, [])


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(("answer", "left"), [(True, 0), (False, 2)])
def test_clear_asks(simbench, monkeypatch, answer, left):
    asked = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda text, **_: asked.append(text) or answer)

    said = simbench("cache", "clear", *CACHE)

    assert said.code == 0
    assert asked == ["Forget 2 losses and 3 moments in known?"]
    assert shown(simbench)["losses"] == left


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("clear", *CACHE), "nobody here can be asked: say --yes"),
        (("prune", *CACHE), "say what may be left: --to SIZE, --older-than DURATION, or both"),
        (("prune", "--to", "5", *CACHE), "--to: expected a number and one of TB"),
        (("prune", "--older-than", "2 days", *CACHE), "--older-than: expected a number and one of"),
        (
            ("show", "--cache", "nowhere"),
            "nowhere: there is no cache here: one holds a memo.sqlite",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_message(simbench, words, message):
    said = simbench("cache", *words)

    assert said.code == 2
    assert said.err.startswith(f"simbench: {message}")
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_the_limit_may_come_from_the_environment(simbench, tiny, monkeypatch):
    monkeypatch.setenv("SIMBENCH_CACHE_LIMIT", "1 B")
    simbench("run", tiny, "--executor", "local", "--seed", 0)

    facts = json.loads(simbench("cache", "show", "--json").out)

    assert facts["moments"] == []
    assert facts["losses"] > 10
