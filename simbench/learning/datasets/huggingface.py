"""Texts of the library datasets, from a local folder or by name."""

import functools
import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator

from simbench.learning.corpus import BYTES, windows
from simbench.learning.dataset import Samples, in_parts
from simbench.learning.model import Batch
from simbench.spec import InputPath, misfit

_PART_SAMPLES = 64


class HuggingFaceData(Samples):
    """A column of texts, byte by byte: one after the other, or each by itself with its label.

    It takes simbench[huggingface]. A ``path`` is a folder that ``save_to_disk`` made, or one of
    files that the library reads. A ``name`` is looked up in the library's cache, and on its hub.
    """

    kind: Literal["huggingface"] = "huggingface"
    path: InputPath | None = None
    """A local folder; by default, and without a name, the topics of CPython's ``help()``."""
    name: str | None = None
    """What the hub calls it."""
    split: str = "train"
    """Which of its splits; a share of it is held out."""
    text: str = "text"
    """The column of texts."""
    label: str = "label"
    """The column of labels, whole numbers from 0."""
    form: Literal["tokens", "labelled tokens"] = "tokens"
    """Whether the next byte is to be predicted, or the label of a text: its first bytes, and zeros
    behind them where it is shorter than the model's context."""
    held_out: float = Field(default=0.1, gt=0, lt=1)
    """Share of the texts that are held out, spread evenly."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> "HuggingFaceData":
        if self.path is not None and self.name is not None:
            raise misfit(("name",), "has no effect beside path; give one of the two")
        return self

    @property
    def yields(self) -> Literal["tokens", "labelled tokens"]:
        """What ``form`` says."""
        return self.form

    @property
    def num_tokens(self) -> int:
        """One for each byte."""
        return BYTES

    @property
    def num_classes(self) -> int | None:
        """One more than the largest label, where there are labels."""
        return int(max(_rows(self)[1])) + 1 if self.has_labels else None

    @property
    def content(self) -> str:
        """SHA-256 of texts and labels."""
        digest = hashlib.sha256()
        for text, label in zip(*_rows(self), strict=True):
            digest.update(f"{label} {len(text)} ".encode() + text)
        return digest.hexdigest()

    @property
    def has_labels(self) -> bool:
        """Whether labels are what is predicted."""
        return self.form == "labelled tokens"

    def labels(self, length: int) -> np.ndarray:
        """Return the labels that aren't held out."""
        return _labelled(self, held_out=False, length=length)[1].numpy()

    def reach(self, length: int) -> int:
        """Return ``length`` where texts follow each other."""
        return 0 if self.has_labels else length

    def num_samples(self, length: int) -> int:
        """Return how many texts, or places for a window, aren't held out."""
        if self.has_labels:
            return len(self.labels(length))
        return max(0, len(_line(self, held_out=False)) - length)

    def take(self, indices: np.ndarray, length: int) -> Batch:
        """Return (B, length) tokens, and those that follow each or (B,) labels."""
        if self.has_labels:
            chosen = torch.from_numpy(indices)
            return tuple(each[chosen] for each in _labelled(self, False, length))
        return _shifted(_line(self, held_out=False), indices, length)

    def validation(self, num_shards: int, length: int) -> tuple[Batch, ...]:
        """Return what is held out in parts of 64: all texts, or windows without a gap."""
        if self.has_labels:
            return in_parts(_labelled(self, True, length), _PART_SAMPLES)
        line = _line(self, held_out=True)
        starts = np.arange(0, len(line) - length, length)
        if not len(starts):
            raise ValueError(f"{len(line)} held-out bytes are too few for windows of {length}")
        return in_parts(_shifted(line, starts, length), _PART_SAMPLES)


def _shifted(line: np.ndarray, starts: np.ndarray, length: int) -> Batch:
    tokens = torch.from_numpy(windows(line, starts, length + 1))
    return tokens[:, :-1], tokens[:, 1:]


@functools.cache
def _rows(spec: HuggingFaceData) -> tuple[list[bytes], list[int]]:
    """Return texts, and labels, which are all 0 where none are asked for."""
    table = _table(spec)
    for column in (spec.text, spec.label)[: 1 + spec.has_labels]:
        if column not in table.column_names:
            raise ValueError(f"there is no column {column!r}; there are {table.column_names}")
    texts = [text.encode() for text in table[spec.text]]
    labels = [int(label) for label in table[spec.label]] if spec.has_labels else [0] * len(texts)
    if labels and min(labels) < 0:
        raise ValueError(f"labels count from 0; there is a {min(labels)}")
    return texts, labels


def _table(spec: HuggingFaceData) -> Any:
    try:
        import datasets  # noqa: PLC0415 - an optional dependency
    except ImportError:
        raise ValueError(
            "data huggingface takes datasets: pip install simbench[huggingface]"
        ) from None
    if spec.path is None and spec.name is None:
        from pydoc_data.topics import topics  # noqa: PLC0415 - 0.7 MB that others don't need

        rows = [{"text": topics[name], "label": int(name.isupper())} for name in sorted(topics)]
        return datasets.Dataset.from_list(rows)
    try:
        if spec.path is not None and _was_saved(Path(spec.path)):
            table = datasets.load_from_disk(spec.path)
            return table[spec.split] if isinstance(table, datasets.DatasetDict) else table
        return datasets.load_dataset(spec.path or spec.name, split=spec.split)
    except Exception as error:  # noqa: BLE001 - of many kinds, its network libraries' among them
        raise ValueError(f"{spec.path or spec.name!r} can't be loaded: {error}") from None


def _was_saved(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))


def _chosen(spec: HuggingFaceData, held_out: bool) -> list[tuple[bytes, int]]:
    texts, labels = _rows(spec)
    # Held out is where the share of all that came before goes over a whole number.
    over = np.diff(np.floor(np.arange(len(texts) + 1) * spec.held_out)).astype(bool)
    if over.all() or not over.any():
        raise ValueError(f"{len(texts)} texts are too few to hold {spec.held_out:g} of them out")
    rows = zip(texts, labels, over, strict=True)
    return [(text, label) for text, label, out in rows if out == held_out]


@functools.cache
def _line(spec: HuggingFaceData, held_out: bool) -> np.ndarray:
    texts = b"\n\n".join(text for text, _ in _chosen(spec, held_out))
    return np.frombuffer(texts, dtype=np.uint8)


@functools.cache
def _labelled(spec: HuggingFaceData, held_out: bool, length: int) -> Batch:
    rows = _chosen(spec, held_out)
    padded = b"".join(text[:length].ljust(length, b"\0") for text, _ in rows)
    tokens = np.frombuffer(padded, dtype=np.uint8).reshape(len(rows), length).astype(np.int64)
    return torch.from_numpy(tokens), torch.tensor([label for _, label in rows])
