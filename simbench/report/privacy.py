"""What a run has spent of its samples' privacy, in words."""

import math
from typing import Any

from simbench.records import RunFolder
from simbench.report.quantities import join

_WHAT = (
    "Each sample's gradient is clipped and Gaussian noise is added at its node, so its samples "
    "are protected from whoever sees all that the node sends, the server and other workers among "
    "them, and the model too. Renyi accounting, as if samples were drawn independently of each "
    "other (Poisson sampling), which batches of a fixed size only come close to; worst of all "
    "nodes and seeds."
)


def privacy(run: RunFolder) -> str | None:
    """Return what every strategy has spent; None if nothing was asked for."""
    worst: dict[str, dict[str, Any]] = {}
    for entry in run.summary["runs"]:
        if "privacy" in entry:
            name, told = entry["strategy"], entry["privacy"]
            if name not in worst or told["steps"] > worst[name]["steps"]:
                worst[name] = told
    if not worst:
        return None
    return f"{join([f'{name}: {_spent(told)}' for name, told in worst.items()])}. {_WHAT}"


def _spent(told: dict[str, Any]) -> str:
    noise = f"{told['steps']:,} gradients with noise multiplier {told['noise_multiplier']:g}"
    if told["epsilon"] is None:
        return f"no epsilon ({noise}, but no sampling rate: these data have no separate samples)"
    # Rounded up: what is told must hold.
    epsilon = math.ceil(told["epsilon"] * 1000) / 1000
    return (
        f"epsilon {epsilon:g} at delta {told['delta']:g} ({noise}, "
        f"sampling rate {told['sampling_rate']:.4g})"
    )
