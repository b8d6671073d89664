"""A small model for a large one: the clock is charged for the large one, the training stays."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.accelerator import Accelerator
from simbench.cluster.machines.fixed import Fixed
from simbench.cluster.machines.flops import Flops
from simbench.conditions.node_failure import NodeFailure
from simbench.execution.memo import Memo
from simbench.execution.threads import ThreadExecutor
from simbench.learning.compression.bf16 import BF16
from simbench.learning.compression.int8 import Int8
from simbench.learning.compression.powersgd import PowerSGD
from simbench.learning.compression.top_k import TopK
from simbench.learning.datasets.classification import Classification
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.datasets.text import Text
from simbench.learning.known_models import KNOWN_MODELS
from simbench.learning.models.gpt import GPT
from simbench.learning.models.logistic import Logistic
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.pricing import Charge
from simbench.learning.pricings.custom import Custom
from simbench.learning.pricings.known import Known
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.star import Star
from simbench.plan import plan
from simbench.policies.go_on import GoOn
from simbench.scenario import CHOICES, Scenario, Stop
from simbench.simulation import Simulation, simulate
from simbench.spec import discover
from simbench.strategies.averaging import Averaging
from simbench.strategies.diloco import DiLoCo
from simbench.strategies.parameter_server import ParameterServer
from simbench.strategies.sparta import SPARTA
from simbench.strategies.streaming_diloco import StreamingDiLoCo
from simbench.testing import MS, small_scenario

ENTRIES = 2500
PRICE = Custom(parameters=7 * ENTRIES + 3, flops_per_sample=10**6)
VECTOR_BYTES = 2 * (7 * ENTRIES + 3)
EVEN = Custom(parameters=1000 * ENTRIES, flops_per_sample=10**6)
STRATEGIES = discover(*CHOICES["strategies"])
SETTINGS = [
    *(pytest.param(found(), id=kind) for kind, found in STRATEGIES.items()),
    *(
        pytest.param(each, id=str(each))
        for each in (
            Averaging(bucket=3000),
            Averaging(combine="gradients", bucket=3000),
            ParameterServer(servers=3),
            StreamingDiLoCo(period=4, fragments=3, slices=3, overlap=1),
            Averaging(compression=Int8()),
        )
    ),
]


def priced(strategy, pricing, task=None, **changes):
    scenario = small_scenario(strategy, **changes)
    update = {"priced_as": pricing, **(task or {})}
    changed = Task(**{**dict(scenario.task), **update})
    return Scenario(**{**dict(scenario), "task": changed, "sweep": ()})


def outcome_of(scenario, memo=None):
    """Return what comes of a scenario and how many gradients that took."""
    executor = ThreadExecutor(1)
    try:
        outcome = simulate(scenario, "law", 0, executor, memo or Memo(None))
        return outcome, executor.operations_run["gradient"]
    finally:
        executor.close()


def planned(scenario):
    simulation = Simulation(scenario, "law", 0)
    while simulation.advance():
        pass
    return simulation


def sent(scenario, tag=None):
    return [m for m in planned(scenario).world.messages if tag in (None, m.tag)]


# -- the training stays


def at_both_prices(strategy, network):
    changes = {
        "network": network,
        "cluster": Cluster(nodes=4, machine=Fixed(step_time=20 * MS)),
        "stop": Stop(updates=17),
    }
    return [priced(strategy, pricing, **changes) for pricing in (None, PRICE)]


@pytest.mark.parametrize("strategy", SETTINGS)
def test_where_bytes_cost_no_time_one_training_serves_both_prices(strategy):
    memo = Memo(None)

    (plain, own), (charged, more) = (
        outcome_of(scenario, memo) for scenario in at_both_prices(strategy, Instant())
    )

    assert own > 0
    assert more == 0
    assert [e.loss for e in charged.evaluations] == [e.loss for e in plain.evaluations]
    assert charged.summary["parameters_sha256"] == plain.summary["parameters_sha256"]


@pytest.mark.parametrize(
    "strategy",
    [
        Averaging(bucket=3000),
        DiLoCo(period=4),
        StreamingDiLoCo(period=4, fragments=2),
        SPARTA(share=0.1),
        ParameterServer(servers=3),
    ],
    ids=str,
)
def test_where_they_do_strategies_whose_order_is_fixed_still_train_the_same(strategy):
    """Without a memo: the same bits are computed, at other times."""
    plain, charged = (
        outcome_of(scenario)[0]
        for scenario in at_both_prices(strategy, Star(bandwidth=20 * 10**6, latency=2 * MS))
    )

    assert [e.loss for e in charged.evaluations] == [e.loss for e in plain.evaluations]
    assert charged.summary["parameters_sha256"] == plain.summary["parameters_sha256"]
    assert charged.summary["end_ns"] > plain.summary["end_ns"]
    assert charged.summary["payload_bytes"] > 1.5 * plain.summary["payload_bytes"]


# -- bytes


def test_pieces_of_any_cut_add_up_to_the_whole_and_hold_what_fits():
    @given(st.integers(1, 50), st.integers(0, 10**4), st.sampled_from([1, 2, 4]), st.data())
    def law(length, more, width, data):
        charge = Charge(length, length + more, width)
        inner = data.draw(st.lists(st.integers(0, length), max_size=8))
        edges = sorted([0, *inner, length])

        pieces = [charge.between(*ends) for ends in itertools.pairwise(edges)]

        assert sum(pieces) == width * (length + more)
        for entries in edges:
            assert charge.entries_within(charge.between(0, entries)) == entries
        num_bytes = data.draw(st.integers(0, width * (length + more)))
        fitting = charge.entries_within(num_bytes)
        assert charge.between(0, fitting) <= num_bytes < charge.between(0, fitting + 1)

    law()


@pytest.mark.parametrize("servers", [1, 3, 4])
def test_shards_of_servers_add_up_to_the_priced_vector(servers):
    scenario = priced(ParameterServer(servers=servers), PRICE, stop=Stop(updates=1))

    pushed = [m.num_bytes for m in sent(scenario) if m.sender == 1]

    assert len(pushed) == servers
    assert sum(pushed) == VECTOR_BYTES
    assert max(pushed) - min(pushed) <= 2 * 7 + 4


@pytest.mark.parametrize("combine", ["gradients", "parameters"])
def test_buckets_have_their_size_in_the_priced_model_and_add_up_to_it(combine):
    """A bucket of 8000 bytes: 571 entries stand for 3997 or 3998 of the 17503 parameters."""
    scenario = priced(
        Averaging(combine=combine, bucket=8000),
        PRICE,
        cluster=Cluster(nodes=2, machine=Fixed()),
        stop=Stop(updates=1),
    )

    # In a ring of two, each sends a half of a bucket twice: one flow of as many bytes.
    buckets = [m.num_bytes for m in sent(scenario) if m.sender == 0]

    assert sum(buckets) == VECTOR_BYTES
    assert len(buckets) == 5
    assert all(each in (2 * 3997, 2 * 3998) for each in buckets[:-1])


COMPRESSIONS = [found() for found in discover(*CHOICES["strategies.compression"]).values()]


@pytest.mark.parametrize("compression", COMPRESSIONS, ids=lambda each: each.kind)
def test_payloads_grow_with_the_entries_whatever_the_precision(compression):
    strategy = Averaging(compression=compression, combine="gradients")

    def payloads(pricing):
        scenario = priced(strategy, pricing, network=Instant(), stop=Stop(updates=3))
        return [m.num_bytes for m in outcome_of(scenario)[0].messages]

    own = payloads(None)

    assert own
    for precision in ("fp32", "bf16"):
        charged = payloads(EVEN.model_copy(update={"precision": precision}))
        assert charged == pytest.approx([1000 * each for each in own], rel=1e-3)


@pytest.mark.parametrize(
    ("compression", "num_bytes"),
    [
        (None, 2 * 1000 * ENTRIES),  # as it is, in bf16
        (Int8(), 1000 * (ENTRIES + 4)),  # a byte an entry, and the scale of a float32
        (BF16(), 2 * 1000 * ENTRIES),
        (TopK(share=0.01), 1000 * 25 * (4 + 8)),  # places, and entries of float64
        (PowerSGD(rank=1), 8 * 1000 * ENTRIES),  # vectors raw, in float64
    ],
    ids=str,
)
def test_what_a_server_is_sent_is_charged_as_defined(compression, num_bytes):
    scenario = priced(ParameterServer(compression=compression), EVEN, stop=Stop(updates=1))

    assert {m.num_bytes for m in sent(scenario) if m.sender == 0} == {num_bytes}


def test_a_share_of_the_entries_is_that_share_of_the_priced_bytes():
    scenario = priced(SPARTA(share=0.01), EVEN, stop=Stop(updates=1), network=Instant())

    # Each of four sends a quarter of 1 % six times, as one flow.
    assert [m.num_bytes for m in sent(scenario)] == [6 * 2 * 1000 * 25 // 4] * 4


def test_a_worker_that_is_back_is_sent_the_priced_state():
    scenario = priced(
        Averaging(on_failure=GoOn(detection=100 * MS)),
        PRICE,
        {"optimizer": AdamW()},
        conditions=(NodeFailure(nodes=(1,), at=300 * MS, until=1500 * MS),),
        stop=Stop(virtual_time=3000 * MS),
    )

    # Parameters and what AdamW remembers of each.
    assert {m.num_bytes for m in sent(scenario, "state")} == {3 * VECTOR_BYTES}


# -- time


@pytest.mark.parametrize("nodes", [2, 4, 5])
def test_a_ring_takes_the_time_of_the_priced_vector(nodes):
    """8.03 billion parameters of 2 bytes: 2 (p - 1) / p n / B + 2 (p - 1) alpha."""
    step_ns, bandwidth_bps, latency_ns = 10**9, 25 * 10**9, 20_000
    scenario = priced(
        Averaging(),
        Known(name="llama-3-8b", tokens_per_sample=1),
        cluster=Cluster(nodes=nodes, machine=Fixed(step_time=step_ns, jitter=Constant())),
        network=Star(bandwidth=bandwidth_bps, latency=latency_ns),
        stop=Stop(updates=3),
    )

    ring_ns = 2 * (nodes - 1) * (8e9 * 2 * 8_030_261_248 / nodes / bandwidth_bps + latency_ns)
    assert planned(scenario).end_ns == pytest.approx(3 * (step_ns + ring_ns), rel=1e-6)


GPT_TASK = {
    "model": GPT(layers=1, width=16, heads=2, context=12),
    "data": Text(validation_samples=20),
    "batch_size": 3,
    "accumulate": 2,
}


@pytest.mark.parametrize(
    ("pricing", "flops"),
    [
        (Known(name="gpt2-xl"), 6 * 12 * 6 * 1_557_611_200),
        (Known(name="gpt2-xl", tokens_per_sample=1024), 6 * 1024 * 6 * 1_557_611_200),
        (Known(name="gpt3-175b", precision="fp8"), 6 * 12 * 6 * 174_600_000_000),
        (Known(name="resnet-50"), 6 * 24_540_000_000),
        (Custom(parameters=10**9), 6 * 12 * 6 * 10**9),
        (Custom(parameters=10**9, flops_per_token=7 * 10**9), 6 * 12 * 7 * 10**9),
        (Custom(parameters=10**9, flops_per_sample=10**12), 6 * 10**12),
    ],
    ids=str,
)
def test_a_step_takes_the_priced_flops_over_the_rate(pricing, flops):
    """Two micro-batches of 3 samples with 12 tokens each; half of 10 TFLOP/s."""
    scenario = Scenario(
        name="steps",
        task=Task(**GPT_TASK, priced_as=pricing),
        cluster=Cluster(nodes=2, machine=Flops(rate=10**13, efficiency=0.5, jitter=Constant())),
        network=Instant(),
        strategies={"law": Averaging()},
        stop=Stop(updates=2),
    )

    # Both steps end on whole nanoseconds.
    assert planned(scenario).end_ns == 2 * round(1e9 * flops / 5e12)


@pytest.mark.parametrize(
    ("bandwidth_bps", "end_ns"),
    [
        # 5 buckets of 1 MB, of which one takes 1 ms: only the last sticks out of a step of 30 ms.
        (8 * 10**9, 31 * 10**6),
        # One takes 10 ms, and the first is out after 10 + 20 / 5 ms.
        (8 * 10**8, 64 * 10**6),
    ],
)
def test_priced_buckets_are_averaged_along_the_backward_pass(bandwidth_bps, end_ns):
    """A ring of two sends each bucket once in all, in two halves."""
    scenario = priced(
        Averaging(combine="gradients", bucket=10**6),
        EVEN,
        cluster=Cluster(nodes=2, machine=Fixed(step_time=30 * MS, jitter=Constant())),
        network=Star(bandwidth=bandwidth_bps, latency=0),
        stop=Stop(updates=1),
    )

    assert planned(scenario).end_ns == pytest.approx(end_ns, rel=1e-6)


@pytest.mark.parametrize("strategy", SETTINGS)
def test_every_strategy_can_be_planned_at_a_price(strategy):
    changes = {
        "stop": Stop(updates=20 if strategy.counts == "steps" else 60),
        "network": Star(bandwidth=2 * 10**6, latency=2 * MS),
    }
    if strategy.kind == "adacomm":
        return  # looks at losses, and no plan has any

    cheap = plan(priced(strategy, None, **changes), "law", 0, Memo(None), "")
    dear = plan(priced(strategy, PRICE, **changes), "law", 0, Memo(None), "")

    assert dear.ended_by == cheap.ended_by == "updates"
    assert dear.end_ns > cheap.end_ns
    if not strategy.is_order_dependent:
        assert dear.payload_bytes_per_sample > cheap.payload_bytes_per_sample


# -- memory


def test_a_machine_must_have_the_memory_of_the_priced_model():
    """Llama 3 8B in bf16 with AdamW: 4 vectors of 16.06 GB fit into 80 GB, those of 13B do not."""

    def make(name):
        pricing = Known(name=name, tokens_per_sample=1)
        return Scenario(
            name="memory",
            task=Task(**GPT_TASK, optimizer=AdamW(), priced_as=pricing),
            cluster=Cluster(nodes=2, machine=Accelerator(device="h100-sxm")),
            strategies={"law": Averaging()},
            stop=Stop(updates=1),
        )

    assert make("llama-3-8b").task.training_bytes == 4 * 2 * 8_030_261_248
    with pytest.raises(ValidationError) as told:
        make("llama-2-13b")
    (error,) = told.value.errors()
    assert error["msg"].startswith("training Llama 2 13B takes 104 GB of memory (parameters, ")


# -- what is refused


def refusal(pricing, **task):
    with pytest.raises(ValidationError) as told:
        Task(**{"model": Quadratic(), "data": Gaussian(), "priced_as": pricing, **task})
    (error,) = told.value.errors()
    return ".".join(map(str, error["loc"])), error["msg"]


def test_an_unknown_model_is_told_the_nearest_name():
    where, message = refusal({"kind": "known", "name": "lama-3-8b"})

    assert where == "priced_as.known.name"
    assert message.startswith("unknown model 'lama-3-8b'; did you mean 'llama-3-8b'? (known: gpt2")


def test_a_large_model_cannot_stand_for_a_small_one():
    where, message = refusal(Custom(parameters=9, flops_per_sample=1))

    assert where == "priced_as"
    assert message == (
        "a small model stands for a large one: a larger model has 9 parameters, and model "
        "quadratic, which is trained, has 10"
    )
    Task(model=Quadratic(), data=Gaussian(), priced_as=Custom(parameters=10, flops_per_sample=1))


def test_where_flops_go_by_tokens_samples_need_some():
    where, message = refusal(Known(name="gpt2"), model=Logistic(), data=Classification())

    assert where == "priced_as.tokens_per_sample"
    assert message.startswith("FLOPs of GPT-2 124M go by tokens, and samples of this model have")


@pytest.mark.parametrize(
    "pricing",
    [
        {"flops_per_sample": 1, "flops_per_token": 1},
        {"flops_per_sample": 1, "tokens_per_sample": 1},
        {"kind": "known", "name": "resnet-50", "tokens_per_sample": 1},
    ],
    ids=str,
)
def test_what_has_no_effect_is_refused(pricing):
    where, message = refusal(pricing)

    assert where.endswith(("flops_per_token", "tokens_per_sample"))
    assert message.startswith("has no effect")


# -- the table


def llama(vocabulary, width, layers, heads, groups, inner):
    attention = 2 * width**2 + 2 * width * width * groups // heads
    return 2 * vocabulary * width + layers * (attention + 3 * width * inner + 2 * width) + width


def gpt2(width, layers):
    return (50_257 + 1024) * width + layers * (12 * width**2 + 13 * width) + 2 * width


def bert(width, layers):
    rows = 30_522 + 512 + 2 + 2  # tokens, places, segments; a norm
    return rows * width + layers * (12 * width**2 + 13 * width) + width**2 + width


SHAPES = {
    "gpt2": gpt2(768, 12),
    "gpt2-medium": gpt2(1024, 24),
    "gpt2-large": gpt2(1280, 36),
    "gpt2-xl": gpt2(1600, 48),
    "llama-2-7b": llama(32_000, 4096, 32, 32, 32, 11_008),
    "llama-2-13b": llama(32_000, 5120, 40, 40, 40, 13_824),
    "llama-2-70b": llama(32_000, 8192, 80, 64, 8, 28_672),
    "llama-3-8b": llama(128_256, 4096, 32, 32, 8, 14_336),
    "llama-3-70b": llama(128_256, 8192, 80, 64, 8, 28_672),
    "llama-3-405b": llama(128_256, 16_384, 126, 128, 8, 53_248),
    "mistral-7b": llama(32_000, 4096, 32, 32, 8, 14_336),
    "bert-base": bert(768, 12),
    "bert-large": bert(1024, 24),
}


@pytest.mark.parametrize(("name", "parameters"), SHAPES.items(), ids=SHAPES)
def test_parameters_are_those_of_the_published_shapes(name, parameters):
    assert KNOWN_MODELS[name].num_parameters == parameters


@pytest.mark.parametrize("model", KNOWN_MODELS.values(), ids=KNOWN_MODELS)
def test_each_known_model_has_a_source(model):
    assert model.source
    if model.unit == "token":
        assert model.flops == 6 * model.num_parameters
