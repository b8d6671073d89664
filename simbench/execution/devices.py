"""Results on their way between a processor and what computes beside it.

A GPU's tensors can't be kept on disk or held by a driver that has no GPU: they travel by the
processor's memory and go to the device of whoever computes with them next.
"""

import contextlib
from typing import Any

import torch


class Stream:
    """Where a thread's operations run: on a GPU one after the other, beside those of others."""

    def __init__(self, device: str) -> None:
        """Make one on ``device``.

        Raises:
            AssertionError: it is a GPU, and torch can't use it.
        """
        self._stream: Any = torch.cuda.Stream() if device == "cuda" else None  # type: ignore[no-untyped-call]

    def ours(self) -> contextlib.AbstractContextManager[Any]:
        """Have what this thread starts run here."""
        return contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def finish(self) -> None:
        """Wait for all that was started here: whoever takes it needn't know where it came about.

        A processor is done with what was started when it returns.
        """
        if self._stream is not None:
            self._stream.synchronize()


def uploaded(tensor: torch.Tensor, device: str, dtype: torch.dtype | None) -> torch.Tensor:
    """Return a processor's ``tensor`` on ``device``, in its own type if ``dtype`` is None.

    On its way to a GPU nobody waits for it: from pinned memory it is fetched in the stream's order.
    """
    if device == "cuda":
        return tensor.pin_memory().to(device, dtype, non_blocking=True)
    return tensor.to(device, dtype)


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
