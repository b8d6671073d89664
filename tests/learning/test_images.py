"""Digits, and digits with words: real images, two modalities in one Transformer."""

import numpy as np
import pytest
import torch

from simbench.learning.datasets.captioned_digits import WORDS, CaptionedDigits
from simbench.learning.datasets.digits import Digits
from simbench.learning.models.logistic import Logistic
from simbench.learning.models.mlp import MLP
from simbench.learning.models.vilt import ViLT
from simbench.learning.models.vit import ViT
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.shards.by_label import ByLabel
from simbench.learning.task import Task
from simbench.scenario import Stop
from simbench.strategies.averaging import Averaging
from simbench.testing import run, small_scenario


def whole(parts):
    return tuple(map(torch.cat, zip(*parts, strict=True)))


def trained(task, updates):
    """Return the first and last evaluation of all-reduce training."""
    scenario = small_scenario(
        Averaging(combine="gradients"),
        task=task,
        evaluate_every=updates,
        stop=Stop(updates=updates),
    )
    first, last = run(scenario).evaluations
    return first, last


def test_digits_are_those_that_scikit_learn_brings():
    data = Digits()
    pixels, digits = data.take(np.arange(data.num_samples(64)), 64)
    held_out, answers = whole(data.validation(4, 64))

    assert (len(digits), len(answers)) == (1438, 359)
    assert (pixels.min(), pixels.max()) == (0, 1)
    assert digits[:10].tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 0, 1]  # 4 and 9 are held out
    assert not {tuple(x) for x in held_out.tolist()} & {tuple(x) for x in pixels.tolist()}
    assert np.bincount(digits).min() > 100


@pytest.mark.parametrize(
    ("model", "least"),
    [
        (Logistic(features=64, classes=10, l2=0.0), 0.75),
        (MLP(), 0.8),
        (ViT(layers=1, patch=4), 0.4),
    ],
    ids=["logistic", "mlp", "vit"],
)
def test_models_of_all_kinds_learn_to_read_digits(model, least):
    task = Task(model=model, data=Digits(), batch_size=16, optimizer=AdamW(learning_rate=0.01))

    first, last = trained(task, 40)

    assert first.accuracy < 0.25
    assert last.accuracy > least
    assert last.loss < first.loss


def test_a_node_may_see_two_digits_alone():
    task = Task(model=MLP(), data=Digits(), shards=ByLabel(), batch_size=400)
    draw = np.random.default_rng(0)

    seen = [set(task.batch(draw, rank, (1,) * 5)[1].tolist()) for rank in range(5)]

    assert set().union(*seen) == set(range(10))
    assert max(map(len, seen)) <= 4


def test_a_model_of_another_size_is_refused():
    with pytest.raises(ValueError, match="reads 20 features but a sample of data digits has 64"):
        Task(model=MLP(features=20), data=Digits())
    with pytest.raises(ValueError, match="knows 9 classes but data digits have 10"):
        Task(model=MLP(classes=9), data=Digits())


def test_a_caption_names_its_digit_in_half_of_all_pairs():
    data, digits = CaptionedDigits(), Digits()
    everything = np.arange(data.num_samples(6))
    pixels, words, labels = data.take(everything, 6)
    images, answers = digits.take(everything, 64)

    named = [WORDS.index(bytes(word.tolist()).rstrip(b"\0").decode()) for word in words]

    assert torch.equal(pixels, images)
    assert torch.equal(torch.tensor(named) == answers, labels == 1)
    assert float(labels.double().mean()) == pytest.approx(0.5, abs=0.05)
    # The word alone tells nothing.
    often = np.bincount(np.array(named)[labels.numpy() == 0], minlength=10)
    assert often.min() > 0.06 * often.sum()
    with pytest.raises(ValueError, match="don't fit into 4 tokens"):
        data.take(everything, 4)


def test_one_transformer_reads_image_and_word():
    model = ViLT(layers=1, width=16, heads=2)
    module = model.build()
    model.initialise(module, torch.Generator().manual_seed(0))
    pixels, words, labels = CaptionedDigits().take(np.arange(8), 5)
    pixels = pixels.float()

    scores = module(pixels, words)

    assert scores.shape == (8, 2)
    for other in (module(pixels.flip(0), words), module(pixels, words.flip(0))):
        assert (other - scores).abs().max() > 1e-7
    task = Task(
        model=model, data=CaptionedDigits(), batch_size=16, optimizer=AdamW(learning_rate=0.01)
    )
    first, last = trained(task, 4)
    assert last.loss != first.loss
    assert first.loss == pytest.approx(np.log(2), abs=0.01)
    assert labels.shape == (8,)
