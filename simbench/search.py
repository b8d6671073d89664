"""The search before the comparison: the candidates, and which of them each strategy gets."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from simbench.dotted import replaced
from simbench.records import Trial
from simbench.scenario import Scenario
from simbench.tune import with_settings


class Candidate(NamedTuple):
    """One strategy with one choice of its grid."""

    strategy: str
    settings: Mapping[str, Any]
    """Dotted keys of the strategy, and what a file holds there."""
    scenario: Scenario
    """The world to try it in, where it is the only strategy."""

    @property
    def seed(self) -> int:
        """The seed to try it with."""
        return self.scenario.seeds[0]

    @property
    def text(self) -> str:
        """Its settings, for people and for YAML."""
        return _text(self.settings)


class Found(NamedTuple):
    """What a search leads to."""

    scenario: Scenario
    """The scenario with what was chosen written down; without a search as it was."""
    rows: list[Trial]
    summary: dict[str, Any]
    """Where was searched; per strategy what was chosen, at which edge, and what was as good."""


def candidates(scenario: Scenario) -> Iterator[Candidate]:
    """Yield everything that the search of ``scenario`` tries; nothing where there is none."""
    if scenario.tune is None:
        return
    ground = scenario.tuning_ground
    for name, strategy in ground.strategies.items():
        for settings in scenario.tune.candidates(name):
            alone = {name: with_settings(strategy, settings)}
            yield Candidate(name, settings, replaced(ground, ("strategies",), alone))


def choose(scenario: Scenario, tried: Sequence[tuple[Candidate, Mapping[str, Any]]]) -> Found:
    """Return the best candidate of each strategy, given the summary of each trial.

    The best reaches the target first. Where none does, it ends at the lowest loss. Of equals, the
    one of the lower loss is taken, and then the first of the grid.
    """
    tune = scenario.tune
    if tune is None:
        return Found(scenario, [], {})
    chosen, rows = dict(tune.chosen), []
    told: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(candidate.strategy for candidate, _ in tried):
        own = [(each, summary) for each, summary in tried if each.strategy == name]
        best, ended = min(own, key=lambda pair: _rank(pair[1]))
        rows += [_row(each, summary, chosen=each is best) for each, summary in own]
        chosen[name] = dict(best.settings)
        told[name] = {
            "settings": best.text,
            "at_edge": _edges(best.settings, tune.strategies[name]),
            "ties": [each.text for each, s in own if _rank(s) == _rank(ended) and each is not best],
            "diverged": _rank(ended)[1] == math.inf,
        }
    found = scenario.model_copy(update={"tune": tune.model_copy(update={"chosen": chosen})})
    ground = scenario.tuning_ground
    where = {
        "seed": tune.seed,
        "at": next(p.labels for p in scenario.points if p.labels.items() >= tune.at.items()),
        "own_network": None if tune.network is None else tune.network.kind,
        "target_loss": ground.stop.loss,
    }
    return Found(found, rows, {**where, "strategies": told})


def _rank(summary: Mapping[str, Any]) -> tuple[float, float]:
    time_ns, loss = summary["time_to_target_ns"], summary["final_loss"]
    return (
        math.inf if time_ns is None else time_ns,
        math.inf if loss is None or math.isnan(loss) else loss,
    )


def _edges(settings: Mapping[str, Any], grid: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """Return the keys whose value ends its grid, and how: a better one may lie beyond."""
    edges = {}
    for key, values in grid.items():
        numbers = [value for value in values if type(value) in (int, float)]
        if len(values) == len(numbers) and settings[key] in (min(numbers), max(numbers)):
            edges[key] = "largest" if settings[key] == max(numbers) else "smallest"
    return edges


def _row(candidate: Candidate, summary: Mapping[str, Any], *, chosen: bool) -> Trial:
    loss = summary["final_loss"]
    return Trial(
        candidate.strategy,
        candidate.seed,
        summary["learning_rate"],
        candidate.text,
        summary["stopped_by"],
        summary["end_ns"],
        summary["time_to_target_ns"],
        math.nan if loss is None else loss,
        chosen,
    )


def _text(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in settings.items())
