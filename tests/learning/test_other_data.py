"""Copying and sorting, files of arrays, folders of text and byte pairs."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from simbench.learning.datasets.arrays import Arrays
from simbench.learning.datasets.copy import Copy
from simbench.learning.datasets.sort import Sort
from simbench.learning.datasets.text import Text
from simbench.learning.models.gpt import GPT
from simbench.learning.models.logistic import Logistic
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.task import Task
from simbench.scenario import Stop
from simbench.scenario_file import load, pack
from simbench.strategies.averaging import Averaging
from simbench.testing import check_dataset, run, small_scenario


def whole(parts):
    return tuple(map(torch.cat, zip(*parts, strict=True)))


# -- copying and sorting


@given(st.integers(1, 12), st.integers(2, 30), st.integers(0, 5))
def test_what_is_to_be_said_again_stands_behind_the_separator(half, symbols, data_seed):
    for data, rule in (
        (Copy(symbols=symbols, samples=9, data_seed=data_seed), lambda row: row),
        (Sort(symbols=symbols, samples=9, data_seed=data_seed), sorted),
    ):
        inputs, targets = data.take(np.arange(9), 2 * half)
        for read, asked in zip(inputs.tolist(), targets.tolist(), strict=True):
            assert read[half] == symbols
            assert max(read[:half]) < symbols
            assert asked[:half] == [-100] * half
            assert asked[half:] == rule(read[:half])
            assert read[half + 1 :] == asked[half:-1]


def test_a_sample_without_a_half_is_refused():
    with pytest.raises(ValueError, match="7 tokens have no half"):
        Copy().take(np.arange(1), 7)


def test_a_gpt_learns_to_sort():
    task = Task(
        model=GPT(layers=1, width=32, heads=2, context=6, vocabulary=4),
        data=Sort(symbols=3),
        batch_size=16,
        optimizer=AdamW(learning_rate=0.01),
    )
    scenario = small_scenario(
        Averaging(combine="gradients"), task=task, evaluate_every=40, stop=Stop(updates=40)
    )

    outcome = run(scenario)

    first, last = outcome.evaluations
    assert first.accuracy < 0.6
    assert last.accuracy > 0.9
    assert outcome.summary["final_accuracy"] == last.accuracy
    assert outcome.summary["final_perplexity"] == np.exp(last.loss)


# -- files of arrays

SAMPLES = np.arange(60.0).reshape(20, 3)
LABELS = np.arange(20) % 4


def stored(folder, kind, samples=SAMPLES, labels=LABELS):
    path = folder / f"mine.{kind}"
    if kind == "npz":
        np.savez(path, samples=samples, labels=labels)
    elif kind == "safetensors":
        save_file({"samples": samples, "labels": labels}, path)
    else:
        pq.write_table(pa.table({"samples": samples.tolist(), "labels": labels}), path)
    return str(path)


@pytest.mark.parametrize("kind", ["npz", "parquet", "safetensors"])
def test_a_file_of_each_kind_holds_samples_and_labels(tmp_path, kind):
    data = Arrays(path=stored(tmp_path, kind))

    training = data.take(np.arange(16), 3)
    held_out = whole(data.validation(1, 3))

    assert data.num_samples(3) == 16
    order = np.argsort([*training[0][:, 0], *held_out[0][:, 0]])
    assert np.array_equal(np.concatenate([training[0], held_out[0]])[order], SAMPLES)
    assert np.array_equal(np.concatenate([training[1], held_out[1]])[order], LABELS)
    # Every fifth one.
    assert held_out[0][:, 0].tolist() == [12, 27, 42, 57]
    assert (data.num_features, data.num_classes) == (3, 4)
    check_dataset(data, Logistic(features=3, classes=4))


def test_a_table_without_lists_has_a_column_for_each_feature(tmp_path):
    path = tmp_path / "columns.parquet"
    pq.write_table(pa.table({"a": SAMPLES[:, 0], "labels": LABELS, "b": SAMPLES[:, 2]}), path)

    points, labels = Arrays(path=str(path), held_out=0.5).take(np.arange(10), 2)

    assert np.array_equal(points, SAMPLES[::2, [0, 2]])
    assert np.array_equal(labels, LABELS[::2])


def test_tokens_with_labels_are_whole_numbers(tmp_path):
    tokens = np.arange(40, dtype=np.int16).reshape(10, 4)
    data = Arrays(path=stored(tmp_path, "npz", tokens, LABELS[:10]), form="labelled tokens")

    assert data.take(np.array([0]), 4)[0].tolist() == [[0, 1, 2, 3]]
    assert (data.num_tokens, data.yields) == (40, "labelled tokens")
    with pytest.raises(ValueError, match="samples are float64, and expected are int64"):
        Arrays(path=stored(tmp_path, "parquet"), form="labelled tokens").take(np.array([0]), 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": "points"}, "mine.npz holds no 'points'; it holds samples, labels"),
        ({"held_out": 0.01}, "20 samples are too few to hold 0.01 of them out"),
    ],
)
def test_what_a_file_does_not_hold_is_told(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        Arrays(path=stored(tmp_path, "npz"), **change).take(np.arange(2), 3)


def test_labels_that_do_not_fit_are_refused(tmp_path):
    for labels, message in (
        (LABELS[:9], "20 samples with 9 labels"),
        (LABELS - 1, "labels count from 0; there is a -1"),
        (LABELS / 2, "labels are float64, and expected are int64"),
    ):
        with pytest.raises(ValueError, match=message):
            Task(
                model=Logistic(features=3, classes=9),
                data=Arrays(path=stored(tmp_path, "npz", labels=labels)),
            )
    other = tmp_path / "table.csv"
    other.write_text("1,2")
    with pytest.raises(ValueError, match=r"expected a .npz, .parquet or .safetensors file"):
        Arrays(path=str(other)).take(np.arange(1), 3)


# -- folders of text


def test_a_folder_is_read_in_the_order_of_its_paths_and_travels_along(tmp_path):
    (tmp_path / "texts" / "inner").mkdir(parents=True)
    (tmp_path / "texts" / "b.md").write_text("second " * 300)
    (tmp_path / "texts" / "inner" / "c.txt").write_text("third " * 300)
    (tmp_path / "texts" / "a.txt").write_text("first " * 300)
    (tmp_path / "texts" / "picture.png").write_bytes(b"\xff")
    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: mine\n"
        "task: {model: {kind: gpt, context: 8}, data: {kind: text, path: texts}}\n"
        "strategies: {a: {kind: averaging}}\n"
        "stop: {updates: 1}\n"
    )
    scenario = load(file)

    text = bytes(scenario.task.data.training_line().tolist())

    assert text.index(b"first") < text.index(b"second") < text.index(b"third")
    assert b"\xff" not in text
    packed = load(pack(scenario, tmp_path / "elsewhere"))
    assert packed.run_id == scenario.run_id
    (tmp_path / "texts" / "a.txt").rename(tmp_path / "texts" / "z.txt")
    assert load(file).run_id != packed.run_id


def test_byte_pairs_are_learned_from_the_text(tmp_path):
    pytest.importorskip(
        "tokenizers", reason="tokenizers isn't installed: pip install simbench[huggingface]"
    )
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat\n" * 500)
    plain, pairs = Text(path=str(path)), Text(path=str(path), tokens="bpe", pieces=300)

    line = pairs.training_line()

    # Each word is one piece, with the space before it.
    assert len(line) < len(plain.training_line()) / 3
    assert len(set(line.tolist())) <= 7
    assert line.max() < 300
    assert pairs.content != plain.content
    assert Task(model=GPT(vocabulary=300), data=pairs).num_parameters
    with pytest.raises(ValueError, match="knows 256 tokens but data text have 300"):
        Task(data=pairs)


def test_pieces_want_byte_pairs():
    with pytest.raises(ValueError, match="has no effect with tokens: bytes"):
        Text(pieces=600)
