"""``priced_as`` from a file: what plan, run and records say, and that training is shared."""

import json
import re
from pathlib import Path

import pytest

RESNET = ("--set", "task.priced_as={kind: known, name: resnet-50, precision: fp32}")
WORDS = (
    "Trained: quadratic of 10 parameters; clock and bytes are those of ResNet-50, 25.6 M "
    "parameters in fp32, 24.5 B FLOPs per sample (torchvision's documentation of its weights, "
    "multiply-adds of a forward pass)."
)


def words_of(text):
    return re.sub(r"\s+", " ", text)


def test_plan_says_what_is_charged_and_charges_it(simbench, tiny):
    said = simbench("plan", tiny, *RESNET)
    plans = json.loads(simbench("plan", tiny, *RESNET, "--json").out)

    assert WORDS in words_of(said.out)
    server = next(each for each in plans if each["kind"] == "parameter_server")
    assert server["payload_bytes_per_sample"] == 2 * 4 * 25_557_032 / 2
    assert server["priced_as"]["model"] == "ResNet-50"
    assert "Trained:" not in simbench("plan", tiny).out


@pytest.mark.usefixtures("no_figures")
def test_a_run_says_so_wherever_it_is_looked_at(simbench, tiny):
    said = simbench("run", tiny, *RESNET, "--executor", "local", "--seed", 0)

    assert said.code == 0
    assert WORDS in words_of(said.out)
    (folder,) = Path("results/tiny").iterdir()
    facts = json.loads((folder / "summary.json").read_text())
    assert facts["priced_as"]["parameters"] == 25_557_032
    assert facts["runs"][0]["payload_bytes"] % 25_557_032 == 0
    assert json.loads((folder / "provenance.json").read_text())["priced_as"] == WORDS
    assert re.search(r"priced_as:\s+kind: known", (folder / "scenario.yaml").read_text())


def test_an_unknown_model_is_one_message_with_file_line_and_key(simbench, tiny):
    text = Path(tiny).read_text()
    Path(tiny).write_text(
        text.replace(
            "  batch_size: 2\n", "  batch_size: 2\n  priced_as: {kind: known, name: gpt4}\n"
        )
    )

    said = simbench("plan", tiny)

    assert said.code == 2
    assert "tiny.yaml:6: task.priced_as.name: unknown model 'gpt4'; did you mean 'gpt2'?" in (
        words_of(said.err)
    )
