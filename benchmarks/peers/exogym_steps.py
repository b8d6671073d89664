"""Training steps in EXO Gym, by a Python that has it; on Linux its ``lo0`` must have become ``lo``.

    python exogym_steps.py all_reduce 40
    python exogym_steps.py diloco 200       # H = 10

Four nodes, each a process, train simbench's own GPT: 110,000 parameters, 16 sequences of 32 tokens,
AdamW at 1e-3. Prints the seconds from step to step, as JSON; the first are left out.
"""

import json
import sys
import time

import torch
from exogym.strategy.diloco import DiLoCoStrategy
from exogym.strategy.optim import OptimSpec
from exogym.strategy.strategy import SimpleReduceStrategy
from exogym.trainer import Trainer
from torch import Tensor, nn
from torch.utils.data import TensorDataset

NODES, BATCH, LENGTH, VOCABULARY = 4, 16, 32, 64
WARM_UP = 10
MARK = "seconds from step to step: "


class Timed:
    """Notes when each step of the node of rank 0 ended, and prints it at the last."""

    def step(self) -> None:
        """Take the step of the strategy."""
        super().step()  # type: ignore[misc]
        ended_s = self.__dict__.setdefault("ended_s", [])
        ended_s.append(time.perf_counter())
        if self.rank == 0 and len(ended_s) == self.max_steps:  # type: ignore[attr-defined]
            taken_s = [
                b - a for a, b in zip(ended_s[WARM_UP:], ended_s[WARM_UP + 1 :], strict=False)
            ]
            print(MARK + json.dumps({"seconds": taken_s}), flush=True)


class AllReduce(Timed, SimpleReduceStrategy):
    """All-reduce of the gradients at every step."""


class DiLoCo(Timed, DiLoCoStrategy):
    """Ten steps alone, then an outer step."""


class WithLoss(nn.Module):
    """A network that returns the loss of a batch, as EXO Gym wants it."""

    def __init__(self) -> None:
        super().__init__()
        from simbench.learning.models.gpt import GPT  # noqa: PLC0415 - in the peer's Python

        self.network = GPT(
            layers=2, width=64, heads=4, context=LENGTH, vocabulary=VOCABULARY
        ).build()

    def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean cross-entropy of the next token."""
        tokens, following = batch
        return nn.functional.cross_entropy(self.network(tokens).flatten(0, 1), following.flatten())


def main() -> None:
    """Train, and let the node of rank 0 print its times."""
    what, steps = sys.argv[1], int(sys.argv[2])
    adamw = OptimSpec(torch.optim.AdamW, lr=1e-3)
    strategy = (
        AllReduce(optim_spec=adamw) if what == "all_reduce" else DiLoCo(optim_spec=adamw, H=10)
    )
    tokens = torch.randint(VOCABULARY, (20_000, LENGTH + 1))
    data = TensorDataset(tokens[:, :-1], tokens[:, 1:])
    Trainer(WithLoss(), data, data, device="cpu").fit(
        num_epochs=1000,
        strategy=strategy,
        num_nodes=NODES,
        max_steps=steps,
        batch_size=BATCH,
        minibatch_size=BATCH,
        val_size=0,
        val_interval=10**9,
        disable_logging=True,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
