"""Data: shards that nobody shares, draws by name, and held-out parts that nobody trains on."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simbench.learning.corpus import BLOCK_BYTES, PART_SAMPLES
from simbench.learning.dataset import Dataset
from simbench.learning.datasets.classification import Classification
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.datasets.text import Text
from simbench.learning.fit import misfit_of
from simbench.learning.model import Model
from simbench.learning.models.gpt import GPT
from simbench.learning.models.logistic import Logistic
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.task import Task
from simbench.seeds import generator
from simbench.spec import discover

KINDS = discover("simbench.learning.datasets", Dataset)


MODELS = discover("simbench.learning.models", Model)


class Extremes:
    """Draws the first, then the last number of each range, in place of a generator."""

    def __init__(self, last):
        self.last = last

    def integers(self, low, high, size):
        return np.full(size, high - 1 if self.last else low)


def task_on(data):
    """Return a task of some model that reads ``data``."""
    return Task(model=next(m() for m in MODELS.values() if not misfit_of(m(), data)), data=data)


def reading(data, length):
    """Return a task that reads windows of ``length``."""
    return Task(model=GPT(context=length, width=4), data=data)


def pointing(data, length):
    """Return a task that reads points of ``length`` entries."""
    return Task(model=Logistic(features=length), data=data)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """Write a text in which every 4 bytes tell where they stand; return its path and bytes."""
    path = tmp_path_factory.mktemp("texts") / "numbered.txt"
    content = np.arange(50_000, dtype=">u4").tobytes()
    path.write_bytes(content)
    return str(path), content


def training_of(content):
    """Return ``content`` without every tenth block, and the held-out blocks."""
    blocks = [content[at : at + BLOCK_BYTES] for at in range(0, len(content), BLOCK_BYTES)]
    held_out = [block for number, block in enumerate(blocks) if number % 10 == 9]
    return b"".join(b for n, b in enumerate(blocks) if n % 10 != 9), held_out


def windows(batch):
    inputs, targets = batch
    return [bytes([*row.tolist(), last]) for row, last in zip(inputs, targets[:, -1], strict=True)]


# -- every dataset


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_depends_on_its_draw_alone(kind):
    task = task_on(KINDS[kind]())

    def batch(seed, rank, step):
        return task.batch(generator(seed, "batch", rank, step), rank, (1,) * 4)

    def equal(a, b):
        return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))

    first = batch(0, 1, 2)
    batch(0, 1, 3)

    assert equal(batch(0, 1, 2), first)
    for other in [(1, 1, 2), (0, 2, 2), (0, 1, 3)]:
        assert not torch.equal(batch(*other)[0], first[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_has_its_samples_on_the_first_axis(kind):
    for tensor in task_on(KINDS[kind]()).batch(generator(0, "b", 0, 0), 0, (1, 1, 1), 5):
        assert len(tensor) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_data_are_always_the_same(kind):
    data = KINDS[kind]()
    length = task_on(data).model.length

    first, again = (data.validation(4, length) for _ in range(2))

    assert len(first) >= 1
    for a, b in zip(first, again, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# -- text


@given(st.integers(1, 12), st.integers(1, 100))
def test_shards_are_disjoint_and_cover_the_training_text(numbered, num_shards, length):
    path, content = numbered
    training, _ = training_of(content)
    task = reading(Text(path=path), length)

    first, last = (
        [
            windows(task.batch(Extremes(end), rank, (1,) * num_shards, 1))[0]
            for rank in range(num_shards)
        ]
        for end in (False, True)
    )

    edges = [len(training) * rank // num_shards for rank in range(num_shards + 1)]
    for rank in range(num_shards):
        begin, end = edges[rank], edges[rank + 1]
        assert first[rank] == training[begin : begin + length + 1]
        # The target of the last window is the last byte of the shard.
        assert last[rank] == training[end - length - 1 : end]


def test_targets_are_the_bytes_that_follow(numbered):
    path, content = numbered

    inputs, targets = reading(Text(path=path), 20).batch(generator(0, "b", 0, 0), 0, (1,), 6)

    assert inputs.shape == targets.shape == (6, 20)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert all(window in training_of(content)[0] for window in windows((inputs, targets)))


def test_held_out_windows_share_no_block_with_training(numbered):
    path, content = numbered
    training, held_out = training_of(content)

    parts = Text(path=path, validation_samples=50).validation(1, 30)

    everything = [window for part in parts for window in windows(part)]
    assert len(everything) == 50
    assert [len(part[0]) for part in parts] == [PART_SAMPLES] * 3 + [2]
    joined = b"".join(held_out)
    for window in everything:
        assert window in joined
        # Every 8 bytes hold a whole number that stands nowhere else in the text.
        assert not any(window[at : at + 8] in training for at in range(len(window) - 7))
    assert everything[0] == joined[:31]
    assert everything[-1] == joined[-31:]


def test_pythons_own_documentation_is_english_enough():
    data = Text()

    inputs, _ = reading(data, 64).batch(generator(0, "batch", 0, 0), 0, (1,) * 8, 64)
    text = bytes(inputs.flatten().tolist()).decode(errors="replace")

    assert len(data.content) == 64
    assert text.count(" ") > len(text) / 20
    assert " the " in text


def test_the_content_of_a_text_is_the_hash_of_its_bytes(numbered):
    path, content = numbered

    assert Text(path=path).content == hashlib.sha256(content).hexdigest()


def test_a_text_too_short_for_its_shards_is_refused(tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("x" * 100)
    data = Text(path=str(path))

    with pytest.raises(ValueError, match="90 bytes of text are too few for 10 shards of windows"):
        reading(data, 10).batch(generator(0, "batch", 0, 0), 9, (1,) * 10)
    with pytest.raises(ValueError, match="0 held-out bytes are too few for windows of 10"):
        data.validation(10, 10)


# -- classification


@given(st.integers(1, 9), st.integers(0, 5))
def test_shards_of_points_are_disjoint_and_cover_all(num_shards, data_seed):
    data = Classification(samples=60, data_seed=data_seed)

    shards = []
    for rank in range(num_shards):
        draw = generator(0, "b", rank, 0)
        points, labels = pointing(data, 3).batch(draw, rank, (1,) * num_shards, 600)
        assert set(labels.tolist()) <= {0.0, 1.0}
        shards.append({tuple(point) for point in points.tolist()})

    assert sum(map(len, shards)) == len(set().union(*shards))
    assert len(set().union(*shards)) == 60


def test_points_that_train_are_not_held_out():
    data = Classification(samples=200, validation_samples=100)

    ((held_out, _),) = data.validation(1, 3)
    training, _ = pointing(data, 3).batch(generator(0, "b", 0, 0), 0, (1,), 2000)

    assert len(held_out) == 100
    assert not {tuple(x) for x in held_out.tolist()} & {tuple(x) for x in training.tolist()}


def test_labels_follow_the_logistic_law_of_the_margin():
    data = Classification(validation_samples=20_000, margin=3.0)
    ((points, labels),) = data.validation(1, 4)

    direction = generator(0, "direction", 0, 0).standard_normal(4)
    along = points.numpy() @ direction / np.linalg.norm(direction)
    expected = 1 / (1 + np.exp(-3 * along))

    for low, high in [(-2, -0.5), (-0.5, 0), (0, 0.5), (0.5, 2)]:
        inside = (low <= along) & (along < high)
        error = 4 * 0.5 / inside.sum() ** 0.5
        assert labels.numpy()[inside].mean() == pytest.approx(expected[inside].mean(), abs=error)


def test_more_nodes_than_points_are_refused():
    with pytest.raises(ValueError, match="2 samples are too few for 3 nodes"):
        pointing(Classification(samples=2), 4).batch(generator(0, "b", 0, 0), 0, (1, 1, 1))


# -- gaussian


def test_noise_is_standard_normal_and_names_its_node():
    task = Task(model=Quadratic(dimension=100), data=Gaussian())

    noise, rank = task.batch(generator(0, "b", 5, 0), 5, (1,) * 8, 400)

    assert noise.shape == (400, 100)
    assert rank.tolist() == [5] * 400
    assert float(noise.mean()) == pytest.approx(0, abs=4 / 200)
    assert float(noise.std()) == pytest.approx(1, abs=0.02)


def test_held_out_noise_is_none_at_all_once_per_node():
    ((noise, rank),) = Gaussian().validation(5, 3)

    assert torch.equal(noise, torch.zeros(5, 3))
    assert rank.tolist() == [0, 1, 2, 3, 4]
