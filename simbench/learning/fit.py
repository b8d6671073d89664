"""Whether a model can read a dataset."""

from simbench.learning.dataset import Dataset
from simbench.learning.model import Model
from simbench.spec import discover


def misfit_of(model: Model, data: Dataset) -> str | None:
    """Return why ``model`` can't read ``data``, for people; None if it can."""
    if model.takes != data.yields:
        fitting = [
            kind
            for kind, found in discover("simbench.learning.datasets", Dataset).items()
            if found().yields == model.takes
        ]
        return (
            f"model {model.kind} takes {model.takes} but data {data.kind} yields {data.yields}; "
            f"data that would do: {', '.join(fitting)}"
        )
    if data.num_features not in (None, model.num_features):
        return (
            f"model {model.kind} reads {model.num_features} features but a sample of data "
            f"{data.kind} has {data.num_features}"
        )
    for what, known, there in (
        ("tokens", model.num_tokens, data.num_tokens),
        ("classes", model.num_classes, data.num_classes),
    ):
        if known is not None and there is not None and there > known:
            return f"model {model.kind} knows {known} {what} but data {data.kind} have {there}"
    return None
