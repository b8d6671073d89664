"""What the key of a pure operation covers."""

from dataclasses import dataclass

from simbench.execution.operation import PureOperation


@dataclass(frozen=True)
class ScaleBy(PureOperation):
    factor: float

    def __call__(self, x: float) -> float:
        return self.factor * x


@dataclass(frozen=True)
class DivideBy(PureOperation):
    factor: float

    def __call__(self, x: float) -> float:
        return x / self.factor


def test_it_is_called_as_its_class() -> None:
    assert ScaleBy(2.0).name == "scale_by"


def test_identity_covers_settings_and_class() -> None:
    assert ScaleBy(2.0).identity == ScaleBy(2.0).identity
    assert len({ScaleBy(2.0).identity, ScaleBy(3.0).identity, DivideBy(2.0).identity}) == 3
