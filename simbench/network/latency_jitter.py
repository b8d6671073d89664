"""Jitter of links: latency that varies from message to message."""

from collections import Counter
from collections.abc import Sequence

from simbench.seeds import generator


class LatencyJitter:
    """Draws the extra latency of messages: on each link an exponential time of the link's mean.

    What a message draws is named by the seed, its sender, its receiver and how many messages went
    from the one to the other before: not by what else is on the network. Messages may overtake each
    other, as those of several connections do.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._sent: Counter[tuple[int, int]] = Counter()

    def extra_ns(self, sender: int, receiver: int, means_ns: Sequence[int], hops: int) -> int:
        """Return the extra latency of the next message from ``sender`` to ``receiver``.

        Args:
            sender: a node's rank.
            receiver: another's.
            means_ns: of each link on the way that has any jitter.
            hops: messages in turn that this one stands for; each draws its own.
        """
        number = self._sent[sender, receiver]
        self._sent[sender, receiver] = number + 1
        draw = generator(self._seed, f"latency to node {receiver}", sender, number)
        return round(float(draw.exponential(means_ns, (hops, len(means_ns))).sum()))
