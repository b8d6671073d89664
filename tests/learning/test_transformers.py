"""Transformers against their formulas: attention, positions, residuals, norms; BERT and ViT."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812 - its usual name

from simbench.learning.models.bert import BERT
from simbench.learning.models.gpt import GPT
from simbench.learning.models.vit import ViT
from simbench.learning.patches import Patches
from simbench.learning.transformer import rotate, sinusoids

TINY = {"layers": 2, "width": 16, "heads": 2, "context": 12}


def built(model):
    module = model.build().double()
    model.initialise(module, torch.Generator().manual_seed(0))
    return module


def normal(*shape, seed=0):
    dice = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=dice, dtype=torch.float64)


def tokens(*shape, high=256, seed=0):
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


# -- attention and positions


@pytest.mark.parametrize("causal", [True, False])
def test_attention_is_softmax_of_queries_times_keys_over_the_root_of_their_size(causal):
    q, k, v = normal(3, 2, 4, 7, 8)
    scores = q @ k.transpose(-1, -2) / math.sqrt(8)
    if causal:
        scores = scores.masked_fill(torch.ones(7, 7).triu(1).bool(), -math.inf)

    attended = F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    torch.testing.assert_close(attended, scores.softmax(-1) @ v, rtol=1e-12, atol=1e-12)


def test_sinusoids_are_those_of_the_paper():
    waves = sinusoids(50, 6)

    for at in (0, 1, 49):
        for i in range(3):
            angle = at / 10_000 ** (2 * i / 6)
            assert waves[at, 2 * i] == pytest.approx(math.sin(angle), abs=1e-6)
            assert waves[at, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-6)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 10))
def test_turned_queries_and_keys_know_their_distance_alone(one, other, shift):
    q, k = normal(8), normal(8, seed=1)

    def score(at, to):
        line = torch.zeros(1, 1, 20, 8, dtype=torch.float64)
        line[..., at, :] = q
        keys = torch.zeros_like(line)
        keys[..., to, :] = k
        return float(rotate(line)[0, 0, at] @ rotate(keys)[0, 0, to])

    assert score(one, other) == pytest.approx(score(one + shift, other + shift), abs=1e-9)
    assert score(0, 0) == pytest.approx(float(q @ k))


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary"])
def test_every_kind_of_position_tells_an_order_and_none_behind(positions):
    model = GPT(positions=positions, **TINY)
    module, text = built(model), tokens(1, 12)
    swapped = text.clone()
    swapped[0, [2, 3]] = text[0, [3, 2]]

    before, after = module(text), module(swapped)

    assert torch.equal(before[:, :2], after[:, :2])
    assert (before[:, 5] - after[:, 5]).abs().max() > 1e-9
    learned = 12 * 16 if positions == "learned" else 0
    without = sum(p.numel() for p in GPT(positions="rotary", **TINY).build().parameters())
    assert sum(p.numel() for p in module.parameters()) == without + learned


def test_rotary_wants_pairs():
    with pytest.raises(ValueError, match="rotary turns pairs; a head has 3"):
        GPT(width=9, heads=3, positions="rotary")


# -- residuals and norms


@pytest.mark.parametrize("norm", ["pre", "post", "none"])
@pytest.mark.parametrize("residual", [True, False])
def test_a_block_is_its_formula(norm, residual):
    module = built(GPT(norm=norm, residual=residual, **TINY))
    block, x = module.blocks[0], normal(3, 12, 16)

    def attend(x):
        q, k, v = block.query_key_value(x).split(16, -1)
        heads = []
        for head in (slice(0, 8), slice(8, 16)):
            scores = q[..., head] @ k[..., head].transpose(1, 2) / math.sqrt(8)
            future = torch.ones(12, 12).triu(1).bool()
            heads.append(scores.masked_fill(future, -math.inf).softmax(-1) @ v[..., head])
        return block.attention_out(torch.cat(heads, -1))

    def feed_forward(x):
        return block.feed_forward_out(F.gelu(block.feed_forward_in(x)))

    def normalised(x):
        return F.layer_norm(x, (16,))

    expected = x
    for sublayer in (attend, feed_forward):
        change = sublayer(normalised(expected) if norm == "pre" else expected)
        expected = expected + change if residual else change
        expected = normalised(expected) if norm == "post" else expected
    torch.testing.assert_close(block(x), expected, rtol=1e-10, atol=1e-12)
    assert isinstance(module.final_norm, torch.nn.LayerNorm) == (norm == "pre")


# -- bert


def test_an_encoder_sees_what_is_behind_a_token_too():
    model = BERT(**TINY)
    module, text = built(model), tokens(1, 12)
    changed = text.clone()
    changed[0, -1] = (changed[0, -1] + 1) % 256

    assert (module(text)[0, 0] - module(changed)[0, 0]).abs().max() > 1e-9


def test_the_loss_of_a_masked_model_counts_masked_tokens_alone():
    model = BERT(**TINY)
    module, text = built(model), tokens(2, 12)
    targets = torch.full_like(text, -100)
    targets[0, 3], targets[1, 7] = 65, 66

    with torch.no_grad():
        loss, accuracy = model.evaluate(module, (text, targets))
        chances = module(text).softmax(-1)

    surprise = -(chances[0, 3, 65].log() + chances[1, 7, 66].log()) / 2
    assert float(loss) == pytest.approx(float(surprise))
    best = (chances[0, 3].argmax() == 65, chances[1, 7].argmax() == 66)
    assert float(accuracy) == sum(map(bool, best)) / 2
    targets[0, 3], targets[1, 7] = chances[0, 3].argmax(), chances[1, 7].argmin()
    assert float(model.evaluate(module, (text, targets))[1]) == 0.5


def test_a_classifier_reads_a_label_off_the_first_place():
    model = BERT(objective="classification", classes=5, **TINY)
    module, text = built(model), tokens(3, 12)

    logits = module(text)

    pooled = torch.tanh(module.pooler(module.encode(text)[:, 0]))
    assert logits.shape == (3, 5)
    torch.testing.assert_close(logits, module.classifier(pooled))
    assert (model.takes, model.num_classes) == ("labelled tokens", 5)


# -- vit


def test_a_patch_is_a_linear_map_of_its_pixels():
    patches = Patches(image=4, channels=2, patch=2, width=3).double()
    images = normal(5, 2, 4, 4)

    folded = patches(images.flatten(1))

    for number, (row, column) in enumerate([(0, 0), (0, 2), (2, 0), (2, 2)]):
        pixels = images[:, :, row : row + 2, column : column + 2].flatten(1)
        expected = pixels @ patches.fold.weight.flatten(1).T + patches.fold.bias
        torch.testing.assert_close(folded[:, number], expected)


def test_an_image_is_classified_by_its_summary():
    model = ViT(image=6, patch=3, channels=1, width=8, heads=2, classes=3)
    module, images = built(model), normal(4, 36)

    x = torch.cat([module.summary.weight.expand(4, 1, -1), module.patches(images)], dim=1)
    x = x + module.position.weight
    for block in module.blocks:
        x = block(x)

    torch.testing.assert_close(module(images), module.classifier(module.final_norm(x[:, 0])))
    assert model.length == 36
    with pytest.raises(ValueError, match="image 8 isn't a multiple of patch 3"):
        ViT(patch=3)
