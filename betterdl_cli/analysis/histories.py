"""The histories of one arm, over its seeds: what comparisons and pictures are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from betterdl_cli.history import History


@dataclass(frozen=True)
class ArmHistories:
    """``runs`` maps seed to history; ``diverged`` maps the seeds of diverged runs to their epoch (from 1).

    Histories may differ in length: a run may have stopped early or diverged. ``penalised`` says that ``loss`` and
    ``val_loss`` include a regularisation penalty.
    """

    name: str
    runs: Mapping[int, History]
    diverged: Mapping[int, int] = field(default_factory=dict)
    penalised: bool = False

    @property
    def longest(self) -> int:
        return max((history.epochs for history in self.runs.values()), default=0)
