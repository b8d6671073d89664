"""Who takes part: the workers that are members, each as of some round.

A round is what a strategy counts where it keeps its state. Nodes reach a round at different times,
and must agree on who takes part in it, or one waits for a message that another never sends: so
whoever joins takes part only from a round on that nobody has entered yet.
"""

from collections.abc import Callable, Sequence


class Membership:
    """The members among the workers, all of them at first."""

    def __init__(self, num_workers: int) -> None:
        self.workers: Sequence[int] = range(num_workers)
        self._since: dict[int, int] = dict.fromkeys(self.workers, 0)
        """Member -> the first round that it takes part in."""
        self._members: Sequence[int] = self.workers
        self._settled: list[tuple[int, Sequence[int]]] = [(0, self.workers)]
        """Who takes part from which round on: one entry for each change."""
        self._settled_until = 0
        self.newest_round = 0
        """The latest round that somebody has entered."""
        self.joined: Callable[[int], object] = lambda _: None
        """Told of whoever joins."""

    @property
    def members(self) -> Sequence[int]:
        """The ranks of the members, in order."""
        return self._members

    def __contains__(self, rank: int) -> bool:
        """Whether ``rank`` is a member, from whatever round on."""
        return rank in self._since

    def takes_part(self, rank: int, round_: int) -> bool:
        """Whether ``rank`` is a member in ``round_``; a machine that is no worker always does."""
        since = self._since.get(rank)
        return rank not in self.workers if since is None else since <= round_

    def count_in(self, round_: int) -> int:
        """Return how many members take part in ``round_`` now."""
        return sum(since <= round_ for since in self._since.values())

    def leave(self, rank: int) -> None:
        """Let ``rank`` be no member."""
        del self._since[rank]
        self._note()

    def join(self, rank: int, since: int = 0) -> None:
        """Let ``rank`` be a member from round ``since`` on."""
        new = rank not in self._since
        self._since[rank] = since
        self._note()
        if new:
            self.joined(rank)

    def enter(self, round_: int) -> None:
        """Note that somebody is in ``round_``: who joins from now on joins behind it."""
        self.newest_round = max(self.newest_round, round_)

    def members_in(self, round_: int) -> Sequence[int]:
        """Return who takes part in ``round_``, the same whoever asks first, and enter it.

        A member that leaves afterwards is still among them: its messages stay away.
        """
        if round_ > self._settled_until:
            self.enter(round_)
            self._settled_until = round_
            there = [rank for rank in self._members if self._since[rank] <= round_]
            if there != list(self._settled[-1][1]):
                self._settled.append((round_, there))
        return next(there for first, there in reversed(self._settled) if first <= round_)

    def go_back(self, round_: int) -> None:
        """Forget the rounds behind ``round_``, which all members have done."""
        self.newest_round = self._settled_until = round_
        self._settled = [(round_, self._members)]
        self._since = dict.fromkeys(self._since, round_ + 1)

    def _note(self) -> None:
        self._members = sorted(self._since)
