"""ZeRO 3, or FSDP: each device keeps a share of everything."""

from typing import ClassVar, Literal

from simbench.parallel.sharding import Sharding


class Zero3(Sharding):
    """All is shared out (P_os+g+p): parameters are gathered for each pass, so thrice as much is sent.

    Source:
        Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models",
        SC 2020, arXiv:1910.02054, sections 5.3 and 7.2.2.
    """

    kind: Literal["zero3"] = "zero3"

    shares_gradient: ClassVar[bool] = True
    shares_parameters: ClassVar[bool] = True
