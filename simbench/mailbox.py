"""The mailbox of a node: messages wait for readers, readers wait for messages, both in order.

A message that nobody reads stays until the run ends, and is counted in the record; one from a node
that leaves is thrown away then, and who waits for one from it waits no longer.
"""

from dataclasses import dataclass
from typing import Any

from simpy.events import Event

from simbench.clock import Clock


@dataclass(frozen=True)
class Mail:
    """What arrived: from whom, under which tag, the body, and the version and number with it."""

    sender: int
    tag: str
    body: Any
    version: int = 0
    number: float = 0.0


Tags = str | tuple[str, ...] | None
"""One tag, any of several, or any."""


class Receive(Event):
    """A wait for mail that matches; its value is the ``Mail``, or None if its sender left."""

    def __init__(
        self, clock: Clock, tag: Tags, sender: int | None, newer_than: int | None = None
    ) -> None:
        super().__init__(clock)
        self.tag = tag
        self.sender = sender
        self.newer_than = newer_than

    @property
    def mail(self) -> Mail:
        """What arrived; only once it has."""
        assert isinstance(self.value, Mail)
        return self.value

    def matches(self, mail: Mail) -> bool:
        """Whether this reader wants ``mail``."""
        return (
            (mail.tag in self.tag if isinstance(self.tag, tuple) else self.tag in (None, mail.tag))
            and self.sender in (None, mail.sender)
            and (self.newer_than is None or mail.version > self.newer_than)
        )

    def __str__(self) -> str:
        tags = (self.tag,) if isinstance(self.tag, str) else self.tag
        what = f"a message {' or '.join(map(repr, tags))}" if tags else "any message"
        return what if self.sender is None else f"{what} from node {self.sender}"


class Mailbox:
    """Matches mail with readers, first come first served on both sides."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.unread: list[Mail] = []
        self.readers: list[Receive] = []

    def put(self, mail: Mail) -> None:
        """Hand ``mail`` to the first reader who wants it, or keep it."""
        if not self._hand_out(mail):
            self.unread.append(mail)

    def offer(self, mail: Mail) -> None:
        """Hand ``mail`` to a reader who waits for it now; nobody else is told."""
        self._hand_out(mail)

    def receive(self, tag: Tags, sender: int | None, newer_than: int | None = None) -> Receive:
        """Return the event of the oldest matching mail, there already or still to come."""
        reader = Receive(self._clock, tag, sender, newer_than)
        for mail in self.unread:
            if reader.matches(mail):
                self.unread.remove(mail)
                reader.succeed(mail)
                return reader
        self.readers.append(reader)
        return reader

    def undo(self, reader: Receive) -> None:
        """Stop waiting; mail that was handed out goes to the next reader, or back to the front."""
        if reader in self.readers:
            self.readers.remove(reader)
        elif reader.triggered and not self._hand_out(reader.mail):
            self.unread.insert(0, reader.mail)

    def part_with(self, sender: int) -> int:
        """Let ``sender`` be gone: throw away what it sent and nobody read, and tell how much."""
        kept = [mail for mail in self.unread if mail.sender != sender]
        num_thrown_away = len(self.unread) - len(kept)
        self.unread = kept
        for reader in [each for each in self.readers if each.sender == sender]:
            self.readers.remove(reader)
            reader.succeed(None)
        return num_thrown_away

    def clear(self) -> int:
        """Forget all mail and all readers; return how much mail that was."""
        num_thrown_away = len(self.unread)
        self.unread, self.readers = [], []
        return num_thrown_away

    def _hand_out(self, mail: Mail) -> bool:
        for reader in self.readers:
            if reader.matches(mail):
                self.readers.remove(reader)
                reader.succeed(mail)
                return True
        return False
