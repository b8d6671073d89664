"""Acknowledgements: what the way back loses to data that flow one way."""

from collections import Counter
from typing import TYPE_CHECKING

from simbench.network.flow import Route, SharedLink

if TYPE_CHECKING:
    from simbench.network.fabric import Fabric


class Acknowledgements:
    """Takes from links what acknowledgements of data on the opposite links occupy.

    With both directions of a cable full of data of different connections, data have 1/(1 + ratio)
    of each. Acknowledgements of a connection with data both ways travel with these.
    """

    def __init__(self, fabric: "Fabric", ratio: float) -> None:
        """``ratio`` is what acknowledgements occupy, over what their data do."""
        self._fabric = fabric
        self._ratio = ratio
        links = fabric.network.links
        self._opposite = {(link.head, link.tail): index for index, link in enumerate(links)}
        self._acknowledged_bps: Counter[int] = Counter()
        """What data could flow that is acknowledged over each link."""

    def add(self, route: Route, back: Route, sign: int) -> None:
        """Begin to acknowledge data on ``route`` over ``back``, or end it where ``sign`` is -1."""
        if not self._ratio or not route.links:
            return
        # As they were described: acknowledgements have changed what data get.
        data_bps = min(link.nominal_bps for link in route.links)
        for link in back.links:
            self._acknowledged_bps[link.index] += sign * data_bps
            share = 1 / (1 + self._ratio * self._flowing_bps(link) / link.nominal_bps)
            if share != link.share:
                self._fabric.set_share(link.index, share)

    def _flowing_bps(self, link: SharedLink) -> int:
        """Return how fast data flow that are acknowledged over ``link``, at most."""
        acknowledged_bps = self._acknowledged_bps[link.index]
        there = self._fabric.network.links[link.index]
        opposite = self._opposite.get((there.tail, there.head))
        if opposite is None:
            return acknowledged_bps
        return min(acknowledged_bps, self._fabric.network.links[opposite].rate_bps)
