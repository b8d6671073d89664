"""When buckets of a gradient come out of a step: along the backward pass, its last share."""

from collections.abc import Sequence


def out_ns(duration_ns: int, backward_share: float, sizes_bytes: Sequence[int]) -> list[int]:
    """Return when each bucket is whole, counted from the start of the step.

    A gradient comes out evenly over the backward pass, so that the last bucket is whole at the end.

    >>> out_ns(300, 2 / 3, [10, 10, 20])
    [150, 200, 300]

    Args:
        duration_ns: time of the step.
        backward_share: its last part, in which the gradient comes out.
        sizes_bytes: of all buckets, in the order of coming out.
    """
    backward_ns, total_bytes, out_bytes = round(duration_ns * backward_share), sum(sizes_bytes), 0
    times_ns = []
    for size_bytes in sizes_bytes:
        out_bytes += size_bytes
        times_ns.append(duration_ns - backward_ns * (total_bytes - out_bytes) // total_bytes)
    return times_ns
