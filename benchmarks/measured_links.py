"""Links as they were measured and described: rows of a CSV file, and networks that model them.

``benchmarks/data/README.md`` explains the columns and how they were measured.
"""

import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from simbench.network.topologies.leaf_spine import LeafSpine
from simbench.network.topologies.star import Star
from simbench.network.topology import Topology
from simbench.network.transports.tcp import TCP

PUBLIC = Path(__file__).parent / "data" / "links_measured.csv"

SEGMENT_BYTES = 1448
FRAME_BYTES = 1514
"""Of an Ethernet frame, a token bucket counts what lies between preamble and checksum."""
ACKNOWLEDGEMENT_BYTES = 66
LEAST_BURST_BYTES = 3044
BURST_S = 300e-6
QUEUE_BYTES = 512 * 2**10
GLOO_OVERHEAD_NS = 100_000
"""What gloo's threads take to hand over a message; one value for all cases."""
GLOO_GAP_NS = 50_000
"""What they take between two messages in turn; one value for all cases."""
COLUMNS = (
    *("config", "topology", "n", "rate_mbit", "latency_ms", "trunk_mbit"),
    *("op", "bytes", "median_s", "accept"),
)
"""Those that are read."""
SIZES = {"K": 2**10, "M": 2**20}


class Row(NamedTuple):
    """One measurement."""

    config: str
    topology: str
    n: int
    rates_mbit: tuple[float, ...]
    latencies_ms: tuple[float, ...]
    trunk_mbit: float
    op: str
    num_bytes: int
    median_s: float
    accept: str

    @property
    def operation(self) -> str:
        """What was measured, without the number of a flow."""
        return self.op.split("#")[0]

    @property
    def flow(self) -> int | None:
        """The number of the flow whose end it tells; None if it tells the end of all."""
        return int(self.op.split("#flow")[1]) if "#flow" in self.op else None

    @property
    def has_latency(self) -> bool:
        """Whether any link has latency beside that of the machine itself."""
        return any(self.latencies_ms)

    @property
    def queue_bytes(self) -> int:
        """What a port of the switch queues."""
        described = re.search(r"_buf(?:(\d+)([km]))?$", self.config)
        if described is None:
            return QUEUE_BYTES
        number, unit = described.groups(default="")
        return int(number) * SIZES[unit.upper()] if number else 64 * 2**10


def read(path: Path) -> list[Row]:
    """Return the rows of ``path``.

    Raises:
        ValueError: there is no such file, or a column is missing.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {str(path)!r}")
    table = pd.read_csv(path, dtype={"rate_mbit": str, "latency_ms": str})
    lacking = [column for column in COLUMNS if column not in table]
    if lacking:
        raise ValueError(f"{path}: no column {', '.join(lacking)}; expected {', '.join(COLUMNS)}")
    table["trunk_mbit"] = table["trunk_mbit"].fillna(0)
    return [
        Row(
            each.config,
            each.topology,
            int(each.n),
            _each(each.rate_mbit, int(each.n)),
            _each(each.latency_ms, int(each.n)),
            float(each.trunk_mbit),
            each.op,
            int(each.bytes),
            float(each.median_s),
            each.accept,
        )
        for each in table.itertuples()
    ]


def _each(text: str, n: int) -> tuple[float, ...]:
    values = tuple(float(value) for value in text.split("|"))
    return values * n if len(values) == 1 else values


def network(row: Row, overhead_ns: int, *, gloo: bool, drift: float) -> Topology:
    """Return the network that a row describes.

    Args:
        row: any of its configuration.
        overhead_ns: what a message takes from node to node beside latency and transfer.
        gloo: whether it is gloo that sends.
        drift: that of TCP.
    """
    rates_bps = tuple(round(rate * 1e6) for rate in row.rates_mbit)
    transport = TCP(
        segment=SEGMENT_BYTES,
        frame=FRAME_BYTES,
        acknowledgement=ACKNOWLEDGEMENT_BYTES,
        queue=row.queue_bytes,
        warm=True,
        overhead=overhead_ns + GLOO_OVERHEAD_NS * gloo,
        gap=GLOO_GAP_NS * gloo,
        drift=drift,
    )
    fields = {
        "bandwidth": rates_bps,
        # From node to node it is that of two links.
        "latency": tuple(round(2e6 * latency) for latency in row.latencies_ms),
        "burst": tuple(_burst_bytes(rate_bps) for rate_bps in rates_bps),
        "transport": transport,
    }
    if row.topology == "star":
        return Star(**fields)
    if row.topology != "racks":
        raise ValueError(f"{row.config}: unknown topology {row.topology!r}; known: star, racks")
    per_rack = row.n // 2
    ports_mbit = per_rack * max(row.rates_mbit)
    return LeafSpine(
        nodes_per_leaf=per_rack,
        spines=1,
        oversubscription=ports_mbit / row.trunk_mbit,
        trunk_burst=_burst_bytes(row.trunk_mbit * 1e6),
        **fields,
    )


def _burst_bytes(rate_bps: float) -> int:
    """Return the depth of the token bucket of a link."""
    return round(max(LEAST_BURST_BYTES, BURST_S * rate_bps / 8))
