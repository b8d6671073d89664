"""What is wrong with a request is told in one message on standard error, with exit code 2."""

import socket

import pytest

REQUESTS = {
    "unknown key": (
        ["run", "tiny.yaml", "--set", "network.bandwith=1 Gbit/s"],
        "simbench: --set network.bandwith: unknown key 'bandwith'; did you mean 'bandwidth'?",
    ),
    "unknown key in the file": (
        ["plan", "misspelt.yaml"],
        "misspelt.yaml:15: evaluate_evry: unknown key 'evaluate_evry'; did you mean",
    ),
    "unknown kind": (
        ["run", "tiny.yaml", "--set", "network.kind=sta"],
        "unknown kind 'sta'; did you mean 'star'?",
    ),
    "bad unit": (
        ["run", "tiny.yaml", "--set", "network.latency=5 sec"],
        "network.latency: expected a number and one of h, min, s, ms, us, ns; got '5 sec'",
    ),
    "rate in bytes": (
        ["run", "tiny.yaml", "--set", "network.bandwidth=1 GB/s"],
        "Mbit/s, kbit/s, bit/s (1 GB/s is 8 Gbit/s); got '1 GB/s'",
    ),
    "rate in short": (
        ["run", "tiny.yaml", "--set", "network.bandwidth=1.5 Gbps"],
        "Mbit/s, kbit/s, bit/s (Gbps is Gbit/s); got '1.5 Gbps'",
    ),
    "no unit": (
        ["run", "tiny.yaml", "--set", "network.latency=5"],
        "network.latency: expected a number and one of h, min, s, ms, us, ns; got 5",
    ),
    "impossible combination": (
        ["run", "tiny.yaml", "--set", "task.data={kind: text}"],
        "model quadratic takes noise but data text yields tokens; data that would do: gaussian",
    ),
    "node that isn't there": (
        ["run", "tiny.yaml", "--set", "strategies.asynchronous.server=4"],
        "node 4 doesn't exist: 4 nodes have the ranks 0 to 3",
    ),
    "no budget": (
        ["run", "tiny.yaml", "--set", "stop={loss: 1}"],
        "needs a budget (virtual_time, updates or samples): a loss alone may never come",
    ),
    "missing file": (["run", "absent.yaml"], "absent.yaml: can't be read: No such file"),
    "missing file of the scenario": (
        ["run", "tiny.yaml", "--set", "task={data: {kind: text, path: no.txt}}"],
        "there is no file or folder 'no.txt'",
    ),
    "misspelt file of the scenario": (
        ["run", "tiny.yaml", "--set", "task={data: {kind: text, path: misspelt.yml}}"],
        "there is no file or folder 'misspelt.yml'; did you mean 'misspelt.yaml'?",
    ),
    "not YAML": (["plan", "broken.yaml"], "broken.yaml:2: not valid YAML"),
    "nonsense to set": (
        ["run", "tiny.yaml", "--set", "nonsense"],
        "--set 'nonsense': expected KEY=VALUE, such as network.latency=5ms",
    ),
    "seed below zero": (["run", "tiny.yaml", "--seed", "-1"], "expected a number of at least 0"),
    "unknown option": (["run", "tiny.yaml", "--bandwith"], "No such option: --bandwith"),
    "unknown command": (["rum", "tiny.yaml"], "No such command 'rum'"),
    "no file": (["run"], "Missing argument 'FILE'"),
    "executor that isn't there": (["run", "tiny.yaml", "--executor", "slurm"], "'slurm'"),
    "actors for the local executor": (
        ["run", "tiny.yaml", "--executor", "local", "--nodes-per-actor", "2"],
        "--address and --nodes-per-actor are for --executor ray",
    ),
    "actors for many nodes in one call": (
        ["run", "tiny.yaml", "--set", "vectorise=true", "--executor", "ray"],
        "vectorise: true computes in this process, not on Ray actors",
    ),
    "a job of many nodes in one call": (
        ["submit", "tiny.yaml", "--set", "vectorise=true", "--address", "x", "--storage", "y"],
        "vectorise: true computes in one process",
    ),
    "many nodes in one call, compiled": (
        ["run", "tiny.yaml", "--set", "vectorise=true", "--set", "task.compile=true"],
        "vectorise: can't be combined with task.compile",
    ),
    "results that can't be written": (
        ["run", "tiny.yaml", "--executor", "local", "--results", "tiny.yaml/results"],
        "tiny.yaml/results: can't be written",
    ),
    "cache that is no folder": (
        ["run", "tiny.yaml", "--executor", "local", "--cache", "tiny.yaml"],
        "tiny.yaml: can't be written",
    ),
    "cache that is no database": (
        ["run", "tiny.yaml", "--executor", "local", "--cache", "spoilt"],
        "spoilt: known losses can't be read: file is not a database; delete it",
    ),
    "report of nothing": (["report", "."], ".: no run here: a run folder holds a summary.json"),
    "list of nothing": (["list", "colours"], "colours: not a key with a choice; those are"),
    "list of a key misspelt": (
        ["list", "strategy"],
        "strategy: not a key with a choice; did you mean 'strategies'? those are strategies, ",
    ),
    "list of the end of a key": (
        ["list", "compression"],
        "compression: not a key with a choice; did you mean 'strategies.compression'? those are",
    ),
    "list of a kind misspelt": (
        ["list", "strategies", "d_psdg"],
        "strategies: unknown kind 'd_psdg'; did you mean 'd_psgd'? (known: ad_psgd, ",
    ),
    "address without a port": (
        ["run", "tiny.yaml", "--address", "somewhere"],
        "somewhere: expected HOST:PORT of a Ray cluster, or auto",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("words", "expected"), REQUESTS.values(), ids=REQUESTS)
def test_a_wrong_request_is_told_in_one_message_and_leaves_nothing(
    simbench, tiny, tmp_path, words, expected
):
    text = (tmp_path / tiny).read_text()
    (tmp_path / "misspelt.yaml").write_text(text.replace("evaluate_every", "evaluate_evry"))
    (tmp_path / "broken.yaml").write_text("name: tiny\nseeds: [0")
    (tmp_path / "spoilt").mkdir()
    (tmp_path / "spoilt" / "memo.sqlite").write_text("no database " * 99)

    said = simbench(*words)

    assert said.code == 2
    assert expected in " ".join(said.err.replace("│", " ").split())
    assert said.out == ""
    assert said.err.count("simbench:") <= 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("command", ["run", "submit"])
def test_an_address_where_nobody_listens_is_told_at_once(simbench, tiny, tmp_path, command):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # held, and not listening: nobody else can answer there
        here = f"127.0.0.1:{held.getsockname()[1]}"
        if command == "run":
            said = simbench("run", tiny, "--address", here)
        else:
            said = simbench("submit", tiny, "--address", f"http://{here}", "--storage", "stored")

    assert said.code == 2
    assert f"{here}: no Ray cluster" in said.err.splitlines()[-1]
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "stored").exists()


def test_without_a_command_the_commands_are_listed(simbench):
    said = simbench()

    assert said.code == 2
    for command in ("init", "list", "plan", "report", "run", "schema", "submit"):
        assert f"│ {command} " in said.out + said.err


@pytest.mark.parametrize("command", ["init", "list", "plan", "report", "run", "schema", "submit"])
def test_help_fits_80_columns_and_needs_no_heavy_library(simbench, command):
    said = simbench(command, "--help")

    assert said.code == 0
    assert "Usage: simbench " + command in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    assert "``" not in said.out
