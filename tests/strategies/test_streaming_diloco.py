"""Streaming DiLoCo against DiLoCo, its own equations, and the time that it lets pass."""

import numpy as np
import pytest

from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.optimizers.sgd import SGD
from simbench.network.topologies.star import Star
from simbench.strategies.diloco import DiLoCo
from simbench.strategies.streaming_diloco import StreamingDiLoCo
from simbench.testing import MS, check_strategy

PLAIN = SGD(learning_rate=1.0)
STEP_NS = 10 * MS


@pytest.mark.parametrize("optimizer", [SGD(learning_rate=0.1), AdamW(learning_rate=0.05)])
@pytest.mark.parametrize("slices", [1, 3])
def test_one_fragment_without_overlap_is_diloco(outcome, slices, optimizer):
    whole = StreamingDiLoCo(period=4, fragments=1, slices=slices, overlap=0, alpha=0)
    ours, theirs = (outcome(each, optimizer=optimizer) for each in (whole, DiLoCo(period=4)))
    np.testing.assert_allclose(
        [each.loss for each in ours.evaluations],
        [each.loss for each in theirs.evaluations],
        rtol=1e-12,
        atol=1e-12,
    )
    if slices == 1:
        assert ours.updates == theirs.updates
        assert [each._replace(tag="all_reduce") for each in ours.messages] == theirs.messages


def by_hand(steps, period, fragments, slices, overlap, alpha, start, optima, rate):
    """Algorithm 2 entry by entry, with Nesterov's outer step of rate 0.7 and momentum 0.9."""
    num_nodes, length = len(optima), len(start)
    # Slices are counted from the end and dealt out in turn.
    size = length // (fragments * slices)
    owner = np.array([(length - 1 - j) // size % fragments for j in range(length)])
    local = np.tile(start, (num_nodes, 1))
    shared, velocity, sent, history = start.copy(), np.zeros(length), {}, []
    for step in range(1, steps + 1):
        local = local - rate * (local - optima[:, None])
        for p in range(fragments):
            mine, turn = owner == p, (p + 1) * period // fragments
            if (step - turn) % period == 0:
                sent[p] = shared[mine] - local[:, mine].mean(0)
            if (step - overlap - turn) % period == 0 and p in sent:
                delta = sent.pop(p)
                velocity[mine] = 0.9 * velocity[mine] + delta
                shared[mine] -= 0.7 * (delta + 0.9 * velocity[mine])
                local[:, mine] = alpha * local[:, mine] + (1 - alpha) * shared[mine]
        history.append(local)
        local = local.copy()
    return np.array(history)


@pytest.mark.parametrize(
    ("period", "fragments", "slices", "overlap", "alpha"),
    [(6, 3, 1, 0, 0.0), (6, 3, 2, 2, 0.5), (7, 2, 1, 6, 0.25), (5, 5, 1, 1, 0.5), (4, 1, 1, 3, 0)],
)
def test_every_replica_follows_algorithm_2(
    bowls, replicas, period, fragments, slices, overlap, alpha
):
    settings = {
        "period": period,
        "fragments": fragments,
        "slices": slices,
        "overlap": overlap,
        "alpha": alpha,
    }
    length, optima = 2 * fragments * slices, np.array([0.0, 1.0, 3.0])
    found = replicas(bowls(StreamingDiLoCo(**settings), 30, noise=0.0, dimension=length))
    expected = by_hand(30, **settings, start=np.ones(length), optima=optima, rate=0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_what_is_computed_does_not_depend_on_when_a_fragment_arrives(bowls, replicas):
    """Too late by many steps, or long before its time: it is taken in at the same step."""
    streaming = StreamingDiLoCo(period=4, fragments=2, overlap=2)
    slow, fast = (
        replicas(bowls(streaming, dimension=6, network=Star(bandwidth=rate, latency=0)))
        for rate in (10**3, 10**10)
    )
    assert (slow == fast).all()


def waits_ns(outcome, transfer_ns, steps=24, **settings):
    """Return what a run takes beside its steps if all-reducing a fragment takes ``transfer_ns``."""
    # A ring of three sends 4/3 of a fragment's entries of 8 bytes each way.
    bits = 4 * 8 * 8 * 100
    network = Star(bandwidth=bits * 10**9 // transfer_ns, latency=0)
    length = 300 * settings.get("fragments", 1)
    found = outcome(StreamingDiLoCo(**settings), steps, dimension=length, network=network)
    return found.updates[-1].time_ns - steps * STEP_NS


@pytest.mark.parametrize("transfer_steps", [0.5, 1.5, 2.5])
@pytest.mark.parametrize("overlap", [0, 1, 2])
def test_only_what_overlap_does_not_hide_is_waited_for(outcome, overlap, transfer_steps):
    """One fragment goes out after the step that it ends with: 5 of them by step 5 H + tau."""
    transfer_ns = round(transfer_steps * STEP_NS)
    exposed_ns = max(0, transfer_ns - overlap * STEP_NS)
    found_ns = waits_ns(
        outcome, transfer_ns, 5 * 4 + overlap, period=4, fragments=1, overlap=overlap
    )
    assert found_ns == pytest.approx(5 * exposed_ns, rel=1e-6, abs=50)


def test_a_fragment_at_the_end_of_the_model_goes_out_early_in_the_backward_pass(outcome):
    """Of two, the one is out at 1/3 + 1/3 of the step and the other at its end."""
    transfer_ns = STEP_NS // 2
    found_ns = waits_ns(outcome, transfer_ns, 8, period=4, fragments=2, overlap=0)
    assert found_ns == pytest.approx(2 * (transfer_ns - STEP_NS / 3) + 2 * transfer_ns, rel=1e-6)


def test_in_a_period_it_sends_as_much_as_diloco(outcome):
    streaming, whole = (
        outcome(strategy, 12, dimension=36).summary["payload_bytes"]
        for strategy in (StreamingDiLoCo(period=6, fragments=3, overlap=0), DiLoCo(period=6))
    )
    assert streaming == whole > 0


def test_fragments_are_exchanged_in_turn(outcome):
    found = outcome(StreamingDiLoCo(period=6, fragments=3, overlap=0), 12, dimension=6)
    tags = list(dict.fromkeys((each.sent_ns, each.tag) for each in found.messages))
    assert list(dict.fromkeys(tag for _, tag in tags)) == [f"fragment {p}" for p in range(3)]
    ends_ns = [0, *(update.time_ns for update in found.updates)]
    begun = {sum(end <= each.sent_ns for end in ends_ns) for each in found.messages}
    assert {step - step % 2 for step in begun} == {2, 4, 6, 8, 10, 12}


def test_more_fragments_than_entries_leave_some_empty(outcome):
    found = outcome(StreamingDiLoCo(period=6, fragments=5, outer=PLAIN), 18, dimension=2)
    assert found.summary["stuck"] is None
    assert {each.tag for each in found.messages} == {"fragment 0", "fragment 1"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"period": 3, "fragments": 4}, "no more than 3"),
        ({"period": 4, "overlap": 4}, "before its next turn, 4 later"),
    ],
)
def test_what_does_not_fit_into_a_period_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        StreamingDiLoCo(**settings)


def test_the_law_holds_with_other_settings():
    outer = AdamW(learning_rate=0.2)
    check_strategy(StreamingDiLoCo(period=8, fragments=3, slices=2, overlap=7, outer=outer))
