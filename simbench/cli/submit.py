"""``simbench submit``: run a scenario as a job on a Ray cluster."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from simbench.cli import _terminal as terminal


def command(
    scenario_file: terminal.ScenarioFile,
    address: Annotated[
        str, typer.Option(metavar="URL", help="The cluster's dashboard: http://HOST:8265.")
    ],
    storage: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|URI",
            help="Where the cluster writes results: a folder or a URI (s3://...).",
        ),
    ],
    sets: terminal.Sets = None,
    seed: terminal.Seeds = None,
    nodes_per_actor: terminal.NodesPerActor = None,
) -> None:
    """Run a scenario as a job on a Ray cluster that runs already; end with the job's exit code.

    The results are the same bits as a local run's on the same kind of machine.
    """
    from simbench.ray_cluster.submit import submit

    scenario = terminal.read_scenario(scenario_file, sets, seed)
    if scenario.vectorise:
        raise terminal.RequestError(
            "vectorise: true computes in one process: simbench run it where the GPU is"
        )
    # The job runs elsewhere: a relative folder would be one of the cluster's own.
    place = storage if "://" in storage else str(Path(storage).resolve())

    def told(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

    with terminal.wrong_requests():
        code = submit(scenario, address, place, nodes_per_actor=nodes_per_actor, told=told)
    if code == 0:
        terminal.say(f"results are in {place}; simbench report {place}/{scenario.name} reads them")
    raise typer.Exit(code)
