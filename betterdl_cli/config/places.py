"""The shape of a config: which keys may stand at a place, with their defaults, given the kinds chosen in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

from betterdl_cli.config.experiment import Header, Store
from betterdl_cli.datasets.base import DATASETS
from betterdl_cli.models.base import MODELS
from betterdl_cli.optimizers import OPTIMIZERS, SCHEDULES, Optimizer, Schedule
from betterdl_cli.registry import UnknownKindError
from betterdl_cli.spec import DataSpec, Json, SplitSpec, TrainingSpec
from betterdl_cli.techniques.base import TECHNIQUES

Place = tuple[str, ...]

OPTIMIZER: Place = ("training", "optimizer")
LEARNING_RATE: Place = (*OPTIMIZER, "learning_rate")


@dataclass(frozen=True)
class Kinds:
    """What a mapping with a ``kind`` may be; ``others`` are keys that it has whatever its kind."""

    get: Callable[[str], type[Any]]
    names: tuple[str, ...]
    default: str | None = None
    others: tuple[str, ...] = ()

    def of(self, value: Any) -> type[BaseModel] | None:
        """The class of a mapping; None when its kind is missing or wrong."""
        kind = value.get("kind", self.default) if isinstance(value, Mapping) else self.default
        return self.get(kind) if kind in self.names else None

    def strangers(self, value: Mapping[str, Any], kind: str) -> list[str]:
        """The keys of a mapping that another kind takes and ``kind`` does not."""
        own = {"kind", *self.others, *self.get(kind).model_fields}
        any_kind = {key for name in self.names for key in self.get(name).model_fields}
        return [key for key in value if key in any_kind and key not in own]


def optimizer(kind: str) -> type[Optimizer]:
    if kind not in OPTIMIZERS:
        raise UnknownKindError("optimizer", kind, tuple(OPTIMIZERS))
    return OPTIMIZERS[kind]


def schedule(kind: str) -> type[Schedule]:
    if kind not in SCHEDULES:
        raise UnknownKindError("learning-rate schedule", kind, tuple(SCHEDULES))
    return SCHEDULES[kind]


@cache
def kinds_at(place: Place) -> Kinds | None:
    """None where no ``kind`` decides what else may stand there."""
    return {
        ("data",): Kinds(DATASETS.get, DATASETS.names, others=("split",)),
        ("model",): Kinds(MODELS.get, MODELS.names),
        OPTIMIZER: Kinds(optimizer, tuple(OPTIMIZERS), default="adam"),
        LEARNING_RATE: Kinds(schedule, tuple(SCHEDULES)),
    }.get(place)


def keys_at(place: Place, value: Any) -> dict[str, Json] | None:
    """The keys of the mapping ``value`` at ``place`` with their defaults; None where any key may be tried."""
    if kinds := kinds_at(place):
        cls = kinds.of(value)
        split = {"split": _plain(DataSpec.model_fields["split"].default)} if place == ("data",) else {}
        return None if cls is None else {"kind": kinds.default, **_defaults(cls), **split}
    if place == ():
        return {**_defaults(Header), "data": {}, "model": {}}
    sections: dict[Place, type[BaseModel]] = {
        ("data", "split"): SplitSpec,
        ("training",): TrainingSpec,
        ("store",): Store,
    }
    if place in sections:
        return _defaults(sections[place])
    if len(place) == (3 if place[0] == "arms" else 2) and place[-1] in TECHNIQUES.names:
        return _defaults(TECHNIQUES.get(place[-1]))
    return None


def _defaults(cls: type[BaseModel]) -> dict[str, Json]:
    return {
        name: None if field.is_required() else _plain(field.get_default(call_default_factory=True))
        for name, field in cls.model_fields.items()
    }


def _plain(value: Any) -> Json:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return list(value) if isinstance(value, tuple) else value
