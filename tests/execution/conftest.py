"""Operations small enough to see through: they count their runs and track what is alive."""

import gc
import weakref

import pytest


class Number:
    """A result that can be tracked, which an int can't."""

    def __init__(self, value):
        self.value = value


class Sum:
    """The sum of its inputs and arguments; remembers what ran and how much was alive at once."""

    effort = "medium"

    def __init__(self, identity="sum"):
        self.name = "sum"
        self.identity = identity
        self.ran = []
        self.alive = weakref.WeakSet()
        self.most_alive = 0

    def __call__(self, *inputs):
        self.ran.append(inputs[-1] if inputs and isinstance(inputs[-1], int) else None)
        result = Number(sum(x.value if isinstance(x, Number) else x for x in inputs))
        self.alive.add(result)
        self.most_alive = max(self.most_alive, len(self.alive))
        return result


class Fail:
    """Raises."""

    name = identity = "fail"
    effort = "medium"

    def __call__(self, *_):
        raise KeyError("broken", 7)


@pytest.fixture
def make_sum():
    return Sum


@pytest.fixture
def fail():
    return Fail()


@pytest.fixture
def collected():
    """Return how many results of an operation are alive once garbage is gone."""

    def count(operation):
        gc.collect()
        return len(operation.alive)

    return count
