"""Models of the library transformers, as their configuration says or from a local folder."""

import functools
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, PlainSerializer, PositiveInt, WithJsonSchema, model_validator
from torch import Tensor, nn

from simbench.learning.global_draws import drawn_from
from simbench.learning.model import Batch, Form, Predictor
from simbench.spec import InputPath, misfit

Setting = str | int | float | bool


def _pairs(settings: Any) -> Any:
    return tuple(settings.items()) if isinstance(settings, dict) else settings


Settings = Annotated[
    tuple[tuple[str, Setting], ...],
    BeforeValidator(_pairs),
    PlainSerializer(dict, return_type=dict[str, Setting]),
    WithJsonSchema({"type": "object"}),
]
"""Names and values, as pairs: a spec can be hashed."""

_FORMS: dict[str, Form] = {
    "causal": "tokens",
    "masked": "masked tokens",
    "classification": "labelled tokens",
}
_CLASSES = {
    "causal": "AutoModelForCausalLM",
    "masked": "AutoModelForMaskedLM",
    "classification": "AutoModelForSequenceClassification",
}


class HuggingFace(Predictor):
    """A causal, masked or classification model of ``transformers``, which has to be installed.

    It takes simbench[huggingface]. Nothing is downloaded. The module is in evaluation mode, without
    dropout: a gradient is a pure function.
    """

    kind: Literal["huggingface"] = "huggingface"
    objective: Literal["causal", "masked", "classification"] = "causal"
    """What it predicts: the next token, tokens that are masked, or the label of a sequence."""
    architecture: str = "gpt2"
    """What transformers calls the ``model_type``; its first parameters are drawn."""
    config: Settings = (("n_layer", 2), ("n_head", 4), ("n_embd", 64))
    """Settings of the architecture, by its own names; the others are its own defaults."""
    path: InputPath | None = None
    """A folder with a ``config.json``, which says all instead, and with the first parameters where
    there are some."""
    context: PositiveInt = 64
    """Tokens of a sample."""
    vocabulary: PositiveInt = 257
    """Different tokens: bytes and a mask, or as many as the data have."""
    classes: PositiveInt = 4
    """Labels that it tells apart, where it classifies."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> "HuggingFace":
        if self.path is not None:
            for key in ("architecture", "config", "vocabulary", "classes"):
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise misfit((key,), "has no effect beside path; give one of the two")
            if not (Path(self.path) / "config.json").is_file():
                raise misfit(("path",), f"there is no config.json in {self.path!r}")
        return self

    @property
    def takes(self) -> Form:
        """What its objective needs."""
        return _FORMS[self.objective]

    @property
    def length(self) -> int:
        """Tokens per sample."""
        return self.context

    @property
    def num_tokens(self) -> int:
        """The vocabulary."""
        return self.vocabulary if self.path is None else int(_config(self).vocab_size)

    @property
    def num_classes(self) -> int | None:
        """Labels, where it classifies."""
        if self.objective != "classification":
            return None
        return self.classes if self.path is None else int(_config(self).num_labels)

    def build(self) -> nn.Module:
        """Return the model: (B, T) tokens in, ``.logits`` out."""
        built: nn.Module = self._auto.from_config(_config(self))
        return built.eval()

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        """Give it the folder's parameters, or those that a new model draws."""
        with drawn_from(generator):
            fresh = self._loaded() if self._has_parameters else self.build()
        with torch.no_grad():
            for parameter, value in zip(module.parameters(), fresh.parameters(), strict=True):
                parameter.copy_(value)

    def logits(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return (B, T, V) scores of tokens, or (B, classes)."""
        logits: Tensor = module(input_ids=batch[0]).logits
        return logits

    @property
    def _auto(self) -> Any:
        return getattr(_transformers(), _CLASSES[self.objective])

    @property
    def _has_parameters(self) -> bool:
        return self.path is not None and any(
            file.suffix in (".safetensors", ".bin") for file in Path(self.path).iterdir()
        )

    def _loaded(self) -> nn.Module:
        loaded: nn.Module = self._auto.from_pretrained(self.path, local_files_only=True)
        return loaded


@functools.cache
def _config(spec: HuggingFace) -> Any:
    auto = _transformers().AutoConfig
    if spec.path is not None:
        return auto.from_pretrained(spec.path, local_files_only=True)
    sizes = {
        # One more stands for padding: a model learns nothing about that one, and some insist on it.
        "vocab_size": spec.vocabulary + 1,
        "pad_token_id": spec.vocabulary,
        "num_labels": spec.classes,
        "use_cache": False,
    }
    return auto.for_model(spec.architecture, **{**sizes, **dict(spec.config)})


def _transformers() -> Any:
    try:
        import transformers  # noqa: PLC0415 - an optional dependency, slow to import
    except ImportError:
        raise ValueError(
            "model huggingface takes transformers: pip install simbench[huggingface]"
        ) from None
    return transformers
