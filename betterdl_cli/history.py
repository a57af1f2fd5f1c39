"""A training history: per-epoch metrics under Keras's names, and what can be said of one by arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]

# A training loss this many times its reference (the loss before training, or that of a constant guess) at the
# end of training is no learning curve any more. Cross-entropy saturates near 8 (binary) and 14 (ten classes)
# because Keras clips probabilities at 1e-7, which is 12 and 6 times ln 2 and ln 10: the factor must stay below.
EXPLOSION_FACTOR = 3.0


@dataclass(frozen=True)
class History:
    """Per-epoch metrics of one run.

    ``metrics`` maps Keras names (``loss``, ``val_loss``, ``accuracy`` ...) to equally long series, shape (epochs,);
    a value that was not finite or not recorded is NaN.
    """

    metrics: Mapping[str, Series]

    def __post_init__(self) -> None:
        lengths = {len(series) for series in self.metrics.values()}
        if len(lengths) > 1:
            found = ", ".join(f"{name}: {len(series)}" for name, series in self.metrics.items())
            raise ValueError(f"expected equally long series, found {found}")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Sequence[float | None]]) -> History:
        """From lists of numbers; None becomes NaN. Raises ValueError on unequal lengths or non-numbers."""
        metrics: dict[str, Series] = {}
        for name, column in values.items():
            if not isinstance(column, (list, tuple, np.ndarray)):
                raise ValueError(f"expected a list of numbers in '{name}', found {type(column).__name__}")
            for value in column:
                if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float, np.number))):
                    raise ValueError(f"expected numbers in '{name}', found {value!r}"[:120])
            try:
                metrics[str(name)] = np.array([math.nan if v is None else float(v) for v in column], dtype=np.float64)
            except OverflowError:
                raise ValueError(f"expected numbers in '{name}', found an integer out of range") from None
        return cls(metrics)

    def to_mapping(self) -> dict[str, list[float | None]]:
        """Plain lists for strict JSON: a value that is not finite becomes None."""
        return {name: [float(v) if math.isfinite(v) else None for v in series] for name, series in self.metrics.items()}

    def __getitem__(self, name: str) -> Series:
        return self.metrics[name]

    def __contains__(self, name: object) -> bool:
        return name in self.metrics

    def __iter__(self) -> Iterator[str]:
        return iter(self.metrics)

    @property
    def epochs(self) -> int:
        """Number of epochs trained."""
        return len(next(iter(self.metrics.values()))) if self.metrics else 0


def assumed_reference(history: History) -> float:
    """What :func:`diverged_at` holds a history against when nobody recorded its reference: its first training loss.

    A classifier's is at least that of a guess between two classes: a loss below it is still better than guessing.
    Infinite (only a broken loss is then called diverged) when there is no first loss above zero.
    """
    first = float(history["loss"][0]) if "loss" in history and history.epochs else math.nan
    if not (math.isfinite(first) and first > 0):
        return math.inf
    return max(first, math.log(2)) if any("acc" in name for name in history) else first


def diverged_at(losses: Series, reference: float) -> int | None:
    """The epoch (from 1) at which a training diverged, or None.

    Diverged means: the loss became non-finite, or from some epoch on it stayed above ``EXPLOSION_FACTOR`` times
    ``reference`` to the end, for at least the last tenth of the training. ``reference`` is the larger of the loss
    before training and that of a constant guess.

    :param losses: training loss per epoch, shape (epochs,)
    """
    broken = np.flatnonzero(~np.isfinite(losses))
    if broken.size:
        return int(broken[0]) + 1
    if not losses.size or not math.isfinite(reference):
        return None
    low = np.flatnonzero(losses <= EXPLOSION_FACTOR * reference)
    first_high = int(low[-1]) + 1 if low.size else 0  # index from which every epoch is high
    if losses.size - first_high >= max(1, math.ceil(losses.size / 10)):
        return first_high + 1
    return None
