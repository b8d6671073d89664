"""All-reduce by recursive halving, then doubling: all the bandwidth in few steps."""

from typing import Literal

from simbench.network.collective import AllReduce, PointToPoint
from simbench.network.collectives.all_gather import recursive_doubling
from simbench.network.collectives.reduce_scatter import recursive_halving
from simbench.network.schedule import Piece, Schedule, Transfer, fold, split
from simbench.network.topology import Network


class HalvingDoubling(AllReduce):
    """Reduce-scatter by recursive halving, all-gather by recursive doubling.

    Without other traffic on equal links it takes 2 lg p latency + 2(p-1)/p * bytes/bandwidth. Where
    p isn't a power of two, it takes 2 (latency + bytes/bandwidth) more than for the one below. The
    largest messages go to the nearest rank.

    Source:
        Rabenseifner, "Optimization of collective reduction operations", ICCS 2004; Thakur,
        Rabenseifner, Gropp, "Optimization of collective communication operations in MPICH",
        Int. J. High Perform. Comput. Appl. 19 (2005), on all-reduce (also the steps for other p).
    """

    kind: Literal["halving_doubling"] = "halving_doubling"

    def messages(
        self, num_bytes: int, ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return a message of every node in every step."""
        whole = Piece(0, num_bytes)
        pairs, active = fold(ranks)
        schedule = Schedule()
        schedule.add(Transfer(out, stays, whole, adds=True) for out, stays in pairs)
        # Halving begins with the partner half of the list away: reversing the bits of places
        # makes that the nearest rank.
        bits = len(active).bit_length() - 1
        places = [active[_reversed(i, bits)] for i in range(len(active))]
        pieces = split(whole, len(places))
        recursive_halving.add_messages(schedule, places, pieces)
        recursive_doubling.add_messages(schedule, places, pieces)
        schedule.add(Transfer(stays, out, whole, adds=False) for out, stays in pairs)
        return schedule.messages


def _reversed(number: int, bits: int) -> int:
    """Return ``number`` with its lowest ``bits`` in the opposite order."""
    return sum((number >> i & 1) << bits - 1 - i for i in range(bits))
