"""DP-SGD: clipped samples, noise, and what the accountant says."""

import math

import numpy as np
import pytest
import torch
from opacus.accountants.analysis.rdp import compute_rdp
from pydantic import ValidationError

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.fixed import Fixed
from simbench.execution.memo import Memo
from simbench.execution.threads import ThreadExecutor
from simbench.learning.datasets.classification import Classification
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.gpt import GPT
from simbench.learning.models.logistic import Logistic
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.operations import Gradient, Initial
from simbench.learning.privacy import Privacy, sample_gradients, spent
from simbench.learning.task import Task
from simbench.learning.vectors import gradient_of
from simbench.report.privacy import privacy as told_privacy
from simbench.report.words import meanings
from simbench.run import run as run_all
from simbench.run import run_folder
from simbench.scenario import Scenario, Stop
from simbench.seeds import generator
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer
from simbench.testing import MS, run, small_scenario

ORDERS = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))


def epsilon_of_mironov(rate, sigma, steps, delta):
    """Convert as papers before 2020 did: min over orders of rdp + log(1/delta) / (order - 1)."""
    rdp = compute_rdp(q=rate, noise_multiplier=sigma, steps=steps, orders=ORDERS)
    return min(r + math.log(1 / delta) / (a - 1) for r, a in zip(rdp, ORDERS, strict=True))


@pytest.mark.parametrize(
    ("rate", "sigma", "steps", "published"),
    [
        # TensorFlow Privacy's tutorials on MNIST, today's table and an earlier one: 60,000 samples,
        # batches of 256, and so many epochs.
        (256 / 60_000, 1.12, 60 * (60_000 // 256), 2.92),
        (256 / 60_000, 0.6, 30 * (60_000 // 256), 9.74),
        (256 / 60_000, 1.2, 10 * (60_000 // 256), 1.20),
        (256 / 60_000, 1.1, 60 * (60_000 // 256), 3.01),
        (256 / 60_000, 0.7, 45 * (60_000 // 256), 7.10),
        # Abadi et al. 2016, section 3.2 and figure 2: q = 0.01, sigma = 4, T = 10,000.
        (0.01, 4.0, 10_000, 1.26),
    ],
)
def test_what_is_spent_is_what_was_published_or_less_by_a_tighter_conversion(
    rate, sigma, steps, published
):
    delta = 1e-5
    assert epsilon_of_mironov(rate, sigma, steps, delta) == pytest.approx(published, abs=0.01)
    found = spent(Privacy(noise_multiplier=sigma, delta=delta), rate, steps)
    assert 0.75 * published < found < published


def test_one_step_on_all_samples_is_the_gaussian_mechanism():
    """Balle et al. 2020, theorem 21, over the orders, with the mechanism's order / (2 sigma^2)."""
    sigma, delta = 2.0, 1e-6
    expected = min(
        a / (2 * sigma**2) + math.log((a - 1) / a) - (math.log(delta) + math.log(a)) / (a - 1)
        for a in ORDERS
    )
    assert spent(Privacy(noise_multiplier=sigma, delta=delta), 1.0, 1) == pytest.approx(expected)
    assert spent(Privacy(), 0.5, 0) == 0.0


# -- gradients


def batch_of(bench, rank=0, step=0):
    task = bench.task
    draw = generator(bench.seed, "batch", rank, step)
    size = task.samples_per_step
    return bench.place(task.batch(draw, rank, bench.shares, size))


def alone(bench, point, batch):
    """Return each sample's gradient in the slow way."""
    module, own = bench.module_with(point)
    samples = zip(*(torch.split(each, 1) for each in batch), strict=True)
    return torch.stack([gradient_of(bench.task.model.loss(module, one), own) for one in samples])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_sample_has_the_gradient_that_it_has_alone(task, bench_for, dtype):
    bench = bench_for(task, dtype=dtype)
    point = Initial(bench)() + 0.1
    batch = batch_of(bench)
    module, _ = bench.module_with(point)

    found = sample_gradients(task.model.loss, module, batch)

    # Entries that are next to nothing are sums of larger ones: they have the error of those.
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(found, alone(bench, point, batch), **close)


def test_without_noise_and_with_a_wide_clip_it_is_the_gradient(task, bench_for):
    plain = bench_for(task, dtype="float64")
    private = bench_for(task, dtype="float64", privacy=Privacy(clip=1e6, noise_multiplier=1e-30))
    point = Initial(plain)() + 0.1
    torch.testing.assert_close(
        Gradient(private)(point, 1, 2), Gradient(plain)(point, 1, 2), rtol=1e-12, atol=1e-14
    )


def test_what_comes_out_is_the_noised_mean_of_clipped_samples(task, bench_for):
    """Micro-batches of 3, and one draw of noise for all of them."""
    clip, sigma = 0.05, 0.7
    bench = bench_for(
        task,
        dtype="float64",
        batch_size=3,
        accumulate=2,
        privacy=Privacy(clip=clip, noise_multiplier=sigma),
    )
    point = Initial(bench)() + 0.1
    gradients = alone(bench, point, batch_of(bench, 1, 2))
    lengths = gradients.norm(dim=1, keepdim=True)
    assert (lengths > clip).any()

    found = Gradient(bench)(point, 1, 2)

    noise = generator(bench.seed, "privacy", 1, 2).standard_normal(len(point))
    clipped = gradients * torch.clamp(clip / lengths, max=1)
    expected = (clipped.sum(0) + sigma * clip * torch.from_numpy(noise)) / 6
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_delta_changes_what_is_told_and_not_what_is_computed(tasks, bench_for):
    identities = {
        Gradient(bench_for(tasks["logistic"], privacy=privacy)).identity
        for privacy in (None, Privacy(), Privacy(delta=1e-6), Privacy(clip=2.0))
    }
    assert len(identities) == 3


# -- runs


def scenario_of(strategy, data=None, **task):
    data = data or Classification(samples=90)
    return small_scenario(
        strategy,
        task=Task(
            model=Logistic(features=4) if data.yields == "features" else Quadratic(),
            data=data,
            batch_size=3,
            privacy=Privacy(noise_multiplier=1.5),
            **task,
        ),
        cluster=Cluster(nodes=3, machine=Fixed(step_time=10 * MS, jitter=Constant())),
        evaluate_every=2,
        stop=Stop(updates=12),
    )


@pytest.mark.parametrize("strategy", [ParameterServer(), Averaging(period=3)], ids=str)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_tells_what_each_sample_of_a_node_has_spent(strategy, accumulate):
    """30 samples a node, 12 gradients of 3 or 6 of them."""
    outcome = run(scenario_of(strategy, accumulate=accumulate))
    told = outcome.summary["privacy"]
    assert told == {
        "epsilon": spent(Privacy(noise_multiplier=1.5), accumulate / 10, 12),
        "delta": 1e-5,
        "noise_multiplier": 1.5,
        "sampling_rate": accumulate / 10,
        "steps": 12,
    }
    assert outcome.summary["samples"] == 12 * 3 * 3 * accumulate


def test_asynchronous_workers_spend_what_the_fastest_has_computed():
    scenario = scenario_of(Asynchronous())
    outcome = run(scenario)
    begun = [span for span in outcome.spans if span.activity == "compute"]
    most = max(sum(span.node == node for span in begun) for node in range(3))
    assert outcome.summary["privacy"]["steps"] == most
    known = Memo(None)
    assert run(scenario, memo=known).summary == run(scenario, memo=known).summary


def test_data_without_separate_samples_have_no_epsilon():
    told = run(scenario_of(Averaging(), data=Gaussian())).summary["privacy"]
    assert told["epsilon"] is None
    assert told["sampling_rate"] is None
    assert told["steps"] == 12


def test_the_report_says_it_in_words(tmp_path):
    def words(scenario):
        executor = ThreadExecutor(1)
        folder = run_all(scenario, executor, Memo(None), run_folder(scenario, tmp_path))
        executor.close()
        return folder

    folder = words(scenario_of(Averaging()))
    epsilon = folder.summary["runs"][0]["privacy"]["epsilon"]
    text = meanings(folder)["Privacy"]
    assert f"law: epsilon {math.ceil(epsilon * 1000) / 1000:g} at delta 1e-05" in text
    assert "12 gradients with noise multiplier 1.5, sampling rate 0.1" in text
    assert "law: no epsilon" in told_privacy(words(scenario_of(Averaging(), data=Gaussian())))
    plain = words(small_scenario(Averaging(), stop=Stop(updates=2)))
    assert "Privacy" not in meanings(plain)
    assert "privacy" not in plain.summary["runs"][0]


# -- what is refused


@pytest.mark.parametrize(
    ("changed", "where", "what"),
    [
        ({"checkpoint_activations": True}, "checkpoint_activations", "can't be combined"),
        ({"privacy": {"delta": 1.0}}, "privacy", "less than 1"),
        ({"privacy": {"noise_multiplier": 0.0}}, "privacy", "greater than 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changed, where, what):
    with pytest.raises(ValidationError) as told:
        Task(**{"model": GPT(), "privacy": Privacy(), **changed})
    (error,) = told.value.errors()
    assert error["loc"][0] == where
    assert what in error["msg"]


def test_a_batch_larger_than_a_shard_is_refused():
    with pytest.raises(ValidationError) as told:
        scenario_of(Averaging(), accumulate=11)
    (error,) = told.value.errors()
    assert error["loc"] == ("task", "privacy")
    assert error["msg"] == "a batch of 33 samples is more than the 30 that a node has"


def test_noise_is_drawn_anew_at_every_node_and_step(tasks, bench_for):
    bench = bench_for(tasks["quadratic"], privacy=Privacy(), batch_size=1)
    quiet = bench_for(tasks["quadratic"], privacy=Privacy(noise_multiplier=1e-30), batch_size=1)
    point = Initial(bench)()
    noise = [
        (Gradient(bench)(point, rank, step) - Gradient(quiet)(point, rank, step)).numpy()
        for rank in range(2)
        for step in range(2)
    ]
    assert len({each.tobytes() for each in noise}) == 4
    assert np.isfinite(noise).all()


def test_scenarios_read_it_from_yaml_as_any_other_key():
    told = Scenario.model_validate(
        {
            "name": "a",
            "task": {
                "model": {"kind": "logistic"},
                "data": {"kind": "classification"},
                "privacy": {"clip": 0.5},
            },
            "cluster": {"machine": {"kind": "fixed"}},
            "strategies": {"only": {"kind": "averaging"}},
            "stop": {"updates": 1},
        }
    )
    assert told.task.privacy == Privacy(clip=0.5)
