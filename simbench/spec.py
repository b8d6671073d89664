"""The frozen, strict base of everything a scenario file may hold, and choices among plug-ins.

A folder of plug-ins becomes one tagged choice:
``Annotated[Model, OneOf("simbench.learning.models")]`` reads ``{kind: gpt, layers: 2}`` as the
class in that folder whose ``kind`` is ``gpt``. Packages outside simbench add classes by an entry
point in the group of the folder's name.
"""

import ast
import contextlib
import functools
import hashlib
import importlib
import importlib.metadata
import inspect
import itertools
import pkgutil
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    SerializationInfo,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError, core_schema

from simbench.nearest import hint, nearest


class Spec(BaseModel):
    """Anything a scenario file may contain: frozen, and a misspelt key is an error."""

    # Without ``use_attribute_docstrings``: pydantic reads the source of every class when it is
    # made, which is a third of the start of a command; ``attribute_docs`` reads it when asked.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    also_called: ClassVar[tuple[str, ...]] = ()
    """Words that are no kind, but that people may write for a plug-in: errors tell its kind."""

    @property
    def user_code(self) -> tuple[Any, ...]:
        """Functions and classes of others that it calls: keys and run ids contain their source."""
        return ()

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        # pydantic's own message for this doesn't say what the key might have been.
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    raise unknown_name(str(key), list(cls.model_fields), "key")
        return data

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe this spec with its defaults as files hold them: "1 ms", not 1000000."""
        described = handler(schema)
        defaults = cls.model_construct().model_dump(mode="json")
        docs = attribute_docs(cls)
        for name, key in handler.resolve_ref_schema(described)["properties"].items():
            if "default" in key and name in defaults:
                key["default"] = defaults[name]
            if name in docs:
                key["description"] = docs[name]
        return described


@functools.cache
def attribute_docs(cls: type[Spec]) -> dict[str, str]:
    """Return what the source says below each field of ``cls``, those of its bases included.

    Nothing is said by a class whose source is nowhere, such as one typed at a prompt.
    """
    docs: dict[str, str] = {}
    for each in reversed([each for each in cls.__mro__ if issubclass(each, Spec)]):
        with contextlib.suppress(OSError):
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
            assert isinstance(tree, ast.ClassDef)
            for field_, below in itertools.pairwise(tree.body):
                match field_, below:
                    case (
                        ast.AnnAssign(target=ast.Name(id=name)),
                        ast.Expr(value=ast.Constant(value=str(text))),
                    ):
                        docs[name] = inspect.cleandoc(text)
    return docs


BY_CONTENTS: Final = "by contents"
"""Context of ``model_dump`` in which files are told by the SHA-256 of their contents."""


def dump_by_contents(spec: Spec) -> dict[str, Any]:
    """Return ``spec`` as JSON holds it, each file that it names replaced by its contents' hash."""
    return spec.model_dump(mode="json", context=BY_CONTENTS)


def _find(path: object, info: ValidationInfo) -> str:
    return _found(path, info, "file", Path.is_file)


def _find_either(path: object, info: ValidationInfo) -> str:
    return _found(path, info, "file or folder", Path.exists)


def _found(path: object, info: ValidationInfo, what: str, is_there: Callable[[Path], bool]) -> str:
    if not isinstance(path, str):
        raise ValueError(f"expected the path of a {what}; got {path!r}")
    # In a scenario file, paths are relative to that file; its folder is the context.
    found = Path(info.context or "") / path
    if not is_there(found):
        beside = found.parent.iterdir() if found.parent.is_dir() else ()
        near = nearest(found.name, [each.name for each in beside if is_there(each)])
        question = hint(str(found.with_name(each)) for each in near)
        raise ValueError(f"there is no {what} {str(found)!r}; {question}".rstrip("; "))
    return str(found)


@dataclass
class Packing:
    """Context of ``model_dump`` in which each file gets a place in a folder to pack it into."""

    files: dict[str, Path] = field(default_factory=dict)
    """Place in the folder -> the file that belongs there; filled by the dump."""


def _tell(path: str, info: SerializationInfo) -> str:
    if info.context is None:
        return path
    contents = contents_hash(Path(path))
    if not isinstance(info.context, Packing):
        return contents
    place = f"files/{contents[:8]}/{Path(path).name}"
    for name, file in _files(Path(path)):
        info.context.files[f"{place}/{name}" if name else place] = file
    return place


def contents_hash(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of all files in a folder."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for name, file in _files(path):
        digest.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _files(path: Path) -> list[tuple[str, Path]]:
    """Return the files in a folder by their names in it; a file itself has none."""
    if path.is_file():
        return [("", path)]
    inside = (each for each in path.rglob("*") if each.is_file())
    return sorted((each.relative_to(path).as_posix(), each) for each in inside)


InputFile = Annotated[str, BeforeValidator(_find), PlainSerializer(_tell, return_type=str)]
"""A file that must exist. Keys and run ids contain its contents, never its name."""

InputPath = Annotated[str, BeforeValidator(_find_either), PlainSerializer(_tell, return_type=str)]
"""A file or folder that must exist. Keys and run ids contain what is in it, never its own name."""


def unknown_name(
    name: str, names: list[str], what: str, meant: Sequence[str] = ()
) -> PydanticCustomError:
    """Return the error for a ``name`` not among ``names``: it tells what is meant, or nearest."""
    did_you_mean = hint(meant or nearest(name, names))
    return PydanticCustomError(
        "unknown_name",
        "unknown {what} '{name}'; {hint}(known: {known})",
        {"what": what, "name": name, "hint": did_you_mean, "known": ", ".join(names), "key": name},
    )


def unknown_kind(kind: str, classes: Mapping[str, type[Spec]]) -> PydanticCustomError:
    """Return the error for a ``kind`` not among ``classes``: it tells those also called so."""
    word = kind.lower().replace("-", "_")
    meant = [each for each, member in classes.items() if word in member.also_called]
    return unknown_name(kind, list(classes), "kind", meant)


def misfit(keys: tuple[str | int, ...], message: str) -> ValidationError:
    """Return the error that a validator raises for what lies under ``keys`` of its spec."""
    what = PydanticCustomError("misfit", "{message}", {"message": message})
    return ValidationError.from_exception_data(
        "misfit", [{"type": what, "loc": keys, "input": None}]
    )


@contextlib.contextmanager
def within(*keys: str | int) -> Iterator[None]:
    """Let errors of a part tell that it lies under ``keys``."""
    try:
        yield
    except ValidationError as error:
        lines = [moved(each, (*keys, *each["loc"])) for each in error.errors()]
        raise ValidationError.from_exception_data(".".join(map(str, keys)), lines) from None


def moved(error: ErrorDetails, keys: tuple[str | int, ...]) -> InitErrorDetails:
    """Return an error, as ``errors()`` lists it, at another place."""
    context = {**error.get("ctx", {}), "message": error["msg"]}
    what = PydanticCustomError(error["type"], "{message}", context)
    return {"type": what, "loc": keys, "input": error["input"]}


@functools.cache
def discover(package: str, base: type[Spec]) -> dict[str, type[Any]]:
    """Return every final class of ``base`` in the folder ``package`` and its entry points, by kind.

    Raises:
        ValueError: two classes claim the same kind.
    """
    folder = importlib.import_module(package)
    modules = [
        importlib.import_module(f"{package}.{module.name}")
        for module in pkgutil.iter_modules(folder.__path__)
    ]
    candidates = [
        member for module in modules for _, member in inspect.getmembers(module, inspect.isclass)
    ]
    candidates += [entry.load() for entry in importlib.metadata.entry_points(group=package)]
    found: dict[str, type[Any]] = {}
    for member in candidates:
        if not issubclass(member, base) or inspect.isabstract(member) or member is base:
            continue
        kind = member.model_fields["kind"].default
        if found.setdefault(kind, member) is not member:
            raise ValueError(f"{found[kind]} and {member} both call themselves {kind!r}")
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class OneOf:
    """Marks a field that takes one plug-in of the folder ``package``, chosen by its ``kind``.

    Where there is a ``default``, a mapping without a ``kind`` is one of that kind.
    """

    package: str
    default: str | None = None

    def __get_pydantic_core_schema__(
        self, base: type[Spec], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Build the tagged union over the classes that are there now."""
        classes = discover(self.package, base)

        def kind_of(data: Any) -> str | None:
            kind = data.get("kind", self.default) if isinstance(data, Mapping) else None
            return None if kind is None else str(kind)

        def read(data: Any, choose: core_schema.ValidatorFunctionWrapHandler) -> Any:
            # From Python, a class that no folder and no entry point tells of will do as well.
            if isinstance(data, base):
                return data
            # A discriminator may not raise: pydantic would let the error through as it is.
            kind = kind_of(data)
            if kind is None:
                raise PydanticCustomError(
                    "no_kind",
                    "expected a mapping with a 'kind' (one of: {known})",
                    {"known": ", ".join(classes)},
                )
            if kind not in classes:
                raise unknown_kind(kind, classes)
            return choose(data)

        def write(spec: Spec, info: SerializationInfo) -> dict[str, Any]:
            return spec.model_dump(mode=info.mode, context=info.context)

        return core_schema.no_info_wrap_validator_function(
            read,
            core_schema.tagged_union_schema(
                {kind: handler.generate_schema(member) for kind, member in classes.items()},
                discriminator=kind_of,
            ),
            serialization=core_schema.plain_serializer_function_ser_schema(write, info_arg=True),
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe the union; what has no ``kind`` is of the default's, and not any that fits."""
        described = handler(schema)
        if self.default is None:
            return described
        of_default = next(
            member
            for member in described["oneOf"]
            if handler.resolve_ref_schema(member)["properties"]["kind"]["const"] == self.default
        )
        return {"if": {"required": ["kind"]}, "then": described, "else": of_default}
