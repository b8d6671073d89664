"""What every part of a scenario file has in common, and every plug-in of every folder."""

import inspect
import json
from typing import Annotated

import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from simbench.cluster.jitter import Jitter
from simbench.cluster.machine import Machine
from simbench.cluster.straggler import Straggler
from simbench.cluster.stragglers.persistent import Persistent
from simbench.cluster.stragglers.rotating import Rotating
from simbench.learning.dataset import Dataset
from simbench.learning.model import Model
from simbench.learning.models.gpt import GPT
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizer import Optimizer
from simbench.network.collective import AllGather, AllReduce, Broadcast, Reduce, ReduceScatter
from simbench.network.topology import Topology
from simbench.scenario import CHOICES
from simbench.spec import InputFile, OneOf, Spec, attribute_docs, discover, dump_by_contents
from simbench.strategy import Strategy

FOLDERS = {
    "simbench.cluster.jitters": Jitter,
    "simbench.cluster.machines": Machine,
    "simbench.cluster.stragglers": Straggler,
    "simbench.learning.datasets": Dataset,
    "simbench.learning.models": Model,
    "simbench.learning.optimizers": Optimizer,
    "simbench.network.collectives.all_gather": AllGather,
    "simbench.network.collectives.all_reduce": AllReduce,
    "simbench.network.collectives.broadcast": Broadcast,
    "simbench.network.collectives.reduce": Reduce,
    "simbench.network.collectives.reduce_scatter": ReduceScatter,
    "simbench.network.topologies": Topology,
    "simbench.strategies": Strategy,
}
PLUG_INS = [
    pytest.param(folder, member, id=f"{folder.rpartition('.')[2]}-{kind}")
    for folder, base in FOLDERS.items()
    for kind, member in discover(folder, base).items()
]
CLASSES = [pytest.param(each.values[1], id=each.id) for each in PLUG_INS]
A_MODEL = TypeAdapter(Annotated[Model, OneOf("simbench.learning.models")])


A_STRAGGLER = TypeAdapter(
    Annotated[Straggler, OneOf("simbench.cluster.stragglers", default="persistent")]
)


class Reads(Spec):
    """Names a file."""

    file: InputFile


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_of_plug_ins_holds_some(folder):
    assert discover(folder, FOLDERS[folder])


@pytest.mark.parametrize("member", CLASSES)
def test_every_plug_in_has_a_default_for_every_key(member):
    assert isinstance(member().kind, str)


@pytest.mark.parametrize("member", CLASSES)
def test_every_plug_in_is_final(member):
    inside = [each for each in member.__subclasses__() if each.__module__.startswith("simbench")]

    assert inside == []


@pytest.mark.parametrize(("folder", "member"), PLUG_INS)
def test_every_plug_in_is_chosen_by_its_kind_and_survives_json(folder, member):
    adapter = TypeAdapter(Annotated[FOLDERS[folder], OneOf(folder)])
    written = json.loads(adapter.dump_json(member()))

    read = adapter.validate_python(tuples(written), context="folder")

    assert written["kind"] == member.model_fields["kind"].default
    assert type(read) is member
    assert read == member()


@pytest.mark.parametrize("member", CLASSES)
def test_every_plug_in_is_frozen_and_has_a_hash(member):
    with pytest.raises(ValidationError, match="frozen"):
        member().kind = "other"

    assert hash(member()) == hash(member())


@pytest.mark.parametrize("member", CLASSES)
def test_every_plug_in_says_what_it_is_and_what_its_keys_mean(member):
    undescribed = [
        name
        for name in member.model_fields
        if name != "kind" and not attribute_docs(member).get(name)
    ]

    assert inspect.getdoc(member)
    assert undescribed == []


def test_keys_of_bases_are_described_as_well_and_a_class_without_a_source_is_silent():
    namespace = {"__name__": __name__, "GPT": GPT}
    exec('class Typed(GPT):\n    own: int = 1\n    """Not to be seen."""', namespace)  # noqa: S102

    assert attribute_docs(namespace["Typed"]) == attribute_docs(GPT)
    assert "layers" in attribute_docs(GPT)
    assert "on_failure" in attribute_docs(discover("simbench.strategies", Strategy)["ssp"])


@pytest.mark.parametrize("member", CLASSES)
def test_every_plug_in_refuses_an_unknown_key(member):
    with pytest.raises(ValidationError, match=r"unknown key 'kimd'; did you mean 'kind'\?"):
        member.model_validate({"kimd": member().kind})


def test_an_unknown_key_tells_the_nearest_one_and_all_others():
    with pytest.raises(ValidationError, match=r"'widht'; did you mean 'width'\? \(known: kind, la"):
        GPT.model_validate({"widht": 3})


def test_an_unknown_key_that_resembles_none_gets_no_guess():
    with pytest.raises(ValidationError, match=r"unknown key 'zzz'; \(known: kind, layers"):
        GPT.model_validate({"zzz": 3})


def test_an_unknown_kind_tells_the_nearest_one():
    with pytest.raises(ValidationError, match=r"unknown kind 'gtp'; did you mean 'gpt'\?"):
        A_MODEL.validate_python({"kind": "gtp"})


def test_a_word_for_a_family_tells_its_kinds():
    a_strategy = TypeAdapter(Annotated[Strategy, OneOf("simbench.strategies")])

    for word, kinds in (
        ("gossip", "'ad_psgd' or 'd_psgd' or 'matching_gossip' or 'push_sum'"),
        ("FedAvg", "'averaging'"),
        ("all-reduce", "'averaging'"),
    ):
        with pytest.raises(ValidationError, match=rf"'{word}'; did you mean {kinds}\? \(known"):
            a_strategy.validate_python({"kind": word})


def test_no_plug_in_is_also_called_as_a_kind_of_its_folder():
    for package, base in CHOICES.values():
        kinds = discover(package, base)
        assert not [
            word for member in kinds.values() for word in member.also_called if word in kinds
        ]


@pytest.mark.parametrize("kind", [7, [], {"kind": "gpt"}, True])
def test_a_kind_that_is_no_name_is_unknown(kind):
    with pytest.raises(ValidationError, match="unknown kind"):
        A_MODEL.validate_python({"kind": kind})


@pytest.mark.parametrize("chosen", [{}, {"layers": 2}, "gpt", None, 3, ["gpt"]])
def test_a_choice_without_a_kind_tells_the_kinds(chosen):
    with pytest.raises(
        ValidationError, match=r"expected a mapping with a 'kind' .one of: bert, gpt"
    ):
        A_MODEL.validate_python(chosen)


def test_a_choice_takes_a_spec_as_it_is():
    model = Quadratic(dimension=3)

    assert A_MODEL.validate_python(model) == model


@pytest.mark.parametrize("wrong", ["2", 2.0, True, None])
def test_nothing_is_converted_in_silence(wrong):
    with pytest.raises(ValidationError):
        GPT.model_validate({"layers": wrong})


def test_a_choice_with_a_default_reads_what_has_no_kind_as_that():
    assert A_STRAGGLER.validate_python({"slowdown": 3.0}) == Persistent(slowdown=3)
    assert A_STRAGGLER.validate_python({"kind": "rotating"}) == Rotating()
    assert A_STRAGGLER.dump_python(Persistent(), mode="json")["kind"] == "persistent"


@pytest.mark.parametrize("wrong", [{"every": 2}, {"kind": None}, {"kind": "never"}, [], "rotating"])
def test_a_default_is_for_what_has_no_kind_alone(wrong):
    with pytest.raises(ValidationError):
        A_STRAGGLER.validate_python(wrong)

    assert not Draft202012Validator(A_STRAGGLER.json_schema()).is_valid(wrong)


@pytest.mark.parametrize(
    "right", [{"slowdown": 3}, {"kind": "rotating", "every": 2}, {"kind": "persistent"}]
)
def test_the_schema_of_a_choice_with_a_default_takes_what_the_choice_takes(right):
    A_STRAGGLER.validate_python(right)

    assert Draft202012Validator(A_STRAGGLER.json_schema()).is_valid(right)


def test_two_classes_of_one_kind_are_refused(monkeypatch):
    class Impostor(Jitter):
        kind: str = "constant"

        def factor(self, _seed, _rank, _step):
            return 1.0

    class Entry:
        @staticmethod
        def load():
            return Impostor

    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [Entry])
    with pytest.raises(ValueError, match="both call themselves 'constant'"):
        discover.__wrapped__("simbench.cluster.jitters", Jitter)


def test_a_plug_in_outside_the_package_comes_in_by_entry_point(monkeypatch):
    class Outside(Jitter):
        kind: str = "outside"

        def factor(self, _seed, _rank, _step):
            return 1.0

    class Entry:
        @staticmethod
        def load():
            return Outside

    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [Entry])

    assert discover.__wrapped__("simbench.cluster.jitters", Jitter)["outside"] is Outside


def test_a_file_counts_by_contents_and_not_by_name(tmp_path):
    first, second, third = (tmp_path / name for name in ("a", "b", "c"))
    first.write_text("same")
    second.write_text("same")
    third.write_text("other")

    dumps = [dump_by_contents(Reads(file=str(path))) for path in (first, second, third)]

    assert dumps[0] == dumps[1]
    assert dumps[0] != dumps[2]


def test_a_file_that_changes_no_longer_counts_as_the_same(tmp_path):
    path = tmp_path / "a"
    path.write_text("before")
    before = dump_by_contents(Reads(file=str(path)))

    path.write_text("after")

    assert dump_by_contents(Reads(file=str(path))) != before


def test_a_file_is_named_as_it_is_where_people_read(tmp_path):
    path = tmp_path / "a"
    path.write_text("text")

    assert Reads(file=str(path)).model_dump(mode="json") == {"file": str(path)}


def test_a_path_is_relative_to_the_file_that_names_it(tmp_path):
    (tmp_path / "text.txt").write_text("text")

    read = Reads.model_validate({"file": "text.txt"}, context=str(tmp_path))

    assert read.file == str(tmp_path / "text.txt")


@pytest.mark.parametrize("path", ["nothing.txt", "."])
def test_a_file_that_is_not_there_is_refused_by_its_path(path, tmp_path):
    with pytest.raises(ValidationError, match="there is no file"):
        Reads.model_validate({"file": path}, context=str(tmp_path))


def tuples(tree):
    """Return ``tree`` as a scenario file hands it on: strict specs want tuples."""
    if isinstance(tree, dict):
        return {key: tuples(value) for key, value in tree.items()}
    return tuple(map(tuples, tree)) if isinstance(tree, list) else tree
