"""Results travel by the processor's memory, and land on the device of whoever computes next."""

import pickle
from dataclasses import dataclass

import torch

from simbench.execution.actor import Actor, Program
from simbench.execution.devices import moved

RESULT = {
    "vectors": (torch.ones(3), [torch.zeros(2, 2)]),
    "step": torch.tensor(3.0),
    "loss": 0.5,
}


@dataclass(frozen=True)
class Where:
    """The device of a vector."""

    name = identity = "where"
    effort = "medium"

    def __call__(self, vector):
        return vector.device.type


def test_all_but_counters_go_to_the_device():
    there = moved(RESULT, "meta")

    (vector, (matrix,)) = there["vectors"]
    assert (vector.device.type, matrix.device.type) == ("meta", "meta")
    assert (vector.shape, matrix.shape) == ((3,), (2, 2))
    assert torch.equal(there["step"], RESULT["step"])
    assert there["loss"] == 0.5


def test_what_is_on_the_processor_already_is_not_copied():
    vector, (matrix,) = moved(RESULT, "cpu")["vectors"]

    assert vector is RESULT["vectors"][0]
    assert matrix is RESULT["vectors"][1][0]


def test_an_actor_computes_on_its_device_with_what_the_driver_gave_it():
    actor = Actor("127.0.0.1")
    actor.device = "meta"
    program = Program(
        era=0,
        operations={0: Where()},
        given={0: torch.ones(3)},
        tasks=[(1, 0, [0], (), False)],
        wanted=[1],
    )

    try:
        actor.extend(pickle.dumps(program))

        assert pickle.loads(next(actor.news())) == (0, 1, None, "meta")  # noqa: S301
    finally:
        actor._wires.close()
