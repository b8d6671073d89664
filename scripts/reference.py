"""Make the committed run and report of the quickstart anew, in both folders ``reference``."""

import time
from pathlib import Path

from simbench.execution.memo import Memo
from simbench.ray_cluster.executor import RayExecutor
from simbench.records import RunFolder
from simbench.report.page import write_report
from simbench.report.verdict import verdict
from simbench.run import run, summarise_operations
from simbench.scenario_file import load

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Train with an empty memo on Ray actors, then write the report."""
    scenario = load(ROOT / "scenarios" / "quickstart.yaml")
    begun_s = time.perf_counter()
    executor = RayExecutor(scenario.cluster.nodes)
    startup_s = time.perf_counter() - begun_s
    try:
        folder = RunFolder(ROOT / "results" / "reference")
        run(scenario, executor, Memo(None), folder, startup_s=startup_s)
    finally:
        executor.close()
    write_report(folder, ROOT / "reports" / "reference")
    print(summarise_operations(folder.provenance), *verdict(folder), sep="\n")


if __name__ == "__main__":
    main()
