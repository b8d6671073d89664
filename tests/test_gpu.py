"""On a GPU the same operations give the same numbers, and the same bits twice."""

import pickle

import pytest
import torch

from simbench.execution.actor import Actor, Program
from simbench.execution.memo import Memo
from simbench.learning.models.gpt import GPT
from simbench.learning.operations import Bench, Gradient, Initial, Step
from simbench.learning.optimizers.adamw import AdamW
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


def test_a_moment_of_a_gpu_goes_on_there_with_the_same_bits(tmp_path):
    """Two steps in one go, and two with a moment between, as an actor keeps it and takes it up."""
    task = Task(model=GPT(layers=1, width=32, heads=2, context=16), optimizer=AdamW())
    bench = Bench(task, 0, 2, "cuda", "")
    step, gradient = Step(bench, task.optimizer), Gradient(bench)
    first = Initial(bench)()
    second, state = step(first, {}, gradient(first, 0, 0))
    third, _ = step(second, state, gradient(second, 0, 1))
    memo = Memo(tmp_path)

    memo.moments.keep(b"owner", "run", {b"parameters": second, b"state": state})
    kept = [memo.moments.recall(key) for key in (b"parameters", b"state")]
    memo.close()
    actor = Actor("127.0.0.1")
    actor.device = "cuda"
    program = Program(
        era=0,
        operations={0: gradient, 1: step},
        given=dict(enumerate(kept)),
        tasks=[(2, 0, [0], (0, 1), False), (3, 1, [0, 1, 2], (), False)],
        wanted=[3],
    )
    try:
        actor.extend(pickle.dumps(program))
        _, _, error, (again, _) = pickle.loads(next(actor.news()))  # noqa: S301 - our own
    finally:
        actor._wires.close()

    assert {kept[0].device.type, kept[1]["exp_avg"].device.type} == {"cpu"}
    assert error is None
    assert again.device.type == "cpu"
    assert torch.equal(again, third.cpu())
