"""SPARTA against all-reduce SGD, entry by entry, and the bytes of what it chose."""

import numpy as np
import pytest
import torch

from simbench.learning.operations_sparse import Choose, Replace, Select
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.optimizers.sgd import SGD
from simbench.strategies.averaging import Averaging
from simbench.strategies.sparta import SPARTA


@pytest.mark.parametrize("optimizer", [SGD(learning_rate=0.1), AdamW(learning_rate=0.05)])
def test_a_share_of_one_is_averaging_at_every_step_bit_for_bit(bowls, replicas, outcome, optimizer):
    ours, same = SPARTA(share=1), Averaging()
    assert (
        replicas(bowls(ours, optimizer=optimizer, dimension=7))
        == replicas(bowls(same, optimizer=optimizer, dimension=7))
    ).all()
    assert outcome(ours).messages == outcome(same).messages
    assert outcome(ours).updates == outcome(same).updates


@pytest.mark.parametrize(
    ("share", "dimension", "count"), [(0.25, 300, 75), (0.005, 1200, 6), (0.001, 30, 1)]
)
def test_it_sends_the_chosen_entries_alone(outcome, share, dimension, count):
    found = outcome(SPARTA(share=share), 10, dimension=dimension)
    # A ring of three sends 4/3 of what is averaged, from each of them.
    assert found.summary["payload_bytes"] == 10 * 4 * 8 * count


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_chosen_entries_agree_after_each_step_and_the_others_are_local(bowls, replicas, share):
    count, rate, optima = round(share * 10), 0.1, np.array([0.0, 1.0, 3.0])
    found = replicas(bowls(SPARTA(share=share), dimension=10, noise=0.0))
    local, chosen = np.ones((3, 10)), []
    for replica in found:
        local = local - rate * (local - optima[:, None])
        agree = (replica == replica[0]).all(0)
        assert agree.sum() == count
        np.testing.assert_allclose(replica[:, ~agree], local[:, ~agree], rtol=1e-12)
        np.testing.assert_allclose(replica[0, agree], local[:, agree].mean(0), rtol=1e-12)
        local = replica
        chosen.append(agree)
    # Drawn anew at each step, and every entry about equally often.
    assert len({tuple(each) for each in chosen}) > 12
    assert (np.sum(chosen, axis=0) > 0).all()


def test_another_seed_chooses_others(bowls, replicas):
    scenario = bowls(SPARTA(share=0.5), 3, dimension=40, noise=0.0)
    one, other = (replicas(scenario, seed) for seed in (0, 1))
    assert not (one == other).all()


def test_the_mean_of_the_replicas_is_kept_by_every_exchange(losses):
    """So on equal curvature it follows all-reduce SGD, whatever is averaged when."""
    sparse, full = (losses(each, dimension=40) for each in (SPARTA(share=0.1), Averaging()))
    np.testing.assert_allclose(sparse, full, rtol=1e-12)


def test_operations_choose_evenly_and_put_back_what_they_took():
    counts = np.zeros(6)
    for draw in range(3000):
        which = Choose()(6, 2, draw)
        assert len(which) == 2
        assert which[0] < which[1]
        counts[which.numpy()] += 1
    # 1,000 expected of each; the standard deviation is 26.
    assert abs(counts - 1000).max() < 110
    assert torch.equal(Choose()(6, 2, 5), Choose()(6, 2, 5))
    vector, which = torch.arange(6.0), torch.tensor([1, 4])
    taken = Select()(vector, which)
    assert taken.tolist() == [1, 4]
    assert Replace()(vector, which, 10 * taken).tolist() == [0, 10, 2, 3, 40, 5]
    assert vector.tolist() == list(range(6))
