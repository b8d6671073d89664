"""A machine that has a name: its rate and its memory are looked up."""

from typing import Literal

from pydantic import Field, model_validator

from simbench.cluster.devices import DEVICES, Device, Precision
from simbench.cluster.machine import Machine
from simbench.cluster.rate import time_at_rate_ns
from simbench.spec import misfit, unknown_name


class Accelerator(Machine):
    """A device known by its name: a step takes its FLOPs / (dense peak rate * efficiency).

    Source:
        The makers' data sheets, one for each row of ``simbench.cluster.devices``. An efficiency of
        0.4 is about what large models reach: 46.2 % is the model FLOPs utilisation of PaLM 540B,
        32.5 % that of Gopher (Chowdhery et al., "PaLM: Scaling Language Modeling with Pathways",
        2022, arXiv:2204.02311, table 3).
    """

    kind: Literal["accelerator"] = "accelerator"
    device: str = Field(default="a100-80gb-sxm", json_schema_extra={"enum": [*DEVICES]})
    """Its name, such as h100-sxm, rtx-4090, mi300x or tpu-v5e."""
    precision: Precision = "bf16"
    """The format in which it multiplies."""
    efficiency: float = Field(default=0.4, gt=0, le=1)
    """Share of the peak that training reaches (model FLOPs utilisation)."""

    @model_validator(mode="after")
    def _is_known(self) -> "Accelerator":
        if self.device not in DEVICES:
            message = unknown_name(self.device, list(DEVICES), "device").message()
            raise misfit(("device",), message)
        rates_flops = self._found.rates_flops
        if self.precision not in rates_flops:
            raise misfit(
                ("precision",),
                f"{self.device} has no {self.precision}; it has {', '.join(rates_flops)}",
            )
        return self

    def step_ns(self, flops: int) -> float:
        """Return the time; torch's counter must have seen operations to count."""
        rate_flops = self._found.rates_flops[self.precision]
        return time_at_rate_ns(flops, rate_flops, self.efficiency)

    @property
    def memory_bytes(self) -> int:
        """``memory`` where it is given, and else what the device has."""
        return self._found.memory_bytes if self.memory is None else self.memory

    @property
    def _found(self) -> Device:
        return DEVICES[self.device]
