"""Who computes what: nodes at their actors, evenly, and what is no effort where it is needed."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from simbench.execution.placement import Placement
from simbench.execution.values import Graph


@dataclass(frozen=True)
class Doing:
    effort: str = "heavy"
    name = "doing"

    @property
    def identity(self):
        return f"doing {self.effort}"

    def __call__(self, *_):
        return 0


HEAVY, MEDIUM, LIGHT = map(Doing, ("heavy", "medium", "light"))


def work(graph, counts):
    """Return recipes of which node n is the home of ``counts[n]``."""
    return [
        graph.recipe(HEAVY, (), (node, number), home=node)
        for node, count in enumerate(counts)
        for number in range(count)
    ]


def test_nodes_stand_in_blocks_and_the_server_with_the_first():
    placement = Placement(2, 4)

    assert [placement.actor_of(node) for node in range(9)] == [0, 0, 0, 0, 1, 1, 1, 1, 0]


def test_equal_nodes_stay_where_they_are():
    placement, graph = Placement(2, 2), Graph()

    for _ in range(5):
        placement.balance(work(graph, [6, 6, 6, 6]))

    assert [placement.actor_of(node) for node in range(4)] == [0, 0, 1, 1]


@given(
    st.lists(st.integers(0, 9), min_size=4, max_size=12).filter(any),
    st.integers(1, 4),
    st.integers(1, 20),
)
def test_no_actor_is_given_more_than_one_nodes_work_above_another(counts, num_actors, batches):
    placement, graph = Placement(num_actors, -(-len(counts) // num_actors)), Graph()
    given = [0] * num_actors

    for _ in range(batches):
        placement.balance(work(graph, counts))
        for node, count in enumerate(counts):
            given[placement.actor_of(node)] += count

    assert max(given) - min(given) <= max(counts)


def test_a_mean_is_added_up_by_all_who_need_it_and_its_parts_by_their_actor():
    placement, graph = Placement(2, 2), Graph()
    vectors = [graph.recipe(HEAVY, (), (node,), home=node) for node in range(4)]
    halves = [graph.recipe(LIGHT, vectors[:2], home=0), graph.recipe(LIGHT, vectors[2:], home=2)]
    mean = graph.recipe(LIGHT, halves, home=0)
    after = [graph.recipe(HEAVY, (mean,), (node,), home=node) for node in range(4)]

    where = placement.spread([*vectors, *halves, mean, *after], lambda _: ())

    assert [where[each] for each in vectors] == [{0}, {0}, {1}, {1}]
    assert [where[each] for each in halves] == [{0}, {1}]
    assert where[mean] == {0, 1}


def test_a_change_is_worked_out_and_added_where_it_arose():
    """So that only what is read elsewhere has to travel."""
    placement, graph = Placement(2, 1), Graph()
    read = graph.recipe(HEAVY, (), (0,), home=1)
    stepped = graph.recipe(HEAVY, (read,), (1,), home=0)
    change = graph.recipe(LIGHT, (stepped, read), home=0)
    updated = graph.recipe(LIGHT, (read, change), home=1)
    use = graph.recipe(HEAVY, (updated,), home=1)

    where = placement.spread([stepped, change, updated, use], lambda _: {0, 1})

    assert where[change] == where[updated] == {0}


def test_what_all_have_all_that_it_needs_for_is_done_by_those_who_need_it():
    """As an optimiser's step on the mean of the gradients: nothing more has to travel."""
    placement, graph = Placement(3, 1), Graph()
    fresh = graph.recipe(LIGHT, (), (0,), home=2)
    mean = graph.recipe(HEAVY, (), (1,), home=1)
    step = graph.recipe(MEDIUM, (mean, fresh), home=0)
    after = [graph.recipe(HEAVY, (step,), (node,), home=node) for node in range(2)]
    unread = graph.recipe(LIGHT, (mean,), (2,), home=2)

    where = placement.spread([fresh, step, *after, unread], lambda _: {0, 1})

    assert where[step] == where[fresh] == {0, 1}
    assert where[unread] == {0}, "its home hasn't what it needs"


def test_a_node_that_moved_steps_at_its_new_actor_where_its_gradients_are():
    placement, graph = Placement(2, 1), Graph()
    state, gradient = (graph.recipe(HEAVY, (), (node,), home=node) for node in range(2))
    step = graph.recipe(MEDIUM, (state, gradient), home=1)
    use = graph.recipe(HEAVY, (step,), home=0)

    assert placement.spread([state, gradient, step, use], lambda _: ())[step] == {1}


def test_many_actors_leave_a_mean_to_one():
    placement, graph = Placement(8, 1), Graph()
    vectors = [graph.recipe(HEAVY, (), (node,), home=node) for node in range(8)]
    mean = graph.recipe(LIGHT, vectors, home=5)

    where = placement.spread([*vectors, mean], lambda _: ())

    assert where[mean] == {5}


def test_what_lies_elsewhere_already_counts():
    placement, graph = Placement(2, 1), Graph()
    old, new = (graph.recipe(HEAVY, (), (node,), home=node) for node in range(2))
    total = graph.recipe(LIGHT, (old, new), home=0)
    use = graph.recipe(HEAVY, (total,), home=1)

    assert placement.spread([new, total, use], lambda _: {0, 1})[total] == {1}
