"""Which operation goes next, whoever computes."""

from hypothesis import given
from hypothesis import strategies as st

from simbench.execution.schedule import Schedule
from simbench.execution.values import Graph


class Named:
    name = identity = "named"

    def __call__(self, *_):
        return 0


def compute(schedule, task):
    recipe = task.recipe
    result = recipe.operation(*[each.result for each in recipe.inputs], *recipe.arguments)
    schedule.finish(task, result)
    if task.future is not None and not task.future.cancelled():
        task.future.set_result(result)


def drain(schedule, lanes=1):
    """Compute all that is ready, lane by lane; return the order."""
    order = []
    while tasks := [task for lane in range(lanes) if (task := schedule.take(lane))]:
        for task in tasks:
            order.append(task.recipe)
            compute(schedule, task)
    return order


def one_lane():
    return Schedule(1, lane_of=lambda _: 0)


def test_earlier_wishes_go_before_later_ones(make_sum):
    graph, schedule, add = Graph(), one_lane(), make_sum()
    first, second = (graph.recipe(add, (graph.recipe(add, (), (n,)),), (10,)) for n in (1, 2))

    schedule.want(second)
    schedule.want(first)

    assert [recipe.key for recipe in drain(schedule)][1::2] == [second.key, first.key]


def test_what_two_wishes_share_runs_once(make_sum):
    graph, schedule, add = Graph(), one_lane(), make_sum()
    shared = graph.recipe(add, (), (1,))
    futures = [schedule.want(graph.recipe(add, (shared,), (n,))) for n in (10, 20)]

    drain(schedule)

    assert [future.result().value for future in futures] == [11, 21]
    assert schedule.operations_run == {"sum": 3}


def test_the_same_input_twice_is_waited_for_once(make_sum):
    graph, schedule, add = Graph(), one_lane(), make_sum()
    x = graph.recipe(add, (), (2,))
    future = schedule.want(graph.recipe(add, (x, x)))

    drain(schedule)

    assert future.result().value == 4


def test_what_is_known_is_told_at_once(make_sum):
    graph, schedule = Graph(), one_lane()
    recipe = graph.recipe(make_sum())
    recipe.settle("known")

    assert schedule.want(recipe).result() == "known"
    assert schedule.take(0) is None


def test_the_same_wish_twice_is_one_future(make_sum):
    graph, schedule = Graph(), one_lane()
    recipe = graph.recipe(make_sum(), (), (1,))

    assert schedule.want(recipe) is schedule.want(recipe)


def test_operations_that_a_known_loss_had_passed_over_are_counted_when_they_run(make_sum):
    graph, schedule, add = Graph(), one_lane(), make_sum()
    over, plain = graph.recipe(add, (), (1,)), graph.recipe(add, (), (2,))
    over.passed_over = True

    schedule.want(graph.recipe(add, (over, plain)))
    drain(schedule)

    assert (schedule.operations_run, schedule.passed_over_run) == ({"sum": 3}, {"sum": 1})


@given(st.lists(st.lists(st.integers(0, 30), max_size=3), min_size=1, max_size=30), st.data())
def test_inputs_come_first_on_any_number_of_lanes(shape, data):
    lanes = data.draw(st.integers(1, 3))
    graph, add = Graph(), Named()
    recipes = []
    for number, inputs in enumerate(shape):
        given = [recipes[i % number] for i in inputs] if number else []
        recipes.append(graph.recipe(add, given, (number,), home=number))
    schedule = Schedule(lanes, lane_of=lambda recipe: recipe.home % lanes)
    rests_on = {recipe: set(recipe.inputs) for recipe in recipes}

    futures = [schedule.want(recipe) for recipe in recipes[-2:]]
    order = drain(schedule, lanes)

    assert len(order) == len(set(order))
    assert all(future.done() for future in futures)
    for place, recipe in enumerate(order):
        assert rests_on[recipe] <= set(order[:place])


def test_lanes_in_order_may_be_given_what_rests_on_what_has_begun(make_sum):
    graph, add = Graph(), make_sum()
    schedule = Schedule(2, lane_of=lambda recipe: recipe.home)
    x = graph.recipe(add, (), (1,), home=0)
    here, there = (graph.recipe(add, (x,), (home,), home=home) for home in (0, 1))
    schedule.want(here)
    schedule.want(there)

    begun = schedule.take(0)
    assert schedule.take(0) is None
    schedule.begin(begun)

    assert schedule.take(0).recipe is here
    assert schedule.take(1) is None
    compute(schedule, begun)
    assert schedule.take(1).recipe is there
    assert schedule.take(0) is None


def test_after_clearing_nothing_is_left_and_promises_are_returned(make_sum):
    graph, schedule, add = Graph(), one_lane(), make_sum()
    future = schedule.want(graph.recipe(add, (graph.recipe(add, (), (1,)),)))

    assert schedule.clear() == [future]
    assert schedule.take(0) is None
    assert schedule.clear() == []


def test_what_was_running_when_cleared_does_not_disturb_another_run_of_the_same_keys(make_sum):
    """Two strategies share keys: the first's last operation ends in the middle of the second."""
    add, schedule = make_sum(), one_lane()

    def chain(graph):
        return graph.recipe(add, (graph.recipe(add, (), (1,)),), (10,))

    schedule.want(chain(Graph()))
    left_over = schedule.take(0)
    schedule.clear()
    wanted = schedule.want(chain(Graph()))

    compute(schedule, left_over)
    drain(schedule)

    assert wanted.done()
    assert wanted.result().value == 11
