"""Ring all-reduce: reduce-scatter around a ring, then all-gather around it."""

from typing import Literal

from simbench.network.collective import AllReduce, CollectiveFlow


class Ring(AllReduce):
    """2(p-1) steps, in each of which every node sends one p-th of the vector to the next.

    Without other traffic on equal links it takes 2(p-1) latency + 2(p-1)/p * bytes/bandwidth from
    when the last node joins. A node sends its next chunk when the one before has arrived.

    Source:
        Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
        J. Parallel Distrib. Comput. 69 (2009), section 3.
    """

    kind: Literal["ring"] = "ring"

    def flows(self, num_bytes: int, ranks: tuple[int, ...]) -> list[CollectiveFlow]:
        """Return one flow from each node to the next."""
        p = len(ranks)
        if p == 1:
            return []
        chunk = [num_bytes * (i + 1) // p - num_bytes * i // p for i in range(p)]
        # Reduce-scatter: node i sends every chunk but the one that ends up with it, i + 1.
        # All-gather: it sends every chunk but the one that its successor owns, i + 2.
        return [
            CollectiveFlow(
                ranks[i],
                ranks[(i + 1) % p],
                2 * num_bytes - chunk[(i + 1) % p] - chunk[(i + 2) % p],
                2 * (p - 1),
            )
            for i in range(p)
        ]
