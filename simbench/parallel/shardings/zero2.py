"""ZeRO 2: each device keeps a share of the optimiser's state and of the gradient."""

from typing import ClassVar, Literal

from simbench.parallel.sharding import StateSharding


class Zero2(StateSharding):
    """The optimiser's state and the gradient are shared out (P_os+g).

    As much is sent as by an all-reduce, and more with several micro-batches: each one's gradient is
    reduce-scattered by itself, since what isn't a device's own doesn't stay.

    Source:
        Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models",
        SC 2020, arXiv:1910.02054, sections 5.2 and 7.2.1.
    """

    kind: Literal["zero2"] = "zero2"

    shares_gradient: ClassVar[bool] = True
    shares_parameters: ClassVar[bool] = False
