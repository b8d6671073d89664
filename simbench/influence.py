"""What one condition may do: wait, draw, and change what is up and how fast it is."""

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
from simpy.events import Event

from simbench.network.cable import Cable
from simbench.network.delivery import Delivery
from simbench.network.routing import Link
from simbench.seeds import generator
from simbench.surroundings import Change, Surroundings
from simbench.units import LINK_RATE_BPS, render


class Influence:
    """The hand of one condition on its surroundings; it signs what it does there.

    Whatever it does at a moment comes after all that strategies do then: work that ends when its
    node fails is done.
    """

    def __init__(
        self, surroundings: Surroundings, kind: str, number: int, seed: int, num_workers: int
    ) -> None:
        """``number`` is the condition's place in the scenario's list."""
        self._surroundings = surroundings
        self._clock = surroundings.clock
        self._kind = kind
        self._number = number
        self._seed = seed
        self.num_workers = num_workers

    @property
    def now_ns(self) -> int:
        """The virtual time."""
        return self._clock.now_ns

    @property
    def links(self) -> Sequence[Link]:
        """The links of the network."""
        return self._surroundings.fabric.network.links

    @property
    def num_nodes(self) -> int:
        """How many nodes there are, with servers on machines of their own."""
        return self._surroundings.fabric.network.num_nodes

    # -- time and chance

    def wait(self, duration_ns: int) -> Generator[Event, Any, None]:
        """Wait; a wait for nothing is over at once."""
        if duration_ns > 0:
            yield self.later(duration_ns)

    def wait_until(self, time_ns: int) -> Generator[Event, Any, None]:
        """Wait for a moment; one that has come is over at once."""
        yield from self.wait(time_ns - self.now_ns)

    def later(self, duration_ns: int) -> Event:
        """Return an event that comes after ``duration_ns``."""
        event = self.event()
        self.come(event, duration_ns)
        return event

    def event(self) -> Event:
        """Return an event that ``come`` lets happen."""
        return Event(self._clock)

    def come(self, event: Event, delay_ns: int = 0) -> None:
        """Let ``event`` happen after ``delay_ns``."""
        surroundings = self._surroundings
        assert event.callbacks is not None

        def count(_: Event) -> None:
            surroundings.num_pending -= 1

        event.callbacks.append(count)
        surroundings.num_pending += 1
        self._clock.afterwards(event, self._number, delay_ns)

    def any_of(self, *events: Event) -> Event:
        """Return an event that comes with the first of ``events``."""
        return self._clock.any_of(events)

    def start(self, course: Generator[Event, Any, None]) -> None:
        """Let another process run beside the one that starts it."""
        self._clock.process(course)

    def draw(self, purpose: str, rank: int, number: int) -> np.random.Generator:
        """Return the generator of one draw: each condition of a scenario has draws of its own."""
        name = f"condition {self._number}, {self._kind}: {purpose}"
        return generator(self._seed, name, rank, number)

    def exponential_ns(self, mean_ns: int, purpose: str, rank: int, number: int) -> int:
        """Return a draw from the exponential law of mean ``mean_ns``, rounded."""
        return round(self.draw(purpose, rank, number).exponential(mean_ns))

    # -- nodes and links

    def stop_node(self, rank: int, *, for_ever: bool = False) -> None:
        """Let a node go down, if the strategy has it."""
        if rank < self.num_nodes:
            self._surroundings.stop_node(rank, self._kind, for_ever=for_ever)

    def start_node(self, rank: int) -> None:
        """Let go of a node that this condition stopped."""
        if rank < self.num_nodes:
            self._surroundings.start_node(rank, self._kind)

    def fail(self, cable: Cable, *, for_ever: bool = False) -> None:
        """Let a cable fail."""
        self._surroundings.fail_links(cable.name, cable.links, self._kind, for_ever=for_ever)

    def mend(self, cable: Cable) -> None:
        """Let go of a cable that this condition let fail."""
        self._surroundings.mend_links(cable.name, cable.links, self._kind)

    def change_rate(self, cable: Cable, change: Change | None, *, last: bool = False) -> None:
        """Change the rates of a cable; None takes back what this condition changed."""
        surroundings = self._surroundings
        rates_bps = [
            surroundings.change_rate(link, self._number, change, last=last) for link in cable.links
        ]
        what = ", ".join(dict.fromkeys(render(rate, LINK_RATE_BPS) for rate in rates_bps))
        surroundings.note(self._kind, cable.name, what)

    # -- traffic

    def carry(
        self,
        sender: int,
        receiver: int,
        num_bytes: int,
        finished: Callable[[], Any],
        cap_bps: int | None,
    ) -> Delivery:
        """Begin to carry bytes that no strategy sent, never faster than ``cap_bps``."""
        return self._surroundings.background.carry(
            sender, receiver, num_bytes, finished, cap_bps=cap_bps
        )

    def give_up(self, delivery: Delivery) -> None:
        """Stop to carry what hasn't arrived."""
        self._surroundings.background.give_up(delivery)
