"""What the words on the page mean: said once, for the page and its Markdown twin."""

from simbench.records import RunFolder
from simbench.report.nodes import servers
from simbench.report.pricing import pricing
from simbench.report.privacy import privacy
from simbench.report.quantities import join

_VIRTUAL_TIME = (
    "The gradients are real, computed by PyTorch; the times are not measured but kept by a "
    "virtual clock, which models the machines and the network that the scenario describes. "
    "Evaluation costs no virtual time."
)
_TIME_TO_TARGET = (
    "The virtual time of the first evaluation whose loss is at or below the target, per seed, and "
    "the median over seeds."
)
_NOT_REACHED = (
    "The run ended there, by its budget or because it was stuck, and no evaluation until then was "
    "at or below the target. It may reach it later or never; such a seed counts as later than any "
    "that arrived, and a median that would need it is not given."
)
_PAYLOAD = "Bytes of parameters and gradients handed to the network by all nodes."
_ACCURACY = "The share of held-out targets, tokens or labels, that the model finds the likeliest."
_PERPLEXITY = (
    "exp(loss): among how many tokens, all as likely, one would have to guess to be as surprised."
)
_DOWN = (
    "A node that has failed, was taken or hasn't joined yet. It computes nothing and begins anew "
    "what it was computing; transfers that are cut are sent again when both ends are up and there "
    "is a way."
)
_PRICED = (
    "Losses are those of the model that was trained. How long a step takes that goes by FLOPs, "
    "the bytes of what is sent, and the memory that a machine must have are those of the other."
)
_WHOLE = (
    "That is the model that is charged for; gradients of the small one are computed whole, since "
    "its parts would give the same."
)
_MEMBER = (
    "With a policy that isn't to wait, a worker whose failure was detected has left: nobody waits "
    "for it, and messages from and to it are dropped. One that is back joins at the next round and "
    "is sent the state, which takes the time of the transfer; then it is restored. With restart, "
    "all are restored from the last checkpoint, and do again what came after it. On the timeline a "
    "cross is where a node left, a triangle where it was restored."
)


def meanings(run: RunFolder) -> dict[str, str]:
    """Return terms and what they mean here."""
    workers, batch = run.summary["workers"], run.summary["samples_per_step"]
    words = {
        "Virtual time": _VIRTUAL_TIME,
        "Time to target": _TIME_TO_TARGET,
        "Not reached within": _NOT_REACHED,
        "Samples": f"Training samples over all {workers} workers, {batch} per worker and step.",
        "Payload": _PAYLOAD,
    }
    if group := run.summary.get("group"):
        whole = f" {_WHOLE}" if run.summary.get("priced_as") else ""
        words["Devices"] = (
            f"Each worker is {group['devices']} devices that split the model. A step takes them "
            f"{group['step_ns'] / 1e6:,.3g} ms as a rule, {group['bubble_share']:.1%} of their "
            f"pipeline's time is bubble, and what they send each other is no payload.{whole}"
        )
    for what, meaning in (("accuracy", _ACCURACY), ("perplexity", _PERPLEXITY)):
        if any(entry.get(f"final_{what}") is not None for entry in run.summary["runs"]):
            words[what.capitalize()] = meaning
    if any("retries" in entry for entry in run.summary["runs"]):
        words["Down"] = _DOWN
    if any("left" in entry for entry in run.summary["runs"]):
        words["Left, joined, restored"] = _MEMBER
    if priced := pricing(run):
        words["Priced as another model"] = f"{priced} {_PRICED}"
    spent = privacy(run)
    if spent is not None:
        words["Privacy"] = spent
    own = {name: sum(rank >= workers for rank in ranks) for name, ranks in servers(run).items()}
    one = [name for name, count in own.items() if count == 1]
    if one:
        words["Server"] = (
            f"{join(one)}: the server is a machine of its own with a link like the others, so that "
            f"is one machine more than the {workers} workers. It is not counted among the workers "
            "in shares of time."
        )
    several = [f"{name} ({count})" for name, count in own.items() if count > 1]
    if several:
        words["Servers"] = (
            f"{join(several)}: each server is a machine of its own with a link like the others and "
            f"holds a piece of the model. They are machines beside the {workers} workers and not "
            "counted among them in shares of time."
        )
    return words


def meanings_of_a_sweep(run: RunFolder) -> dict[str, str]:
    """Return terms and what they mean on the page of all points."""
    axes = join([axis["name"] for axis in run.axes])
    points = len(run.summary["sweep"]["points"])
    return {
        "Point": (
            f"One choice on each axis ({axes}); there are {points}. Every strategy runs at each "
            "point, with the same seeds and from the same parameters."
        ),
        "Virtual time": _VIRTUAL_TIME,
        "Time to target": _TIME_TO_TARGET,
        "Not reached within": _NOT_REACHED,
    }


def reading(run: RunFolder) -> str:
    """Return how to read the table."""
    where = (
        "this scenario sets no target, so samples per second are those of the whole runs"
        if run.summary["target_loss"] is None
        else "where the target was not reached, samples per second are those of the whole runs"
    )
    return (
        "Medians over seeds. Time to target is exactly samples to target divided by samples per "
        f"second ({where}). Samples and payload are those of all nodes together; computing, "
        "communicating and waiting are shares of the workers' virtual time over all seeds."
    )
