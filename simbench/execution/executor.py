"""What a simulation asks of who computes: threads, child processes and Ray's actors offer it."""

from collections import Counter
from concurrent.futures import Future
from typing import Any, Protocol

from simbench.execution.values import Recipe


class Executor(Protocol):
    """Computes recipes. Requests are served in the order of asking, which is virtual-time order."""

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``: where results live."""
        ...

    @property
    def fingerprint(self) -> dict[str, str]:
        """What the bits of a result depend on, where the operations run."""
        ...

    @property
    def description(self) -> str:
        """One line for people: "2 Ray actors, 4 nodes each"."""
        ...

    @property
    def width(self) -> int:
        """How many operations it computes side by side."""
        ...

    @property
    def operations_run(self) -> Counter[str]:
        """How many operations of each name were really computed."""
        ...

    @property
    def passed_over_run(self) -> Counter[str]:
        """How many of them had been passed over at first, because a loss was known."""
        ...

    @property
    def peak_memory_bytes(self) -> list[int]:
        """The most memory that each process beside this one has had resident."""
        ...

    @property
    def calls_run(self) -> Counter[str]:
        """In how many calls they were computed: fewer where one call computes several."""
        ...

    def start(self, recipe: Recipe) -> Future[Any]:
        """Begin to compute ``recipe`` and all that it needs; the future brings its result."""
        ...

    def cancel(self) -> None:
        """Give up everything that was started and isn't done."""
        ...

    def close(self) -> None:
        """End threads, processes and actors."""
        ...
