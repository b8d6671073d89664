"""Results on their way between a processor and what computes beside it.

A GPU's tensors can't be kept on disk or held by a driver that has no GPU: they travel by the
processor's memory and go to the device of whoever computes with them next.
"""

from typing import Any

import torch


def moved(result: Any, device: str) -> Any:
    """Return ``result``, a tensor or tuples, lists and dicts of them, on ``device``.

    A tensor without dimensions goes to the processor: such are the counters of torch's optimisers,
    which stay there, and from there a number goes together with tensors of any device.
    """
    if isinstance(result, torch.Tensor):
        return result.to(device if result.dim() else "cpu")
    if isinstance(result, dict):
        return {name: moved(each, device) for name, each in result.items()}
    if type(result) in (tuple, list):
        return type(result)(moved(each, device) for each in result)
    return result
