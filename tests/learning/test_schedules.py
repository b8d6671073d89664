"""Learning-rate schedules against torch's own, through runs on a quadratic."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.optim import lr_scheduler

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.fixed import Fixed
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.schedule import chain_factor
from simbench.learning.schedules.constant import Constant as Keep
from simbench.learning.schedules.cosine import Cosine
from simbench.learning.schedules.exponential_decay import ExponentialDecay
from simbench.learning.schedules.inverse_square_root import InverseSquareRoot
from simbench.learning.schedules.linear import Linear
from simbench.learning.schedules.linear_scaling import LinearScaling
from simbench.learning.schedules.step_decay import StepDecay
from simbench.learning.schedules.warmup import Warmup
from simbench.learning.task import Task
from simbench.scenario import Stop
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.diloco import DiLoCo
from simbench.strategies.parameter_server import ParameterServer
from simbench.strategies.slowmo import SlowMo
from simbench.testing import MS, run, small_scenario

RATE = 0.1


def outcome(strategy, optimizer, nodes=1, steps=20, **model):
    return run(
        small_scenario(
            strategy,
            task=Task(
                model=Quadratic(**{"dimension": 1, **model}),
                data=Gaussian(),
                optimizer=optimizer,
                dtype="float64",
            ),
            cluster=Cluster(nodes=nodes, machine=Fixed(step_time=10 * MS, jitter=Constant())),
            evaluate_every=1,
            stop=Stop(updates=steps),
        )
    )


def losses(*args, **settings):
    return np.array([each.loss for each in outcome(*args, **settings).evaluations])


def of_torch(optimizer, make):
    """Return the losses of a plain loop with torch's optimiser and scheduler."""
    x = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    stepping = optimizer.build([x])
    scheduler = make(stepping)
    found = [float((x**2).detach() / 2)]
    for _ in range(20):
        x.grad = x.detach().clone()
        stepping.step()
        scheduler.step()
        found.append(float((x**2).detach() / 2))
    return np.array(found)


def after_warmup(make):
    def both(optimizer):
        warmup = lr_scheduler.LinearLR(optimizer, start_factor=0.2, total_iters=4)
        return lr_scheduler.SequentialLR(optimizer, [warmup, make(optimizer)], milestones=[4])

    return both


WARMUP = Warmup(steps=4, start=0.2)
TORCHS = {
    "constant": (
        (Keep(factor=0.5),),
        lambda o: lr_scheduler.ConstantLR(o, factor=0.5, total_iters=99),
    ),
    "warmup": ((WARMUP,), lambda o: lr_scheduler.LinearLR(o, start_factor=0.2, total_iters=4)),
    "linear": (
        (Linear(steps=12, end=0.25),),
        lambda o: lr_scheduler.LinearLR(o, start_factor=1.0, end_factor=0.25, total_iters=12),
    ),
    "cosine": (
        (Cosine(steps=20, end=0.1),),
        lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=20, eta_min=0.1 * RATE),
    ),
    "step": (
        (StepDecay(every=6, factor=0.5),),
        lambda o: lr_scheduler.StepLR(o, step_size=6, gamma=0.5),
    ),
    "exponential": (
        (ExponentialDecay(factor=0.9),),
        lambda o: lr_scheduler.ExponentialLR(o, gamma=0.9),
    ),
    "inverse root after warmup": (
        (WARMUP, InverseSquareRoot(timescale=4)),
        after_warmup(lambda o: lr_scheduler.LambdaLR(o, lambda t: (4 / (4 + t)) ** 0.5)),
    ),
    "cosine after warmup": (
        (WARMUP, Cosine(steps=16)),
        after_warmup(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=16)),
    ),
}


@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")
@pytest.mark.parametrize("make", [SGD, AdamW])
@pytest.mark.parametrize(("chain", "scheduler"), TORCHS.values(), ids=TORCHS)
def test_a_run_follows_torchs_scheduler(make, chain, scheduler):
    found = losses(Averaging(), make(learning_rate=RATE, schedule=chain))
    np.testing.assert_allclose(
        found, of_torch(make(learning_rate=RATE), scheduler), rtol=1e-10, atol=1e-14
    )
    plain = losses(Averaging(), make(learning_rate=RATE))
    assert not np.allclose(found, plain, rtol=1e-3)


@pytest.mark.parametrize(
    "strategy",
    [
        ParameterServer(),
        ParameterServer(combine="gradients"),
        Asynchronous(),
        SlowMo(period=3, momentum=0.0, buffers="maintain"),
        SlowMo(period=3, momentum=0.0, buffers="reset"),
        DiLoCo(period=3, outer=SGD(learning_rate=1.0)),
    ],
    ids=str,
)
def test_one_worker_takes_the_same_steps_in_every_strategy(strategy):
    """A strategy that resets the optimiser's memory still goes on in the schedule."""
    optimizer = SGD(learning_rate=RATE, schedule=(WARMUP, Cosine(steps=16)))
    np.testing.assert_allclose(
        losses(strategy, optimizer), losses(Averaging(), optimizer), rtol=1e-12
    )


def test_a_strategys_own_optimizer_counts_its_own_steps():
    """Rounds of one step: the outer rate, not the inner one, is halved after each two."""
    outer = SGD(learning_rate=1.0, schedule=(StepDecay(every=2, factor=0.5),))
    found = losses(DiLoCo(period=1, outer=outer), SGD(learning_rate=RATE), steps=6)
    factors = 1 - RATE * np.array([1, 1, 0.5, 0.5, 0.25, 0.25])
    np.testing.assert_allclose(found, np.cumprod([1.0, *factors]) ** 2 / 2, rtol=1e-12)


@pytest.mark.parametrize("nodes", [1, 4])
def test_linear_scaling_multiplies_by_the_number_of_workers(nodes):
    scaled = losses(Averaging(), SGD(learning_rate=0.05, schedule=(LinearScaling(),)), nodes=nodes)
    np.testing.assert_allclose(
        scaled, losses(Averaging(), SGD(learning_rate=0.05 * nodes), nodes=nodes), rtol=1e-12
    )


def test_linear_scaling_over_steps_is_the_gradual_warmup_from_the_rate_of_one():
    found = losses(
        Averaging(), SGD(learning_rate=0.05, schedule=(LinearScaling(steps=3),)), nodes=4, steps=5
    )
    factors = 1 - 0.05 * np.array([1, 2, 3, 4, 4])
    np.testing.assert_allclose(found, np.cumprod([1.0, *factors]) ** 2 / 2, rtol=1e-12)


def test_each_schedule_begins_where_the_one_before_has_ended():
    chain = (
        LinearScaling(),
        Warmup(steps=2, start=0.5),
        Linear(steps=2, end=0.5),
        Keep(factor=0.1),
    )
    factors = [chain_factor(chain, step, 8) for step in range(6)]
    np.testing.assert_allclose(factors, [4, 6, 8, 6, 0.4, 0.4], rtol=1e-12)


def test_the_last_schedule_stays_where_it_has_ended():
    factors = [chain_factor((Cosine(steps=4, end=0.25),), step, 1) for step in (4, 5, 8, 100)]
    assert factors == [0.25] * 4


def test_what_can_never_begin_is_refused():
    with pytest.raises(ValidationError) as told:
        SGD(schedule=(ExponentialDecay(), Cosine()))
    (error,) = told.value.errors()
    assert error["loc"] == ("schedule", 1)
    assert "never begins: exponential_decay before it goes on for ever" in error["msg"]


def test_a_strategys_learning_rate_is_scheduled_as_the_tasks_is():
    task_rate = SGD(learning_rate=RATE, schedule=(WARMUP,))
    own_rate = SGD(learning_rate=0.7, schedule=(WARMUP,))
    assert losses(Averaging(learning_rate=RATE), own_rate).tolist() == (
        losses(Averaging(), task_rate).tolist()
    )
