"""Post-local SGD is minibatch SGD up to the switch and local SGD from there on."""

import pytest

from simbench.scenario import Stop
from simbench.strategies.averaging import Averaging
from simbench.strategies.post_local_sgd import PostLocalSGD
from simbench.testing import run, small_scenario


def outcome(strategy, steps=20):
    return run(small_scenario(strategy, evaluate_every=1, stop=Stop(updates=steps)))


def losses(strategy, steps=20):
    return [each.loss for each in outcome(strategy, steps).evaluations]


def test_up_to_the_switch_it_has_the_same_bits_as_minibatch_sgd():
    post, mini = PostLocalSGD(switch=12, period=4), Averaging()
    before, same = outcome(post, 12), outcome(mini, 12)
    assert before.evaluations == same.evaluations
    assert before.messages == same.messages
    assert before.summary["parameters_sha256"] == same.summary["parameters_sha256"]


def test_it_leaves_minibatch_sgd_at_the_first_step_alone():
    """Of 8 steps after the switch, 2 end in an all-reduce."""
    rare, often = outcome(PostLocalSGD(switch=12, period=4)), outcome(Averaging())
    ring_all_reduce = often.summary["payload_bytes"] // 20
    assert rare.summary["payload_bytes"] == (12 + 2) * ring_all_reduce
    assert rare.summary["end_ns"] < often.summary["end_ns"]


@pytest.mark.parametrize("period", [1, 3])
def test_a_switch_at_zero_is_local_sgd(period):
    assert losses(PostLocalSGD(switch=0, period=period)) == losses(Averaging(period=period))


def test_a_late_switch_is_minibatch_sgd_throughout():
    assert losses(PostLocalSGD(switch=99)) == losses(Averaging())


def test_from_the_switch_on_a_round_has_its_whole_period():
    found = outcome(PostLocalSGD(switch=3, period=5))
    ends_ns = [update.time_ns for update in found.updates]
    busy = {sum(end < each.sent_ns for end in ends_ns) + 1 for each in found.messages}
    assert busy == {1, 2, 3, 8, 13, 18}
