"""The nodes of a run as a reader meets them: which is the server, which is slow, which to show."""

from collections.abc import Collection, Mapping

import pandas as pd

from simbench.records import RunFolder

_SLOW = 1.5
"""From this many times the median on, a node's steps are called slow."""


def strategies(run: RunFolder) -> list[str]:
    """Return the names of the strategies in the order of the scenario."""
    return list(dict.fromkeys(entry["strategy"] for entry in run.summary["runs"]))


def servers(run: RunFolder) -> dict[str, list[int]]:
    """Return the ranks of the servers of each strategy that has any."""
    return {e["strategy"]: e["servers"] for e in run.summary["runs"] if e["servers"]}


def slowness(run: RunFolder, spans: pd.DataFrame) -> dict[int, float]:
    """Return, for each worker clearly slower than the others, how many times as long it computes.

    Measured: the median length of its spans of computing over the median worker's, and of that the
    median over strategies and seeds.
    """
    own = spans[(spans["activity"] == "compute") & (spans["node"] < run.summary["workers"])]
    if own.empty:
        return {}
    lengths = (own["end_ns"] - own["start_ns"]).groupby([own["strategy"], own["seed"], own["node"]])
    steps = lengths.median().reset_index(name="step_ns")
    typical = steps.groupby(["strategy", "seed"])["step_ns"].transform("median")
    ratios = (steps["step_ns"] / typical).groupby(steps["node"]).median()
    return {int(str(node)): float(ratio) for node, ratio in ratios.items() if ratio >= _SLOW}


def label(node: int, servers: Collection[int], slow: Mapping[int, float], workers: int) -> str:
    """Return what to call a node: its rank, whether it is a server, whether it is slow."""
    if node >= workers:
        alone = all(rank == node for rank in servers if rank >= workers)
        return "server" if alone else f"server (node {node})"
    notes = [f"{slow[node]:.1f}x slower"] if node in slow else []
    notes += ["server"] if node in servers else []
    return f"node {node}" + (f" ({', '.join(notes)})" if notes else "")


def shown(nodes: list[int], special: set[int], limit: int = 24) -> list[int]:
    """Return at most about ``limit`` of the nodes: the special ones, the rest evenly spaced."""
    nodes = sorted(nodes)
    if len(nodes) <= limit:
        return nodes
    step = len(nodes) / limit
    evenly = {nodes[int(place * step)] for place in range(limit)}
    return sorted(evenly | set(sorted(special & set(nodes))[:limit]))
