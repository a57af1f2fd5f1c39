"""Epochs to a target: Wilcoxon's exact signed rank test, in which a run that never got there counts as last."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


def wilcoxon_p(differences: ArrayLike) -> float:
    """Exact two-sided p of the signed rank test (Wilcoxon 1945, https://doi.org/10.2307/3001968).

    Differences of 0 are left out, as Wilcoxon did (SciPy's ``zero_method="wilcox"``); equal sizes share their mean
    rank, and p counts all sign patterns of the ranks that are there, so ties need no approximation.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"expected a row of finite differences, found {differences!r}")
    values = values[values != 0]
    sizes = np.abs(values)
    # twice the mean rank: a whole number
    ranks = [int(2 * (sizes < size).sum() + (sizes == size).sum() + 1) for size in sizes]
    total = sum(ranks)
    patterns = [1] + [0] * total  # how many sign patterns give each sum; whole numbers, so exact for any length
    for rank in ranks:
        patterns = [ways + (patterns[index - rank] if index >= rank else 0) for index, ways in enumerate(patterns)]
    seen: int = sum(rank for rank, value in zip(ranks, values, strict=True) if value > 0)
    extreme: int = sum(patterns[: min(seen, total - seen) + 1])
    return min(1.0, 2 * extreme / float(2 ** len(ranks)))


@dataclass(frozen=True)
class EpochsToTarget:
    """How soon two arms reached a target on the same seeds.

    ``faster`` and ``slower`` count the pairs in which the treatment was; the rest are ties. ``median_difference`` is
    treatment − control with never as one epoch more than were trained.
    """

    n_pairs: int
    control_reached: int
    treatment_reached: int
    faster: int
    slower: int
    median_difference: float | None
    p_value: float | None

    @classmethod
    def of(cls, control: Sequence[int | None], treatment: Sequence[int | None], epochs: int) -> EpochsToTarget:
        """:param control: first epoch at the target per seed, None for never; ``treatment`` in the same order
        :param epochs: how many were planned; never reached counts as one more"""
        if len(control) != len(treatment):
            raise ValueError(f"expected one run of each arm per seed, found {len(control)} and {len(treatment)}")
        differences = [
            (epochs + 1 if after is None else after) - (epochs + 1 if before is None else before)
            for before, after in zip(control, treatment, strict=True)
        ]
        return cls(
            n_pairs=len(differences),
            control_reached=sum(epoch is not None for epoch in control),
            treatment_reached=sum(epoch is not None for epoch in treatment),
            faster=sum(value < 0 for value in differences),
            slower=sum(value > 0 for value in differences),
            median_difference=float(statistics.median(differences)) if differences else None,
            p_value=wilcoxon_p(differences) if differences else None,
        )
