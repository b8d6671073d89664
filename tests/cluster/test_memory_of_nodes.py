"""What training needs has to fit into what a machine has; told before anything runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simbench.cluster.cluster import Cluster, Others
from simbench.cluster.machines.accelerator import Accelerator
from simbench.cluster.machines.fixed import Fixed
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.datasets.text import Text
from simbench.learning.models.gpt import GPT
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.scenario import Scenario, Stop
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer

OPTIMIZERS = {
    "sgd": (SGD(), 2),
    "sgd with momentum": (SGD(momentum=0.9), 3),
    "adamw": (AdamW(), 4),
}


def scenario_of(machine, optimizer=None, dimension=1000, others=(), strategy=None, **task):
    return Scenario(
        name="memory",
        task=Task(
            model=Quadratic(dimension=dimension),
            data=Gaussian(),
            optimizer=optimizer or SGD(),
            **task,
        ),
        cluster=Cluster(nodes=2, machine=machine, others=others),
        network=Instant(),
        strategies={"only": strategy or Averaging()},
        stop=Stop(updates=1),
    )


def refusal(*arguments, **keys):
    with pytest.raises(ValidationError) as told:
        scenario_of(*arguments, **keys)
    (error,) = told.value.errors()
    return error["loc"], error["msg"]


@pytest.mark.parametrize(("optimizer", "vectors"), OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize(("dtype", "width"), [("float32", 4), ("float64", 8)])
def test_training_takes_its_vectors_to_the_byte(optimizer, vectors, dtype, width):
    needed = vectors * width * 1000

    scenario_of(Fixed(memory=needed), optimizer, dtype=dtype)
    location, message = refusal(Fixed(memory=needed - 1), optimizer, dtype=dtype)

    assert location == ("cluster", "machine", "memory")
    assert message.endswith("which is 1 B too little")


def test_the_message_tells_what_is_needed_what_there_is_and_what_is_missing():
    _, message = refusal(Fixed(memory=10_000), AdamW())

    assert message == (
        "training takes 16.0 kB of memory (parameters, gradient and 2 x state of adamw, 4.00 kB "
        "each, and activations on top, which aren't counted); there are 10.0 kB, which is "
        "6.00 kB too little"
    )


def test_without_a_state_of_the_optimiser_none_is_told():
    _, message = refusal(Fixed(memory=7000))

    assert message.startswith(
        "training takes 8.00 kB of memory (parameters and gradient, 4.00 kB each"
    )


@given(st.integers(1, 10**6), st.integers(1, 10**7))
def test_a_scenario_is_refused_exactly_where_its_model_is_too_large(dimension, memory_bytes):
    def make():
        return scenario_of(Fixed(memory=memory_bytes), dimension=dimension)

    if 8 * dimension <= memory_bytes:
        make()
    else:
        with pytest.raises(ValidationError, match="too little"):
            make()


def test_memory_that_nobody_knows_is_not_checked():
    scenario_of(Fixed(), AdamW(), dimension=10**7)


def test_memory_of_a_known_device_is_checked_under_the_machine():
    """6 billion parameters in float32: 48 GB, and 96 GB with what AdamW remembers."""
    gpt = GPT(layers=32, width=4096, heads=32, context=16)

    def task(optimizer):
        return Task(model=gpt, data=Text(), batch_size=1, optimizer=optimizer)

    def make(device, optimizer):
        return Scenario(
            name="large",
            task=task(optimizer),
            cluster=Cluster(nodes=2, machine=Accelerator(device=device)),
            strategies={"only": Averaging()},
            stop=Stop(updates=1),
        )

    assert task(AdamW()).training_bytes == 16 * task(SGD()).num_parameters
    assert 6e9 < task(SGD()).num_parameters < 7e9
    make("h100-sxm", SGD())
    make("h200", AdamW())
    with pytest.raises(ValidationError) as told:
        make("h100-sxm", AdamW())
    (error,) = told.value.errors()
    assert error["loc"] == ("cluster", "machine")
    assert "there are 80.0 GB, which is" in error["msg"]


def test_another_machine_is_checked_under_its_own_key():
    small = Others(nodes=(1,), machine=Fixed(memory=7999))
    location, _ = refusal(Fixed(memory=8000), others=(small,))

    assert location == ("cluster", "others", 0, "machine", "memory")


def test_a_server_of_its_own_is_checked_as_the_machine_that_it_is():
    large = (Others(nodes=(0, 1), machine=Fixed(memory=8000)),)

    scenario_of(Fixed(memory=7999), others=large)
    location, _ = refusal(Fixed(memory=7999), others=large, strategy=ParameterServer())

    assert location == ("cluster", "machine", "memory")
