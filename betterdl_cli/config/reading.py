"""From plain data to an :class:`Experiment`: every section against the class its kind names, all faults together."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from betterdl_cli.config.designs import designed
from betterdl_cli.config.experiment import AUTO, CONTROL, Experiment, Header, Judging, Recipe, Use, name_fault
from betterdl_cli.config.places import LEARNING_RATE, OPTIMIZER, Place, kinds_at
from betterdl_cli.datasets.base import DATASETS
from betterdl_cli.errors import ConfigError, Fault, Path, nearest, shortened
from betterdl_cli.parameters import check, check_kind, found
from betterdl_cli.registry import UnknownKindError
from betterdl_cli.spec import DataSpec, Json, SplitSpec, TrainingSpec, show
from betterdl_cli.tasks import TASKS
from betterdl_cli.techniques.base import TECHNIQUES, Technique

MAX_ARMS = 1000
MAX_ARM_ID = 200  # characters: an id becomes part of file names


def read_experiment(plain: Mapping[str, Any]) -> Experiment:
    """Raises :class:`ConfigError` with all faults; their paths are those of ``plain``, without line numbers."""
    faults: list[Fault] = []
    header = check(Header, plain, (), faults)
    data = _data(plain["data"], faults) if "data" in plain else None
    model = _of_kind(plain["model"], ("model",), faults) if "model" in plain else None
    training = _training(plain.get("training", {}), faults)
    base = _uses(plain.get("base", {}), "base", faults)
    techniques, resolved_techniques = _techniques(plain.get("techniques", {}), faults)
    stacked = _stacked(plain.get("arms", {}), techniques, plain.get("techniques"), faults)
    metric = _metric(plain.get("metric"), plain.get("data"), data, faults)
    recipes: tuple[Recipe, ...] = ()
    if header is not None:
        recipes = designed(header.design, techniques, stacked, aa=header.aa, faults=faults)
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
        judging=Judging(
            equivalence_margin=(margin := _margin(header.equivalence_margin, metric)),
            alpha=header.alpha,
            design=header.design,
            adaptive=plain.get("seeds") == AUTO,
        ),
        store=header.store,
        resolved={
            "name": header.name,
            "data": {"kind": data.kind, **data.parameters, "split": _plain(data.split)},
            "model": {"kind": model_use.technique, **model_use.parameters},
            "training": _plain(training),
            "base": {use.technique: use.parameters for use in base},
            "techniques": resolved_techniques,
            "arms": {recipe.id: {use.technique: use.parameters for use in recipe.uses} for recipe in stacked},
            "design": header.design,
            "aa": header.aa,
            "seeds": AUTO if plain.get("seeds") == AUTO else list(header.seeds),
            "metric": metric,
            "equivalence_margin": margin,
            "alpha": header.alpha,
            "store": _plain(header.store),
        },
    )


def _margin(given: float | None, metric: str) -> float | None:
    """One percentage point of accuracy where the config says nothing; a loss has no natural unit."""
    return given if given is not None or not metric.endswith("_accuracy") else 0.01


def _plain(model: Any) -> dict[str, Json]:
    plain: dict[str, Json] = model.model_dump(mode="json")
    return plain


# ---- sections ----


def _of_kind(value: Any, place: Place, faults: list[Fault]) -> tuple[str, Any] | None:
    kinds = kinds_at(place)
    assert kinds is not None
    return check_kind(value, place, faults, kinds.get, kinds.names, default=kinds.default, others=kinds.others)


def _data(value: Any, faults: list[Fault]) -> DataSpec | None:
    own = {key: item for key, item in value.items() if key != "split"} if isinstance(value, Mapping) else value
    checked = _of_kind(own, ("data",), faults)
    split: SplitSpec | None = DataSpec.model_fields["split"].default
    if isinstance(value, Mapping) and value.get("split") is not None:
        split = check(SplitSpec, value["split"], ("data", "split"), faults)
    if checked is None or split is None:
        return None
    return DataSpec(kind=checked[0], parameters=_plain(checked[1]), split=split)


def _training(value: Any, faults: list[Fault]) -> TrainingSpec | None:
    if not isinstance(value, Mapping):
        return check(TrainingSpec, value, ("training",), faults)
    optimizer = _of_kind(value.get("optimizer", {}), OPTIMIZER, faults)
    arguments: dict[str, Json] = {}
    if optimizer is not None:
        arguments = {"kind": optimizer[0], **_plain(optimizer[1])}
        arguments["learning_rate"] = _learning_rate(arguments["learning_rate"], faults)
    rest = {key: item for key, item in value.items() if key != "optimizer"}
    training = check(TrainingSpec, rest, ("training",), faults)
    return training.model_copy(update={"optimizer": arguments}) if training else None


def _learning_rate(value: Any, faults: list[Fault]) -> Json:
    if isinstance(value, Mapping):
        schedule = _of_kind(value, LEARNING_RATE, faults)
        return {"kind": schedule[0], **_plain(schedule[1])} if schedule else None
    return value


def _metric(name: Any, written: Any, data: DataSpec | None, faults: list[Fault]) -> str:
    """The primary metric; where ``data`` could not be read, any that the section as ``written`` may still allow."""
    kind = written.get("kind") if isinstance(written, Mapping) else None
    tasks = (TASKS[DATASETS.get(kind).task],) if kind in DATASETS.names else tuple(TASKS.values())
    if name is None:
        return tasks[0].default_metric
    parts = ("test", "val") if data is None or data.split.validation is not None else ("test",)
    known = list(
        dict.fromkeys(f"{part}_{metric}" for part in parts for task in tasks for metric in (task.metric, "loss"))
    )
    if not isinstance(name, str):
        return ""  # said by the header
    if name not in known:
        message = f"expected one of {', '.join(known)}, found '{shortened(name)}'"
        if name.startswith("val_") and "val" not in parts:
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
        path: Path = ("techniques", name)
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
        different = {**given, **{key: _different(given[key], (*path, key), faults) for key in swept}}
        for single, suffix in _combinations(different, swept):
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


def _different(values: list[Any], path: Path, faults: list[Fault]) -> list[Any]:
    """The values of a sweep without those that stand there twice, each of which is a fault."""
    first: dict[str, Any] = {}
    for index, value in enumerate(values):
        text = json.dumps(value, sort_keys=True)
        if text in first:
            faults.append(Fault(f"expected different values to sweep, found {show(value)} twice", (*path, index)))
        first.setdefault(text, value)
    return list(first.values())


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
    """Point a fault of one combination at the element of the list it came from; an empty list has none."""
    if len(fault.path) < 3:
        return fault
    key = str(fault.path[2])
    if given.get(key) == [] and len(fault.path) == 3 and not fault.message.startswith("expected at least"):
        return Fault("expected a value, or a list of at least one to sweep, found an empty list", fault.path)
    if isinstance(given.get(key), list):
        for index, item in enumerate(given[key]):
            if item is single.get(key):
                path = (*fault.path[:3], index, *fault.path[3:])
                return Fault(fault.message, path, fault.suggestion, at_key=fault.at_key)
    return fault


def _stacked(
    value: Any, techniques: Mapping[str, list[Recipe]], written: Any, faults: list[Fault]
) -> tuple[Recipe, ...]:
    """Arms of several techniques: a list of names, or a mapping of names to parameters.

    ``techniques`` are what the section of that name became, ``written`` is the section itself.
    """
    if not isinstance(value, Mapping):
        faults.append(Fault(f"expected a mapping of arms, found {found(value)}", ("arms",)))
        return ()
    recipes = []
    for arm, content in value.items():
        path = ("arms", arm)
        if fault := name_fault(arm):
            faults.append(Fault(fault, path, at_key=True))
        elif arm == CONTROL:
            message = f"expected another name, found '{CONTROL}', which is the name of the arm without techniques"
            faults.append(Fault(message, path, at_key=True))
        if isinstance(content, list) and content:
            uses = _named_uses(content, path, techniques, written, faults)
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
    names: list[Any],
    path: Path,
    techniques: Mapping[str, list[Recipe]],
    written: Mapping[str, Any],
    faults: list[Fault],
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
            example = _first_settings(names, written)
            arm = f"{path[-1]}: {show(example)}"
            message = f"expected one setting of {name}, found a sweep: write the arm with one of them, such as '{arm}'"
            faults.append(Fault(message, where))
        elif settings:
            uses.extend(settings[0].uses)
        elif name not in techniques and (cls := _technique(name, where, faults, at_key=False)):
            uses.extend(_by_default(name, cls, where, faults))
    return tuple(uses)


def _first_settings(names: list[Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """An arm of these techniques as a mapping, with the first value of what is swept."""
    settings: dict[str, Any] = {}
    for name in names:
        if isinstance(name, str) and name in TECHNIQUES.names:
            given, cls = written.get(name), TECHNIQUES.get(name)
            given = given if isinstance(given, Mapping) else {}
            settings[name] = {key: item[0] if _is_sweep(cls, key, item) else item for key, item in given.items()}
    return settings


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
    seen: set[str] = set()
    for recipe in recipes:
        if len(recipe.id) > MAX_ARM_ID:
            message = f"expected a sweep with arm names of at most {MAX_ARM_ID} characters, found {found(recipe.id)}"
            faults.append(Fault(message, recipe.path))
        if recipe.id in seen:
            faults.append(Fault(f"expected arms with different names, found '{recipe.id}' twice", recipe.path))
        seen.add(recipe.id)
