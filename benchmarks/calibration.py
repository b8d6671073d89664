"""What messages take beside latency and transfer, from measurements between two nodes."""

import statistics
from collections.abc import Sequence

from measured_links import Row
from predictions import predict

_USUAL_OVERHEAD_NS = 100_000
"""Of configurations that have no measurement between two nodes, and none that are like them."""


class Calibration:
    """Overheads by configuration."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = [row for row in rows if row.op == "p2p"]
        self._known: dict[tuple[Row, ...], int] = {}

    def overhead_ns(self, row: Row) -> int:
        """Return the median of what is left of the times between two nodes; at least 0.

        Of the same configuration; or of the star with the same rate, latency and number of
        nodes, for the training's server one node fewer; or of any such number.
        """
        same = [each for each in self._rows if each.config == row.config]
        like = [
            each
            for each in self._rows
            if each.topology == "star"
            and set(each.rates_mbit) == set(row.rates_mbit)
            and set(each.latencies_ms) == set(row.latencies_ms)
        ]
        nodes = row.n - (row.op == "train_async_comm")
        found = tuple(same or [each for each in like if each.n == nodes] or like)
        if found not in self._known:
            self._known[found] = self._median_left_ns(found)
        return self._known[found]

    @staticmethod
    def _median_left_ns(rows: Sequence[Row]) -> int:
        if not rows:
            return _USUAL_OVERHEAD_NS
        left_s = [row.median_s - predict(row, overhead_ns=0) for row in rows]
        return max(0, round(1e9 * statistics.median(left_s)))
