"""Sequences that can be told as well as is said, and text that is to be filled in."""

import numpy as np
import pytest
import torch

from simbench.learning.datasets.masked_text import MaskedText
from simbench.learning.datasets.sequences import Sequences
from simbench.learning.datasets.text import Text
from simbench.learning.models.bert import BERT
from simbench.learning.models.lstm import LSTM
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.task import Task
from simbench.scenario import Stop
from simbench.strategies.averaging import Averaging
from simbench.testing import run, small_scenario


def whole(parts):
    return tuple(map(torch.cat, zip(*parts, strict=True)))


# -- sequences


def test_who_knows_the_law_is_as_accurate_as_is_said():
    data = Sequences(validation_samples=20_000, classes=5, noise=0.3)
    tokens, labels = whole(data.validation(1, 24))

    told = (tokens < 5).float() @ torch.ones(24)
    guess = torch.where(tokens < 5, tokens, -1).max(dim=1).values

    assert (told == data.marks).all()
    right = float((guess == labels).float().mean())
    assert right == pytest.approx(data.best_accuracy, abs=4 * (0.3 * 0.7 / 20_000) ** 0.5)
    # Wrong labels are any other's, evenly.
    wrong = ((labels - guess) % 5)[guess != labels]
    assert np.bincount(wrong.numpy()) / len(wrong) == pytest.approx(
        [0, 0.25, 0.25, 0.25, 0.25], abs=0.03
    )


def test_by_default_there_are_2000_to_train_on_and_1000_held_out():
    data = Sequences()

    assert data.num_samples(32) == 2000
    assert len(whole(data.validation(1, 32))[1]) == 1000
    assert data.labels(32).tolist() == data.take(np.arange(2000), 32)[1].tolist()


def test_sequences_that_nobody_could_tell_are_refused():
    with pytest.raises(ValueError, match="needs tokens beside those of 4 classes"):
        Sequences(vocabulary=4)
    with pytest.raises(ValueError, match="so many labels are wrong"):
        Sequences(classes=2, noise=0.5)
    with pytest.raises(ValueError, match="3 marks don't fit into sequences of 2 tokens"):
        Sequences().take(np.arange(1), 2)


@pytest.mark.parametrize(
    "model",
    [
        LSTM(context=8, vocabulary=8, embedding=16, units=16),
        BERT(
            objective="classification",
            context=8,
            vocabulary=8,
            classes=4,
            layers=1,
            width=16,
            heads=2,
        ),
    ],
    ids=["lstm", "bert"],
)
def test_models_learn_to_tell_sequences_nearly_as_well_as_can_be(model):
    data = Sequences(vocabulary=8, noise=0.1)
    task = Task(model=model, data=data, batch_size=16, optimizer=AdamW(learning_rate=0.03))
    scenario = small_scenario(
        Averaging(combine="gradients"), task=task, evaluate_every=40, stop=Stop(updates=40)
    )

    first, last = run(scenario).evaluations

    assert first.accuracy < 0.4
    assert 0.8 < last.accuracy <= data.best_accuracy + 0.03


# -- masked text


def test_a_fixed_share_of_tokens_is_masked_and_the_rest_is_the_text():
    data, plain = MaskedText(share=0.15), Text()
    starts = np.arange(0, 40_000, 100)

    inputs, targets = data.take(starts, 40)
    text, _ = plain.take(starts, 40)

    chosen = targets != -100
    assert (chosen.sum(dim=1) == 6).all()
    assert torch.equal(targets[chosen], text[chosen])
    assert torch.equal(inputs[~chosen], text[~chosen])
    reads = inputs[chosen]
    masked = float((reads == 256).float().mean())
    kept = float((reads == targets[chosen]).float().mean())
    assert masked == pytest.approx(0.8, abs=4 * (0.16 / 2400) ** 0.5)
    # A random byte is the right one in 1 of 256 cases.
    assert kept == pytest.approx(0.1 + 0.1 / 256, abs=4 * (0.09 / 2400) ** 0.5)
    assert data.num_tokens == 257


def test_every_place_is_masked_as_often():
    _, targets = MaskedText().take(np.arange(4000), 20)

    often = (targets != -100).float().mean(dim=0)

    assert often.numpy() == pytest.approx(0.15, abs=4.5 * (0.15 * 0.85 / 4000) ** 0.5)
