"""The pool of threads: the same as one by one, little memory, errors that arrive."""

import threading
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simbench.execution.operation import PureOperation
from simbench.execution.threads import ThreadExecutor, num_cores
from simbench.execution.values import Graph
from simbench.execution.vectorised import VectorisedExecutor


@pytest.fixture
def executor():
    pool = ThreadExecutor(2)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def pools():
    """One thread and four, for many examples."""
    both = ThreadExecutor(1), ThreadExecutor(4)
    yield both
    for pool in both:
        pool.close()


class Digits:
    """Writes its inputs down: the result tells the whole history."""

    name = identity = "digits"

    def __call__(self, *inputs):
        return "(" + ",".join(map(str, inputs)) + ")"


class Blocked:
    """Runs until it is released."""

    name = identity = "blocked"

    def __init__(self):
        self.running, self.released = threading.Event(), threading.Event()

    def __call__(self, *_):
        self.running.set()
        self.released.wait()
        return "released"


@given(st.lists(st.lists(st.integers(0, 40), max_size=3), min_size=1, max_size=40))
def test_any_number_of_threads_gives_what_one_by_one_gives(pools, shape):
    expected, results = [], []
    for number, inputs in enumerate(shape):
        given = [expected[i % number] for i in inputs] if number else []
        expected.append(Digits()(*given, number))

    for pool in pools:
        graph, recipes = Graph(), []
        for number, inputs in enumerate(shape):
            given = [recipes[i % number] for i in inputs] if number else []
            recipes.append(graph.recipe(Digits(), given, (number,)))
        futures = [pool.start(recipe) for recipe in reversed(recipes)]
        results.append([future.result() for future in reversed(futures)])

    assert results == [expected, expected]


def test_nothing_runs_twice(executor, make_sum):
    graph, add = Graph(), make_sum()
    x = graph.recipe(add, (), (1,))
    futures = [executor.start(graph.recipe(add, (x,), (n,))) for n in range(10, 50)]

    assert [future.result().value for future in futures] == list(range(11, 51))
    assert sorted(add.ran) == [1, *range(10, 50)]
    assert executor.operations_run == {"sum": 41}


@pytest.mark.parametrize("count", [8, 64, 256])
def test_a_mean_of_many_holds_about_log_n_of_them(make_sum, collected, count):
    graph, add = Graph(), make_sum()

    def tree(first, end):
        if end - first == 1:
            return graph.recipe(add, (), (first,))
        middle = (first + end + 1) // 2
        return graph.recipe(add, (tree(first, middle), tree(middle, end)))

    total = tree(0, count)
    pool = ThreadExecutor(1)
    result = pool.start(total).result().value
    pool.close()

    assert result == count * (count - 1) // 2
    assert len(add.ran) == 2 * count - 1
    assert add.most_alive <= count.bit_length() + 2
    assert collected(add) == 1


def test_a_result_is_freed_when_nobody_can_reach_it(make_sum, collected):
    graph, add = Graph(), make_sum()
    pool = ThreadExecutor(1)
    x = graph.recipe(add, (), (1,))
    held = [graph.hold(graph.recipe(add, (x,), (n,)), 0) for n in (10, 20)]
    for value in held:
        pool.start(value.recipe).result()
    pool.close()
    assert collected(add) == 3
    del x, value
    assert collected(add) == 2

    held.pop()

    assert collected(add) == 1


def test_an_idle_pool_keeps_nothing_alive(make_sum, collected):
    graph, add, pool = Graph(), make_sum(), ThreadExecutor(1)
    x = graph.recipe(add, (), (1,))
    total = graph.recipe(add, (x,))
    assert pool.start(total).result().value == 1
    with pool._changed:
        pass  # the thread lets go of its lock when it waits for more

    assert collected(add) == 2
    del x
    assert collected(add) == 1
    del total
    assert collected(add) == 0
    pool.close()


def test_an_error_reaches_whoever_waits_for_it(executor, make_sum, fail):
    graph = Graph()
    broken = graph.recipe(make_sum(), (graph.recipe(fail),))

    with pytest.raises(KeyError) as raised:
        executor.start(broken).result()

    assert raised.value.args == ("broken", 7)


def test_the_pool_goes_on_after_an_error(executor, make_sum, fail):
    graph = Graph()
    with pytest.raises(KeyError):
        executor.start(graph.recipe(fail)).result()

    assert executor.start(graph.recipe(make_sum(), (), (3,))).result().value == 3
    with pytest.raises(KeyError):
        executor.start(graph.recipe(fail)).result()


def test_what_is_cancelled_never_runs(make_sum):
    graph, add, blocked = Graph(), make_sum(), Blocked()
    pool = ThreadExecutor(1)
    first = pool.start(graph.recipe(blocked))
    behind = pool.start(graph.recipe(add, (), (1,)))
    blocked.running.wait()

    pool.cancel()
    blocked.released.set()

    assert first.cancelled()
    assert behind.cancelled()
    after = pool.start(graph.recipe(add, (), (2,)))
    assert after.result().value == 2
    assert add.ran == [2]
    pool.close()


def test_operations_run_side_by_side():
    graph, pool = Graph(), ThreadExecutor(2)
    meeting = threading.Barrier(2)

    class Meet:
        name = identity = "meet"

        def __call__(self, _):
            meeting.wait()

    futures = [pool.start(graph.recipe(Meet(), (), (n,))) for n in range(2)]

    assert [future.result() for future in futures] == [None, None]
    pool.close()


def test_closing_ends_the_threads_and_cancels_what_is_left(make_sum):
    graph, blocked = Graph(), Blocked()
    before = threading.active_count()
    pool = ThreadExecutor(1)
    pool.start(graph.recipe(blocked))
    blocked.running.wait()
    left = pool.start(graph.recipe(make_sum()))
    left.add_done_callback(lambda _: blocked.released.set())

    pool.close()

    with pytest.raises(CancelledError):
        left.result()
    assert not any(thread.is_alive() for thread in pool._threads)
    assert threading.active_count() == before


def test_each_operation_has_one_thread_of_torch():
    class Threads:
        name = identity = "threads"

        def __call__(self):
            return torch.get_num_threads()

    pool = ThreadExecutor(1)
    assert pool.start(Graph().recipe(Threads())).result() == 1
    pool.close()


def test_the_pool_describes_itself(executor):
    assert executor.device == "cpu"
    assert executor.description == "2 threads of this process on cpu"
    assert executor.fingerprint["device"] == "cpu"
    assert num_cores() >= 1


@dataclass(frozen=True)
class Times(PureOperation):
    """Its argument times a hundredth of the least number that is normal."""

    def __call__(self, factor):
        return float(torch.full((), 1.2e-38) * torch.full((), factor / 100))


@pytest.mark.parametrize("make", [lambda: ThreadExecutor(1), lambda: VectorisedExecutor("cpu")])
def test_a_number_too_small_to_be_normal_is_zero_there_and_nowhere_else(make):
    with closing(make()) as executor:
        results = [
            executor.start(Graph().recipe(Times(), (), (factor,))).result() for factor in (50, 200)
        ]

        assert executor.fingerprint["denormals"] == "zero"

    assert results == [0, pytest.approx(2.4e-38)]
    assert Times()(50) == pytest.approx(0.6e-38)
