"""Mixed precision, gradient accumulation and activation checkpointing."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.accelerator import Accelerator
from simbench.cluster.machines.flops import Flops
from simbench.execution.memo import Memo
from simbench.learning.checkpointing import blocks
from simbench.learning.datasets.classification import Classification
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.datasets.text import Text
from simbench.learning.models.gpt import GPT
from simbench.learning.models.logistic import Logistic
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.operations import EvaluatePart, Gradient, Initial, Step
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.plan import plan
from simbench.scenario import Scenario, Stop
from simbench.seeds import generator
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer
from simbench.testing import run, small_scenario

TINY = GPT(layers=3, width=16, heads=2, context=12)


def batch_of(bench):
    task, draw = bench.task, generator(bench.seed, "batch", 0, 0)
    size = task.samples_per_step
    return bench.place(task.batch(draw, 0, bench.shares, size))


# -- accumulation


@pytest.mark.parametrize("count", [2, 5])
def test_micro_batches_are_one_batch(task, bench_for, count):
    small = bench_for(task, dtype="float64", batch_size=3, accumulate=count)
    large = bench_for(task, dtype="float64", batch_size=3 * count)
    point = Initial(small)() + 0.1

    torch.testing.assert_close(
        Gradient(small)(point, 1, 4), Gradient(large)(point, 1, 4), rtol=1e-12, atol=1e-14
    )
    assert Gradient(small).identity != Gradient(bench_for(task, dtype="float64")).identity


@pytest.mark.parametrize("strategy", [Averaging(), ParameterServer()], ids=str)
def test_a_run_with_micro_batches_takes_the_time_and_the_samples_of_one_batch(strategy):
    def outcome(**sizes):
        return run(
            small_scenario(
                strategy,
                task=Task(model=Logistic(), data=Classification(), dtype="float64", **sizes),
                cluster=Cluster(nodes=2, machine=Flops(rate=10**6, jitter=Constant())),
                stop=Stop(updates=8),
            )
        )

    small, large = outcome(batch_size=2, accumulate=4), outcome(batch_size=8)
    single = outcome(batch_size=2)

    assert small.summary["samples"] == large.summary["samples"] == 8 * 2 * 8
    assert [each.time_ns for each in small.updates] == [each.time_ns for each in large.updates]
    assert small.updates[-1].time_ns > single.updates[-1].time_ns
    np.testing.assert_allclose(
        [each.loss for each in small.evaluations],
        [each.loss for each in large.evaluations],
        rtol=1e-12,
    )


def test_a_plan_tells_the_same_of_micro_batches_as_of_one_batch():
    def planned(**sizes):
        task = Task(model=Logistic(), data=Classification(), **sizes)
        return plan(small_scenario(Averaging(), task=task), "law", 0, Memo(None), "")

    small, large = planned(batch_size=2, accumulate=4), planned(batch_size=8)
    assert small == large
    assert small.seconds_per_round == pytest.approx(small.end_ns * 1e-9 * 4 * 8 / small.samples)


# -- mixed precision


def test_autocast_is_torchs_and_weights_stay_in_float32(bench_for, tasks):
    bench = bench_for(tasks["gpt"], mixed_precision="bfloat16")
    full = bench_for(tasks["gpt"])
    point = Initial(bench)()

    found, exact = Gradient(bench)(point, 0, 0), Gradient(full)(point, 0, 0)

    module = tasks["gpt"].model.build()
    nn.utils.vector_to_parameters(point.clone(), module.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        loss = tasks["gpt"].model.loss(module, batch_of(bench))
    loss.backward()
    expected = torch.cat([each.grad.flatten() for each in module.parameters()])
    assert torch.equal(found, expected)
    assert found.dtype == torch.float32
    error = float((found - exact).norm() / exact.norm())
    assert 1e-4 < error < 0.02
    after, state = Step(bench, AdamW())(point, {}, found)
    assert {each.dtype for each in (after, *state.values())} == {torch.float32}
    assert EvaluatePart(bench)(point, 0) == EvaluatePart(full)(point, 0)
    assert Gradient(bench).identity != Gradient(full).identity


def test_mixed_precision_is_refused_with_float64():
    with pytest.raises(ValidationError) as told:
        Task(dtype="float64", mixed_precision="bfloat16")
    (error,) = told.value.errors()
    assert error["loc"] == ("mixed_precision",)
    assert error["msg"] == "needs dtype: float32; got dtype: float64"


# -- checkpointing


def kept_bytes(bench, point):
    """Return the bytes that the forward pass keeps for the backward pass."""
    kept = 0

    def keep(tensor):
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    module, _ = bench.module_with(point)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        bench.loss(module, batch_of(bench))
    return kept


@pytest.mark.parametrize("mixed", [None, "bfloat16"])
def test_checkpointing_gives_the_same_bits_and_keeps_less(bench_for, tasks, mixed):
    settings = {"model": TINY, "mixed_precision": mixed}
    plain = bench_for(tasks["gpt"], **settings)
    recomputing = bench_for(tasks["gpt"], checkpoint_activations=True, **settings)
    point = Initial(plain)()

    gradients = [Gradient(bench)(point, 0, 1) for bench in (plain, recomputing)]

    assert torch.equal(*gradients)
    assert Gradient(plain).identity == Gradient(recomputing).identity
    assert kept_bytes(recomputing, point) < 0.6 * kept_bytes(plain, point)


def test_the_clock_charges_the_second_forward_pass_of_the_blocks():
    plain = Task(model=TINY, data=Text())
    recomputing = plain.model_copy(update={"checkpoint_activations": True})
    forward = plain.step_flops / 3
    # All of it but the logits, and what torch needn't recompute: each block's last product.
    tokens = plain.batch_size * TINY.context
    logits = 2 * tokens * TINY.width * 256
    last = TINY.layers * 2 * tokens * TINY.width * 4 * TINY.width
    assert recomputing.step_flops == plain.step_flops + forward - logits - last

    def time_ns(task):
        scenario = Scenario(
            name="time",
            task=task,
            cluster=Cluster(nodes=1, machine=Flops(rate=10**9, jitter=Constant())),
            network=Instant(),
            strategies={"only": Averaging()},
            stop=Stop(updates=1),
            seeds=(0,),
        )
        return run(scenario).summary["end_ns"]

    ratio = time_ns(recomputing) / time_ns(plain)
    assert ratio == pytest.approx(recomputing.step_flops / plain.step_flops, rel=1e-6)


def test_blocks_are_what_the_outermost_lists_and_sequences_hold():
    inner = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    module = nn.ModuleDict(
        {"blocks": nn.ModuleList([inner, nn.Linear(2, 2)]), "head": nn.Linear(2, 1)}
    )
    assert blocks(module) == list(module["blocks"])
    assert blocks(nn.Linear(2, 2)) == []


def test_checkpointing_without_blocks_is_refused():
    with pytest.raises(ValidationError) as told:
        Task(model=Quadratic(), data=Gaussian(), checkpoint_activations=True)
    (error,) = told.value.errors()
    assert error["loc"] == ("checkpoint_activations",)
    assert "model quadratic has no blocks" in error["msg"]


def test_the_check_of_memory_notes_it():
    def message(**task):
        with pytest.raises(ValidationError) as told:
            Scenario(
                name="memory",
                task=Task(model=TINY, data=Text(), **task),
                cluster=Cluster(machine=Accelerator(memory=10_000)),
                strategies={"only": Averaging()},
                stop=Stop(updates=1),
            )
        return told.value.errors()[0]["msg"]

    assert "each, and activations on top, which aren't counted" in message()
    noted = message(checkpoint_activations=True)
    assert "each, and checkpointed activations on top, which aren't counted" in noted
