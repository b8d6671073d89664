"""Going on without a node, and taking it in again."""

from typing import Literal

from simbench.policy import Policy
from simbench.units import Nanoseconds


class GoOn(Policy):
    """Those who are left go on without a node; one that is back gets the state and joins again.

    Once a failure is detected, the node is no member: nobody waits for it, a collective that it
    was part of begins anew without it, means are over those who are there. A node that comes back,
    or comes late, is sent the state by a member or the server and takes part from the next round
    on. An outage that ends before it is detected is waited for. So is a machine that is a server.

    Source:
        torchelastic 0.1 (pytorch.org/elastic/0.1.0rc2/usage.html): after a change of members, new
        workers receive the state of the one that has the most recent.
    """

    kind: Literal["go_on"] = "go_on"
    detection: Nanoseconds = 10**9
    """Time from a failure until the others know of it, as a time-out takes."""

    @property
    def detection_ns(self) -> int:
        """What ``detection`` says."""
        return self.detection
