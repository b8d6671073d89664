"""Samples from a file of the user's: NumPy, Parquet or safetensors."""

import functools
import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
import torch
from pydantic import Field

from simbench.learning.dataset import Samples, in_parts
from simbench.learning.model import Batch
from simbench.seeds import generator
from simbench.spec import InputFile

_PART_SAMPLES = 100


class Arrays(Samples):
    """A table of samples and a label for each.

    ``.npz`` and ``.safetensors`` hold an array of samples and one of labels, by name. Of
    ``.parquet``, one column holds labels and one lists; where it has no such column of lists, all
    others are features. What has more axes than two is flattened, sample by sample. Labels are
    whole numbers from 0.
    """

    kind: Literal["arrays"] = "arrays"
    path: InputFile | None = None
    """The file; by default 200 made-up points of 20 features in two classes."""
    samples: str = "samples"
    """Name of the array or column of samples."""
    labels_in: str = "labels"
    """Name of the array or column of labels."""
    form: Literal["features", "labelled tokens"] = "features"
    """Whether a sample's entries are numbers or tokens, whole ones from 0."""
    held_out: float = Field(default=0.2, gt=0, lt=1)
    """Share of the samples that are held out, spread evenly."""

    @property
    def yields(self) -> Literal["features", "labelled tokens"]:
        """What ``form`` says."""
        return self.form

    @property
    def num_features(self) -> int | None:
        """Entries of a sample."""
        return _read(self)[0].shape[1] if self.form == "features" else None

    @property
    def num_tokens(self) -> int | None:
        """One more than the largest."""
        return None if self.form == "features" else int(_read(self)[0].max()) + 1

    @property
    def num_classes(self) -> int:
        """One more than the largest label."""
        return int(_read(self)[1].max()) + 1

    @property
    def content(self) -> str:
        """SHA-256 of the file."""
        if self.path is None:
            return ""
        return hashlib.sha256(Path(self.path).read_bytes()).hexdigest()

    @property
    def has_labels(self) -> bool:
        """Every sample has one."""
        return True

    def labels(self, length: int) -> np.ndarray:
        """Return the labels that aren't held out."""
        return self._part(False, length)[1].numpy()

    def num_samples(self, length: int) -> int:
        """Return how many aren't held out."""
        return len(self.labels(length))

    def take(self, indices: np.ndarray, length: int) -> Batch:
        """Return (B, length) entries and (B,) labels."""
        chosen = torch.from_numpy(indices)
        return tuple(each[chosen] for each in self._part(False, length))

    def validation(self, num_shards: int, length: int) -> tuple[Batch, ...]:
        """Return what is held out in parts of 100."""
        return in_parts(self._part(True, length), _PART_SAMPLES)

    def _part(self, held_out: bool, length: int) -> Batch:
        entries = _read(self)[0].shape[1]
        if entries != length:
            raise ValueError(f"samples have {entries} entries, and the model takes {length}")
        return _split(self)[held_out]


@functools.cache
def _split(spec: Arrays) -> tuple[Batch, Batch]:
    samples, labels = _read(spec)
    count = np.arange(len(labels) + 1)
    # Held out is where the share of all that came before goes over a whole number.
    held_out = np.diff(np.floor(count * spec.held_out)).astype(bool)
    if held_out.all() or not held_out.any():
        raise ValueError(f"{len(labels)} samples are too few to hold {spec.held_out:g} of them out")
    training, held = (
        (torch.from_numpy(samples[chosen]), torch.from_numpy(labels[chosen]))
        for chosen in (~held_out, held_out)
    )
    return training, held


@functools.cache
def _read(spec: Arrays) -> tuple[np.ndarray, np.ndarray]:
    samples, labels = _made_up() if spec.path is None else _stored(Path(spec.path), spec)
    if len(samples) != len(labels) or not len(labels):
        raise ValueError(f"{len(samples)} samples with {len(labels)} labels")
    wanted = np.float64 if spec.form == "features" else np.int64
    for what, array, dtype in (("samples", samples, wanted), ("labels", labels, np.int64)):
        if not np.can_cast(array.dtype, dtype, "same_kind"):
            raise ValueError(f"{what} are {array.dtype}, and expected are {np.dtype(dtype)}")
    if labels.min() < 0:
        raise ValueError(f"labels count from 0; there is a {labels.min()}")
    return samples.reshape(len(samples), -1).astype(wanted), labels.reshape(-1).astype(np.int64)


def _stored(path: Path, spec: Arrays) -> tuple[np.ndarray, np.ndarray]:
    if path.suffix == ".parquet":
        return _columns(path, spec)
    if path.suffix == ".npz":
        with np.load(path) as file:
            found = {name: file[name] for name in file.files}
    elif path.suffix == ".safetensors":
        from safetensors.numpy import load_file  # noqa: PLC0415 - for these files alone

        found = load_file(path)
    else:
        raise ValueError(f"expected a .npz, .parquet or .safetensors file; got {path.name!r}")
    return _named(found, spec.samples, path), _named(found, spec.labels_in, path)


def _columns(path: Path, spec: Arrays) -> tuple[np.ndarray, np.ndarray]:
    table = pq.read_table(path)
    found = {name: table[name].to_pylist() for name in table.column_names}
    labels = np.array(_named(found, spec.labels_in, path))
    if spec.samples in found:
        return np.array(found[spec.samples]), labels
    others = [found[name] for name in found if name != spec.labels_in]
    return np.array(others).T, labels


def _named(found: dict[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    if name not in found:
        raise ValueError(f"{path.name} holds no {name!r}; it holds {', '.join(found)}")
    return found[name]


def _made_up() -> tuple[np.ndarray, np.ndarray]:
    draw = generator(0, "made-up arrays", 0, 0)
    labels = draw.integers(0, 2, 200)
    return draw.standard_normal((200, 20)) + labels[:, None], labels
