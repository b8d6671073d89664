"""The executor that joins calls: what runs together, in which order, and what nobody waits for."""

from concurrent.futures import CancelledError

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simbench.execution.threads import ThreadExecutor
from simbench.execution.values import Graph
from simbench.execution.vectorised import WIDEST, VectorisedExecutor


@pytest.fixture
def executor():
    one = VectorisedExecutor("cpu")
    yield one
    one.close()


class Digits:
    """Writes its inputs down: the result tells the whole history."""

    effort = "medium"

    def __init__(self, name):
        self.name = self.identity = name

    def __call__(self, *inputs):
        return f"{self.name}(" + ",".join(map(str, inputs)) + ")"


class Many(Digits):
    """The same, and several at once where the last argument is as even or odd; 0 stays alone."""

    def __init__(self, name):
        super().__init__(name)
        self.calls = []

    def alike(self, *inputs):
        return inputs[-1] % 2 if inputs[-1] else None

    def together(self, calls):
        self.calls.append([call[-1] for call in calls])
        return [self(*call) for call in calls]


def test_what_is_ready_runs_as_one_call(executor):
    graph, many = Graph(), Many("many")
    first = [graph.recipe(many, (), (n,)) for n in (1, 3, 5)]
    second = [graph.recipe(many, (each,), (n,)) for n, each in zip((7, 9, 11), first, strict=True)]

    result = executor.start(graph.recipe(Digits("all"), second)).result()

    assert result == "all(many(many(1),7),many(many(3),9),many(many(5),11))"
    assert many.calls == [[1, 3, 5], [7, 9, 11]]
    assert executor.operations_run == {"many": 6, "all": 1}
    assert executor.calls_run == {"many": 2, "all": 1}


def test_what_goes_alone_goes_first_since_others_may_wait_for_it(executor):
    graph, many, alone = Graph(), Many("many"), Digits("alone")
    ready = graph.recipe(many, (), (1,))
    soon = graph.recipe(many, (graph.recipe(alone),), (3,))

    executor.start(graph.recipe(alone, (ready, soon))).result()

    assert many.calls == [[1, 3]]


def test_a_call_is_no_wider_than_the_widest_and_only_the_alike_share_one(executor):
    graph, many = Graph(), Many("many")
    odd = [graph.recipe(many, (), (2 * n + 1,)) for n in range(WIDEST + 5)]
    executor.start(graph.recipe(Digits("all"), odd)).result()
    assert [len(call) for call in many.calls] == [WIDEST, 5]
    many.calls.clear()

    mixed = [graph.recipe(many, (), (n,)) for n in (1002, 1001, 0, 1004, 1003)]
    executor.start(graph.recipe(Digits("all"), mixed)).result()

    assert many.calls == [[1002, 1004], [1001, 1003]]
    assert executor.calls_run["many"] == 2 + 3


@given(st.lists(st.lists(st.integers(0, 40), max_size=3), min_size=1, max_size=40))
def test_the_same_comes_out_as_one_by_one(shape):
    results = []
    for pool in (ThreadExecutor(1), VectorisedExecutor("cpu")):
        graph, recipes = Graph(), []
        many, alone = Many("many"), Digits("alone")
        for number, inputs in enumerate(shape):
            given = [recipes[i % number] for i in inputs] if number else []
            recipes.append(graph.recipe((alone, many)[number % 3 > 0], given, (number,)))
        futures = [pool.start(recipe) for recipe in reversed(recipes)]
        results.append([future.result() for future in futures])
        assert sum(pool.operations_run.values()) == len(shape), "nothing runs twice"
        pool.close()

    assert results[0] == results[1]


def test_calls_depend_on_what_was_asked_for_and_not_on_who_waits_when():
    seen = []
    for waits_at_once in (False, True):
        graph, many, executor = Graph(), Many("many"), VectorisedExecutor("cpu")
        first = [graph.recipe(many, (), (n,)) for n in (1, 3)]
        second = [graph.recipe(many, (first[0],), (n,)) for n in (5, 7)]
        promises = [executor.start(graph.recipe(Digits("all"), first))]
        if waits_at_once:
            promises[0].result()
        promises.append(executor.start(graph.recipe(Digits("all"), second)))
        seen.append([promise.result() for promise in reversed(promises)])
        assert many.calls == [[1, 3], [5, 7]]
        executor.close()
    assert seen[0] == seen[1]


def test_nothing_is_computed_before_somebody_waits_and_what_is_cancelled_never(executor, make_sum):
    graph, add = Graph(), make_sum()
    cancelled = executor.start(graph.recipe(add, (), (1,)))
    assert add.ran == []

    executor.cancel()

    assert cancelled.cancelled()
    with pytest.raises(CancelledError):
        cancelled.result()
    recipe = graph.recipe(add, (), (2,))
    assert executor.start(recipe).result().value == 2
    assert executor.start(recipe).result().value == 2
    assert add.ran == [2]


def test_an_error_reaches_whoever_waits_and_the_executor_goes_on(executor, make_sum, fail):
    graph = Graph()
    broken = graph.recipe(make_sum(), (graph.recipe(fail),))

    with pytest.raises(KeyError) as raised:
        executor.start(broken).result()

    assert raised.value.args == ("broken", 7)
    assert executor.start(graph.recipe(make_sum(), (), (3,))).result().value == 3


def test_a_result_is_freed_when_nobody_can_reach_it(executor, make_sum, collected):
    graph, add = Graph(), make_sum()
    x = graph.recipe(add, (), (1,))
    held = [graph.hold(graph.recipe(add, (x,), (n,)), 0) for n in (10, 20)]
    for value in held:
        executor.start(value.recipe).result()
    assert collected(add) == 3
    del x, value
    assert collected(add) == 2

    held.pop()

    assert collected(add) == 1


def test_it_gives_its_threads_back_and_says_that_its_bits_are_its_own():
    torch.set_num_threads(2)
    try:
        executor = VectorisedExecutor("cpu")
        assert torch.get_num_threads() == 1
        executor.close()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    plain = ThreadExecutor(1)
    assert executor.fingerprint == plain.fingerprint | {"vectorised": "64 operations a call"}
    plain.close()
    assert executor.description == "cpu in this process, up to 64 operations a call"
