"""Rounds of federated averaging in Flower, one local step each; run by a Python that has Flower.

    python flower_rounds.py floats 20      # a model of 1,000 floats and next to no compute
    python flower_rounds.py gpt 20         # simbench's own GPT of 0.9 M parameters, plain SGD

Eight nodes, each on a core of its own when it comes to be. Prints the seconds between the ends of
rounds, as JSON; the first, which starts the actors, is left out.
"""

import json
import os
import sys
import time

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

NODES = 8
WHAT, ROUNDS = sys.argv[1], int(sys.argv[2])

client = ClientApp()
server = ServerApp()
ended_s: list[float] = []


def gpt() -> torch.nn.Module:
    """Return the GPT that simbench trains in this comparison."""
    from simbench.learning.models.gpt import GPT  # noqa: PLC0415 - floats need no simbench

    return GPT(layers=4, width=128, heads=4, context=128).build()


def floats() -> torch.nn.Module:
    """Return 1,000 floats."""
    return torch.nn.Linear(1000, 1, bias=False)


MODEL = {"gpt": gpt, "floats": floats}[WHAT]


@client.train()
def train(message: Message, context: Context) -> Message:  # noqa: ARG001 - Flower hands it over
    """Take one step of plain SGD from what the server sent."""
    torch.set_num_threads(1)
    model = MODEL()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    if WHAT == "gpt":
        tokens = torch.randint(256, (8, 129))
        logits = model(tokens[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    else:
        loss = (model.weight**2).sum() / 2
    loss.backward()
    optimizer.step()
    reply = RecordDict(
        {
            "arrays": ArrayRecord(model.state_dict()),
            "metrics": MetricRecord({"num-examples": 8}),
        }
    )
    return Message(content=reply, reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:  # noqa: ARG001
    """Run the rounds and note when each ended."""

    def note(server_round: int, arrays: ArrayRecord) -> None:  # noqa: ARG001
        ended_s.append(time.perf_counter())

    strategy = FedAvg(fraction_evaluate=0.0, min_available_nodes=NODES, min_train_nodes=NODES)
    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(MODEL().state_dict()),
        num_rounds=ROUNDS,
        evaluate_fn=note,
    )


if __name__ == "__main__":
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    run_simulation(
        server_app=server,
        client_app=client,
        num_supernodes=NODES,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0}},
    )
    # The first note is taken before the first round.
    print(json.dumps({"seconds": np.diff(ended_s[1:]).tolist()}))
