"""What the words on a command line mean: experiments, arms, runs, or history files."""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from betterdl_cli.analysis.arms import NO_SEED, ArmData
from betterdl_cli.analysis.summary import experiment_arms, seeds_in_words
from betterdl_cli.config import yaml12
from betterdl_cli.errors import UsageError, counted, nearest, shortened
from betterdl_cli.readers.base import read_history
from betterdl_cli.spec import Json, show
from betterdl_cli.store import ExperimentDirectory, Place, Plan, experiments, locate


@dataclass(frozen=True)
class Source:
    """Arms by name. ``plan`` is None for a bare history; ``single`` says that one arm was meant."""

    label: str
    arms: dict[str, ArmData]
    plan: Plan | None = None
    directory: ExperimentDirectory | None = None
    single: bool = False

    @property
    def experiment(self) -> str:
        return self.directory.path.name if self.directory else ""


def find_experiment(word: str, root: pathlib.Path, expected: str = "an experiment") -> ExperimentDirectory:
    """An experiment by its directory, its name under ``root``, its id, or a unique beginning of one of these.

    ``expected`` says in a message what else the word could have been. Raises :class:`UsageError`.
    """
    if not word:  # else the current directory, or whatever is the only one stored
        raise UsageError("expected the name of an experiment, found an empty one")
    if directory := ExperimentDirectory.holding(pathlib.Path(word)):
        return directory
    stored = experiments(root)
    plans = {directory.path: _plan(directory) for directory in stored}
    names = {path: None if plan is None or plan.smoke else plan.name for path, plan in plans.items()}
    readings = (
        [directory for directory in stored if directory.path.name == word],
        [directory for directory in stored if names[directory.path] == word],
        [directory for directory in stored if directory.path.name.startswith(word)],
        [directory for directory in stored if (plan := plans[directory.path]) and plan.id.startswith(word)],
    )
    found = next((reading for reading in readings if reading), [])
    if len(found) == 1:
        return found[0]
    if found:
        facts = distinctions(found)
        listed = "".join(f"\n  {directory.path.name}  {facts[directory.path]}" for directory in found)
        raise UsageError(
            f"'{shortened(word)}' names {len(found)} experiments in {root}; say which one, the beginning of its name "
            f"or id that no other one has is enough:{listed}"
        )
    guess = nearest(word, [*(directory.path.name for directory in stored), *(name for name in names.values() if name)])
    there = counted(len(stored), "experiment") if len(stored) > 5 else ", ".join(path.name for path in names)
    hint = f" (did you mean '{guess}'?)" if guess else f"; stored there: {there or 'nothing'}"
    raise UsageError(f"expected {expected}, found nothing called '{shortened(word)}' in {root}{hint}")


def distinctions(directories: Sequence[ExperimentDirectory]) -> dict[pathlib.Path, str]:
    """What tells stored experiments apart: when each was run last, and settings that its namesakes have otherwise."""
    settings = {directory.path: _settings(directory) for directory in directories}
    found = {}
    for directory in directories:
        mine = settings[directory.path]
        others = [other for path, other in settings.items() if other and _stem(path) == _stem(directory.path)]
        own = [
            f"{key}={show(value)}"
            for key, value in mine.items()
            if any(key not in other or other[key] != value for other in others)
        ]
        more = f" and {len(own) - 4} more" if len(own) > 4 else ""
        found[directory.path] = "  ".join(part for part in (_last_run(directory), ", ".join(own[:4]) + more) if part)
    return found


def _stem(path: pathlib.Path) -> str:
    """The name of an experiment's directory without its id."""
    return path.name.rpartition("-")[0] or path.name


def _settings(directory: ExperimentDirectory) -> dict[str, Json]:
    """The config of a stored experiment by dotted path, with the number of its seeds; empty if it cannot be read."""
    try:
        config = yaml12.parse(directory.experiment_text(), "").data
    except (OSError, ValueError, UsageError):
        return {}
    seeds = config.get("seeds")
    return {**_flat(config, ""), "seeds": len(seeds) if isinstance(seeds, list) else seeds}


def _flat(config: Mapping[str, Json], before: str) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in config.items():
        found |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return found


def _last_run(directory: ExperimentDirectory) -> str:
    """When ``bdl run`` last planned it; empty if nothing tells."""
    try:
        return f"{datetime.datetime.fromtimestamp(directory.changed):%Y-%m-%d %H:%M}"
    except OSError:
        return ""


def resolve(word: str, root: pathlib.Path, expected: str = "an experiment, an arm, a run or a history file") -> Source:
    """What a word means; ``expected`` as for :func:`find_experiment`. Raises :class:`UsageError`."""
    path = pathlib.Path(word)
    if _exists(path) and path.is_file():
        return Source(word, {path.stem: ArmData(label=word, histories={NO_SEED: read_history(path)})}, single=True)
    if _exists(path) and (place := locate(path)):
        return _of_place(place)
    if not _exists(path) and ":" in word:
        experiment, _, arm = word.rpartition(":")
        directory = find_experiment(experiment, root, expected)
        return _of_place(Place(directory, _arm_name(directory, arm)))
    return _of_place(Place(find_experiment(word, root, expected)))


def _plan(directory: ExperimentDirectory) -> Plan | None:
    """The plan, if it can be read."""
    try:
        return directory.plan()
    except UsageError:
        return None


def _exists(path: pathlib.Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for a file, a folder that may not be read
        return False


def _arm_name(directory: ExperimentDirectory, word: str) -> str:
    names = [arm.id for arm in directory.plan().arms]
    found = [name for name in names if name == word] or [name for name in names if name.startswith(word)]
    if len(found) == 1:
        return found[0]
    guess = nearest(word, names)
    hint = f" (did you mean '{guess}'?)" if guess else ""
    raise UsageError(f"expected an arm of {directory.path.name} ({', '.join(names)}), found '{word}'{hint}")


def _of_place(place: Place) -> Source:
    plan = place.directory.plan()
    name = place.directory.path.name
    arms = experiment_arms(place.directory, plan)
    if place.arm is None:
        labelled = {key: _labelled(data, f"{name}:{key}") for key, data in arms.items()}
        return Source(name, labelled, plan, place.directory)
    if place.arm not in arms:
        raise UsageError(f"{place.directory.path}: its plan has no arm '{place.arm}' (it has {', '.join(arms)})")
    data = _labelled(arms[place.arm], f"{name}:{place.arm}")
    if place.seed is not None:
        seed = place.seed
        if seed not in data.records:
            raise UsageError(
                f"{place.directory.run_path(place.arm, seed)}: expected the whole run of a planned seed "
                f"({place.arm} has {seeds_in_words(data.records) if data.records else 'none'}), found "
                f"{'a file that was cut short or changed' if seed in data.unreadable else 'another'}: train it again"
            )
        data = replace(
            data,
            label=f"{data.label}, seed {seed}",
            histories={key: value for key, value in data.histories.items() if key == seed},
            records={seed: data.records[seed]},
            missing=(),
            unreadable=(),
        )
    return Source(data.label, {place.arm: data}, plan, place.directory, single=True)


def _labelled(data: ArmData, label: str) -> ArmData:
    return replace(data, label=label)
