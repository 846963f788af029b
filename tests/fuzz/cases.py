"""What a fuzz case is: plain values, whose repr is Python that makes the case again."""

from dataclasses import dataclass, fields
from typing import Any


class Plain:
    """Its repr names what is not the default."""

    def __repr__(self) -> str:
        told = [(entry.name, getattr(self, entry.name)) for entry in fields(self)]
        changed = [f"{name}={value!r}" for (name, value), entry in zip(told, fields(self)) if value != entry.default]
        return f"{type(self).__name__}({', '.join(changed)})"


@dataclass(frozen=True, repr=False)
class Table(Plain):
    """An X: how it is made, and what is wrong with it."""

    rows: int = 20
    columns: int = 3
    form: str = "array"
    dtype: str = "float64"
    values: str = "normal"
    seed: int = 0


@dataclass(frozen=True, repr=False)
class Target(Plain):
    """A y, for as many rows as the table has and `extra` more."""

    form: str = "array"
    labels: str = "0 and 1"
    extra: int = 0


@dataclass(frozen=True, repr=False)
class Weight(Plain):
    """A sample_weight, for as many rows as the table has and `extra` more."""

    form: str = "None"
    values: str = "uniform"
    extra: int = 0


@dataclass(frozen=True, repr=False)
class Step(Plain):
    """A call, or an edit: `name` is then a parameter or an attribute, and `value` what it is set to."""

    method: str
    X: Table = Table()
    y: Target = Target()
    weight: Weight = Weight()
    X_val: Table | None = None
    weight_val: Weight = Weight()
    classes: str = "those of y"
    name: str = ""
    value: Any = None


@dataclass(frozen=True, repr=False)
class Case(Plain):
    """An estimator, its parameters, and what is done with it."""

    estimator: str
    parameters: tuple[tuple[str, Any], ...]
    steps: tuple[Step, ...]


def from_text(text: str) -> Case:
    """The case that has this repr."""
    names = {kind.__name__: kind for kind in (Table, Target, Weight, Step, Case)}
    return eval(text, {"__builtins__": {}, "nan": float("nan"), "inf": float("inf"), **names})
