"""``simbench plan``: the clock plane alone, without training."""

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from simbench.cli import _terminal as terminal
from simbench.cli._terminal import err, out

if TYPE_CHECKING:
    from simbench.plan import StrategyPlan
    from simbench.scenario import Point, Scenario


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

    Strategies whose course depends on a loss are refused.
    --json tells more, seed by seed.
    A drawing has one panel per strategy, of its first seed.
    """
    from simbench.devices import group_facts
    from simbench.execution.identity import fingerprint
    from simbench.plan import plan
    from simbench.search import candidates
    from simbench.simulation import join_fingerprint

    scenario = terminal.read_scenario(scenario_file, sets, seed)
    points = scenario.points
    if draw is not None:
        _check_drawing(draw, points[0].scenario)
    here = join_fingerprint(fingerprint("cpu"))
    planned: defaultdict[tuple[str, int], set[bytes]] = defaultdict(set)
    with (
        terminal.opened_memo(cache) as memo,
        terminal.wrong_requests(),
        err.status("running the clock ..."),
    ):
        search = [
            plan(each.scenario, each.strategy, each.seed, memo, here)
            for each in candidates(scenario)
        ]
        plans: list[dict[str, list[StrategyPlan]]] = [
            {
                strategy: [
                    plan(point.scenario, strategy, each, memo, here, planned[strategy, each])
                    for each in scenario.seeds
                ]
                for strategy in scenario.strategies
            }
            for point in points
        ]
    compared = [each for at in plans for seeds in at.values() for each in seeds]
    if as_json:
        where = [_where(point) for point in points for _ in range(len(compared) // len(points))]
        facts = [{**w, **_facts(each)} for w, each in zip(where, compared, strict=True)]
        terminal.print_json(facts + [{"search": True, **_facts(each)} for each in search])
    else:
        over = len(scenario.seeds)
        seeds = "1 seed" if over == 1 else f"mean of {over} seeds"
        out.print(f"{scenario.name}: the clock alone until the budget ends ({seeds})\n")
        with_down = any(each.down_share for each in compared)
        for point, at in zip(points, plans, strict=True):
            _print(point, at, with_down=with_down)
            if (group := point.scenario.group) is not None:
                cluster, task = point.scenario.cluster, point.scenario.task
                out.print(_of_devices(group_facts(group, cluster, task)))
        _print_sum(compared, search, len(points))
        link = "" if with_down else "; link use is the share that the busiest link carried"
        out.print(f"Staleness counts updates{link}.")
    if draw is not None:
        _draw(draw, points[0].scenario, {name: seeds[0] for name, seeds in plans[0].items()})
        which = f" (of {points[0].name})" if points[0].name else ""
        terminal.say(f"drawing: {draw}{which}")
    stuck = {each.strategy: each.stuck for each in [*search, *compared] if each.stuck}
    for strategy, waiting in stuck.items():
        terminal.complain(f"{strategy} gets stuck: {waiting}")
    if stuck:
        raise typer.Exit(1)


def _where(point: "Point") -> dict[str, Any]:
    """Return where a plan is made, and what is charged there if that isn't what is trained."""
    pricing = point.scenario.task.pricing_facts
    labels = {"point": point.labels} if point.labels else {}
    return labels | ({"priced_as": pricing} if pricing else {})


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


def _print(point: "Point", plans: dict[str, list["StrategyPlan"]], *, with_down: bool) -> None:
    """Print one row per strategy, narrow enough for 80 columns, below the name of the point."""
    from simbench.report.pricing import in_words

    # Two spaces between columns leave names of strategies some 18 characters.
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 0, 0, 1))
    table.add_column("strategy", overflow="fold")
    for heading in (
        "s per\nround", "samples\nper s", "kB per\nsample", "com-\nputing", "wait-\ning",
        # There is room for one of the two.
        "down" if with_down else "link\nuse", "stale-\nness", "gra-\ndients",
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
            _share(mean("down_share" if with_down else "busiest_share")),
            f"{mean('mean_staleness_updates'):.2f}",
            f"{mean('gradients'):,.0f}",
        )
    if point.name:
        out.print(f"{point.name}:")
    if pricing := point.scenario.task.pricing_facts:
        out.print(f"{in_words(pricing)}\n")
    out.print(table, soft_wrap=False)
    out.print()


def _print_sum(compared: list["StrategyPlan"], search: list["StrategyPlan"], points: int) -> None:
    every = [*search, *compared]
    gradients, known = (sum(getattr(e, n) for e in every) for n in ("gradients", "gradients_known"))
    whose = " or from another point" if points > 1 else ""
    out.print(f"{gradients:,} gradients in all, {known:,} of them known already{whose}.")
    if search:
        own = sum(each.gradients for each in search)
        out.print(f"The search tries {len(search)} candidates with {own:,} of them.")


def _of_devices(facts: dict[str, int | float]) -> str:
    """Return what the devices of a node do, in words."""
    sent = sum(facts[f"{what}_bytes"] for what in ("activations", "sums", "state", "vocabulary"))
    return (
        f"Each node is {facts['devices']} devices. A step takes them "
        f"{facts['step_ns'] / 1e6:,.3g} ms as a rule, and would take one of them "
        f"{facts['alone_ns'] / 1e6:,.3g} ms; {facts['bubble_share']:.0%} of their pipeline's time "
        f"is bubble. They send each other {sent / 1e6:,.3g} MB a step."
    )


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _figure(number: float | None, unit: float = 1) -> str:
    """Return ``number`` of ``unit``s with three digits or all before the point, in 7 characters."""
    if number is None:
        return "-"
    number /= unit
    if number >= 10**7:
        return f"{number:.1e}"
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"
