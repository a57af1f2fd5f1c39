"""Two arms side by side: paired differences with their interval, and what the pairs share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from betterdl_cli.analysis.arms import ArmData
from betterdl_cli.analysis.student import t_quantile
from betterdl_cli.record import Fingerprints
from betterdl_cli.spec import Difference, differences


@dataclass(frozen=True)
class Spread:
    """Mean, standard deviation (n − 1; None for n = 1) and range of ``n`` values."""

    n: int
    mean: float
    sd: float | None
    low: float
    high: float

    @classmethod
    def of(cls, values: Mapping[int, float]) -> Spread | None:
        if not values:
            return None
        array = np.array(list(values.values()), dtype=np.float64)
        low, high = float(array.min()), float(array.max())
        mean = float(sum(map(_decimal, array)) / array.size)
        sd = None if array.size == 1 else 0.0 if low == high else float(array.std(ddof=1))
        return cls(array.size, mean, sd, low, high)


def _decimal(value: float) -> Decimal:
    """The number as it is written: so 0.85 − 0.8 is 0.05, and differences of ±0.05 have a mean of exactly 0."""
    return Decimal(repr(float(value)))


@dataclass(frozen=True)
class PairedDifference:
    """Candidate − baseline on one metric, by seed.

    ``interval`` is the 95 % paired t interval; None below 2 pairs, and for equal differences, whose spread of zero
    says nothing."""

    metric: str
    values: dict[int, float]
    spread: Spread | None
    interval: tuple[float, float] | None

    @property
    def smallest_p(self) -> float:
        """The smallest two-sided p an exact sign-flip test can give with this many pairs: 2 / 2ⁿ."""
        return min(1.0, 2.0 ** (1 - len(self.values)))


def paired_difference(baseline: ArmData, candidate: ArmData, metric: str) -> PairedDifference:
    """Over the seeds for which both arms have a score."""
    before, after = baseline.scores(metric), candidate.scores(metric)
    values = {seed: float(_decimal(after[seed]) - _decimal(before[seed])) for seed in before if seed in after}
    spread = Spread.of(values)
    interval = None
    if spread is not None and spread.sd is not None and spread.sd > 1e-6 * abs(spread.mean):
        half = t_quantile(0.975, spread.n - 1) * spread.sd / spread.n**0.5
        interval = (spread.mean - half, spread.mean + half)
    return PairedDifference(metric, values, spread, interval)


def have_equal_histories(baseline: ArmData, candidate: ArmData) -> bool:
    """Whether both sides have runs of the same seeds with the same numbers in every epoch."""
    if not baseline.histories or set(baseline.histories) != set(candidate.histories):
        return False
    return all(
        set(history) == set(other := candidate.histories[seed])
        and all(np.array_equal(history[name], other[name], equal_nan=True) for name in history)
        for seed, history in baseline.histories.items()
    )


@dataclass(frozen=True)
class Pairing:
    """What both runs of every pair share, read from their fingerprints; ``pairs`` of 0 means nothing is known."""

    pairs: int
    split: bool
    order: bool
    weights: tuple[str, ...]
    other_weights: tuple[str, ...]

    @property
    def in_words(self) -> str:
        if not self.pairs:
            return "nothing is known of what these runs share"
        shared = [name for name, same in (("split", self.split), ("data order", self.order)) if same]
        if self.weights:
            shared.append(f"initial weights of {', '.join(self.weights)}")
        different = [name for name, same in (("split", self.split), ("data order", self.order)) if not same]
        if self.other_weights:
            different.append(f"initial weights of {', '.join(self.other_weights)}")
        text = f"same {', same '.join(shared)}" if shared else "nothing shared"
        return text + (f"; different {', different '.join(different)}" if different else "")


def pairing(baseline: ArmData, candidate: ArmData) -> Pairing:
    """Compare the fingerprints of all common seeds. Layers that only one arm has do not count."""
    pairs: list[tuple[Fingerprints, Fingerprints]] = []
    for seed in sorted(set(baseline.records) & set(candidate.records)):
        before, after = baseline.records[seed].fingerprints, candidate.records[seed].fingerprints
        if before is not None and after is not None:
            pairs.append((before, after))
    layers = [name for name in (pairs[0][0].weights if pairs else {}) if name in pairs[0][1].weights]
    equal = [name for name in layers if all(a.weights.get(name) == b.weights.get(name) for a, b in pairs)]
    return Pairing(
        pairs=len(pairs),
        split=bool(pairs) and all(a.split == b.split for a, b in pairs),
        order=bool(pairs) and all(_same_order(a.order, b.order) for a, b in pairs),
        weights=tuple(equal),
        other_weights=tuple(name for name in layers if name not in equal),
    )


def _same_order(before: tuple[str, ...], after: tuple[str, ...]) -> bool:
    """Whether the epochs that both runs had were in the same order."""
    common = min(len(before), len(after))
    return common > 0 and before[:common] == after[:common]


@dataclass(frozen=True)
class Confounding:
    """How two arms differ: by declared techniques, and by anything else."""

    all: tuple[Difference, ...]
    techniques: bool
    others: tuple[Difference, ...]

    @property
    def factors(self) -> int:
        """One for the techniques, one for every other place: more than one and an effect has no single cause."""
        return int(self.techniques) + len(self.others)


def confounding(baseline: ArmData, candidate: ArmData) -> Confounding | None:
    """None when the recipe of either arm is not known (a bare history).

    Techniques are declared changes of an arm's own control, so two arms differ by anything else exactly where their
    controls differ.
    """
    if baseline.arm is None or candidate.arm is None or baseline.control is None or candidate.control is None:
        return None
    return Confounding(
        all=differences(baseline.arm.spec, candidate.arm.spec),
        techniques=baseline.techniques != candidate.techniques,
        others=differences(baseline.control, candidate.control),
    )
