"""Which operation goes next, whoever computes."""

from hypothesis import given
from hypothesis import strategies as st

from simbench.execution.schedule import Schedule
from simbench.execution.values import Graph


class Named:
    name = identity = "named"
    effort = "medium"

    def __call__(self, *_):
        return 0


def compute(schedule, task):
    recipe = task.recipe
    result = recipe.operation(*[each.result for each in recipe.inputs], *recipe.arguments)
    schedule.finish(task, result)
    if task.future is not None and not task.future.cancelled():
        task.future.set_result(result)


def drain(schedule):
    """Compute all that is ready; return the order."""
    order = []
    while task := schedule.take():
        order.append(task.recipe)
        compute(schedule, task)
    return order


def test_earlier_wishes_go_before_later_ones(make_sum):
    graph, schedule, add = Graph(), Schedule(), make_sum()
    first, second = (graph.recipe(add, (graph.recipe(add, (), (n,)),), (10,)) for n in (1, 2))

    schedule.want(second)
    schedule.want(first)

    assert [recipe.key for recipe in drain(schedule)][1::2] == [second.key, first.key]


def test_what_two_wishes_share_runs_once(make_sum):
    graph, schedule, add = Graph(), Schedule(), make_sum()
    shared = graph.recipe(add, (), (1,))
    futures = [schedule.want(graph.recipe(add, (shared,), (n,))) for n in (10, 20)]

    drain(schedule)

    assert [future.result().value for future in futures] == [11, 21]
    assert schedule.operations_run == {"sum": 3}


def test_the_same_input_twice_is_waited_for_once(make_sum):
    graph, schedule, add = Graph(), Schedule(), make_sum()
    x = graph.recipe(add, (), (2,))
    future = schedule.want(graph.recipe(add, (x, x)))

    drain(schedule)

    assert future.result().value == 4


def test_what_is_known_is_told_at_once(make_sum):
    graph, schedule = Graph(), Schedule()
    recipe = graph.recipe(make_sum())
    recipe.settle("known")

    assert schedule.want(recipe).result() == "known"
    assert schedule.take() is None


def test_the_same_wish_twice_is_one_future(make_sum):
    graph, schedule = Graph(), Schedule()
    recipe = graph.recipe(make_sum(), (), (1,))

    assert schedule.want(recipe) is schedule.want(recipe)


def test_operations_that_a_known_loss_had_passed_over_are_counted_when_they_run(make_sum):
    graph, schedule, add = Graph(), Schedule(), make_sum()
    over, plain = graph.recipe(add, (), (1,)), graph.recipe(add, (), (2,))
    over.passed_over = True

    schedule.want(graph.recipe(add, (over, plain)))
    drain(schedule)

    assert (schedule.operations_run, schedule.passed_over_run) == ({"sum": 3}, {"sum": 1})


@given(st.lists(st.lists(st.integers(0, 30), max_size=3), min_size=1, max_size=30))
def test_inputs_come_first(shape):
    graph, add = Graph(), Named()
    recipes = []
    for number, inputs in enumerate(shape):
        given = [recipes[i % number] for i in inputs] if number else []
        recipes.append(graph.recipe(add, given, (number,)))
    schedule = Schedule()
    rests_on = {recipe: set(recipe.inputs) for recipe in recipes}

    futures = [schedule.want(recipe) for recipe in recipes[-2:]]
    order = drain(schedule)

    assert len(order) == len(set(order))
    assert all(future.done() for future in futures)
    for place, recipe in enumerate(order):
        assert rests_on[recipe] <= set(order[:place])


def test_what_comes_from_elsewhere_is_waited_for_and_never_taken(make_sum):
    graph, schedule, add = Graph(), Schedule(), make_sum()
    expected = graph.recipe(add, (), (1,))
    total = graph.recipe(add, (expected,), (10,))
    schedule.expect(expected)
    future = schedule.want(total)
    assert schedule.take() is None

    schedule.arrive(expected, 5)

    assert drain(schedule) == [total]
    assert future.result().value == 15
    assert schedule.operations_run == {"sum": 1}


def test_what_arrives_after_clearing_disturbs_nothing(make_sum):
    graph, schedule = Graph(), Schedule()
    expected = graph.recipe(make_sum(), (), (1,))
    schedule.expect(expected)
    schedule.clear()

    assert schedule.arrive(expected, 5) is None
    assert expected.result == 5
    assert schedule.take() is None


def test_after_clearing_nothing_is_left_and_promises_are_returned(make_sum):
    graph, schedule, add = Graph(), Schedule(), make_sum()
    future = schedule.want(graph.recipe(add, (graph.recipe(add, (), (1,)),)))

    assert schedule.clear() == [future]
    assert schedule.take() is None
    assert schedule.clear() == []


def test_what_was_running_when_cleared_does_not_disturb_another_run_of_the_same_keys(make_sum):
    """Two strategies share keys: the first's last operation ends in the middle of the second."""
    add, schedule = make_sum(), Schedule()

    def chain(graph):
        return graph.recipe(add, (graph.recipe(add, (), (1,)),), (10,))

    schedule.want(chain(Graph()))
    left_over = schedule.take()
    schedule.clear()
    wanted = schedule.want(chain(Graph()))

    compute(schedule, left_over)
    drain(schedule)

    assert wanted.done()
    assert wanted.result().value == 11
