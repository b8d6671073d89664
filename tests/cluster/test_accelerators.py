"""Accelerators by name: what their makers say of them, and the time of a step that follows."""

from typing import get_args

import pytest

from simbench.cluster.cluster import Cluster
from simbench.cluster.devices import DEVICES, Precision
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.accelerator import Accelerator
from simbench.learning.datasets.classification import Classification
from simbench.learning.models.logistic import Logistic
from simbench.learning.task import Task
from simbench.scenario import Scenario, Stop
from simbench.simulation import Simulation
from simbench.strategies.averaging import Averaging

PETA = 10**15
GB, GIB = 10**9, 2**30

EVERY = [(name, precision) for name, device in DEVICES.items() for precision in device.rates_flops]


@pytest.mark.parametrize(
    ("device", "precision", "teraflops", "memory_bytes"),
    [
        ("v100", "fp16", 125, 16 * GB),
        ("v100", "fp32", 15.7, 16 * GB),
        ("t4", "fp16", 65, 16 * GB),
        ("a100", "bf16", 312, 40 * GB),
        ("a100-80gb-sxm", "tf32", 156, 80 * GB),
        ("h100-sxm", "bf16", 989.5, 80 * GB),
        ("h100-sxm", "fp8", 1979, 80 * GB),
        ("h100-pcie", "bf16", 756.5, 80 * GB),
        ("h200", "fp16", 989.5, 141 * GB),
        ("b200", "fp8", 4500, 180 * GB),
        ("rtx-4090", "bf16", 165.2, 24 * GB),
        ("l40s", "bf16", 362.05, 48 * GB),
        ("mi250x", "bf16", 383, 128 * GB),
        ("mi300x", "tf32", 653.7, 192 * GB),
        ("tpu-v4", "bf16", 275, 32 * GIB),
        ("tpu-v5p", "bf16", 459, 95 * GB),
        ("trainium2", "fp8", 1299, 96 * GIB),
    ],
)
def test_a_device_has_the_dense_rate_and_the_memory_of_its_data_sheet(
    device, precision, teraflops, memory_bytes
):
    machine = Accelerator(device=device, precision=precision, efficiency=1)

    assert PETA / machine.step_ns(PETA) * 1e9 == pytest.approx(teraflops * 1e12, rel=1e-12)
    assert machine.memory_bytes == memory_bytes


@pytest.mark.parametrize(("name", "precision"), EVERY)
def test_a_row_is_plausible(name, precision):
    device = DEVICES[name]

    assert 8 * GB < device.memory_bytes < 300 * GB
    assert 10**12 < device.rates_flops[precision] < 5 * PETA
    assert device.rates_flops[precision] % 10**10 == 0
    assert device.source
    # Fewer bits are never slower.
    rates = list(device.rates_flops.values())
    assert rates == sorted(rates)
    assert list(device.rates_flops) == [p for p in get_args(Precision) if p in device.rates_flops]


def test_efficiency_is_the_share_of_the_peak_that_is_reached():
    full = Accelerator(device="h100-sxm", efficiency=1).step_ns(PETA)

    assert Accelerator(device="h100-sxm").step_ns(PETA) == pytest.approx(full / 0.4)


def test_a_step_takes_the_flops_that_torch_counts_over_the_rate():
    """A logistic regression multiplies (B, features) by (features, 1), forth and back."""
    task = Task(model=Logistic(features=500), data=Classification(), batch_size=1000)
    machine = Accelerator(device="t4", precision="fp16", efficiency=0.5, jitter=Constant())
    scenario = Scenario(
        name="t4",
        task=task,
        cluster=Cluster(nodes=2, machine=machine),
        network={"kind": "instant"},
        strategies={"only": Averaging()},
        stop=Stop(updates=1),
    )
    simulation = Simulation(scenario, "only", seed=0)
    while simulation.advance():
        pass

    assert task.step_flops == 2 * 2 * 1000 * 500
    assert simulation.updates[0].time_ns == round(2 * 2 * 1000 * 500 / (65e12 * 0.5) * 1e9)


def test_memory_that_a_scenario_gives_counts_more_than_the_table():
    assert Accelerator(device="h100-sxm", memory=60 * GB).memory_bytes == 60 * GB
