"""Values: promises of pure operations, known by their key.

Two things with one job each. A **handle** (``Value``) is what a strategy holds; a **recipe** is
what has to be computed, and refers to other recipes only. A result stays in memory exactly as
long as a handle or a recipe that isn't computed yet can reach it: once computed, a recipe forgets
its inputs, and Python's reference counts do the rest.
"""

import hashlib
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final, Literal, Protocol, runtime_checkable

Effort = Literal["light", "medium", "heavy"]
"""Less than to send the result to another machine, such as a sum; about as much, such as a step of
an optimiser; much more, such as a gradient."""


@runtime_checkable
class Operation(Protocol):
    """A pure function of immutable inputs. It must be picklable.

    ``name`` is for people and for counting; ``identity`` hashes everything that the result
    depends on beside the inputs: its settings, its data and the source that it runs.
    """

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def identity(self) -> str:
        """What the result depends on beside its inputs, hashed."""
        ...

    @property
    def effort(self) -> Effort:
        """What computing it costs, beside sending its result to another machine."""
        ...

    def __call__(self, *inputs: Any) -> Any:
        """Return the result; arguments of the recipe follow its inputs."""
        ...


class _Pending:
    def __repr__(self) -> str:
        return "PENDING"


PENDING: Final = _Pending()
"""The result of a recipe that nobody has computed."""


class Recipe:
    """One operation on given inputs; ``result`` is ``PENDING`` until an executor sets it.

    ``home`` is the rank that asked first. It says where to compute, and is no part of the key, as
    ``num_bytes``, which a message of it is charged, and ``num_entries``, how long a vector is, are.
    """

    __slots__ = (
        "__weakref__",
        "arguments",
        "home",
        "inputs",
        "key",
        "num_bytes",
        "num_entries",
        "operation",
        "passed_over",
        "result",
    )

    def __init__(
        self,
        operation: Operation,
        inputs: tuple["Recipe", ...],
        arguments: tuple[int, ...],
        key: bytes,
        num_bytes: int,
        home: int,
        num_entries: int = 0,
    ) -> None:
        self.operation = operation
        self.inputs = inputs
        self.arguments = arguments
        self.key = key
        self.num_bytes = num_bytes
        self.num_entries = num_entries
        self.home = home
        self.result: Any = PENDING
        # Set where a known loss made it needless to compute this; it may be needed later.
        self.passed_over = False

    @property
    def given(self) -> tuple["Recipe", ...]:
        """What it rests on, as far as one can tell without working out how it is computed."""
        return self.inputs

    def settle(self, result: Any) -> None:
        """Take the result and forget the inputs, so that they can be freed."""
        self.result = result
        self.inputs = ()


class Unfolding(Recipe):
    """A recipe of many others, which are made when somebody asks for its inputs: to compute it.

    What only asks what there is, as planning does, needs its key and ``given``.
    """

    __slots__ = ("_given", "_unfold", "_unfolded")

    def __init__(
        self,
        operation: Operation,
        given: tuple[Recipe, ...],
        arguments: tuple[int, ...],
        key: bytes,
        num_bytes: int,
        home: int,
        unfold: Callable[[], Sequence[Recipe]],
        num_entries: int = 0,
    ) -> None:
        self._given = given
        self._unfold: Callable[[], Sequence[Recipe]] | None = unfold
        super().__init__(operation, (), arguments, key, num_bytes, home, num_entries)
        self._unfolded: tuple[Recipe, ...] | None = None

    @property
    def inputs(self) -> tuple[Recipe, ...]:
        """The recipes that it joins; the first to ask has them made."""
        if self._unfolded is None:
            assert self._unfold is not None, "it is made once"
            self._unfolded = tuple(self._unfold())
            self._unfold = None
        return self._unfolded

    @inputs.setter
    def inputs(self, inputs: tuple[Recipe, ...]) -> None:
        self._unfolded = inputs

    @property
    def given(self) -> tuple[Recipe, ...]:
        """What those rest on."""
        return self._given

    def settle(self, result: Any) -> None:
        """Take the result and forget what it came from."""
        super().settle(result)
        self._given, self._unfold = (), None


class Value:
    """A handle on a recipe, held by the node ``holder``; its bytes are what a message carries."""

    __slots__ = ("__weakref__", "holder", "recipe")

    def __init__(self, recipe: Recipe, holder: int) -> None:
        self.recipe = recipe
        self.holder = holder

    @property
    def key(self) -> bytes:
        """SHA-256 of the operation, its arguments and the keys of its inputs."""
        return self.recipe.key

    @property
    def num_bytes(self) -> int:
        """Size of the result, as a message of it is charged."""
        return self.recipe.num_bytes

    @property
    def num_entries(self) -> int:
        """How many entries a vector has; 0 if it is something else."""
        return self.recipe.num_entries

    def __repr__(self) -> str:
        name = self.recipe.operation.name
        return f"Value({name}, {self.key.hex()[:8]}, held by {self.holder})"


class Graph:
    """The table of the Values of one run: equal keys are one recipe, computed once."""

    def __init__(self) -> None:
        self._recipes: weakref.WeakValueDictionary[bytes, Recipe] = weakref.WeakValueDictionary()
        self._handles: weakref.WeakSet[Value] = weakref.WeakSet()

    def recipe(
        self,
        operation: Operation,
        inputs: Sequence[Recipe] = (),
        arguments: tuple[int, ...] = (),
        *,
        num_bytes: int = 0,
        home: int = 0,
        num_entries: int = 0,
    ) -> Recipe:
        """Return the recipe of ``operation(*inputs, *arguments)``, the same one each time."""
        key = _key(operation, inputs, arguments)
        found = self._recipes.get(key)
        if found is None:
            found = Recipe(operation, tuple(inputs), arguments, key, num_bytes, home, num_entries)
            self._recipes[key] = found
        return found

    def unfolding(
        self,
        operation: Operation,
        given: Sequence[Recipe],
        arguments: tuple[int, ...],
        unfold: Callable[[], Sequence[Recipe]],
        *,
        num_bytes: int = 0,
        home: int = 0,
        num_entries: int = 0,
    ) -> Recipe:
        """Return the recipe of ``operation(*unfold(), *arguments)``, which rests on ``given``.

        What ``unfold`` makes must depend on nothing but the operation, ``given`` and ``arguments``,
        as they name it.
        """
        key = _key(operation, given, arguments)
        found = self._recipes.get(key)
        if found is None:
            found = Unfolding(
                operation, tuple(given), arguments, key, num_bytes, home, unfold, num_entries
            )
            self._recipes[key] = found
        return found

    def hold(self, recipe: Recipe, holder: int) -> Value:
        """Return a handle on ``recipe`` for the node ``holder``."""
        value = Value(recipe, holder)
        self._handles.add(value)
        return value

    def live(self) -> set[Recipe]:
        """Return the recipes that somebody still holds; collect garbage before you ask."""
        return {value.recipe for value in self._handles}


def _key(operation: Operation, inputs: Sequence[Recipe], arguments: tuple[int, ...]) -> bytes:
    digest = hashlib.sha256(f"{operation.identity}{arguments}".encode())
    for each in inputs:
        digest.update(each.key)
    return digest.digest()


def is_pending(recipe: Recipe) -> bool:
    """Whether nobody has computed the recipe yet."""
    return recipe.result is PENDING


GIVEN: Final[Callable[[Recipe], tuple[Recipe, ...]]] = attrgetter("given")


def in_order(
    wanted: Iterable[Recipe],
    needed: Callable[[Recipe], bool] = is_pending,
    rests_on: Callable[[Recipe], tuple[Recipe, ...]] = attrgetter("inputs"),
) -> Iterator[Recipe]:
    """Yield the ``needed`` recipes among ``wanted`` and what they rest on, inputs first, each once.

    What lies behind a recipe that isn't needed isn't visited. With ``GIVEN`` for ``rests_on``,
    recipes are visited without those that they would be worked out to.

    Depth first, so that what frees soonest comes soonest: a mean of N vectors holds about log N
    of them at a time. Iterative, since chains are hundreds of thousands of recipes deep.
    """
    seen: set[bytes] = set()
    stack = [(recipe, False) for recipe in reversed(list(wanted))]
    while stack:
        recipe, inputs_done = stack.pop()
        if inputs_done:
            yield recipe
        elif recipe.key not in seen and needed(recipe):
            seen.add(recipe.key)
            stack.append((recipe, True))
            stack.extend((each, False) for each in reversed(rests_on(recipe)))
