"""Descent of a loss that isn't convex, on a tiny Transformer and a few fixed windows of tokens.

Every batch is all that a node has, and evaluation is on all windows, so the records' losses are the
training loss f; in float64.
"""

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simbench.cluster.cluster import Cluster
from simbench.cluster.machines.fixed import Fixed
from simbench.learning.dataset import Endless
from simbench.learning.models.gpt import GPT
from simbench.learning.operations import Bench, Gradient, Initial
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.peer_graphs.complete import CompleteGraph
from simbench.scenario import Stop
from simbench.spec import discover
from simbench.strategies.averaging import Averaging
from simbench.strategies.d_psgd import DPSGD
from simbench.strategies.diloco import DiLoCo
from simbench.strategies.parameter_server import ParameterServer
from simbench.strategies.slowmo import SlowMo
from simbench.strategies.ssp import StaleSynchronous
from simbench.strategy import Strategy
from simbench.testing import MS, run, small_scenario

NODES, PER_NODE, CONTEXT, TOKENS, STEPS = 2, 2, 8, 5, 9
SYNCHRONOUS = [
    Averaging(),
    Averaging(combine="gradients", bucket=200),
    ParameterServer(),
    ParameterServer(combine="gradients"),
    DiLoCo(period=1, outer=SGD(learning_rate=1.0)),
    SlowMo(period=1, momentum=0.0),
    DPSGD(graph=CompleteGraph(), order="adapt_then_combine"),
    StaleSynchronous(staleness=0),
]


class Windows(Endless):
    """So many windows for each node: token t + 1 is ``pace`` after token t, in a circle."""

    kind: Literal["windows"] = "windows"
    nodes: int = NODES
    pace: int = 1

    @property
    def yields(self):
        return "tokens"

    @property
    def num_tokens(self):
        return TOKENS

    @property
    def content(self):
        return ""

    def windows(self, starts, length):
        line = (np.array(starts)[:, None] + self.pace * np.arange(length + 1)) % TOKENS
        return torch.from_numpy(line[:, :-1]), torch.from_numpy(line[:, 1:])

    def draw(self, draw, rank, size, length):
        share = NODES * PER_NODE // self.nodes
        return self.windows(range(rank * share, (rank + 1) * share), length)

    def validation(self, num_shards, length):
        return (self.windows(range(NODES * PER_NODE), length),)


def described(strategy, rate, nodes=NODES, pace=1, seed=0, stop=None):
    count = STEPS * (nodes if strategy.counts == "updates" else 1)
    return small_scenario(
        strategy,
        task=Task(
            model=GPT(layers=1, width=8, heads=1, context=CONTEXT, vocabulary=TOKENS),
            data=Windows(nodes=nodes, pace=pace),
            batch_size=1,
            optimizer=SGD(learning_rate=rate),
            dtype="float64",
        ),
        cluster=Cluster(nodes=nodes, machine=Fixed(step_time=10 * MS)),
        network=Instant(),
        evaluate_every=1,
        stop=stop or Stop(updates=count),
        seeds=(seed,),
    )


def losses(scenario):
    return np.array([each.loss for each in run(scenario).evaluations])


class Slopes:
    """The gradient of f and how fast it changes, by the public operations."""

    def __init__(self, scenario):
        self.nodes = scenario.cluster.nodes
        self.bench = Bench(scenario.task, scenario.seeds[0], self.nodes, "cpu", "")
        self.start = Initial(self.bench)().numpy()

    def gradient(self, x):
        take = Gradient(self.bench)
        vector = torch.from_numpy(x)
        return np.mean([take(vector, rank, 0).numpy() for rank in range(self.nodes)], axis=0)

    def bend(self, x):
        """Return the largest |eigenvalue| of the Hessian at ``x``, by power iteration."""
        v = np.random.default_rng(0).standard_normal(len(x))
        size = 0.0
        for _ in range(10):
            v /= np.linalg.norm(v)
            v = (self.gradient(x + 1e-4 * v) - self.gradient(x - 1e-4 * v)) / 2e-4
            size = np.linalg.norm(v)
        return size


@given(st.integers(0, 10_000), st.integers(1, 4), st.floats(0.3, 1))
@settings(max_examples=3)
def test_every_step_descends_as_the_gradient_says(versions, seed, pace, share):
    """With L the largest curvature on the way and g_k = grad f(x_k), for lr <= 1/L:

    |f(x_{k+1}) - f(x_k) + lr |g_k|^2| <= lr^2 L/2 |g_k|^2 <= lr/2 |g_k|^2, so every step goes down,
    and min over k < K of |g_k|^2 <= 2 (f(x_0) - f(x_K)) / (lr K).

    L is measured at the iterates, by power iteration, and lr L <= 1/2 leaves a factor of 2 for what
    lies between them. Other strategies compute the same: see the next test.

    Source: Nesterov, "Introductory Lectures on Convex Optimization", Kluwer 2004, lemma 1.2.3;
    Bottou, Curtis, Nocedal, "Optimization Methods for Large-Scale Machine Learning", SIAM Review 60
    (2018), theorem 4.8 without noise.
    """
    start = Slopes(described(Averaging(), 1.0, pace=pace, seed=seed))
    rate = share / (4 * start.bend(start.start))
    scenario = described(Averaging(), rate, pace=pace, seed=seed)
    x = np.concatenate([start.start[None], versions(scenario, seed)])
    assert max(start.bend(each) for each in x[:: STEPS // 3]) * rate <= 1 / 2
    found = losses(scenario)
    squares = np.array([np.sum(start.gradient(each) ** 2) for each in x[:-1]])
    assert (abs(found[1:] - found[:-1] + rate * squares) <= rate / 2 * squares).all()
    assert squares.min() <= 2 * (found[0] - found[-1]) / (rate * STEPS)


@given(st.integers(0, 10_000), st.integers(1, 4), st.floats(0.05, 0.5))
@settings(max_examples=2)
def test_synchronous_strategies_are_one_machine_on_the_union_of_all_batches(seed, pace, rate):
    """To 1e-12 in float64, in every loss on the way."""
    alone = losses(described(Averaging(), rate, nodes=1, pace=pace, seed=seed))
    assert alone[-1] < alone[0] - 1e-3
    for strategy in SYNCHRONOUS:
        found = losses(described(strategy, rate, pace=pace, seed=seed))
        np.testing.assert_allclose(found, alone, rtol=1e-12, err_msg=strategy.kind)


@pytest.mark.parametrize("kind", discover("simbench.strategies", Strategy))
def test_every_strategy_trains_a_real_transformer(kind):
    """As it is set by default, 60 batches of each node halve its surprise at the next token."""
    strategy = discover("simbench.strategies", Strategy)[kind]()
    found = losses(described(strategy, 0.3, stop=Stop(samples=60 * NODES)))
    assert found[0] == pytest.approx(np.log(TOKENS), abs=0.05)
    assert found[-1] < found[0] / 2
