"""A group of devices that take a step together: how long it takes, and what they tell each other.

Devices talk over links of their own. A pass waits for what it needs and for its sums; activations
travel from stage to stage while both go on. Nothing else is hidden behind computing.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

from simbench.network.collective import Collective, seconds
from simbench.network.collectives.all_gather.ring import Ring as RingAllGather
from simbench.network.collectives.all_reduce.ring import Ring as RingAllReduce
from simbench.network.collectives.reduce_scatter.ring import Ring as RingReduceScatter
from simbench.network.topologies.star import Star
from simbench.parallel.parallel import Parallel
from simbench.parallel.pipeline import Work
from simbench.parallel.timetable import Timetable, timetable


class Chunk(NamedTuple):
    """A piece of the model, as the clock sees it."""

    share: float
    """What a device does of the work of a whole step, forward and backward, on all samples."""
    sums: int
    """Sums over the tensor-parallel devices in a forward pass; a backward pass has as many."""
    activation_bytes: int
    """Per sample, of what is summed up, and of what goes on to the next chunk."""
    parameter_bytes: int
    """Of the device that has most of it, none of them sharded."""
    forward_vocabulary: tuple[int, ...] = ()
    """Per sample, of each sum over devices that share the embedding or the output head."""
    backward_vocabulary: tuple[int, ...] = ()
    """The same of a backward pass."""


class Traffic(NamedTuple):
    """Bytes that the devices of a group send each other in one step, all of them together."""

    activations: int
    """From stage to stage, and their gradients back."""
    sums: int
    """In all-reduces of tensor-parallel layers, and of gradients of what two stages have."""
    state: int
    """Gradients that are reduce-scattered, and parameters that are all-gathered."""
    vocabulary: int
    """In all-reduces of embeddings and scores, and of their gradients."""


class GroupStep(NamedTuple):
    """One step of a group."""

    table: Timetable
    """When each replica's stages do what."""
    end_ns: int
    """When all devices are ready for the next."""


class Group:
    """The devices of one node; ``step`` prices what they do for one gradient."""

    def __init__(
        self, parallel: Parallel, chunks: Sequence[Chunk], batch_size: int, tied_bytes: int = 0
    ) -> None:
        """Price a model of ``chunks``, in the order of the model, on batches of ``batch_size``.

        ``tied_bytes`` of a device's parameters are the first stage's and the last one's as well.
        """
        self._parallel = parallel
        self._chunks = chunks
        self._tied_bytes = tied_bytes if parallel.num_stages > 1 else 0
        self._samples = batch_size // parallel.num_microbatches
        """Of one micro-batch."""
        link = parallel.link
        self._star = Star(bandwidth=link.bandwidth, latency=link.latency)
        pipeline = parallel.pipeline
        self._orders = (
            [[Work(True, 0, 0), Work(False, 0, 0)]]
            if pipeline is None
            else [pipeline.order(stage) for stage in range(pipeline.stages)]
        )
        self._extra_ns = {
            is_forward: [self._communication_ns(chunk, is_forward) for chunk in chunks]
            for is_forward in (True, False)
        }
        self.step = functools.lru_cache(maxsize=256)(self._step)

    def _step(self, whole_ns: int, backward_share: float) -> GroupStep:
        """Return the step for which one device alone would need ``whole_ns``.

        A pass takes its share of that; ``backward_share`` is that of backward passes.
        """
        each_ns = whole_ns / self._parallel.num_microbatches

        def duration_ns(work: Work) -> int:
            share = 1 - backward_share if work.is_forward else backward_share
            computing_ns = round(each_ns * share * self._chunks[work.chunk].share)
            return computing_ns + self._extra_ns[work.is_forward][work.chunk]

        handed_bytes = self._samples * max(chunk.activation_bytes for chunk in self._chunks)
        link = self._parallel.link
        table = timetable(
            self._orders,
            len(self._chunks),
            duration_ns,
            -(-8 * 10**9 * handed_bytes // link.bandwidth),
            link.latency,
        )
        ready = table.stage_ends_ns.copy()
        if self._tied_bytes:
            both_ns = max(ready[0], ready[-1]) + self._ns(RingAllReduce(), self._tied_bytes, 2)
            ready[0] = ready[-1] = both_ns
        ends = [each + self._settling_ns(stage) for stage, each in enumerate(ready)]
        return GroupStep(table, max(1, *ends))

    @property
    def num_devices(self) -> int:
        """How many there are."""
        return self._parallel.num_devices

    @property
    def adds_up(self) -> bool:
        """Whether a gradient is that of several micro-batches."""
        return self._parallel.num_microbatches > 1

    @property
    def traffic(self) -> Traffic:
        """What is sent in one step."""
        parallel, chunks = self._parallel, self._chunks
        passes, tensor, replicas = parallel.num_microbatches, parallel.tensor, parallel.num_replicas
        pass_bytes = [self._samples * chunk.activation_bytes for chunk in chunks]
        activations = state = vocabulary = 0
        sums = 2 * self._tied_bytes * tensor * replicas
        if parallel.num_stages > 1:
            # Each of the tensor-parallel devices hands on to its neighbour, all of it.
            activations = 2 * passes * tensor * sum(pass_bytes[:-1])
        for chunk, num_bytes in zip(chunks, pass_bytes, strict=True):
            # A ring sends all but one p-th of a vector, once for each half of an all-reduce.
            sums += 2 * passes * chunk.sums * 2 * (tensor - 1) * num_bytes
            sample_bytes = sum(chunk.forward_vocabulary + chunk.backward_vocabulary)
            vocabulary += passes * 2 * (tensor - 1) * self._samples * sample_bytes
            gathers = self._num_gathers * (replicas - 1) * chunk.parameter_bytes
            state += gathers * tensor
        return Traffic(activations, sums, state, vocabulary)

    def state_bytes(self, state_vectors: int) -> int:
        """Return the least memory of the device that needs most, activations aside.

        ``state_vectors`` are what the optimiser keeps, in vectors of the parameters.
        """
        stages, sharding = self._parallel.num_stages, self._parallel.sharding
        parameter_bytes = max(
            sum(chunk.parameter_bytes for chunk in self._chunks[stage::stages])
            for stage in range(stages)
        )
        if sharding is None:
            return parameter_bytes * (2 + state_vectors)
        return sharding.state_bytes(parameter_bytes, state_vectors)

    @property
    def _num_gathers(self) -> int:
        """How often a vector is all-gathered or reduce-scattered in a step."""
        sharding = self._parallel.sharding
        if sharding is None:
            return 0
        passes = self._parallel.num_microbatches // sharding.devices
        scatters = passes if sharding.shares_gradient else 1
        return scatters + (2 * passes if sharding.shares_parameters else 1)

    def _communication_ns(self, chunk: Chunk, is_forward: bool) -> int:
        """Return what a pass waits for besides computing: sums, and what isn't kept."""
        sharding, num_bytes = self._parallel.sharding, self._samples * chunk.activation_bytes
        total_ns = 0
        if self._parallel.tensor > 1:
            vocabulary = chunk.forward_vocabulary if is_forward else chunk.backward_vocabulary
            summed = [num_bytes] * chunk.sums + [self._samples * size for size in vocabulary]
            total_ns += sum(self._ns(RingAllReduce(), s, self._parallel.tensor) for s in summed)
        if sharding is not None and sharding.shares_parameters:
            total_ns += self._ns(RingAllGather(), chunk.parameter_bytes, sharding.devices)
        if sharding is not None and sharding.shares_gradient and not is_forward:
            # What is not a device's own can't stay until the next micro-batch.
            total_ns += self._ns(RingReduceScatter(), chunk.parameter_bytes, sharding.devices)
        return total_ns

    def _settling_ns(self, stage: int) -> int:
        """Return what a device of ``stage`` does once its passes are over."""
        sharding = self._parallel.sharding
        if sharding is None:
            return 0
        num_bytes = sum(c.parameter_bytes for c in self._chunks[stage :: self._parallel.num_stages])
        total_ns = 0
        if not sharding.shares_gradient:
            total_ns += self._ns(RingReduceScatter(), num_bytes, sharding.devices)
        if not sharding.shares_parameters:
            total_ns += self._ns(RingAllGather(), num_bytes, sharding.devices)
        return total_ns

    @functools.cache  # noqa: B019 - groups are few, and kept
    def _ns(self, collective: Collective, num_bytes: int, devices: int) -> int:
        return round(1e9 * seconds(collective, num_bytes, range(devices), self._star))
