"""Tasks of each kind, as small as they can be, and a bench to work on them."""

import pytest
import torch

from simbench.learning.datasets.classification import Classification
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.datasets.text import Text
from simbench.learning.models.gpt import GPT
from simbench.learning.models.logistic import Logistic
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.operations import Bench
from simbench.learning.task import Task

TASKS = {
    "gpt": Task(
        model=GPT(layers=2, width=16, heads=2, context=12),
        data=Text(validation_samples=20),
        batch_size=3,
    ),
    "logistic": Task(model=Logistic(features=5), data=Classification(samples=90)),
    "quadratic": Task(
        model=Quadratic(dimension=4, curvature=(1.0, 3.0), optimum=(0.0, 2.0), noise=0.5),
        data=Gaussian(),
    ),
}


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Compute as executors do: bits depend on the number of threads, and so does speed here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=TASKS)
def task(request):
    """Each kind of task in turn."""
    return TASKS[request.param]


@pytest.fixture(scope="session")
def tasks():
    """All tasks by the kind of their model."""
    return TASKS


@pytest.fixture(scope="session")
def bench_for():
    """Make the bench of a task."""

    def make(task, seed=0, num_shards=3, fingerprint="here", **changed):
        changed_task = task.model_copy(update=changed)
        return Bench(changed_task, seed, num_shards, "cpu", fingerprint)

    return make
