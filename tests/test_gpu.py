"""On a GPU the same operations give the same numbers, and the same bits twice."""

import pytest
import torch

from simbench.learning.models.gpt import GPT
from simbench.learning.operations import Bench, Gradient, Initial
from simbench.learning.task import Task

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU on this machine"),
]


def test_a_gradient_on_a_gpu_is_that_of_the_processor():
    task = Task(model=GPT(layers=1, width=32, heads=2, context=16), batch_size=2)
    gradients = []
    for device in ("cpu", "cuda", "cuda"):
        bench = Bench(task, 0, 2, device, "")
        gradients.append(Gradient(bench)(Initial(bench)(), 0, 0).cpu())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)
    assert torch.equal(gradients[1], gradients[2])
