"""What the words on the page mean: said once, for the page and its Markdown twin."""

from simbench.records import RunFolder
from simbench.report.nodes import servers
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
_DOWN = (
    "A node that has failed, was taken or hasn't joined yet. It computes nothing and begins anew "
    "what it was computing; transfers that are cut are sent again when both ends are up and there "
    "is a way."
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
        words["Devices"] = (
            f"Each worker is {group['devices']} devices that split the model. A step takes them "
            f"{group['step_ns'] / 1e6:,.3g} ms as a rule, {group['bubble_share']:.1%} of their "
            "pipeline's time is bubble, and what they send each other is no payload."
        )
    if any("retries" in entry for entry in run.summary["runs"]):
        words["Down"] = _DOWN
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
