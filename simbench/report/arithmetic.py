"""Where the last bits of a run aren't those of a plain one, in words."""

from simbench.records import RunFolder

_WORDS = {
    "vectorised": (
        "Operations of several nodes that were ready together ran as one call (vectorise: true): "
        "sums are added up in another order, so the last digits of losses may differ from those "
        "of a run without it."
    ),
    "compiled": (
        "Gradients were compiled by torch.compile (task.compile: true), so the last digits of "
        "losses may differ from those of a run without it."
    ),
    "not_deterministic": (
        "Deterministic algorithms were given up (deterministic: false): on a GPU the same run may "
        "give other losses each time."
    ),
}


def arithmetic(run: RunFolder) -> list[str]:
    """Return what was done to go faster that changes the last digits; nothing for a plain run."""
    return [_WORDS[name] for name in run.summary.get("arithmetic", ())]
