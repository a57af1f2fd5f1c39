"""An experiment: one validated config, with every default filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, StrictStr
from pydantic_core import PydanticCustomError

from betterdl_cli.spec import DataSpec, Frozen, Json, TrainingSpec, canonical_digest

MAX_SEEDS = 10_000
SEED_RANGE = re.compile(r"(\d{1,9})\s*(?:\.\.|-)\s*(\d{1,9})")
NAME = r"[a-z0-9][a-z0-9._-]*"


def _seeds(value: Any) -> tuple[int, ...]:
    seeds = _seed_list(value)
    if not seeds:
        raise PydanticCustomError("seeds", "expected at least one seed, found none")
    if len(seeds) > MAX_SEEDS:
        raise PydanticCustomError("seeds", "expected at most 10000 seeds, found {n}", {"n": len(seeds)})
    if len(set(seeds)) < len(seeds):
        raise PydanticCustomError("seeds", "expected different seeds, found one twice")
    return tuple(seeds)


def _seed_list(value: Any) -> list[int]:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SEEDS:
        return list(range(value))
    if isinstance(value, str) and (match := SEED_RANGE.fullmatch(value.strip())):
        first, last = int(match[1]), int(match[2])
        if last - first >= MAX_SEEDS:
            raise PydanticCustomError("seeds", "expected at most 10000 seeds, found {n}", {"n": last - first + 1})
        return list(range(first, last + 1))
    if isinstance(value, list) and all(type(seed) is int and 0 <= seed < 2**31 for seed in value):
        return value
    raise PydanticCustomError(
        "seeds",
        "expected a number of seeds (10), a list ([3, 5, 8]) or a range with both ends (10..19), found {found}",
        {"found": str(value)[:60]},
    )


class Store(Frozen):
    """What is kept of every run beside its history and scores."""

    weights: StrictBool = Field(default=True, description="final weights (weights.npz)")
    predictions: StrictBool = Field(default=True, description="predictions of the final model (predictions.npz)")


class Header(Frozen):
    """The top level of a config. The sections that depend on a kind are checked apart."""

    name: StrictStr = Field(pattern=f"^{NAME}$", max_length=100)
    data: Any
    model: Any
    training: Any = {}
    base: Any = {}
    techniques: Any = {}
    arms: Any = {}
    seeds: Annotated[tuple[int, ...], BeforeValidator(_seeds)] = tuple(range(10))
    metric: StrictStr | None = None
    store: Store = Store()


class Use(Frozen):
    """A technique with all its parameters."""

    technique: str
    parameters: dict[str, Json]


class Recipe(Frozen):
    """One arm to be: its id, the techniques on top of the base, and the place in the config that asks for it."""

    id: str
    uses: tuple[Use, ...]
    path: tuple[str | int, ...] = ()


class Experiment(Frozen):
    """A validated experiment. ``resolved`` is its config with defaults; ``recipes`` are the treatments in order."""

    name: str
    data: DataSpec
    model: Use
    training: TrainingSpec
    base: tuple[Use, ...]
    recipes: tuple[Recipe, ...]
    seeds: tuple[int, ...]
    metric: str
    store: Store
    resolved: dict[str, Json]
    smoke: bool = False

    @property
    def id(self) -> str:
        """Short hash of what is trained: not of name, seeds or what is stored."""
        trained: Mapping[str, Json] = {
            key: value for key, value in self.resolved.items() if key not in {"name", "seeds", "store"}
        }
        return canonical_digest({**trained, "row_limit": self.data.row_limit})[:8]

    @property
    def directory_name(self) -> str:
        return f"{self.name}-smoke-{self.id}" if self.smoke else f"{self.name}-{self.id}"

    def reduced(self) -> Experiment:
        """The same experiment in seconds: at most 3 epochs, 2 seeds and 64 rows of each part."""
        epochs, seeds = min(self.training.epochs, 3), self.seeds[:2]
        resolved = {
            **self.resolved,
            "seeds": list(seeds),
            "training": {**self.resolved["training"], "epochs": epochs},
        }
        return self.model_copy(
            update={
                "training": self.training.model_copy(update={"epochs": epochs}),
                "data": self.data.model_copy(update={"row_limit": 64}),
                "seeds": seeds,
                "resolved": resolved,
                "smoke": True,
            }
        )
