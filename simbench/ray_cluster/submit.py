"""Submission: a scenario as a job on a Ray cluster that runs already, through Ray's Jobs API."""

import asyncio
import shlex
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from ray.job_submission import JobStatus, JobSubmissionClient

import simbench
from simbench.scenario import Scenario
from simbench.scenario_file import pack


def submit(
    scenario: Scenario,
    address: str,
    storage: str,
    *,
    nodes_per_actor: int | None = None,
    told: Callable[[str], None] = print,
) -> int:
    """Run ``scenario`` on the cluster at ``address``; return the job's exit code.

    The job brings the scenario, the files that it names and this very simbench; the cluster's
    Python needs its dependencies only.

    Args:
        scenario: what to run.
        address: the cluster's dashboard, as ``http://HOST:8265``.
        storage: a folder that the cluster can write to, or a URI such as ``s3://bucket/folder``.
        nodes_per_actor: as ``simbench run`` takes it.
        told: called with what the job prints, as it comes.

    Raises:
        ConnectionError: no cluster answers, or it refuses to.
    """
    try:
        client = JobSubmissionClient(address)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConnectionError(f"{address}: no Ray cluster takes jobs here: {error}") from None
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pack(scenario, folder)
        source = Path(simbench.__file__).parent
        shutil.copytree(source, folder / "simbench", ignore=shutil.ignore_patterns("__pycache__"))
        run = ["python", "-m", "simbench", "run", "scenario.yaml", "--address", "auto"]
        if nodes_per_actor:
            run += ["--nodes-per-actor", str(nodes_per_actor)]
        store = ["python", "-m", "simbench.ray_cluster.store", "results", storage]
        job = client.submit_job(
            entrypoint=f"{shlex.join(run)} && {shlex.join(store)}",
            runtime_env={"working_dir": temporary},
        )
    told(f"job {job} on {address}\n")
    asyncio.run(_follow(client, job, told))
    info = client.get_job_info(job)
    if info.status == JobStatus.SUCCEEDED:
        return 0
    # A job that failed before its command began has no exit code; Ray's message says why.
    told(f"{info.message}\n")
    return info.driver_exit_code or 1


async def _follow(client: JobSubmissionClient, job: str, told: Callable[[str], None]) -> None:
    async for text in client.tail_job_logs(job):
        told(text)
