"""A scenario: one choice of each kind, and the rule that ends a run. A YAML file says one."""

import functools
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveInt,
    SerializerFunctionWrapHandler,
    ValidationError,
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
from simbench.devices import group_of, layout_of
from simbench.execution.identity import source_hash
from simbench.learning.aggregator import Aggregator
from simbench.learning.dataset import Dataset
from simbench.learning.fault import Fault
from simbench.learning.model import Model
from simbench.learning.optimizer import Optimizer
from simbench.learning.split_gradient import Layout
from simbench.learning.task import Task
from simbench.network.collective import AllReduce
from simbench.network.collectives.all_reduce.ring import Ring
from simbench.network.topologies.star import Star
from simbench.network.topology import Topology
from simbench.network.transport import Transport
from simbench.parallel.group import Group
from simbench.parallel.parallel import Parallel
from simbench.parallel.pipeline import Pipeline
from simbench.parallel.sharding import Sharding
from simbench.peer_graph import PeerGraph
from simbench.report.quantities import join, show_size
from simbench.seeds import generator
from simbench.spec import OneOf, Spec, dump_by_contents, misfit
from simbench.strategy import Strategy
from simbench.units import PositiveNanoseconds

CHOICES: dict[str, tuple[str, type[Spec]]] = {
    "strategies": ("simbench.strategies", Strategy),
    "strategies.graph": ("simbench.peer_graphs", PeerGraph),
    "strategies.aggregator": ("simbench.learning.aggregators", Aggregator),
    "strategies.damping": ("simbench.dampings", Damping),
    "task.model": ("simbench.learning.models", Model),
    "task.data": ("simbench.learning.datasets", Dataset),
    "task.optimizer": ("simbench.learning.optimizers", Optimizer),
    "cluster.machine": ("simbench.cluster.machines", Machine),
    "cluster.machine.jitter": ("simbench.cluster.jitters", Jitter),
    "cluster.stragglers": ("simbench.cluster.stragglers", Straggler),
    "network": ("simbench.network.topologies", Topology),
    "network.transport": ("simbench.network.transports", Transport),
    "parallel.pipeline": ("simbench.parallel.pipelines", Pipeline),
    "parallel.sharding": ("simbench.parallel.shardings", Sharding),
    "conditions": ("simbench.conditions", Condition),
    "faults": ("simbench.learning.faults", Fault),
    "all_reduce": ("simbench.network.collectives.all_reduce", AllReduce),
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
    seeds: tuple[NonNegativeInt, ...] = Field(default=(0, 1), min_length=1)
    """Each strategy runs once with each."""

    @property
    def group(self) -> Group | None:
        """The devices of a node, where it is several."""
        return None if self.parallel is None else group_of(self.parallel, self.task)

    @property
    def layout(self) -> Layout | None:
        """How a node's devices split a gradient, where they do."""
        return None if self.parallel is None else layout_of(self.parallel)

    @property
    def num_devices(self) -> int:
        """Devices of all workers together."""
        each = 1 if self.parallel is None else self.parallel.num_devices
        return self.cluster.nodes * each

    def num_servers(self, strategy: Strategy) -> int:
        """Return the machines beside the workers that ``strategy`` uses, itself or to average."""
        places = strategy.server_places
        return places.count("own_machine") if places else self.all_reduce.num_servers

    @model_validator(mode="after")
    def _fits_together(self) -> "Scenario":
        if len(set(self.seeds)) < len(self.seeds):
            raise misfit(("seeds",), f"each counts once; got {list(self.seeds)}")
        for name, strategy in self.strategies.items():
            try:
                strategy.check(self.cluster.nodes)
            except ValidationError as error:
                first = error.errors()[0]
                raise misfit(("strategies", name, *first["loc"]), first["msg"]) from None
            for place in strategy.server_places:
                if isinstance(place, int) and place >= self.cluster.nodes:
                    raise misfit(
                        ("strategies", name, "server"),
                        f"node {place} doesn't exist: {self.cluster.nodes} nodes have the ranks "
                        f"0 to {self.cluster.nodes - 1}",
                    )
        self._check_data()
        self._check_network()
        self._check_conditions()
        self._check_faults()
        self._check_parallel()
        self._check_machines()
        return self

    def _check_parallel(self) -> None:
        """Refuse to split what can't be split."""
        try:
            _ = self.group
        except ValidationError as error:
            first = error.errors()[0]
            raise misfit(("parallel", *first["loc"]), first["msg"]) from None

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
        # Beside parameters and gradient.
        return self.group.state_bytes(task.training_bytes // task.vector_bytes - 2)

    def _too_much_for(self, memory_bytes: int) -> str:
        task = self.task
        vectors = ["parameters", "gradient"]
        if task.optimizer.state_vectors:
            vectors.append(f"{task.optimizer.state_vectors} x state of {task.optimizer.kind}")
        return (
            f"training takes {show_size(task.training_bytes)} of memory ({join(vectors)}, "
            f"{show_size(task.vector_bytes)} each, and activations on top, which aren't counted); "
            f"there are {show_size(memory_bytes)}, which is "
            f"{show_size(task.training_bytes - memory_bytes)} too little"
        )

    def _check_data(self) -> None:
        """Refuse data that are too few for so many shards, or to hold anything out."""
        data, nodes, length = self.task.data, self.cluster.nodes, self.task.model.length
        try:
            for rank in range(nodes):
                data.batch(generator(0, "check", rank, 0), rank, nodes, 1, length)
            data.validation(nodes, length)
        except ValueError as error:
            raise misfit(("task", "data"), str(error)) from None

    def _check_network(self) -> None:
        """Refuse a network that can't be built for these nodes, or says what has no effect."""
        num_servers = max(map(self.num_servers, self.strategies.values()))
        try:
            self.network.check(self.cluster.nodes, num_servers)
        except ValidationError as error:
            first = error.errors()[0]
            raise misfit(("network", *first["loc"]), first["msg"]) from None
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
            try:
                condition.check(links, every[-1])
            except ValidationError as error:
                first = error.errors()[0]
                raise misfit(("conditions", index, *first["loc"]), first["msg"]) from None

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

    @model_serializer(mode="wrap")
    def _write(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what isn't there: the records of a run in which nothing goes wrong stay."""
        written: dict[str, Any] = write(self)
        for key in ("parallel", "conditions", "faults"):
            if not getattr(self, key):
                written.pop(key, None)
        return written

    @property
    def run_id(self) -> str:
        """Hash of the question: what the scenario says, its files' contents, and the software."""
        question = {
            "scenario": dump_by_contents(self),
            "data": self.task.data.content,
            "version": simbench.__version__,
            "source": _source_of_package(),
            "plug-ins": source_hash(*sorted(_classes(self), key=lambda each: each.__qualname__)),
        }
        return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:12]


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
    """Return the classes of all specs in ``part``, plug-ins from outside among them."""
    if isinstance(part, Spec):
        inner = [getattr(part, name) for name in type(part).model_fields]
        return {type(part)}.union(*map(_classes, inner))
    if isinstance(part, dict):
        part = tuple(part.values())
    return set().union(*map(_classes, part)) if isinstance(part, tuple) else set()
