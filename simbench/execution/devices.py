"""Results on their way between a processor and what computes beside it.

A GPU's tensors can't be kept on disk or held by a driver that has no GPU: they travel by the
processor's memory and go to the device of whoever computes with them next.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch


@contextlib.contextmanager
def own_stream(device: str) -> Iterator[Callable[[], None]]:
    """Give this thread a stream of its own on a GPU; what is yielded waits for all it has started.

    Who takes a result from another thread then need not know on which stream it came about. A
    processor is done with what it has started when it returns.
    """
    if device != "cuda":
        yield lambda: None
        return
    stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        yield stream.synchronize


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
