"""A model in parts has the loss and the gradient of the whole; its parts have its parameters."""

import pytest
import torch
from pydantic import ValidationError

from simbench.learning.datasets.classification import Classification
from simbench.learning.datasets.text import Text
from simbench.learning.model import IGNORED, cross_entropy
from simbench.learning.models.gpt import GPT
from simbench.learning.models.logistic import Logistic
from simbench.learning.operations import Bench
from simbench.learning.operations_split import Split, TakePart
from simbench.learning.split_costs import link_costs
from simbench.learning.split_gradient import Partition
from simbench.learning.task import Task
from simbench.testing import check_split

MODEL = GPT(layers=4, width=16, heads=4, context=12)
DATA = Text(validation_samples=20)
PARTITIONS = {
    "a stage for each layer": Partition(4, 4, 1, 1, 3),
    "unequal stages": Partition(3, 3, 1, 1, 2),
    "interleaved": Partition(2, 4, 1, 1, 2),
    "two parts": Partition(1, 1, 2, 1, 1),
    "a head each": Partition(1, 1, 4, 1, 1),
    "replicas": Partition(1, 1, 1, 4, 4),
    "all at once": Partition(2, 2, 2, 2, 4),
}


@pytest.mark.parametrize("partition", PARTITIONS.values(), ids=PARTITIONS)
def test_loss_and_gradient_are_those_of_the_whole(partition):
    check_split(MODEL, DATA, partition)


@pytest.mark.parametrize(
    "form",
    [
        {"positions": "rotary", "norm": "post"},
        {"positions": "sinusoidal", "norm": "none"},
        {"residual": False, "vocabulary": 301},
    ],
    ids=str,
)
def test_every_form_of_the_model_splits(form):
    model = GPT(layers=2, width=16, heads=4, context=12, **form)

    check_split(model, DATA, PARTITIONS["all at once"])
    check_split(model, DATA, Partition(2, 2, 1, 1, 2))


@pytest.mark.parametrize("name", ["two parts", "all at once"])
def test_so_they_are_in_single_precision(name):
    check_split(MODEL, DATA, PARTITIONS[name], "float32")


@pytest.mark.parametrize("tensor", [2, 4])
@pytest.mark.parametrize("size", [1.0, 1e4], ids=["usual scores", "huge scores"])
def test_parts_of_the_vocabulary_find_the_cross_entropy(tensor, size):
    """Scores whose exponentials are no floats, and targets that aren't to be predicted."""
    model = MODEL.model_copy(update={"vocabulary": 7, "norm": "none"})
    torch.manual_seed(0)
    *_, scores, surprise = model.split(1, tensor)
    table = torch.randn(7, 16) * size
    for k, part in enumerate(scores.parts):
        part.rows.weight.data = table[7 * k // tensor : 7 * (k + 1) // tensor]
    x = torch.randn(5, 12, 16, requires_grad=True)
    targets = torch.randint(7, (5, 12))
    targets[:, ::3] = IGNORED

    batch = (targets, targets)
    loss = surprise.parts[0](sum(part(x, batch) for part in scores.parts), batch)

    expected = cross_entropy(x @ table.T, targets)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
    slopes = [torch.autograd.grad(each, x)[0] for each in (loss, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-6 * size)


def test_any_model_can_share_its_batch():
    check_split(Logistic(features=5), Classification(samples=90), PARTITIONS["replicas"])


@pytest.mark.parametrize(("chunks", "tensor"), [(4, 1), (1, 4), (2, 2)])
def test_parts_have_each_entry_once_but_what_each_needs(chunks, tensor):
    """Which of the entries several have is known: the tied embedding, and norms."""
    task = Task(model=MODEL, data=DATA, dtype="float64")
    bench = Bench(task, 0, 1, "cpu", "")
    split = Split(bench, chunks, tensor, 1)
    places = torch.arange(task.num_parameters, dtype=torch.float64)

    counts = torch.zeros(task.num_parameters, dtype=torch.int64)
    for link, cost in enumerate(link_costs(task, chunks, tensor)):
        for k, size in enumerate(cost.part_entries):
            taken = TakePart(split)(places, link, k).long()
            assert len(taken) == len(taken.unique()) == size
            counts[taken] += 1

    embedding = 256 * MODEL.width
    norms = (4 * 2 + 1) * 2 * MODEL.width
    assert counts.min() == 1
    # One more for the loss, where that is another link or another piece.
    shared = norms * (tensor - 1) + embedding
    assert (counts - 1).sum() == shared
    assert counts[:embedding].eq(2).all()


def test_parts_share_the_vocabulary():
    """One sum of embeddings, and three numbers a token of the scores; gradients of the latter."""
    task = Task(model=MODEL, data=DATA)
    token, activation = 4 * 12, 4 * 12 * MODEL.width

    costs = link_costs(task, 2, 4)

    embedding, scores = costs[0], costs[-2]
    assert [cost.of_vocabulary for cost in costs] == [True] + [False] * 8 + [True, False]
    assert (embedding.forward_sums, embedding.backward_sums) == ((activation,), ())
    assert (scores.forward_sums, scores.backward_sums) == ((token,) * 3, (activation,))
    assert {(c.forward_sums, c.backward_sums) for c in costs[1:9]} == {
        ((activation,), (activation,))
    }
    rows, places, norm = 256 // 4 * MODEL.width, 12 * MODEL.width, 2 * MODEL.width
    assert embedding.part_entries == (rows + places, rows, rows, rows)
    assert scores.part_entries == (rows + norm,) * 4


def test_parts_share_the_work():
    whole, *_ = link_costs(Task(model=MODEL, data=DATA), 1, 1)
    stages = link_costs(Task(model=MODEL, data=DATA), 4, 1)
    halves = link_costs(Task(model=MODEL, data=DATA), 4, 2)

    assert whole.share == 1
    assert sum(stage.share for stage in stages) == pytest.approx(1, abs=1e-12)
    # Layers are equal; the last stage has the head as well, half of which each half has.
    assert stages[0].share == stages[1].share == stages[2].share < stages[3].share
    in_halves = [sum(c.share for c in halves if c.chunk == i) for i in range(4)]
    assert in_halves == pytest.approx([stage.share / 2 for stage in stages], abs=1e-12)


@pytest.mark.parametrize(
    ("model", "stages", "tensor", "message"),
    [
        (MODEL, 5, 1, "4 layers can't make 5 stages"),
        (MODEL, 1, 3, "4 heads aren't a multiple of 3 devices"),
        (GPT(heads=4, vocabulary=3), 1, 4, "4 devices can't share 3 tokens"),
        (Logistic(), 2, 1, "model logistic can't be split so"),
        (Logistic(), 1, 2, "model logistic can't be split so"),
    ],
)
def test_what_cant_be_split_is_refused(model, stages, tensor, message):
    with pytest.raises(ValidationError) as told:
        model.split(stages, tensor)

    (error,) = told.value.errors()
    assert error["loc"] == (("pipeline",) if stages > 1 else ("tensor",))
    assert error["msg"] == message
