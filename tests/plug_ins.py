"""What is discovered of each kind, as it is without settings."""

from simbench.learning.fit import misfit_of
from simbench.scenario import CHOICES
from simbench.spec import discover


def every(key):
    """Return all choices of a key of the scenario, by their kind."""
    package, base = CHOICES[key]
    return {kind: found() for kind, found in discover(package, base).items()}


def data_for(model):
    """Return the first data that ``model`` can learn from."""
    return next(data for data in every("task.data").values() if not misfit_of(model, data))


def model_for(data):
    """Return the first model that can learn from ``data``."""
    return next(model for model in every("task.model").values() if not misfit_of(model, data))
