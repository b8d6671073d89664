"""What may be overwritten: the results of any graph are what they are without."""

import functools
import pickle
import threading
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simbench.execution import actor
from simbench.execution.spent import overwrites, spent
from simbench.execution.threads import ThreadExecutor
from simbench.execution.values import Recipe
from simbench.learning.operations import Item, Mix


class Start:
    name = "start"
    effort = "medium"
    identity = "start"

    def __call__(self, number):
        return torch.tensor([float(number), 1.0]), {"memory": torch.zeros(2), "count": 0}


SAME = Mix((1.0,))
"""Returns the very vector that it was given."""


class Advance:
    """A step that remembers: in place where it may be."""

    name = "advance"
    effort = "medium"
    identity = "advance"

    def __init__(self):
        self.num_spared = 0

    def __call__(self, vector, state, other):
        memory = state["memory"] + other
        return vector + memory, {"memory": memory, "count": state["count"] + 1}

    def overwrite(self, spent, vector, state, other):
        self.num_spared += sum(spent[:2])
        memory = state["memory"] if spent[1] else state["memory"].clone()
        vector = vector if spent[0] else vector.clone()
        memory += other
        vector += memory
        return vector, {"memory": memory, "count": state["count"] + 1}


class Program:
    """Recipes by number, as an actor has them, until they are dropped."""

    def __init__(self):
        self.recipes = []

    def note(self, operation, *inputs, arguments=()):
        key = len(self.recipes).to_bytes(8, "big")
        given = tuple(self.recipes[each] for each in inputs)
        self.recipes.append(Recipe(operation, given, arguments, key, 0, 0))
        return len(self.recipes) - 1


STEPS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.booleans()),
    min_size=1,
    max_size=12,
)


def results(steps, kept, advance, *, is_sole_owner, threads=1):
    """Return the vectors of what is ``kept``, after steps on any vector and state before them."""
    program = Program()
    vectors, states = [], []
    for number in range(2):
        both = program.note(Start(), arguments=(number,))
        vectors.append(program.note(Item(0), both))
        states.append(program.note(Item(1), both))
    for vector, state, other, is_renamed in steps:
        both = program.note(
            advance,
            vectors[-1 - vector % len(vectors)],
            states[-1 - state % len(states)],
            vectors[-1 - other % len(vectors)],
        )
        vectors.append(program.note(Item(0), both))
        if is_renamed:
            vectors.append(program.note(SAME, vectors[-1]))
        states.append(program.note(Item(1), both))
    wanted = {vectors[-1 - each % len(vectors)] for each in kept} | {vectors[-1]}
    keep = [program.recipes[each] for each in sorted(wanted)]
    pool = ThreadExecutor(threads, is_sole_owner=is_sole_owner)
    try:
        program.recipes.clear()
        promises = [pool.start(each) for each in keep]
        return [promise.result().tolist() for promise in promises]
    finally:
        pool.close()


@given(STEPS, st.lists(st.integers(0, 20), max_size=3))
@pytest.mark.parametrize("threads", [1, 3])
def test_whatever_is_overwritten_results_are_the_same(threads, steps, kept):
    there = functools.partial(results, steps, kept, Advance())
    assert there(is_sole_owner=True, threads=threads) == there(is_sole_owner=False)


def test_a_chain_of_steps_copies_nothing_but_what_is_read_again():
    advance = Advance()
    # Each step adds the vector before the last: the first of all, and then what the last read.
    chain = [(0, 0, 1, False) for _ in range(5)]
    results(chain, [], advance, is_sole_owner=True)
    # States are always spent, and vectors only in the end, when there is no other step to come.
    assert advance.num_spared == 5 + 1
    others = Advance()
    results(chain, [], others, is_sole_owner=False)
    assert others.num_spared == 0


def test_what_somebody_refers_to_is_not_spent():
    advance = Advance()
    vector, state, other = (Recipe(None, (), (), bytes([each]), 0, 0) for each in range(3))
    vector.settle(torch.zeros(2))
    state.settle({"memory": torch.zeros(2)})
    other.settle(torch.zeros(2))
    recipe = Recipe(advance, (vector, state, other), (), b"3", 0, 0)
    assert overwrites(advance)
    assert not overwrites(SAME)
    assert spent(recipe) == [False, False, False]
    del vector
    assert spent(recipe) == [True, False, False]
    seen = recipe.inputs[0].result
    assert spent(recipe) == [False, False, False]
    del seen, other
    assert spent(recipe) == [True, False, True]
    memory = state.result["memory"]
    del state
    assert spent(recipe) == [True, False, True]
    del memory
    assert spent(recipe) == [True, True, True]


def test_the_same_input_twice_is_not_spent():
    vector = Recipe(None, (), (), b"0", 0, 0)
    vector.settle(torch.zeros(2))
    recipe = Recipe(Advance(), (vector, vector), (), b"1", 0, 0)
    del vector
    assert spent(recipe) == [False, False]


class Later(Start):
    """Waits until the program that asks for it has been read to its end."""

    may_begin: ClassVar = threading.Event()

    def __call__(self, number):
        assert self.may_begin.wait(timeout=60)
        return super().__call__(number)


class Told(Advance):
    """Remembers in its class, since an actor has a copy of it."""

    all_spared: ClassVar = []

    def overwrite(self, spent, vector, state, other):
        self.all_spared.append(tuple(spent))
        return super().overwrite(spent, vector, state, other)


def test_an_actor_overwrites_what_no_later_program_will_name():
    """A start, its two parts, and five steps on them that each add the vector before."""
    operations = {0: Later(), 1: Item(0), 2: Item(1), 3: Told()}
    tasks = [(0, 0, [], (1,), False), (1, 1, [0], (), False), (2, 2, [0], (), False)]
    vectors, state = [1, 1], 2
    for step in range(5):
        slot = 3 + 3 * step
        tasks.append((slot, 3, [vectors[-1], state, vectors[-2]], (), False))
        tasks += [(slot + 1, 1, [slot], (), False), (slot + 2, 2, [slot], (), False)]
        vectors, state = [*vectors, slot + 1], slot + 2
    here = actor.Actor("127.0.0.1")
    last = vectors[-1]
    dropped = [task[0] for task in tasks if task[0] != last]
    program = actor.Program(0, operations, tasks=tasks, wanted=[last], dropped=dropped)

    here.extend(pickle.dumps(program))
    Later.may_begin.set()
    _, slot, error, found = pickle.loads(next(here.news()))  # noqa: S301 - it is our own
    here._pool.close()
    here._wires.close()

    assert (slot, error) == (last, None)
    values, memory = [torch.ones(2)] * 2, torch.zeros(2)
    for _ in range(5):
        memory = memory + values[-2]
        values.append(values[-1] + memory)
    assert found.tolist() == values[-1].tolist()
    # Its vector is read by the next step as well, but for the last one; its state never is.
    assert Told.all_spared == [(False, True, False), *[(False, True, True)] * 3, (True, True, True)]
