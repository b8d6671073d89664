"""Laws of what splits a model; ``simbench.testing`` offers them."""

from collections import Counter

import torch

from simbench.execution.threads import ThreadExecutor
from simbench.execution.values import Graph
from simbench.learning.dataset import Dataset
from simbench.learning.model import Model
from simbench.learning.operations import Bench
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.split_gradient import Partition
from simbench.learning.task import Task
from simbench.learning.training import Training
from simbench.parallel.pipeline import Pipeline, Work
from simbench.parallel.sharding import StateSharding
from simbench.parallel.timetable import timetable


def check_pipeline(pipeline: Pipeline) -> None:
    """Check that each stage does all of its work once, and that none waits for ever.

    Equal stages without transfers wait no longer than GPipe's do.
    """
    p, m, v = pipeline.stages, pipeline.microbatches, pipeline.chunks_per_stage
    orders = [pipeline.order(stage) for stage in range(p)]
    for stage, order in enumerate(orders):
        chunks = range(stage, pipeline.num_chunks, p)
        every = {Work(f, c, i) for f in (True, False) for c in chunks for i in range(m)}
        assert Counter(order) == Counter(every), f"stage {stage} must do all of its work, once"
    table = timetable(orders, pipeline.num_chunks, lambda work: 1 if work.is_forward else 2)
    for work, end_ns in table.ends_ns.items():
        assert end_ns - table.starts_ns[work] == (1 if work.is_forward else 2)
    assert table.busy_ns == [3 * m * v] * p
    assert table.end_ns <= 3 * v * (m + p - 1), "a bubble is longer than GPipe's"
    assert max(table.most_in_flight) <= m * v, "nothing goes forward twice"


def check_state_sharding(sharding: StateSharding) -> None:
    """Check that nothing is lost of what devices keep, and that more of them keep no more each."""
    num_bytes = 4_000
    kept = []
    for devices in (2, 3, 8):
        each = sharding.model_copy(update={"devices": devices}).state_bytes(num_bytes, 2)
        assert each * devices >= 4 * num_bytes, "what nobody keeps is lost"
        kept.append(each)
    assert 4 * num_bytes >= kept[0] >= kept[1] >= kept[2], "more devices must not keep more each"


def check_split(model: Model, data: Dataset, partition: Partition, dtype: str = "float64") -> None:
    """Check that loss and gradient of ``model``, computed in parts, are those of the whole.

    They agree within 1e-5 in float32 and 1e-12 in float64, and aren't the same operation.
    """
    size = 2 * partition.microbatches
    task = Task.model_validate({"model": model, "data": data, "batch_size": size, "dtype": dtype})
    bench = Bench(task, seed=0, num_shards=2, device="cpu", fingerprint="")
    graph, executor = Graph(), ThreadExecutor(2)
    whole, split = Training(graph, bench, SGD()), Training(graph, bench, SGD(), partition=partition)
    start, _ = whole.initial(0)
    wholes = [whole.gradient(start, 1, 3), whole.loss(start, 1, 3)]
    parts = [split.gradient(start, 1, 3), split.loss(start, 1, 3)]
    try:
        for one, other in zip(wholes, parts, strict=True):
            assert one.key != other.key, "parts must be computed as parts"
            assert one.num_bytes == other.num_bytes
            expected, found = executor.start(one).result(), executor.start(other).result()
            assert found.shape == expected.shape
            error = torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected)
            assert error <= (1e-5 if dtype == "float32" else 1e-12), f"off by {error:.2g}"
    finally:
        executor.close()
