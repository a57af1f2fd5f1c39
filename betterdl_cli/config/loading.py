"""From a file and overrides to an experiment and its arms, or to all faults with their places."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from betterdl_cli.config import yaml12
from betterdl_cli.config.experiment import Experiment
from betterdl_cli.config.overrides import Override, apply_overrides, parse_overrides
from betterdl_cli.config.reading import read_experiment
from betterdl_cli.errors import ConfigError, Fault, Path
from betterdl_cli.expand import Arm, expand

Key = tuple[Path, str]


@dataclass(frozen=True)
class Source:
    """Where values came from, to say where a fault is: a file, and the overrides on top of it."""

    document: yaml12.Document
    overrides: tuple[Override, ...] = ()

    def located(self, faults: Sequence[Fault]) -> list[Fault]:
        """Faults of loaded data with file, line and column, in that order; then those shown at an override.

        A fault at, below or one above what an override sets is shown there. What the data are is decided by their
        whole section, so every other override of it is named too.
        """
        return in_order([self._with_others(self._nearest(fault), fault) for fault in faults])

    def _with_others(self, nearest: Override | None, fault: Fault) -> Fault:
        others = [one for one in self.overrides if one is not nearest and one.path[:1] == _texts(fault)[:1]]
        named = f" (with {', '.join(one.source for one in others)})" if others else ""
        return self.at(nearest, dataclasses.replace(fault, message=fault.message + named))

    def _nearest(self, fault: Fault) -> Override | None:
        path = _texts(fault)
        touching = [one for one in self.overrides if _is_inside(path, one) or one.path[:-1] == path]
        return max(touching, key=lambda one: len(one.path), default=None)

    def at(self, override: Override | None, fault: Fault) -> Fault:
        """The fault, shown at an override or, without one, in the file."""
        if override is not None:
            return dataclasses.replace(fault, file=override.source)
        line, column = self.document.locate(fault.path, key=fault.at_key)
        return dataclasses.replace(fault, file=self.document.source, line=line, column=column)


@dataclass(frozen=True)
class Loaded:
    """A config that can be trained."""

    experiment: Experiment
    arms: tuple[Arm, ...]
    source: Source


def load(path: pathlib.Path, words: Sequence[str] = (), *, smoke: bool = False) -> Loaded:
    """Read, change, check and expand a config. Raises :class:`ConfigError` with every fault found."""
    shown: list[Fault] = []
    document = yaml12.read(path, shown)
    overrides, unfit = parse_overrides(words)
    source = Source(document, overrides)
    plain, leading_nowhere = apply_overrides(document.data, overrides)
    shown.extend((*unfit, *leading_nowhere))
    faults: list[Fault] = []
    try:
        experiment = read_experiment(plain)
        experiment = experiment.reduced() if smoke else experiment
        arms = expand(experiment)
        if not shown:
            return Loaded(experiment, arms, source)
    except ConfigError as error:
        faults.extend(error.faults)
    culprits = _culprits(faults, document.data, overrides)
    for fault, culprit in zip(faults, culprits, strict=True):
        if culprit is not None or not document.is_refused(fault.path, key=fault.at_key):  # there the YAML is at fault
            shown.append(source.at(culprit, fault))
    raise ConfigError(in_order(shown))


def in_order(faults: Sequence[Fault]) -> list[Fault]:
    return sorted(faults, key=lambda fault: (fault.line == 0, fault.line, fault.column))


def _culprits(
    faults: Sequence[Fault], plain: Mapping[str, Any], overrides: Sequence[Override]
) -> list[Override | None]:
    """For each fault the override that brought it in: that which sets its place, or makes it alone, or is needed."""
    if not overrides:
        return [None] * len(faults)
    by_file = _keys(plain, ())
    by_path = sorted(overrides, key=lambda one: one.path)  # so that the words' order does not matter
    alone = {one.path: _keys(plain, [one]) for one in by_path}
    without = {one.path: _keys(plain, [other for other in overrides if other is not one]) for one in by_path}

    def culprit(fault: Fault) -> Override | None:
        path = _texts(fault)
        inside = [one for one in by_path if _is_inside(path, one)]
        if inside:
            return max(inside, key=lambda one: len(one.path))
        if _key(fault) in by_file:
            return None
        makes_it = [one for one in by_path if _key(fault) in alone[one.path]]
        needed = [one for one in by_path if _key(fault) not in without[one.path]]
        return max(makes_it or needed or by_path, key=lambda one: _common(path, one))

    return [culprit(fault) for fault in faults]


def _keys(plain: Mapping[str, Any], overrides: Sequence[Override]) -> set[Key]:
    """What is wrong with the config under these overrides."""
    try:
        expand(read_experiment(apply_overrides(plain, overrides)[0]))
    except ConfigError as error:
        return {_key(fault) for fault in error.faults}
    return set()


def _key(fault: Fault) -> Key:
    """A fault is the same one when what was expected there is the same."""
    return fault.path, fault.message.partition(", found")[0]


def _texts(fault: Fault) -> tuple[str, ...]:
    return tuple(str(part) for part in fault.path)


def _is_inside(path: tuple[str, ...], override: Override) -> bool:
    return path[: len(override.path)] == override.path


def _common(path: tuple[str, ...], override: Override) -> int:
    """How many keys a path and that of an override have in common."""
    return next((n for n, (a, b) in enumerate(zip(path, override.path, strict=False)) if a != b), len(override.path))
