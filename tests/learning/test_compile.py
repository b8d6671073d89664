"""`task.compile: true`: torch compiles the loss; the gradient is the same within rounding."""

import os
import shutil
import warnings

import pytest
import torch

from simbench.execution.identity import compiler
from simbench.learning.datasets.classification import Classification
from simbench.learning.models.gpt import GPT
from simbench.learning.models.logistic import Logistic
from simbench.learning.operations import Bench, Gradient, Initial
from simbench.learning.privacy import Privacy
from simbench.learning.task import Task


def task_of(**changes):
    return Task(model=Logistic(l2=0.1), data=Classification(), **changes)


@pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None,
    reason="torch.compile needs a C++ compiler, and there is none on this machine",
)
def test_a_compiled_gradient_is_that_of_the_interpreter():
    plain, compiled = (Bench(task_of(compile=each), 0, 2, "cpu", "") for each in (False, True))
    x = torch.linspace(-1, 1, len(Initial(plain)()))
    torch._dynamo.reset()
    with warnings.catch_warnings():
        # torch itself uses, on the way, what it calls deprecated.
        warnings.simplefilter("ignore")
        found = [Gradient(compiled)(x, rank, 3) for rank in range(2)]

    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1, "nothing was compiled"
    for rank, gradient in enumerate(found):
        expected = Gradient(plain)(x, rank, 3)
        assert (gradient - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_compiled_work_has_keys_of_its_own_which_name_the_compiler(monkeypatch):
    plain, compiled = (Bench(task_of(compile=each), 0, 2, "cpu", "") for each in (False, True))
    assert Gradient(plain).identity != Gradient(compiled).identity
    before = Gradient(compiled).identity
    monkeypatch.setenv("CXX", "no-such-compiler")
    compiler.cache_clear()

    assert compiler() == "none"
    assert Gradient(Bench(task_of(compile=True), 0, 2, "cpu", "")).identity != before
    assert Gradient(Bench(task_of(), 0, 2, "cpu", "")).identity == Gradient(plain).identity
    compiler.cache_clear()


def test_a_scenario_says_nothing_of_it_unless_asked():
    assert "compile" not in task_of().model_dump(mode="json")
    assert task_of(compile=True).model_dump(mode="json")["compile"] is True


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"model": GPT(), "data": Task().data, "checkpoint_activations": True}, "checkpoint"),
        ({"privacy": Privacy()}, "privacy"),
    ],
)
def test_what_cannot_be_compiled_is_refused(changes, key):
    with pytest.raises(ValueError, match=f"compile\n.*can't be combined with {key}"):
        Task(**{"model": Logistic(), "data": Classification(), "compile": True, **changes})
