"""Laws of everything that goes wrong; ``simbench.testing`` offers them."""

from simbench.cluster.cluster import Cluster
from simbench.cluster.machines.fixed import Fixed
from simbench.condition import Condition
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.task import Task
from simbench.network.topologies.star import Star
from simbench.records import Happening
from simbench.scenario import Scenario, Stop
from simbench.simulation import Simulation
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer

_SECOND = 10**9


def check_condition(condition: Condition) -> None:
    """Check that nothing is lost, that runs end, and that all strategies meet the same."""
    met = []
    for strategy in ("averaging", "parameter server", "asynchronous"):
        simulation = play(world(condition), strategy)
        check_books(simulation)
        again = play(world(condition), strategy)
        assert again.end_ns == simulation.end_ns, f"{condition.kind} isn't repeatable"
        end_ns = simulation.end_ns
        assert again.events_until(end_ns) == simulation.events_until(end_ns)
        met.append((end_ns, simulation.events_until(end_ns)))
    shortest_ns = min(end_ns for end_ns, _ in met)
    first, *others = [_outside(events, shortest_ns) for _, events in met]
    for other in others:
        assert other == first, f"{condition.kind} depends on what a strategy does"


def world(*conditions: Condition) -> Scenario:
    """Return four machines of about a second a step, on links that take as long, for minutes."""
    return Scenario(
        name="law",
        task=Task(model=Quadratic(dimension=1000), data=Gaussian(), batch_size=1),
        cluster=Cluster(nodes=4, machine=Fixed(step_time=_SECOND)),
        network=Star(bandwidth=10**5, latency=10**6),
        conditions=conditions,
        strategies={
            "averaging": Averaging(),
            # On a worker's machine: all strategies have the same nodes and links.
            "parameter server": ParameterServer(server=0),
            "asynchronous": Asynchronous(server=0),
        },
        stop=Stop(virtual_time=200 * _SECOND),
        seeds=(0,),
    )


def play(scenario: Scenario, strategy: str) -> Simulation:
    """Run the clock alone to the end, which comes by the budget or because all are stuck."""
    simulation = Simulation(scenario, strategy, scenario.seeds[0])
    while simulation.advance():
        pass
    simulation.finish_instant(simulation.end_ns)
    return simulation


def check_books(simulation: Simulation) -> None:
    """Check that every message has arrived, is under way or waits, and that spans tile."""
    assert (simulation.ended_by == "stuck") <= (simulation.who_waits() != "every process has ended")
    end_ns = simulation.end_ns
    messages = simulation.messages_until(end_ns)
    assert simulation.world.payload_bytes == sum(each.num_bytes for each in messages)
    on_their_way = sorted(
        (each.sender, each.receiver, each.num_bytes)
        for each in messages
        if each.arrived_ns is None and each.number not in simulation.world.dropped
    )
    around = simulation.surroundings
    if around is not None:
        deliveries = around.deliveries
        held = sorted(
            (each.sender, each.receiver, each.num_bytes)
            for each in [*deliveries.under_way, *deliveries.waiting]
        )
        assert held == on_their_way, "a message was lost in silence"
    spans = simulation.spans_until(end_ns, messages)
    for node in range(simulation.num_nodes):
        own = [span for span in spans if span.node == node]
        edges = [0, *(span.end_ns for span in own)]
        assert [span.start_ns for span in own] == edges[:-1], f"spans of node {node} don't tile"
        assert edges[-1] == end_ns


def _outside(events: list[Happening], end_ns: int) -> list[tuple[int, str, str, str]]:
    """Return what happened to nodes and links before ``end_ns``, whoever worked there."""
    return [
        (each.time_ns, each.kind, each.subject, each.what)
        for each in events
        if each.kind != "transfer" and each.time_ns < end_ns
    ]
