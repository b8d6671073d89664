"""Three tiers of equal switches that together never block."""

from typing import Annotated, Literal

from pydantic import AfterValidator, PositiveInt

from simbench.network.cabling import TieredTopology
from simbench.network.layouts import Layout, tiers
from simbench.network.routing import Link
from simbench.spec import misfit


def _even(ports: int) -> int:
    if ports % 2:
        raise ValueError(f"a fat tree's switches have an even number of ports; got {ports}")
    return ports


class FatTree(TieredTopology):
    """Switches of k ports: k pods of k/2 edge and k/2 aggregation switches, (k/2)^2 core switches.

    It has ports for k^3/4 nodes, which fill it in order of rank. All links have the rate of the
    fastest node's. A server on its own machine is on the next free port.

    Source:
        Al-Fares, Loukissas, Vahdat, "A scalable, commodity data center network architecture",
        SIGCOMM 2008, section 2.2.
    """

    kind: Literal["fat_tree"] = "fat_tree"
    k: Annotated[PositiveInt, AfterValidator(_even)] = 4
    """Ports of each switch; even."""

    def check(self, num_workers: int, num_servers: int) -> None:
        """Refuse more nodes than there are ports."""
        num_nodes, ports = num_workers + num_servers, self.k**3 // 4
        if num_nodes > ports:
            enough = self.k
            while enough**3 // 4 < num_nodes:
                enough += 2
            raise misfit(
                ("k",),
                f"a fat tree of {self.k}-port switches has {ports} ports for nodes; {num_nodes} "
                f"machines need k = {enough}",
            )
        super().check(num_workers, num_servers)

    def links(self, num_nodes: int) -> tuple[Link, ...]:
        """Return up and down of every node, of every edge switch, of every aggregation switch."""
        half = self.k // 2
        links: list[Link] = []
        for rank in range(num_nodes):
            edge = rank // half
            links += self.attach(rank, f"edge {edge // half}.{edge % half}")
        for pod in range(self.k):
            for edge in range(half):
                for aggregation in range(half):
                    links += self._join(f"edge {pod}.{edge}", f"aggregation {pod}.{aggregation}")
        for pod in range(self.k):
            for aggregation in range(half):
                for core in range(half):
                    links += self._join(
                        f"aggregation {pod}.{aggregation}", f"core {aggregation}.{core}"
                    )
        return tuple(links)

    def layout(self, num_nodes: int) -> Layout:
        """Return nodes, edge, aggregation and core switches above each other."""
        half = self.k // 2
        rows = [
            [f"{tier} {pod}.{switch}" for pod in range(pods) for switch in range(half)]
            for tier, pods in (("edge", self.k), ("aggregation", self.k), ("core", half))
        ]
        layout = tiers([range(self.k**3 // 4), *rows])
        return {
            place: position
            for place, position in layout.items()
            if isinstance(place, str) or place < num_nodes
        }

    def _join(self, lower: str, upper: str) -> tuple[Link, Link]:
        return self.trunk(lower, upper, self.fastest_bps)
