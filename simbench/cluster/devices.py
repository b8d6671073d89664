"""Accelerators by name: peak rates and memory, as their makers state them.

Rates are dense: where a data sheet states a rate with 2:4 sparsity, half of it stands here.
``fp32`` is that of the ordinary units, the others are those of the matrix units, accumulating in
FP32. Memory is what the data sheet calls GB, taken for 10^9 bytes, or GiB where it says so. A
device is a card or a module; of TPUs and Trainium, one chip.
"""

from typing import Final, Literal, NamedTuple, get_args

Precision = Literal["fp32", "tf32", "bf16", "fp16", "fp8"]
"""Formats in which a device may multiply."""


class Device(NamedTuple):
    """One accelerator."""

    memory_bytes: int
    rates_flops: dict[Precision, int]
    """Dense peak rate in FLOP/s, of every precision that the device has."""
    source: str


_GB, _GIB = 10**9, 2**30

_P100 = "NVIDIA Tesla P100 data sheet, NVLink"
_V100 = "NVIDIA V100 data sheet, NVLink"
_T4 = "NVIDIA T4 data sheet"
_A100 = "NVIDIA A100 data sheet"
_A10 = "NVIDIA A10 data sheet"
_A40 = "NVIDIA A40 data sheet"
_3090 = "NVIDIA Ampere GA102 GPU Architecture white paper, appendix A"
_4090 = "NVIDIA Ada GPU Architecture white paper, appendix A"
_L4 = "NVIDIA L4 data sheet, rates with sparsity halved"
_L40S = "NVIDIA L40S data sheet"
_H100 = "NVIDIA H100 data sheet, rates with sparsity halved"
_H200 = "NVIDIA H200 data sheet, rates with sparsity halved"
_B200 = "NVIDIA Blackwell data sheet, one GPU of HGX B200, rates with sparsity halved"
_MI200 = "AMD Instinct MI200 series data sheet"
_MI300X = "AMD Instinct MI300X data sheet"
_MI325X = "AMD Instinct MI325X data sheet"
_TPU = "Google Cloud documentation, system architecture of this TPU"
_TRN = "AWS Neuron documentation, Trainium architecture"
_TRN2 = "AWS Neuron documentation, Trainium2 architecture"

# Memory; TFLOP/s in fp32, tf32, bf16, fp16, fp8, or None where the device lacks it; the source.
_ROWS: Final = {
    "p100":          ( 16 * _GB,   10.6,  None,    None,   21.2,   None, _P100),
    "v100":          ( 16 * _GB,   15.7,  None,    None,    125,   None, _V100),
    "v100-32gb":     ( 32 * _GB,   15.7,  None,    None,    125,   None, _V100),
    "t4":            ( 16 * _GB,    8.1,  None,    None,     65,   None, _T4),
    "a100":          ( 40 * _GB,   19.5,   156,     312,    312,   None, _A100),
    "a100-80gb-pcie":( 80 * _GB,   19.5,   156,     312,    312,   None, _A100),
    "a100-80gb-sxm": ( 80 * _GB,   19.5,   156,     312,    312,   None, _A100),
    "a10":           ( 24 * _GB,   31.2,  62.5,     125,    125,   None, _A10),
    "a40":           ( 48 * _GB,   37.4,  74.8,   149.7,  149.7,   None, _A40),
    "rtx-3090":      ( 24 * _GB,   35.6,  35.6,      71,     71,   None, _3090),
    "rtx-4090":      ( 24 * _GB,   82.6,  82.6,   165.2,  165.2,  330.3, _4090),
    "l4":            ( 24 * _GB,   30.3,    60,     121,    121,  242.5, _L4),
    "l40s":          ( 48 * _GB,   91.6,   183,  362.05, 362.05,    733, _L40S),
    "h100-pcie":     ( 80 * _GB,     51,   378,   756.5,  756.5,   1513, _H100),
    "h100-nvl":      ( 94 * _GB,     60, 417.5,   835.5,  835.5, 1670.5, _H100),
    "h100-sxm":      ( 80 * _GB,     67, 494.5,   989.5,  989.5,   1979, _H100),
    "h200":          (141 * _GB,     67, 494.5,   989.5,  989.5,   1979, _H200),
    "b200":          (180 * _GB,     75,  1100,    2250,   2250,   4500, _B200),
    "mi250":         (128 * _GB,   45.3,  None,   362.1,  362.1,   None, _MI200),
    "mi250x":        (128 * _GB,   47.9,  None,     383,    383,   None, _MI200),
    "mi300x":        (192 * _GB,  163.4, 653.7,  1307.4, 1307.4, 2614.9, _MI300X),
    "mi325x":        (256 * _GB,  163.4, 653.7,  1307.4, 1307.4, 2614.9, _MI325X),
    "tpu-v3":        ( 32 * _GIB,  None,  None,     123,   None,   None, _TPU),
    "tpu-v4":        ( 32 * _GIB,  None,  None,     275,   None,   None, _TPU),
    "tpu-v5e":       ( 16 * _GB,   None,  None,     197,   None,   None, _TPU),
    "tpu-v5p":       ( 95 * _GB,   None,  None,     459,   None,   None, _TPU),
    "tpu-v6e":       ( 32 * _GB,   None,  None,     918,   None,   None, _TPU),
    "trainium":      ( 32 * _GIB,  47.5,   190,     190,    190,   None, _TRN),
    "trainium2":     ( 96 * _GIB,   181,   667,     667,    667,   1299, _TRN2),
}  # fmt: skip

DEVICES: Final = {
    name: Device(
        memory_bytes,
        # A hundredth is the finest digit above: from there on, whole numbers.
        {
            precision: round(100 * teraflops) * 10**10
            for precision, teraflops in zip(get_args(Precision), rates, strict=True)
            if teraflops is not None
        },
        source,
    )
    for name, (memory_bytes, *rates, source) in _ROWS.items()
}
"""Name -> what it is. ``a100`` and ``v100`` are the first of their name, of 40 and 16 GB."""
