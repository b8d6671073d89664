"""Buckets come out along the backward pass and travel while it goes on."""

import itertools
import math
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.fixed import Fixed
from simbench.cluster.stragglers.persistent import Persistent
from simbench.execution.memo import Memo
from simbench.execution.processes import ProcessExecutor
from simbench.execution.threads import ThreadExecutor
from simbench.network.collective import seconds
from simbench.network.collectives.all_reduce.ring import Ring
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.star import Star
from simbench.scenario import Stop
from simbench.scenario_file import ScenarioError, dump, load
from simbench.simulation import simulate
from simbench.strategies.averaging import Averaging
from simbench.strategy import Strategy
from simbench.testing import run, small_scenario

COMBINE = ["parameters", "gradients"]


def star(bytes_per_us, latency_ns=0):
    return Star(bandwidth=8 * bytes_per_us * 10**6, latency=latency_ns)


def ended(simulation):
    while simulation.advance():
        pass
    assert simulation.ended_by == "updates"
    return simulation


@pytest.fixture(scope="session")
def play(scenario, simulation):
    """Run ``strategy`` for some steps with 100 entries, a step of 900 ns and two nodes."""

    def playing(strategy, steps=1, **changes):
        described = {"dimension": 100, "step_ns": 900, "stop": Stop(updates=steps), **changes}
        return ended(simulation(scenario(strategies={"only": strategy}, **described)))

    return playing


# -- when


@pytest.mark.parametrize("combine", COMBINE)
@pytest.mark.parametrize(
    ("bytes_per_us", "end_ns"),
    [
        (1000, 900 + 40),  # as fast as they come out: the last of 10 sticks out
        (500, 300 + 60 + 10 * 80),  # slower: they queue up behind the first
        (667, 900 + 60),  # the border between the two: 40 bytes in the 60 ns of a bucket
    ],
)
def test_only_what_the_backward_pass_cannot_hide_sticks_out(play, combine, bytes_per_us, end_ns):
    done = play(Averaging(combine=combine, bucket=40), network=star(bytes_per_us))

    assert done.end_ns == end_ns
    assert len(done.world.messages) == 10 * 2
    assert done.world.payload_bytes == 2 * 400


@pytest.mark.parametrize("bucket", [None, 40, 400])
def test_with_a_share_of_nothing_all_buckets_are_out_at_the_end(scenario, simulation, bucket):
    machine = Fixed(step_time=900, jitter=Constant(), backward_share=0)
    described = scenario(
        dimension=100,
        network=star(1000),
        strategies={"only": Averaging(bucket=bucket)},
        stop=Stop(updates=1),
    ).model_copy(update={"cluster": Cluster(nodes=2, machine=machine)})

    assert ended(simulation(described)).end_ns == 900 + 400


@pytest.mark.parametrize("combine", COMBINE)
@pytest.mark.parametrize("period", [1, 3])
def test_a_bucket_that_holds_all_is_all_at_the_end(play, combine, period):
    def books(bucket):
        strategy = Averaging(combine=combine, period=period, bucket=bucket)
        done = play(strategy, steps=6, network=star(1000, 7))
        return done.world.messages, done.world.arrivals, done.updates, list(done.work), done.end_ns

    assert books(400) == books(10**9) == books(None)


def test_each_bucket_costs_the_latency_of_an_all_reduce(play):
    done = play(Averaging(bucket=100), network=star(1000, 500))

    assert done.end_ns == 300 + 150 + 4 * (2 * 500 + 100)


@pytest.mark.parametrize("combine", COMBINE)
def test_only_the_last_step_of_a_period_talks(play, combine):
    strategy = Averaging(combine=combine, period=4, bucket=40)
    done = play(strategy, steps=8, network=star(1000))

    assert done.end_ns == 2 * (4 * 900 + 40)
    sent = sorted({message.sent_ns for message in done.world.messages})
    assert sent == [
        start_ns + 3 * 900 + 300 + 60 * k for start_ns in (0, 3640) for k in range(1, 11)
    ]


@given(
    dimension=st.integers(1, 60),
    bucket=st.integers(1, 300),
    step_ns=st.integers(1, 5000),
    share=st.floats(0, 1),
    slowdown=st.sampled_from([1.0, 1.5, 4.0]),
    bytes_per_us=st.integers(1, 2000),
    latency_ns=st.integers(0, 50),
    nodes=st.integers(2, 4),
)
def test_buckets_queue_up_whatever_the_sizes(
    scenario,
    simulation,
    dimension,
    bucket,
    step_ns,
    share,
    slowdown,
    bytes_per_us,
    latency_ns,
    nodes,
):
    """An all-reduce begins when the one before is done and the slowest node has the bucket."""
    network = star(bytes_per_us, latency_ns)
    machine = Fixed(step_time=step_ns, jitter=Constant(), backward_share=share)
    slow = (Persistent(nodes=(1,), slowdown=slowdown),)
    described = scenario(
        nodes=nodes,
        network=network,
        dimension=dimension,
        strategies={"only": Averaging(bucket=bucket)},
        stop=Stop(updates=1),
    ).model_copy(update={"cluster": Cluster(nodes=nodes, machine=machine, stragglers=slow)})

    done = ended(simulation(described))

    entries = max(1, bucket // 4)
    sizes = [4 * min(entries, dimension - at) for at in range(0, dimension, entries)]
    slowest_ns = max(1, round(step_ns * slowdown))
    free_ns, out = 0, 0
    for size in sizes:
        out += size
        ready_ns = slowest_ns - round(slowest_ns * share) * (1 - out / (4 * dimension))
        cost_ns = round(seconds(Ring(), size, range(nodes), network) * 1e9)
        free_ns = max(free_ns, math.ceil(round(ready_ns, 3))) + cost_ns
    assert abs(done.end_ns - free_ns) <= 2 * len(sizes)
    assert done.world.payload_bytes == sum(2 * (nodes - 1) * size for size in sizes)


@pytest.mark.parametrize("combine", COMBINE)
def test_without_a_network_overlap_changes_no_time(play, combine):
    assert play(Averaging(combine=combine, bucket=4), steps=3, network=Instant()).end_ns == 2700


# -- what


@pytest.mark.parametrize("combine", COMBINE)
@pytest.mark.parametrize("period", [1, 3])
@pytest.mark.parametrize("bucket", [1000, 3001, 19_999])
def test_training_is_the_same_bits_and_is_never_done_twice(combine, period, bucket):
    def scenario(bucket):
        strategy = Averaging(combine=combine, period=period, bucket=bucket)
        return small_scenario(strategy, stop=Stop(updates=6))

    memo = Memo(None)
    whole = run(scenario(None), memo=memo)
    cut = run(scenario(bucket))
    known = run(scenario(bucket), memo=memo)

    assert [each.loss for each in cut.evaluations] == [each.loss for each in whole.evaluations]
    assert cut.summary["parameters_sha256"] == whole.summary["parameters_sha256"]
    assert cut.summary["payload_bytes"] == whole.summary["payload_bytes"]
    assert len(cut.messages) == len(whole.messages) * math.ceil(2500 / (bucket // 8))
    assert not cut.known
    assert known.evaluations == cut.evaluations
    assert known.known["gradient"] == 6 * 4


@pytest.mark.parametrize("bucket", [None, 3001])
def test_a_step_on_the_mean_of_equal_gradients_is_a_step_on_one(bucket):
    """Without noise, all gradients that a node gathers at one point are the same."""

    def last_loss(period):
        strategy = Averaging(combine="gradients", period=period, bucket=bucket)
        stop = Stop(updates=2 * period)
        return run(small_scenario(strategy, evaluate_every=period, stop=stop)).evaluations[-1].loss

    assert last_loss(4) == pytest.approx(last_loss(1), rel=1e-12)


def test_buckets_hand_out_the_end_of_the_vector_first(stage):
    log = []

    def worker(node):
        state = node.initial_state()
        computing = node.compute_gradient(state.parameters, bucket_bytes=16)
        for bucket in computing.buckets:
            piece = yield bucket
            log.append((node._clock.now_ns, piece.recipe.arguments, piece.num_bytes, piece.holder))
        gradient = yield computing
        assert gradient.recipe is piece.recipe.inputs[0]
        log.append((node._clock.now_ns, gradient.num_bytes))

    stage(worker, nodes=1, dimension=10, step_ns=30)

    # Forward until 10; entries 6 to 10 after 4/10 of the backward pass.
    assert log == [(18, (6, 10), 16, 0), (26, (2, 6), 16, 0), (30, (0, 2), 8, 0), (30, 40)]


def test_a_piece_is_held_from_when_it_is_out_until_it_is_sent(stage):
    """What is live is kept with a moment: the whole vector will do."""
    log = []

    def worker(node):
        def num_held():
            live = node._training.graph.live()
            log.append(sum(recipe.operation.name == "cut" for recipe in live))

        computing = node.compute_gradient(node.initial_state().parameters, bucket_bytes=16)
        num_held()
        yield computing.buckets[0]
        num_held()
        yield from node.all_reduce_buckets(computing)
        yield node.compute(1)
        num_held()

    stage(worker, nodes=1)

    assert log == [0, 1, 0]


def test_a_step_in_buckets_gives_the_state_that_the_step_gives(stage):
    log = []

    def worker(node):
        state = node.initial_state()
        stepped = yield node.compute_step(state, bucket_bytes=16)
        gradient = node._training.gradient(state.parameters.recipe, 0, 0)
        expected = node.step(state, node.hold(gradient))
        log.append((stepped.parameters.key, stepped.optimizer.key))
        log.append((expected.parameters.key, expected.optimizer.key))

    stage(worker, nodes=1)

    assert log[0] == log[1]


def test_a_gradient_is_added_to_those_of_earlier_batches(stage):
    log = []

    def worker(node):
        x = node.initial_state().parameters
        first = yield node.compute_gradient(x)
        computing = node.compute_gradient(x, bucket_bytes=16, add_to=first)
        both = yield computing
        second = node._training.gradient(x.recipe, 0, 1)
        log.append(both.key == node.add(first, node.hold(second)).key)
        log.append([bucket.value.recipe.inputs[0] is both.recipe for bucket in computing.buckets])

    stage(worker, nodes=1)

    assert log == [True, [True] * 3]


def test_pieces_travel_and_are_pasted_elsewhere(stage):
    """A message has the size of a piece, and fragments of different nodes make a vector."""
    log = []

    def worker(node):
        x = node.initial_state().parameters
        gradient = yield node.compute_gradient(x)
        first, second = node.cut(gradient, 20)
        node.send(1 - node.rank, second, tag="half")
        mail = yield node.receive("half")
        log.append((node.paste([first, mail.body]).num_bytes, node.paste([first, second]).key))
        log.append(gradient.key)

    simulation = stage(worker, dimension=10)

    assert [message.num_bytes for message in simulation.world.messages] == [20, 20]
    assert log[0] == (40, log[1])
    assert log[2] == (40, log[3])


class Halves(Strategy):
    """Sends the second of three pieces to the next node, and pastes a mixture into its own."""

    kind: Literal["halves"] = "halves"
    counts: ClassVar[Literal["steps", "updates"]] = "steps"

    @property
    def server_place(self):
        return None

    def work(self, node):
        state = node.initial_state()
        for step in itertools.count(1):
            state = yield node.compute_step(state)
            pieces = node.cut(state.parameters, 7000)
            node.send((node.rank + 1) % len(node.workers), pieces[1], tag=f"{step}")
            mail = yield node.receive(f"{step}")
            pieces[1] = node.mix(pieces[1], mail.body, weights=(0.3, 0.7))
            state = state.with_parameters(node.paste(pieces))
            node.publish(state.parameters, progress=step)


def test_what_is_really_cut_has_the_same_bits_in_other_processes():
    scenario = small_scenario(Halves(), stop=Stop(updates=4))
    outcomes = []
    for executor in (ThreadExecutor(3), ProcessExecutor(2)):
        try:
            outcomes.append(simulate(scenario, "law", 0, executor, Memo(None)))
            run_here = executor.operations_run
        finally:
            executor.close()
        assert (run_here["cut"], run_here["paste"]) == (4 * 4 * 3, 4 * 4)

    assert outcomes[0].evaluations == outcomes[1].evaluations
    assert outcomes[0].summary == outcomes[1].summary


# -- what is told


def test_a_node_computes_while_its_buckets_travel(play):
    done = play(Averaging(bucket=200), network=star(500))

    # Out at 600 and 900, 400 ns each.
    assert [(m.sent_ns, done.world.arrivals[m.number]) for m in done.world.messages] == [
        *[(600, 1000)] * 2,
        *[(1000, 1400)] * 2,
    ]
    spans = done.spans_until(done.end_ns, done.messages_until(done.end_ns))
    assert [tuple(span)[2:] for span in spans] == [
        (rank, *span)
        for rank in (0, 1)
        for span in [("compute", 0, 900), ("send+receive", 900, 1400)]
    ]


# -- as users write it

FILE = """\
name: overlap
cluster: {nodes: 4, machine: {kind: fixed, backward_share: SHARE}}
strategies:
  overlapped: {kind: averaging, combine: gradients, bucket: BUCKET}
stop: {updates: 3}
"""


def written(folder, bucket="25 MiB", share="0.5"):
    file = folder / "scenario.yaml"
    file.write_text(FILE.replace("BUCKET", bucket).replace("SHARE", share))
    return file


def test_a_bucket_and_a_share_survive_being_written_and_read(tmp_path):
    scenario = load(written(tmp_path))
    (tmp_path / "again.yaml").write_text(dump(scenario))

    assert scenario.strategies["overlapped"].bucket == 25 * 2**20
    assert scenario.cluster.machine.backward_share == 0.5
    assert load(tmp_path / "again.yaml") == scenario


@pytest.mark.parametrize("bucket", ["25", "0 B", "25 Mbit"])
def test_a_bucket_is_a_size(tmp_path, bucket):
    with pytest.raises(ScenarioError, match=r"strategies\.overlapped\.bucket: "):
        load(written(tmp_path, bucket=bucket))


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_between_nothing_and_all(share):
    with pytest.raises(ValidationError, match="backward_share"):
        Fixed(backward_share=share)
