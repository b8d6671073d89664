"""Compression in runs: what it costs, that nothing is lost, that what is exact changes nothing."""

from typing import ClassVar, Literal

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from simbench import testing
from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.fixed import Fixed
from simbench.conditions.late_join import LateJoin
from simbench.dampings.constant import ConstantDamping
from simbench.learning.compression.bf16 import BF16
from simbench.learning.compression.demo import DeMo
from simbench.learning.compression.fp4 import FP4
from simbench.learning.compression.fp16 import FP16
from simbench.learning.compression.int8 import Int8
from simbench.learning.compression.powersgd import PowerSGD
from simbench.learning.compression.qsgd import QSGD
from simbench.learning.compression.random_k import RandomK
from simbench.learning.compression.signsgd import SignSGD
from simbench.learning.compression.threshold import Threshold
from simbench.learning.compression.top_k import TopK
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.datasets.text import Text
from simbench.learning.model import Model
from simbench.learning.models.gpt import GPT
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.collectives.all_gather.recursive_doubling import RecursiveDoubling
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.star import Star
from simbench.policies.go_on import GoOn
from simbench.scenario import Stop
from simbench.scenario_file import dump, load
from simbench.simulation import NoNumbersError, Simulation
from simbench.strategies.async_local_sgd import AsyncLocalSGD
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.asynchronous_easgd import AsynchronousEASGD
from simbench.strategies.averaging import Averaging
from simbench.strategies.delay_compensated import DelayCompensated
from simbench.strategies.diloco import DiLoCo
from simbench.strategies.easgd import EASGD
from simbench.strategies.fedasync import FedAsync
from simbench.strategies.fedbuff import FedBuff
from simbench.strategies.hierarchical_averaging import HierarchicalAveraging
from simbench.strategies.k_batch_sync import KBatchSync
from simbench.strategies.parameter_server import ParameterServer
from simbench.strategies.post_local_sgd import PostLocalSGD
from simbench.strategies.slowmo import SlowMo
from simbench.strategies.ssp import StaleSynchronous
from simbench.strategies.streaming_diloco import StreamingDiLoCo
from simbench.testing import MS, run, small_scenario

PLAIN_SIGN = SignSGD(variant="plain", error_feedback=False)


# -- laws


@pytest.mark.parametrize(
    "compression",
    [
        FP16(error_feedback=True),
        Int8(block_size=100),
        FP4(error_feedback=True, block_size=None),
        QSGD(levels=2, block_size=None, error_feedback=False),
        PLAIN_SIGN,
        SignSGD(variant="majority_vote", error_feedback=False),
        TopK(share=0.2, error_feedback=False),
        RandomK(share=0.3, error_feedback=False),
        PowerSGD(rank=4, warm_start=False),
        DeMo(chunk_size=8, k=3, sign=True, decay=1.0),
        Threshold(threshold=0.01),
    ],
    ids=str,
)
def test_laws_of_compressions_with_other_settings(compression):
    testing.check_compression(compression)


@pytest.mark.parametrize(
    "strategy",
    [
        ParameterServer(compression=Threshold(threshold=0.01)),
        ParameterServer(combine="gradients", compression=QSGD(), backup_workers=1),
        Asynchronous(compression=Int8()),
        DiLoCo(period=4, compression=FP4()),
    ],
    ids=str,
)
def test_laws_of_strategies_that_compress(strategy):
    testing.check_strategy(strategy)


# -- what is exact changes nothing


def dyadic(strategy, **changes):
    """Return a scenario whose numbers float64 holds exactly, on links that cost nothing.

    Curvatures are 1, the rate is 1/2 and optima are whole: a step takes a bit more of a number.
    """
    settings = {
        "task": Task(
            model=Quadratic(dimension=6, optimum=(4.0, -8.0, 16.0, 0.0)),
            data=Gaussian(),
            optimizer=SGD(learning_rate=0.5),
            dtype="float64",
        ),
        "cluster": Cluster(nodes=4, machine=Fixed(step_time=MS, jitter=Constant())),
        "network": Instant(),
        "stop": Stop(updates=12),
        "evaluate_every": 1,
    }
    return small_scenario(strategy, **{**settings, **changes})


STRATEGIES = [
    Averaging(),
    Averaging(period=2),
    Averaging(period=2, combine="gradients"),
    ParameterServer(),
    ParameterServer(combine="gradients"),
    Asynchronous(),
    StaleSynchronous(staleness=1),
    DiLoCo(period=2, outer=SGD(learning_rate=0.5, momentum=0.5)),
    SlowMo(period=3, momentum=0.5),
    PostLocalSGD(switch=3, period=2),
    HierarchicalAveraging(inner_period=1, outer_period=2),
    StreamingDiLoCo(period=3, fragments=2, slices=2, outer=SGD(learning_rate=0.5, momentum=0.5)),
    FedBuff(buffer=2, period=2, damping=ConstantDamping()),
    FedAsync(mixing=0.5, period=2, damping=ConstantDamping()),
    AsyncLocalSGD(period=2, outer=SGD(learning_rate=0.5)),
    DelayCompensated(),
    KBatchSync(batches=6),
    # A moving rate of 1/4, so that all it makes are numbers of few bits.
    EASGD(period=2, moving_rate=0.25),
    AsynchronousEASGD(period=2, moving_rate=0.25),
]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
@pytest.mark.parametrize(
    "compression", [TopK(share=1), RandomK(share=1), Threshold(threshold=0)], ids=str
)
def test_sending_everything_changes_no_bit(strategy, compression):
    plain = run(dyadic(strategy))
    compressed = run(dyadic(strategy.model_copy(update={"compression": compression})))

    assert compressed.summary["parameters_sha256"] == plain.summary["parameters_sha256"]
    losses = [[each.loss for each in outcome.evaluations] for outcome in (plain, compressed)]
    assert losses[0] == losses[1]
    assert len(set(losses[0])) > 1


@pytest.mark.parametrize("strategy", [Averaging(period=2), FedAsync(period=2)], ids=str)
def test_nor_where_somebody_comes_late(strategy):
    """Who joins is told what the others compare with."""
    late = LateJoin(nodes=(3,), at=5 * MS + MS // 2)
    plain, compressed = (
        run(
            dyadic(
                strategy.model_copy(update={"on_failure": GoOn(), "compression": compression}),
                conditions=(late,),
            )
        )
        for compression in (None, TopK(share=1))
    )

    assert compressed.summary["parameters_sha256"] == plain.summary["parameters_sha256"]
    assert compressed.summary["joined"] == 1


@pytest.mark.parametrize("compression", [FP16(), BF16()], ids=str)
@pytest.mark.parametrize("strategy", [Averaging(period=2), ParameterServer()], ids=str)
def test_numbers_that_half_precision_holds_change_no_bit(strategy, compression):
    few_steps = {"stop": Stop(updates=4)}
    plain = run(dyadic(strategy, **few_steps))
    compressed = run(dyadic(strategy.model_copy(update={"compression": compression}), **few_steps))

    assert compressed.summary["parameters_sha256"] == plain.summary["parameters_sha256"]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize(
    "strategy", [Averaging(combine="gradients"), ParameterServer(), DiLoCo(period=2)], ids=str
)
def test_powersgd_of_full_rank_changes_nothing(strategy, dtype, tolerance):
    task = Task(
        model=GPT(layers=1, width=16, heads=2, context=8),
        data=Text(validation_samples=16),
        batch_size=2,
        dtype=dtype,
    )
    outcomes = [
        run(small_scenario(each, task=task, stop=Stop(updates=4), evaluate_every=1))
        for each in (strategy, strategy.model_copy(update={"compression": PowerSGD(rank=999)}))
    ]

    plain, compressed = ([each.loss for each in o.evaluations] for o in outcomes)
    assert compressed == pytest.approx(plain, rel=tolerance)
    assert plain[-1] < plain[0]


# -- what it costs


def times_ms(strategy, **changes):
    scenario = small_scenario(
        strategy,
        cluster=Cluster(nodes=4, machine=Fixed(step_time=20 * MS, jitter=Constant())),
        # 1000 bytes a millisecond.
        network=Star(bandwidth=8 * 10**6, latency=2 * MS),
        stop=Stop(updates=3),
        **changes,
    )
    outcome = run(scenario)
    return [each.time_ns / MS for each in outcome.updates], outcome


def test_what_is_gathered_takes_the_time_of_an_all_gather_of_the_payloads():
    """2500 float64: a quarter of them, and places, are 625 * 12 bytes, around a ring of 4."""
    times, outcome = times_ms(Averaging(compression=TopK(share=0.25)))

    step = 20 + 3 * (2 + 7.5)
    assert times == pytest.approx([step, 2 * step, 3 * step], rel=1e-6)
    assert outcome.summary["payload_bytes"] == 3 * 4 * 3 * 7500


def test_how_to_gather_is_a_choice_of_the_scenario():
    """lg 4 latencies instead of 3; the bytes are the same."""
    compressing = Averaging(compression=TopK(share=0.25))
    times, outcome = times_ms(compressing, all_gather=RecursiveDoubling())

    step = 20 + 2 * 2 + 3 * 7.5
    assert times == pytest.approx([step, 2 * step, 3 * step], rel=1e-6)
    assert outcome.summary["payload_bytes"] == 3 * 4 * 3 * 7500


@pytest.mark.parametrize(
    ("compression", "num_bytes"), [(FP16(), 5000), (RandomK(share=0.1), 2000)], ids=str
)
def test_what_can_be_added_up_takes_the_time_of_an_all_reduce(compression, num_bytes):
    times, _ = times_ms(Averaging(compression=compression))

    step = 20 + 6 * (2 + num_bytes / 4 / 1000)
    assert times == pytest.approx([step, 2 * step, 3 * step], rel=1e-6)


def test_powersgd_all_reduces_twice():
    """A matrix 30 x 20 at rank 2 and a vector of 15, float32: 240 bytes, then 160 + 60."""
    task = Task(model=Tensors(), data=Gaussian(), batch_size=1)
    times, outcome = times_ms(Averaging(compression=PowerSGD(rank=2)), task=task)

    step = 20 + 6 * 2 * 2 + 6 / 4 * (0.240 + 0.220)
    assert times == pytest.approx([step, 2 * step, 3 * step], rel=1e-6)
    assert outcome.summary["payload_bytes"] == 3 * 6 * (240 + 220)


def test_a_server_gets_payloads_and_sends_parameters():
    times, outcome = times_ms(ParameterServer(compression=SignSGD()))

    payload = -(-2500 // 8) + 4
    sizes = {each.tag: each.num_bytes for each in outcome.messages}
    assert sizes == {"push": payload, "model": 20000}
    # Four pushes come in through one link, and four models go out through one.
    step = 20 + 2 + 4 * payload / 1000 + 2 + 4 * 20
    assert times[1] - times[0] == pytest.approx(step, rel=1e-6)


def test_without_compression_all_is_as_large_as_it_is():
    _, outcome = times_ms(ParameterServer())

    assert {each.num_bytes for each in outcome.messages} == {20000}


def test_what_exceeds_a_threshold_is_charged_as_it_comes_and_cannot_be_planned():
    task = Task(model=Quadratic(dimension=2500, noise=1.0), data=Gaussian(), dtype="float64")
    strategy = Averaging(combine="gradients", compression=Threshold(threshold=1.5))
    _, outcome = times_ms(strategy, task=task)

    sizes = [each.num_bytes for each in outcome.messages]
    assert all(size % 12 == 0 for size in sizes)
    # Every node has another count; each piece goes around, to three others.
    pieces = sorted(set(sizes[:12]))
    assert len(pieces) == 4
    assert all(sizes[:12].count(piece) == 3 for piece in pieces)
    simulation = Simulation(small_scenario(strategy, task=task), "law", 0)
    with pytest.raises(NoNumbersError, match=r"'law' looks at a number \(count_bytes\)"):
        simulation.advance()


def test_the_choice_of_an_all_gather_is_written_where_it_is_one(tmp_path):
    """Records of scenarios from before it existed stay as they are."""
    scenario = small_scenario(Averaging())

    chosen = scenario.model_copy(update={"all_gather": RecursiveDoubling()})
    file = tmp_path / "chosen.yaml"
    file.write_text(dump(chosen))

    assert "all_gather" not in dump(scenario)
    assert load(file) == chosen


@pytest.mark.parametrize(
    ("compression", "per_slice"),
    [
        (FP4(), 125 + 4),
        (Int8(block_size=100), 250 + 4 * 3),
        (BF16(), 2 * 250),
        (TopK(share=0.1), 25 * 12),
    ],
    ids=str,
)
def test_each_slice_of_a_fragment_is_compressed_by_itself(compression, per_slice):
    """2500 float64 in 2 fragments of 5 slices, each an exchange of its own."""
    strategy = StreamingDiLoCo(
        period=2, fragments=2, slices=5, overlap=0, alpha=0, compression=compression
    )
    _, outcome = times_ms(strategy)

    # What one node sends to its neighbour on a ring of four: all others' payloads, or 2 * 3/4.
    count = 1.5 if isinstance(compression, BF16) else 3
    assert {each.num_bytes for each in outcome.messages} == {count * per_slice}
    assert {each.tag for each in outcome.messages} == {"fragment 0", "fragment 1"}


@pytest.mark.parametrize(
    "strategy",
    [
        StreamingDiLoCo(period=4, fragments=2, compression=FP4()),
        # Without momentum, which swings the more the later things come.
        StreamingDiLoCo(
            period=4,
            fragments=2,
            slices=2,
            outer=SGD(learning_rate=0.7),
            compression=TopK(share=0.2),
        ),
        FedBuff(buffer=2, compression=TopK(share=0.3)),
        KBatchSync(compression=QSGD()),
        EASGD(compression=TopK(share=0.3)),
        AsynchronousEASGD(compression=TopK(share=0.3)),
    ],
    ids=str,
)
def test_what_is_compressed_trains_on(strategy):
    task = Task(
        model=Quadratic(dimension=60, optimum=(2.0,)),
        data=Gaussian(),
        optimizer=SGD(learning_rate=0.1),
        dtype="float64",
    )
    settings = {"task": task, "stop": Stop(updates=100), "evaluate_every": 100}
    plain = run(dyadic(strategy.model_copy(update={"compression": None}), **settings))
    compressed = run(dyadic(strategy, **settings))

    assert compressed.evaluations[-1].loss < compressed.evaluations[0].loss / 100
    assert compressed.summary["parameters_sha256"] != plain.summary["parameters_sha256"]
    assert compressed.summary["payload_bytes"] < plain.summary["payload_bytes"]


# -- error feedback


class Tensors(Model):
    """A bowl over a matrix 30 x 20 and a vector of 15."""

    kind: Literal["tensors"] = "tensors"
    takes: ClassVar[str] = "noise"

    @property
    def length(self):
        return 615

    def build(self):
        module = nn.Module()
        module.matrix, module.vector = (nn.Parameter(torch.zeros(s)) for s in ((30, 20), 15))
        return module

    def initialise(self, module, generator):
        for parameter in module.parameters():
            nn.init.normal_(parameter, generator=generator)

    def loss(self, module, batch):
        x = torch.cat([parameter.flatten() for parameter in module.parameters()])
        return (x * x).sum() / 2 + (x * batch[0]).sum(1).mean()


class SignTrap(Model):
    """f(x) = |x1 + x2| / 2 + |x1 - x2| from (1, 1); the slope of |u| at 0 is 1."""

    kind: Literal["sign_trap"] = "sign_trap"
    takes: ClassVar[str] = "noise"

    @property
    def length(self):
        return 2

    def build(self):
        module = nn.Module()
        module.x = nn.Parameter(torch.ones(2))
        return module

    def initialise(self, module, generator):
        nn.init.ones_(module.x)

    def loss(self, module, batch):
        x1, x2 = module.x

        def size(u):
            return u * torch.where(u >= 0, 1.0, -1.0)

        return size(x1 + x2) / 2 + size(x1 - x2)


def trapped(compression, learning_rate):
    return small_scenario(
        Averaging(combine="gradients", compression=compression),
        task=Task(
            model=SignTrap(),
            data=Gaussian(),
            optimizer=SGD(learning_rate=learning_rate),
            dtype="float64",
        ),
        cluster=Cluster(nodes=1, machine=Fixed(step_time=MS)),
        stop=Stop(updates=400),
        evaluate_every=400,
    )


def test_plain_signs_never_leave_a_line_and_error_feedback_does(replicas):
    """Karimireddy et al. 2019, counterexample 2: sign(g) is +-(1, -1), along x1 + x2 = 2."""
    stuck = replicas(trapped(PLAIN_SIGN, 1 / 64))
    freed = replicas(trapped(SignSGD(), 1 / 64))

    assert (stuck.sum(axis=-1) == 2).all()
    assert freed[0].sum() > 1.9
    assert abs(freed[-40:].sum(axis=-1)).max() < 0.1
    assert abs(freed[-40:]).max() < 0.1


def test_a_vote_is_the_sign_of_most():
    """Optima 4, -8, 16, 0 seen from 1: three of four gradients differ in sign, -, +, -, +."""
    votes = SignSGD(variant="majority_vote", error_feedback=False)
    task = Task(
        model=Quadratic(dimension=3, optimum=(4.0, 8.0, -16.0)),
        data=Gaussian(),
        optimizer=SGD(learning_rate=0.25),
        dtype="float64",
    )
    machine = Fixed(step_time=MS)
    for strategy in (
        Averaging(combine="gradients", compression=votes),
        ParameterServer(combine="gradients", compression=votes),
    ):
        scenario = small_scenario(
            strategy,
            task=task,
            cluster=Cluster(nodes=3, machine=machine),
            stop=Stop(updates=12),
            evaluate_every=1,
        )
        losses = [each.loss for each in run(scenario).evaluations]
        # Two of three pull upwards until 4, where the sign of 0 is +: steps of 1/4.
        x = [1 + 0.25 * k for k in range(13)]
        expected = [((v - 4) ** 2 + (v - 8) ** 2 + (v + 16) ** 2) / 2 for v in x]
        assert losses == pytest.approx(expected, rel=1e-12)


def test_with_error_feedback_top_k_trains_what_it_never_sends_at_once():
    """One of four entries a step: without feedback the smallest slopes are never sent."""
    task = Task(
        model=Quadratic(dimension=4, condition=8.0),
        data=Gaussian(),
        optimizer=SGD(learning_rate=0.05),
        dtype="float64",
    )

    def last_loss(feedback):
        compression = TopK(share=0.25, error_feedback=feedback)
        return (
            run(
                small_scenario(
                    Averaging(combine="gradients", compression=compression),
                    task=task,
                    cluster=Cluster(nodes=2, machine=Fixed(step_time=MS)),
                    stop=Stop(updates=150),
                )
            )
            .evaluations[-1]
            .loss
        )

    with_feedback = last_loss(feedback=True)
    assert with_feedback < 1e-3
    assert with_feedback < last_loss(feedback=False)


# -- refusals


@pytest.mark.parametrize("compression", [PLAIN_SIGN, DeMo(sign=True)], ids=str)
@pytest.mark.parametrize("strategy", [Averaging, DiLoCo, Asynchronous, ParameterServer])
def test_what_forgets_sizes_is_for_gradients_alone(strategy, compression):
    with pytest.raises(ValidationError) as caught:
        strategy(compression=compression)
    assert caught.value.errors()[0]["loc"] == ("compression",)
    assert caught.value.errors()[0]["msg"] == (
        f"{compression.kind} as it is set forgets how large things are, which does for gradients "
        "alone; here the change of parameters is sent"
    )


@pytest.mark.parametrize("compression", [PowerSGD(), DeMo()], ids=str)
def test_what_needs_tensors_can_do_nothing_with_a_slice(compression):
    with pytest.raises(ValidationError) as caught:
        StreamingDiLoCo(compression=compression)
    assert caught.value.errors()[0]["loc"] == ("compression",)
    assert caught.value.errors()[0]["msg"] == (
        f"{compression.kind} needs the model's tensors, and a slice has parts of them"
    )


def test_buckets_are_not_compressed():
    with pytest.raises(ValidationError) as caught:
        Averaging(bucket=100, compression=FP16())
    assert caught.value.errors()[0]["loc"] == ("bucket",)


@pytest.mark.parametrize("strategy", [ParameterServer, Asynchronous])
def test_a_payload_is_not_cut_up_for_several_servers(strategy):
    with pytest.raises(ValidationError) as caught:
        strategy(servers=2, compression=FP16())
    assert caught.value.errors()[0]["loc"] == ("compression",)
    assert caught.value.errors()[0]["msg"] == "needs servers: 1, since payloads have no pieces"
