"""Texts of the library datasets; skipped where it isn't installed."""

import numpy as np
import pytest
import torch

from simbench.learning.datasets.huggingface import HuggingFaceData
from simbench.learning.models.bert import BERT
from simbench.learning.models.gpt import GPT
from simbench.testing import check_dataset

datasets = pytest.importorskip(
    "datasets", reason="datasets isn't installed: pip install simbench[huggingface]"
)

ROWS = [{"text": f"text {number:02}", "label": number % 3} for number in range(40)]


@pytest.fixture
def folder(tmp_path):
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    return str(tmp_path / "saved")


def test_a_saved_folder_gives_texts_and_labels(folder):
    data = HuggingFaceData(path=folder, form="labelled tokens")

    tokens, labels = data.take(np.arange(36), 9)
    ((held_out, answers),) = data.validation(1, 9)

    told = {bytes(row.tolist()): int(label) for row, label in zip(tokens, labels, strict=True)}
    others = {bytes(r.tolist()): int(a) for r, a in zip(held_out, answers, strict=True)}
    assert told | others == {f"{r['text']}\0\0".encode(): r["label"] for r in ROWS}
    assert not set(told) & set(others)
    assert (data.num_samples(9), data.num_classes) == (36, 3)
    check_dataset(data, BERT(objective="classification", classes=3, context=9, width=8, heads=2))


def test_texts_follow_each_other_where_the_next_byte_is_predicted(folder):
    data = HuggingFaceData(path=folder)

    inputs, targets = data.take(np.array([0, 9]), 16)

    assert bytes(inputs[0].tolist()) == b"text 00\n\ntext 01"
    assert bytes(targets[1].tolist()) == b"ext 01\n\ntext 02\n"
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    check_dataset(data, GPT(context=4, width=8))


def test_a_folder_of_files_is_read_too(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "files").mkdir()
    datasets.Dataset.from_list(ROWS).to_json(tmp_path / "files" / "train.jsonl")

    data = HuggingFaceData(path=str(tmp_path / "files"), form="labelled tokens")

    assert data.num_samples(7) == 36


def test_what_is_not_there_is_told(folder):
    with pytest.raises(ValueError, match="there is no column 'words'"):
        HuggingFaceData(path=folder, text="words").num_samples(4)
    with pytest.raises(ValueError, match="has no effect beside path"):
        HuggingFaceData(path=folder, name="imdb")
