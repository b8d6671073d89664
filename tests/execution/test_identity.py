"""What a key covers beside inputs: sources and the machine."""

import importlib
import sys

import pytest

from simbench.execution import identity
from simbench.execution.identity import fingerprint, source_hash
from simbench.learning.models.gpt import GPT
from simbench.learning.models.logistic import Logistic

FILES = {
    "__init__.py": "",
    "main.py": "from {package} import near\nfrom .sub import deep\n\nclass Main:\n    pass\n",
    "near.py": "import {package}.far\nimport json\n",
    "far.py": "FAR = 1\n",
    "apart.py": "APART = 1\n",
    "sub/__init__.py": "",
    "sub/deep.py": "from ..far import FAR\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch, request):
    """Write a package of modules that import each other; load gives the hash of its class."""
    name = f"a_package_of_{abs(hash(request.node.name))}"
    folder = tmp_path / name
    monkeypatch.syspath_prepend(tmp_path)

    def load(**changed):
        for file, text in FILES.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            changed_text = changed.get(path.stem, "") if path.stem != "__init__" else ""
            path.write_text(text.format(package=name) + changed_text)
        for module in [each for each in sys.modules if each.partition(".")[0] == name]:
            del sys.modules[module]
        importlib.invalidate_caches()
        identity._read.cache_clear()
        hashed = source_hash(importlib.import_module(f"{name}.main").Main)
        identity._read.cache_clear()
        return hashed

    yield load
    for module in [each for each in sys.modules if each.partition(".")[0] == name]:
        del sys.modules[module]


def test_the_same_source_has_the_same_hash(package):
    assert package() == package()


@pytest.mark.parametrize("module", ["main", "near", "far", "deep"])
def test_the_hash_changes_with_the_class_and_with_all_that_its_file_imports(package, module):
    assert package(**{module: "# changed\n"}) != package()


def test_the_hash_does_not_change_with_what_is_not_imported(package):
    assert package(apart="# changed\n") == package()


def test_the_hash_of_several_classes_does_not_depend_on_their_order():
    assert source_hash(GPT, Logistic) == source_hash(Logistic, GPT, GPT)
    assert source_hash(GPT) != source_hash(Logistic)


def test_a_class_without_a_file_has_no_hash():
    typed = type("Typed", (), {"__module__": "typed_in"})
    sys.modules["typed_in"] = type(sys)("typed_in")
    sys.modules["typed_in"].__file__ = None
    try:
        with pytest.raises(ValueError, match="source of module typed_in can't be found"):
            source_hash(typed)
    finally:
        del sys.modules["typed_in"]


def test_the_fingerprint_tells_what_bits_depend_on(monkeypatch):
    before = fingerprint("cpu")
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    monkeypatch.setenv("HOME", "/elsewhere")

    after = fingerprint("cpu")

    libraries = {"torch", "numpy"}
    assert set(before) == {"processor", "capability", "device", "denormals", "settings"} | libraries
    assert "MKL_CBWR=COMPATIBLE" in after["settings"]
    assert {k: v for k, v in after.items() if k != "settings"} == {
        k: v for k, v in before.items() if k != "settings"
    }
    assert before["processor"].strip()
