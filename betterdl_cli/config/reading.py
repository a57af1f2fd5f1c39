"""From plain data to an :class:`Experiment`: every section against the class its kind names, all faults together."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from betterdl_cli.config.experiment import Experiment, Header, Recipe, Use, name_fault
from betterdl_cli.datasets.base import DATASETS
from betterdl_cli.errors import ConfigError, Fault, Path, nearest
from betterdl_cli.models.base import MODELS
from betterdl_cli.optimizers import OPTIMIZERS, SCHEDULES, Optimizer, Schedule
from betterdl_cli.parameters import check, check_kind, found
from betterdl_cli.registry import UnknownKindError
from betterdl_cli.spec import DataSpec, Json, SplitSpec, TrainingSpec
from betterdl_cli.tasks import TASKS, Task
from betterdl_cli.techniques.base import TECHNIQUES, Technique

CONTROL = "control"
MAX_ARMS = 1000
MAX_ARM_ID = 200  # characters: an id becomes part of file names


def read_experiment(plain: Mapping[str, Any]) -> Experiment:
    """Raises :class:`ConfigError` with all faults; their paths are those of ``plain``, without line numbers."""
    faults: list[Fault] = []
    header = check(Header, plain, (), faults)
    data = _data(plain["data"], faults) if "data" in plain else None
    model = check_kind(plain["model"], ("model",), faults, MODELS.get, MODELS.names) if "model" in plain else None
    training = _training(plain.get("training", {}), faults)
    base = _uses(plain.get("base", {}), "base", faults)
    techniques, resolved_techniques = _techniques(plain.get("techniques", {}), faults)
    stacked = _stacked(plain.get("arms", {}), techniques, faults)
    task = TASKS[DATASETS.get(data.kind).task] if data else None
    metric = _metric(header.metric, task, data, faults) if header and task and data else ""
    recipes = (*(recipe for group in techniques.values() for recipe in group), *stacked)
    _check_arm_ids(recipes, faults)
    if faults or header is None or data is None or model is None or training is None:
        raise ConfigError(faults)
    model_use = Use(technique=model[0], parameters=_plain(model[1]))
    return Experiment(
        name=header.name,
        data=data,
        model=model_use,
        training=training,
        base=base,
        recipes=recipes,
        seeds=header.seeds,
        metric=metric,
        store=header.store,
        resolved={
            "name": header.name,
            "data": {"kind": data.kind, **data.parameters, "split": _plain(data.split)},
            "model": {"kind": model_use.technique, **model_use.parameters},
            "training": _plain(training),
            "base": {use.technique: use.parameters for use in base},
            "techniques": resolved_techniques,
            "arms": {recipe.id: {use.technique: use.parameters for use in recipe.uses} for recipe in stacked},
            "seeds": list(header.seeds),
            "metric": metric,
            "store": _plain(header.store),
        },
    )


def _plain(model: Any) -> dict[str, Json]:
    plain: dict[str, Json] = model.model_dump(mode="json")
    return plain


# ---- sections ----


def _data(value: Any, faults: list[Fault]) -> DataSpec | None:
    own = {key: item for key, item in value.items() if key != "split"} if isinstance(value, Mapping) else value
    checked = check_kind(own, ("data",), faults, DATASETS.get, DATASETS.names, others=("split",))
    split: SplitSpec | None = SplitSpec(train=0.6, validation=0.2, test=0.2)
    if isinstance(value, Mapping) and value.get("split") is not None:
        split = check(SplitSpec, value["split"], ("data", "split"), faults)
    if checked is None or split is None:
        return None
    return DataSpec(kind=checked[0], parameters=_plain(checked[1]), split=split)


def _training(value: Any, faults: list[Fault]) -> TrainingSpec | None:
    if not isinstance(value, Mapping):
        return check(TrainingSpec, value, ("training",), faults)
    path = ("training", "optimizer")
    optimizer = check_kind(value.get("optimizer", {}), path, faults, _optimizer, tuple(OPTIMIZERS), default="adam")
    arguments: dict[str, Json] = {}
    if optimizer is not None:
        arguments = {"kind": optimizer[0], **_plain(optimizer[1])}
        arguments["learning_rate"] = _learning_rate(arguments["learning_rate"], (*path, "learning_rate"), faults)
    rest = {key: item for key, item in value.items() if key != "optimizer"}
    training = check(TrainingSpec, rest, ("training",), faults)
    return training.model_copy(update={"optimizer": arguments}) if training else None


def _optimizer(kind: str) -> type[Optimizer]:
    if kind not in OPTIMIZERS:
        raise UnknownKindError("optimizer", kind, tuple(OPTIMIZERS))
    return OPTIMIZERS[kind]


def _schedule(kind: str) -> type[Schedule]:
    if kind not in SCHEDULES:
        raise UnknownKindError("learning-rate schedule", kind, tuple(SCHEDULES))
    return SCHEDULES[kind]


def _learning_rate(value: Any, path: Path, faults: list[Fault]) -> Json:
    if isinstance(value, Mapping):
        schedule = check_kind(value, path, faults, _schedule, tuple(SCHEDULES))
        return {"kind": schedule[0], **_plain(schedule[1])} if schedule else None
    return value


def _metric(name: str | None, task: Task, data: DataSpec, faults: list[Fault]) -> str:
    if name is None:
        return task.default_metric
    parts = ("test", "val") if data.split.validation is not None else ("test",)
    known = [f"{part}_{metric}" for part in parts for metric in (task.metric, "loss")]
    if name not in known:
        message = f"expected one of {', '.join(known)}, found '{name}'"
        if name.startswith("val_") and data.split.validation is None:
            message += "; this split has no validation part"
        faults.append(Fault(message, ("metric",), suggestion=nearest(name, known)))
    return name


# ---- techniques ----

_MAPPING_OF_TECHNIQUES = "expected a mapping of techniques to parameters ({} for none)"


def _uses(value: Any, section: str, faults: list[Fault], path: Path = ()) -> tuple[Use, ...]:
    path = path or (section,)
    if not isinstance(value, Mapping):
        faults.append(Fault(f"{_MAPPING_OF_TECHNIQUES}, found {found(value)}", path))
        return ()
    uses = []
    for name, parameters in value.items():
        cls = _technique(name, (*path, name), faults)
        checked = check(cls, parameters if parameters is not None else {}, (*path, name), faults) if cls else None
        if checked is not None:
            uses.append(Use(technique=name, parameters=_plain(checked)))
    return tuple(uses)


def _technique(name: str, path: Path, faults: list[Fault], *, at_key: bool = True) -> type[Technique] | None:
    try:
        return TECHNIQUES.get(name)
    except UnknownKindError as error:
        faults.append(Fault(str(error), path, suggestion=error.suggestion, at_key=at_key))
        return None


def _techniques(value: Any, faults: list[Fault]) -> tuple[dict[str, list[Recipe]], dict[str, Json]]:
    recipes: dict[str, list[Recipe]] = {}
    resolved: dict[str, Json] = {}
    if not isinstance(value, Mapping):
        faults.append(Fault(f"{_MAPPING_OF_TECHNIQUES}, found {found(value)}", ("techniques",)))
        return recipes, resolved
    for name, given in value.items():
        path = ("techniques", name)
        cls = _technique(name, path, faults)
        if cls is None:
            continue
        given = {} if given is None else given
        if not isinstance(given, Mapping):
            faults.append(
                Fault(f"expected a mapping of parameters ({{}} for the defaults), found {found(given)}", path)
            )
            continue
        # in the order of the parameters, not of the file, so that the resolved config makes the same arms
        swept = [key for key in cls.model_fields if key in given and _is_sweep(cls, key, given[key])]
        recipes[name] = []
        if (arms := math.prod(len(given[key]) for key in swept)) > MAX_ARMS:
            faults.append(Fault(f"expected at most {MAX_ARMS} arms, found a sweep of {arms}", path))
            continue
        for single, suffix in _combinations(given, swept):
            own: list[Fault] = []
            checked = check(cls, single, path, own)
            faults.extend(fault for fault in (_at_sweep(fault, given, single) for fault in own) if fault not in faults)
            if checked is not None:
                parameters = _plain(checked)
                recipes[name].append(
                    Recipe(id=name + suffix, uses=(Use(technique=name, parameters=parameters),), path=path)
                )
                resolved[name] = {**parameters, **{key: given[key] for key in swept}}
    return recipes, resolved


def _is_sweep(cls: type[Technique], key: str, value: Any) -> bool:
    """A list for a scalar parameter, or a list of lists for a list-typed one."""
    if not isinstance(value, list) or key not in cls.model_fields or not value:
        return False
    annotation = cls.model_fields[key].annotation
    members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    takes_list = any(get_origin(member) in (tuple, list) for member in members)
    return all(isinstance(item, list) for item in value) if takes_list else True


def _combinations(given: Mapping[str, Any], swept: list[str]) -> Iterator[tuple[dict[str, Any], str]]:
    for values in itertools.product(*(given[key] for key in swept)):
        single = {**given, **dict(zip(swept, values, strict=True))}
        yield single, "".join(f"-{key}-{_in_id(value)}" for key, value in zip(swept, values, strict=True))


def _in_id(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list):
        return "x".join(_in_id(item) for item in value)
    return re.sub(r"[^a-z0-9._-]", "_", str(value).lower())


def _at_sweep(fault: Fault, given: Mapping[str, Any], single: Mapping[str, Any]) -> Fault:
    """Point a fault of one combination at the element of the list it came from."""
    if len(fault.path) < 3:
        return fault
    key = str(fault.path[2])
    if isinstance(given.get(key), list):
        for index, item in enumerate(given[key]):
            if item is single.get(key):
                path = (*fault.path[:3], index, *fault.path[3:])
                return Fault(fault.message, path, fault.suggestion, at_key=fault.at_key)
    return fault


def _stacked(value: Any, techniques: Mapping[str, list[Recipe]], faults: list[Fault]) -> tuple[Recipe, ...]:
    """Arms of several techniques: a list of names, or a mapping of names to parameters."""
    if not isinstance(value, Mapping):
        faults.append(Fault(f"expected a mapping of arms, found {found(value)}", ("arms",)))
        return ()
    recipes = []
    for arm, content in value.items():
        path = ("arms", arm)
        if fault := name_fault(arm):
            faults.append(Fault(fault, path, at_key=True))
        if isinstance(content, list) and content:
            uses = _named_uses(content, path, techniques, faults)
        elif isinstance(content, Mapping) and content:
            uses = _uses(content, "arms", faults, path)
        else:
            given = "none" if isinstance(content, (list, Mapping)) else found(content)
            expected = "expected a list of techniques, or a mapping of techniques to parameters"
            faults.append(Fault(f"{expected}, found {given}", path))
            continue
        recipes.append(Recipe(id=arm, uses=uses, path=path))
    return tuple(recipes)


def _named_uses(
    names: list[Any], path: Path, techniques: Mapping[str, list[Recipe]], faults: list[Fault]
) -> tuple[Use, ...]:
    uses: list[Use] = []
    for index, name in enumerate(names):
        where = (*path, index)
        if not isinstance(name, str):
            faults.append(Fault(f"expected the name of a technique, found {found(name)}", where))
            continue
        if name in names[:index]:
            faults.append(Fault(f"expected {name} once per arm, found it twice", where))
            continue
        settings = techniques.get(name, [])
        if len(settings) > 1:
            faults.append(Fault(f"expected one setting of {name}, found a sweep: give its parameters here", where))
        elif settings:
            uses.extend(settings[0].uses)
        elif name not in techniques and (cls := _technique(name, where, faults, at_key=False)):
            uses.extend(_by_default(name, cls, where, faults))
    return tuple(uses)


def _by_default(name: str, cls: type[Technique], where: Path, faults: list[Fault]) -> tuple[Use, ...]:
    """A technique that is only named, with its defaults; a fault when it has a parameter without one."""
    if required := [key for key, field in cls.model_fields.items() if field.is_required()]:
        message = (
            f"expected {name} under techniques, from where its {' and '.join(required)} would be taken, found only "
            f"its name: list it there, or write this arm as a mapping of techniques to parameters"
        )
        faults.append(Fault(message, where))
        return ()
    return (Use(technique=name, parameters=_plain(cls())),)


def _check_arm_ids(recipes: tuple[Recipe, ...], faults: list[Fault]) -> None:
    if len(recipes) > MAX_ARMS:
        faults.append(Fault(f"expected at most {MAX_ARMS} arms, found {len(recipes)}", recipes[MAX_ARMS].path))
        return
    seen = {CONTROL}
    for recipe in recipes:
        if len(recipe.id) > MAX_ARM_ID:
            message = f"expected a sweep with arm names of at most {MAX_ARM_ID} characters, found {found(recipe.id)}"
            faults.append(Fault(message, recipe.path))
        if recipe.id in seen:
            other = "the control has this name" if recipe.id == CONTROL else "another arm has this name"
            faults.append(Fault(f"expected arms with different names, found '{recipe.id}' twice: {other}", recipe.path))
        seen.add(recipe.id)
