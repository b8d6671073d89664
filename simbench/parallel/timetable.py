"""When the stages of a pipeline do what: each does its work in its order, once it has arrived."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simbench.parallel.pipeline import Work


@dataclass(frozen=True)
class Timetable:
    """What became of one step of a pipeline; times in ns from its start."""

    starts_ns: dict[Work, int]
    ends_ns: dict[Work, int]
    stage_ends_ns: list[int]
    """When each stage had done its last work."""
    busy_ns: list[int]
    """How long each stage worked."""
    most_in_flight: list[int]
    """The most passes that a stage had done forward and not yet backward: what it must keep."""

    @property
    def end_ns(self) -> int:
        """When the last stage was done."""
        return max(self.stage_ends_ns)

    @property
    def bubble_share(self) -> float:
        """Share of the stages' time until the end in which they waited."""
        return 1 - sum(self.busy_ns) / (len(self.busy_ns) * self.end_ns)


def timetable(
    orders: Sequence[Sequence[Work]],
    num_chunks: int,
    duration_ns: Callable[[Work], int],
    transfer_ns: int = 0,
    latency_ns: int = 0,
) -> Timetable:
    """Return when the work of a step is done.

    Args:
        orders: what each stage does in turn.
        num_chunks: of the model; chunk c gives to c + 1 on the next stage, and gets back.
        duration_ns: how long a piece of work keeps its stage busy.
        transfer_ns: how long what a chunk gives occupies the way from a stage to its neighbour,
            one transfer behind the other; the stages go on meanwhile.
        latency_ns: what passes besides until it is there.
    """
    num_stages = len(orders)
    starts: dict[Work, int] = {}
    ends: dict[Work, int] = {}
    there: dict[Work, int] = {work: 0 for order in orders for work in order if _is_first(work)}
    free = [0] * num_stages
    way_free: dict[tuple[int, bool], int] = {}
    done = [0] * num_stages
    held, most = [0] * num_stages, [0] * num_stages
    went_on = True
    while went_on:
        went_on = False
        for stage, order in enumerate(orders):
            while done[stage] < len(order) and (work := order[done[stage]]) in there:
                went_on = True
                done[stage] += 1
                starts[work] = max(free[stage], there[work])
                free[stage] = ends[work] = starts[work] + duration_ns(work)
                held[stage] += 1 if work.is_forward else -1
                most[stage] = max(most[stage], held[stage])
                following = _next(work, num_chunks)
                if following is None:
                    continue
                if following.chunk % num_stages == stage:
                    there[following] = ends[work]
                    continue
                way = stage, work.is_forward
                way_free[way] = max(way_free.get(way, 0), ends[work]) + transfer_ns
                there[following] = way_free[way] + latency_ns
    assert done == [len(order) for order in orders], "stages wait for each other in a circle"
    busy = [sum(ends[work] - starts[work] for work in order) for order in orders]
    return Timetable(starts, ends, free, busy, most)


def _is_first(work: Work) -> bool:
    return work.is_forward and work.chunk == 0


def _next(work: Work, num_chunks: int) -> Work | None:
    """Return what waits for ``work``: the next chunk, or at the model's end the way back."""
    if work.is_forward:
        if work.chunk == num_chunks - 1:
            return work._replace(is_forward=False)
        return work._replace(chunk=work.chunk + 1)
    return work._replace(chunk=work.chunk - 1) if work.chunk else None
