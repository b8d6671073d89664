"""The section of a scenario that says how the devices of a node split the model among them."""

from typing import Annotated

from pydantic import PositiveInt, model_validator

from simbench.parallel.pipeline import Pipeline
from simbench.parallel.sharding import StateSharding
from simbench.spec import OneOf, Spec, misfit
from simbench.units import BitsPerSecond, Nanoseconds


class InnerLink(Spec):
    """What connects the devices of a node: each has one of its own to a switch."""

    bandwidth: BitsPerSecond = 2400 * 10**9
    """Rate of each device's link, each way; by default that of an A100's NVLink."""
    latency: Nanoseconds = 2_000
    """From device to device, one way."""


class Parallel(Spec):
    """Every worker is a group of devices that train one model together.

    There are stages x tensor x sharding devices. For the strategies and the network it is one node.
    """

    pipeline: Annotated[Pipeline, OneOf("simbench.parallel.pipelines")] | None = None
    """Stages of the model on devices of their own; by default one has all layers."""
    tensor: PositiveInt = 1
    """Devices that share the heads and the feed-forward network of each layer."""
    sharding: Annotated[StateSharding, OneOf("simbench.parallel.shardings")] | None = None
    """Groups that share the batch and the state of training; by default there is one."""
    link: InnerLink = InnerLink()
    """What connects these devices."""

    @model_validator(mode="after")
    def _splits_something(self) -> "Parallel":
        for key in ("pipeline", "sharding"):
            part = getattr(self, key)
            field = {"pipeline": "stages", "sharding": "devices"}[key]
            if part is not None and getattr(part, field) == 1:
                raise misfit((key, field), "has no effect: expected 2 or more")
        if self.num_devices == 1:
            raise misfit((), "splits nothing: expected pipeline, tensor or sharding")
        return self

    @property
    def num_stages(self) -> int:
        """Devices in a row."""
        return 1 if self.pipeline is None else self.pipeline.stages

    @property
    def num_chunks(self) -> int:
        """Pieces of the model; chunk c lies on stage c mod ``num_stages``."""
        return 1 if self.pipeline is None else self.pipeline.num_chunks

    @property
    def num_replicas(self) -> int:
        """Groups that have the whole model together, and a share of the batch."""
        return 1 if self.sharding is None else self.sharding.devices

    @property
    def num_devices(self) -> int:
        """Devices of a node."""
        return self.num_stages * self.tensor * self.num_replicas

    @property
    def num_microbatches(self) -> int:
        """Equal parts of a node's batch: those of all replicas."""
        return self.num_replicas * (1 if self.pipeline is None else self.pipeline.microbatches)
