"""What the documents say is true: their commands, scenarios, links and examples."""

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from ruamel.yaml import YAML

from simbench.cli.main import build
from simbench.scenario_file import load

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "docs/examples/one_peer"
EXAMPLE = PACKAGE / "one_peer.py"
STARTER = ROOT / "simbench/cli/starter.yaml"
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "results/*.md", "reports/*.md", "*/reference/**/*.md")
    for page in ROOT.glob(pattern)
)

_FENCE = re.compile(r"^ *(`{3,})(\w*)[^\n]*\n(.*?)^ *\1$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_ABSOLUTE = re.compile(r"(?<![\w.:/~-])/(?:home|root|work|tmp|usr|opt|var|mnt|etc|Users)/|[A-Z]:\\")


def _text(page):
    return (ROOT / page).read_text(encoding="utf-8")


def _blocks(page, *languages):
    return [body for _, language, body in _FENCE.findall(_text(page)) if language in languages]


def _commands(program):
    """Every command line of ``program`` in the documents, as (page, words)."""
    found = []
    for page in PAGES:
        for block in _blocks(page, "console", "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words = words[1:]
                if words and words[0] == program:
                    found.append((page, words[1:]))
    return found


def _id(case):
    page, words = case
    return f"{page}: {shlex.join(words)}"


def _slug(heading):
    """The anchor that a Markdown page has for a heading."""
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")


@pytest.mark.parametrize("case", _commands("simbench"), ids=_id)
def test_a_command_line_is_one_that_simbench_understands(case):
    _, (name, *arguments) = case
    command = typer.main.get_command(build()).commands[name]
    command.make_context(name, arguments)


@pytest.mark.parametrize("case", _commands("simbench"), ids=_id)
def test_a_scenario_that_a_command_line_names_exists_or_is_the_readers_own(case):
    _, words = case
    sets = [value for option, value in itertools.pairwise(words) if option == "--set"]
    for name in (word for word in words if word.endswith(".yaml")):
        # What the reader wrote is called my-...; `simbench init` is where it started.
        scenario = STARTER if Path(name).name.startswith("my-") else ROOT / name
        load(scenario, sets)


@pytest.mark.parametrize("case", _commands("make"), ids=_id)
def test_what_is_made_can_be_made(case):
    targets = re.findall(r"^(\w+):", _text("Makefile"), re.MULTILINE)
    _, words = case
    assert [word for word in words if "=" not in word and word not in targets] == []


def _pieces():
    """Every piece of a scenario, named by its page and the kinds in it that take more packages."""
    for page in PAGES:
        for block in _blocks(page, "yaml"):
            optional = re.findall(r"kind: (huggingface)", block)
            yield pytest.param(block, id="-".join([page, *optional]))


@pytest.mark.parametrize("block", [*_pieces()])
def test_a_piece_of_yaml_fits_into_a_scenario(block, tmp_path):
    yaml = YAML()
    piece = yaml.load(block)
    scenario = yaml.load(STARTER.read_text(encoding="utf-8"))
    if piece.get("strategies", {}).keys() & {"one peer"}:
        del piece["strategies"]["one peer"]  # it is no plug-in of this process; other tests run it
    scenario.update({key: value for key, value in piece.items() if value})
    with (tmp_path / "scenario.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(scenario, file)
    load(tmp_path / "scenario.yaml")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = _FENCE.sub("", _text(page))
    broken = []
    for markdown, html in _LINK.findall(text):
        link = markdown or html
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists():
            broken.append(link)
        elif anchor:
            headings = _HEADING.findall(_FENCE.sub("", target.read_text(encoding="utf-8")))
            if anchor not in map(_slug, headings):
                broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES)
def test_no_line_names_a_place_on_somebodys_machine(page):
    assert [line for line in _text(page).splitlines() if _ABSOLUTE.search(line)] == []


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_left_to_fill_in(page):
    assert re.findall(r"@@[^@]*@@", _text(page)) == []


def test_contributing_shows_the_example_as_it_is():
    shown = [block for block in _blocks("CONTRIBUTING.md", "python") if "class OnePeer" in block]
    assert shown == [EXAMPLE.read_text(encoding="utf-8")]


def test_every_dependency_has_its_reason():
    project = _text("pyproject.toml").partition("[project.scripts]")[0]
    names = set(re.findall(r"^    \"([\w.-]+)(?:\[\w+\])?[><=]", project, re.MULTILINE))
    reasons = _text("docs/design/dependencies.md")
    described = set(re.findall(r"^\| `([\w.-]+)", reasons, re.MULTILINE))
    assert names
    assert described == names | {"setuptools"}


def test_the_map_shows_the_whole_package_in_the_order_of_its_layers():
    package = ROOT / "simbench"
    private = {"__init__.py", "__main__.py", "py.typed", "__pycache__"}
    there = {
        f"{each.name}/" if each.is_dir() else each.name
        for each in package.iterdir()
        if each.name not in private
    }
    (layout,) = (b for b in _blocks("docs/design/architecture.md", "text") if "simbench/" in b)
    shown = re.findall(r"^  (\w+(?:/|\.py))", layout, re.MULTILINE)
    assert set(shown) == there
    contracts = tomllib.loads(_text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    heights = {name: at for at, layer in enumerate(layers) for name in re.split(r" [:|] ", layer)}
    order = [heights[name.rstrip("/").removesuffix(".py")] for name in shown]
    assert order == sorted(order), "imports point down the page"


def test_contributing_shows_the_entry_point_as_it_is():
    (shown,) = (block for block in _blocks("CONTRIBUTING.md", "toml") if "entry-points" in block)
    assert shown in (PACKAGE / "pyproject.toml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The example as a package outside simbench that pip has installed."""
    folder = tmp_path_factory.mktemp("site")
    copy = shutil.copytree(PACKAGE, tmp_path_factory.mktemp("source") / "one_peer")
    # What it is built with and rests on is there: nothing is asked of a network.
    offline = ["--no-index", "--no-build-isolation", "--no-deps"]
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _python(os.environ, *pip, *offline, "--target", str(folder), str(copy), cwd=folder)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def _python(environment, *arguments, cwd):
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_passes_the_laws_and_follows_its_closed_form(installed, tmp_path):
    """The mean of the replicas moves as gradient descent does, since every exchange keeps it."""
    script = """
from one_peer import OnePeer
from simbench.cluster.cluster import Cluster
from simbench.cluster.machines.fixed import Fixed
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.scenario import Stop
from simbench.testing import check_strategy, run, small_scenario

for strategy in OnePeer(), OnePeer(period=3):
    check_strategy(strategy)
for nodes in 1, 3, 4, 5:
    optimum = (-1.0, 0.0, 1.0, 4.0, 6.0)[:nodes]
    scenario = small_scenario(
        OnePeer(),
        task=Task(
            model=Quadratic(dimension=1, optimum=optimum, start=3.0),
            data=Gaussian(),
            optimizer=SGD(learning_rate=0.25),
            dtype="float64",
        ),
        cluster=Cluster(nodes=nodes, machine=Fixed()),
        evaluate_every=1,
        stop=Stop(updates=20),
    )
    best = sum(optimum) / nodes
    for each in run(scenario).evaluations:
        x = best + 0.75**each.progress * (3.0 - best)
        loss = sum((x - c) ** 2 for c in optimum) / (2 * nodes)
        assert abs(each.loss - loss) < 1e-9, (nodes, each, loss)
print("as it should be")
"""
    assert _python(installed, "-W", "error", "-c", script, cwd=tmp_path) == "as it should be\n"


def test_the_installed_example_is_listed(installed, tmp_path):
    printed = _python(installed, "-m", "simbench", "list", "strategies", "--json", cwd=tmp_path)
    assert '"kind": "one_peer"' in printed


def test_the_installed_example_runs_from_a_scenario(installed, tmp_path):
    (piece,) = (b for b in _blocks("CONTRIBUTING.md", "yaml") if "one_peer" in b)
    yaml = YAML()
    scenario = yaml.load(STARTER.read_text(encoding="utf-8"))
    scenario.update(yaml.load(piece))
    with (tmp_path / "my-scenario.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(scenario, file)

    printed = _python(
        installed, "-m", "simbench", "plan", "my-scenario.yaml", "--set", "stop.virtual_time=1 s",
        "--seed", "0", "--cache", "cache", "--json", cwd=tmp_path,
    )  # fmt: skip

    assert '"kind": "one_peer"' in printed


def test_the_example_is_found_in_the_folder_of_strategies(tmp_path):
    shutil.copytree(
        ROOT / "simbench", tmp_path / "simbench", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(EXAMPLE, tmp_path / "simbench/strategies")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    listed = _python(environment, "-m", "simbench", "list", "strategies", "--json", cwd=tmp_path)

    assert '"kind": "one_peer"' in listed
