"""The words of a node, each in a simulation of a few nanoseconds, and the traps behind them."""

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.learning.operations import Cut
from simbench.network.topologies.star import Star
from simbench.scenario import Stop
from simbench.simulation import NoNumbersError

# 8 Gbit/s carries a byte in a nanosecond; a vector of 25 float32 takes 100.
STAR = Star(bandwidth=8 * 10**9, latency=7)
VECTOR = {"dimension": 25, "network": STAR}


def only(rank, part, *others):
    """Return a worker that plays ``part`` on node ``rank``; others do nothing, or ``others[0]``."""

    def worker(node):
        if node.rank == rank:
            yield from part(node)
        elif others:
            yield from others[0](node)

    return worker


# -- computing


def test_a_node_computes_one_thing_at_a_time_first_come_first_served(stage):
    log = []

    def worker(node):
        x = node.initial_state().parameters
        for name, work in [
            ("a", node.compute(5)),
            ("gradient", node.compute_gradient(x)),
            ("b", node.compute(3)),
        ]:
            work.callbacks.append(lambda _, name=name: log.append((name, node._clock.now_ns)))
        yield node.compute(1)
        log.append(("end", node._clock.now_ns))

    simulation = stage(worker, nodes=1, step_ns=10)

    assert log == [("a", 5), ("gradient", 15), ("b", 18), ("end", 19)]
    assert simulation.work == [(0, 0, 5), (0, 5, 15), (0, 15, 18), (0, 18, 19)]


def test_nodes_compute_side_by_side(stage):
    simulation = stage(lambda node: iter([node.compute(9)]), nodes=3)

    assert simulation.work == [(0, 0, 9), (1, 0, 9), (2, 0, 9)]


def test_each_gradient_of_a_node_is_of_its_next_batch(stage):
    gradients = []

    def worker(node):
        x = node.initial_state().parameters
        for _ in range(3):
            gradient = yield node.compute_gradient(x)
            gradients.append(gradient)

    stage(worker, nodes=2)

    assert sorted(value.recipe.arguments for value in gradients) == [
        (rank, step) for rank in range(2) for step in range(3)
    ]
    assert len({value.key for value in gradients}) == 6


def test_the_loss_of_the_next_batch_is_that_of_the_next_gradient_and_free(stage):
    def worker(node):
        x = node.initial_state().parameters
        for step in range(3):
            loss = node.loss_of_next_batch(x)
            assert loss.recipe.arguments == (node.rank, step)
            assert loss.num_bytes == node.vector_bytes(1) == 4
            gradient = yield node.compute_gradient(x)
            assert gradient.recipe.arguments == loss.recipe.arguments

    simulation = stage(worker, nodes=2, step_ns=10)

    assert simulation.clock.now_ns == 30


def test_the_optimiser_and_mixing_cost_no_virtual_time(stage):
    def worker(node):
        state = node.initial_state()
        gradient = yield node.compute_gradient(state.parameters)
        state = node.step(state, gradient)
        node.subtract(node.add(state.parameters, gradient), node.mix(gradient, state.parameters))

    assert stage(worker, nodes=1, step_ns=10).clock.now_ns == 10


# -- talking


def test_a_message_takes_latency_and_the_bytes_of_what_it_carries(stage):
    log = []

    def sender(node):
        x = node.initial_state().parameters
        node.send(1, x, tag="one")
        yield node.compute(1000)
        node.send(1, [x, x, x], tag="three")
        yield node.compute(1000)
        node.send(1, None, tag="none")

    def receiver(node):
        for _ in range(3):
            mail = yield node.receive()
            log.append((mail.tag, mail.sender, node._clock.now_ns, type(mail.body)))

    simulation = stage(only(0, sender, receiver), **VECTOR)

    assert [entry[:3] for entry in log] == [("one", 0, 107), ("three", 0, 1307), ("none", 0, 2007)]
    assert [message.num_bytes for message in simulation.world.messages] == [100, 300, 0]
    assert simulation.world.arrivals == {0: 107, 1: 1307, 2: 2007}
    assert simulation.world.payload_bytes == 400


def test_what_arrives_belongs_to_the_receiver_and_is_the_same_recipe(stage):
    sent, came = [], []

    def sender(node):
        sent.append(node.initial_state().parameters)
        node.send(1, sent)
        yield from ()

    def receiver(node):
        mail = yield node.receive()
        came.extend(mail.body)
        node.send(0, came[0])

    stage(only(0, sender, receiver))

    assert [value.holder for value in sent + came] == [0, 1]
    assert sent[0].recipe is came[0].recipe


def test_a_message_to_oneself_crosses_no_link_and_counts_no_bytes(stage):
    log = []

    def worker(node):
        node.send(0, node.initial_state().parameters)
        mail = yield node.receive()
        log.append((mail.sender, node._clock.now_ns))
        node.mix(mail.body)

    simulation = stage(only(0, worker), **VECTOR)

    assert log == [(0, 0)]
    assert simulation.world.payload_bytes == 0


def test_a_value_that_a_node_never_received_is_refused(stage):
    shared = []

    def thief(node):
        yield node.compute(1)
        node.compute_gradient(shared[0])

    def owner(node):
        shared.append(node.initial_state().parameters)
        yield from ()

    with pytest.raises(AssertionError, match=r"node 0 used Value.* which it never received"):
        stage(only(0, thief, owner))


@pytest.mark.parametrize(
    "use",
    [
        lambda node, x: node.send(1, x),
        lambda node, x: node.send(1, [x]),
        lambda node, x: node.all_reduce(x),
        lambda node, x: node.all_gather(x),
        lambda node, x: node.mix(x, x),
        lambda node, x: node.add(x, x),
        lambda node, x: node.cut(x, 8),
        lambda node, x: node.paste([x, x]),
        lambda node, x: node.compute_gradient(node.initial_state().parameters, add_to=x),
        lambda node, x: node.compute_step(node.initial_state().with_parameters(x)),
        lambda node, x: node.publish(x, 1),
        lambda node, x: node.observe(x),
        lambda node, x: node.loss_of_next_batch(x),
        lambda node, x: node.step(node.initial_state(), x),
        lambda node, x: node.step(node.initial_state().with_parameters(x), x),
    ],
)
def test_no_word_takes_what_belongs_to_another_node(stage, use):
    shared = []

    def worker(node):
        shared.append(node.initial_state().parameters)
        yield node.compute(1)
        if node.rank == 0:
            use(node, shared[1])

    with pytest.raises(AssertionError, match="never received"):
        stage(worker)


def test_equal_times_go_on_by_receiver_then_sender_then_number(stage):
    log = []

    def worker(node):
        x = node.initial_state().parameters
        for to in (2, 1, 0, 2):
            node.send(to, x, tag=str(to))
        while True:
            mail = yield node.receive()
            log.append((node._clock.now_ns, node.rank, mail.sender))

    stage(worker, nodes=3)

    assert log == [
        (0, to, sender) for to in range(3) for sender in range(3) for _ in range(1 + (to == 2))
    ]


def test_mails_from_each_come_in_the_order_of_the_senders(stage):
    got = []

    def worker(node):
        yield node.compute(10 - node.rank)
        node.send(node.server, node.initial_state().parameters, tag="push")
        yield node.compute(5)
        node.send(node.server, node.initial_state().parameters, tag="push")

    def server(node):
        for _ in range(2):
            mails = yield from node.receive_from_each(node.workers, "push")
            got.append(([mail.sender for mail in mails], node._clock.now_ns))

    stage(worker, server=server, nodes=3)

    assert got == [([0, 1, 2], 10), ([0, 1, 2], 15)]


# -- meeting


def test_an_all_reduce_starts_when_the_last_has_joined_and_ends_for_all_at_once(stage):
    log, means = [], []

    def worker(node):
        yield node.compute(100 * node.rank)
        mean = yield node.all_reduce((yield node.compute_gradient(node.initial_state().parameters)))
        means.append(mean)
        log.append((node.rank, node._clock.now_ns))

    stage(worker, nodes=2, step_ns=10, **VECTOR)

    assert log == [(0, 224), (1, 224)]  # 110, two hops of latency, 100 bytes
    assert means[0].key == means[1].key
    assert [value.holder for value in means] == [0, 1]


def test_the_mean_is_a_balanced_tree_over_ranks_whoever_joins_first(stage):
    def mean_key(order):
        means = []

        def worker(node):
            gradient = yield node.compute_gradient(node.initial_state().parameters)
            yield node.compute(order[node.rank])
            means.append((yield node.all_reduce(gradient)))

        stage(worker, nodes=4, until_still=True)
        return {value.key for value in means}

    assert mean_key([0, 1, 2, 3]) == mean_key([3, 1, 0, 2])
    assert len(mean_key([5, 5, 5, 5])) == 1


def test_the_mean_of_what_all_share_is_that_itself(stage):
    kept = []

    def worker(node):
        x = node.initial_state().parameters
        kept.append((x, (yield node.all_reduce(x))))

    stage(worker, nodes=3)

    assert all(mean.recipe is x.recipe for x, mean in kept)


def test_meetings_of_one_tag_follow_each_other_and_tags_do_not_meet(stage):
    log = []

    def worker(node):
        x = node.initial_state().parameters
        first, other, second = (node.all_reduce(x, tag) for tag in ("a", "b", "a"))
        for name, event in (("first", first), ("other", other), ("second", second)):
            event.callbacks.append(lambda _, name=name: log.append((name, node.rank)))
        yield node.compute(1)

    simulation = stage(worker, nodes=2)

    assert sorted(log) == [(name, rank) for name in ("first", "other", "second") for rank in (0, 1)]
    assert simulation.world.meetings == {}


def test_an_all_gather_brings_pieces_of_any_size_to_everybody_in_the_order_of_ranks(stage):
    log, kept = [], {}

    def worker(node):
        yield node.compute(100 - node.rank)
        x = node.initial_state().parameters
        piece = node.apply(Cut(), x, arguments=(0, node.rank), num_bytes=4 * node.rank)
        kept[node.rank] = yield node.all_gather(piece)
        log.append((node.rank, node._clock.now_ns))

    simulation = stage(worker, nodes=3, **VECTOR)

    keys = [value.key for value in kept[0]]
    assert [value.num_bytes for value in kept[0]] == [0, 4, 8]
    for rank, values in kept.items():
        assert [value.key for value in values] == keys
        assert {value.holder for value in values} == {rank}
    # Around the ring twice 7 ns, and first 8 bytes, then 8 bytes again: 1 ns each.
    assert log == [(rank, 100 + 2 * (7 + 8)) for rank in range(3)]
    sent = [(each.sender, each.num_bytes) for each in simulation.world.messages]
    assert sorted(sent) == [(0, 0), (0, 8), (1, 0), (1, 4), (2, 4), (2, 8)]
    assert {each.tag for each in simulation.world.messages} == {"all_gather"}


def test_equal_pieces_are_gathered_as_flows_in_the_time_of_the_ring(stage):
    log = []

    def worker(node):
        x = node.initial_state().parameters
        values = yield node.all_gather(x, among=range(1, 4)) if node.rank else node.compute(1)
        log.append((node.rank, node._clock.now_ns, values and len(values)))

    simulation = stage(worker, nodes=4, **VECTOR)

    # (p - 1) * latency + (p - 1) * 100 bytes.
    assert sorted(log) == [(0, 1, None)] + [(rank, 2 * (7 + 100), 3) for rank in (1, 2, 3)]
    assert [each.num_bytes for each in simulation.world.messages] == [200] * 3


# -- time


def test_a_wait_ends_after_what_arrives_at_that_moment(stage):
    log = []

    def waiter(node):
        over, news = node.wait(27), node.receive("news")
        winner = yield from node.race(over, news)
        log.append((winner is news, node.now_ns))
        yield over
        log.append((node.now_ns, over.value))
        winner = yield from node.race(node.receive("news"), node.wait(5))
        log.append((winner.value, node.now_ns))

    def sender(node):
        yield node.compute(20)
        node.send(0, None, tag="news")

    # The message arrives after 20 + 7.
    simulation = stage(only(0, waiter, sender), **VECTOR)

    assert log == [(True, 27), (27, None), (None, 32)]
    # Who has lost a race waits no longer.
    assert simulation.who_waits() == "every process has ended"


# -- racing


def test_a_race_is_won_by_the_first_and_the_work_that_lost_frees_the_processor(stage):
    log = []

    def racer(node):
        work, news = node.compute(1000), node.receive("news")
        winner = yield from node.race(work, news)
        log.append((winner is news, winner.value.tag, node._clock.now_ns))
        yield node.compute(5)
        log.append(node._clock.now_ns)

    def sender(node):
        yield node.compute(20)
        node.send(0, None, tag="news")

    simulation = stage(only(0, racer, sender))

    assert log == [(True, "news", 20), 25]
    assert [stretch for stretch in simulation.work if stretch[0] == 0] == [(0, 0, 20), (0, 20, 25)]


def test_a_message_that_lost_a_race_is_there_for_the_next_reader(stage):
    log = []

    def racer(node):
        news, work = node.receive("news"), node.compute(10)
        winner = yield from node.race(news, work)
        log.append(("work" if winner is work else "news", node._clock.now_ns))
        mail = yield node.receive("news")
        log.append((mail.tag, node._clock.now_ns))

    def sender(node):
        yield node.compute(20)
        node.send(0, None, tag="news")

    stage(only(0, racer, sender))

    assert log == [("work", 10), ("news", 20)]


@pytest.mark.parametrize("racer_rank", [0, 1])
@pytest.mark.parametrize("work_first", [True, False])
def test_at_the_same_nanosecond_nothing_is_lost(stage, racer_rank, work_first):
    """The trap: the message was handed out, the race went to the work, and all ended in silence."""
    log = []

    def racer(node):
        for _ in range(3):
            work, news = node.compute(20), node.receive("news")
            words = (work, news) if work_first else (news, work)
            winner = yield from node.race(*words)
            log.append(("work" if winner is work else "news", node._clock.now_ns))
            if winner is work:
                mail = yield node.receive("news")
                log.append((mail.tag, node._clock.now_ns))
            assert node.mailbox.readers == []
            yield node.compute(20 - node._clock.now_ns % 20)

    def sender(node):
        for _ in range(3):
            yield node.compute(20)
            node.send(racer_rank, None, tag="news")
            yield node.compute(20)

    simulation = stage(only(racer_rank, racer, sender))

    assert [at_ns for name, at_ns in log if name == "news"] == [20, 60, 100]
    # In the clock's order, work comes from the node itself: before a sender of higher rank.
    assert ("work" in dict(log)) == (racer_rank == 0)
    assert simulation.nodes[racer_rank].mailbox.unread == []


def test_a_message_that_goes_back_stays_before_those_that_came_later(stage):
    log = []

    def racer(node):
        yield node.compute(10)
        first, second = node.receive("a"), node.receive("b")
        winner = yield from node.race(first, second)
        log.append(winner.value.tag)
        for _ in range(2):
            mail = yield node.receive()
            log.append(mail.tag)

    def sender(node):
        for tag in ("b", "c", "a"):
            node.send(0, None, tag=tag)
        yield from ()

    stage(only(0, racer, sender))

    assert log == ["a", "b", "c"]


def test_words_that_are_done_before_the_race_win_in_the_order_of_the_call(stage):
    log = []

    def racer(node):
        slow, news = node.compute(1), node.receive("news")
        yield node.compute(5)
        winner = yield from node.race(news, slow)
        log.append(winner is news)

    def sender(node):
        node.send(0, None, tag="news")
        yield from ()

    stage(only(0, racer, sender))

    assert log == [True]


def test_work_that_lost_before_its_turn_never_runs(stage):
    def racer(node):
        busy = node.compute(10)
        queued, news = node.compute(100), node.receive("news")
        winner = yield from node.race(queued, news)
        assert winner is news
        yield busy
        yield node.compute(5)

    def sender(node):
        yield node.compute(3)
        node.send(0, None, tag="news")

    simulation = stage(only(0, racer, sender))

    assert [stretch for stretch in simulation.work if stretch[0] == 0] == [(0, 0, 10), (0, 10, 15)]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=8), st.integers(0, 2))
def test_whatever_races_every_message_is_read_once(stage, rounds, receiver):
    """Backup-worker style: work against news, at random and often equal times."""
    log = []

    def racer(node):
        while True:
            for work_ns, _ in rounds or [(1, 1)]:
                work, news = node.compute(work_ns), node.receive("news")
                if (yield from node.race(work, news)) is work:
                    news = node.receive("news")
                    yield news
                log.append(news.value.body)

    def sender(node):
        for _, pause_ns in rounds:
            yield node.compute(pause_ns)
            node.send(receiver, node.initial_state().parameters, tag="news")

    simulation = stage(only(receiver, racer, sender), nodes=3)

    assert len(log) == 2 * len(rounds)
    assert simulation.nodes[receiver].mailbox.unread == []


def test_one_process_can_do_several_things_at_once(stage):
    log = []

    def worker(node):
        def listen():
            mail = yield node.receive("news")
            log.append((mail.tag, node._clock.now_ns))
            return "heard"

        listening = node.start(listen())
        yield node.compute(10)
        node.send(node.rank, None, tag="news")
        log.append((yield listening))

    stage(worker, nodes=1)

    assert log == [("news", 10), "heard"]


# -- looking, publishing, getting stuck


def test_the_clock_alone_has_no_numbers_to_look_at(stage):
    def worker(node):
        gradient = yield node.compute_gradient(node.initial_state().parameters)
        node.observe(gradient)

    with pytest.raises(NoNumbersError, match=r"'script' looks at a number \(gradient\)"):
        stage(worker)


def test_a_sender_may_wait_until_its_message_has_arrived(stage):
    log = []

    def sender(node):
        gone = node.send(1, node.initial_state().parameters)
        yield node.compute(3)
        yield gone
        log.append(("arrived", node._clock.now_ns))

    def receiver(node):
        yield node.receive()
        log.append(("received", node._clock.now_ns))

    stage(only(0, sender, receiver), **VECTOR)

    assert sorted(log) == [("arrived", 107), ("received", 107)]


def test_a_message_that_lost_a_race_is_still_under_way(stage):
    log = []

    def sender(node):
        gone = node.send(1, node.initial_state().parameters)
        first = yield from node.race(gone, node.compute(3))
        log.append(first is gone)
        second = yield from node.race(gone, node.compute(1000))
        log.append(second is gone)

    def receiver(node):
        yield node.receive()
        log.append(node._clock.now_ns)

    stage(only(0, sender, receiver), **VECTOR)

    assert log[0] is False
    assert sorted(log[1:]) == [True, 107]


def test_pieces_are_pasted_at_equal_progress_when_the_last_server_has_published(stage):
    """The third server takes 3 times as long, and all hold the pieces of the model in turn."""

    def serve(node):
        index = node.servers.index(node.rank)
        for step in (1, 2):
            yield node.compute(10 * (1 + index))
            whole = node.mix(node.initial_state().parameters, weights=(float(step),))
            node.publish(node.split(whole, 3)[index], step, contributor=0, staleness=index)

    simulation = stage(
        lambda _: iter(()),
        server=serve,
        place=("own_machine", 0, "own_machine"),
        stop=Stop(updates=2),
        evaluate_every=1,
    )

    assert simulation.servers == (2, 0, 3)
    rows = [(row.time_ns, row.node, row.staleness_updates) for row in simulation.updates]
    assert rows == [(30, 0, 2), (60, 0, 2)]
    # Pasted again, they are the vector itself, after the one that is there before all.
    names = [version.recipe.inputs[0].operation.name for version in simulation.versions]
    assert names == ["initial", "initial", "mix"]


def test_a_strategy_with_several_servers_has_no_one_server(stage):
    with pytest.raises(AssertionError, match="this strategy has 2 servers"):
        stage(lambda node: iter([node.server]), server=lambda _: iter(()), place=(0, 1))


def test_replicas_are_averaged_at_equal_progress_when_the_last_has_published(stage):
    def worker(node):
        state = node.initial_state()
        for step in (1, 2, 3):
            yield node.compute(10 * (1 + node.rank))
            gradient = yield node.compute_gradient(state.parameters)
            state = node.step(state, gradient)
            node.publish(state.parameters, step)

    simulation = stage(worker, nodes=2, step_ns=1, stop=Stop(updates=2))

    assert [(update.update, update.time_ns) for update in simulation.updates] == [(1, 21), (2, 42)]
    assert simulation.ended_by == "updates"
    assert simulation.end_ns == 42


@pytest.mark.parametrize(("every", "kept"), [(1, True), (5, False)])
def test_only_a_replica_that_will_be_evaluated_is_kept_until_the_others_come(stage, every, kept):
    published = []

    def early(node):
        gradient = yield node.compute_gradient(node.initial_state().parameters)
        published.append(weakref.ref(gradient.recipe))
        node.publish(gradient, 1)

    # The simulation holds what waits for the other node.
    simulation = stage(only(0, early), evaluate_every=every)
    gc.collect()

    assert simulation.ended_by == "stuck"
    assert (published[0]() is not None) == kept


@pytest.mark.parametrize(
    ("worker", "complaint"),
    [
        (
            lambda node: iter([node.receive("model", sender=1)]),
            "node 0 for a message 'model' from node 1; node 1 for a message 'model' from node 1",
        ),
        (
            only(1, lambda node: iter([node.all_reduce(node.initial_state().parameters)])),
            "node 1 for nodes [0] to join 'all_reduce'",
        ),
        (only(0, lambda node: iter([node.compute(5)])), "every process has ended"),
    ],
    ids=["mail that never comes", "meeting that nobody joins", "all went home"],
)
def test_a_strategy_that_is_stuck_does_not_end_in_silence(stage, worker, complaint):
    simulation = stage(worker)

    assert simulation.ended_by == "stuck"
    assert simulation.who_waits() == complaint


def test_a_run_that_hits_its_budget_of_time_ends_at_it(stage):
    def worker(node):
        while True:
            yield node.compute(10)

    simulation = stage(worker, stop=Stop(virtual_time=35))

    assert (simulation.ended_by, simulation.end_ns) == ("virtual_time", 35)


def test_a_bug_in_a_strategy_is_raised_and_not_swallowed(stage):
    def worker(node):
        yield node.compute(1)
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        stage(worker)


def test_a_strategy_without_a_server_that_asks_for_it_is_told(stage):
    with pytest.raises(AssertionError, match="this strategy has no server"):
        stage(lambda node: iter([node.server]))
