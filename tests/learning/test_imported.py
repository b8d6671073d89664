"""Models of the user's own: found by name, trained, and known by their source."""

import sys

import pytest
import torch

from simbench.learning.datasets.classification import Classification
from simbench.learning.models.imported import Imported
from simbench.learning.models.logistic import Logistic
from simbench.learning.operations import Gradient, Initial
from simbench.learning.task import Task
from simbench.scenario import Stop
from simbench.scenario_file import ScenarioError, load
from simbench.strategies.averaging import Averaging
from simbench.testing import run, small_scenario

SOURCE = """
import torch
from torch import nn


def wide():
    return nn.Sequential(nn.Linear(5, 9), nn.Dropout(), nn.Linear(9, 2)), nn.CrossEntropyLoss()


def regression():
    return nn.Linear(5, 1), lambda output, target: ((output.squeeze(1) - target) ** 2).mean()
"""
FILE = """
name: mine
task:
  model: {kind: import, path: "PATH", sample: 5}
  data: {kind: classification}
strategies: {a: {kind: averaging}}
stop: {updates: 1}
"""


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    """Make a module of a user's own, and forget it afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def make(name, source=SOURCE):
        (tmp_path / f"{name}.py").write_text(source)
        names.append(name)
        return name

    yield make
    for name in names:
        sys.modules.pop(name, None)


def task(path, data=None):
    return Task(model=Imported(path=path, sample=5), data=data or Classification(), batch_size=8)


def test_the_example_is_logistic_regression():
    module, twin = Imported().build(), Logistic(classes=3, l2=0.0)
    batch = Classification().take(torch.arange(9).numpy(), 20)
    batch = batch[0].float(), batch[1]

    assert torch.equal(Imported().loss(module, batch), twin.loss(module.net, batch))
    loss, accuracy = Imported().evaluate(module, batch)
    assert torch.equal(accuracy, twin.evaluate(module.net, batch)[1])
    assert loss > 0


def test_a_users_model_learns_and_gives_the_same_bits_again(user_module):
    path = f"{user_module('user_net')}:wide"
    scenario = small_scenario(
        Averaging(), task=task(path), stop=Stop(updates=40), evaluate_every=40
    )

    outcome, again = run(scenario), run(scenario, num_threads=2)

    first, last = outcome.evaluations
    assert again.evaluations == outcome.evaluations
    assert last.loss < first.loss
    assert last.accuracy > first.accuracy
    assert outcome.summary["final_perplexity"] is None


def test_a_loss_of_the_users_own_that_knows_no_classes_has_no_accuracy(user_module):
    model = Imported(path=f"{user_module('user_loss')}:regression", sample=5)
    module = model.build()
    points, targets = torch.randn(4, 5), torch.randn(4)

    loss, accuracy = model.evaluate(module, (points, targets))

    assert accuracy is None
    assert torch.equal(loss, ((module.net(points).squeeze(1) - targets) ** 2).mean())


def test_another_source_is_another_key(user_module, bench_for):
    one = task(f"{user_module('user_first')}:wide")
    other = task(f"{user_module('user_second', SOURCE.replace('9', '8'))}:wide")
    scenarios = [small_scenario(Averaging(), task=each) for each in (one, other)]

    for operation in (Initial, Gradient):
        assert operation(bench_for(one)).identity != operation(bench_for(other)).identity
    # The path is in the question anyway; what the module imports of its package counts too.
    assert scenarios[0].run_id != scenarios[1].run_id


def test_the_same_path_with_another_source_is_another_key(user_module, bench_for):
    from simbench.execution import identity  # noqa: PLC0415

    path = f"{user_module('user_same')}:wide"
    before = Initial(bench_for(task(path))).identity
    run_id = small_scenario(Averaging(), task=task(path)).run_id

    # As another process would find it.
    del sys.modules["user_same"]
    user_module("user_same", SOURCE + "\n# changed\n")
    identity.source_hash.cache_clear()
    identity._read.cache_clear()

    assert Initial(bench_for(task(path))).identity != before
    assert small_scenario(Averaging(), task=task(path)).run_id != run_id


def test_a_module_that_can_not_read_a_batch_is_told(tmp_path, user_module):
    file = tmp_path / "mine.yaml"
    text = FILE.replace("PATH", f"{user_module('user_narrow')}:wide")
    file.write_text(text.replace("sample: 5", "sample: 6"))

    with pytest.raises(ScenarioError, match=r"mine.yaml:4: task.model: can't read a batch: mat1"):
        load(file)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (
            "nowhere.to.be.found:f",
            "module 'nowhere.to.be.found' can't be imported (No module named",
        ),
        ("simbench.seeds:nothing", "module 'simbench.seeds' has no function 'nothing'"),
        ("simbench.seeds", "expected package.module:function; got 'simbench.seeds'"),
    ],
)
def test_what_is_not_there_is_told_in_one_message(tmp_path, path, problem):
    file = tmp_path / "mine.yaml"
    file.write_text(FILE.replace("PATH", path))

    with pytest.raises(ScenarioError) as refused:
        load(file)

    assert str(refused.value).startswith(f"{file}:4: task.model.path: {problem}")
    assert "\n" not in str(refused.value)


def test_the_flops_of_a_model_that_looks_at_its_numbers_are_counted_on_real_ones(user_module):
    looking = SOURCE + (
        "\n\nclass Looking(nn.Linear):\n"
        "    def forward(self, x):\n"
        "        return super().forward(x) if float(x[0, 0]) else x\n"
        "\n\ndef looking():\n"
        "    return Looking(5, 2), nn.CrossEntropyLoss()\n"
    )
    model = Imported(path=f"{user_module('user_looks', looking)}:looking", sample=5)

    looked = Task(model=model, data=Classification(), batch_size=4).step_flops

    # Forward, and the gradient of the weights; nobody wants that of the points.
    assert looked == 2 * 2 * 4 * 5 * 2
