"""Who has which samples: nothing twice, nothing left out, and the laws of each way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.cluster.cluster import Cluster, Others
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.fixed import Fixed
from simbench.cluster.stragglers.persistent import Persistent
from simbench.learning.datasets.classification import Classification
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.datasets.text import Text
from simbench.learning.models.gpt import GPT
from simbench.learning.models.logistic import Logistic
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.sharding import Listing, Sharding, edges
from simbench.learning.shards.by_label import ByLabel
from simbench.learning.shards.contiguous import Contiguous
from simbench.learning.shards.dirichlet import Dirichlet
from simbench.learning.shards.iid import IID
from simbench.learning.task import Task
from simbench.scenario import Stop
from simbench.scenario_file import ScenarioError, load
from simbench.seeds import generator
from simbench.spec import discover
from simbench.strategies.averaging import Averaging
from simbench.testing import MS, run, small_scenario

KINDS = discover("simbench.learning.shards", Sharding)


def labelled(num_labels, per_label):
    """Return a listing of as many samples of each label, in no order."""
    labels = np.repeat(np.arange(num_labels), per_label)
    return Listing(len(labels), labels=generator(0, "order", 0, 0).permutation(labels))


def mixtures(listing, shards):
    """Return the share of each label in each shard."""
    counts = np.array([np.bincount(listing.labels[s], minlength=10) for s in shards])
    return counts / counts.sum(axis=1, keepdims=True)


def learning(**changes):
    """Return a scenario in which logistic regression learns from labelled points."""
    task = {
        "model": Logistic(features=3),
        "data": Classification(samples=600),
        "optimizer": SGD(learning_rate=0.5),
        **changes,
    }
    return small_scenario(Averaging(), task=Task(**task), stop=Stop(updates=12))


# -- every kind


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=7), st.integers(1, 300), st.integers(1, 4))
def test_shards_are_disjoint_cover_everything_and_are_as_large_as_asked(
    kind, weights, num_samples, num_labels
):
    labels = generator(0, "labels", 0, num_samples).integers(0, num_labels, num_samples)

    shards = KINDS[kind]().split(Listing(num_samples, labels=labels), weights)

    given_out = [index for shard in shards for index in shard]
    assert sorted(given_out) == list(range(num_samples))
    for shard, weight in zip(shards, weights, strict=True):
        pieces = KINDS[kind].model_fields["pieces"].default if kind == "by_label" else 1
        assert abs(len(shard) - num_samples * weight / sum(weights)) < pieces


@pytest.mark.parametrize("kind", ["iid", "contiguous"])
@given(st.integers(1, 5), st.integers(40, 200), st.integers(0, 9))
def test_windows_of_text_share_no_byte_with_another_nodes(kind, num_nodes, num_samples, reach):
    shards = KINDS[kind]().split(Listing(num_samples, reach), [1] * num_nodes)

    read = [{at + offset for at in shard for offset in range(reach + 1)} for shard in shards]

    assert sum(map(len, read)) == len(set().union(*read))
    # What is left over at the borders is shorter than a window each.
    assert len(set().union(*read)) > num_samples + reach - (num_nodes + 1) * (reach + 1)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"contiguous"}))
def test_another_split_seed_names_other_shards(kind):
    first, again, other = (
        KINDS[kind](split_seed=seed).split(labelled(10, 30), [1] * 5) for seed in (1, 1, 2)
    )

    assert all(map(np.array_equal, first, again))
    assert not any(map(np.array_equal, first, other))


# -- each by itself


def test_contiguous_pieces_are_ranges_in_the_order_of_ranks():
    assert Contiguous().split(Listing(10), [1, 1, 1]) == (range(3), range(3, 6), range(6, 10))
    assert Contiguous().split(Listing(17, reach=3), [3, 1, 1]) == (
        range(9),
        range(12, 13),
        range(16, 17),
    )


def test_iid_shards_have_the_mixture_of_the_whole():
    listing = labelled(10, 1000)

    seen = mixtures(listing, IID().split(listing, [1] * 20))

    # 500 of 10,000 without replacement.
    error = (0.1 * 0.9 / 500 * (1 - 500 / 10_000)) ** 0.5
    assert abs(seen - 0.1).max() < 4.5 * error
    assert seen.std() == pytest.approx(error, rel=0.1)


def test_by_label_each_node_sees_as_many_labels_as_it_has_pieces():
    """McMahan et al.: 100 nodes with two pieces each of ten classes, 200 pieces in all."""
    listing = labelled(10, 600)

    for pieces in (1, 2, 3):
        seen = mixtures(listing, ByLabel(pieces=pieces).split(listing, [1] * 100))
        labels = (seen > 0).sum(axis=1)
        # 6,000 samples make pieces that no label's end cuts, for 1 and 2; else it may cut some.
        assert labels.max() <= (pieces if pieces < 3 else 2 * pieces)
        assert set(np.unique(seen[labels == 1])) <= {0, 1}
    assert (ByLabel(pieces=1).split(listing, [1] * 10)[0].size, labels.min()) == (600, 1)


def test_dirichlet_mixtures_have_the_moments_of_their_law():
    listing = labelled(10, 20_000)
    for alpha in (0.3, 1.0, 10.0):
        seen = mixtures(listing, Dirichlet(alpha=alpha).split(listing, [1] * 400))

        # All samples are given out, so the mean is exact.
        np.testing.assert_allclose(seen.mean(axis=0), 0.1, atol=1e-12)
        assert seen.var() == pytest.approx(0.1 * 0.9 / (alpha + 1), rel=0.06)


def test_dirichlet_goes_from_one_label_to_the_mixture_of_the_whole():
    listing = labelled(10, 2000)

    one = mixtures(listing, Dirichlet(alpha=1e-3).split(listing, [1] * 40))
    whole = mixtures(listing, Dirichlet(alpha=1e6).split(listing, [1] * 40))

    assert np.median(one.max(axis=1)) == 1
    assert abs(whole - 0.1).max() < 0.004


def test_dirichlet_follows_the_shares_of_labels_in_the_data():
    labels = np.repeat([7, 8], [9000, 1000])

    shards = Dirichlet(alpha=2.0).split(Listing(10_000, labels=labels), [1] * 100)

    rare = np.array([(labels[shard] == 8).mean() for shard in shards])
    assert rare.mean() == pytest.approx(0.1)
    assert rare.var() == pytest.approx(0.09 / 3, rel=0.25)


# -- in a scenario


@pytest.mark.parametrize(("num_samples", "weights"), [(10, [1, 1, 1]), (7, [2, 1]), (0, [1, 5])])
def test_edges_are_rounded_down_and_in_proportion(num_samples, weights):
    expected = [num_samples * sum(weights[:upto]) // sum(weights) for upto in range(4)]

    assert edges(num_samples, weights) == expected[: len(weights) + 1]


def test_shards_by_speed_are_as_machines_take_steps():
    """Two workers, one on a machine of half the speed, and a third slowed down by 4."""
    cluster = Cluster(
        nodes=3,
        machine=Fixed(step_time=10 * MS),
        others=(Others(nodes=(1,), machine=Fixed(step_time=20 * MS, jitter=Constant())),),
        stragglers=(Persistent(nodes=(2,), slowdown=4.0),),
    )
    for kind in KINDS.values():
        scenario = learning(shards=kind(sizes="by_speed")).model_copy(update={"cluster": cluster})
        assert np.array(scenario.shard_weights) * 7 / sum(scenario.shard_weights) == pytest.approx(
            [4, 2, 1]
        )
    assert learning().shard_weights is None


def test_shards_by_speed_of_equal_machines_are_equal_shards():
    same = Cluster(nodes=4, machine=Fixed(step_time=10 * MS))
    losses = [
        [each.loss for each in run(scenario.model_copy(update={"cluster": same})).evaluations]
        for scenario in (
            learning(shards=IID()),
            learning(shards=IID(sizes="by_speed")),
            learning(shards=Contiguous()),
        )
    ]

    assert losses[0] == losses[1] != losses[2]


def test_by_default_points_and_texts_are_cut_as_they_come():
    plain, said = learning(), learning(shards=Contiguous())

    assert run(plain).evaluations == run(said).evaluations
    assert Task(data=Text(), model=GPT()).sharding == Contiguous()
    assert Task(data=Gaussian(), model=Quadratic()).sharding is None


def test_nodes_that_see_one_label_each_drift_apart_between_averages():
    """Local SGD from one label each ends farther off than from shuffled data."""

    def last_loss(shards):
        scenario = learning(shards=shards, batch_size=64)
        averaging = scenario.model_copy(update={"strategies": {"law": Averaging(period=12)}})
        return run(averaging).evaluations[-1].loss

    shuffled, mixed = last_loss(IID()), last_loss(Dirichlet(alpha=100.0))
    single = last_loss(ByLabel(pieces=1))

    assert single > 1.05 * shuffled
    assert mixed == pytest.approx(shuffled, rel=0.05)


def test_what_goes_by_labels_wants_some():
    for shards in (Dirichlet(), ByLabel()):
        with pytest.raises(ValueError, match=f"{shards.kind} goes by labels, and samples of data"):
            Task(shards=shards)
    with pytest.raises(ValueError, match="with data gaussian, each node draws its own"):
        Task(model=Quadratic(), data=Gaussian(), shards=IID())


def test_a_file_that_asks_for_labels_where_there_are_none_is_told_where(tmp_path):
    file = tmp_path / "text.yaml"
    file.write_text(
        "name: text\n"
        "task:\n"
        "  shards: {kind: dirichlet, alpha: 0.1}\n"
        "strategies: {a: {kind: averaging}}\n"
        "stop: {updates: 1}\n"
    )

    with pytest.raises(ScenarioError) as refused:
        load(file)

    assert str(refused.value) == (
        f"{file}:3: task.shards: dirichlet goes by labels, and samples of data text have none; "
        "iid and contiguous do without"
    )
