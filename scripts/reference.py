"""Make a committed run and its report anew, with an empty memo.

    python scripts/reference.py                # the quickstart, on Ray: both folders ``reference``
    python scripts/reference.py strategies     # the comparison, in processes: half an hour

Nothing else writes those folders.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from simbench.execution.executor import Executor
from simbench.execution.memo import Memo
from simbench.execution.processes import ProcessExecutor
from simbench.ray_cluster.executor import RayExecutor
from simbench.records import RunFolder
from simbench.report.page import write_report
from simbench.report.verdict import verdict
from simbench.run import run, summarise_operations
from simbench.scenario_file import load

ROOT = Path(__file__).parent.parent

KEPT: dict[str, tuple[str, Callable[[int], Executor]]] = {
    "quickstart": ("reference", RayExecutor),
    "strategies": ("comparison", ProcessExecutor),
}
"""By scenario: the folder of its committed run and report, and who computes."""


def main(name: str = "quickstart") -> None:
    """Train, then write the report."""
    place, start = KEPT[name]
    scenario = load(ROOT / "scenarios" / f"{name}.yaml")
    begun_s = time.perf_counter()
    executor = start(scenario.cluster.nodes)
    startup_s = time.perf_counter() - begun_s
    try:
        folder = RunFolder(ROOT / "results" / place)
        run(scenario, executor, Memo(None), folder, startup_s=startup_s)
    finally:
        executor.close()
    write_report(folder, ROOT / "reports" / place)
    print(summarise_operations(folder.provenance), *verdict(folder), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
