"""The window of a TCP connection: how much may be on its way, and so how fast it can be."""

_TIMEOUT_NS = 200_000_000
"""Linux's least retransmission time-out, on top of the round trip."""
_GROWTH_SEGMENTS = 9 / 17
"""Segments by which a window grows in a round trip after a loss: 3(1-b)/(1+b), b = 0.7."""


class Window:
    """Bytes on their way at most, in slow start or after it.

    In slow start it doubles in every round trip. Once it has filled a link and its queue, or has
    shared them, it grows by about half a segment in a round trip. While nothing is sent, it is
    halved for every time-out, down to what it was at the very first.

    Source:
        RFC 5681, section 3.1 (slow start); RFC 2861, section 2, as in Linux's
        ``tcp_cwnd_restart`` (idle times); RFC 9438, section 4.3 (CUBIC's Reno-friendly growth).
    """

    def __init__(self, initial_bytes: int, segment_bytes: int, max_bytes: int) -> None:
        self._initial_bytes = initial_bytes
        self._segment_bytes = segment_bytes
        self._max_bytes = max_bytes
        self.num_bytes = float(initial_bytes)
        self.slow_start = True
        self._used_ns = 0

    def begin(self, now_ns: int, round_trip_ns: int) -> None:
        """Begin to send after an idle time."""
        idle_ns, timeout_ns = now_ns - self._used_ns, _TIMEOUT_NS + round_trip_ns
        while (idle_ns := idle_ns - timeout_ns) > 0 and self.num_bytes > self._initial_bytes:
            self.num_bytes = max(self.num_bytes / 2, self._initial_bytes)
            self.slow_start = True

    def grow(self) -> None:
        """Let a round trip pass in which all of it was used."""
        if self.slow_start:
            self.num_bytes *= 2
        else:
            self.num_bytes += _GROWTH_SEGMENTS * self._segment_bytes
        self.num_bytes = min(self.num_bytes, self._max_bytes)

    def settle(self, num_bytes: float) -> None:
        """Note that so much was on its way when the link was full."""
        self.num_bytes = min(num_bytes, self._max_bytes)
        self.slow_start = False

    def end(self, now_ns: int) -> None:
        """Note that nothing is sent from now on."""
        self._used_ns = now_ns

    def rate_bps(self, round_trip_ns: int) -> float:
        """Return how fast it lets a connection be."""
        return 8e9 * self.num_bytes / round_trip_ns if round_trip_ns else float("inf")
