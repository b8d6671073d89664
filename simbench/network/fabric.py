"""The fabric: flows under way over a topology, on the virtual clock."""

import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

from simpy.events import Event

from simbench.clock import Clock
from simbench.network.flow import NEVER, Aggregate, Flow, Route
from simbench.network.latency_jitter import LatencyJitter
from simbench.network.sharing import Sharing
from simbench.network.topology import Network, NoRouteError, Path, Topology

_NOWHERE = Path((), 0)
_NO_ROUTE = Route((), 0)
_by_number = operator.attrgetter("number")


class Instant:
    """What is to happen at one moment: a single event of SimPy, however many flows it concerns."""

    __slots__ = ("begins", "ends", "lost")

    def __init__(self) -> None:
        self.ends: list[Flow | Aggregate] = []
        self.begins: list[Flow] = []
        self.lost: list[tuple[Flow, int]] = []


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
        self._sharing = Sharing([link.rate_bps for link in self.network.links])
        self._routes: dict[tuple[int, int, int], Route] = {}
        self._old_routes: list[Route] = []
        self._instants: dict[int, Instant] = {}
        self._settling = False
        self._num_flows = 0
        self._waiting: dict[Flow, None] = {}
        """Flows whose first bit is on its way."""
        self._down_links: frozenset[int] = frozenset()
        self._down_nodes: frozenset[int] = frozenset()

    def carry(
        self,
        sender: int,
        receiver: int,
        num_bytes: int,
        finished: Callable[[], Any],
        hops_in_turn: int = 1,
        *,
        weight: float = 1.0,
        cap_bps: int | None = None,
        delay_ns: int = 0,
        way: int = 0,
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
            cut: called instead of ``finished``, with the bytes that haven't arrived, when a link
                or a node fails; a flow without it must not meet a failure.
        """
        route = self._routes.get((sender, receiver, way)) or self._find(sender, receiver, way)
        to_carry = num_bytes if route.links else 0
        flow = Flow(
            self._num_flows, sender, receiver, route, to_carry, weight, cap_bps, finished, cut
        )
        self._num_flows += 1
        wait_ns = route.latency_ns * hops_in_turn + delay_ns
        if route.jitter_ns:
            wait_ns += self._jitter.extra_ns(sender, receiver, route.jitter_ns, hops_in_turn)
        if route is _NO_ROUTE:
            self._at(self._clock.now_ns).lost.append((flow, num_bytes))
        elif wait_ns:
            self._waiting[flow] = None
            self._at(self._clock.now_ns + wait_ns).begins.append(flow)
        elif not to_carry:
            finished()
        else:
            self._sharing.join(flow, self._clock.now_ns)
            self._see_to_changes()
        return flow

    def cap(self, flow: Flow, rate_bps: int | None) -> None:
        """From now on, ``flow`` is never faster than ``rate_bps``; None lifts the cap."""
        flow.cap_bps = rate_bps
        if flow.under_way:
            self._sharing.limit(flow, self._clock.now_ns)
            self._see_to_changes()

    def set_rate(self, link: int, rate_bps: int) -> None:
        """From now on, ``link`` carries ``rate_bps``; with 0, its flows stand still."""
        self._sharing.set_rate(self._sharing.link(link), rate_bps, self._clock.now_ns)
        self._see_to_changes()

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
            for flow in sorted([*self._waiting, *self._sharing.flows()], key=_by_number)
            if flow.sender in nodes
            or flow.receiver in nodes
            or any(link.index in links for link in flow.links)
        ]
        lost = []
        for flow in victims:
            lost.append((flow, math.ceil(flow.bits_left_at(now_ns) / 8)))
            if flow.under_way:
                self._sharing.leave(flow, now_ns)
            else:
                del self._waiting[flow]
        self._see_to_changes()
        for flow, bytes_left in lost:
            flow.route.num_bytes += flow.num_bytes - bytes_left
            _tell_loss(flow, bytes_left)

    def mend(self, links: Iterable[int] = (), nodes: Iterable[int] = ()) -> None:
        """Let links and nodes work again."""
        self._down_links -= frozenset(links)
        self._down_nodes -= frozenset(nodes)
        self._reroute()

    def _reroute(self) -> None:
        self.network.set_down(self._down_links)
        self._old_routes += self._routes.values()
        self._routes.clear()

    def carried_bytes(self) -> dict[int, int]:
        """Return the bytes that every link has carried of flows that are through, or cut."""
        carried: dict[int, int] = {}
        for route in [*self._old_routes, *self._routes.values()]:
            for link in route.links:
                carried[link.index] = carried.get(link.index, 0) + route.num_bytes
        return carried

    def _find(self, sender: int, receiver: int, way: int) -> Route:
        if sender in self._down_nodes or receiver in self._down_nodes:
            return _NO_ROUTE
        try:
            path = _NOWHERE if sender == receiver else self.network.path(sender, receiver, way)
        except NoRouteError:
            return _NO_ROUTE
        links = tuple([self._sharing.link(index) for index in path.links])
        route = Route(links, path.latency_ns, path.jitter_ns)
        self._routes[sender, receiver, way] = route
        return route

    # -- moments

    def _at(self, time_ns: int) -> Instant:
        """Return what is to happen at ``time_ns``, to be added to."""
        instant = self._instants.get(time_ns)
        if instant is None:
            instant = self._instants[time_ns] = Instant()
            timeout = self._clock.timeout(time_ns - self._clock.now_ns)
            timeout.callbacks.append(self._happen)
        return instant

    def _happen(self, _: Event) -> None:
        now_ns = self._clock.now_ns
        instant = self._instants.pop(now_ns)
        through = self._end(instant.ends, now_ns)
        for flow in instant.begins:
            if flow in self._waiting:
                del self._waiting[flow]
                if flow.num_bytes:
                    self._sharing.join(flow, now_ns)
                else:
                    through.append(flow)
        self._see_to_changes()
        if len(through) > 1:
            through.sort(key=_by_number)
        for flow in through:
            flow.route.num_bytes += flow.num_bytes
            flow.finished()
        for flow, bytes_left in instant.lost:
            _tell_loss(flow, bytes_left)

    def _end(self, expected: list[Flow | Aggregate], now_ns: int) -> list[Flow]:
        """Take off their links those that are through, if they still are; return them."""
        through = []
        for each in expected:
            if isinstance(each, Flow):
                if each.ends_ns == now_ns:
                    self._sharing.leave(each, now_ns)
                    through.append(each)
            elif each.alarm_ns == now_ns:
                each.alarm_ns = NEVER
                if each.ends_ns == now_ns:
                    done = each.done(now_ns)
                    for flow in done:
                        self._sharing.leave(flow, now_ns)
                    through += done
                self._foresee(each)
        return through

    def _see_to_changes(self) -> None:
        """Set alarms for the ends that are known anew; see to it that rates are worked out."""
        foreseen = self._sharing.foreseen
        for each in foreseen:
            self._foresee(each)
        foreseen.clear()
        if self._sharing.dirty and not self._settling:
            self._settling = True
            event = Event(self._clock)
            event.callbacks.append(self._settle)
            self._clock.last(event)

    def _settle(self, _: Event) -> None:
        self._settling = False
        self._sharing.settle(self._clock.now_ns)
        self._see_to_changes()

    def _foresee(self, each: Flow | Aggregate) -> None:
        """Look again when the end is there; an aggregate has one alarm, which may be too early."""
        ends_ns = each.ends_ns
        if ends_ns == NEVER:
            return
        if isinstance(each, Aggregate):
            if each.alarm_ns != NEVER and each.alarm_ns <= ends_ns:
                return
            each.alarm_ns = ends_ns
        self._at(ends_ns).ends.append(each)


def _tell_loss(flow: Flow, bytes_left: int) -> None:
    assert flow.cut is not None, (
        f"a flow from node {flow.sender} to node {flow.receiver} was cut, and whoever sent it "
        "didn't say what to do then"
    )
    flow.cut(bytes_left)
