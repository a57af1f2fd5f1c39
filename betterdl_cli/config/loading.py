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
from betterdl_cli.errors import ConfigError, Fault
from betterdl_cli.expand import Arm, expand


@dataclass(frozen=True)
class Source:
    """Where values came from, to say where a fault is: a file, and the overrides on top of it."""

    document: yaml12.Document
    overrides: tuple[Override, ...] = ()

    def located(self, faults: Sequence[Fault]) -> list[Fault]:
        """The faults with file, line and column, in that order; then those that an override brought in."""
        found = [fault if fault.file else self._locate(fault) for fault in faults]
        return sorted(found, key=lambda fault: (fault.line == 0, fault.line, fault.column))

    def _locate(self, fault: Fault) -> Fault:
        path = tuple(str(part) for part in fault.path)
        stated = (fault.path, False) in self.document.marks
        for override in reversed(self.overrides):
            inside, above = path[: len(override.path)] == override.path, override.path[: len(path)] == path
            if inside or (above and not stated):
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
    document = yaml12.read(path)
    overrides, faults = parse_overrides(words)
    source = Source(document, overrides)
    plain = document.data
    if overrides:
        plain, unfit = apply_overrides(plain, overrides, _complete(plain))
        faults.extend(unfit)
    try:
        experiment = read_experiment(plain)
        if not faults:
            experiment = experiment.reduced() if smoke else experiment
            return Loaded(experiment, expand(experiment), source)
    except ConfigError as error:
        faults.extend(error.faults)
    raise ConfigError(source.located(faults))


def _complete(plain: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The config with its defaults; None when the file is not valid by itself."""
    try:
        return read_experiment(plain).resolved
    except ConfigError:
        return None
