"""Did the technique help? The verdict on paired differences, and the numbers that it rests on.

One pair is one seed; a difference is treatment − control on one metric. *Helps* and *hurts* need the exact sign-flip
test (``signflip.py``), *no practical difference* needs two one-sided t tests (Schuirmann 1987,
https://doi.org/10.1007/BF01068419), the interval is paired t. With a new split per seed the pairs share training rows,
so the standard error is that of Nadeau and Bengio (2003, https://doi.org/10.1023/A:1024068626366), sd · sqrt(1/n +
test rows / training rows), and a claim needs the t test with it as well as the sign-flip test.

All is computed for many experiments at once, by :func:`measure` and :func:`verdicts`: ``benchmarks/calibration.py``
checks the very code that judges one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from betterdl_cli.analysis.binomial import share_interval
from betterdl_cli.analysis.corrections import benjamini_hochberg, holm
from betterdl_cli.analysis.power import detectable, seeds_needed
from betterdl_cli.analysis.signflip import sign_flip_p, tolerance
from betterdl_cli.analysis.student import t_quantile, t_tails
from betterdl_cli.history import Series

PROVISIONAL_PAIRS = 5


class Verdict(StrEnum):
    TOO_FEW = "too few seeds"
    PROVISIONALLY_HELPS = "provisionally helps"
    PROVISIONALLY_HURTS = "provisionally hurts"
    HELPS = "helps"
    HURTS = "hurts"
    HELPS_LITTLE = "helps, by less than theta"
    HURTS_LITTLE = "hurts, by less than theta"
    NO_PRACTICAL_DIFFERENCE = "no practical difference"
    UNDECIDED = "undecided"

    @property
    def helps(self) -> bool:
        return self in (Verdict.HELPS, Verdict.HELPS_LITTLE)

    @property
    def hurts(self) -> bool:
        return self in (Verdict.HURTS, Verdict.HURTS_LITTLE)

    @property
    def provisional(self) -> bool:
        return self in (Verdict.PROVISIONALLY_HELPS, Verdict.PROVISIONALLY_HURTS)


@dataclass(frozen=True)
class Measured:
    """The numbers of many experiments of ``n_pairs`` each; all arrays have one entry per experiment.

    Where all differences of an experiment are equal there is no spread, t knows nothing (``sd`` is 0, ``low`` and
    ``high`` are NaN) and every p is that of the sign-flip test. ``equivalence_p`` is then
    NaN, as without a margin: equal differences do not exclude rare large ones.
    ``deciding_p`` is ``p_value`` except with 5 pairs, where it is that of t if all signs agree, else 1.
    """

    n_pairs: int
    mean: Series
    sd: Series
    low: Series
    high: Series
    p_value: Series
    deciding_p: Series
    equivalence_p: Series


def measure(differences: ArrayLike, *, margin: float | None, resplit: tuple[int, int] | None = None) -> Measured:
    """:param differences: shape (experiments, pairs), treatment − control
    :param margin: the smallest difference that matters, in the unit of the metric
    :param resplit: (training rows, test rows) when every seed has a split of its own"""
    values = np.asarray(differences, dtype=np.float64)
    experiments, n = values.shape
    mean = values.mean(axis=1)
    constant = values.max(axis=1) - values.min(axis=1) <= tolerance(values)
    sd = np.where(constant, 0.0, values.std(axis=1, ddof=1)) if n > 1 else np.full(experiments, np.nan)
    error = np.where(constant, np.nan, sd * math.sqrt(1 / n + _rows_ratio(resplit)))
    half = error * (t_quantile(0.975, n - 1) if n > 1 else np.nan)
    p_value = deciding = sign_flip_p(values)
    if resplit is not None or n == PROVISIONAL_PAIRS:
        t_p = np.where(constant, p_value, 2 * _tails(np.abs(mean) / error, n - 1))
        if resplit is not None:
            p_value = deciding = np.maximum(p_value, t_p)
        if n == PROVISIONAL_PAIRS:
            agree = (values > 0).all(axis=1) | (values < 0).all(axis=1)
            deciding = np.where(agree, t_p, 1.0)
    equivalence = np.full(experiments, np.nan)
    if margin is not None:
        equivalence = _tails((margin - np.abs(mean)) / error, n - 1)  # the larger of the two one-sided t
    return Measured(n, mean, sd, mean - half, mean + half, p_value, deciding, equivalence)


def verdicts(
    n_pairs: int,
    mean: ArrayLike,
    deciding_p: ArrayLike,
    equivalence_p: ArrayLike,
    *,
    higher_is_better: bool,
    alpha: float = 0.05,
) -> NDArray[np.object_]:
    """One :class:`Verdict` per experiment, from the arrays of a :class:`Measured`; ``deciding_p`` corrected or not."""
    real = np.asarray(deciding_p) <= alpha
    better = (np.asarray(mean) > 0) == higher_is_better
    small = np.asarray(equivalence_p) <= alpha  # never without a margin: NaN
    if n_pairs < PROVISIONAL_PAIRS:
        rules = [(np.ones_like(real), Verdict.TOO_FEW)]
    elif n_pairs == PROVISIONAL_PAIRS:
        rules = [(real & better, Verdict.PROVISIONALLY_HELPS), (real & ~better, Verdict.PROVISIONALLY_HURTS)]
    else:
        rules = [
            (real & better & small, Verdict.HELPS_LITTLE),
            (real & ~better & small, Verdict.HURTS_LITTLE),
            (real & better, Verdict.HELPS),
            (real & ~better, Verdict.HURTS),
            (small, Verdict.NO_PRACTICAL_DIFFERENCE),
        ]
    found: NDArray[np.object_] = np.full(real.shape, None, dtype=object)
    for index in np.ndindex(found.shape):  # one by one: NumPy would store plain strings
        found[index] = next((verdict for holds, verdict in rules if holds[index]), Verdict.UNDECIDED)
    return found


def _rows_ratio(resplit: tuple[int, int] | None) -> float:
    """What new splits of the same rows add to 1/n in the variance of a mean (Nadeau and Bengio 2003)."""
    return 0.0 if resplit is None else resplit[1] / resplit[0]


def _tails(t: Series, degrees: int) -> Series:
    tails = np.full(t.shape, np.nan)
    known = ~np.isnan(t)
    if degrees > 0:
        tails[known] = t_tails(t[known], degrees)
    return tails


@dataclass(frozen=True)
class Evidence:
    """What the pairs say about one technique; ``mean_difference`` is treatment − control in the metric's unit."""

    n_pairs: int
    scope: str
    margin: float | None
    alpha: float
    higher_is_better: bool
    mean_difference: float | None = None
    sd: float | None = None
    ci95: tuple[float, float] | None = None
    """Paired t; None below 2 pairs and for equal differences, whose spread of 0 says nothing."""
    p_value: float | None = None
    """Exact sign-flip; on new data the larger of it and Nadeau-Bengio's t."""
    deciding_p: float | None = None
    """``p_value``, except with 5 pairs, where the exact test cannot decide: paired t if all signs agree, else 1."""
    p_adjusted: float | None = None
    """``deciding_p`` corrected for the number of techniques (Benjamini-Hochberg); None until :func:`judge_all` did."""
    p_holm: float | None = None
    wins: int = 0
    ties: int = 0
    win_share_interval: tuple[float, float] | None = None
    """Of wins among all pairs, ties included."""
    equivalence_p: float | None = None
    verdict: Verdict = Verdict.TOO_FEW
    at_least_theta: bool = False
    """Whether a technique that helps or hurts does so by ``margin`` or more: the interval clears it."""
    detectable_effect: float | None = None
    """The difference that this many pairs find in 4 of 5 cases; None below 5 pairs, without a spread, and where they
    cannot. Among several techniques for the first of the corrected tests: alpha / techniques."""
    seeds_needed: int | None = None
    """For a difference of ``margin``, without one for that seen; None when no number does, or nothing is known."""

    @property
    def losses(self) -> int:
        return self.n_pairs - self.wins - self.ties


def judge(
    differences: ArrayLike,
    *,
    higher_is_better: bool,
    margin: float | None,
    alpha: float = 0.05,
    resplit: tuple[int, int] | None = None,
) -> Evidence:
    """The evidence of one comparison.

    :param differences: treatment − control, one per seed; pairs without both scores are left out beforehand
    :param margin: the smallest difference that matters, theta; None: no verdict on practical difference
    :param resplit: (training rows, test rows) when every seed has a split of its own; None with one fixed split
    Raises ValueError for a difference that is not finite, a margin or rows not above 0, an alpha outside 0 to 1.
    """
    values = _checked(differences, margin, alpha, resplit)
    n = values.size
    scope = "on this split" if resplit is None else "on new data of this kind"
    evidence = Evidence(n, scope, margin, alpha, higher_is_better)
    if n == 0:
        return evidence
    measured = measure(values[None], margin=margin, resplit=resplit)
    mean, low, high = measured.mean.item(), measured.low.item(), measured.high.item()
    sd = _known(measured.sd)
    tied = np.abs(values) <= 1e-12 * np.abs(values).max()
    wins = int((((values > 0) == higher_is_better) & ~tied).sum())
    evidence = replace(
        evidence,
        mean_difference=mean,
        sd=sd,
        ci95=None if math.isnan(low) else (low, high),
        p_value=measured.p_value.item(),
        deciding_p=measured.deciding_p.item(),
        wins=wins,
        ties=int(tied.sum()),
        win_share_interval=share_interval(wins, n),
        equivalence_p=_known(measured.equivalence_p),
    )
    return _decided(_planned(evidence, alpha, resplit), measured.deciding_p.item())


def _planned(evidence: Evidence, alpha: float, resplit: tuple[int, int] | None) -> Evidence:
    """With what so many pairs could have found, and how many it takes, when a claim needs p ≤ ``alpha``."""
    sd, mean = evidence.sd, evidence.mean_difference
    if not sd or mean is None or evidence.n_pairs < PROVISIONAL_PAIRS:
        return evidence
    ratio = _rows_ratio(resplit)
    factor = detectable(evidence.n_pairs, alpha, ratio)
    return replace(
        evidence,
        detectable_effect=None if factor is None else factor * sd,
        seeds_needed=seeds_needed(mean if evidence.margin is None else evidence.margin, sd, alpha, ratio),
    )


def judge_all(
    differences: Mapping[str, ArrayLike],
    *,
    higher_is_better: bool,
    margin: float | None,
    alpha: float = 0.05,
    resplit: tuple[int, int] | None = None,
) -> dict[str, Evidence]:
    """The evidence of all techniques of an experiment, corrected for their number.

    The verdicts follow Benjamini-Hochberg's adjusted p; Holm's stands beside it. Techniques with too few seeds make no
    claim and do not count. Intervals and *no practical difference* are those of each technique alone.
    """
    found = {
        name: judge(values, higher_is_better=higher_is_better, margin=margin, alpha=alpha, resplit=resplit)
        for name, values in differences.items()
    }
    tested = {name: evidence for name, evidence in found.items() if evidence.verdict is not Verdict.TOO_FEW}
    p_values = [evidence.deciding_p or 0.0 for evidence in tested.values()]
    if not tested:
        return found
    share = alpha / len(tested)  # what the first of the corrected tests must reach
    corrected = zip(tested.items(), benjamini_hochberg(p_values).tolist(), holm(p_values).tolist(), strict=True)
    for (name, evidence), adjusted, by_holm in corrected:
        found[name] = _decided(
            replace(_planned(evidence, share, resplit), p_adjusted=adjusted, p_holm=by_holm), adjusted
        )
    return found


def _decided(evidence: Evidence, p: float) -> Evidence:
    mean = evidence.mean_difference or 0.0
    equivalence = math.nan if evidence.equivalence_p is None else evidence.equivalence_p
    verdict: Verdict = verdicts(
        evidence.n_pairs,
        [mean],
        [p],
        [equivalence],
        higher_is_better=evidence.higher_is_better,
        alpha=evidence.alpha,
    )[0]
    if evidence.margin is None or not (verdict.helps or verdict.hurts) or evidence.ci95 is None:
        clears = False
    else:
        low, high = evidence.ci95
        clears = low >= evidence.margin or high <= -evidence.margin
    return replace(evidence, verdict=verdict, at_least_theta=clears)


def _known(values: Series) -> float | None:
    value = float(values.item())
    return None if math.isnan(value) else value


def _checked(differences: ArrayLike, margin: float | None, alpha: float, resplit: tuple[int, int] | None) -> Series:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"expected a row of finite differences, found {differences!r}")
    if margin is not None and not (margin > 0 and math.isfinite(margin)):
        raise ValueError(f"expected a margin above 0, found {margin}")
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"expected an alpha between 0 and 1, found {alpha}")
    if resplit is not None and min(resplit) < 1:
        raise ValueError(f"expected at least 1 training and 1 test row, found {resplit}")
    return values
