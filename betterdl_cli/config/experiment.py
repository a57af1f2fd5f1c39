"""An experiment: one validated config, with every default filled in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictStr
from pydantic_core import PydanticCustomError

from betterdl_cli.parameters import found
from betterdl_cli.spec import DataSpec, Frozen, Json, TrainingSpec, canonical_digest

Design = Literal["one-at-a-time", "leave-one-out", "factorial"]
CONTROL = "control"
MAX_SEEDS = 10_000
AUTO = "auto"
# With ``seeds: auto``: after how many pairs the evidence is looked at, and with which share of alpha each time, so that
# all looks together claim wrongly no more often than alpha says (benchmarks/calibration.py).
LOOKS, LOOK_SHARE = (8, 12, 20, 30), 0.316
MAX_SEED = 2**31 - 1
SEED_RANGE = re.compile(r"([0-9]{1,40})\s*(?:\.\.|-)\s*([0-9]{1,40})")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
MAX_NAME = 100


def name_fault(name: str) -> str | None:
    """What is wrong with the name of an experiment or arm, which becomes the name of a folder; None if nothing."""
    if len(name) > MAX_NAME:
        return f"expected a name of at most {MAX_NAME} characters, found {len(name)} characters"
    if NAME.fullmatch(name):
        return None
    return f"expected a name of a-z, 0-9, '.', '_' and '-' that begins with a letter or a digit, found {found(name)}"


def _name(name: str) -> str:
    if fault := name_fault(name):
        raise PydanticCustomError("name", "{fault}", {"fault": fault})
    return name


def checked_seeds(value: Any) -> tuple[int, ...]:
    """The seeds that a number, a list or a range names. Raises PydanticCustomError."""
    seeds = _seed_list(value)
    fitting = [seed for seed in seeds if _is_seed(seed)]
    faults = []
    if not seeds:
        faults.append("expected at least one seed, found none")
    if unfit := [found(seed) for seed in seeds if not _is_seed(seed)]:
        faults.append(f"expected whole numbers from 0 to {MAX_SEED} as seeds, found {_several(unfit)}")
    if twice := [str(seed) for seed, times in Counter(fitting).items() if times > 1]:
        faults.append(f"expected different seeds, found {_several(twice)} twice")
    if faults:
        raise _seeds_error("; ".join(faults))
    return tuple(seeds)


def _is_seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SEED


def _seed_list(value: Any) -> Sequence[Any]:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return range(_at_most(value))
    if isinstance(value, str) and (match := SEED_RANGE.fullmatch(value.strip())):
        first, last = int(match[1]), int(match[2])
        if first > last:
            raise _seeds_error(f"expected a range from a lower to a higher seed, found {value}")
        _at_most(last - first + 1)
        return list(range(first, last + 1))
    if isinstance(value, list):
        _at_most(len(value))
        return value
    if value == AUTO:
        return range(LOOKS[0])
    expected = "a number of seeds (10), a list ([3, 5, 8]), a range with both ends (10..19) or auto"
    raise _seeds_error(f"expected {expected}, found {found(value)}")


def _at_most(number: int) -> int:
    if number > MAX_SEEDS:
        raise _seeds_error(f"expected at most {MAX_SEEDS} seeds, found {number}")
    return number


def _several(items: Sequence[str]) -> str:
    named = list(dict.fromkeys(items))
    return ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")


def _seeds_error(message: str) -> PydanticCustomError:
    return PydanticCustomError("seeds", "{message}", {"message": message})


class Store(Frozen):
    """What is kept of every run beside its history and scores."""

    weights: StrictBool = Field(default=True, description="final weights (weights.npz)")
    predictions: StrictBool = Field(default=True, description="predictions of the final model (predictions.npz)")


class Header(Frozen):
    """The top level of a config. The sections that depend on a kind are checked apart."""

    name: Annotated[StrictStr, AfterValidator(_name)] = Field(description="the name of the experiment")
    data: Any = Field(description="a mapping with the kind of the dataset (bdl list datasets) and its parameters")
    model: Any = Field(description="a mapping with the kind of the model (bdl list models) and its parameters")
    training: Any = {}
    base: Any = {}
    techniques: Any = {}
    arms: Any = {}
    seeds: Annotated[tuple[int, ...], BeforeValidator(checked_seeds)] = tuple(range(10))
    design: Design = "one-at-a-time"
    aa: StrictBool = False
    metric: StrictStr | None = None
    equivalence_margin: float | None = Field(default=None, gt=0)
    alpha: float = Field(default=0.05, gt=0, le=0.5)
    store: Store = Store()


class Use(Frozen):
    """A technique with all its parameters."""

    technique: str
    parameters: dict[str, Json]


class Recipe(Frozen):
    """One arm to be: its id, the techniques on top of the base, and the place in the config that asks for it.

    ``reference`` is the arm it is held against; a ``seed_stream`` gives it seeds of its own.
    """

    id: str
    uses: tuple[Use, ...]
    path: tuple[str | int, ...] = ()
    reference: str = CONTROL
    seed_stream: str = ""


class Judging(Frozen):
    """How the evidence is judged, chosen before the training.

    ``equivalence_margin``: the smallest difference that matters, in units of the primary metric; None: no such claim.
    ``alpha``: share of wrong claims that is accepted. ``design`` as in the config; ``adaptive``: seeds are added until
    the evidence decides.
    """

    equivalence_margin: float | None = 0.01
    alpha: float = 0.05
    design: Design = "one-at-a-time"
    adaptive: bool = False

    @property
    def alpha_now(self) -> float:
        """What one look may spend."""
        return self.alpha * LOOK_SHARE if self.adaptive else self.alpha


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
    judging: Judging
    store: Store
    resolved: dict[str, Json]
    smoke: bool = False

    @property
    def id(self) -> str:
        """Short hash of what is trained: not of name, seeds, how it is judged or what is stored."""
        apart = {"name", "seeds", "store", "equivalence_margin", "alpha"}
        usual = {"design": "one-at-a-time", "aa": False}
        trained = {
            key: value
            for key, value in self.resolved.items()
            if key not in apart and (key not in usual or usual[key] != value)
        }
        trained["base"] = _in_order(trained["base"])
        trained["arms"] = {arm: _in_order(uses) for arm, uses in trained["arms"].items()}
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
                "judging": self.judging.model_copy(update={"adaptive": False}),
                "resolved": resolved,
                "smoke": True,
            }
        )


def _in_order(uses: Mapping[str, Json]) -> Json:
    """Techniques in a form whose digest depends on their order: they are applied as written."""
    return [[name, parameters] for name, parameters in uses.items()] if len(uses) > 1 else uses
