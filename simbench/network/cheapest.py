"""Choosing an algorithm by its time, as libraries do."""

from typing import TypeVar

from simbench.network.collective import Collective, seconds_on
from simbench.network.topology import Network
from simbench.spec import discover

_C = TypeVar("_C", bound=Collective)

_EQUAL = 1e-6
"""Times that differ by less are equal."""


def cheapest(
    package: str, operation: type[_C], num_bytes: int, ranks: tuple[int, ...], network: Network
) -> _C:
    """Return what takes the least time on ``network`` if nobody else talks.

    Among equals it is what sends the fewest messages or flows, and then what comes first in the
    alphabet. Candidates have their default settings.

    Args:
        package: the folder of algorithms, and the group of entry points.
        operation: what they do.
        num_bytes: size of the whole vector.
        ranks: who takes part.
        network: what connects them.
    """
    kinds = discover(package, operation)
    candidates: list[_C] = [found() for found in kinds.values() if found.automatic]
    plans = [each.flows(num_bytes, ranks, network) for each in candidates]
    times = [seconds_on(network, plan) for plan in plans]
    equal_s = min(times) * (1 + _EQUAL)
    best = min(
        (len(plan), candidate.kind, candidate)
        for plan, time_s, candidate in zip(plans, times, candidates, strict=True)
        if time_s <= equal_s
    )
    return best[2]
