"""Laws that any plug-in must pass, for the built-in ones and for yours.

Each ``check_...`` takes one instance of a kind and raises ``AssertionError`` where it breaks a law.
None of them needs pytest. ``small_scenarios`` draws random worlds with Hypothesis.

>>> from simbench.strategies.averaging import Averaging
>>> check_strategy(Averaging(period=3))
"""

import itertools
import math
from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from simpy.events import Event

from simbench import compression_laws, condition_laws, parallel_laws, policy_laws
from simbench.clock import Clock
from simbench.cluster.cluster import Cluster
from simbench.cluster.jitter import Jitter
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.jitters.exponential import Exponential
from simbench.cluster.jitters.lognormal import LogNormal
from simbench.cluster.machine import Machine
from simbench.cluster.machines.fixed import Fixed
from simbench.cluster.straggler import Straggler
from simbench.cluster.stragglers.persistent import Persistent
from simbench.condition import Condition
from simbench.damping import Damping
from simbench.execution.memo import Memo
from simbench.execution.threads import ThreadExecutor
from simbench.learning.aggregator import Aggregate, Aggregator
from simbench.learning.compressor import Compression
from simbench.learning.dataset import Dataset, Samples
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.fault import Fault
from simbench.learning.model import Model
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.operations import Bench, Gradient, Initial, Step
from simbench.learning.optimizer import Optimizer
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.pricing import Pricing
from simbench.learning.schedule import Schedule
from simbench.learning.sharding import Listing, Sharding
from simbench.learning.split_gradient import Partition
from simbench.learning.task import Task
from simbench.learning.transform import Transform
from simbench.network import collective_laws
from simbench.network.collective import Collective
from simbench.network.fabric import Fabric
from simbench.network.sharing import max_min_rates
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.ring import Ring
from simbench.network.topologies.star import Star
from simbench.network.topology import Network, Topology
from simbench.network.transport import Transport
from simbench.parallel.pipeline import Pipeline
from simbench.parallel.sharding import StateSharding
from simbench.scenario import Scenario, Stop
from simbench.seeds import generator
from simbench.simulation import NoNumbersError, Outcome, Simulation, simulate
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer
from simbench.strategy import Strategy

MS = 10**6
_SAMPLED_DRAWS = 20_000


def check_strategy(strategy: Strategy) -> None:
    """Check that ``strategy`` is deterministic, honest in its books, never silent, and learns."""
    scenario = small_scenario(strategy)
    outcome = run(scenario)
    name = strategy.kind
    assert outcome.summary["stuck"] is None, f"{name} got stuck: {outcome.summary['stuck']}"
    again = run(scenario, num_threads=2)
    assert again.evaluations == outcome.evaluations, f"{name}: other threads, other losses"
    assert again.messages == outcome.messages, f"{name}: other threads, other messages"
    assert again.summary == outcome.summary, f"{name}: other threads, other parameters"
    _check_books(outcome)
    _check_planning(scenario, outcome)
    first, last = outcome.evaluations[0].loss, outcome.evaluations[-1].loss
    assert last < first / 10, f"{name} doesn't learn a quadratic: loss {first:g} became {last:g}"
    if not strategy.is_order_dependent:
        faster = scenario.model_copy(update={"network": Star(bandwidth=10**11, latency=1000)})
        losses = [each.loss for each in run(faster).evaluations]
        assert losses == [each.loss for each in outcome.evaluations], (
            f"{name} says that no order matters, so faster links must not change what it computes"
        )
    fewest = next(nodes for nodes in range(1, 5) if _takes(strategy, nodes))
    few = run(scenario.model_copy(update={"cluster": Cluster(nodes=fewest, machine=_MACHINE)}))
    assert few.summary["stuck"] is None, f"{name} got stuck with {fewest} worker(s)"


def check_topology(topology: Topology, num_nodes: int = 8) -> None:
    """Check that every pair of nodes has a way of existing links, as good as its links are.

    It must go from the one to the other without a gap or a loop, take as long as its links do
    together, be the same when asked for again, and share its links as max-min fairness says. A
    server's machine has a place beside the ``num_nodes`` workers.
    """
    for num_servers in (0, 1):
        topology.check(num_nodes, num_servers)
        count = num_nodes + num_servers
        network = Network(topology, count)
        assert network.links == topology.links(count), f"{topology.kind}: links that vary"
        for link in network.links:
            assert link.rate_bps > 0, f"{topology.kind}: a link without a rate: {link}"
            assert link.latency_ns >= 0, f"{topology.kind}: {link} ends before it begins"
            assert link.jitter_ns >= 0
            assert 0 <= link.loss < 1
        pairs = list(itertools.permutations(range(count), 2))
        for sender, receiver in pairs:
            for flow in (0, 1):
                _check_path(network, sender, receiver, flow)
        again = Network(topology, count)
        # In another order: a path must not depend on which were asked for before.
        assert [again.path(*pair) for pair in reversed(pairs)] == [
            network.path(*pair) for pair in reversed(pairs)
        ], f"{topology.kind}: paths that vary"
    paths = [network.path(*pair).links for pair in pairs]
    check_sharing(paths, tuple(link.rate_bps for link in network.links))


def _check_path(network: Network, sender: int, receiver: int, flow: int) -> None:
    path = network.path(sender, receiver, flow)
    links = [network.links[link] for link in path.links]
    assert path.latency_ns == sum(link.latency_ns for link in links), f"{path} takes another time"
    if links:
        assert (links[0].tail, links[-1].head) == (sender, receiver), f"{path} ends elsewhere"
    for one, other in itertools.pairwise(links):
        assert one.head == other.tail, f"a gap between {one} and {other}"
    places = [link.tail for link in links]
    assert len(set(places)) == len(places), f"{path} goes in a loop"


def check_sharing(paths: list[tuple[int, ...]], link_rates: tuple[int, ...]) -> None:
    """Check that rates are feasible and that every flow has a bottleneck (max-min fairness)."""
    rates = max_min_rates(paths, link_rates)
    load = [0.0] * len(link_rates)
    for path, rate in zip(paths, rates, strict=True):
        for link in path:
            load[link] += rate
    for link, limit in enumerate(link_rates):
        assert load[link] <= limit * (1 + 1e-9), f"link {link} carries {load[link]} of {limit}"
    for path, rate in zip(paths, rates, strict=True):
        others = {
            link: max(r for p, r in zip(paths, rates, strict=True) if link in p) for link in path
        }
        assert not path or any(
            load[link] >= link_rates[link] * (1 - 1e-9) and rate >= others[link] * (1 - 1e-9)
            for link in path
        ), f"a flow over {path} could be faster"


def check_collective(collective: Collective) -> None:
    """Check that messages bring every contribution where it belongs, and flows take their time."""
    collective_laws.check_collective(collective)


def check_damping(damping: Damping) -> None:
    """Check that a fresh update counts whole, none more than that, and a staler one no more."""
    factors = [damping.factor(staleness) for staleness in range(1000)]
    assert factors[0] == 1, f"an update that isn't stale counts {factors[0]}, not 1"
    assert min(factors) >= 0, "an update counted against itself"
    assert factors == sorted(factors, reverse=True), "a staler update counts more"


def check_transport(transport: Transport) -> None:
    """Check that every byte sent arrives, none faster than links allow, the same way each time.

    Faster links never make it slower, and messages of all sizes come, nothing's among them.
    """
    assert _transported(transport, 10**9) == _transported(transport, 10**9), "times that vary"
    slow_ns, fast_ns = _transported(transport, 10**8), _transported(transport, 10**9)
    for (size, slow), (_, fast) in zip(slow_ns, fast_ns, strict=True):
        assert 10**6 + 8 * size <= fast <= slow, f"{size} bytes take {fast} ns, or {slow} ns"


def _transported(transport: Transport, rate_bps: int) -> list[tuple[int, int]]:
    """Return sizes, and how long a message of each takes, one after the other."""
    clock = Clock()
    star = Star(bandwidth=rate_bps, latency=MS).model_copy(update={"transport": transport})
    carrier = transport.carrier(Fabric(clock, star, 3), seed=1)
    taken: list[tuple[int, int]] = []

    def send() -> Generator[Event, Any, None]:
        for size in (0, 1, 1448, 100_000, 10_000_000):
            begun_ns = clock.now_ns
            arrived = clock.event()
            carrier.carry(0, 1, size, arrived.succeed)  # which fails if it is called again
            yield arrived
            taken.append((size, clock.now_ns - begun_ns))

    sending = clock.process(send())
    clock.run()
    assert sending.processed, f"a message never arrives; those before took {taken}"
    return taken


def check_compression(compression: Compression) -> None:
    """Check that real payloads have the bytes that the clock charges, and that nothing is lost."""
    compression_laws.check_compression(compression)


def check_condition(condition: Condition) -> None:
    """Check that nothing is lost, that runs end, and that all strategies meet the same."""
    condition_laws.check_condition(condition)


def check_pipeline(pipeline: Pipeline) -> None:
    """Check that each stage does all of its work once, and loses no more time than GPipe's."""
    parallel_laws.check_pipeline(pipeline)


def check_state_sharding(sharding: StateSharding) -> None:
    """Check that devices together keep everything, and each no more the more they are."""
    parallel_laws.check_state_sharding(sharding)


def check_split(model: Model, data: Dataset, partition: Partition, dtype: str = "float64") -> None:
    """Check that loss and gradient of ``model``, computed in parts, are those of the whole."""
    parallel_laws.check_split(model, data, partition, dtype)


def check_policies(strategy: Strategy) -> None:
    """Check that ``strategy`` meets failures as each policy says, or refuses it in words."""
    policy_laws.check_policies(strategy)


def check_model(model: Model, data: Dataset) -> None:
    """Check that the gradient of ``model`` is pure, repeatable and the slope of its loss."""
    task = Task(model=model, data=data, batch_size=3, dtype="float64")
    bench = Bench(task, seed=0, num_shards=2, device="cpu", fingerprint="")
    start, gradient = Initial(bench)(), Gradient(bench)
    assert torch.equal(start, Initial(bench)()), "the same seed must give the same start"
    # Off the start, where symmetric models such as logistic regression have special gradients.
    point = start + 0.01 * torch.randn(start.shape, generator=_dice(1), dtype=start.dtype)
    kept = point.clone()
    slope = gradient(point, 1, 0)
    assert torch.equal(point, kept), "an operation must not change its inputs"
    assert torch.equal(slope, gradient(point, 1, 0)), "the same inputs must give the same bits"
    direction = torch.randn(start.shape, generator=_dice(2), dtype=start.dtype)
    direction /= direction.norm()
    step = 1e-5
    batch = bench.batch(1, 0)
    measured = (
        _loss(bench, point + step * direction, batch)
        - _loss(bench, point - step * direction, batch)
    ) / (2 * step)
    assert abs(measured - float(slope @ direction)) <= 1e-6 * max(1.0, float(slope.norm()))


def check_dataset(data: Dataset, model: Model) -> None:
    """Check that batches are pure functions of the draw, of the asked size, from the own shard.

    The samples of a dataset that has a number of them are held to its own word on them.
    """
    task = Task(model=model, data=data, batch_size=5)

    def batch(rank: int, step: int) -> tuple[torch.Tensor, ...]:
        return task.batch(generator(0, "batch", rank, step), rank, (1,) * 4)

    assert all(len(each) == 5 for each in batch(0, 0)), "every tensor has one row per sample"
    assert _equal(batch(1, 2), batch(1, 2)), "the same draw must give the same batch"
    assert not _equal(batch(1, 2), batch(1, 3)), "another step must give another batch"
    assert not _equal(batch(1, 2), batch(2, 2)), "another rank must give another batch"
    parts = data.validation(4, model.length)
    assert parts, "there must be held-out data"
    assert all(map(_equal, parts, data.validation(4, model.length))), "held-out data must not vary"
    if isinstance(data, Samples):
        _check_samples(data, model.length)


def _check_samples(data: Samples, length: int) -> None:
    count = data.num_samples(length)
    both = data.take(np.array([count - 1, 0]), length)
    for index, place in ((count - 1, 0), (0, 1)):
        alone = data.take(np.array([index]), length)
        assert _equal(tuple(each[place : place + 1] for each in both), alone), (
            "a sample must be the same in any company"
        )
    if data.has_labels:
        labels = data.labels(length)
        assert labels.shape == (count,), "every sample has a label"
        assert np.issubdtype(labels.dtype, np.integer), "labels are whole numbers"


def check_sharding(sharding: Sharding) -> None:
    """Check that shards share no sample, leave none out, and are as large as they should be."""
    draw = generator(0, "law", 0, 0)
    for num_samples, num_labels, reach in ((1000, 10, 0), (97, 2, 0), (500, 3, 7)):
        labels = draw.integers(0, num_labels, num_samples)
        listing = Listing(num_samples, reach, labels if sharding.needs_labels else None)
        for weights in ((1, 1, 1, 1), (1,), (5, 1, 2)):
            shards = [list(shard) for shard in sharding.split(listing, weights)]
            again = [list(shard) for shard in sharding.split(listing, weights)]
            assert shards == again, "the same question must have the same shards"
            _check_shards(shards, listing, weights)


def _check_shards(shards: list[list[int]], listing: Listing, weights: tuple[int, ...]) -> None:
    apart = listing.reach + 1
    given = [
        (index + offset, rank)
        for rank, s in enumerate(shards)
        for index in s
        for offset in range(apart)
    ]
    owners: dict[int, int] = {}
    for place, rank in given:
        assert owners.setdefault(place, rank) == rank, "no two nodes may share anything"
    # What a reaching sample covers that no other may begin in can be left over at each border.
    total = listing.num_samples + listing.reach
    assert set(owners) <= set(range(total)), "there is no such sample"
    assert len(owners) >= total - listing.reach * (1 + len(weights)), "samples are left out"
    for rank, weight in enumerate(weights):
        size = sum(owner == rank for owner in owners.values())
        assert abs(size - total * weight / sum(weights)) <= 1 + 2 * apart, "a shard of another size"


def check_optimizer(optimizer: Optimizer) -> None:
    """Check that a step is pure, that its state can be passed along, and that it goes downhill."""
    task = Task(model=Quadratic(), data=Gaussian())
    step = Step(Bench(task, 0, 1, "cpu", ""), optimizer)
    start = torch.linspace(1, 2, 5)
    once = step(start, {}, start)
    assert torch.equal(start, torch.linspace(1, 2, 5)), "an operation must not change its inputs"
    assert (once[0] @ once[0]) < start @ start, "a small step along -x must shorten x"
    kept = {name: each.clone() for name, each in once[1].items()}
    as_long = [each for each in once[1].values() if each.numel() == start.numel()]
    assert len(as_long) == optimizer.memory_vectors, "it remembers as much as it says"
    twice = step(once[0], once[1], once[0])
    assert all(torch.equal(kept[name], each) for name, each in once[1].items()), "state changed"
    if optimizer.transforms or optimizer.schedule:
        return
    parameter = torch.nn.Parameter(start.clone())
    plain = optimizer.build([parameter])
    for _ in range(2):
        parameter.grad = parameter.detach().clone()
        plain.step()
    assert torch.equal(twice[0], parameter.detach()), "two steps differ from torch's own two"


def check_transform(transform: Transform) -> None:
    """Check that a transformation is pure, and that its memory is as large as it says."""
    x, first, second = torch.randn(3, 50, generator=_dice(0))

    def apply(gradient: torch.Tensor, memory: dict[str, torch.Tensor], step: int) -> Any:
        draw = generator(0, "law", 0, step) if transform.draws else None
        return transform.apply(gradient, x, memory, draw)

    kept = [x.clone(), first.clone(), second.clone()]
    once, memory = apply(first, {}, 0)
    assert once.shape == x.shape, "what comes out is as long as what goes in"
    assert once.dtype == x.dtype, "and of the same type"
    assert torch.isfinite(once).all()
    vectors = [each for each in memory.values() if each.numel() == x.numel()]
    assert len(vectors) == transform.state_vectors, "it remembers as much as it says"
    remembered = {name: each.clone() for name, each in memory.items()}
    twice, _ = apply(second, memory, 1)
    assert all(map(torch.equal, kept, [x, first, second])), "inputs must not change"
    assert all(torch.equal(each, memory[name]) for name, each in remembered.items()), (
        "what it remembered must not change"
    )
    assert torch.equal(twice, apply(second, memory, 1)[0]), "the same again must be the same bits"
    assert torch.equal(once, apply(first, {}, 0)[0]), "nothing may stay with it"


def check_schedule(schedule: Schedule) -> None:
    """Check that factors are finite and not negative, at each of its steps and in any order."""
    last = 10_000 if schedule.duration is None else schedule.duration
    steps = sorted({round(last * share / 50) for share in range(51)})
    for num_workers in (1, 8):
        factors = [schedule.factor_at(step, num_workers) for step in steps]
        assert all(math.isfinite(factor) and factor >= 0 for factor in factors), (
            "a learning rate is a finite number that isn't negative"
        )
        again = [schedule.factor_at(step, num_workers) for step in reversed(steps)]
        assert again == factors[::-1], "a factor depends on the step alone"


def check_aggregator(aggregator: Aggregator, num_vectors: int = 7) -> None:
    """Check that it is pure, treats workers alike, and stays among what they bring.

    It moves along with the vectors, and works on pieces of them if it says so.
    """
    aggregator.check("aggregator", num_vectors)
    vectors = torch.randn((num_vectors, 6), generator=_dice(3), dtype=torch.float64)
    samples = torch.arange(1.0, num_vectors + 1)
    kept = vectors.clone()
    result = _aggregated(aggregator, vectors, samples)
    assert torch.equal(vectors, kept), "an operation must not change its inputs"
    assert torch.equal(result, _aggregated(aggregator, vectors, samples)), "it must be repeatable"
    order = torch.randperm(num_vectors, generator=_dice(4))

    def check_same(other: torch.Tensor, what: str) -> None:
        assert torch.allclose(result, other, rtol=1e-12, atol=1e-12), what

    check_same(_aggregated(aggregator, vectors[order], samples[order]), "the order must not matter")
    check_same(_aggregated(aggregator, vectors + 3, samples) - 3, "it must move with the vectors")
    if not aggregator.reads_samples:
        check_same(_aggregated(aggregator, vectors, samples[order]), "it does read samples")
    low, high = vectors.min(dim=0).values - 1e-12, vectors.max(dim=0).values + 1e-12
    assert ((low <= result) & (result <= high)).all(), "it must stay among the vectors"
    if aggregator.is_entrywise:
        pieces = [_aggregated(aggregator, vectors[:, cut], samples) for cut in ([0], slice(1, 6))]
        check_same(torch.cat(pieces), "a piece of the result must need those pieces alone")


def _aggregated(
    aggregator: Aggregator, vectors: torch.Tensor, samples: torch.Tensor
) -> torch.Tensor:
    weights = aggregator.weights(samples.tolist())
    if weights is None:
        return Aggregate(aggregator)(*vectors)
    return torch.tensor(weights, dtype=vectors.dtype) @ vectors


def check_fault(fault: Fault) -> None:
    """Check that it changes what is computed but no time, alike each time and in each strategy."""
    changes: dict[str, Any] = {"stop": Stop(updates=fault.age + 4), "evaluate_every": 1}
    honest = run(small_scenario(Averaging(), **changes))
    changes["faults"] = (fault.model_copy(update={"nodes": (1,)}),)
    faulty = run(small_scenario(Averaging(), **changes))
    again = run(small_scenario(Averaging(), **changes), num_threads=3)
    assert again.evaluations == faulty.evaluations, "the same steps must be as wrong again"
    assert faulty.updates == honest.updates, "the clock must see nothing of it"
    assert faulty.summary["parameters_sha256"] != honest.summary["parameters_sha256"], "no effect"
    server = run(small_scenario(ParameterServer(combine="gradients"), **changes))
    for one, other in zip(faulty.evaluations, server.evaluations, strict=True):
        assert abs(one.loss - other.loss) <= 1e-9 * one.loss, "each strategy must meet the same"


def check_jitter(jitter: Jitter) -> None:
    """Check that factors are positive, the same when asked for again, and 1 on average.

    The average is over nodes and steps, since steps of one node may be correlated.
    """
    ranks = 200
    moments = [divmod(index, _SAMPLED_DRAWS // ranks) for index in range(_SAMPLED_DRAWS)]
    factors = np.array([jitter.factor(0, rank, step) for rank, step in moments])
    assert np.isfinite(factors).all(), "a step must end"
    assert (factors > 0).all(), "a step can't take no time"
    # In another order, and after others were asked for.
    for index in (_SAMPLED_DRAWS - 1, 5):
        assert factors[index] == jitter.factor(0, *moments[index]), "a draw must be repeatable"
    means = factors.reshape(ranks, -1).mean(axis=1)
    error = 4 * means.std() / ranks**0.5 + 1e-12
    assert abs(means.mean() - 1) <= error, f"the mean factor is {means.mean():.4f}, not 1"


def check_straggler(straggler: Straggler) -> None:
    """Check that factors are 1 or the slowdown, and the same in any order, for its nodes alone."""
    nodes = 4
    rare = straggler.model_copy(update={"nodes": (1, 2)})
    moments = [(rank, step) for step in range(500) for rank in range(nodes)]

    def factor(which: Straggler, moment: tuple[int, int]) -> float:
        return which.factor(0, "law", *moment, nodes)

    factors = [factor(straggler, moment) for moment in moments]
    assert set(factors) <= {1.0, straggler.slowdown}, "a step is slow or it isn't"
    assert straggler.slowdown in factors, "a straggler must be slow at some time"
    assert [factor(straggler, moment) for moment in reversed(moments)] == factors[::-1], (
        "the same step must be as slow whenever it is asked for"
    )
    for moment in moments:
        assert moment[0] in (1, 2) or factor(rare, moment) == 1, "a node that isn't named is slow"


def check_machine(machine: Machine) -> None:
    """Check that a step takes time, more work no less of it, and that memory isn't negative."""
    assert 0 < machine.step_ns(10**9) <= machine.step_ns(2 * 10**9)
    assert machine.memory_bytes is None or machine.memory_bytes > 0
    less = machine.model_copy(update={"memory": 10**6})
    assert less.memory_bytes == 10**6, "what a scenario says of memory counts"


def check_pricing(pricing: Pricing) -> None:
    """Check that it changes bytes, in proportion, and FLOPs, but nothing that is trained."""
    model = pricing.model
    assert min(model.num_parameters, model.flops, pricing.parameter_bytes) > 0
    by_tokens = pricing.model_copy(update={"tokens_per_sample": None})
    assert by_tokens.sample_flops(8) == (8 if model.unit == "token" else 1) * model.flops
    if model.unit == "token":
        pricing = pricing.model_copy(update={"tokens_per_sample": 3})
        assert pricing.sample_flops(8) == pricing.sample_flops(None) == 3 * model.flops
    strategy, stop = Averaging(), Stop(updates=3)
    plain = small_scenario(strategy, stop=stop)
    task = plain.task.model_copy(update={"priced_as": pricing})
    own, priced = run(plain), run(small_scenario(strategy, stop=stop, task=task))
    assert priced.summary["parameters_sha256"] == own.summary["parameters_sha256"]
    ratio = model.num_parameters * pricing.parameter_bytes / plain.task.vector_bytes
    for one, other in zip(own.messages, priced.messages, strict=True):
        # Each piece of a ring's vector is rounded by itself.
        assert abs(other.num_bytes - ratio * one.num_bytes) <= 8, "bytes must be in proportion"


_MACHINE = Fixed(step_time=20 * MS, jitter=LogNormal(sigma=0.3))


def small_scenario(strategy: Strategy, **changes: Any) -> Scenario:
    """Return a quadratic on four unequal machines with links that take about as long as a step."""
    described: dict[str, Any] = {
        "name": "law",
        "task": Task(
            model=Quadratic(dimension=2500, condition=2.0),
            data=Gaussian(),
            batch_size=1,
            optimizer=SGD(learning_rate=0.05),
            dtype="float64",
        ),
        "cluster": Cluster(
            nodes=4, machine=_MACHINE, stragglers=(Persistent(nodes=(3,), slowdown=2.5),)
        ),
        "network": Star(bandwidth=20 * 10**6, latency=2 * MS),
        "strategies": {"law": strategy},
        "evaluate_every": 4,
        "stop": Stop(samples=300),
        "seeds": (0,),
    }
    return Scenario(**{**described, **changes})


def run(scenario: Scenario, num_threads: int = 1, memo: Memo | None = None) -> Outcome:
    """Run the first strategy and seed of ``scenario`` in process, by default with an empty memo."""
    executor = ThreadExecutor(num_threads)
    try:
        strategy = next(iter(scenario.strategies))
        return simulate(scenario, strategy, scenario.seeds[0], executor, memo or Memo(None))
    finally:
        executor.close()


@st.composite
def small_scenarios(draw: st.DrawFn, strategy: st.SearchStrategy[Strategy]) -> Scenario:
    """Draw a scenario: a random quadratic on a random cluster and network."""
    nodes = draw(st.integers(1, 5))
    optima = draw(st.lists(st.floats(-2, 2), min_size=nodes, max_size=nodes))
    jitter = draw(st.sampled_from([Constant(), LogNormal(sigma=0.5), Exponential()]))
    machine = Fixed(step_time=draw(st.integers(1, 50)) * MS, jitter=jitter)
    slow = [Persistent(nodes=(nodes - 1,), slowdown=draw(st.floats(1, 5)))]
    star = Star(bandwidth=draw(st.integers(10**5, 10**9)), latency=draw(st.integers(0, 20)) * MS)
    ring = Ring(bandwidth=star.fastest_bps, latency=star.fastest_bps % 10**7, jitter=MS)
    model = Quadratic(
        dimension=draw(st.integers(1, 40)),
        optimum=tuple(optima),
        condition=draw(st.floats(1, 3)),
        noise=draw(st.sampled_from([0.0, 0.5])),
    )
    return small_scenario(
        draw(strategy),
        task=Task(
            model=model,
            data=Gaussian(),
            batch_size=draw(st.integers(1, 3)),
            optimizer=SGD(learning_rate=0.05),
            dtype="float64",
        ),
        cluster=Cluster(nodes=nodes, machine=machine, stragglers=tuple(slow)),
        network=draw(st.sampled_from([star, ring, Instant()])),
        evaluate_every=draw(st.integers(1, 4)),
        stop=Stop(updates=draw(st.integers(2, 12))),
        seeds=(draw(st.integers(0, 2**20)),),
    )


def _check_books(outcome: Outcome) -> None:
    """Versions count up, time never runs back, every byte sent arrives once, spans tile."""
    assert [update.update for update in outcome.updates] == list(
        range(1, len(outcome.updates) + 1)
    ), "versions must be published in turn"
    times = [update.time_ns for update in outcome.updates]
    assert times == sorted(times), "time ran back"
    assert all(update.staleness_updates >= 0 for update in outcome.updates)
    assert [message.number for message in outcome.messages] == list(range(len(outcome.messages)))
    end_ns = outcome.summary["end_ns"]
    for message in outcome.messages:
        arrived_ns = message.arrived_ns
        assert arrived_ns is None or message.sent_ns <= arrived_ns <= end_ns
    assert outcome.summary["payload_bytes"] == sum(each.num_bytes for each in outcome.messages)
    for node in range(outcome.summary["machines"]):
        spans = [span for span in outcome.spans if span.node == node]
        edges = [0, *(span.end_ns for span in spans)]
        assert [span.start_ns for span in spans] == edges[:-1], f"spans of node {node} don't tile"
        assert edges[-1] == end_ns


def _takes(strategy: Strategy, num_workers: int) -> bool:
    try:
        strategy.check(num_workers)
    except ValueError:
        return False
    return True


def _check_planning(scenario: Scenario, outcome: Outcome) -> None:
    """The clock plane alone gives the very times of the run, or says whose number it lacks."""
    simulation = Simulation(scenario, outcome.summary["strategy"], outcome.summary["seed"])
    try:
        while simulation.advance():
            pass
    except NoNumbersError:
        return
    planned = [(update.update, update.time_ns) for update in simulation.updates]
    assert planned == [(update.update, update.time_ns) for update in outcome.updates]


def _loss(bench: Bench, parameters: torch.Tensor, batch: tuple[torch.Tensor, ...]) -> float:
    module, _ = bench.module_with(parameters)
    return float(bench.task.model.loss(module, batch).detach())


def _dice(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _equal(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
