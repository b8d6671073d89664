"""The drawing of a network: what is on it, and that large ones stay readable."""

import itertools

import pytest
from matplotlib.collections import LineCollection

from simbench.network.topologies.star import Star
from simbench.network.topologies.torus import Torus
from simbench.report.bundles import Bundle, LinkUse, bundle_nodes
from simbench.report.figure import picture
from simbench.report.network_map import MapPanel, draw_map


def uses_of(topology, num_nodes, shares=lambda _: 0.0):
    return [
        LinkUse(link.tail, link.head, link.rate_bps, shares(index))
        for index, link in enumerate(topology.links(num_nodes))
    ]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_every_node_link_and_switch_of_a_small_network_is_drawn():
    star = Star()
    uses = uses_of(star, 5, lambda index: index / 10)

    figure = draw_map([MapPanel("one", uses), MapPanel("two", uses)], star.layout(5), num_workers=4)

    for axes, title in zip(figure.axes, ("one", "two"), strict=False):
        assert axes.get_title() == title
        (lines,) = (each for each in axes.collections if isinstance(each, LineCollection))
        assert len(lines.get_segments()) == 10
        assert {"0", "1", "2", "3", "4", "switch"} <= set(texts(axes))
        assert "busiest: switch to the server (node 4), 90 %" in texts(axes)
    assert figure.axes[-1].get_xlabel().endswith("diamond: a server on a machine of its own")
    of_workers = draw_map([MapPanel("one", uses)], star.layout(5), num_workers=5)
    assert "diamond" not in of_workers.axes[-1].get_xlabel()


def test_more_use_is_darker_and_none_is_grey():
    star = Star()
    figure = draw_map(
        [MapPanel("", uses_of(star, 3, lambda index: index / 5))], star.layout(3), num_workers=3
    )

    (lines,) = (each for each in figure.axes[0].collections if isinstance(each, LineCollection))
    idle, *used = [tuple(colour[:3]) for colour in lines.get_colors()]
    assert max(idle) - min(idle) < 0.05
    lightness = [0.3 * red + 0.59 * green + 0.11 * blue for red, green, blue in used]
    assert lightness == sorted(lightness, reverse=True)


def test_the_line_of_a_direction_is_on_the_right_as_the_bytes_go():
    positions = {0: (0.0, 0.0), 1: (1.0, 0.0)}
    uses = [LinkUse(0, 1, 10, 0.5), LinkUse(1, 0, 10, 0.6)]

    figure = draw_map([MapPanel("", uses)], positions, num_workers=2)

    (lines,) = (each for each in figure.axes[0].collections if isinstance(each, LineCollection))
    forth, back = lines.get_segments()
    assert forth[0][1] == forth[1][1] < 0 < back[0][1] == back[1][1]


def test_nodes_of_a_large_star_are_bundled_and_no_server_is():
    star = Star()
    uses = uses_of(star, 1001, lambda index: 0.7 if index == 2 * 500 else 0.1)

    view = bundle_nodes(uses, star.layout(1001), num_workers=1000)

    bundles = [place for place in view.positions if isinstance(place, Bundle)]
    assert len(bundles) <= 32
    assert sum(bundle.last - bundle.first + 1 for bundle in bundles) == 1000
    for one, other in itertools.pairwise(bundles):
        assert other.first == one.last + 1
    assert {1000, "switch"} <= set(view.positions)
    assert {use.tail for use in view.uses if use.share == 0.7} == {
        bundle for bundle in bundles if bundle.first <= 500 <= bundle.last
    }
    assert len(view.uses) == 2 * len(bundles) + 2


def test_nodes_that_pass_messages_on_are_never_bundled():
    torus = Torus(dims=(12, 12))

    view = bundle_nodes(uses_of(torus, 144), torus.layout(144), num_workers=144)

    assert set(view.positions) == set(range(144))


def test_of_very_many_links_the_busiest_are_drawn_and_the_figure_says_so():
    positions = {rank: (rank % 80, rank // 80) for rank in range(80)}
    uses = [
        LinkUse(one, other, 10, (one + other) / 200)
        for one, other in itertools.permutations(range(80), 2)
    ]

    axes = draw_map([MapPanel("", uses)], positions, num_workers=80).axes[0]

    (lines,) = (each for each in axes.collections if isinstance(each, LineCollection))
    assert len(lines.get_segments()) == 6000
    assert any("the busiest 6,000 of 6,320 links" in text for text in texts(axes))


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_network_is_the_same_file(suffix):
    star = Star()

    def draw():
        return draw_map([MapPanel("", uses_of(star, 4))], star.layout(4), num_workers=4)

    assert picture(draw, suffix) == picture(draw, suffix)
