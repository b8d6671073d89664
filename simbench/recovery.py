"""What a policy makes of failures: nodes that leave, join and go back to what was kept.

It hears of nodes that go down and come back from their surroundings, and of states from the nodes.
All that a strategy does for it is to say where a round ends and what it would need to go on.
"""

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from simpy.events import Event

from simbench.kept import Checkpoints, Kept, stored
from simbench.mailbox import Mail
from simbench.node import Node, Steps
from simbench.policies.restart import Restart
from simbench.policy import Policy
from simbench.records import Happening, Message
from simbench.surroundings import Surroundings
from simbench.world import Gathering, World

_BEHIND_CONDITIONS = 1 << 80


class Recovery:
    """Lets the nodes of one run live, leave and join as ``policy`` says."""

    def __init__(
        self,
        policy: Policy,
        world: World,
        nodes: Sequence[Node],
        around: Surroundings | None,
        *,
        work: Callable[[Node], Steps],
        serve: Callable[[Node], Steps],
        donors: Callable[[int, Sequence[int], int], Sequence[int]],
        left: Callable[[int], None],
        joined: Callable[[int], None],
        went_back: Callable[[], None],
    ) -> None:
        """Begin.

        Args:
            policy: what is done.
            world: of the nodes.
            nodes: all machines, by rank.
            around: where nodes fail; None if nothing goes wrong.
            work: what a worker does from its beginning.
            serve: what a server does, if there is one.
            donors: (newcomer, members, number of workers) -> who of them may hand it the state.
            left: told of each worker that is no member any more.
            joined: told of each that is one again.
            went_back: told when all go back to what was kept.
        """
        self._policy = policy
        self._world = world
        self._clock = world.clock
        self._membership = world.membership
        self._servers = world.server_ranks
        self._nodes = nodes
        self._around = around
        self._work, self._serve, self._donors_for = work, serve, donors
        self._left, self._joined, self._went_back = left, joined, went_back
        self._outages = [0] * len(nodes)
        """How often each was down."""
        self._pending: dict[int, None] = {}
        """Who is back and waits to be handed the state."""
        self._donors: dict[int, int] = {}
        """Who is being handed it, and by whom."""
        self._kept: dict[int, Kept] = {}
        self._a_server_failed = False
        self.checkpoints: Checkpoints | None = None
        if isinstance(policy, Restart):
            self.checkpoints = Checkpoints(policy, world.clock, nodes)
        self._membership.joined = self._note_joined
        world.keep = self._keep
        if around is not None:
            around.watcher = self
        for rank in self._membership.workers:
            self._begin(rank, self._work)
        for rank in self._servers:
            self._begin(rank, self._serve)

    # -- what nodes tell

    def _keep(self, rank: int, memory: tuple[Any, ...], steps_begun: int) -> Steps:
        kept = self._kept[rank] = Kept(memory, steps_begun)
        members = self._membership
        if not self._servers and members.newest_round <= kept.done:
            for newcomer in sorted(self._pending):
                if rank in self._donors_for(newcomer, members.members, len(members.workers)):
                    del self._pending[newcomer]
                    members.join(newcomer, kept.done + 1)
                    self._hand_over(rank, newcomer, kept.for_others())
        if self.checkpoints is not None:
            there = [each for each in members.members if members.takes_part(each, kept.done)]
            yield from self.checkpoints.write(rank, kept, self._servers or there)

    # -- what surroundings tell

    def went_down(self, rank: int) -> None:
        """Begin to notice it."""
        if not self._may_leave(rank):
            if self._policy.rolls_back and rank in self._servers:
                self._later(rank, lambda: self._roll_back(rank))
            return
        if rank not in self._membership:
            # It was about to join.
            self._pending.pop(rank, None)
            self._silence(rank)
            return
        self._outages[rank] += 1
        outage = self._outages[rank]
        if self._clock.now_ns == 0:
            # Who isn't there at the beginning was never waited for.
            self._leave(rank)
            return
        self._later(rank, lambda: self._detect(rank, outage))

    def came_up(self, rank: int) -> None:
        """Let it join, if it had left."""
        if not self._may_leave(rank):
            if self._a_server_failed and rank in self._servers:
                self._roll_back(rank)
        elif rank not in self._membership:
            self._ask(rank)
            self._begin_alone()

    def _later(self, rank: int, call: Callable[[], None]) -> None:
        event = Event(self._clock)
        assert event.callbacks is not None
        event.callbacks.append(lambda _: call())
        self._clock.afterwards(event, _BEHIND_CONDITIONS + rank, self._policy.detection_ns)

    def _detect(self, rank: int, outage: int) -> None:
        if self._policy.rolls_back:
            self._roll_back(rank)
        elif self._outages[rank] == outage and self._is_down(rank) and rank in self._membership:
            self._leave(rank)

    # -- leaving

    def _leave(self, rank: int) -> None:
        """Go on without ``rank``, and let nobody wait for it."""
        self._note(rank, "left")
        self._part_with(rank)
        # Who was being handed the state by it begins anew with another.
        for newcomer in [each for each, donor in self._donors.items() if donor == rank]:
            self._part_with(newcomer)
            self._pending[newcomer] = None
        world = self._world
        for server in self._servers:
            world.mailboxes[server].offer(Mail(rank, "left", None))
        self._begin_alone()

    def _part_with(self, rank: int) -> None:
        self._membership.leave(rank)
        self._donors.pop(rank, None)
        self._silence(rank)
        world = self._world
        for meeting in [each for each in world.running if rank in each.ranks]:
            # What had been begun is for nothing.
            begun = frozenset(meeting.numbers)
            self._drop(lambda message, begun=begun: message.number in begun)  # type: ignore[misc]
            world.running.remove(meeting)
            self._go_on_with(meeting, rank)
        for key, meeting in list(world.meetings.items()):
            absent = meeting.absent(self._membership)
            if rank in meeting.ranks and not absent:
                del world.meetings[key]
                self._go_on_with(meeting, rank)
            elif rank in meeting.joined:
                del meeting.joined[rank], meeting.waiting[rank]
        self._left(rank)

    def _go_on_with(self, meeting: Gathering, rank: int) -> None:
        """Begin a collective without ``rank``, if anybody else is there."""
        meeting.joined.pop(rank, None)
        meeting.waiting.pop(rank, None)
        if meeting.joined:
            self._world.begin(meeting)

    def _silence(self, rank: int) -> None:
        """End all that runs on ``rank``, and drop what came from it or is on its way."""
        self._nodes[rank].end()
        self._drop(lambda message: rank in (message.sender, message.receiver))
        for mailbox in self._world.mailboxes:
            self._world.num_thrown_away += mailbox.part_with(rank)

    def _drop(self, which: Callable[[Message], bool]) -> None:
        world = self._world
        assert self._around is not None, "nothing fails where nothing goes wrong"
        for number, delivery in list(world.under_way.items()):
            message = world.messages[number]
            if which(message):
                self._around.deliveries.give_up(delivery)
                del world.under_way[number]
                world.dropped[number] = self._clock.now_ns
                self._tell(f"{message.sender} -> {message.receiver}", "dropped")

    # -- joining

    def _ask(self, rank: int) -> None:
        """Let ``rank``, which is back, ask for the state."""
        if not self._servers:
            self._pending[rank] = None
        else:
            self._begin(rank, self._join_servers)

    def _join_servers(self, node: Node) -> Steps:
        """Ask all servers for their model and begin to work from there."""
        if len(self._servers) == 1:
            node.send(node.server, None, tag="join")
            mail = yield node.receive("model", node.server)
            node.start_from(mail.body, mail.version)
        else:
            self._ask_all(node.rank)
            mails = yield from node.receive_from_each(self._servers, "model")
            assert len({mail.version for mail in mails}) == 1, "pieces are of one version"
            node.start_from(node.paste([mail.body for mail in mails]), mails[0].version)
        self._note(node.rank, "restored")
        yield from self._work(node)

    def _ask_all(self, rank: int) -> None:
        """Let ``rank`` be a member once all servers have heard its question, for all at once.

        It takes part in the newest round, which no server has ended: those who are in it send their
        pieces at once, and the others when they come to it. So all pieces are of one version.
        """
        world, unheard = self._world, dict.fromkeys(self._servers)

        def hear(number: int, server: int) -> None:
            world.note_arrival(number)
            del unheard[server]
            if unheard:
                return
            if rank not in self._membership:  # a server's machine always is
                self._membership.join(rank, self._membership.newest_round)
            for each in self._servers:
                world.mailboxes[each].put(Mail(rank, "join", None))

        for server in self._servers:
            number = world.post(rank, server, "join", 0)
            world.carry(number, 0, functools.partial(hear, number, server))

    def _hand_over(self, donor: int, rank: int, kept: Kept, steps_begun: int | None = None) -> None:
        """Send ``kept`` from ``donor`` to ``rank``, which goes on from there once it has it."""
        world = self._world
        number = world.post(donor, rank, "state", kept.num_bytes)
        memory = kept.held_by(self._nodes[rank])
        self._donors[rank] = donor

        def arrive() -> None:
            world.note_arrival(number)
            del self._donors[rank]
            self._nodes[rank].go_on_from(memory, steps_begun)
            self._note(rank, "restored")
            self._begin(rank, self._work)

        world.carry(number, kept.num_bytes, arrive)

    def _begin_alone(self) -> None:
        """Where nobody is left to ask, let the first who is back go on from what it had kept."""
        if self._membership.members or not self._pending:
            return
        rank = min(self._pending)
        del self._pending[rank]
        kept = stored(self._kept if self.checkpoints is None else self.checkpoints.states, rank)
        done = kept.done if kept else 0
        self._membership.join(rank, done + 1)
        self._reset(done)
        self._restart(rank, kept, self._work)

    # -- going back

    def _roll_back(self, failed: int) -> None:
        """Let all go back to the last checkpoint, ``failed`` with them if it is up again."""
        assert self.checkpoints is not None, "only those who write them go back to them"
        world, members = self._world, self._membership
        self._a_server_failed = any(map(self._is_down, self._servers))
        if self._a_server_failed:
            return  # Until it is back.
        for node in self._nodes:
            node.end()
        self._drop(lambda _: True)
        world.meetings.clear()
        world.running.clear()
        if failed in members and self._may_leave(failed) and self._is_down(failed):
            self._note(failed, "left")
            members.leave(failed)
        self._reset(self.checkpoints.done)
        states = self.checkpoints.states
        if not self._servers:
            self._restore(failed, states)
            self._begin_alone()
            return
        for server in self._servers:
            self._restart(server, states.get(server), self._serve)
        for rank in members.workers:
            if rank not in self._servers and rank in members:
                members.leave(rank)
            if not self._is_down(rank):
                self._begin(rank, self._join_servers)

    def _restore(self, failed: int, states: Mapping[int, Kept]) -> None:
        """Let every member go on from its checkpoint; who failed, or has none, is sent one."""
        donors = [each for each in self._membership.members if each in states and each != failed]
        for rank in self._membership.members:
            kept = stored(states, rank)
            if kept is not None and donors and rank not in donors:
                steps_begun = kept.steps_begun if rank in states else None
                self._hand_over(donors[0], rank, kept, steps_begun)
            else:
                self._restart(rank, kept, self._work)

    def _restart(self, rank: int, kept: Kept | None, part: Callable[[Node], Steps]) -> None:
        """Let ``rank`` go on from what was stored, or from the beginning."""
        if kept is not None:
            node = self._nodes[rank]
            node.go_on_from(kept.held_by(node), kept.steps_begun)
        self._note(rank, "restored")
        self._begin(rank, part, self._policy.recovery_ns)

    def _reset(self, done: int) -> None:
        """Be where all are behind ``done``, and nobody further."""
        if self._servers:  # rounds are theirs alone
            self._membership.newest_round = done
        else:
            self._membership.go_back(done)
        self._donors.clear()
        if self.checkpoints is not None:
            self.checkpoints.go_back(done)
        self._went_back()

    # -- living

    def _begin(self, rank: int, part: Callable[[Node], Steps], delay_ns: int = 0) -> None:
        node = self._nodes[rank]

        def live() -> Steps:
            if delay_ns:
                yield self._clock.timeout(delay_ns)
            yield from part(node)

        node.start(live())

    def _may_leave(self, rank: int) -> bool:
        """Whether others can go on without ``rank``: it is a worker, and no server."""
        return rank in self._membership.workers and rank not in self._servers

    def _is_down(self, rank: int) -> bool:
        return self._around is not None and self._around.is_down(rank)

    # -- books

    def sum_up(self, events: Sequence[Happening], end_ns: int) -> dict[str, int]:
        """Return, for the summary, how often what happened until ``end_ns``."""
        counts = Counter(each.what for each in events if each.kind == "membership")
        times = {what: counts[what] for what in ("left", "joined", "restored")}
        written_ns = self.checkpoints.written_ns if self.checkpoints else []
        times["checkpoints"] = sum(at_ns <= end_ns for at_ns in written_ns)
        return times | {"dropped_messages": counts["dropped"]}

    def _note_joined(self, rank: int) -> None:
        self._note(rank, "joined")
        self._joined(rank)

    def _note(self, rank: int, what: str) -> None:
        self._tell(f"node {rank}", what)

    def _tell(self, subject: str, what: str) -> None:
        assert self._around is not None, "nothing fails where nothing goes wrong"
        self._around.note("membership", subject, what)
