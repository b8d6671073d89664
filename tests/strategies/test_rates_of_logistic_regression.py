"""Proven rates of convex losses, on logistic regression: real data, unequal shards, real batches.

Notation: f is the training loss, the mean of the f_i of N equal shards, each convex and L-smooth;
x_0 = 0; x* minimises f; a sample is a = (features, 1), so that |slope| <= |a|. Evaluation is on the
training data, so the records' losses are f(x_k).
"""

import functools
import itertools
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.jitters.exponential import Exponential
from simbench.cluster.jitters.lognormal import LogNormal
from simbench.cluster.machines.fixed import Fixed
from simbench.cluster.stragglers.persistent import Persistent
from simbench.learning.compression.signsgd import SignSGD
from simbench.learning.compression.top_k import TopK
from simbench.learning.dataset import Endless
from simbench.learning.models.logistic import Logistic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.sharding import Listing
from simbench.learning.shards.by_label import ByLabel
from simbench.learning.shards.contiguous import Contiguous
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.star import Star
from simbench.peer_graphs.complete import CompleteGraph
from simbench.scenario import Stop
from simbench.seeds import generator
from simbench.strategies.adacomm import AdaComm
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.d_psgd import DPSGD
from simbench.strategies.delay_compensated import DelayCompensated
from simbench.strategies.diloco import DiLoCo
from simbench.strategies.hierarchical_averaging import HierarchicalAveraging
from simbench.strategies.parameter_server import ParameterServer
from simbench.strategies.post_local_sgd import PostLocalSGD
from simbench.strategies.slowmo import SlowMo
from simbench.strategies.sparta import SPARTA
from simbench.strategies.ssp import StaleSynchronous
from simbench.strategies.streaming_diloco import StreamingDiLoCo
from simbench.testing import MS, run, small_scenario

FEATURES = 3
PER_NODE = 16
STEPS = 24
PLAIN = SGD(learning_rate=1.0)


# -- the problem, and its numbers by NumPy alone


class Points(Endless):
    """Noisy points, as many for each node; a batch is all that a node has, unless drawn."""

    kind: Literal["points"] = "points"
    nodes: int = 4
    condition: float = 1.0
    shards: Literal["shared", "contiguous", "by_label"] = "contiguous"
    """``shared``: everybody has all."""
    drawn: bool = False
    """Whether a batch is drawn from a node's points, with replacement."""
    points_seed: int = 0

    @property
    def yields(self):
        return "features"

    @property
    def content(self):
        return ""

    def owned(self, rank):
        """Return the indices of node ``rank``'s points."""
        labels = _table(self)[1]
        if self.shards == "shared":
            return np.arange(len(labels))
        kind = ByLabel(pieces=1) if self.shards == "by_label" else Contiguous()
        return np.array(kind.split(Listing(len(labels), 0, labels), (1,) * self.nodes)[rank])

    def draw(self, draw, rank, size, length):
        own = self.owned(rank)
        return self._batch(own[draw.integers(0, len(own), size)] if self.drawn else own)

    def validation(self, num_shards, length):
        return (self._batch(slice(None)),)

    def _batch(self, indices):
        features, labels = _table(self)
        return torch.from_numpy(features[indices]), torch.from_numpy(labels[indices])


@functools.cache
def _table(points):
    draw = generator(points.points_seed, "points", 0, 0)
    features = draw.standard_normal((points.nodes * PER_NODE, FEATURES))
    chance = 1 / (1 + np.exp(-features.sum(axis=1)))
    # A part of the labels is wrong, so that the classes can't be told apart and x* exists.
    labels = (draw.random(len(features)) < 0.1 + 0.8 * chance).astype(np.int64)
    return features * points.condition ** -np.linspace(0, 0.5, FEATURES), labels


class Losses:
    """f, or f_i of some ``indices``: mean log(1 + exp(-s)) + l2/2 |x|^2, s the signed score."""

    def __init__(self, points, l2=0.0, indices=slice(None)):
        features, labels = (each[indices] for each in _table(points))
        self.points = np.hstack([features, np.ones((len(labels), 1))])
        self.signs, self.l2 = 2 * labels - 1, l2

    @property
    def smoothness(self):
        """L: the second derivative of log(1 + exp(-s)) is 1/4 at most."""
        gram = self.points.T @ self.points / (4 * len(self.points))
        return np.linalg.eigvalsh(gram)[-1] + self.l2

    @property
    def slope(self):
        """What a gradient's norm is at most, without the l2 term."""
        return np.linalg.norm(self.points, axis=1).mean()

    def loss(self, x):
        scores = self.signs * (self.points @ x)
        return np.logaddexp(0, -scores).mean() + self.l2 / 2 * x @ x

    def gradients(self, x):
        """Return those of the samples, (n, d)."""
        chance = 1 / (1 + np.exp(self.signs * (self.points @ x)))
        return -(chance * self.signs)[:, None] * self.points + self.l2 * x

    def gradient(self, x):
        return self.gradients(x).mean(axis=0)

    def hessian(self, x):
        chance = 1 / (1 + np.exp(self.points @ x))
        weights = (chance * (1 - chance))[:, None]
        return self.points.T @ (weights * self.points) / len(weights) + self.l2 * np.eye(len(x))

    def minimiser(self, ridge=0.0):
        """Return where f(x) + ridge/2 |x|^2 is least, by damped Newton steps from 0."""
        x = np.zeros(FEATURES + 1)

        def value(y):
            return self.loss(y) + ridge / 2 * y @ y

        for _ in range(60):
            slope = self.gradient(x) + ridge * x
            step = np.linalg.solve(self.hessian(x) + ridge * np.eye(len(x)), slope)
            while np.linalg.norm(slope) > 1e-7 and value(x - step) > value(x):
                step /= 2
            x = x - step
        assert np.linalg.norm(self.gradient(x) + ridge * x) < 1e-12
        return x


def described(strategy, points, rate, l2=0.0, batch_size=1, jitter=None, **changes):
    machine = Fixed(step_time=10 * MS, jitter=jitter or Constant())
    return small_scenario(
        strategy,
        task=Task(
            model=Logistic(features=FEATURES, l2=l2),
            data=points,
            batch_size=batch_size,
            optimizer=SGD(learning_rate=rate),
            dtype="float64",
        ),
        **{
            "cluster": Cluster(nodes=points.nodes, machine=machine),
            "network": Instant(),
            "evaluate_every": 1,
            "stop": Stop(updates=STEPS),
            **changes,
        },
    )


def losses(scenario):
    return np.array([each.loss for each in run(scenario).evaluations])


def smoothness(points, l2=0.0):
    """Return L of the shards: the largest of theirs."""
    return max(Losses(points, l2, points.owned(rank)).smoothness for rank in range(points.nodes))


problems = st.builds(
    Points,
    nodes=st.sampled_from([2, 3]),
    condition=st.floats(1, 50),
    shards=st.sampled_from(["contiguous", "by_label"]),
    points_seed=st.integers(0, 10_000),
)


# -- gradient descent


GRADIENT_DESCENT = [
    ParameterServer(),
    ParameterServer(combine="gradients"),
    Averaging(),
    Averaging(combine="gradients"),
    Averaging(combine="gradients", bucket=16),
    PostLocalSGD(switch=STEPS),
    HierarchicalAveraging(inner_period=1, outer_period=1),
    DiLoCo(period=1, outer=PLAIN),
    StreamingDiLoCo(period=1, fragments=1, overlap=0, alpha=0.0, outer=PLAIN),
    SlowMo(period=1, momentum=0.0),
    AdaComm(period=1),
    SPARTA(share=1.0),
    DPSGD(graph=CompleteGraph(), order="adapt_then_combine"),
    StaleSynchronous(staleness=0),
]
"""Whatever each node has, all of these descend along the gradient of the mean."""


@pytest.mark.parametrize("strategy", GRADIENT_DESCENT, ids=str)
@given(problems, st.floats(0.1, 1), st.sampled_from([0.0, 0.02, 0.3]))
@settings(max_examples=2)
def test_gradient_descent_keeps_the_rates_of_convexity(strategy, points, share, l2):
    """For lr <= 1/L, at every k:

    f(x_k) <= f(x) + |x_0 - x|^2 / (2 lr k) for every x, so for that which makes the right side
    least, and f(x_k) - f* <= (1 - lr mu)^k (f(x_0) - f*), mu = l2 or more.

    Source: Beck and Teboulle, "A Fast Iterative Shrinkage-Thresholding Algorithm", SIAM Journal on
    Imaging Sciences 2 (2009), theorem 3.1 (its proof needs nothing of x*); Karimi, Nutini, Schmidt,
    "Linear Convergence of Gradient and Proximal-Gradient Methods", 2016, arXiv:1608.04636, th. 1.
    """
    whole = Losses(points, l2)
    rate = share / whole.smoothness
    # SSP counts updates: one of each node is a step of all.
    count = STEPS * (points.nodes if strategy.counts == "updates" else 1)
    found = losses(described(strategy, points, rate, l2, stop=Stop(updates=count)))
    x, expected = np.zeros(FEATURES + 1), []
    for _ in range(STEPS + 1):
        expected.append(whole.loss(x))
        x = x - rate * whole.gradient(x)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    for k in (1, 2, 5, 15, STEPS):
        nearest = whole.minimiser(ridge=1 / (rate * k))
        assert found[k] <= whole.loss(nearest) + nearest @ nearest / (2 * rate * k) + 1e-12
    if l2:
        least = whole.loss(whole.minimiser())
        bound = (1 - rate * l2) ** np.arange(STEPS + 1) * (found[0] - least)
        assert (found - least <= bound + 1e-12).all()


# -- local SGD on unequal shards


LOCAL_SGD = {
    "averaging": lambda period: Averaging(period=period),
    "post_local_sgd": lambda period: PostLocalSGD(switch=0, period=period),
    "diloco": lambda period: DiLoCo(period=period, outer=PLAIN),
    "slowmo": lambda period: SlowMo(period=period, momentum=0.0),
}


@pytest.mark.parametrize("strategy", LOCAL_SGD.values(), ids=LOCAL_SGD.keys())
@given(problems, st.integers(2, 8), st.floats(0.3, 1))
@settings(max_examples=2)
def test_local_sgd_on_unequal_shards_reaches_its_neighbourhood(
    replicas, strategy, points, period, share
):
    """With x_t the mean of the replicas x_i, V_t the mean of |x_i - x_t|^2, G_i = grad f_i(x*):

    (a) V_t <= (lr s)^2 mean |grad f_i(x_{t-s})|^2, s steps after the last averaging, for lr <= 2/L;
    (b) mean (f(x_t) - f*) <= |x_0 - x*|^2 / (lr T) + 3/2 L mean V_t, over t < T, for lr <= 1/(4L);
    (c) the same is <= 2 |x_0 - x*|^2 / (lr T) + 21/4 H (H-1) L lr^2 mean |G_i|^2
        if besides lr L sqrt(21/2 H (H-1)) <= 1: no more than the shards differ at x*.

    (a) A variance is at most the mean square about any point, here that of the last averaging, and
    gradient descent on a convex f_i with lr <= 2/L never makes its gradient longer.
    (b) f_i is convex and smooth, so -<g_i, x - x*> <= f_i(x*) - f_i(x) + L/2 |x_i - x|^2, where g_i
    is its gradient at x_i, and |mean g_i|^2 <= 2 L^2 V + 4 L (f(x) - f*). Put both into
    |x_{t+1} - x*|^2 = |x_t - x*|^2 - 2 lr <mean g_i, x_t - x*> + lr^2 |mean g_i|^2 and sum up.
    (c) mean |g_i|^2 <= 3 L^2 V + 6 L (f(x) - f*) + 3 mean |G_i|^2, of which the Cauchy-Schwarz
    inequality makes sum V_t <= lr^2 H (H-1) / 2 sum mean |g_i|^2. Solve for sum V_t, put it in (b).

    Source: the form of (c) is that of Khaled, Mishchenko, Richtarik, "Tighter Theory for Local SGD
    on Identical and Heterogeneous Data", AISTATS 2020, arXiv:1909.04746, for full gradients; the
    constants are those of the proof above.
    """
    rounds = 6
    parts = [Losses(points, indices=points.owned(rank)) for rank in range(points.nodes)]
    whole, bend = Losses(points), smoothness(points)
    rate = share / bend * min(1 / 4, 1 / np.sqrt(21 / 2 * period * (period - 1)))
    scenario = described(strategy(period), points, rate, stop=Stop(updates=rounds * period))
    x = np.concatenate([np.zeros((1, points.nodes, FEATURES + 1)), replicas(scenario)])
    spread = ((x - x.mean(axis=1, keepdims=True)) ** 2).sum(axis=2).mean(axis=1)
    for t in range(rounds * period + 1):
        start, steps = x[t - t % period, 0], t % period
        slopes = np.mean([np.sum(part.gradient(start) ** 2) for part in parts])
        assert spread[t] <= (rate * steps) ** 2 * slopes * (1 + 1e-9) + 1e-24
    assert spread.max() > 1e-9

    best = whole.minimiser()
    away = losses(scenario)[:-1].mean() - whole.loss(best)
    distance = best @ best / (rate * rounds * period)
    unlike = np.mean([np.sum(part.gradient(best) ** 2) for part in parts])
    assert away <= distance + 3 / 2 * bend * spread[:-1].mean()
    assert away <= 2 * distance + 21 / 4 * period * (period - 1) * bend * rate**2 * unlike


# -- minibatches


@pytest.mark.parametrize(
    ("strategy", "batch_size"),
    [(Averaging(), 1), (ParameterServer(combine="gradients"), 4)],
    ids=str,
)
def test_minibatch_sgd_has_the_noise_that_its_batches_have_and_keeps_its_bound(
    versions, strategy, batch_size
):
    """x_{k+1} = x_k - lr (grad f(x_k) + noise), E |noise|^2 = s_k^2 = variance / (N b), and

    mean E f(x_k) - f* <= |x_0 - x*|^2 / (2 lr K) + lr/2 mean E s_k^2, over k < K, for lr <= 1/L.

    Proof: <grad f(x), x - x*> >= f(x) - f* + |grad f(x)|^2 / (2L), so E |x_{k+1} - x*|^2 is at most
    |x_k - x*|^2 - 2 lr (f(x_k) - f*) - (lr/L - lr^2) |grad f(x_k)|^2 + lr^2 s_k^2. Sum up. The mean
    of the iterates has no greater loss, by convexity.
    """
    points, seeds = Points(nodes=3, drawn=True, condition=4.0), range(5)
    whole = Losses(points)
    best, rate = whole.minimiser(), 1 / whole.smoothness
    parts = [Losses(points, indices=points.owned(rank)) for rank in range(points.nodes)]
    away, noise, expected = [], [], []
    for seed in seeds:
        scenario = described(strategy, points, rate, batch_size=batch_size, seeds=(seed,))
        x = np.concatenate([np.zeros((1, FEATURES + 1)), versions(scenario, seed)])
        away.append(losses(scenario)[:-1].mean() - whole.loss(best))
        for one, other in itertools.pairwise(x):
            noise.append(np.sum(((one - other) / rate - whole.gradient(one)) ** 2))
            variance = [each.gradients(one).var(axis=0).sum() for each in parts]
            expected.append(np.mean(variance) / (points.nodes * batch_size))
    noise, expected = np.array(noise), np.array(expected)
    # Given x_k, the noise of different steps is independent.
    error = 4 * (noise - expected).std() / np.sqrt(len(noise))
    assert abs((noise - expected).mean()) < error < expected.mean() / 2
    bound = best @ best / (2 * rate * STEPS) + rate / 2 * expected.mean()
    assert np.mean(away) <= bound + 4 * np.std(away) / np.sqrt(len(seeds))


# -- compression with error feedback


@given(
    problems,
    st.sampled_from([TopK(share=0.25), TopK(share=0.5), TopK(share=0.75), SignSGD()]),
    st.sampled_from([Averaging, ParameterServer]),
    st.floats(0.2, 1),
)
@settings(max_examples=5)
def test_error_feedback_reaches_the_neighbourhood_of_gradient_descent(
    versions, points, compression, kind, share
):
    """With e_t the mean of the residuals, a compression that keeps d of |v|^2, q = sqrt(1 - d):

    (a) x_t - lr e_t = x_0 - lr sum over s < t of grad f(x_s): what was sent and what is left is
        what was given, and |e_t| <= q / (1 - q) mean G_i, with G_i the longest of node i's;
    (b) mean (f(x_t) - f*) <= |x_0 - x*|^2 / (2 lr T) + L lr^2 mean |e_t|^2 over t < T, if
        lr <= 1/(2L): the rate of gradient descent, and the rest of second order in lr.

    d = k/n for top-k of n entries, 1/n at least for scaled signs.
    (b) Let y_t = x_t - lr e_t, so y_{t+1} = y_t - lr g, g = grad f(x_t). Then |y_{t+1} - x*|^2 =
    |y_t - x*|^2 - 2 lr <g, x_t - x*> + 2 lr^2 <g, e_t> + lr^2 |g|^2, where <g, x_t - x*> >=
    f(x_t) - f* + |g|^2 / (2L) and <g, e_t> <= |g|^2 / (4 lr L) + lr L |e_t|^2. Sum up.

    Source: Stich, Cordonnier, Jaggi, "Sparsified SGD with Memory", NeurIPS 2018, arXiv:1809.07599,
    and Karimireddy et al., "Error Feedback Fixes SignSGD", ICML 2019, arXiv:1901.09847, lemma 3,
    for |e_t| and y_t; constants are those of the proof above.
    """
    whole = Losses(points)
    parts = [Losses(points, indices=points.owned(rank)) for rank in range(points.nodes)]
    bend, best = whole.smoothness, whole.minimiser()
    rate = share / (2 * bend)
    kept = getattr(compression, "share", 1 / (FEATURES + 1))
    q = np.sqrt(1 - kept)
    scenario = described(kind(combine="gradients", compression=compression), points, rate)
    x = np.concatenate([np.zeros((1, FEATURES + 1)), versions(scenario)])
    given_so_far = np.cumsum([np.zeros(FEATURES + 1), *map(whole.gradient, x[:-1])], axis=0)
    residual = np.linalg.norm(given_so_far - (x[0] - x) / rate, axis=1)
    longest = [max(np.linalg.norm(part.gradient(each)) for each in x) for part in parts]
    # A scale is sent as a float32.
    assert (residual <= q / (1 - q) * np.mean(longest) * (1 + 1e-6)).all()
    assert residual.max() > 0
    away = losses(scenario)[:-1].mean() - whole.loss(best)
    second_order = bend * rate**2 * (residual[:-1] ** 2).mean()
    assert away <= best @ best / (2 * rate * STEPS) + second_order


@pytest.mark.parametrize("compression", [TopK(share=0.25), SignSGD()], ids=str)
def test_without_error_feedback_unequal_shards_end_elsewhere(compression):
    """What two nodes send cancels out before their gradients do, and there it stays for ever."""
    points = Points(nodes=2, shards="by_label", condition=10.0, points_seed=1)
    whole = Losses(points)
    least = whole.loss(whole.minimiser())

    def away(feedback):
        choice = compression.model_copy(update={"error_feedback": feedback})
        strategy = Averaging(combine="gradients", compression=choice)
        rate = 1 / (4 * whole.smoothness)
        stop = {"evaluate_every": 40, "stop": Stop(updates=120)}
        return losses(described(strategy, points, rate, **stop)) - least

    with_feedback, without = away(True), away(False)
    assert with_feedback[-1] < with_feedback[-2] / 2 < without[-1] / 10
    assert without[-1] == pytest.approx(without[-2], rel=0.01)


# -- asynchrony


@given(
    problems,
    st.sampled_from([Asynchronous(), DelayCompensated(strength=0), Asynchronous(server=0)]),
    st.sampled_from([Constant(), LogNormal(sigma=1.0), Exponential()]),
    st.sampled_from([Instant(), Star(bandwidth=10**7, latency=5 * MS)]),
    st.floats(1, 4),
    st.floats(0.3, 1),
)
@settings(max_examples=5)
def test_asynchrony_descends_as_fast_at_a_step_for_its_delay(
    versions, points, strategy, jitter, network, slowdown, share
):
    """x_{k+1} = x_k - lr grad f(x_{k-d}), d <= D the records' staleness, exactly; and

    sum over k < K of |grad f(x_k)|^2 <= 2/lr (f(x_0) - f(x_K)), if lr L + (lr L D)^2 <= 1, as
    without delay; with l2 = mu, so mean (f(x_k) - f*) <= (f(x_0) - f(x_K)) / (lr mu K).

    Proof: let g_k = grad f(x_{k-d}). f(x_{k+1}) <= f(x_k) - lr <grad f(x_k), g_k> + lr^2 L/2
    |g_k|^2, and 2 <a, b> = |a|^2 + |b|^2 - |a - b|^2, where |grad f(x_k) - g_k|^2 <= L^2 lr^2 D
    times the last D of |g_s|^2. Each is counted D times at most, so what all |g_k|^2 add up to has
    the factor -lr/2 (1 - lr L - (lr L D)^2). f needn't be convex.

    Source: the argument of Lian et al., "Asynchronous Parallel Stochastic Gradient for Nonconvex
    Optimization", NeurIPS 2015, arXiv:1506.08272, theorem 1, without noise.
    """
    points = points.model_copy(update={"shards": "shared"})
    l2, count = 0.1, 20 * points.nodes
    whole = Losses(points, l2)

    def scenario(rate):
        machine = Fixed(step_time=10 * MS, jitter=jitter)
        slow = Persistent(nodes=(0,), slowdown=slowdown)
        return described(
            strategy,
            points,
            rate,
            l2,
            cluster=Cluster(nodes=points.nodes, machine=machine, stragglers=(slow,)),
            network=network,
            stop=Stop(updates=count),
        )

    # When who pushes what doesn't depend on the numbers.
    staleness = [row.staleness_updates for row in run(scenario(1e-3)).updates]
    most = max(staleness)
    rate = share / whole.smoothness * 2 / (1 + np.sqrt(1 + 4 * most**2))
    x = np.concatenate([np.zeros((1, FEATURES + 1)), versions(scenario(rate))])
    for k, delay in enumerate(staleness):
        step = x[k] - rate * whole.gradient(x[k - delay])
        np.testing.assert_allclose(x[k + 1], step, rtol=0, atol=1e-12)
    squares = sum(np.sum(whole.gradient(each) ** 2) for each in x[:-1])
    assert squares <= 2 / rate * (whole.loss(x[0]) - whole.loss(x[-1])) * (1 + 1e-9)

    rows = run(scenario(rate)).evaluations
    found = np.array([row.loss for row in rows])
    expected = [whole.loss(x[row.progress]) for row in rows]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    least = whole.loss(whole.minimiser())
    fell = np.mean([whole.loss(each) for each in x[:-1]]) - least
    assert fell <= (found[0] - found[-1]) / (rate * l2 * count) * (1 + 1e-9)
