"""Networks as users write them: every kind round-trips, and a mistake has one clear message."""

import pytest

from simbench.network.topology import Topology
from simbench.scenario_file import ScenarioError, dump, load
from simbench.spec import discover

FILE = """\
name: network
cluster: {nodes: 8}
network: NETWORK
strategies: {only: {kind: parameter_server}}
stop: {updates: 3}
"""


def load_with(folder, network):
    scenario = folder / "scenario.yaml"
    scenario.write_text(FILE.replace("NETWORK", network))
    return load(scenario)


@pytest.mark.parametrize(
    "network",
    [
        *(f"{{kind: {kind}}}" for kind in discover("simbench.network.topologies", Topology)),
        (
            "{kind: star, bandwidth: [1 Gbit/s, 2 Gbit/s, 1 Gbit/s, 1 Gbit/s, 1 Gbit/s, 1 Gbit/s, "
            "1 Gbit/s, 1 Gbit/s, 10 Gbit/s], jitter: 10 us}"
        ),
        "{kind: torus, dims: [2, 2, 2], bandwidth_back: 5 Mbit/s}",
        (
            "{kind: wan, regions: [{name: a, nodes: 5}, {name: b, nodes: 3}], "
            "latency_between: [[~, 5 ms], [6 ms, ~]], "
            "bandwidth_between: [[~, 1 Gbit/s], [2 Gbit/s, ~]]}"
        ),
        "{kind: graph, edges: [{ends: [hub, 0, 1, 2, 3, 4, 5, 6, 7, 8], latency: 3 us}]}",
    ],
)
def test_a_network_survives_being_written_and_read(tmp_path, network):
    scenario = load_with(tmp_path, network)
    (tmp_path / "written.yaml").write_text(dump(scenario))

    assert load(tmp_path / "written.yaml") == scenario


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            "{kind: star, bandwidth: [1 Gbit/s, 2 Gbit/s]}",
            (
                "bandwidth: expected one value, or one for each of 8 nodes and 1 on server "
                "machines; got 2"
            ),
        ),
        (
            "{kind: star, bandwidth: [1 Gbit/s, 2]}",
            "bandwidth: expected a number and one of Tbit/s, Gbit/s, Mbit/s, kbit/s, bit/s; got 2",
        ),
        (
            "{kind: star, loss: [0.1, x]}",
            "loss: expected a number from 0 to below 1, or a list of them; got 'x'",
        ),
        ("{kind: torus, dims: [3, 3]}", "dims: 3 x 3 makes 9 nodes; the cluster has 8"),
        ("{kind: torus, dims: [8]}", "dims: expected at least 2; got [8]"),
        (
            "{kind: fat_tree, k: 5}",
            "k: a fat tree's switches have an even number of ports; got 5",
        ),
        (
            "{kind: fat_tree, k: 2}",
            "k: a fat tree of 2-port switches has 2 ports for nodes; 9 machines need k = 4",
        ),
        ("{kind: islands, islands: 3}", "islands: 3 islands of 4 hold 12 nodes; the cluster has 8"),
        (
            "{kind: wan, regions: [{name: a}, {name: b}], latency_between: [[~, 5 ms]]}",
            "latency_between: expected a row and a column for each of 2 regions; got 1 rows of 2",
        ),
        (
            (
                "{kind: wan, regions: [{name: a}, {name: b}], "
                "latency_between: [[~, 5 ms], [5 ms, 1 ms]]}"
            ),
            "latency_between.1.1: from b to itself there is no link: expected ~",
        ),
        (
            "{kind: wan, latency_between: [[~, 5 ms], [5 msec, ~]]}",
            "latency_between.1.0: expected a number and one of h, min, s, ms, us, ns; got '5 msec'",
        ),
        (
            "{kind: wan, regions: [{name: us-west-2}, {name: us-west-2}]}",
            "regions: each has a name of its own; got us-west-2, us-west-2",
        ),
        (
            "{kind: graph, edges: [{ends: [hub, 0, 1, 2, 3, 4, 5, 6, 7]}]}",
            "edges: node 8 (the server's machine) is missing in the graph",
        ),
        (
            "{kind: graph, edges: [{ends: [hub, 0, 1, 2, 3, 4, 5, 6]}, {ends: [7, 8]}]}",
            "edges: there is no way from node 0 to node 7",
        ),
        ("{kind: graph, edges: [{ends: [s, s]}]}", "edges.0.ends: 's' can't be joined to itself"),
        ("{kind: graph, edges: [{ends: [s]}]}", "edges.0.ends: expected at least 2; got ['s']"),
        (
            "{kind: graph, edges: [{ends: [s, 1.5]}]}",
            "edges.0.ends.1: expected a whole number or text; got 1.5",
        ),
        ("{kind: graph, edges: [{ends: [s, -1]}]}", "edges.0.ends: a rank is at least 0; got -1"),
    ],
)
def test_a_mistake_has_one_message_with_its_key(tmp_path, network, message):
    with pytest.raises(ScenarioError) as told:
        load_with(tmp_path, network)

    assert str(told.value) == f"{tmp_path / 'scenario.yaml'}:3: network.{message}"


def test_an_unknown_region_is_told_with_the_nearest_name(tmp_path):
    with pytest.raises(ScenarioError, match=r"regions\.0\.name: .* did you mean 'us-west-2'\?"):
        load_with(tmp_path, "{kind: wan, regions: [{name: us-wst-2, nodes: 8}]}")


@pytest.mark.parametrize(
    "network", ["{kind: star, loss: 0.1}", "{kind: islands, loss_between: 0.01}"]
)
def test_loss_that_nothing_heeds_is_refused(tmp_path, network):
    with pytest.raises(ScenarioError, match="loss has no effect"):
        load_with(tmp_path, network)
