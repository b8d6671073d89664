"""Latency that varies: seeded, named by its message, of the mean that the scenario says."""

import numpy as np
import pytest

from simbench.clock import Clock
from simbench.network.fabric import Fabric
from simbench.network.topologies.ring import Ring
from simbench.network.topologies.star import Star


def latencies_ns(topology, num_messages, seed=0, others=0):
    """Return how long empty messages from node 0 to node 1 took, sent one after the other."""
    clock = Clock()
    fabric = Fabric(clock, topology, 3, seed=seed)
    took = []
    for _ in range(num_messages):
        for _ in range(others):
            fabric.carry(2, 1, 0, lambda: None)
        sent_ns = clock.now_ns
        fabric.carry(0, 1, 0, lambda sent_ns=sent_ns: took.append(clock.now_ns - sent_ns))
        clock.run()
    return np.array(took)


def test_the_mean_and_the_law_are_those_that_the_fields_say():
    on_a_cable = latencies_ns(Ring(latency=10**6, jitter=10**5), 4000) - 10**6
    through_a_switch = latencies_ns(Star(latency=10**6, jitter=10**5), 4000) - 10**6

    # Exponential: the standard deviation is the mean. The sum of two: smaller by sqrt(2).
    assert on_a_cable.mean() == pytest.approx(10**5, rel=4 / 4000**0.5)
    assert on_a_cable.std() == pytest.approx(10**5, rel=0.1)
    assert through_a_switch.mean() == pytest.approx(10**5, rel=4 / 8000**0.5)
    assert through_a_switch.std() == pytest.approx(10**5 / 2**0.5, rel=0.1)
    assert min(on_a_cable.min(), through_a_switch.min()) >= 0


def test_a_draw_depends_on_the_seed_and_not_on_other_traffic():
    star = Star(latency=10**6, jitter=10**5)

    assert (latencies_ns(star, 20) == latencies_ns(star, 20, others=3)).all()
    assert (latencies_ns(star, 20) != latencies_ns(star, 20, seed=1)).all()


def test_a_chain_of_messages_draws_for_each_of_them():
    clock, took = Clock(), []
    fabric = Fabric(clock, Ring(latency=0, jitter=10**5), 2)

    fabric.carry(0, 1, 0, lambda: took.append(clock.now_ns), hops_in_turn=4000)
    clock.run()

    assert took[0] / 4000 == pytest.approx(10**5, rel=4 / 4000**0.5)


def test_jitter_reaches_the_messages_of_a_scenario_and_repeats(stage):
    def sends_three(node):
        for _ in range(3):
            if node.rank == 0:
                node.send(1, node.initial_state().parameters)
            else:
                yield node.receive()
        yield node.compute(1)

    def arrivals(jitter_ns):
        network = Star(bandwidth=10**12, latency=10**6, jitter=jitter_ns)
        return stage(sends_three, network=network).world.arrivals

    assert arrivals(10**6) == arrivals(10**6) != arrivals(0)
