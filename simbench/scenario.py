"""A scenario: one choice of each kind, and the rule that ends a run. A YAML file says one."""

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveInt,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    SkipValidation,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

import simbench
from simbench.cluster.cluster import Cluster
from simbench.cluster.jitter import Jitter
from simbench.cluster.machine import Machine
from simbench.cluster.straggler import Straggler
from simbench.condition import Condition
from simbench.damping import Damping
from simbench.devices import group_of, partition_of
from simbench.dotted import place_of, replaced
from simbench.execution.identity import source_hash
from simbench.learning.aggregator import Aggregator
from simbench.learning.compressor import Compression
from simbench.learning.dataset import Dataset
from simbench.learning.fault import Fault
from simbench.learning.model import Model
from simbench.learning.optimizer import Optimizer
from simbench.learning.pricing import Pricing
from simbench.learning.schedule import Schedule
from simbench.learning.sharding import Sharding
from simbench.learning.split_gradient import Partition
from simbench.learning.task import Task
from simbench.learning.transform import Transform
from simbench.network.collective import AllGather, AllReduce
from simbench.network.collectives.all_gather.ring import Ring as RingAllGather
from simbench.network.collectives.all_reduce.ring import Ring
from simbench.network.topologies.star import Star
from simbench.network.topology import Topology
from simbench.network.transport import Transport
from simbench.parallel.group import Group
from simbench.parallel.parallel import Parallel
from simbench.parallel.pipeline import Pipeline
from simbench.parallel.sharding import StateSharding
from simbench.peer_graph import PeerGraph
from simbench.policy import Policy
from simbench.records import TABLES
from simbench.report.quantities import join, show_size
from simbench.seeds import generator
from simbench.spec import OneOf, Spec, dump_by_contents, misfit, within
from simbench.strategy import Strategy
from simbench.sweep import JSON_SCHEMA, Axis, applied, points, written
from simbench.sweep_reading import read_axes
from simbench.tune import Tune, with_settings
from simbench.units import PositiveNanoseconds

CHOICES: dict[str, tuple[str, type[Spec]]] = {
    "strategies": ("simbench.strategies", Strategy),
    "strategies.graph": ("simbench.peer_graphs", PeerGraph),
    "strategies.on_failure": ("simbench.policies", Policy),
    "strategies.compression": ("simbench.learning.compression", Compression),
    "strategies.aggregator": ("simbench.learning.aggregators", Aggregator),
    "strategies.damping": ("simbench.dampings", Damping),
    "task.model": ("simbench.learning.models", Model),
    "task.shards": ("simbench.learning.shards", Sharding),
    "task.data": ("simbench.learning.datasets", Dataset),
    "task.optimizer": ("simbench.learning.optimizers", Optimizer),
    "task.gradient": ("simbench.learning.transforms", Transform),
    "task.optimizer.schedule": ("simbench.learning.schedules", Schedule),
    "task.priced_as": ("simbench.learning.pricings", Pricing),
    "cluster.machine": ("simbench.cluster.machines", Machine),
    "cluster.machine.jitter": ("simbench.cluster.jitters", Jitter),
    "cluster.stragglers": ("simbench.cluster.stragglers", Straggler),
    "network": ("simbench.network.topologies", Topology),
    "network.transport": ("simbench.network.transports", Transport),
    "parallel.pipeline": ("simbench.parallel.pipelines", Pipeline),
    "parallel.sharding": ("simbench.parallel.shardings", StateSharding),
    "conditions": ("simbench.conditions", Condition),
    "faults": ("simbench.learning.faults", Fault),
    "all_reduce": ("simbench.network.collectives.all_reduce", AllReduce),
    "all_gather": ("simbench.network.collectives.all_gather", AllGather),
}
"""Keys that take one plug-in of a folder: the folder and the base of its classes."""


class Stop(Spec):
    """When a run ends: at the first of these, in virtual-time order."""

    loss: float | None = None
    """The target: the first evaluation at or below it ends the run."""
    virtual_time: PositiveNanoseconds | None = None
    """Budget of virtual time."""
    updates: PositiveInt | None = None
    """Budget of progress: local steps of each node, or updates of a server."""
    samples: PositiveInt | None = None
    """Budget of training samples over all nodes."""

    @model_validator(mode="after")
    def _has_a_budget(self) -> "Stop":
        if self.virtual_time is None and self.updates is None and self.samples is None:
            raise ValueError(
                "needs a budget (virtual_time, updates or samples): a loss alone may never come"
            )
        return self


class Scenario(Spec):
    """One task on one cluster and network, strategies to compare, and seeds to repeat them with."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    """Name of the folders of results and reports: letters, digits, ``-`` and ``_``."""
    task: Task = Task()
    """What is trained."""
    cluster: Cluster = Cluster()
    """On what machines."""
    network: Annotated[Topology, OneOf("simbench.network.topologies")] = Star()
    """Over what network."""
    all_reduce: Annotated[AllReduce, OneOf("simbench.network.collectives.all_reduce")] = Ring()
    """How workers without a server average."""
    all_gather: Annotated[AllGather, OneOf("simbench.network.collectives.all_gather")] = (
        RingAllGather()
    )
    """How workers without a server pass on what can't be added up, as compressed vectors are."""
    parallel: Parallel | None = None
    """How each node is several devices that split the model; by default it is one."""
    conditions: tuple[Annotated[Condition, OneOf("simbench.conditions")], ...] = ()
    """What goes wrong, and when; by default nothing."""
    faults: tuple[Annotated[Fault, OneOf("simbench.learning.faults")], ...] = ()
    """Which nodes compute wrong gradients, and how; by default none."""
    strategies: dict[str, Annotated[Strategy, OneOf("simbench.strategies")]] = Field(min_length=1)
    """What is compared: a name of your own and a choice each."""
    evaluate_every: PositiveInt = 5
    """Steps of all nodes from one evaluation to the next, as many batches where a strategy counts
    updates; evaluation costs no virtual time."""
    stop: Stop
    """When a run ends."""
    vectorise: bool = False
    """Whether operations that are ready together run as one call: other last bits."""
    deterministic: bool = True
    """Whether a GPU gives the same bits each time; some of its faster algorithms don't."""
    seeds: tuple[NonNegativeInt, ...] = Field(default=(0, 1), min_length=1)
    """Each strategy runs once with each."""
    sweep: Annotated[tuple[Axis, ...], SkipValidation, WithJsonSchema(JSON_SCHEMA)] = Field(
        default_factory=tuple, exclude=True
    )
    """Axes: keys with several values each, or names for alternatives of several keys."""
    tune: Tune | None = None
    """A search for the best learning rate, or another key, of each strategy, before they run."""

    @model_validator(mode="before")
    @classmethod
    def _try_points(cls, data: Any, info: ValidationInfo) -> Any:
        """Make what the sections ``sweep`` and ``tune`` say of the rest, which must do alone."""
        if not isinstance(data, Mapping) or not data.keys() & {"sweep", "tune"}:
            return data
        rest = {key: value for key, value in data.items() if key not in ("sweep", "tune")}
        base = cls.model_validate(rest, context=info.context)
        sections = {key: value for key, value in data.items() if key not in rest}
        if sections.get("sweep"):
            axes = sections["sweep"]
            if not isinstance(axes, tuple) or not all(isinstance(axis, Axis) for axis in axes):
                with within("sweep"):
                    sections["sweep"] = read_axes(
                        axes,
                        rest,
                        base,
                        lambda tree: cls.model_validate(tree, context=info.context),
                    )
        else:
            sections.pop("sweep", None)
        if sections.get("tune") is not None:
            with within("tune"):
                tune = Tune.model_validate(sections["tune"], context=info.context)
                sections["tune"] = tune.resolved(rest["strategies"], base.strategies)
        return {**rest, **sections}

    @property
    def points(self) -> list["Point"]:
        """What is compared on: the points of the sweep, or the scenario itself where there is none.

        What a search has found is set at each.
        """
        scenario = self.model_copy(update={"sweep": (), "tune": None})
        for name, settings in (self.tune.chosen if self.tune else {}).items():
            tuned = with_settings(scenario.strategies[name], settings)
            scenario = replaced(scenario, ("strategies", name), tuned)
        return [
            Point(labels, applied(scenario, settings)) for labels, settings in points(self.sweep)
        ]

    @property
    def tuning_ground(self) -> "Scenario":
        """The scenario in which candidates are tried: at one point, with the search's seed."""
        assert self.tune is not None
        wanted = self.tune.at.items()
        ground = next(each.scenario for each in self.points if each.labels.items() >= wanted)
        own = {"network": self.tune.network} if self.tune.network else {}
        return ground.model_copy(update={"seeds": (self.tune.seed,), **own})

    @property
    def group(self) -> Group | None:
        """The devices of a node, where it is several."""
        return None if self.parallel is None else group_of(self.parallel, self.task)

    @property
    def partition(self) -> Partition | None:
        """How a node's devices split a gradient, where they do.

        They don't where a small model stands for a large one, which alone is split.
        """
        if self.parallel is None or self.task.priced_as is not None:
            return None
        return partition_of(self.parallel)

    @property
    def num_devices(self) -> int:
        """Devices of all workers together, each of which computes something of its own."""
        if self.parallel is None or self.partition is None:
            return self.cluster.nodes
        return self.cluster.nodes * self.parallel.num_devices

    def num_servers(self, strategy: Strategy) -> int:
        """Return the machines beside the workers that ``strategy`` uses, itself or to average."""
        places = strategy.server_places
        return places.count("own_machine") if places else self.all_reduce.num_servers

    @property
    def shard_weights(self) -> tuple[int, ...] | None:
        """Sizes of the nodes' shards, in proportion to their speed; None where they are equal."""
        sharding = self.task.sharding
        if sharding is None or sharding.sizes == "equal":
            return None
        mean_ns = self.cluster.mean_step_ns(self.task.step_flops)
        return tuple(max(1, round(10**18 / each_ns)) for each_ns in mean_ns)

    @model_validator(mode="after")
    def _fits_together(self) -> "Scenario":
        self.check()
        self._check_axes()
        self._check_tune()
        return self

    def check(self) -> None:
        """Refuse parts that don't fit together.

        Raises:
            ValidationError: as ``spec.misfit`` makes it, for a key of this scenario.
        """
        if len(set(self.seeds)) < len(self.seeds):
            raise misfit(("seeds",), f"each counts once; got {list(self.seeds)}")
        for name, strategy in self.strategies.items():
            with within("strategies", name):
                strategy.check(self.cluster.nodes)
            if strategy.steps_on_pieces and not self.task.optimizer.is_entrywise:
                raise misfit(
                    ("strategies", name, "servers"),
                    "transforms of task.optimizer look at whole gradients, of which each server "
                    "has a piece",
                )
            for place in strategy.server_places:
                if isinstance(place, int) and place >= self.cluster.nodes:
                    raise misfit(
                        ("strategies", name, "server"),
                        f"node {place} doesn't exist: {self.cluster.nodes} nodes have the ranks "
                        f"0 to {self.cluster.nodes - 1}",
                    )
        if self.vectorise:
            try:
                self.task.check_vectorised()
            except ValueError as error:
                raise misfit(("vectorise",), str(error)) from None
        self._check_data()
        self._check_network()
        self._check_conditions()
        self._check_faults()
        self._check_parallel()
        self._check_machines()

    def _check_parallel(self) -> None:
        """Refuse to split what can't be split."""
        if self.parallel is None:
            return
        for key in ("privacy", "mixed_precision"):
            if self.partition is not None and getattr(self.task, key) is not None:
                raise misfit(("parallel",), f"can't split a gradient with task.{key}")
        with within("parallel"):
            _ = self.group

    def _check_machines(self) -> None:
        """Refuse a machine whose time for a step nobody can tell, or whose memory is too small."""
        num_servers = max(map(self.num_servers, self.strategies.values()))
        for keys, machine in self.cluster.machines(self.cluster.nodes + num_servers):
            try:
                machine.step_ns(self.task.step_flops)
            except ValueError as error:  # FLOPs can't be counted
                raise misfit(("cluster", *keys), str(error)) from None
            memory_bytes = machine.memory_bytes
            if memory_bytes is not None and self.device_bytes > memory_bytes:
                # A table has no key of its own.
                key = () if machine.memory is None else ("memory",)
                raise misfit(("cluster", *keys, *key), self._too_much_for(memory_bytes))

    @property
    def device_bytes(self) -> int:
        """Least memory of a device that trains, of those of a node the one that needs most."""
        task = self.task
        if self.group is None:
            return task.training_bytes
        # What an optimiser keeps beside parameters and gradient.
        return self.group.state_bytes(task.training_bytes // task.vector_bytes - 2)

    def _too_much_for(self, memory_bytes: int) -> str:
        task = self.task
        vectors = ["parameters", "gradient"]
        if task.optimizer.memory_vectors:
            vectors.append(f"{task.optimizer.memory_vectors} x state of {task.optimizer.kind}")
        vectors += [
            f"{each.state_vectors} x state of {each.kind}"
            for each in task.gradient
            if each.state_vectors
        ]
        kept = "checkpointed " if task.checkpoint_activations else ""
        needed_bytes, missing_bytes = self.device_bytes, self.device_bytes - memory_bytes
        each = f"{show_size(task.vector_bytes)} each"
        if self.parallel is not None:
            each = f"what a device has of {each}"
        whose = f" {task.priced_as.model.name}" if task.priced_as else ""
        return (
            f"training{whose} takes {show_size(needed_bytes)} of memory ({join(vectors)}, {each}, "
            f"and {kept}activations on top, which aren't counted); there are "
            f"{show_size(memory_bytes)}, which is {show_size(missing_bytes)} too little"
        )

    def _check_data(self) -> None:
        """Refuse data that are too few for so many shards, or to hold anything out."""
        task, nodes = self.task, self.cluster.nodes
        try:
            task.num_parameters  # noqa: B018 - whether the library that builds it takes its settings
        except ValueError as error:
            raise misfit(("task", "model"), str(error)) from None
        try:
            weights = self.shard_weights or (1,) * nodes
        except ValueError as error:  # FLOPs can't be counted
            raise misfit(("task", "shards", "sizes"), str(error)) from None
        try:
            for rank in range(nodes):
                task.batch(generator(0, "check", rank, 0), rank, weights, size=1)
            task.data.validation(nodes, task.model.length)
        except ValueError as error:
            raise misfit(("task", "data"), str(error)) from None
        try:
            task.step_flops  # noqa: B018 - whether a module of the user's own takes a batch
        except RuntimeError as error:
            raise misfit(("task", "model"), f"can't read a batch: {error}") from None
        size, asked = task.smallest_shard(weights), task.samples_per_step
        if task.privacy is not None and size is not None and asked > size:
            raise misfit(
                ("task", "privacy"),
                f"a batch of {asked} samples is more than the {size} that a node has",
            )

    def _check_network(self) -> None:
        """Refuse a network that can't be built for these nodes, or says what has no effect."""
        num_servers = max(map(self.num_servers, self.strategies.values()))
        with within("network"):
            self.network.check(self.cluster.nodes, num_servers)
        num_nodes = self.cluster.nodes + num_servers
        transport = self.network.transport
        lossy = any(link.loss for link in self.network.links(num_nodes))
        if lossy and not transport.feels_loss:
            raise misfit(
                ("network",),
                f"loss has no effect: nothing is lost with transport {{kind: {transport.kind}}}",
            )

    def _check_conditions(self) -> None:
        """Refuse what goes wrong with a node or a link that no strategy has."""
        if not self.conditions:
            return
        counts = {self.num_servers(strategy): None for strategy in self.strategies.values()}
        every = [self.cluster.nodes + num_servers for num_servers in sorted(counts)]
        links = tuple(dict.fromkeys(link for n in every for link in self.network.links(n)))
        for index, condition in enumerate(self.conditions):
            with within("conditions", index):
                condition.check(links, every[-1])

    def _check_faults(self) -> None:
        """Refuse a faulty node that doesn't exist."""
        nodes = self.cluster.nodes
        for index, fault in enumerate(self.faults):
            for rank in fault.nodes:
                if rank >= nodes:
                    raise misfit(
                        ("faults", index, "nodes"),
                        f"node {rank} doesn't exist: {nodes} nodes have the ranks 0 to {nodes - 1}",
                    )

    def _check_axes(self) -> None:
        columns = {column for row in TABLES.values() for column in row.__annotations__}
        for axis in self.sweep:
            if axis.name in columns:
                raise misfit(("sweep", axis.name), "tables have a column of this name already")
            # One executor computes all points.
            for key in ("vectorise", "deterministic"):
                if key in axis.keys:
                    raise misfit(("sweep", axis.name), f"{key} holds for all points")

    def _check_tune(self) -> None:
        """Refuse a search whose seed or network is compared, or which can't be made."""
        tune = self.tune
        if tune is None:
            return
        if tune.seed in self.seeds:
            raise misfit(("tune", "seed"), f"{tune.seed} is compared: it is among seeds")
        axes = {axis.name: axis for axis in self.sweep}
        for name, label in tune.at.items():
            if name not in axes:
                raise misfit(("tune", "at", name), f"no axis of the sweep; known: {join([*axes])}")
            known = [*axes[name].alternatives]
            if label not in known:
                raise misfit(("tune", "at", name), f"has no {label!r}; known: {', '.join(known)}")
        searched = {
            ("strategies", strategy, *key.split("."))
            for strategy, grid in tune.strategies.items()
            for key in grid
        }
        for axis in self.sweep:
            places = [place_of(key) for key in axis.keys]
            if any(each[: len(place)] == place for each in searched for place in places):
                raise misfit(("sweep", axis.name), "sets a key that is tuned")
        if tune.network is not None:
            self._check_own_network(tune.network)

    def _check_own_network(self, network: Topology) -> None:
        for point in self.points:
            if point.scenario.network == network:
                where = f"; say at: {point.labels}" if point.labels else ""
                raise misfit(
                    ("tune", "network"), f"this network is compared{where or ': leave it out'}"
                )
        try:
            self.tuning_ground.check()
        except ValidationError as error:
            first = error.errors()[0]
            keys = [str(key) for key in first["loc"]]
            inside = ("tune", *keys) if keys[:1] == ["network"] else ("tune", "network")
            raise misfit(inside, first["msg"]) from None

    @model_serializer(mode="wrap")
    def _write(
        self, write: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        """Leave out what isn't there: the records of a run in which nothing goes wrong stay."""
        tree: dict[str, Any] = write(self)
        for key in ("parallel", "conditions", "faults"):
            if not getattr(self, key):
                tree.pop(key, None)
        for key in ("vectorise", "deterministic"):
            if getattr(self, key) == type(self).model_fields[key].default:
                tree.pop(key, None)
        # Few strategies read it.
        if self.all_gather == RingAllGather():
            tree.pop("all_gather", None)
        if self.tune is None:
            tree.pop("tune", None)
        if self.sweep:
            alone = self.model_copy(update={"tune": None})

            def tree_at(labels: Mapping[str, str]) -> dict[str, Any]:
                found = next(p for p in alone.points if p.labels.items() >= labels.items())
                return found.scenario.model_dump(mode=info.mode, context=info.context)

            tree["sweep"] = written(self.sweep, tree_at)
        return tree

    @property
    def run_id(self) -> str:
        """Hash of the question: what the scenario says, its files' contents, and the software."""
        classes = _classes((self, *(point.scenario for point in self.points)))
        question = {
            "scenario": dump_by_contents(self),
            "data": sorted({point.scenario.task.data.content for point in self.points}),
            "version": simbench.__version__,
            "source": _source_of_package(),
            "plug-ins": source_hash(*sorted(classes, key=lambda each: each.__qualname__)),
        }
        return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:12]


class Point(NamedTuple):
    """One point of a sweep."""

    labels: dict[str, str]
    """The name of its alternative on each axis; empty where there is no sweep."""
    scenario: Scenario
    """All that holds there; it has no sweep and no search of its own."""

    @property
    def name(self) -> str:
        """What to call it."""
        return ", ".join(self.labels.values())


@functools.cache
def _source_of_package() -> str:
    """Return the SHA-256 of all of simbench but what only shows results."""
    package = Path(simbench.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        place = file.relative_to(package)
        if place.parts[0] not in ("cli", "report"):
            digest.update(place.as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _classes(part: object) -> set[type]:
    """Return the classes of all specs in ``part``, and other code of users' that they call."""
    if isinstance(part, Spec):
        inner = [getattr(part, name) for name in type(part).model_fields]
        return {type(part), *part.user_code}.union(*map(_classes, inner))
    if isinstance(part, dict):
        part = tuple(part.values())
    return set().union(*map(_classes, part)) if isinstance(part, tuple) else set()
