"""What the parts of a large model weigh that is charged for and not trained: its shape tells."""

from simbench.learning.pricing import LargeModel, Shape
from simbench.learning.split_costs import LinkCost
from simbench.learning.task import Task
from simbench.spec import misfit

_NUMBER_BYTES = 4
"""Of what tensor-parallel devices tell each other of scores: a loss is computed in float32."""


def priced_costs(task: Task, chunks: int, tensor: int) -> tuple[LinkCost, ...]:
    """Return the costs of all links of the model that ``task`` is priced as, split so.

    A layer is two links, as that of a model that is trained: attention and feed-forward network.
    What isn't embedding is shared equally among layers, and so are the FLOPs but those of the
    output head, which are 6 per parameter and token (see ``pricing.flops_per_token``).

    Raises:
        ValidationError: it can't be split so, or nobody says how; made by ``spec.misfit``, with
            the key of ``parallel``.
    """
    pricing = task.priced_as
    assert pricing is not None, "what is trained is split in learning.split_costs"
    model = pricing.model
    if chunks == tensor == 1:
        tied = model.shape.embedding_parameters if model.shape and model.shape.tied else 0
        return (LinkCost(0, (model.num_parameters + tied,), 1.0, 0),)
    shape = _checked_shape(model, chunks, tensor)
    key = "pipeline" if chunks > 1 else "tensor"
    tokens = pricing.tokens_per_sample or task.tokens_per_sample
    if tokens is None:
        raise misfit((key,), f"samples have no tokens that layers of {model.name} could pass on")
    head_flops = 6 * shape.embedding_parameters * tokens
    head_share = head_flops / pricing.sample_flops(task.tokens_per_sample)
    if head_share >= 1:
        raise misfit((key,), f"FLOPs of {model.name} are no more than its output head takes")
    table = tuple(size * shape.width for size in _pieces(shape.vocabulary, tensor))
    passed = tokens * shape.width * pricing.parameter_bytes
    summed = (passed,) if tensor > 1 else ()
    told = (tokens * _NUMBER_BYTES,) * 3 if tensor > 1 else ()
    halves = 2 * shape.layers
    of_layers = model.num_parameters - shape.vocabulary_parameters
    costs = [LinkCost(0, table, 0.0, passed, of_vocabulary=True, forward_sums=summed)]
    for half, entries in enumerate(_pieces(of_layers, halves)):
        # The last piece that begins with this layer or before it.
        chunk = ((half // 2 + 1) * chunks - 1) // shape.layers
        costs.append(
            LinkCost(
                chunk,
                _pieces(entries, tensor),
                (1 - head_share) / halves / tensor,
                passed,
                forward_sums=summed,
                backward_sums=summed,
            )
        )
    head = LinkCost(
        chunks - 1,
        table,
        head_share / tensor,
        sum(told),
        of_vocabulary=True,
        forward_sums=told,
        backward_sums=summed,
    )
    return (*costs, head)


def _checked_shape(model: LargeModel, chunks: int, tensor: int) -> Shape:
    shape = model.shape
    if shape is None:
        raise misfit(
            ("pipeline",) if chunks > 1 else ("tensor",),
            f"nobody says of what layers {model.name} is built: give task.priced_as a shape, of "
            "kind custom, or leave all but sharding out",
        )
    if chunks > shape.layers:
        raise misfit(
            ("pipeline",), f"{shape.layers} layers of {model.name} can't make {chunks} stages"
        )
    if shape.heads % tensor:
        raise misfit(
            ("tensor",),
            f"{shape.heads} heads of {model.name} aren't a multiple of {tensor} devices",
        )
    return shape


def _pieces(count: int, parts: int) -> tuple[int, ...]:
    """Return ``count`` in so many parts, as equal as can be."""
    return tuple(count * (k + 1) // parts - count * k // parts for k in range(parts))
