"""Regions of the world, joined by a wide-area network."""

import itertools
from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from simbench.network.cabling import Probability, SwitchedTopology
from simbench.network.clouds import AWS_REGIONS, aws
from simbench.network.layouts import Layout, clusters
from simbench.network.routing import Link, Place
from simbench.spec import Spec, misfit, unknown_name
from simbench.units import BitsPerSecond, Nanoseconds


class Region(Spec):
    """A place with nodes."""

    name: str = "us-west-2"
    """Of your own, or the provider's where figures are looked up."""
    nodes: PositiveInt = 4
    """Nodes there."""


class WAN(SwitchedTopology):
    """Nodes in regions; a link each way between any two regions, shared by all that crosses it.

    Nodes fill the regions in the order of the file. A matrix has a row for each region from which,
    and a column for each to which; its diagonal is empty (``~``). Its latency comes on top of that
    of the nodes' own links. A server on its own machine stands in the first region.

    The published rates are those between one pair of machines: where several pairs cross at once,
    they get less here than they would there.
    """

    kind: Literal["wan"] = "wan"
    regions: tuple[Region, ...] = Field(
        default=(Region(), Region(name="eu-central-1")), min_length=1
    )
    """The regions, in the order of ranks."""
    latency_between: tuple[tuple[Nanoseconds | None, ...], ...] | None = None
    """Matrix of latencies from region to region, one way; by default those of ``table``."""
    bandwidth_between: tuple[tuple[BitsPerSecond | None, ...], ...] | None = None
    """Matrix of rates from region to region; by default those of ``table``."""
    table: Literal["aws"] = "aws"
    """Where to look up what isn't given: ``aws`` knows ten regions by Amazon's names for them."""
    jitter_between: Nanoseconds = 0
    """Mean of the exponential extra latency of a message from region to region."""
    loss_between: Probability = 0.0
    """Probability that a packet is lost from region to region."""

    @model_validator(mode="after")
    def _matrices_fit(self) -> "WAN":
        names = self._names
        if len(set(names)) < len(names):
            raise misfit(("regions",), f"each has a name of its own; got {', '.join(names)}")
        for key in ("latency_between", "bandwidth_between"):
            matrix = getattr(self, key)
            if matrix is None:
                for name in names:
                    if name not in AWS_REGIONS:
                        unknown = unknown_name(name, list(AWS_REGIONS), "region of AWS")
                        raise misfit(
                            ("regions", names.index(name), "name"),
                            f"{unknown.message()}; or give {key}",
                        )
                continue
            if [len(row) for row in matrix] != [len(names)] * len(names):
                lengths = ", ".join(str(len(row)) for row in matrix)
                raise misfit(
                    (key,),
                    f"expected a row and a column for each of {len(names)} regions; got "
                    f"{len(matrix)} rows of {lengths}",
                )
            for (i, one), (j, other) in itertools.product(enumerate(names), repeat=2):
                if (matrix[i][j] is None) != (i == j):
                    raise misfit(
                        (key, i, j),
                        f"from {one} to itself there is no link: expected ~"
                        if i == j
                        else f"a value is missing from {one} to {other}",
                    )
        return self

    def check(self, num_workers: int, num_servers: int) -> None:
        """Refuse regions that hold another number of nodes."""
        total = sum(region.nodes for region in self.regions)
        if total != num_workers:
            raise misfit(("regions",), f"they hold {total} nodes; the cluster has {num_workers}")
        super().check(num_workers, num_servers)

    def links(self, num_nodes: int) -> tuple[Link, ...]:
        """Return up and down of every node, then the links between regions, row by row."""
        homes = self._homes(num_nodes)
        links = [link for rank in range(num_nodes) for link in self.attach(rank, homes[rank])]
        for one, other in itertools.permutations(self._names, 2):
            latency_ns, rate_bps = self._between(one, other)
            links.append(
                Link(one, other, rate_bps, latency_ns, self.jitter_between, self.loss_between)
            )
        return tuple(links)

    def layout(self, num_nodes: int) -> Layout:
        """Return the regions on a circle."""
        members: dict[Place, list[Place]] = {name: [] for name in self._names}
        for rank, home in enumerate(self._homes(num_nodes)):
            members[home].append(rank)
        return clusters(members)

    @property
    def _names(self) -> list[str]:
        return [region.name for region in self.regions]

    def _homes(self, num_nodes: int) -> list[str]:
        """Return the region of each node."""
        homes = [region.name for region in self.regions for _ in range(region.nodes)]
        return homes + [homes[0]] * (num_nodes - len(homes))

    def _between(self, one: str, other: str) -> tuple[int, int]:
        row, column = self._names.index(one), self._names.index(other)
        latencies_ns, rates_bps = self.latency_between, self.bandwidth_between
        latency_ns = aws(one, other)[0] if latencies_ns is None else latencies_ns[row][column]
        rate_bps = aws(one, other)[1] if rates_bps is None else rates_bps[row][column]
        assert latency_ns is not None
        assert rate_bps is not None
        return latency_ns, rate_bps
