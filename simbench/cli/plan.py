"""``simbench plan``: the clock plane alone, without training."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from simbench.cli import _terminal as terminal
from simbench.cli._terminal import err, out

if TYPE_CHECKING:
    from simbench.plan import StrategyPlan
    from simbench.scenario import Scenario


def command(
    scenario_file: terminal.ScenarioFile,
    sets: terminal.Sets = None,
    seed: terminal.Seeds = None,
    cache: terminal.CacheFolder = None,
    draw: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw the network and the use of its links (.svg or .png).",
            show_default=False,
        ),
    ] = None,
    as_json: terminal.AsJson = False,
) -> None:
    """Tell what each strategy costs in virtual time and bytes until the budget, without training.

    Strategies whose course depends on a loss are refused. --json tells more, seed by seed. A
    drawing has one panel per strategy, of its first seed.
    """
    from simbench.devices import group_facts
    from simbench.execution.identity import fingerprint
    from simbench.plan import plan
    from simbench.simulation import join_fingerprint

    scenario = terminal.read_scenario(scenario_file, sets, seed)
    if draw is not None:
        _check_drawing(draw, scenario)
    here = join_fingerprint(fingerprint("cpu"))
    plans: dict[str, list[StrategyPlan]] = {}
    with (
        terminal.opened_memo(cache) as memo,
        terminal.wrong_requests(),
        err.status("running the clock ..."),
    ):
        for strategy in scenario.strategies:
            plans[strategy] = [plan(scenario, strategy, s, memo, here) for s in scenario.seeds]
    every = [each for seeds in plans.values() for each in seeds]
    if as_json:
        terminal.print_json([_facts(each) for each in every])
    else:
        _print(scenario.name, plans, len(scenario.seeds))
        if scenario.group is not None:
            out.print(_of_devices(group_facts(scenario.group, scenario.cluster, scenario.task)))
    if draw is not None:
        _draw(draw, scenario, {name: seeds[0] for name, seeds in plans.items()})
        terminal.say(f"drawing: {draw}")
    stuck = {each.strategy: each.stuck for each in every if each.stuck}
    for strategy, waiting in stuck.items():
        terminal.complain(f"{strategy} gets stuck: {waiting}")
    if stuck:
        raise typer.Exit(1)


def _facts(plan: "StrategyPlan") -> dict[str, Any]:
    """Return what a program may want to know; of the links only the busiest."""
    facts = plan._asdict()
    del facts["links"]
    busiest = plan.busiest
    return {**facts, "busiest_link": None if busiest is None else busiest._asdict()}


def _check_drawing(file: Path, scenario: "Scenario") -> None:
    if file.suffix not in (".svg", ".png"):
        raise terminal.RequestError(f"--draw {file}: expected a file that ends in .svg or .png")
    terminal.check_writable(file.parent)
    if not scenario.network.links(scenario.cluster.nodes):
        raise terminal.RequestError(f"--draw: {scenario.network.kind} has no links to draw")


def _draw(file: Path, scenario: "Scenario", plans: dict[str, "StrategyPlan"]) -> None:
    from simbench.report.figure import picture
    from simbench.report.network_map import MapPanel, draw_map

    workers = scenario.cluster.nodes
    positions = scenario.network.layout(max(plan.machines for plan in plans.values()))
    panels = [MapPanel(name, plan.links) for name, plan in plans.items()]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(picture(lambda: draw_map(panels, positions, workers), file.suffix[1:]))


def _print(name: str, plans: dict[str, list["StrategyPlan"]], num_seeds: int) -> None:
    """Print one row per strategy, narrow enough for 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("strategy", overflow="fold")
    down = any(each.down_share for seeds in plans.values() for each in seeds)
    for heading in (
        "s per\nround", "samples\nper s", "kB per\nsample", "com-\nputing", "wait-\ning",
        *(["down"] if down else []), "stale-\nness", "gra-\ndients",
    ):  # fmt: skip
        table.add_column(heading, justify="right", no_wrap=True)
    for strategy, seeds in plans.items():

        def mean(figure: str, seeds: list["StrategyPlan"] = seeds) -> float | None:
            figures = [getattr(each, figure) for each in seeds]
            return None if None in figures else sum(figures) / len(figures)

        table.add_row(
            strategy,
            _figure(mean("seconds_per_round")),
            _figure(mean("samples_per_s")),
            _figure(mean("payload_bytes_per_sample"), 1e3),
            f"{mean('compute_share'):.0%}",
            f"{mean('wait_share'):.0%}",
            *([f"{mean('down_share'):.0%}"] if down else []),
            f"{mean('mean_staleness_updates'):.2f}",
            f"{mean('gradients'):,.0f}",
        )
    over = "1 seed" if num_seeds == 1 else f"mean of {num_seeds} seeds"
    out.print(f"{name}: the clock alone until the budget ends ({over})\n")
    out.print(table, soft_wrap=False)
    every = [each for seeds in plans.values() for each in seeds]
    known = sum(each.gradients_known for each in every)
    out.print(
        f"\n{sum(each.gradients for each in every):,} gradients in all, {known:,} of them known "
        "already. Staleness counts updates."
    )


def _of_devices(facts: dict[str, int | float]) -> str:
    """Return what the devices of a node do, in words."""
    sent = facts["activations_bytes"] + facts["sums_bytes"] + facts["state_bytes"]
    return (
        f"Each node is {facts['devices']} devices. A step takes them "
        f"{facts['step_ns'] / 1e6:,.3g} ms as a rule, and would take one of them "
        f"{facts['alone_ns'] / 1e6:,.3g} ms; {facts['bubble_share']:.0%} of their pipeline's time "
        f"is bubble. They send each other {sent / 1e6:,.3g} MB a step."
    )


def _figure(number: float | None, unit: float = 1) -> str:
    """Return ``number`` of ``unit``s with three digits or all before the point, in 7 characters."""
    if number is None:
        return "-"
    number /= unit
    if number >= 10**7:
        return f"{number:.1e}"
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"
