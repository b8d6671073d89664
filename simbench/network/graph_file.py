"""Cables from a file that networkx reads."""

import functools
import json
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import networkx as nx
from pydantic import ValidationError

from simbench.network.cabling import Cable
from simbench.network.routing import Link, Place


class GraphFileError(ValueError):
    """The file isn't a graph, or one of its edges isn't a cable."""


@functools.cache
def read_cables(path: str) -> tuple[Link, ...]:
    """Return the links of the graph in ``path``: both directions of an undirected edge.

    Raises:
        GraphFileError: one message tells what is wrong.
    """
    graph = _read(path)
    links: list[Link] = []
    for tail, head, attributes in graph.edges(data=True):
        if tail == head:
            raise GraphFileError(f"{tail} is joined to itself")
        try:
            # The context makes a bare number where a unit belongs an error, as in a scenario.
            cable = Cable.model_validate(attributes, context=str(Path(path).parent))
        except ValidationError as error:
            first = error.errors()[0]
            what = f"{first['loc'][0]}: " if first["loc"] else ""
            message = first["msg"].removeprefix("Value error, ")
            raise GraphFileError(f"edge {tail} - {head}: {what}{message}") from None
        if cable.bandwidth_back is not None:
            raise GraphFileError(
                f"edge {tail} - {head}: bandwidth_back: which way is back isn't known here; write "
                "a directed graph with an edge each way"
            )
        forth, back = cable.cable(_place(tail), _place(head))
        links += (forth,) if graph.is_directed() else (forth, back)
    return tuple(links)


def _read(path: str) -> Any:
    try:
        if not path.endswith(".json"):
            return nx.read_graphml(path)
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise GraphFileError("expected a mapping of nodes and edges")
        # networkx wrote "links" before version 3.4.
        return nx.node_link_graph(data, edges="edges" if "edges" in data else "links")
    except (ParseError, ValueError, KeyError, TypeError, nx.NetworkXError) as error:
        kind = "node-link JSON" if path.endswith(".json") else "GraphML"
        raise GraphFileError(f"not a graph in {kind}: {error}") from None


def _place(name: object) -> Place:
    """Return the rank that ``name`` is, or the name of a switch."""
    return int(str(name)) if str(name).isdecimal() else str(name)
