"""ZeRO 1: each device keeps a share of the optimiser's state."""

from typing import ClassVar, Literal

from simbench.parallel.sharding import StateSharding


class Zero1(StateSharding):
    """The optimiser's state is shared out (P_os). As much is sent as by an all-reduce.

    Source:
        Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models",
        SC 2020, arXiv:1910.02054, sections 5.1 and 7.2.1.
    """

    kind: Literal["zero1"] = "zero1"

    shares_gradient: ClassVar[bool] = False
    shares_parameters: ClassVar[bool] = False
