"""What the words A and B of ``bdl compare`` mean: experiments, arms, runs, or history files."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass, replace

from betterdl_cli.analysis.arms import NO_SEED, ArmData
from betterdl_cli.analysis.summary import experiment_arms, seeds_in_words
from betterdl_cli.errors import UsageError, nearest
from betterdl_cli.readers.base import read_history
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


def find_experiment(word: str, root: pathlib.Path) -> ExperimentDirectory:
    """An experiment by its directory, its name under ``root``, or a unique prefix. Raises :class:`UsageError`."""
    if not word:  # else the current directory, or whatever is the only one stored
        raise UsageError("expected the name of an experiment, found an empty one")
    if directory := ExperimentDirectory.holding(pathlib.Path(word)):
        return directory
    stored = experiments(root)
    exact = [directory for directory in stored if directory.path.name == word]
    named = [directory for directory in stored if _name(directory) == word]
    found = exact or named or [directory for directory in stored if directory.path.name.startswith(word)]
    if len(found) == 1:
        return found[0]
    names = [directory.path.name for directory in found or stored]
    if found:
        raise UsageError(f"'{word}' names {len(found)} experiments in {root}: {', '.join(names)}")
    guess = nearest(word, names)
    hint = f" (did you mean '{guess}'?)" if guess else f"; stored there: {', '.join(names) or 'nothing'}"
    raise UsageError(
        f"expected an experiment, an arm, a run or a history file, found nothing called '{word}' in {root}{hint}"
    )


def resolve(word: str, root: pathlib.Path) -> Source:
    """What a word means. Raises :class:`UsageError`."""
    path = pathlib.Path(word)
    if _exists(path) and path.is_file():
        return Source(word, {path.stem: ArmData(label=word, histories={NO_SEED: read_history(path)})}, single=True)
    if _exists(path) and (place := locate(path)):
        return _of_place(place)
    if not _exists(path) and ":" in word:
        experiment, _, arm = word.rpartition(":")
        directory = find_experiment(experiment, root)
        return _of_place(Place(directory, _arm_name(directory, arm)))
    return _of_place(Place(find_experiment(word, root)))


def _name(directory: ExperimentDirectory) -> str | None:
    """What the config called a stored experiment; None for a smoke run, and for a plan that cannot be read."""
    try:
        plan = directory.plan()
    except UsageError:
        return None
    return None if plan.smoke else plan.name


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
