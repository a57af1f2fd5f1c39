"""An arm as plain data: everything that decides the numbers of a training except the seed.

Frozen, JSON-able, free of Keras. A technique is a function from one :class:`ArmSpec` to another; the training wing
turns a spec and a seed into Keras objects.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StrictFloat, StrictInt

Json = Any  # values that survive json.dumps -> json.loads unchanged


class Frozen(BaseModel):
    """Base of all plain data here: strict types, no unknown keys, no changes after construction."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


Rows = StrictInt | StrictFloat


class SplitSpec(Frozen):
    """How rows are divided into parts: integers are rows, numbers below 1 are fractions of all rows."""

    train: Rows = Field(default=0.6, gt=0, description="rows (integer) or fraction of all rows for training")
    validation: Rows | Literal["test"] | None = Field(
        default=None, description="rows or fraction for validation; 'test' monitors the test set; null: none"
    )
    test: Rows = Field(default=0.2, gt=0, description="rows or fraction for the test set")
    order: Literal["shuffled", "given"] = Field(
        default="shuffled", description="'given': first rows train, then validation, then test; 'shuffled': stratified"
    )
    seed: StrictInt = Field(default=0, ge=0, description="seed of the shuffle")
    resplit: bool = Field(default=False, description="true: every run seed draws a new split")


class DataSpec(Frozen):
    """The data set, its split, and what is fitted on the training part and applied to all parts."""

    kind: str
    parameters: dict[str, Json] = {}
    split: SplitSpec = SplitSpec(validation=0.2)
    preprocessing: tuple[dict[str, Json], ...] = ()


class LayerSpec(Frozen):
    """One layer. ``name`` is its role and its identity across arms: seeds are derived from it.

    ``kind`` is a Keras layer class name, or ``Output``, which becomes the output layer of the task.
    ``block`` names the hidden layer that this layer belongs to (its pooling, its normalisation).
    """

    name: str
    kind: str
    arguments: dict[str, Json] = {}
    block: str = ""
    hidden: bool = False


class TrainingSpec(Frozen):
    """How weights are updated: optimizer (``kind`` and Keras's arguments), number of epochs, batch sizes in rows."""

    optimizer: dict[str, Json] = {}
    epochs: StrictInt = Field(default=100, ge=1, le=1_000_000, description="passes over the training part")
    batch_size: StrictInt = Field(default=32, ge=1, description="rows per weight update")
    validation_batch_size: StrictInt = Field(
        default=1024, ge=1, description="rows per evaluation step; changes only the last bits"
    )


class ArmSpec(Frozen):
    """One training recipe. ``controllers`` act on metrics during training (early stopping, reduce on plateau)."""

    data: DataSpec
    layers: tuple[LayerSpec, ...]
    training: TrainingSpec
    controllers: tuple[dict[str, Json], ...] = ()

    # ---- looking ----

    @property
    def hidden_layers(self) -> tuple[LayerSpec, ...]:
        return tuple(layer for layer in self.layers if layer.hidden)

    def to_json(self) -> dict[str, Json]:
        plain: dict[str, Json] = json.loads(self.model_dump_json())
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Json]) -> ArmSpec:
        return cls.model_validate_json(json.dumps(plain))

    @property
    def digest(self) -> str:
        """Identity of the recipe: SHA-256 of its canonical JSON, 64 hex digits."""
        return canonical_digest(self.to_json())

    # ---- changing: each returns a new spec ----

    def with_layers(self, layers: tuple[LayerSpec, ...]) -> ArmSpec:
        return self.model_copy(update={"layers": layers})

    def map_hidden(self, change: Callable[[LayerSpec], LayerSpec]) -> ArmSpec:
        """Replace every hidden layer by ``change(layer)``."""
        return self.with_layers(tuple(change(layer) if layer.hidden else layer for layer in self.layers))

    def insert_first(self, layer: LayerSpec) -> ArmSpec:
        return self.with_layers((layer, *self.layers))

    def insert_after_hidden(self, make: Callable[[LayerSpec], LayerSpec], *, end_of_block: bool) -> ArmSpec:
        """Insert ``make(hidden)`` behind every hidden layer, or behind all that belongs to it (its pooling)."""
        layers = list(self.layers)
        for hidden in self.hidden_layers:
            where = max(
                index
                for index, layer in enumerate(layers)
                if layer.name == hidden.name or (end_of_block and layer.block == hidden.name)
            )
            layers.insert(where + 1, make(hidden))
        return self.with_layers(tuple(layers))

    def with_training(self, **changes: Json) -> ArmSpec:
        return self.model_copy(update={"training": self.training.model_copy(update=changes)})

    def with_preprocessing(self, step: dict[str, Json]) -> ArmSpec:
        steps = (*self.data.preprocessing, step)
        return self.model_copy(update={"data": self.data.model_copy(update={"preprocessing": steps})})

    def with_controller(self, controller: dict[str, Json]) -> ArmSpec:
        return self.model_copy(update={"controllers": (*self.controllers, controller)})


class Difference(Frozen):
    """One place where two specs differ. ``None`` means absent."""

    path: str
    before: Json = None
    after: Json = None

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.path}: {show(self.after)}"
        if self.after is None:
            return f"- {self.path}: {show(self.before)}"
        return f"~ {self.path}: {show(self.before)} → {show(self.after)}"


def show(value: Json) -> str:
    """A plain value on one line, short."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {show(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(show(item) for item in value) + "]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def differences(before: ArmSpec, after: ArmSpec) -> tuple[Difference, ...]:
    """All places in which two specs differ, layers matched by name and controllers by kind."""
    old, new = dict(_places(before)), dict(_places(after))
    found = [
        Difference(path=path, before=old.get(path), after=new.get(path))
        for path in dict.fromkeys([*old, *new])
        if old.get(path) != new.get(path)
    ]
    common_old = [layer.name for layer in before.layers if f"layers.{layer.name}" in new]
    common_new = [layer.name for layer in after.layers if f"layers.{layer.name}" in old]
    if common_old != common_new:
        found.append(Difference(path="layers.order", before=common_old, after=common_new))
    return tuple(found)


def _places(spec: ArmSpec) -> Iterator[tuple[str, Json]]:
    plain = spec.to_json()
    yield "data.kind", plain["data"]["kind"]
    for section in ("parameters", "split"):
        for key, value in plain["data"][section].items():
            yield f"data.{'split.' if section == 'split' else ''}{key}", value
    for step in plain["data"]["preprocessing"]:
        yield f"data.preprocessing.{step['kind']}", step
    for layer in plain["layers"]:
        yield f"layers.{layer['name']}", layer["kind"]
        for key, value in layer["arguments"].items():
            yield f"layers.{layer['name']}.{key}", value
    for key, value in plain["training"].pop("optimizer").items():
        yield f"training.optimizer.{key}", value
    for key, value in plain["training"].items():
        yield f"training.{key}", value
    for controller in plain["controllers"]:
        yield f"controllers.{controller['kind']}", controller


def canonical_digest(plain: Json) -> str:
    """SHA-256 of a plain value's canonical JSON (sorted keys, no white space, no non-finite numbers)."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


__all__ = [
    "ArmSpec",
    "DataSpec",
    "Difference",
    "FiniteFloat",
    "Frozen",
    "LayerSpec",
    "SplitSpec",
    "TrainingSpec",
    "canonical_digest",
    "differences",
    "show",
]
