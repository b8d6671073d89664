"""``simbench run``: train every strategy of a scenario on its virtual clock, and report."""

import time
from collections.abc import Iterator, Sized
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from simbench.cli import _terminal as terminal
from simbench.cli._terminal import err, out
from simbench.units import SIZE_BYTES, TIME_NS

if TYPE_CHECKING:
    from simbench.execution.executor import Executor
    from simbench.execution.memo import Memo
    from simbench.records import RunFolder
    from simbench.run import Progress as RunProgress
    from simbench.scenario import Scenario


_SECONDS_PER_LINE = 5
"""How often progress is told where there is no terminal to draw a bar on."""


class ExecutorKind(StrEnum):
    """Who computes."""

    ray = "ray"
    local = "local"


def command(
    scenario_file: terminal.ScenarioFile,
    sets: terminal.Sets = None,
    seed: terminal.Seeds = None,
    executor: Annotated[
        ExecutorKind | None,
        typer.Option(
            help="Ray actors, or processes of this machine; "
            "with vectorise: true this very process.",
            show_default="ray, unless the scenario says vectorise",
        ),
    ] = None,
    nodes_per_actor: terminal.NodesPerActor = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Join this Ray cluster, or auto.", show_default="start one"
        ),
    ] = None,
    results: terminal.ResultsFolder = Path("results"),
    reports: terminal.ReportsFolder = Path("reports"),
    cache: terminal.CacheFolder = None,
    cache_limit: terminal.CacheLimit = "10 GB",
    keep_every: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="Real time between two moments that are kept: so much is lost in a crash.",
        ),
    ] = "60 s",
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Train even what is known; compare with it.")
    ] = False,
    as_json: terminal.AsJson = False,
) -> None:
    """Train every strategy on its virtual clock; write records and a report; say who is first.

    The same question has the same folder: one that is whole is shown, not computed again.
    """
    from simbench.execution.memo import Memo
    from simbench.run import run_folder

    scenario = terminal.read_scenario(scenario_file, sets, seed)
    local = executor is ExecutorKind.local
    if (local or scenario.vectorise) and (address or nodes_per_actor):
        raise terminal.RequestError("--address and --nodes-per-actor are for --executor ray")
    if scenario.vectorise and executor is ExecutorKind.ray:
        raise terminal.RequestError("vectorise: true computes in this process, not on Ray actors")
    keeping = {
        "keep_every_s": terminal.quantity("--keep-every", keep_every, TIME_NS) / 1e9,
        "limit_bytes": terminal.quantity("--cache-limit", cache_limit, SIZE_BYTES),
    }
    terminal.check_writable(results, reports)
    folder = run_folder(scenario, results)
    with _told_how_to_go_on(folder, "" if no_cache else keep_every):
        if folder.exists and not no_cache:
            terminal.say(
                f"{folder.path} is whole already, so nothing is computed; --no-cache would."
            )
        else:
            begun_s = time.perf_counter()
            with (
                closing(Memo(None)) if no_cache else terminal.opened_memo(cache, **keeping) as memo,
                _started(scenario, nodes_per_actor, address, local=local) as started,
            ):
                startup_s = time.perf_counter() - begun_s
                _announce(scenario, started, memo, startup_s)
                _compute(scenario, started, memo, folder, startup_s)
        _show(folder, reports, as_json)
    stuck = {run["strategy"]: run["stuck"] for run in folder.summary["runs"] if run["stuck"]}
    for strategy, waiting in stuck.items():
        terminal.complain(f"{strategy} gets stuck: {waiting}")
    if stuck:
        raise typer.Exit(1)


@contextmanager
def _told_how_to_go_on(folder: "RunFolder", keep_every: str) -> Iterator[None]:
    """Have whoever interrupts told what is there, and what the same command will compute again."""
    try:
        yield
    except KeyboardInterrupt:
        if folder.exists:
            raise KeyboardInterrupt(
                f"the results are whole in {folder.path}, the report may not be: "
                f"simbench report {folder.path} makes it"
            ) from None
        if not keep_every:
            raise
        raise KeyboardInterrupt(
            "nothing was written to results. To go on, run the same command again: what had ended "
            f"is known, and of the rest what was computed in the last {keep_every} is done again"
        ) from None


@contextmanager
def _started(
    scenario: "Scenario", nodes_per_actor: int | None, address: str | None, *, local: bool
) -> Iterator["Executor"]:
    executor: Executor
    nodes = max(point.scenario.num_devices for point in scenario.points)
    if scenario.vectorise:
        from simbench.execution.vectorised import VectorisedExecutor

        executor = VectorisedExecutor(deterministic=scenario.deterministic)
    elif local:
        from simbench.execution.processes import ProcessExecutor

        executor = ProcessExecutor(nodes)
    else:
        from simbench.ray_cluster.executor import RayExecutor

        terminal.say("starting Ray actors ..." if address is None else f"joining {address} ...")
        try:
            executor = RayExecutor(
                nodes, nodes_per_actor, address, deterministic=scenario.deterministic
            )
        except (ConnectionError, ValueError) as error:  # no cluster, or one of unlike machines
            raise terminal.RequestError(str(error)) from None
    try:
        yield executor
    finally:
        executor.close()


def _announce(scenario: "Scenario", executor: "Executor", memo: "Memo", startup_s: float) -> None:
    """Say what the run will take, before it does."""
    from simbench.estimate import estimate
    from simbench.search import candidates

    expected = estimate(scenario, executor, memo)
    points = f"{len(scenario.points)} points x " if scenario.sweep else ""
    tried = sum(1 for _ in candidates(scenario))
    search = f", after a search of {tried} candidates" if tried else ""
    terminal.say(
        f"{scenario.name}: {points}{_count(scenario.strategies, 'strategy', 'strategies')} x "
        f"{_count(scenario.seeds, 'seed', 'seeds')}{search} on {executor.description} "
        f"(started in {startup_s:.1f} s)\n{expected}"
    )


def _count(things: Sized, one: str, several: str) -> str:
    return f"{len(things)} {one if len(things) == 1 else several}"


def _compute(
    scenario: "Scenario", executor: "Executor", memo: "Memo", folder: "RunFolder", startup_s: float
) -> None:
    from simbench.records import RunFolder
    from simbench.run import differing_tables, run, summarise_operations

    again = folder.path.with_name(f".again-{folder.path.name}")
    fresh = RunFolder(again) if folder.exists else folder
    with _progress_bar() as told:
        run(scenario, executor, memo, fresh, startup_s=startup_s, progress=told)
    if fresh is not folder:
        differing = differing_tables(folder, fresh)
        answer = f"differs in: {', '.join(differing)}" if differing else "is the same, bit for bit"
        terminal.say(f"computed again: what {folder.path} held {answer}")
        fresh.replace(folder)
    terminal.say(summarise_operations(folder.provenance))


@contextmanager
def _progress_bar() -> Iterator[Any]:
    columns = (
        TextColumn(
            "{task.fields[where]}{task.fields[strategy]} (seed {task.fields[seed]})", markup=False
        ),
        BarColumn(bar_width=12),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("virtual {task.fields[virtual]:.1f} s"),
        TimeElapsedColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TextColumn("gradients {task.fields[run]:,} run, {task.fields[known]:,} known"),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(
            "",
            where="",
            strategy="",
            seed="",
            virtual=0.0,
            loss=float("nan"),
            run=0,
            known=0,
            total=1,
        )

        told_s, begun_s = 0.0, time.perf_counter()

        def told(progress: "RunProgress") -> None:
            nonlocal told_s
            evaluation = progress.evaluation
            where = f"{progress.point}: " if progress.point else ""
            if not err.is_terminal and time.perf_counter() - told_s > _SECONDS_PER_LINE:
                told_s = time.perf_counter()
                terminal.say(
                    f"{where}{evaluation.strategy} (seed {evaluation.seed}): virtual "
                    f"{evaluation.time_ns / 1e9:.1f} s, real {told_s - begun_s:.0f} s, "
                    f"loss {evaluation.loss:.3f}; "
                    f"{progress.operations_run['gradient']:,} gradients run, "
                    f"{progress.operations_known['gradient']:,} known"
                )
            bar.update(
                task,
                total=progress.num_runs,
                completed=progress.runs_done,
                where=where,
                strategy=evaluation.strategy,
                seed=evaluation.seed,
                virtual=evaluation.time_ns / 1e9,
                loss=evaluation.loss,
                run=progress.operations_run["gradient"],
                known=progress.operations_known["gradient"],
            )

        yield told


def _show(folder: "RunFolder", reports: Path, as_json: bool) -> None:
    from simbench.report.page import write_report
    from simbench.report.verdict import verdict

    with err.status("drawing the report ..."):
        page = write_report(folder, reports / folder.summary["scenario"])
    if as_json:
        where = {"results": str(folder.path), "report": str(page)}
        terminal.print_json({**where, "verdict": verdict(folder), **folder.summary})
        return
    out.print(f"results: {folder.path}\nreport:  {page}")
    for line in verdict(folder):
        out.print(line)
