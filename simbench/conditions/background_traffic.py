"""Traffic of others, over the same links."""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Literal

from pydantic import NonNegativeInt, model_validator
from simpy.events import Event

from simbench.condition import Condition, Course, check_span
from simbench.influence import Influence
from simbench.network.cable import check_node
from simbench.network.routing import Link
from simbench.spec import misfit
from simbench.units import BitsPerSecond, Bytes, Nanoseconds, PositiveNanoseconds

_ENDLESS_BYTES = 2**50
"""Counted to the bit by a float. When they are through, the next as many follow."""


class BackgroundTraffic(Condition):
    """Bytes from node to node that no strategy sent: one flow without end, or one after the other.

    They share links fairly with the strategies' own, and count neither as messages nor as payload.
    A flow yields like TCP: beside n others on one link it has no more than an n-th and first. What
    doesn't yield is a ``link_degradation``.
    """

    kind: Literal["background_traffic"] = "background_traffic"
    sender: NonNegativeInt = 0
    """Rank of the node that sends."""
    receiver: NonNegativeInt = 1
    """Rank of the node that receives."""
    rate: BitsPerSecond | None = None
    """No faster than this; by default as fast as the links allow."""
    size: Bytes | None = None
    """Mean of the exponential sizes of flows; by default one flow never ends."""
    gap: Nanoseconds = 0
    """Mean of the exponential pauses between the end of a flow and the next."""
    at: Nanoseconds = 0
    """When it begins."""
    until: PositiveNanoseconds | None = None
    """When it is over; by default never."""

    @model_validator(mode="after")
    def _makes_sense(self) -> "BackgroundTraffic":
        if self.gap and self.size is None:
            raise misfit(("gap",), "has no effect without size: the one flow never ends")
        if self.sender == self.receiver:
            raise misfit(("receiver",), "expected another node than the sender")
        check_span(self.at, self.until)
        return self

    def check(self, links: Sequence[Link], num_nodes: int) -> None:
        """Refuse nodes that don't exist."""
        for key in ("sender", "receiver"):
            try:
                check_node(getattr(self, key), num_nodes)
            except ValueError as error:
                raise misfit((key,), str(error)) from None
        if not links:
            raise misfit((), "has no effect: this network has no links")

    def play(self, influence: Influence) -> Course:
        """Send, pause, send."""
        if max(self.sender, self.receiver) >= influence.num_nodes:
            return
        yield from influence.wait_until(self.at)
        over = None if self.until is None else influence.later(self.until - influence.now_ns)
        for number in itertools.count():
            arrived = influence.event()
            delivery = influence.carry(
                self.sender,
                self.receiver,
                self._num_bytes(influence, number),
                partial(influence.come, arrived),
                self.rate,
            )
            yield from _first(influence, arrived, over)
            if over is not None and over.processed:
                influence.give_up(delivery)
                return
            gap_ns = influence.exponential_ns(self.gap, "gap", self.sender, number)
            pause = influence.later(max(1, gap_ns))
            yield from _first(influence, pause, over)
            if over is not None and over.processed:
                return

    def _num_bytes(self, influence: Influence, number: int) -> int:
        if self.size is None:
            return _ENDLESS_BYTES
        drawn = influence.draw("size", self.sender, number).exponential(self.size)
        return max(1, round(drawn))


def _first(influence: Influence, event: Event, over: Event | None) -> Course:
    yield event if over is None else influence.any_of(event, over)
