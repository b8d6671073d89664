"""Code of others draws from torch's global generator: here it draws what ours says."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def drawn_from(generator: torch.Generator) -> Iterator[None]:
    """Make what draws from torch's global generator a function of ``generator``.

    The global generator is then as it was.
    """
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        yield
