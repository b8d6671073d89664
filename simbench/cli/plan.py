"""``simbench plan``: the clock plane alone, without training."""

import json

from rich.table import Table

from simbench.cli import _terminal as terminal
from simbench.cli._terminal import err, out


def command(
    scenario_file: terminal.ScenarioFile,
    sets: terminal.Sets = None,
    seed: terminal.Seeds = None,
    cache: terminal.CacheFolder = None,
    as_json: terminal.AsJson = False,
) -> None:
    """Tell what each strategy costs in virtual time and bytes until the budget, without training.

    Strategies whose course depends on a loss are refused.
    """
    from simbench.execution.identity import fingerprint
    from simbench.execution.memo import Memo, default_folder
    from simbench.plan import StrategyPlan, plan
    from simbench.simulation import join_fingerprint

    scenario = terminal.read_scenario(scenario_file, sets, seed)
    memo = Memo(cache or default_folder())
    here = join_fingerprint(fingerprint("cpu"))
    plans: list[StrategyPlan] = []
    with terminal.wrong_requests(), err.status("running the clock ..."):
        for strategy in scenario.strategies:
            plans += [plan(scenario, strategy, each, memo, here) for each in scenario.seeds]
    if as_json:
        out.print_json(json.dumps([each._asdict() for each in plans]))
        return
    table = Table(title=f"{scenario.name}: until the budget ends, losses aside")
    for heading in (
        "strategy", "seed", "machines", "s per round", "samples/s", "kB per sample", "computing",
        "waiting", "staleness", "gradients", "known",
    ):  # fmt: skip
        table.add_column(heading, justify="left" if heading == "strategy" else "right")
    for each in plans:
        table.add_row(
            each.strategy,
            str(each.seed),
            str(each.machines),
            f"{each.seconds_per_round:.4g}",
            f"{each.samples_per_s:.4g}",
            f"{each.payload_bytes_per_sample / 1e3:,.4g}",
            f"{each.compute_share:.0%}",
            f"{each.wait_share:.0%}",
            f"{each.mean_staleness_updates:.2f}",
            f"{each.gradients:,}",
            f"{each.gradients_known:,}",
        )
    out.print(table)
    if any(each.ended_by == "stuck" for each in plans):
        err.print("a strategy got stuck: run it to see who waits for whom")
