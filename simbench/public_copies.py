"""How neighbours that hold different parameters compress what they send each other."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from simpy.events import Event

from simbench.exchange import Exchange
from simbench.execution.values import Value
from simbench.learning.compressor import Compression
from simbench.mailbox import Mail
from simbench.node import Node


class PublicCopies:
    """What one node keeps so that the differences of its parameters are enough for its neighbours.

    Without a compression it keeps nothing, and parameters are sent as they are. With one, both ends
    of an edge keep a copy of what went along it, in each direction one, at first the parameters
    that all start from. C(x_i - copy_ij) is what i sends to j, and both then have

        copy_ij <- copy_ij + C(x_i - copy_ij)

    In place of sum_j W_ij x_j, a node with the step size gamma goes on with

        x_i + gamma (sum_j W_ij copy_ji - sum_j W_ji copy_ij)

    What one gives another gets, so the sum of all x_i stays, however much is left out; and what is
    left out is in the next difference, so there is no residual beside it. On a graph that stays the
    same all copies of x_i are one, as in the paper; copies of an edge of its own do for graphs that
    change, for pairs and for directed edges, where W has columns that sum to 1 and rows that don't.

    Source:
        Koloskova, Stich, Jaggi, "Decentralized Stochastic Optimization and Gossip Algorithms with
        Compressed Communication", ICML 2019, arXiv:1902.00340, algorithm 2 (CHOCO-SGD); Taheri,
        Mokhtari, Hassani, Pedarsani, "Quantized Decentralized Stochastic Learning over Directed
        Graphs", ICML 2020, arXiv:2002.09964 (push-sum).
    """

    def __init__(self, node: Node, compression: Compression | None, step_size: float) -> None:
        """Begin at the parameters that all start from."""
        self._node = node
        self._compression = compression
        self._step_size = step_size
        self._start = node.initial_state().parameters
        self._exchanges: dict[int, Exchange] = {}
        self._given: dict[int, Value] = {}
        self._taken: dict[int, Value] = {}

    def encode(self, parameters: Value, peer: int) -> Generator[Event, Any, Value]:
        """Return what to send to ``peer``."""
        if self._compression is None:
            return parameters
        copy = self._given.get(peer, self._start)
        exchange = self._exchange(peer)
        payload = yield from exchange.encode(parameters, copy)
        self._given[peer] = exchange.concluded(exchange.decode(payload), copy)
        return payload

    def mix(
        self,
        parameters: Value,
        mails: Sequence[Mail],
        takes: Mapping[int, float],
        gives: Mapping[int, float],
    ) -> Value:
        """Return what ``parameters`` become by compressed mails.

        Args:
            parameters: x_i.
            mails: what has come, with payloads as their bodies.
            takes: W_ij by j, for each whom a mail is from.
            gives: W_ji by j, to whom this node has sent.
        """
        vectors, weights = [parameters], [1.0]
        for mail in mails:
            exchange = self._exchange(mail.sender)
            copy = self._taken.get(mail.sender, self._start)
            self._taken[mail.sender] = exchange.concluded(exchange.decode(mail.body), copy)
            vectors.append(self._taken[mail.sender])
            weights.append(self._step_size * takes[mail.sender])
        for peer, weight in gives.items():
            vectors.append(self._given[peer])
            weights.append(-self._step_size * weight)
        return self._node.mix(*vectors, weights=weights)

    def meet(self, parameters: Value, mail: Mail) -> Value:
        """Return what ``parameters`` become where two average: W_ij and W_ji are a half."""
        half = {mail.sender: 1 / 2}
        return self.mix(parameters, [mail], half, half)

    def _exchange(self, peer: int) -> Exchange:
        if peer not in self._exchanges:
            # What wasn't sent is still between the parameters and their copy.
            self._exchanges[peer] = Exchange(self._node, self._compression, missing=0.0)
        return self._exchanges[peer]
