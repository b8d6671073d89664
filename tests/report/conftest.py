"""A small run whose numbers can be found by hand, written as a real run folder.

Four workers take 8 samples per step; the last worker computes three times as long. Losses fall
in a straight line from 5, so everything about them can be computed in the head:

* averaging: 0.5 per step of 1 s (seed 1: 1.2 s), so 2.5 after 5 steps: 5 s and 6 s, 160 samples;
* parameter server: 0.5 per step of 2 s (2.4 s), so 2.5 after 10 s and 12 s;
* asynchronous: 0.2 per step of 1 s (1.2 s), stopped at 12 s, far from 2.5.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from simbench.records import TABLES, Evaluation, Message, RunFolder, Span, Update

WORKERS, SAMPLES_PER_STEP, SECOND, MB = 4, 8, 10**9, 10**6
SCENARIO = "name: small\nseeds: [0, 1]\n# <script>alert('no')</script>\n"


@dataclass(frozen=True)
class Course:
    """How one strategy fares."""

    name: str
    step_s: float
    fall: float
    compute: float
    """Share of a step that a worker computes; the slow one three times as much."""
    server: int | None = None
    stale: bool = False
    learning_rate: float = 0.3
    stuck: str | None = None
    down: float = 0.0
    """Share of a step that worker 0 is down."""
    spread: float = 0.2
    """How much longer the steps are on each further seed."""


AVERAGING = Course("averaging", 1, 0.5, 0.3)
PARAMETER_SERVER = Course("parameter server", 2, 0.5, 0.15, server=WORKERS)
ASYNCHRONOUS = Course("asynchronous", 1, 0.2, 0.3, server=WORKERS, stale=True, learning_rate=0.1)
ALL = (AVERAGING, PARAMETER_SERVER, ASYNCHRONOUS)
BUDGET_S = 12

MakeRun = Callable[..., RunFolder]


@pytest.fixture
def alone() -> Course:
    """Return the course of a strategy without a server."""
    return AVERAGING


@pytest.fixture
def stale() -> Course:
    """Return the course of a strategy whose workers don't wait for each other."""
    return ASYNCHRONOUS


@pytest.fixture(scope="session")
def write() -> MakeRun:
    """Return ``write_run``, for tests that choose the folder themselves."""
    return write_run


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Return a function that writes a run and returns its folder."""

    def make(
        courses: Sequence[Course] = ALL,
        seeds: Sequence[int] = (0, 1),
        target: float | None = 2.5,
        most_steps: int | None = None,
        name: str = "run",
    ) -> RunFolder:
        return write_run(tmp_path / name, courses, seeds, target, most_steps)

    return make


def write_run(
    path: Path,
    courses: Sequence[Course] = ALL,
    seeds: Sequence[int] = (0, 1),
    target: float | None = 2.5,
    most_steps: int | None = None,
) -> RunFolder:
    """Write the records of these courses."""
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in TABLES}
    runs = [_one(course, seed, target, most_steps, rows) for course in courses for seed in seeds]
    folder = RunFolder(path)
    folder.write(
        SCENARIO,
        rows,
        {
            "scenario": "small",
            "workers": WORKERS,
            "samples_per_step": SAMPLES_PER_STEP,
            "target_loss": target,
            "budget_ns": BUDGET_S * SECOND,
            "runs": runs,
        },
        {
            "run_id": "0123abcd",
            "simbench": "0.1.0",
            "fingerprint": {"cpu": "one | two", "torch": "2.13"},
            "operations": {"run": {"gradient": 10}, "known": {"gradient": 2}},
            "data_sha256": None,
        },
    )
    return folder


def _one(
    course: Course,
    seed: int,
    target: float | None,
    most_steps: int | None,
    rows: Mapping[str, list[tuple[Any, ...]]],
) -> dict[str, Any]:
    step_ns = round(course.step_s * (1 + course.spread * seed) * SECOND)
    steps = BUDGET_S * SECOND // step_ns if most_steps is None else most_steps
    losses = [round(5 - course.fall * step, 9) for step in range(steps + 1)]
    reached = next((k for k, loss in enumerate(losses) if target and loss <= target), None)
    steps = steps if reached is None else reached
    key = (course.name, seed)
    step_samples = WORKERS * SAMPLES_PER_STEP
    for k in range(steps + 1):
        rows["evaluations"].append(
            Evaluation(*key, k, k * step_ns, k * step_samples, k * MB, losses[k])
        )
    for k in range(1, steps + 1):
        for node in range(WORKERS) if course.stale else [None]:
            number = (k - 1) * WORKERS + node + 1 if node is not None else k
            time_ns = (k - 1) * step_ns + (
                step_ns * (node + 1) // WORKERS if node is not None else step_ns
            )
            stale = 0 if node is None else node
            rows["updates"].append(Update(*key, number, time_ns, node, stale))
    end_ns = steps * step_ns
    for k in range(steps):
        for node in range(WORKERS + (course.server == WORKERS)):
            rows["spans"] += _step_spans(key, course, node, k * step_ns, step_ns)
    rows["messages"].append(Message(*key, 0, 0, 1, "model", MB, 0, end_ns))
    return {
        "strategy": course.name,
        "kind": course.name.replace(" ", "_"),
        "seed": seed,
        "learning_rate": course.learning_rate,
        "machines": WORKERS + (course.server == WORKERS),
        "servers": [] if course.server is None else [course.server],
        "stopped_by": "stuck" if course.stuck else "virtual_time" if reached is None else "loss",
        "stuck": course.stuck,
        "end_ns": end_ns,
        "time_to_target_ns": None if reached is None else reached * step_ns,
        "final_loss": losses[steps],
        "samples": steps * step_samples,
        "updates": steps * (WORKERS if course.stale else 1),
        "payload_bytes": steps * MB,
        "mean_staleness_updates": 1.5 if course.stale else 0.0,
        "unread_messages": 0,
        "parameters_sha256": "00",
    } | ({"retries": 3, "resent_bytes": MB, "lost_compute_ns": 7} if course.down else {})


def _step_spans(
    key: tuple[str, int], course: Course, node: int, start_ns: int, step_ns: int
) -> list[Span]:
    if node == WORKERS:
        parts = [("receive", 0.3), ("wait", 0.4), ("send", 0.3)]
    else:
        computing = course.compute * (3 if node == WORKERS - 1 else 1)
        down = course.down if node == 0 else 0.0
        parts = [
            ("compute", computing),
            ("send", 0.05),
            ("down", down),
            ("wait", 0.95 - computing - down),
        ]
    spans = []
    for activity, share in parts:
        end_ns = start_ns + round(share * step_ns)
        if end_ns > start_ns:
            spans.append(Span(*key, node, activity, start_ns, end_ns))
        start_ns = end_ns
    return spans
