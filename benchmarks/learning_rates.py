"""Find each strategy's learning rate for a scenario: run a grid on a seed that isn't compared.

    python benchmarks/learning_rates.py scenarios/quickstart.yaml --seed 100 \
        --strategy averaging --rate 0.001 --rate 0.002

Prints a Markdown row per rate: virtual time to the target, samples to it, the last loss.
"""

from pathlib import Path
from typing import Annotated

import typer

from simbench.execution.memo import Memo, default_folder
from simbench.execution.threads import ThreadExecutor
from simbench.scenario_file import load
from simbench.simulation import simulate


def main(
    scenario_file: Path,
    strategy: Annotated[list[str], typer.Option()],
    rate: Annotated[list[float], typer.Option()],
    seed: int = 100,
    threads: int = 2,
) -> None:
    """Print the grid as Markdown."""
    base = load(scenario_file)
    if seed in base.seeds:
        raise typer.BadParameter(f"seed {seed} is one of those that are compared: {base.seeds}")
    executor, memo = ThreadExecutor(threads), Memo(default_folder())
    print("| strategy | learning rate | time to target, s | samples to target | last loss |")
    print("| --- | --- | --- | --- | --- |")
    for name in strategy:
        for each in rate:
            chosen = base.strategies[name].model_copy(update={"learning_rate": each})
            scenario = base.model_copy(update={"strategies": {name: chosen}})
            ended = simulate(scenario, name, seed, executor, memo).summary
            reached = ended["time_to_target_ns"]
            time_s = "not reached" if reached is None else f"{reached / 1e9:.1f}"
            samples = "" if reached is None else ended["samples"]
            print(
                f"| {name} | {each:g} | {time_s} | {samples} | {ended['final_loss']:.3f} |",
                flush=True,
            )
    executor.close()


if __name__ == "__main__":
    typer.run(main)
