"""ZeRO 3, or FSDP: each device keeps a share of everything."""

from typing import ClassVar, Literal

from simbench.parallel.sharding import StateSharding


class Zero3(StateSharding):
    """All is shared out (P_os+g+p): parameters are gathered for each pass.

    So half as much again is sent as by an all-reduce, and more with several micro-batches.

    Source:
        Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models",
        SC 2020, arXiv:1910.02054, sections 5.3 and 7.2.2.
    """

    kind: Literal["zero3"] = "zero3"

    shares_gradient: ClassVar[bool] = True
    shares_parameters: ClassVar[bool] = True
