"""The fabric: flows under way over a topology, on the virtual clock."""

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from simpy.events import Event

from simbench.clock import Clock, Recurring
from simbench.network.agenda import Agenda
from simbench.network.flow import Aggregate, Flow, Route, SharedLink, whole_weight
from simbench.network.latency_jitter import LatencyJitter
from simbench.network.sharing import Sharing
from simbench.network.topology import Network, NoRouteError, Path, Topology

_NOWHERE = Path((), 0)
# Nobody arrives before he starts.
_NO_WAY = Path((), -1)
_by_number = operator.attrgetter("number")


class Fabric:
    """Carries bytes: the latency of the path first, then a fair share of its links until the last.

    At one moment, flows that are through leave before others begin, and who waits for them is
    told after that, in the order in which they were sent. Rates are worked out after everything
    else that happens at that moment.
    """

    def __init__(self, clock: Clock, topology: Topology, num_nodes: int, *, seed: int = 0) -> None:
        """Build the network; ``seed`` is that of the jitter of its links."""
        self._clock = clock
        self._jitter = LatencyJitter(seed)
        self.network = Network(topology, num_nodes)
        """As it was built: collectives are planned for it."""
        self._passable = self.network
        """What of it is up."""
        self._routes: dict[tuple[int, int, int], Route] = {}
        self._retired: dict[tuple[int, int, tuple[SharedLink, ...]], Route] = {}
        """Routes as they were before links or nodes failed or were mended: they may come back."""
        self._agenda = Agenda(clock, self._happen)
        links = self.network.links
        self._sharing = Sharing(
            [link.rate_bps for link in links],
            self._agenda.end,
            [link.burst_bytes for link in links],
        )
        self._settlement = Recurring(clock, self._settle)
        self._settling = False
        self._num_flows = 0
        self._down_links: frozenset[int] = frozenset()
        self._down_nodes: frozenset[int] = frozenset()

    def carry(
        self,
        sender: int,
        receiver: int,
        num_bytes: int,
        finished: Callable[[], Any],
        hops_in_turn: int = 1,
        weight: float = 1.0,
        cap_bps: int | None = None,
        delay_ns: int = 0,
        way: int = 0,
        expansion: float = 1.0,
        cut: Callable[[int], Any] | None = None,
    ) -> Flow:
        """Begin to carry ``num_bytes``; call ``finished`` when the last one arrives.

        Args:
            sender: a node's rank.
            receiver: another's, or the same: then nothing has to be carried.
            num_bytes: how much.
            finished: called once, unless the flow is cut.
            hops_in_turn: how often the latency is waited for: a flow that stands for a chain of
                messages has as many as the chain has links.
            weight: of two flows over one full link, one of twice the weight has twice the rate.
            cap_bps: the flow is never faster; None if only links limit it.
            delay_ns: what it waits for besides the latency.
            way: flows of different ways between two nodes may take different paths.
            expansion: bytes on the links for each of the message.
            cut: called instead of ``finished``, with the bytes that haven't arrived, when a link
                or a node fails; a flow without it must not meet a failure.
        """
        route = self._routes.get((sender, receiver, way)) or self._find(sender, receiver, way)
        flow = Flow(
            self._num_flows,
            route,
            num_bytes if route.links else 0,
            weight,
            cap_bps,
            finished,
            cut,
            expansion,
        )
        self._num_flows += 1
        wait_ns = route.latency_ns * hops_in_turn + delay_ns
        if route.jitter_ns:
            wait_ns += self._jitter.extra_ns(sender, receiver, route.jitter_ns, hops_in_turn)
        now_ns = self._clock.now_ns
        if route.latency_ns < 0:
            told = self._clock.timeout(0)
            told.callbacks.append(lambda _: _tell_loss(flow, num_bytes))
        elif wait_ns:
            self._agenda.begin(flow, now_ns + wait_ns)
        elif not flow.num_bytes:
            finished()
        else:
            self._sharing.join(flow, now_ns)
            self._settle_last()
        return flow

    @property
    def now_ns(self) -> int:
        """The virtual time."""
        return self._clock.now_ns

    def after(self, delay_ns: int) -> Event:
        """Return what happens after ``delay_ns``."""
        return self._clock.timeout(delay_ns)

    def route(self, sender: int, receiver: int, way: int = 0) -> Route:
        """Return the way from ``sender`` to ``receiver`` as it is now."""
        return self._routes.get((sender, receiver, way)) or self._find(sender, receiver, way)

    def cap(self, flow: Flow, rate_bps: int | None) -> None:
        """From now on, ``flow`` is never faster than ``rate_bps``; None lifts the cap."""
        flow.cap_bps = rate_bps
        if flow.under_way:
            self._sharing.limit(flow, self._clock.now_ns)
            self._settle_last()

    def weigh(self, flow: Flow, weight: float) -> None:
        """From now on, ``flow`` shares links with this weight."""
        if flow.under_way:
            self._sharing.weigh(flow, weight, self._clock.now_ns)
            self._settle_last()
        else:
            flow.weight = whole_weight(weight)

    def set_rate(self, link: int, rate_bps: int) -> None:
        """From now on, ``link`` carries ``rate_bps``; with 0, its flows stand still."""
        self._sharing.set_rate(self._sharing.link(link), rate_bps, self._clock.now_ns)
        self._settle_last()

    def set_share(self, link: int, share: float) -> None:
        """From now on, ``share`` of what ``link`` carries is there for flows."""
        self._sharing.set_share(self._sharing.link(link), share, self._clock.now_ns)
        self._settle_last()

    # -- failures

    def cut(self, links: Iterable[int] = (), nodes: Iterable[int] = ()) -> None:
        """Let links and nodes fail, until they are mended.

        What is under way over them, from them or to them is cut, and so is what nodes that are
        down send or are sent. Other flows take ways around links that are down, if there are any,
        and are cut if not. Whoever sent a flow is told by its ``cut``.
        """
        links, nodes = frozenset(links), frozenset(nodes)
        self._down_links |= links
        self._down_nodes |= nodes
        self._reroute()
        now_ns = self._clock.now_ns
        victims = [
            flow
            for flow in sorted(self.flows(), key=_by_number)
            if flow.route.sender in nodes
            or flow.route.receiver in nodes
            or any(link.index in links for link in flow.links)
        ]
        # A byte isn't lost to the last bit of a float.
        lost = [
            (flow, math.ceil(flow.bits_left_at(now_ns) / 8 / flow.expansion - 1e-6))
            for flow in victims
        ]
        for flow in victims:
            if flow.under_way:
                self._sharing.leave(flow, now_ns)
        self._agenda.strike(frozenset(victims))
        self._settle_last()
        for flow, bytes_left in lost:
            flow.route.num_bytes += flow.num_bytes - bytes_left
            _tell_loss(flow, bytes_left)

    def mend(self, links: Iterable[int] = (), nodes: Iterable[int] = ()) -> None:
        """Let links and nodes work again."""
        self._down_links -= frozenset(links)
        self._down_nodes -= frozenset(nodes)
        self._reroute()

    def flows(self) -> list[Flow]:
        """Return what is being carried, in no order that means anything."""
        return [*self._agenda.waiting(), *self._sharing.flows()]

    def is_down(self, node: int) -> bool:
        """Whether ``node`` has failed and isn't mended."""
        return node in self._down_nodes

    def has_way(self, sender: int, receiver: int) -> bool:
        """Whether what is sent now isn't cut at once."""
        return self.route(sender, receiver).latency_ns >= 0

    def give_up(self, flow: Flow) -> None:
        """Stop to carry ``flow``, which isn't through; nobody is told."""
        now_ns = self._clock.now_ns
        bytes_left = math.ceil(flow.bits_left_at(now_ns) / 8 / flow.expansion - 1e-6)
        flow.route.num_bytes += flow.num_bytes - bytes_left
        if flow.under_way:
            self._sharing.leave(flow, now_ns)
        self._agenda.strike(frozenset([flow]))
        self._settle_last()

    @property
    def num_alarms(self) -> int:
        """How many events of the clock are moments of flows."""
        return self._agenda.num_alarms

    def _reroute(self) -> None:
        if self._passable is self.network:
            self._passable = Network(self.network.topology, self.network.num_nodes)
        self._passable.set_down(self._down_links)
        for route in self._routes.values():
            self._retired[route.sender, route.receiver, route.links] = route
        self._routes.clear()

    def carried_bytes(self) -> dict[int, int]:
        """Return the bytes that every link has carried of flows that are through, or cut."""
        carried: dict[int, int] = {}
        routes = dict.fromkeys([*self._retired.values(), *self._routes.values()])
        for route in routes:
            for link in route.links:
                carried[link.index] = carried.get(link.index, 0) + route.num_bytes
        return carried

    def _find(self, sender: int, receiver: int, way: int) -> Route:
        path = _NOWHERE
        if sender in self._down_nodes or receiver in self._down_nodes:
            path = _NO_WAY
        elif sender != receiver:
            try:
                path = self._passable.path(sender, receiver, way)
            except NoRouteError:
                path = _NO_WAY
        links = tuple([self._sharing.link(index) for index in path.links])
        # Without links it may be a way that takes no time, or none.
        route = self._retired.get((sender, receiver, links)) if links else None
        if route is None:
            route = Route(sender, receiver, links, path.latency_ns, path.jitter_ns, path.loss)
        self._routes[sender, receiver, way] = route
        return route

    # -- moments

    def _happen(
        self, now_ns: int, ends: Sequence[Flow | Aggregate], begins: Sequence[Flow]
    ) -> bool:
        """Let flows end and begin; return whether rates are still to be worked out."""
        sharing = self._sharing
        through = []
        for each in ends:
            # It may have changed its mind since this was noted.
            if each.ends_ns == now_ns:
                if isinstance(each, Flow):
                    sharing.leave(each, now_ns)
                    through.append(each)
                else:
                    through += sharing.end(each, now_ns)
        for flow in begins:
            if flow.num_bytes:
                sharing.join(flow, now_ns)
            else:
                through.append(flow)
        if len(through) > 1:
            through.sort(key=_by_number)
        for flow in through:
            flow.route.num_bytes += flow.num_bytes
            flow.finished()
        if sharing.dirty and not self._settling:
            next_ns = self._clock.next_ns
            if next_ns is None or next_ns > now_ns:
                # Nothing else happens at this moment.
                sharing.settle(now_ns)
            else:
                self._settle_last()
        return self._settling

    def _settle_last(self) -> None:
        """See to it that rates are worked out after all that happens now, if they must be."""
        if self._sharing.dirty and not self._settling:
            self._settling = True
            self._clock.last(self._settlement)

    def _settle(self) -> None:
        self._settling = False
        self._sharing.settle(self._clock.now_ns)
        self._agenda.go_on()


def _tell_loss(flow: Flow, bytes_left: int) -> None:
    assert flow.cut is not None, (
        f"a flow from node {flow.route.sender} to node {flow.route.receiver} was cut, and whoever "
        "sent it didn't say what to do then"
    )
    flow.cut(bytes_left)
