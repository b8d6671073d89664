"""Messages that arrive whatever fails on their way: cut transfers set out again.

A connection lives as long as both its ends. Where links fail it goes on with what hasn't arrived,
over another way or once there is one again, as TCP does. Where an end goes down, what had come
through is lost with the connection, and all is sent again.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from simbench.clock import Clock
from simbench.network.fabric import Fabric
from simbench.network.flow import Flow
from simbench.network.transport import CuttableCarrier


class Delivery:
    """A message on its way, however often it has to set out."""

    __slots__ = (
        "bytes_left",
        "cap_bps",
        "finished",
        "flow",
        "hops_in_turn",
        "lost_bytes",
        "num_bytes",
        "num_starts",
        "receiver",
        "sender",
        "since_ns",
    )

    def __init__(
        self,
        sender: int,
        receiver: int,
        num_bytes: int,
        finished: Callable[[], Any],
        hops_in_turn: int,
        cap_bps: int | None,
    ) -> None:
        self.sender = sender
        self.receiver = receiver
        self.num_bytes = num_bytes
        self.finished = finished
        self.hops_in_turn = hops_in_turn
        self.cap_bps = cap_bps
        self.bytes_left = num_bytes
        self.lost_bytes = 0
        """What had come through and has to be sent again."""
        self.num_starts = 0
        self.flow: Flow | None = None
        """While it is on its way, if that can be told."""
        self.since_ns = 0
        """As of when it waits for a way."""

    def __str__(self) -> str:
        return f"{self.sender} -> {self.receiver}"


Tell = Callable[[Delivery, int | None], None]
"""Of a delivery that was cut, and of one that sets out again, with the bytes sent again."""


class Deliveries:
    """Carries messages on a fabric on which links and nodes fail; none is lost."""

    def __init__(
        self,
        clock: Clock,
        fabric: Fabric,
        carrier: CuttableCarrier,
        tell: Tell = lambda *_: None,
    ) -> None:
        """``carrier`` takes messages over ``fabric``; ``tell`` hears of those that are cut."""
        self._clock = clock
        self._fabric = fabric
        self._carrier = carrier
        self._tell = tell
        self.under_way: dict[Delivery, None] = {}
        self.waiting: dict[Delivery, None] = {}
        """Those without a way now, in the order in which they began to wait."""
        self._waited: list[tuple[int, int, int, int]] = []

    def carry(
        self,
        sender: int,
        receiver: int,
        num_bytes: int,
        finished: Callable[[], Any],
        hops_in_turn: int = 1,
        *,
        cap_bps: int | None = None,
    ) -> Delivery:
        """Begin to carry ``num_bytes``, at once or as soon as there is a way.

        Args:
            sender: a node's rank.
            receiver: another's, or the same.
            num_bytes: how much.
            finished: called once, when the last byte arrives.
            hops_in_turn: how often the latency is waited for: see ``Fabric.carry``.
            cap_bps: it is never faster; None if the transport and links alone limit it.
        """
        delivery = Delivery(sender, receiver, num_bytes, finished, hops_in_turn, cap_bps)
        self._set_out(delivery)
        return delivery

    def try_again(self) -> None:
        """Let those set out that wait and have a way now."""
        for delivery in list(self.waiting):
            if self._fabric.has_way(delivery.sender, delivery.receiver):
                del self.waiting[delivery]
                since_ns, now_ns = delivery.since_ns, self._clock.now_ns
                self._waited.append((delivery.sender, delivery.receiver, since_ns, now_ns))
                self._set_out(delivery)

    def break_off(self, node: int) -> None:
        """Lose the connections of ``node``, which goes down, for deliveries that wait."""
        for delivery in self.waiting:
            if node in (delivery.sender, delivery.receiver):
                self._start_over(delivery)

    def give_up(self, delivery: Delivery) -> None:
        """Stop a delivery, if it hasn't arrived."""
        if delivery in self.waiting:
            del self.waiting[delivery]
        elif delivery in self.under_way:
            del self.under_way[delivery]
            # What a connection has taken, it carries: nobody listens any more.
            if delivery.flow is not None:
                self._fabric.give_up(delivery.flow)
                delivery.flow = None

    def standstills_until(self, end_ns: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield (sender, receiver, start_ns, end_ns) of each wait for a way.

        One under way ends at ``end_ns``.
        """
        yield from self._waited
        for each in self.waiting:
            yield each.sender, each.receiver, each.since_ns, end_ns

    def _set_out(self, delivery: Delivery) -> None:
        if not self._fabric.has_way(delivery.sender, delivery.receiver):
            delivery.since_ns = self._clock.now_ns
            self.waiting[delivery] = None
            return
        if delivery.num_starts:
            self._tell(delivery, delivery.lost_bytes)
        delivery.num_starts += 1
        delivery.lost_bytes = 0
        # A chain of messages that goes on in the middle doesn't wait for all its latencies again.
        begun = delivery.bytes_left < delivery.num_bytes
        self.under_way[delivery] = None
        arguments = (
            delivery.sender,
            delivery.receiver,
            delivery.bytes_left,
            partial(self._arrive, delivery),
            1 if begun else delivery.hops_in_turn,
        )
        cut = partial(self._cut, delivery)
        if delivery.cap_bps is None:
            flow = self._carrier.carry(*arguments, cut=cut)
        else:
            flow = self._fabric.carry(*arguments, cut=cut, cap_bps=delivery.cap_bps)
        if delivery in self.under_way:  # what has no way to go arrives at once
            delivery.flow = flow

    def _arrive(self, delivery: Delivery) -> None:
        if delivery not in self.under_way:
            return
        del self.under_way[delivery]
        delivery.flow = None  # which refers back: both would stay until garbage is collected
        delivery.finished()

    def _cut(self, delivery: Delivery, bytes_left: int) -> None:
        if delivery not in self.under_way:
            return
        del self.under_way[delivery]
        delivery.bytes_left = bytes_left
        if self._fabric.is_down(delivery.sender) or self._fabric.is_down(delivery.receiver):
            self._start_over(delivery)
        self._tell(delivery, None)
        self._set_out(delivery)

    def _start_over(self, delivery: Delivery) -> None:
        delivery.lost_bytes += delivery.num_bytes - delivery.bytes_left
        delivery.bytes_left = delivery.num_bytes
