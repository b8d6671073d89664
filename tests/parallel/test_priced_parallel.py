"""A small model is trained whole, and the clock is that of a large one which is split."""

import itertools

import pytest
from pydantic import ValidationError

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.flops import Flops
from simbench.execution.memo import Memo
from simbench.execution.threads import ThreadExecutor
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.datasets.text import Text
from simbench.learning.known_models import KNOWN_MODELS
from simbench.learning.models.gpt import GPT
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.priced_split import priced_costs
from simbench.learning.pricing import Shape
from simbench.learning.pricings.custom import Custom
from simbench.learning.pricings.known import Known
from simbench.learning.privacy import Privacy
from simbench.learning.split_costs import link_costs
from simbench.learning.task import Task
from simbench.network.topologies.star import Star
from simbench.parallel.parallel import InnerLink, Parallel
from simbench.parallel.pipelines.gpipe import GPipe
from simbench.parallel.pipelines.interleaved import Interleaved
from simbench.parallel.pipelines.one_forward_one_backward import OneForwardOneBackward
from simbench.parallel.shardings.zero1 import Zero1
from simbench.parallel.shardings.zero3 import Zero3
from simbench.scenario import Scenario, Stop
from simbench.simulation import simulate
from simbench.strategies.averaging import Averaging
from simbench.testing import MS

FAST = InnerLink(bandwidth=10**15, latency=0)
LAYERS, WIDTH, HEADS, VOCABULARY, TOKENS = 48, 1024, 16, 8, 512
# So few tokens that layers do nearly all of the work.
SHAPE = Shape(layers=LAYERS, width=WIDTH, heads=HEADS, vocabulary=VOCABULARY)
EMBEDDING = VOCABULARY * WIDTH
LARGE = Custom(parameters=12 * LAYERS * WIDTH**2 + EMBEDDING, tokens_per_sample=TOKENS, shape=SHAPE)
PASSED = TOKENS * WIDTH * 2
"""Bytes of one sample between layers, in bf16."""


def scenario_of(parallel, pricing=LARGE, memory=None, **task):
    machine = Flops(rate=10**14, efficiency=1.0, jitter=Constant(), memory=memory)
    small = {
        "model": GPT(layers=1, width=16, heads=2, context=12),
        "data": Text(validation_samples=20),
        "batch_size": 16,
        "optimizer": AdamW(learning_rate=0.01),
    }
    return Scenario(
        name="priced",
        task=Task(**{**small, "priced_as": pricing, **task}),
        cluster=Cluster(nodes=2, machine=machine),
        network=Star(bandwidth=10**9, latency=MS),
        strategies={"only": Averaging()},
        parallel=parallel,
        stop=Stop(updates=2),
        seeds=(0,),
    )


def refusal(*arguments, **keys):
    with pytest.raises(ValidationError) as told:
        scenario_of(*arguments, **keys)
    (error,) = told.value.errors()
    return error["loc"], error["msg"]


def test_one_training_serves_every_split_of_the_large_model():
    """The small model has one layer: it couldn't be split into such stages."""
    memo, executor = Memo(None), ThreadExecutor(1)
    splits = [
        None,
        Parallel(pipeline=GPipe(stages=8, microbatches=4)),
        Parallel(pipeline=Interleaved(stages=4, microbatches=8), tensor=16),
        Parallel(sharding=Zero3(devices=4)),
    ]
    outcomes = [simulate(scenario_of(each), "only", 0, executor, memo) for each in splits]
    executor.close()

    assert executor.operations_run["gradient"] == 2 * 2
    assert executor.operations_run["part_forward"] == 0
    assert len({each.summary["parameters_sha256"] for each in outcomes}) == 1
    assert len({each.updates[0].time_ns for each in outcomes}) == len(splits)
    assert len({each.summary["payload_bytes"] for each in outcomes}) == 1


@pytest.mark.parametrize("kind", [GPipe, OneForwardOneBackward])
@pytest.mark.parametrize(("stages", "microbatches"), [(2, 4), (4, 8), (16, 16), (48, 2)])
def test_the_bubble_is_that_of_the_large_models_stages(kind, stages, microbatches):
    """Huang et al. 2019, section 2.3: stages of equally many layers, over fast links."""
    pipeline = kind(stages=stages, microbatches=microbatches)
    scenario = scenario_of(Parallel(pipeline=pipeline, link=FAST))
    alone_ns = 16 * LARGE.sample_flops(TOKENS) * 10**9 // 10**14

    step = scenario.group.step(alone_ns, 2 / 3)

    rounds = microbatches + stages - 1
    assert step.table.bubble_share == pytest.approx((stages - 1) / rounds, abs=2e-3)
    assert step.end_ns == pytest.approx(alone_ns / stages * rounds / microbatches, rel=2e-3)


@pytest.mark.parametrize(("stages", "tensor"), [(4, 1), (4, 8), (2, 16)])
def test_activations_are_tokens_times_width_times_bytes(stages, tensor):
    microbatches = 8
    pipeline = GPipe(stages=stages, microbatches=microbatches)

    traffic = scenario_of(Parallel(pipeline=pipeline, tensor=tensor)).group.traffic

    of_microbatch = 16 // microbatches * PASSED
    crossings = 2 * microbatches * (stages - 1)
    assert traffic.activations == crossings * tensor * of_microbatch
    # Rings of all-reduces: two of each layer forward and two backward, and the tied embedding.
    sent = 2 * (tensor - 1) * microbatches * of_microbatch
    assert traffic.sums == 4 * LAYERS * sent + 2 * EMBEDDING * 2
    numbers = 2 * (tensor - 1) * 16 * TOKENS * 3 * 4
    assert traffic.vocabulary == 2 * sent + numbers


@pytest.mark.parametrize("tensor", [1, 2, 8])
@pytest.mark.parametrize("chunks", [1, 3, 5, 48])
@pytest.mark.parametrize("tied", [True, False])
def test_nothing_of_the_large_model_is_lost(chunks, tensor, tied):
    shape = SHAPE.model_copy(update={"tied": tied})
    task = scenario_of(None, LARGE.model_copy(update={"shape": shape})).task

    costs = priced_costs(task, chunks, tensor)

    again = EMBEDDING if tied else 0
    assert sum(sum(cost.part_entries) for cost in costs) == LARGE.parameters + again
    assert sum(cost.share for cost in costs) == pytest.approx(1 / tensor, rel=1e-12)
    assert [cost.chunk for cost in costs] == sorted(cost.chunk for cost in costs)
    assert {cost.chunk for cost in costs} == set(range(chunks))


@pytest.mark.parametrize(("chunks", "tensor"), [(1, 2), (3, 4), (4, 2)])
def test_a_model_that_is_trained_costs_what_it_does_when_it_is_charged_for(chunks, tensor):
    """But for what a shape doesn't tell: norms, biases, positions and attention's own FLOPs."""
    model = GPT(layers=4, width=64, heads=4, context=16)
    task = Task(model=model, data=Text(validation_samples=20))
    shape = Shape(layers=4, width=64, heads=4, vocabulary=256)
    pricing = Custom(parameters=task.num_parameters, precision="fp32", shape=shape)
    priced = Task(**{**dict(task), "priced_as": pricing})

    # The last link of a trained model only makes the loss.
    pairs = zip(
        link_costs(task, chunks, tensor), priced_costs(priced, chunks, tensor), strict=False
    )

    for own, charged in pairs:
        for field in ("chunk", "of_vocabulary", "forward_sums", "backward_sums"):
            assert getattr(charged, field) == getattr(own, field)
    shares = [
        [sum(cost.share for cost in costs if cost.chunk == index) for index in range(chunks)]
        for costs in (link_costs(task, chunks, tensor), priced_costs(priced, chunks, tensor))
    ]
    assert shares[1] == pytest.approx(shares[0], rel=0.05)


@pytest.mark.parametrize(
    ("parallel", "share"),
    [
        (Parallel(pipeline=GPipe(stages=8, microbatches=4)), 1 / 8),
        (Parallel(pipeline=GPipe(stages=4, microbatches=4), tensor=8), 1 / 32),
        (Parallel(sharding=Zero3(devices=16)), 1 / 16),
        (Parallel(tensor=8), 1 / 8),
    ],
)
def test_a_device_need_hold_its_part_of_the_large_model(parallel, share):
    # Adam keeps two vectors more; all are in bf16.
    needed = scenario_of(parallel).device_bytes
    assert needed == pytest.approx(4 * 2 * LARGE.parameters * share, rel=2e-3)

    location, message = refusal(parallel, memory=needed - 1)
    assert location == ("cluster", "machine", "memory")
    assert message.startswith("training a larger model takes")


def test_known_models_have_shapes_that_fit_their_parameters():
    """A layer has about 12 times its width squared (Narayanan et al. 2021, section 5.1)."""
    for name, model in KNOWN_MODELS.items():
        if (shape := model.shape) is None:
            assert name in {"chinchilla-70b", "resnet-50", "vit-b-16"}
            continue
        embeddings = shape.embedding_parameters * (1 if shape.tied else 2)
        each = (model.num_parameters - embeddings) / shape.layers
        assert 11.8 < each / shape.width**2 < 13.1, name
        assert shape.width % shape.heads == 0


def test_gpt_2_is_counted_to_the_last_parameter():
    for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"):
        model = KNOWN_MODELS[name]
        layers, width = model.shape.layers, model.shape.width
        of_layers = layers * (12 * width**2 + 13 * width)
        assert model.num_parameters == model.shape.embedding_parameters + of_layers + 1026 * width


def test_untied_embeddings_have_nothing_to_sum_up():
    parallel = Parallel(pipeline=GPipe(stages=4, microbatches=4))

    assert scenario_of(parallel, Known(name="llama-2-7b")).group.traffic.sums == 0
    assert scenario_of(parallel, Known(name="gpt2-xl")).group.traffic.sums > 0


@pytest.mark.parametrize("sharding", [Zero1(devices=4), Zero3(devices=4)])
def test_what_has_no_shape_can_share_its_state(sharding):
    group = scenario_of(Parallel(sharding=sharding), Custom(parameters=10**9)).group

    assert group.traffic.state == (2 if sharding.kind == "zero1" else 3) * 2 * 10**9 * 3


@pytest.mark.parametrize("task", [{"privacy": Privacy()}, {"mixed_precision": "bfloat16"}])
def test_a_gradient_that_is_whole_may_be_private_or_of_mixed_precision(task):
    scenario = scenario_of(Parallel(pipeline=GPipe(stages=8, microbatches=4)), **task)

    assert scenario.partition is None
    assert scenario.num_devices == 2


@pytest.mark.parametrize(
    ("parallel", "pricing", "key", "message"),
    [
        (
            Parallel(pipeline=GPipe(stages=64, microbatches=4)),
            LARGE,
            "pipeline",
            "48 layers of a larger model can't make 64 stages",
        ),
        (
            Parallel(tensor=3),
            LARGE,
            "tensor",
            "16 heads of a larger model aren't a multiple of 3 devices",
        ),
        (
            Parallel(tensor=2),
            Known(name="chinchilla-70b"),
            "tensor",
            (
                "nobody says of what layers Chinchilla 70B is built: give task.priced_as a shape, "
                "of kind custom, or leave all but sharding out"
            ),
        ),
        (
            Parallel(tensor=2),
            LARGE.model_copy(update={"flops_per_token": 6 * EMBEDDING}),
            "tensor",
            "FLOPs of a larger model are no more than its output head takes",
        ),
    ],
)
def test_what_the_large_model_cant_be_split_into_is_refused(parallel, pricing, key, message):
    assert refusal(parallel, pricing) == (("parallel", key), message)


def test_layers_pass_tokens_on():
    pricing = LARGE.model_copy(update={"tokens_per_sample": None, "flops_per_sample": 10**9})

    location, message = refusal(
        Parallel(tensor=2), pricing, model=Quadratic(dimension=8), data=Gaussian()
    )

    assert location == ("parallel", "tensor")
    assert message == "samples have no tokens that layers of a larger model could pass on"


def test_embeddings_leave_something_to_layers():
    for tied, parameters in itertools.product([True, False], [100, 200, 201]):
        shape = Shape(layers=1, width=10, heads=1, vocabulary=10, tied=tied)
        if parameters > (100 if tied else 200):
            assert Custom(parameters=parameters, shape=shape).model.shape == shape
            continue
        with pytest.raises(ValidationError, match="leaves none of"):
            Custom(parameters=parameters, shape=shape)
