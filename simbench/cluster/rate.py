"""From counted FLOPs to a time."""


def time_at_rate_ns(flops: int, rate_flops: int, efficiency: float) -> float:
    """Return the time of ``flops`` operations at ``efficiency`` of a peak of ``rate_flops`` per s.

    Raises:
        ValueError: there are no FLOPs, because torch's counter has seen none.
    """
    if not flops:
        raise ValueError(
            "torch counts no FLOPs in a step of this model, so its time is unknown; "
            "use machine {kind: fixed, step_time: ...}"
        )
    return flops / (rate_flops * efficiency) * 1e9
