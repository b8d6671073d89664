"""Models by name: parameters, and FLOPs of training on one token or one sample.

Where the source gives no FLOPs, they are 6 per parameter and token. Images are of 224 x 224. Those
FLOPs are 6 per multiply-add of a forward pass: each is 2 FLOPs, and a backward pass has twice those
of a forward pass (Kaplan et al. 2020, arXiv:2001.08361, section 2.1).
"""

from typing import Final

from simbench.learning.pricing import LargeModel, Shape, flops_per_token

_GPT2 = "Radford et al. 2019, table 2, as counted in the weights that were published"
_GPT3 = "Brown et al. 2020, arXiv:2005.14165, table D.1"
_LLAMA2 = "Touvron et al. 2023, arXiv:2307.09288, as counted in the weights that were published"
_LLAMA3 = "Grattafiori et al. 2024, arXiv:2407.21783, table 3, as counted in its shapes"
_MISTRAL = "Jiang et al. 2023, arXiv:2310.06825, table 1, as counted in its shapes"
_BERT = "Devlin et al. 2019, arXiv:1810.04805, section 3, as counted in its shapes without heads"
_CHINCHILLA = "Hoffmann et al. 2022, arXiv:2203.15556, table 4 and appendix F"
_TORCHVISION = "torchvision's documentation of its weights, multiply-adds of a forward pass"

# What it is called, parameters, the source, and between them layers, width, heads and vocabulary:
# None where the source doesn't tell all of these.
_PER_TOKEN: Final = {
    "gpt2":          ("GPT-2 124M", 124_439_808, (12, 768, 12, 50_257), _GPT2),
    "gpt2-medium":   ("GPT-2 355M", 354_823_168, (24, 1024, 16, 50_257), _GPT2),
    "gpt2-large":    ("GPT-2 774M", 774_030_080, (36, 1280, 20, 50_257), _GPT2),
    "gpt2-xl":       ("GPT-2 1.5B", 1_557_611_200, (48, 1600, 25, 50_257), _GPT2),
    "gpt3-175b":     ("GPT-3 175B", 174_600_000_000, (96, 12_288, 96, 50_257), _GPT3),
    "llama-2-7b":    ("Llama 2 7B", 6_738_415_616, (32, 4096, 32, 32_000), _LLAMA2),
    "llama-2-13b":   ("Llama 2 13B", 13_015_864_320, (40, 5120, 40, 32_000), _LLAMA2),
    "llama-2-70b":   ("Llama 2 70B", 68_976_648_192, (80, 8192, 64, 32_000), _LLAMA2),
    "llama-3-8b":    ("Llama 3 8B", 8_030_261_248, (32, 4096, 32, 128_256), _LLAMA3),
    "llama-3-70b":   ("Llama 3 70B", 70_553_706_496, (80, 8192, 64, 128_256), _LLAMA3),
    "llama-3-405b":  ("Llama 3 405B", 405_853_388_800, (126, 16_384, 128, 128_256), _LLAMA3),
    "mistral-7b":    ("Mistral 7B", 7_241_732_096, (32, 4096, 32, 32_000), _MISTRAL),
    "bert-base":     ("BERT base", 109_482_240, (12, 768, 12, 30_522), _BERT),
    "bert-large":    ("BERT large", 335_141_888, (24, 1024, 16, 30_522), _BERT),
    "chinchilla-70b":("Chinchilla 70B", 70_000_000_000, None, _CHINCHILLA),
}  # fmt: skip

# Embedding and output head of all others are the same parameters.
_UNTIED: Final = {_LLAMA2, _LLAMA3, _MISTRAL}

# What it is called, parameters, multiply-adds of a forward pass over a sample, the source.
_PER_SAMPLE: Final = {
    "resnet-50": ("ResNet-50", 25_557_032, 4_090_000_000, _TORCHVISION),
    "vit-b-16":  ("ViT-B/16", 86_567_656, 17_560_000_000, _TORCHVISION),
}  # fmt: skip


def _shape(sizes: tuple[int, int, int, int] | None, source: str) -> Shape | None:
    if sizes is None:
        return None
    names = "layers", "width", "heads", "vocabulary"
    return Shape(**dict(zip(names, sizes, strict=True)), tied=source not in _UNTIED)


KNOWN_MODELS: Final = {
    key: LargeModel(
        name, parameters, flops_per_token(parameters), "token", source, _shape(sizes, source)
    )
    for key, (name, parameters, sizes, source) in _PER_TOKEN.items()
} | {
    key: LargeModel(name, parameters, 6 * multiply_adds, "sample", source)
    for key, (name, parameters, multiply_adds, source) in _PER_SAMPLE.items()
}
"""Name -> what it is."""
