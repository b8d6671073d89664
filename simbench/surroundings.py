"""What is up and how fast it is, where conditions stop nodes, cut links and change their rates.

Several conditions may hold a node or a link down at once: it is up again when the last lets go.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from simbench.clock import Clock
from simbench.cluster.processor import Processor
from simbench.network.delivery import Deliveries, Delivery
from simbench.network.fabric import Fabric
from simbench.network.flow import Flow
from simbench.network.topology import Network, NoRouteError
from simbench.network.transport import CuttableCarrier
from simbench.records import Happening

_MOST_ATTEMPTS = 100_000
"""After so many in vain, work or a transfer isn't believed to end: exp(-11.5) do by chance."""


class Watcher(Protocol):
    """Who hears of nodes that go down and come back."""

    def went_down(self, rank: int) -> None:
        """Node ``rank`` was up and is down."""

    def came_up(self, rank: int) -> None:
        """Node ``rank`` was down and is up."""


Change = Callable[[int], int]
"""Makes one rate of another, both in bit/s."""


class Surroundings:
    """The state of nodes and links, and the books of what happened to them."""

    def __init__(self, clock: Clock, fabric: Fabric, carrier: CuttableCarrier) -> None:
        """``carrier`` takes over ``fabric`` what strategies send."""
        self.clock = clock
        self.fabric = fabric
        self.deliveries = Deliveries(clock, fabric, carrier, self._note_transfer)
        """What strategies send."""
        self.background = Deliveries(clock, fabric, fabric)
        """What others send."""
        self.happenings: list[Happening] = []
        self.watcher: Watcher | None = None
        self.num_pending = 0
        """How many events of the clock only conditions wait for."""
        self._processors: Sequence[Processor] = ()
        self._touching: Mapping[int, tuple[int, ...]] = {}
        self._node_outages: Counter[int] = Counter()
        self._link_outages: Counter[int] = Counter()
        self._lost_nodes: dict[int, None] = {}
        """Those that never come back, and links likewise."""
        self._lost_links: dict[int, str] = {}
        self._lasting: Network | None = None
        """The network without what never comes back, once that was asked for."""
        self._changes: dict[int, dict[int, Change]] = {}
        self._dead_links: dict[int, None] = {}
        """Those that carry nothing and never will."""
        self._down_since: dict[int, int] = {}
        self._down: list[tuple[int, int, int]] = []
        self._hopeless: str | None = None

    def attach(self, processors: Sequence[Processor]) -> None:
        """Tell whose processors stop when nodes do, by rank."""
        self._processors = processors
        links = self.fabric.network.links
        touching: dict[int, list[int]] = {rank: [] for rank in range(len(processors))}
        for index, link in enumerate(links):
            for end in (link.tail, link.head):
                if isinstance(end, int) and end in touching:
                    touching[end].append(index)
        self._touching = {rank: tuple(found) for rank, found in touching.items()}

    # -- nodes and links

    def stop_node(self, rank: int, kind: str, *, for_ever: bool = False) -> None:
        """Let a node go down: its work under way is lost, what it sends or is sent is cut."""
        now_ns = self.clock.now_ns
        if for_ever:
            self._lost_nodes[rank] = None
            self._lasting = None
        self._node_outages[rank] += 1
        if self._node_outages[rank] > 1:
            return
        processor = self._processors[rank]
        since_ns = processor.busy_since_ns
        lost_ns = None if since_ns is None else now_ns - since_ns
        self.note(kind, f"node {rank}", "down", lost_ns=lost_ns)
        if processor.num_attempts > _MOST_ATTEMPTS:
            self._hopeless = (
                f"node {rank} has begun the same work {_MOST_ATTEMPTS:,} times, and always "
                "failed before its end"
            )
        self._down_since[rank] = now_ns
        processor.stop()
        self.deliveries.break_off(rank)
        self.background.break_off(rank)
        self.fabric.cut(self._newly_down(self._touching[rank]), [rank])
        if self.watcher is not None:
            self.watcher.went_down(rank)

    def start_node(self, rank: int, kind: str) -> None:
        """Let go of a node: it is up, unless something else holds it down."""
        self._node_outages[rank] -= 1
        if self._node_outages[rank]:
            return
        self._down.append((rank, self._down_since.pop(rank), self.clock.now_ns))
        self.note(kind, f"node {rank}", "up")
        self._processors[rank].start()
        self.fabric.mend(self._up_again(self._touching[rank]), [rank])
        self._try_again()
        if self.watcher is not None:
            self.watcher.came_up(rank)

    def is_down(self, rank: int) -> bool:
        """Whether a node is down."""
        return self._node_outages[rank] > 0

    def fail_links(
        self, name: str, links: Sequence[int], kind: str, *, for_ever: bool = False
    ) -> None:
        """Let the links of one cable fail; what is under way on them is cut."""
        if for_ever:
            self._lost_links |= dict.fromkeys(links, name)
            self._lasting = None
        down = self._newly_down(links)
        if down:
            self.note(kind, name, "down")
            self.fabric.cut(down)

    def mend_links(self, name: str, links: Sequence[int], kind: str) -> None:
        """Let go of links: they are up, unless something else holds them down."""
        up = self._up_again(links)
        if up:
            self.note(kind, name, "up")
            self.fabric.mend(up)
            self._try_again()

    def change_rate(
        self, link: int, number: int, change: Change | None, *, last: bool = False
    ) -> int:
        """Change what a link carries, as condition ``number`` says; return its rate.

        Changes apply in the order of ``number``; None takes back what that condition said.
        ``last`` tells that it will say nothing else.
        """
        changes = self._changes.setdefault(link, {})
        changes.pop(number, None)
        if change is not None:
            changes[number] = change
        rate_bps = self.fabric.network.links[link].rate_bps
        for each in sorted(changes):
            rate_bps = changes[each](rate_bps)
        self.fabric.set_rate(link, rate_bps)
        if last and not rate_bps:
            self._dead_links[link] = None
        return rate_bps

    def _newly_down(self, links: Sequence[int]) -> list[int]:
        self._link_outages.update(links)
        return [link for link in links if self._link_outages[link] == 1]

    def _up_again(self, links: Sequence[int]) -> list[int]:
        self._link_outages.subtract(links)
        return [link for link in links if not self._link_outages[link]]

    def _try_again(self) -> None:
        self.deliveries.try_again()
        self.background.try_again()

    # -- books

    def note(
        self,
        kind: str,
        subject: str,
        what: str,
        *,
        lost_ns: int | None = None,
        resent_bytes: int | None = None,
    ) -> None:
        """Enter something in the books."""
        now_ns = self.clock.now_ns
        self.happenings.append(Happening("", 0, now_ns, kind, subject, what, lost_ns, resent_bytes))

    def down_until(self, end_ns: int) -> list[tuple[int, int, int]]:
        """Return (rank, start_ns, end_ns) of each stretch in which a node was down.

        One under way ends at ``end_ns``, which isn't before all that has happened.
        """
        return self._down + [(rank, since, end_ns) for rank, since in self._down_since.items()]

    def _note_transfer(self, delivery: Delivery, resent_bytes: int | None) -> None:
        what = "cut" if resent_bytes is None else "again"
        self.note("transfer", str(delivery), what, resent_bytes=resent_bytes)
        if delivery.num_starts > _MOST_ATTEMPTS:
            self._hopeless = (
                f"node {delivery.sender} has sent the same to node {delivery.receiver} "
                f"{_MOST_ATTEMPTS:,} times, and it was always cut"
            )

    # -- the end

    @property
    def is_over(self) -> bool:
        """Whether conditions alone go on: nothing that they hold up can ever move again."""
        if self._hopeless is not None:
            return True
        others = self.clock.num_scheduled - self.num_pending - self.fabric.num_alarms
        return others <= 0 and not any(self._hopes())

    def _hopes(self) -> Iterator[bool]:
        """Yield, for all that is held up, whether it may move again."""
        for rank, processor in enumerate(self._processors):
            yield self.watcher is not None and self.is_down(rank) and rank not in self._lost_nodes
            yield processor.num_held > 0 and rank not in self._lost_nodes
        others = {delivery.flow for delivery in self.background.under_way}
        for flow in self.fabric.flows():
            yield flow not in others and self._may_flow(flow)
        for delivery in self.deliveries.waiting:
            yield self._may_set_out(delivery)

    def _may_flow(self, flow: Flow) -> bool:
        moves = not flow.under_way or flow.rate_bps > 0
        return moves or not any(link.index in self._dead_links for link in flow.links)

    def _may_set_out(self, delivery: Delivery) -> bool:
        sender, receiver = delivery.sender, delivery.receiver
        if sender in self._lost_nodes or receiver in self._lost_nodes:
            return False
        if self._lasting is None:
            network = self.fabric.network
            self._lasting = Network(network.topology, network.num_nodes)
            touched = [link for rank in self._lost_nodes for link in self._touching[rank]]
            self._lasting.set_down(frozenset([*self._lost_links, *touched]))
        try:
            return sender == receiver or bool(self._lasting.path(sender, receiver))
        except NoRouteError:
            return False

    def complaints(self) -> list[str]:
        """Return, for people, what can't move any more and why."""
        found = [] if self._hopeless is None else [self._hopeless]
        for rank in self._lost_nodes:
            held = self._processors[rank].num_held
            found.append(f"node {rank} is down for ever" + (" in the middle of work" * bool(held)))
        found += [f"{name} is down for ever" for name in dict.fromkeys(self._lost_links.values())]
        links = self.fabric.network.links
        found += [
            f"{links[link].tail} -> {links[link].head} carries nothing any more"
            for link in self._dead_links
        ]
        ends = [(each.sender, each.receiver) for each in self.deliveries.waiting]
        ends += [
            (each.sender, each.receiver)
            for each in self.deliveries.under_way
            if each.flow is not None and not self._may_flow(each.flow)
        ]
        return found + [
            f"a message from node {sender} to node {receiver} can't be carried"
            for sender, receiver in dict.fromkeys(ends)
        ]
