"""Laws of what strategies make of failures; ``simbench.testing`` offers them."""

from collections.abc import Sequence

from pydantic import ValidationError

from simbench.condition import Condition
from simbench.condition_laws import check_books, play, world
from simbench.conditions.late_join import LateJoin
from simbench.conditions.node_failure import NodeFailure
from simbench.conditions.node_failures import NodeFailures
from simbench.conditions.preemption import Preemption
from simbench.policies.go_on import GoOn
from simbench.policies.restart import Restart
from simbench.policies.wait import Wait
from simbench.policy import Policy
from simbench.records import Happening
from simbench.scenario import Stop
from simbench.simulation import NoNumbersError, Simulation
from simbench.strategy import Strategy

_SECOND = 10**9
_POLICIES: tuple[Policy, ...] = (
    Wait(),
    GoOn(detection=_SECOND // 2),
    Restart(detection=_SECOND // 2, interval=2 * _SECOND, cost=_SECOND // 4),
)
_TROUBLES: dict[str, tuple[Condition, ...]] = {
    "a node that is lost": (NodeFailure(nodes=(1,), at=5 * _SECOND),),
    "a node that is away": (NodeFailure(nodes=(1,), at=5 * _SECOND, until=12 * _SECOND),),
    "a late node": (LateJoin(nodes=(3,), at=10 * _SECOND),),
    "all at once": (
        Preemption(mean_time_between=20 * _SECOND, away=4 * _SECOND),
        NodeFailure(nodes=(0, 2), at=15 * _SECOND, until=16 * _SECOND),
        NodeFailures(nodes=(1, 3), mean_time_between_failures=30 * _SECOND),
    ),
}
_BUDGET = Stop(virtual_time=60 * _SECOND)


def check_policies(strategy: Strategy) -> None:
    """Check that ``strategy`` goes on as each policy says, or refuses to in words.

    Whatever fails, its run ends, or is stuck if a server's machine is lost; what was sent is in the
    books; the events tell who was down, left, joined and was restored, in this order, and the
    summary counts it; and it is repeatable.
    """
    for policy in _POLICIES:
        fields = {name: getattr(strategy, name) for name in type(strategy).model_fields}
        try:
            chosen = type(strategy)(**fields | {"on_failure": policy})
            chosen.check(world().cluster.nodes)
        except ValidationError as error:
            assert policy.goes_on, f"{strategy.kind} must be able to wait"
            keys = {each["loc"] for each in error.errors()}
            if keys != {("on_failure",)}:
                raise
            continue
        for trouble, conditions in _TROUBLES.items():
            _check(chosen, conditions, f"{strategy.kind}, {policy.kind}, {trouble}")


def _check(strategy: Strategy, conditions: tuple[Condition, ...], case: str) -> None:
    changes = {"strategies": {"law": strategy}, "stop": _BUDGET}
    scenario = world(*conditions).model_copy(update=changes)
    try:
        simulation, again = play(scenario, "law"), play(scenario, "law")
    except NoNumbersError:  # it looks at numbers, and here the clock runs alone
        return
    end_ns = simulation.end_ns
    events = simulation.events_until(end_ns)
    check_books(simulation)
    assert again.world.messages == simulation.world.messages, f"{case} isn't repeatable"
    assert again.events_until(end_ns) == events, f"{case} isn't repeatable"
    if not strategy.on_failure.goes_on:
        assert simulation.recovery is None
        return
    if _is_a_server_lost(conditions, simulation.servers):
        assert simulation.ended_by == "stuck", f"{case}: nobody else has what that server had"
        assert "is down for ever" in simulation.who_waits(), case
        return
    assert simulation.ended_by == "virtual_time", f"{case} is stuck: {simulation.who_waits()}"
    if all(server >= scenario.cluster.nodes for server in simulation.servers):
        # A worker's machine that is a server would be waited for.
        last_ns = simulation.updates[-1].time_ns
        assert last_ns > end_ns // 2, f"{case}: nothing happens after {last_ns / 1e9:.0f} s"
    for node in range(scenario.cluster.nodes):
        _check_order([each for each in events if each.subject == f"node {node}"], case)
    _check_summary(simulation, events)


def _is_a_server_lost(conditions: Sequence[Condition], servers: Sequence[int]) -> bool:
    """Whether the machine of a server goes down for ever."""
    lost = [each for each in conditions if isinstance(each, NodeFailure) and each.until is None]
    return any(node in servers for each in lost for node in each.nodes)


def _check_order(events: list[Happening], case: str) -> None:
    """Check that a node leaves only while it is down, and joins only after it had left."""
    is_down, is_member = False, True
    for each in events:
        if each.what in ("down", "up"):
            is_down = each.what == "down"
        elif each.what == "left":
            assert is_down or not each.time_ns, f"{case}: {each} while it is up"
            assert is_member, f"{case}: {each} twice"
            is_member = False
        elif each.what == "joined":
            is_member = True


def _check_summary(simulation: Simulation, events: list[Happening]) -> None:
    assert simulation.recovery is not None
    counted = simulation.recovery.sum_up(events, simulation.end_ns)
    for what in ("left", "joined", "restored"):
        assert counted[what] == len([each for each in events if each.what == what])
