"""An arm as plain data: everything that decides the numbers of a training except the seed.

Frozen, JSON-able, free of Keras. A technique is a function from one :class:`ArmSpec` to another; the training wing
turns a spec and a seed into Keras objects.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, model_validator
from pydantic_core import PydanticCustomError

from betterdl_cli.parameters import found

Json = Any  # values that survive json.dumps -> json.loads unchanged

MAX_COUNT = 2**31 - 1  # of rows or steps: TensorFlow counts no further in 32 bits


class Frozen(BaseModel):
    """Base of all plain data here: strict types, no unknown keys, no changes after construction."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


def _rows(value: Any) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or (isinstance(value, int) and value < 1) or (isinstance(value, float) and not 0 < value < 1):
        raise PydanticCustomError(
            "rows",
            "expected a number of rows (1, 2, …) or a fraction between 0 and 1, found {found}",
            {"found": found(value)},
        )
    return value


def _validation_rows(value: Any) -> Any:
    if value is None or value == "test":
        return value
    try:
        return _rows(value)
    except PydanticCustomError:
        raise PydanticCustomError(
            "rows",
            "expected a number of rows (1, 2, …), a fraction between 0 and 1, test (monitor the test set) or null, "
            "found {found}",
            {"found": found(value)},
        ) from None


Rows = Annotated[int | float, BeforeValidator(_rows)]
ValidationRows = Annotated[int | float | Literal["test"] | None, BeforeValidator(_validation_rows)]


class SplitSpec(Frozen):
    """How rows are divided into parts: integers are rows, numbers below 1 are fractions of all rows."""

    train: Rows = Field(description="rows (integer) or fraction of all rows for training")
    validation: ValidationRows = Field(
        default=None, description="rows or fraction for validation; 'test' monitors the test set; null: none"
    )
    test: Rows = Field(description="rows or fraction for the test set")
    order: Literal["shuffled", "given"] = Field(
        default="shuffled",
        description="'given': first rows train, then validation, then test; 'shuffled': stratified",
    )
    seed: StrictInt = Field(default=0, ge=0, description="seed of the shuffle")
    resplit: bool = Field(default=False, description="true: every run seed draws a new split")

    @model_validator(mode="after")
    def _fits(self) -> SplitSpec:
        parts = [part for part in (self.train, self.validation, self.test) if isinstance(part, float)]
        if sum(parts) > 1 + 1e-9:
            raise PydanticCustomError(
                "split", "expected fractions that add up to at most 1, found {sum}", {"sum": f"{sum(parts):g}"}
            )
        if self.resplit and self.order == "given":
            raise PydanticCustomError("split", "expected order: shuffled with resplit: true, found order: given")
        return self


class DataSpec(Frozen):
    """The data set, its split, and what is fitted on the training part and applied to all parts."""

    kind: str
    parameters: dict[str, Json] = {}
    split: SplitSpec = SplitSpec(train=0.6, validation=0.2, test=0.2)
    preprocessing: tuple[dict[str, Json], ...] = ()
    row_limit: StrictInt | None = None  # most rows of one part, for smoke runs


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
    batch_size: StrictInt = Field(default=32, ge=1, le=MAX_COUNT, description="rows per weight update")
    validation_batch_size: StrictInt = Field(
        default=1024, ge=1, le=MAX_COUNT, description="rows per evaluation step; changes only the last bits"
    )


class ArmSpec(Frozen):
    """One training recipe. ``controllers`` act on metrics during training (early stopping, reduce on plateau).

    With a ``seed_stream``, everything random but the split comes from other seeds than in the arms without.
    """

    data: DataSpec
    layers: tuple[LayerSpec, ...]
    training: TrainingSpec
    controllers: tuple[dict[str, Json], ...] = ()
    seed_stream: str = ""

    # ---- looking ----

    @property
    def hidden_layers(self) -> tuple[LayerSpec, ...]:
        return tuple(layer for layer in self.layers if layer.hidden)

    def to_json(self) -> dict[str, Json]:
        plain: dict[str, Json] = json.loads(self.model_dump_json())
        if not self.seed_stream:
            del plain["seed_stream"]
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
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def differences(before: ArmSpec, after: ArmSpec) -> tuple[Difference, ...]:
    """All places in which two specs differ, layers matched by name and controllers by kind."""
    names = {layer.name for layer in before.layers} & {layer.name for layer in after.layers}
    old, new = dict(_places(before, names)), dict(_places(after, names))
    found = [
        Difference(path=path, before=old.get(path), after=new.get(path))
        for path in dict.fromkeys([*old, *new])
        if old.get(path) != new.get(path)
    ]
    common_old = [layer.name for layer in before.layers if layer.name in names]
    common_new = [layer.name for layer in after.layers if layer.name in names]
    if common_old != common_new:
        found.append(Difference(path="layers.order", before=common_old, after=common_new))
    return tuple(found)


def _places(spec: ArmSpec, shared_layers: set[str]) -> Iterator[tuple[str, Json]]:
    plain = spec.to_json()
    data = plain["data"]
    yield "data.kind", data["kind"]
    yield from ((f"data.{key}", value) for key, value in data["parameters"].items())
    yield from ((f"data.split.{key}", value) for key, value in data["split"].items())
    yield from ((f"data.preprocessing.{step['kind']}", step) for step in data["preprocessing"])
    yield "data.row_limit", data["row_limit"]
    previous = "the input"
    for layer in plain["layers"]:
        place = f"layers.{layer['name']}"
        if layer["name"] in shared_layers:
            yield place, layer["kind"]
            yield from ((f"{place}.{key}", value) for key, value in layer["arguments"].items())
        else:
            arguments = ", ".join(f"{key}={show(value)}" for key, value in layer["arguments"].items())
            yield place, f"{layer['kind']}({arguments}) after {previous}"
        previous = layer["name"]
    yield from ((f"training.optimizer.{key}", value) for key, value in plain["training"].pop("optimizer").items())
    yield from ((f"training.{key}", value) for key, value in plain["training"].items())
    for controller in plain["controllers"]:
        kind = controller.pop("kind")
        yield f"controllers.{kind}", controller
    if spec.seed_stream:
        yield "seeds", f"those of a stream of its own ({spec.seed_stream})"


def canonical_digest(plain: Json) -> str:
    """SHA-256 of a plain value's canonical JSON (sorted keys, no white space, no non-finite numbers)."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
