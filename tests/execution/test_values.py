"""Keys, interning, what stays in memory, and the order of evaluation."""

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.execution.values import GIVEN, PENDING, Graph, Operation, in_order


class Named:
    """An operation of which only the identity counts."""

    name = "named"

    def __init__(self, identity):
        self.identity = identity

    def __call__(self, *inputs):
        return inputs


ADD, MULTIPLY = Named("add"), Named("multiply")


@pytest.fixture
def graph():
    return Graph()


def leaf(graph, number=0):
    return graph.recipe(ADD, (), (number,))


def balanced(graph, leaves):
    if len(leaves) == 1:
        return leaves[0]
    middle = (len(leaves) + 1) // 2
    return graph.recipe(ADD, (balanced(graph, leaves[:middle]), balanced(graph, leaves[middle:])))


# -- keys


def test_a_key_depends_on_operation_arguments_and_inputs(graph):
    a, b = leaf(graph, 0), leaf(graph, 1)

    recipes = [
        graph.recipe(*what)
        for what in [
            (ADD,),
            (MULTIPLY,),
            (ADD, (), (1,)),
            (ADD, (), (1, 2)),
            (ADD, (), (12,)),
            (ADD, (), (2, 1)),
            (ADD, (a,)),
            (ADD, (b,)),
            (ADD, (a, b)),
            (ADD, (b, a)),
            (ADD, (a, a)),
            (ADD, (a, b), (1,)),
        ]
    ]

    assert len({recipe.key for recipe in recipes}) == len(recipes)


def test_a_key_does_not_depend_on_who_asked_nor_on_sizes(graph):
    first = graph.recipe(ADD, (leaf(graph),), home=0, num_bytes=4)

    assert graph.recipe(ADD, (leaf(graph),), home=5, num_bytes=8) is first
    assert first.home == 0


def test_a_key_is_the_same_in_every_graph(graph):
    other = Graph()

    ours, theirs = (g.recipe(ADD, (leaf(g, 3),), (1,)) for g in (graph, other))

    assert ours.key == theirs.key
    assert ours is not theirs


def test_a_key_rests_on_the_identity_and_not_on_the_object(graph):
    assert graph.recipe(Named("same")) is graph.recipe(Named("same"))


def test_a_key_does_not_change_when_inputs_are_computed(graph):
    x = leaf(graph)
    before = graph.recipe(ADD, (x,)).key

    x.settle("result")

    assert graph.recipe(ADD, (x,)).key == before


def test_an_operation_is_told_by_its_protocol(make_sum):
    assert isinstance(make_sum(), Operation)
    assert not isinstance(len, Operation)


# -- what is the same, and what stays


def test_equal_recipes_are_one_while_somebody_holds_them(graph):
    x = leaf(graph)

    assert graph.recipe(ADD, (x,)) is not graph.recipe(MULTIPLY, (x,))
    assert leaf(graph) is x


def test_a_recipe_that_nobody_holds_is_forgotten(graph):
    x = leaf(graph)
    forgotten = weakref.ref(graph.recipe(ADD, (x,)))

    gc.collect()

    assert forgotten() is None


def test_a_recipe_keeps_what_it_needs_until_it_is_computed(graph):
    x = leaf(graph)
    total = graph.recipe(ADD, (x,))
    kept = weakref.ref(x)
    del x
    gc.collect()
    assert kept() is not None

    total.settle(3)
    gc.collect()

    assert kept() is None
    assert total.inputs == ()
    assert total.result == 3


def test_live_is_what_handles_hold_and_not_what_recipes_rest_on(graph):
    x = leaf(graph)
    deep = graph.recipe(ADD, (graph.recipe(ADD, (x,)),))
    handles = [graph.hold(deep, 0), graph.hold(deep, 1), graph.hold(x, 0)]

    assert graph.live() == {deep, x}
    handles.clear()
    gc.collect()

    assert graph.live() == set()


def test_a_handle_tells_its_holder_its_key_and_its_size(graph):
    recipe = graph.recipe(ADD, num_bytes=400)

    value = graph.hold(recipe, 3)

    assert (value.holder, value.key, value.num_bytes) == (3, recipe.key, 400)
    assert repr(value) == f"Value(named, {recipe.key.hex()[:8]}, held by 3)"


def test_a_result_that_is_none_is_a_result(graph):
    x = leaf(graph)
    assert x.result is PENDING

    x.settle(None)

    assert list(in_order([x])) == []


# -- the order of evaluation


@st.composite
def graphs(draw):
    """Return recipes of a random graph, each resting on earlier ones."""
    graph = Graph()
    recipes = []
    for number in range(draw(st.integers(1, 25))):
        inputs = draw(st.lists(st.sampled_from(recipes), max_size=3)) if recipes else []
        recipes.append(graph.recipe(ADD, inputs, (number,)))
    for recipe in draw(st.lists(st.sampled_from(recipes), max_size=5)):
        recipe.result = "known"
    return recipes


@given(graphs(), st.data())
def test_inputs_come_first_each_once_and_nothing_needless(recipes, data):
    wanted = data.draw(st.lists(st.sampled_from(recipes), min_size=1, max_size=3))

    ordered = list(in_order(wanted))

    needed, stack = set(), [recipe for recipe in wanted if recipe.result is PENDING]
    while stack:
        recipe = stack.pop()
        needed.add(recipe)
        stack += [each for each in recipe.inputs if each.result is PENDING and each not in needed]
    assert len(ordered) == len(set(ordered))
    assert set(ordered) == needed
    for place, recipe in enumerate(ordered):
        assert all(each in ordered[:place] for each in recipe.inputs if each.result is PENDING)


def test_a_chain_of_200_000_does_not_exhaust_the_stack(graph):
    tip = leaf(graph)
    for number in range(200_000):
        tip = graph.recipe(ADD, (tip,), (number,))

    ordered = list(in_order([tip]))

    assert len(ordered) == 200_001
    assert ordered[-1] is tip
    assert [recipe.arguments for recipe in ordered[1:4]] == [(0,), (1,), (2,)]
    # Computed one by one, each forgets the one before it: freeing doesn't recurse either.
    for recipe in ordered:
        recipe.settle(0)


def test_a_chain_of_200_000_that_was_never_computed_can_be_dropped():
    graph = Graph()
    tip = leaf(graph)
    for number in range(200_000):
        tip = graph.recipe(ADD, (tip,), (number,))
    gone = weakref.ref(tip)

    del tip
    gc.collect()

    assert gone() is None


def test_what_lies_behind_a_known_result_is_not_visited(graph):
    behind = leaf(graph, 1)
    known = graph.recipe(ADD, (behind,))
    tip = graph.recipe(ADD, (known,))
    known.result = "known"

    assert list(in_order([tip])) == [tip]


@pytest.mark.parametrize("count", [2, 7, 64, 256])
def test_of_a_mean_about_log_n_are_held_at_a_time(graph, count):
    total = balanced(graph, [leaf(graph, number) for number in range(count)])
    done, most = set(), 0

    for recipe in list(in_order([total])):
        done.add(recipe)
        most = max(most, len(done))
        done -= set(recipe.inputs)

    assert most <= count.bit_length() + 1


def test_what_unfolds_does_so_once_and_when_somebody_asks_how(graph):
    start, made = leaf(graph), []

    def unfold():
        made.append(graph.recipe(MULTIPLY, (start, start)))
        return [made[-1], start]

    folded = graph.unfolding(ADD, (start,), (7,), unfold, num_bytes=8, home=1)

    assert graph.unfolding(ADD, (start,), (7,), unfold) is folded
    assert folded.key == graph.recipe(ADD, (start,), (7,)).key
    assert list(in_order([folded], rests_on=GIVEN)) == [start, folded]
    assert (folded.num_bytes, folded.home, made) == (8, 1, [])
    assert list(in_order([folded])) == [start, made[0], folded]
    assert folded.inputs == (made[0], start)
    assert len(made) == 1
    folded.settle(3)
    assert folded.inputs == folded.given == ()
