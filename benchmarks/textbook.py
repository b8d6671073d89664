"""The textbook's formulas: alpha + bytes/bandwidth for each message in turn, and nothing else."""

import math
from collections.abc import Sequence

import numpy as np
from measured_links import Row


def textbook_s(row: Row, rows: Sequence[Row]) -> float | None:
    """Return the textbook's time; None where it has no formula.

    Alpha and bandwidth are fitted to the rows between two nodes of the same configuration.
    """
    fitted = fit([each for each in rows if each.op == "p2p" and _is_like(each, row)])
    if fitted is None or row.flow is not None:
        return None
    alpha_s, beta_s = fitted
    n, size = row.n, row.num_bytes
    part, levels = (n - 1) / n, math.ceil(math.log2(n))
    ring_s = 2 * (n - 1) * alpha_s + 2 * part * size * beta_s
    one_by_one_s = alpha_s + (n - 1) * size * beta_s
    formulas = {
        "p2p": alpha_s + size * beta_s,
        "p2p_xtrunk": alpha_s + size * beta_s,
        "gloo_p2p": alpha_s + size * beta_s,
        "all_reduce": ring_s,
        "ring_isend": ring_s,
        "train_sync_comm": ring_s,
        "train_local8_comm": ring_s,
        "reduce_scatter": (n - 1) * alpha_s + part * size * beta_s,
        "all_gather": (n - 1) * alpha_s + part * size * beta_s,
        "broadcast": levels * (alpha_s + size * beta_s),
        "reduce": levels * (alpha_s + size * beta_s),
        "ps_push": one_by_one_s,
        "ps_pull": one_by_one_s,
        "ps_round": 2 * one_by_one_s,
        "async_rounds_per_s": 1 / (0.050 + 2 * one_by_one_s),
        "train_async_comm": 2 * one_by_one_s,
    }
    if row.operation.startswith(("flows2", "flows3", "rtt2")):
        return alpha_s + size * beta_s
    return formulas.get(row.operation)


def fit(rows: Sequence[Row]) -> tuple[float, float] | None:
    """Return alpha in s and seconds per byte that fit ``rows`` with the least relative error."""
    if len({row.num_bytes for row in rows}) < 2:
        return None
    sizes = np.array([[1.0, row.num_bytes] for row in rows])
    times_s = np.array([row.median_s for row in rows])
    (alpha_s, beta_s), *_ = np.linalg.lstsq(
        sizes / times_s[:, None], np.ones(len(rows)), rcond=None
    )
    return max(0.0, float(alpha_s)), float(beta_s)


def _is_like(between: Row, row: Row) -> bool:
    return between.config == row.config or (
        between.topology == row.topology == "star"
        and set(between.rates_mbit) == set(row.rates_mbit)
        and set(between.latencies_ms) == set(row.latencies_ms)
    )
