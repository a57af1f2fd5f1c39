"""From an experiment to its arms: the control, one treatment per technique, stacked arms; and what cannot be trained.

Order of application: the model, then ``base`` as written, then the techniques of the arm as written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from betterdl_cli.config.experiment import CONTROL, Experiment, Recipe, Use
from betterdl_cli.datasets.base import DATASETS
from betterdl_cli.errors import ConfigError, Fault, Path, nearest
from betterdl_cli.models.base import MODELS
from betterdl_cli.optimizers import CLIPPING
from betterdl_cli.spec import ArmSpec, Difference, Frozen, differences
from betterdl_cli.tasks import TASKS
from betterdl_cli.techniques.base import AREAS, TECHNIQUES, NotApplicableError


class Arm(Frozen):
    """One arm of an experiment. ``differences`` are those against ``reference``, the arm it is compared with."""

    id: str
    area: str
    techniques: tuple[Use, ...]
    reference: str | None
    spec: ArmSpec
    differences: tuple[Difference, ...] = ()


def expand(experiment: Experiment) -> tuple[Arm, ...]:
    """All arms, the control first. Raises :class:`ConfigError` for arms that cannot be or should not be trained."""
    faults: list[Fault] = []
    control = _base_arm(experiment, faults)
    if faults:
        raise ConfigError(faults)
    faults.extend(untrainable(control))
    known = {fault.message for fault in faults}
    arms = [Arm(id=CONTROL, area="", techniques=(), reference=None, spec=control)]
    specs = {CONTROL: control}
    first: dict[str, str] = {}  # digest of a spec -> the first arm that has it
    for recipe in experiment.recipes:
        plain = control.model_copy(update={"seed_stream": recipe.seed_stream})
        spec = _apply(plain, recipe.uses, recipe.path, faults)
        reference = specs.get(recipe.reference)
        if spec is None or reference is None:  # the fault of the reference says enough
            continue
        specs[recipe.id] = spec
        changed = differences(reference, spec)
        twin = first.setdefault(spec.digest, recipe.id)
        if not changed:
            who = "the control" if recipe.reference == CONTROL else f"'{recipe.reference}'"
            faults.append(Fault(f"'{recipe.id}' changes nothing: {who} is already like that", recipe.path))
        elif twin != recipe.id:
            faults.append(Fault(f"expected different arms, found '{recipe.id}' the same as '{twin}'", recipe.path))
        faults.extend(fault for fault in untrainable(spec, recipe.path) if fault.message not in known)
        arms.append(_arm(recipe, spec, changed))
    if faults:
        unique = {(fault.message, fault.path): fault for fault in faults}
        raise ConfigError(list(unique.values()))
    return tuple(arms)


def _arm(recipe: Recipe, spec: ArmSpec, changed: tuple[Difference, ...]) -> Arm:
    areas = {TECHNIQUES.get(use.technique).area for use in recipe.uses}
    return Arm(
        id=recipe.id,
        area=" + ".join(area for area in AREAS if area in areas),
        techniques=recipe.uses,
        reference=recipe.reference,
        spec=spec,
        differences=changed,
    )


def _base_arm(experiment: Experiment, faults: list[Fault]) -> ArmSpec:
    rank = DATASETS.get(experiment.data.kind).rank
    model = MODELS.get(experiment.model.technique)
    if rank not in model.ranks:
        faults.append(
            Fault(
                f"expected inputs with {_axes(model.ranks)} for the model {experiment.model.technique}, "
                f"found the dataset {experiment.data.kind} with {_axes((rank,))}",
                ("model", "kind"),
            )
        )
        return ArmSpec(data=experiment.data, layers=(), training=experiment.training)
    layers = model.model_validate_json(json.dumps(experiment.model.parameters)).layers(rank)
    plain = ArmSpec(data=experiment.data, layers=layers, training=experiment.training)
    return _apply(plain, experiment.base, ("base",), faults) or plain


def _axes(ranks: Sequence[int]) -> str:
    names = {1: "columns", 2: "steps × columns", 3: "height × width × channels"}
    return " or ".join(names.get(rank, f"{rank} axes") for rank in ranks)


def _apply(spec: ArmSpec, uses: Sequence[Use], path: Path, faults: list[Fault]) -> ArmSpec | None:
    for use in uses:
        where = (*path, use.technique) if path[0] == "base" else path
        technique = TECHNIQUES.get(use.technique).model_validate_json(json.dumps(use.parameters))
        try:
            changed = technique.apply(spec)
        except NotApplicableError as error:
            named = str(error) if where[-1] == use.technique else f"{use.technique}: {error}"
            faults.append(Fault(named, where))
            return None
        names = [layer.name for layer in changed.layers]
        kinds = [str(controller["kind"]) for controller in changed.controllers]
        if len(set(names)) < len(names) or len(set(kinds)) < len(kinds):
            faults.append(Fault(f"expected {use.technique} once per arm, found it applied twice", where))
            return None
        spec = changed
    return spec


# ---- what cannot be trained: known before any training starts ----


def untrainable(spec: ArmSpec, path: Path = ()) -> list[Fault]:
    """Faults of one arm that would surface late, or never, in training."""
    checks: tuple[Callable[[ArmSpec, Path], list[Fault]], ...] = (
        _schedule_conflict,
        _several_clippings,
        _unknown_monitor,
        _batch_norm_of_one_row,
    )
    return [fault for one in checks for fault in one(spec, path)]


def _schedule_conflict(spec: ArmSpec, path: Path) -> list[Fault]:
    scheduled = isinstance(spec.training.optimizer.get("learning_rate"), dict)
    plateau = any(controller["kind"] == "reduce_on_plateau" for controller in spec.controllers)
    if not (scheduled and plateau):
        return []
    return [
        Fault(
            "expected one learning-rate schedule, found one in the optimizer (training.optimizer.learning_rate) and "
            "reduce on plateau: give the optimizer a number",
            path or ("base",),
        )
    ]


def _several_clippings(spec: ArmSpec, path: Path) -> list[Fault]:
    given = [name for name in CLIPPING if spec.training.optimizer.get(name) is not None]
    if len(given) < 2:
        return []
    return [
        Fault(
            f"expected one kind of gradient clipping, found {' and '.join(given)}",
            path or ("training", "optimizer"),
        )
    ]


def _unknown_monitor(spec: ArmSpec, path: Path) -> list[Fault]:
    task = TASKS[DATASETS.get(spec.data.kind).task]
    has_validation = spec.data.split.validation is not None
    known = task.recorded(validation=has_validation)
    faults = []
    for controller in spec.controllers:
        monitor = controller.get("monitor")
        if monitor is None or monitor in known:
            continue
        where = (*path, "monitor") if len(path) == 2 and path[0] == "techniques" else path or ("base",)
        if monitor in task.recorded(validation=True) and not has_validation:
            message = (
                f"cannot monitor {monitor}: the split has no validation part; "
                "add data.split.validation (rows, a fraction, or test)"
            )
            faults.append(Fault(message, where))
        else:
            message = f"expected a metric to monitor ({', '.join(known)}), found '{monitor}'"
            faults.append(Fault(message, where, suggestion=nearest(str(monitor), known)))
    return faults


def _batch_norm_of_one_row(spec: ArmSpec, path: Path) -> list[Fault]:
    block = normalised_over_rows(spec)
    if block is None or (spec.training.batch_size > 1 and spec.data.split.train != 1):
        return []
    return [
        Fault(
            f"batch normalisation of '{block}' needs more than one row per batch: with one row it "
            "outputs a constant; raise training.batch_size",
            path or ("base",),
        )
    ]


def normalised_over_rows(spec: ArmSpec) -> str | None:
    """The first layer whose batch normalisation averages over the rows of a batch alone, not over places too."""
    rank = DATASETS.get(spec.data.kind).rank
    for layer in spec.layers:
        if layer.kind == "Flatten" or layer.kind.startswith("Global"):
            rank = 1
        if layer.kind == "BatchNormalization" and rank == 1:
            return layer.block
    return None
