"""Why one strategy is before another: time is samples needed over samples per second."""

import math

from simbench.report.outcomes import Outcome
from simbench.report.quantities import digits, show_share

_SAME = 0.005
"""Factors this close to one are called equal: they would be printed as 1.00."""
_CLEAR = 0.02


def reason(best: Outcome, other: Outcome) -> str:
    """Return how ``best`` compares with ``other`` in its rate and in the samples that it needs.

    The factor between the two times is exactly the first number over the second.
    """
    rate = _ratio(best.samples_per_second, other.samples_per_second)
    text = f"{_times(rate)} samples per second {_than(rate)} {other.name}"
    text += _aside(_busy(best, other, rate))
    if not math.isfinite(other.samples):
        return text
    need = _ratio(best.samples, other.samples)
    # Above one a rate helps and a need hurts.
    against = (rate > 1 + _SAME) == (need > 1 + _SAME) and abs(need - 1) > _SAME
    text += f" {'but' if against else 'and'} needs {_times(need)} samples to the target"
    return text + _aside(_learning(best, other, need))


def factor(ratio: float) -> str:
    """Return a factor, with two decimals where it is small.

    >>> factor(1.5), factor(12.34)
    ('1.50', '12.3')
    """
    return f"{ratio:.2f}" if ratio < 10 else digits(ratio)


def _times(ratio: float) -> str:
    if math.isnan(ratio):
        return "an unknown number of times the"
    return "as many" if abs(ratio - 1) <= _SAME else f"{factor(ratio)} times the"


def _than(ratio: float) -> str:
    return "as" if abs(ratio - 1) <= _SAME else "of"


def _busy(best: Outcome, other: Outcome, rate: float) -> list[str]:
    """Return the share of time that differs most in favour of the faster one, if any does."""
    if abs(rate - 1) <= _CLEAR:
        return []
    shares = {
        "wait": (best.waiting, other.waiting),
        "communicate": (best.communicating, other.communicating),
    }
    sign = 1 if rate > 1 else -1
    gains = {what: sign * (theirs - own) for what, (own, theirs) in shares.items()}
    what = max(gains, key=lambda name: gains[name])
    if not gains[what] >= _CLEAR:
        return []
    own, theirs = shares[what]
    return [f"its workers {what} {show_share(own)} of the time against {show_share(theirs)}"]


def _learning(best: Outcome, other: Outcome, need: float) -> list[str]:
    """Return what was measured or set that goes along with a different need of samples."""
    if abs(need - 1) <= _CLEAR:
        return []
    found = []
    own, theirs = best.mean_staleness_updates, other.mean_staleness_updates
    if (own - theirs) * (need - 1) > 0 and abs(own - theirs) >= 0.05:
        found.append(f"mean staleness {own:.1f} updates against {theirs:.1f}")
    rates = [o.attempts[0].summary["learning_rate"] for o in (best, other)]
    if rates[0] != rates[1]:
        found.append(f"learning rate {rates[0]:g} against {rates[1]:g}")
    return found


def _aside(notes: list[str]) -> str:
    return f" ({', '.join(notes)})" if notes else ""


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.nan
