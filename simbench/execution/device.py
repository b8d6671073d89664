"""How torch computes on a device: the same bits each time, unless that is given up."""

import os

import torch

from simbench.execution.identity import fingerprint


def prepare(device: str, *, deterministic: bool = True) -> dict[str, str]:
    """Have torch choose its algorithms on ``device``; return what bits depend on there.

    On a GPU some of torch's kernels add up in the order in which threads happen to come, and are
    replaced by others unless ``deterministic`` is given up. On a processor nothing is to be done.
    """
    if device != "cuda":
        return fingerprint(device)
    if not deterministic:
        return fingerprint(device) | {"deterministic": "no"}
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or cuBLAS isn't
    torch.use_deterministic_algorithms(mode=True)
    # Else every new tensor is filled first, with a kernel of its own: to find bugs, not for bits.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return fingerprint(device)
