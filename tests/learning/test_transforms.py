"""Chains of gradient transformations, at a node and at an optimiser, through runs on quadratics."""

import pickle

import numpy as np
import pytest
from pydantic import ValidationError

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.fixed import Fixed
from simbench.execution.values import in_order
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.operations_gradient import TransformGradient
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.privacy import Privacy
from simbench.learning.task import Task
from simbench.learning.transforms.clip_by_norm import ClipByNorm
from simbench.learning.transforms.clip_by_value import ClipByValue
from simbench.learning.transforms.gaussian_noise import GaussianNoise
from simbench.learning.transforms.momentum import Momentum
from simbench.learning.transforms.scale import Scale
from simbench.learning.transforms.sign import Sign
from simbench.learning.transforms.weight_decay import WeightDecay
from simbench.scenario import Stop
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.diloco import DiLoCo
from simbench.strategies.parameter_server import ParameterServer
from simbench.testing import MS, run, small_scenario

SERVER = ParameterServer(combine="gradients")


def scenario_of(strategy=None, optimizer=None, gradient=(), nodes=3, steps=12, seeds=(0,), **model):
    settings = {"dimension": 3, "noise": 0.5, "optimum": (0.0, 1.0, 3.0)}
    return small_scenario(
        strategy or Averaging(),
        task=Task(
            model=Quadratic(**{**settings, **model}),
            data=Gaussian(),
            optimizer=optimizer or SGD(learning_rate=0.1),
            gradient=gradient,
            dtype="float64",
        ),
        cluster=Cluster(nodes=nodes, machine=Fixed(step_time=10 * MS, jitter=Constant())),
        evaluate_every=1,
        stop=Stop(updates=steps),
        seeds=seeds,
    )


def outcome(*args, **settings):
    return run(scenario_of(*args, **settings))


def losses(*args, **settings):
    return np.array([each.loss for each in outcome(*args, **settings).evaluations])


def sgd(*transforms, **settings):
    return SGD(**{"learning_rate": 0.1, **settings}, transforms=transforms)


def points(*args, dimension=1, **settings):
    """Return |x| after each step of one node that minimises |x|^2 / 2 from (1, 1, ...)."""
    alone = {"nodes": 1, "noise": 0.0, "optimum": (0.0,), "dimension": dimension}
    return np.sqrt(2 * losses(*args, **alone, **settings))


# -- what torch's SGD has as settings

TORCH_DOES_IT_TOO = {
    "momentum": ((Momentum(),), {"momentum": 0.9}),
    "nesterov": ((Momentum(decay=0.8, nesterov=True),), {"momentum": 0.8, "nesterov": True}),
    "decay": ((WeightDecay(rate=0.3),), {"weight_decay": 0.3}),
    "both": ((WeightDecay(rate=0.3), Momentum()), {"weight_decay": 0.3, "momentum": 0.9}),
}


@pytest.mark.parametrize("strategy", [Averaging(period=3), SERVER, Asynchronous()], ids=str)
@pytest.mark.parametrize(("chain", "settings"), TORCH_DOES_IT_TOO.values(), ids=TORCH_DOES_IT_TOO)
def test_a_chain_in_front_of_sgd_is_what_torch_has_as_settings(strategy, chain, settings):
    chained = outcome(strategy, sgd(*chain))
    torchs = outcome(strategy, sgd(**settings))
    plain = outcome(strategy, sgd())

    assert chained.evaluations == torchs.evaluations
    assert chained.summary["parameters_sha256"] == torchs.summary["parameters_sha256"]
    assert chained.evaluations != plain.evaluations
    assert chained.messages == plain.messages


def test_an_outer_optimizer_takes_a_chain_too():
    inner = sgd()
    chained = outcome(
        DiLoCo(period=3, outer=sgd(Momentum(nesterov=True), learning_rate=0.7)), inner
    )
    assert chained.evaluations == outcome(DiLoCo(period=3), inner).evaluations


# -- closed forms


def test_a_clipped_gradient_is_as_long_as_allowed_until_it_is_shorter():
    """In 4 dimensions, |x| starts at 2 and loses lr * norm a step; below norm it shrinks by lr."""
    found = points(None, sgd(ClipByNorm(norm=0.8), learning_rate=0.5), dimension=4, steps=6)
    np.testing.assert_allclose(found, [2, 1.6, 1.2, 0.8, 0.4, 0.2, 0.1], rtol=1e-12)


def test_clipping_by_value_clips_each_entry_by_itself():
    """Curvatures 1 and 100 from (1, 1): the gradient (1, 100) becomes (1, 4)."""
    model = {"nodes": 1, "noise": 0.0, "optimum": (0.0,), "dimension": 2, "condition": 100.0}
    found = losses(None, sgd(ClipByValue(value=4.0), learning_rate=0.125), steps=1, **model)
    assert found[1] == pytest.approx((0.875**2 + 100 * 0.5**2) / 2, rel=1e-12)


def test_a_sign_moves_every_entry_by_the_learning_rate():
    found = points(None, sgd(Sign(), learning_rate=0.25), dimension=4, steps=4)
    assert found.tolist() == [2.0, 1.5, 1.0, 0.5, 0.0]


def test_a_chain_is_applied_in_its_order():
    clipped_first = points(None, sgd(ClipByNorm(norm=0.5), Scale(factor=0.5)), steps=1)
    scaled_first = points(None, sgd(Scale(factor=0.5), ClipByNorm(norm=0.5)), steps=1)
    np.testing.assert_allclose(clipped_first[1], 1 - 0.1 * 0.25, rtol=1e-12)
    np.testing.assert_allclose(scaled_first[1], 1 - 0.1 * 0.5, rtol=1e-12)


@pytest.mark.parametrize("nodes", [1, 4])
def test_noise_has_its_variance_and_is_each_nodes_own(nodes):
    """After a step, E|x|^2 = d ((1 - lr)^2 + lr^2 deviation^2 / N)."""
    d, deviation, rate = 20_000, 2.0, 0.5
    found = losses(
        SERVER,
        SGD(learning_rate=rate),
        (GaussianNoise(deviation=deviation),),
        nodes=nodes,
        steps=1,
        dimension=d,
        noise=0.0,
        optimum=(0.0,),
    )
    variance = (rate * deviation) ** 2 / nodes
    expected = (1 - rate) ** 2 + variance
    error = np.sqrt((2 * variance**2 + 4 * (1 - rate) ** 2 * variance) / d)
    assert abs(2 * found[1] / d - expected) < 4 * error


def test_noise_depends_on_the_seed_and_on_nothing_that_may_vary():
    noisy = scenario_of(gradient=(GaussianNoise(deviation=0.5), Momentum()))
    other = scenario_of(gradient=(GaussianNoise(deviation=0.5), Momentum()), seeds=(1,))
    assert run(noisy).evaluations == run(noisy, num_threads=3).evaluations
    assert run(noisy).evaluations != run(other).evaluations


def test_noise_at_a_strategys_own_optimizer_is_the_same_for_all_who_step():
    """Each of three workers takes the outer step for itself, as one worker alone does."""
    outer = sgd(GaussianNoise(deviation=0.1), learning_rate=1.0)
    three = losses(DiLoCo(period=1, outer=outer), steps=4, noise=0.0)
    alone = losses(DiLoCo(period=1, outer=outer), steps=4, noise=0.0, optimum=(4 / 3,), nodes=1)
    # The mean of three parabolas lies higher, by a constant.
    np.testing.assert_allclose(np.diff(three), np.diff(alone), rtol=1e-9)


# -- at the node


def test_gradients_are_transformed_before_they_leave_the_node():
    """Gradients 1 and -9, clipped to 2: their mean is -1/2; the mean itself, clipped, is -2."""
    model = {"nodes": 2, "noise": 0.0, "optimum": (0.0, 10.0), "dimension": 1, "steps": 1}
    clip = (ClipByNorm(norm=2.0),)
    at_node = losses(SERVER, SGD(learning_rate=0.1), clip, **model)
    at_server = losses(SERVER, sgd(*clip), **model)

    def mean_loss(x):
        return (x**2 + (x - 10) ** 2) / 4

    assert at_node[1] == pytest.approx(mean_loss(1.05), rel=1e-12)
    assert at_server[1] == pytest.approx(mean_loss(1.2), rel=1e-12)


@pytest.mark.parametrize(
    "strategy", [SERVER, Averaging(combine="gradients"), Averaging(bucket=16)], ids=str
)
def test_momentum_at_the_workers_is_momentum_at_the_server(strategy):
    """The mean of all velocities is the velocity of the mean."""
    np.testing.assert_allclose(
        losses(strategy, sgd(), (Momentum(),)), losses(strategy, sgd(Momentum())), rtol=1e-12
    )


def test_a_node_remembers_nothing_of_a_gradient_that_was_undone(stage):
    def worker(node):
        point = node.initial_state().parameters
        yield node.compute_gradient(point)
        node.send(node.rank, None, tag="news")
        undone = node.compute_gradient(point)
        yield from node.race(undone, node.receive("news"))
        yield node.compute(1)
        seen.append((yield node.compute_gradient(point)).recipe)

    seen = []
    task = Task(model=Quadratic(), data=Gaussian(), gradient=(Momentum(),))
    simulation = stage(worker, nodes=1, until_still=False)
    scenario = simulation.scenario.model_copy(update={"task": task})
    again = type(simulation)(scenario, "script", 0)
    while again.advance():
        pass
    gradients = [each for each in in_order(seen) if each.operation.name == "gradient"]
    assert sorted(each.arguments for each in gradients) == [(0, 0), (0, 2)]


def test_the_operation_can_be_sent_to_another_process(tasks, bench_for):
    operation = TransformGradient(bench_for(tasks["gpt"], gradient=(Momentum(), Sign())))
    assert pickle.loads(pickle.dumps(operation)).identity == operation.identity  # noqa: S301


def test_identities_tell_chains_apart(tasks, bench_for):
    chains = [(Sign(),), (Sign(), Sign()), (Scale(factor=2.0),), (Scale(factor=3.0),)]
    benches = [bench_for(tasks["gpt"], gradient=chain) for chain in chains]
    assert len({TransformGradient(bench).identity for bench in benches}) == len(chains)
    noisy = {"gradient": (GaussianNoise(),)}
    seeds = [bench_for(tasks["gpt"], seed=seed, **noisy) for seed in (0, 1)]
    assert len({TransformGradient(bench).identity for bench in seeds}) == 2


# -- overlap


@pytest.mark.parametrize("combine", ["gradients", "parameters"])
@pytest.mark.parametrize(
    ("task", "waits"),
    [
        ({"gradient": (ClipByNorm(),)}, 1),
        ({"gradient": (ClipByValue(),)}, 0),
        ({"privacy": Privacy()}, 1),
        ({"accumulate": 4}, 0.75),
    ],
    ids=str,
)
def test_buckets_wait_until_a_gradient_is_whole(combine, task, waits):
    """Two buckets; the first is out half a backward pass, here of a whole step, before the end."""
    assert first_sent_ns(combine, **task) == (5 + 5 * waits) * MS


@pytest.mark.parametrize(("combine", "sent_ms"), [("gradients", 5), ("parameters", 10)])
def test_a_step_that_needs_the_whole_gradient_waits_where_it_is_taken(combine, sent_ms):
    found = first_sent_ns(combine, optimizer=sgd(ClipByNorm()))
    assert found == sent_ms * MS


def first_sent_ns(combine, **task):
    scenario = scenario_of(Averaging(combine=combine, bucket=16), dimension=4, steps=1)
    changed = scenario.task.model_copy(update=task)
    machine = Fixed(step_time=10 * MS, jitter=Constant(), backward_share=1.0)
    cluster = Cluster(nodes=3, machine=machine)
    done = run(scenario.model_copy(update={"task": changed, "cluster": cluster}))
    return min(message.sent_ns for message in done.messages)


# -- what is refused, and what counts


def test_what_draws_is_refused_at_the_tasks_optimizer():
    with pytest.raises(ValidationError) as told:
        Task(optimizer=sgd(GaussianNoise()))
    (error,) = told.value.errors()
    assert error["loc"] == ("optimizer", "transforms")
    assert "belongs into task.gradient" in error["msg"]


def test_what_a_chain_remembers_takes_memory():
    plain = Task(model=Quadratic(), data=Gaussian())
    at_both = plain.model_copy(
        update={"optimizer": sgd(Momentum()), "gradient": (Momentum(), Sign())}
    )
    assert at_both.training_bytes == plain.training_bytes + 2 * plain.vector_bytes
