"""What a run leaves behind: typed rows, and the folder that holds them.

Tables are Parquet files with the unit in every column name. A folder is written under a temporary
name and renamed when whole, so a folder that exists is complete.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


class Evaluation(NamedTuple):
    """The model that a user would deploy at one moment, on held-out data."""

    strategy: str
    seed: int
    progress: int
    """Local steps finished by every node, or the server's updates (strategy's own count)."""
    time_ns: int
    samples: int
    """Training samples that this version rests on, over all nodes."""
    payload_bytes: int
    """Bytes handed to the network by all nodes until then."""
    loss: float
    accuracy: float | None = None
    """Share of the held-out targets that are told right; None where the model tells none."""


class Update(NamedTuple):
    """One new version of the shared model."""

    strategy: str
    seed: int
    update: int
    time_ns: int
    node: int | None
    """Rank of the worker whose push it was; none where all contributed."""
    staleness_updates: int
    """Updates applied between that worker's read and this one, its own not counted; the most
    where several workers' pushes were merged."""


class Span(NamedTuple):
    """What one node was doing: the spans of a node tile its time from 0 to the end."""

    strategy: str
    seed: int
    node: int
    activity: str
    """``down``, ``compute``, ``send``, ``receive``, ``send+receive`` or ``wait``, the first that
    applies."""
    start_ns: int
    end_ns: int


class Message(NamedTuple):
    """Bytes from one node to another; one row per flow of a collective."""

    strategy: str
    seed: int
    number: int
    sender: int
    receiver: int
    tag: str
    num_bytes: int
    sent_ns: int
    arrived_ns: int | None
    """None where the run ended first, or an end left and it was dropped."""


class Happening(NamedTuple):
    """Something that went wrong, or was right again."""

    strategy: str
    seed: int
    time_ns: int
    kind: str
    """The ``kind`` of the condition, ``transfer`` for a message that was cut and sent again, or
    ``membership`` for what a policy made of it."""
    subject: str
    """``node 3``, ``3 - switch`` (a cable), ``3 -> switch`` (one direction), ``3 -> 0``
    (a transfer, from node to node)."""
    what: str
    """``down``, ``up``, a rate; of a transfer ``cut`` or ``again``; of a member ``left``,
    ``joined`` or ``restored``, and of a message from or to one that left ``dropped``."""
    lost_ns: int | None
    """Of a node that goes down: how long it had worked on what it begins anew."""
    resent_bytes: int | None
    """Of a transfer that sets out again: what had come through and is sent once more."""


class Trial(NamedTuple):
    """One candidate of the search before the comparison, tried by itself."""

    strategy: str
    seed: int
    learning_rate: float
    settings: str
    """Keys of the strategy and what they were set to, as YAML."""
    stopped_by: str
    end_ns: int
    time_to_target_ns: int | None
    """None where the target wasn't reached."""
    loss: float
    """The last one, at ``end_ns``; not a number where the run diverged."""
    chosen: bool


TABLES: dict[str, type[tuple[Any, ...]]] = {
    "evaluations": Evaluation,
    "updates": Update,
    "spans": Span,
    "messages": Message,
    "events": Happening,
    "tuning": Trial,
}
ONLY_WHEN_ANY = ("events", "tuning")
"""Tables whose file isn't there when they are empty."""

_ARROW = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    int | None: pa.int64(),
    float | None: pa.float64(),
}


def schema(row: type[tuple[Any, ...]]) -> pa.Schema:
    """Return the Arrow schema of a row type: its fields in order."""
    return pa.schema([(name, _ARROW[kind]) for name, kind in row.__annotations__.items()])


def arrow(name: str, rows: Sequence[tuple[Any, ...]], labels: Mapping[str, str]) -> pa.Table:
    """Return the rows of one table as columns, behind a column for each axis of a sweep.

    Args:
        name: which table.
        rows: of its type.
        labels: where on each axis they belong; empty without a sweep.
    """
    fields = schema(TABLES[name])
    columns = list(zip(*rows, strict=True)) or [()] * len(fields)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, fields, strict=True)]
    axes = [(axis, pa.string()) for axis in labels]
    where = [pa.repeat(pa.scalar(label, pa.string()), len(rows)) for label in labels.values()]
    return pa.table([*where, *arrays], schema=pa.schema([*axes, *fields]))


@dataclass(frozen=True)
class RunFolder:
    """One run's records: ``results/<scenario>/<run-id>/``."""

    path: Path
    point: Mapping[str, str] = field(default_factory=dict)
    """Where a sweep is looked at alone, as if it were a run of its own; by default all of it."""

    @property
    def exists(self) -> bool:
        """Whether the run is whole: folders appear under their final name only then."""
        return (self.path / "summary.json").is_file()

    def write(
        self,
        scenario_yaml: str,
        rows: Mapping[str, Sequence[tuple[Any, ...]] | pa.Table],
        summary: Mapping[str, Any],
        provenance: Mapping[str, Any],
        files: Mapping[str, Path] = MappingProxyType({}),
    ) -> None:
        """Write everything or nothing; a whole folder that was there before is replaced.

        ``rows`` are those of each table, or already columns. ``files`` are those that the scenario
        names, by their places in the folder.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=self.path.parent))
        try:
            temporary.chmod(0o755)
            (temporary / "scenario.yaml").write_text(scenario_yaml, encoding="utf-8")
            for place, file in files.items():
                (temporary / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, temporary / place)
            for name in TABLES:
                held = rows[name]
                table = held if isinstance(held, pa.Table) else arrow(name, held, {})
                if len(table) or name not in ONLY_WHEN_ANY:
                    pq.write_table(table, temporary / f"{name}.parquet", compression="zstd")
            _write_json(temporary / "summary.json", summary)
            _write_json(temporary / "provenance.json", provenance)
            _put_in_place(temporary, self.path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def replace(self, other: "RunFolder") -> None:
        """Take the place of ``other``, which is lost once this is there."""
        _put_in_place(self.path, other.path)

    def table(self, name: str) -> pd.DataFrame:
        """Return one table; integers that may be missing are Int64.

        Its columns are the axes of a sweep, unless one point is looked at, and those of its row
        type.
        """
        file = self.path / f"{name}.parquet"
        axes = [] if name == "tuning" else [axis["name"] for axis in self.axes]
        if name in ONLY_WHEN_ANY and not file.exists():
            table = arrow(name, [], dict.fromkeys(axes, ""))
        else:
            here = [(axis, "=", self.point[axis]) for axis in axes if axis in self.point]
            table = pq.read_table(file, filters=here or None)
        table = table.drop_columns([axis for axis in axes if axis in self.point])
        for column, kind in TABLES[name].__annotations__.items():
            # A run of before there was such a column.
            if column not in table.column_names:
                table = table.append_column(column, pa.nulls(len(table), _ARROW[kind]))
        columns: list[str] = table.column_names
        optional = [n for n, kind in TABLES[name].__annotations__.items() if kind == int | None]
        # Through pandas, a missing value would turn nanoseconds into rounded floats.
        frame: pd.DataFrame = table.drop_columns(optional).to_pandas()
        for column in optional:
            frame[column] = pd.array(table[column].to_pylist(), dtype="Int64")
        ordered: pd.DataFrame = frame[columns]
        return ordered

    @property
    def summary(self) -> dict[str, Any]:
        """Return ``summary.json``: per strategy and seed, how the run ended."""
        summary = self._whole_summary()
        if not self.point:
            return summary
        sweep = summary.pop("sweep")
        facts = next(dict(each) for each in sweep["points"] if each["labels"] == self.point)
        del facts["labels"]
        runs = [each for each in summary["runs"] if each["point"] == self.point]
        return {**summary, **facts, "runs": runs}

    @property
    def axes(self) -> list[dict[str, Any]]:
        """Return the axes of the sweep: ``name``, ``labels``, and ``numbers`` where they are some.

        A run without a sweep has none.
        """
        axes: list[dict[str, Any]] = self._whole_summary().get("sweep", {}).get("axes", [])
        return axes

    @property
    def points(self) -> list["RunFolder"]:
        """Return the points of the sweep, each as if it were a run of its own."""
        points = self._whole_summary().get("sweep", {}).get("points", [])
        return [RunFolder(self.path, each["labels"]) for each in points]

    def _whole_summary(self) -> dict[str, Any]:
        return dict(json.loads((self.path / "summary.json").read_text(encoding="utf-8")))

    @property
    def provenance(self) -> dict[str, Any]:
        """Return ``provenance.json``: what depends on the machine that ran it."""
        return dict(json.loads((self.path / "provenance.json").read_text(encoding="utf-8")))

    @property
    def scenario_yaml(self) -> str:
        """Return the resolved scenario, every default written out."""
        return (self.path / "scenario.yaml").read_text(encoding="utf-8")


def _put_in_place(new: Path, place: Path) -> None:
    """Rename ``new`` to ``place``; what was there isn't deleted before that is done."""
    aside = place.with_name(f".replaced-{place.name}")
    if place.exists():
        shutil.rmtree(aside, ignore_errors=True)
        place.replace(aside)
    new.replace(place)
    shutil.rmtree(aside, ignore_errors=True)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
