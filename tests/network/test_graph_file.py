"""Graphs from files: read by networkx, told by contents, packed for another machine."""

import json

import networkx as nx
import pytest

from simbench.network.routing import Link
from simbench.network.topologies.graph import Graph
from simbench.scenario_file import ScenarioError, load, pack
from simbench.spec import dump_by_contents

FILE = """\
name: own-graph
cluster: {nodes: 3}
network: {kind: graph, file: net.graphml}
strategies: {only: {kind: averaging}}
stop: {updates: 3}
"""


def star(graph=None, **attributes):
    graph = nx.Graph() if graph is None else graph
    for rank in range(3):
        graph.add_edge(rank, "hub", **{"bandwidth": "100 Mbit/s", "latency": "5 ms", **attributes})
    return graph


def load_with(folder, graph, name="net.graphml"):
    if name.endswith(".json"):
        (folder / name).write_text(json.dumps(nx.node_link_data(graph, edges="edges")))
    else:
        nx.write_graphml(graph, folder / name)
    scenario = folder / "scenario.yaml"
    scenario.write_text(FILE.replace("net.graphml", name))
    return load(scenario)


@pytest.mark.parametrize("name", ["net.graphml", "net.json"])
def test_a_graph_from_a_file_is_the_graph_in_the_scenario(tmp_path, name):
    network = load_with(tmp_path, star(jitter="1 ms"), name).network

    rest = 10**8, 5 * 10**6, 10**6
    assert sorted(map(str, network.links(3))) == sorted(
        str(link)
        for rank in range(3)
        for link in (Link(rank, "hub", *rest), Link("hub", rank, *rest))
    )


def test_in_a_directed_graph_an_edge_is_one_direction(tmp_path):
    directed = star(nx.DiGraph())
    directed.add_edges_from([("hub", rank, {"bandwidth": "1 Gbit/s"}) for rank in range(3)])
    rates = {link[:2]: link.rate_bps for link in load_with(tmp_path, directed).network.links(3)}

    assert (rates[0, "hub"], rates["hub", 0]) == (10**8, 10**9)
    with pytest.raises(ScenarioError, match=r"network\.file: there is no way from node 0"):
        load_with(tmp_path, star(nx.DiGraph()), "oneway.graphml")


def test_the_contents_count_and_not_the_name(tmp_path):
    one = load_with(tmp_path, star(), "one.graphml")
    same = load_with(tmp_path, star(), "same.graphml")
    other = load_with(tmp_path, star(latency="6 ms"), "other.graphml")

    assert one.run_id == same.run_id != other.run_id
    assert "one.graphml" not in str(dump_by_contents(one))


def test_a_packed_scenario_brings_its_graph_along(tmp_path):
    scenario = load_with(tmp_path, star())
    run_id = scenario.run_id
    packed = load(pack(scenario, tmp_path / "elsewhere"))
    (tmp_path / "net.graphml").unlink()

    assert packed.run_id == run_id
    assert packed.network.links(3) == scenario.network.links(3)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            {"bandwith": "1 Gbit/s"},
            "edge 0 - hub: unknown key 'bandwith'; did you mean 'bandwidth'?",
        ),
        ({"latency": 5}, "edge 0 - hub: latency: expected a number and one of h, min, s"),
        ({"loss": 2.0}, "edge 0 - hub: loss: "),
        ({"bandwidth_back": "1 Gbit/s"}, "edge 0 - hub: bandwidth_back: which way is back"),
    ],
)
def test_what_is_wrong_with_an_edge_is_told(tmp_path, attributes, message):
    with pytest.raises(ScenarioError) as told:
        load_with(tmp_path, star(**attributes))

    assert f"scenario.yaml:3: network.file: {message}" in str(told.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("net.graphml", "<graphml>", "not a graph in GraphML"),
        ("net.graphml", "nodes: []", "not a graph in GraphML"),
        ("net.json", "{}", "not a graph in node-link JSON"),
        ("net.json", "[1]", "not a graph in node-link JSON"),
        ("net.json", "{nodes", "not a graph in node-link JSON"),
    ],
)
def test_a_file_that_is_no_graph_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(FILE.replace("net.graphml", name))

    with pytest.raises(ScenarioError, match=message):
        load(scenario)


def test_edges_and_a_file_contradict_each_other(tmp_path):
    nx.write_graphml(star(), tmp_path / "net.graphml")

    with pytest.raises(ValueError, match="no effect beside edges"):
        Graph(edges=(), file=str(tmp_path / "net.graphml"))
