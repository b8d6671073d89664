"""Models of the library transformers; skipped where it isn't installed."""

import pytest
import torch

from simbench.learning.datasets.masked_text import MaskedText
from simbench.learning.datasets.sequences import Sequences
from simbench.learning.datasets.text import Text
from simbench.learning.models.huggingface import HuggingFace
from simbench.learning.operations import Initial
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.task import Task
from simbench.learning.vectors import flatten
from simbench.scenario import Stop
from simbench.strategies.averaging import Averaging
from simbench.testing import check_model, run, small_scenario

transformers = pytest.importorskip(
    "transformers", reason="transformers isn't installed: pip install simbench[huggingface]"
)

TINY_BERT = (
    ("hidden_size", 16),
    ("num_hidden_layers", 1),
    ("num_attention_heads", 2),
    ("intermediate_size", 32),
)
TASKS = {
    "causal": (
        HuggingFace(context=8, config=(("n_layer", 1), ("n_embd", 16), ("n_head", 2))),
        Text(),
    ),
    "masked": (
        HuggingFace(objective="masked", architecture="bert", config=TINY_BERT, context=16),
        MaskedText(),
    ),
    "classification": (
        HuggingFace(objective="classification", architecture="bert", config=TINY_BERT, context=9),
        Sequences(vocabulary=8, marks=6, noise=0.0),
    ),
}


@pytest.mark.parametrize("objective", TASKS)
def test_every_objective_passes_the_laws_of_models(objective):
    check_model(*TASKS[objective])


@pytest.mark.parametrize("objective", TASKS)
def test_every_objective_trains(objective):
    model, data = TASKS[objective]
    task = Task(model=model, data=data, optimizer=AdamW(learning_rate=0.01))
    scenario = small_scenario(Averaging(), task=task, stop=Stop(updates=9), evaluate_every=9)

    first, last = run(scenario).evaluations

    assert last.loss < first.loss
    assert 0 <= last.accuracy <= 1


def test_logits_are_those_of_the_library():
    model, data = TASKS["causal"]
    module, (tokens, targets) = model.build(), data.take(torch.arange(3).numpy(), 8)

    theirs = module(input_ids=tokens, labels=tokens)

    # The library shifts the targets itself.
    mine = model.loss(module, (tokens, targets))
    shifted = torch.nn.functional.cross_entropy(
        model.logits(module, (tokens, targets))[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()
    )
    torch.testing.assert_close(theirs.loss, shifted)
    assert not torch.equal(mine, shifted)
    assert module.config.vocab_size == model.num_tokens + 1 == 258


def test_a_local_folder_gives_configuration_and_first_parameters(tmp_path, bench_for):
    config = transformers.AutoConfig.for_model(
        "gpt2", n_layer=1, n_embd=12, n_head=2, vocab_size=256
    )
    saved = transformers.AutoModelForCausalLM.from_config(config)
    saved.save_pretrained(tmp_path / "mine")
    task = Task(model=HuggingFace(path=str(tmp_path / "mine"), context=8), data=Text())

    assert torch.equal(Initial(bench_for(task))(), flatten(saved))
    (tmp_path / "mine" / "model.safetensors").unlink()
    assert not torch.equal(Initial(bench_for(task))(), flatten(saved))


def test_a_folder_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"there is no config\.json"):
        HuggingFace(path=str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="has no effect beside path"):
        HuggingFace(path=str(tmp_path), architecture="bert")
