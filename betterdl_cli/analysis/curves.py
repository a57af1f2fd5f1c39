"""What a picture of learning curves shows, as plain arrays: means with bands, single runs, who is alive.

The rules, for runs of one arm and for pairs alike:

* A run is *alive* while its history lasts, its values are finite and it has not diverged; a pair while both
  runs are.
* A run goes on being drawn after it diverged, a pair does not: a difference to a diverged run says nothing.
* A mean with its 95 % t band exists from three runs on, and only at epochs at which all runs are alive. The
  mean of the survivors of early stopping or divergence would compare different runs at different epochs, so
  there is none: from the first end on, and below three runs, the single curves are the picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from betterdl_cli.analysis.histories import ArmHistories
from betterdl_cli.analysis.student import mean_interval
from betterdl_cli.history import History, Series

VALIDATION = "val_"
FEWEST_FOR_BAND = 3
LOG_DECADES = 2.0
# How many times the span of ordinary values an axis may hold before it is cut.
CUT_FACTOR = 10.0

_NOT_A_SCORE = {"learning_rate", "lr"}
_LOSS_WORDS = ("loss", "error", "entropy", "divergence")
_LOSS_NAMES = {"mse", "mae", "mape", "msle", "rmse", "poisson", "perplexity"}
_HIGHER_WORDS = ("accuracy", "acc", "auc", "precision", "recall", "f1", "iou", "r2")


@dataclass(frozen=True)
class Curves:
    """One metric over the epochs of the runs of an arm, or of the pairs of two arms.

    ``epochs`` (from 1) has shape (epochs,); epochs at which no run recorded the metric are left out.
    ``values`` has shape (runs, epochs) in the order of ``seeds``, NaN where a run has none. ``alive`` counts
    the runs alive at each epoch, ``lives`` the epochs at which each run is alive, shape (runs,). ``center,
    low, high`` cover the leading epochs at which all runs are alive, shape (together,), and are empty below
    three runs; with ``log`` they are the geometric mean and its band.
    """

    seeds: tuple[int, ...]
    epochs: NDArray[np.int64]
    values: Series
    alive: NDArray[np.int64]
    lives: NDArray[np.int64]
    center: Series
    low: Series
    high: Series
    log: bool = False

    def within(self, bounds: tuple[float, float]) -> Curves:
        """The same with a band that ends where the metric does."""
        return replace(self, low=np.clip(self.low, *bounds), high=np.clip(self.high, *bounds))

    @property
    def together(self) -> int:
        """Number of leading epochs at which all runs are alive."""
        return int(self.lives.min(initial=len(self.epochs)))

    @property
    def single_from(self) -> int:
        """Index of the first epoch with single curves: the last one of the mean, so that they join it."""
        if not self.center.size:
            return 0
        return self.together if self.together == len(self.epochs) else self.together - 1

    @property
    def shows_singles(self) -> bool:
        return self.single_from < len(self.epochs)


@dataclass(frozen=True)
class Limits:
    """The ends of a value axis. ``above`` and ``below`` hold what lies farthest outside, if anything does."""

    low: float
    high: float
    above: float | None = None
    below: float | None = None


@dataclass(frozen=True)
class Ending:
    """How a run or a pair ended before others.

    ``last`` is the last epoch at which it was alive (0: at none), ``diverged`` the epoch at which it
    diverged, None when it merely stopped.
    """

    last: int
    diverged: int | None = None


def endings(arm: ArmHistories, longest: int) -> dict[int, Ending]:
    """The runs, by seed, that stopped or diverged before epoch ``longest`` was over."""
    ends = {seed: _ending(history, arm.diverged.get(seed)) for seed, history in sorted(arm.runs.items())}
    return {seed: end for seed, end in ends.items() if end.last < longest}


def pair_endings(control: ArmHistories, treatment: ArmHistories) -> dict[int, Ending]:
    """The pairs, by seed, that ended before the longest pair, with the end of the run that ended first."""
    ends: dict[int, Ending] = {}
    for seed in common_seeds(control, treatment):
        both = [_ending(arm.runs[seed], arm.diverged.get(seed)) for arm in (control, treatment)]
        ends[seed] = min(both, key=lambda end: (end.last, end.diverged is None))
    longest = longest_pair(control, treatment)
    return {seed: end for seed, end in ends.items() if end.last < longest}


def longest_pair(control: ArmHistories, treatment: ArmHistories) -> int:
    """Epochs of the pair that trained longest side by side; 0 without common seeds."""
    seeds = common_seeds(control, treatment)
    return max((min(control.runs[seed].epochs, treatment.runs[seed].epochs) for seed in seeds), default=0)


def alive_counts(runs: int, ends: Mapping[int, Ending], epochs: int) -> NDArray[np.int64]:
    """How many of the runs (or pairs) are alive in training at each epoch, shape (epochs,)."""
    counts = np.full(epochs, runs, dtype=np.int64)
    for end in ends.values():
        counts[end.last :] -= 1
    return counts


def common_seeds(control: ArmHistories, treatment: ArmHistories) -> tuple[int, ...]:
    """The seeds of the pairs, ascending."""
    return tuple(sorted(set(control.runs) & set(treatment.runs)))


def arm_curves(arm: ArmHistories, metric: str, *, log: bool = False) -> Curves:
    """The curves of one metric over the runs of an arm.

    A run without the metric counts as a run that was never alive, so that no mean silently leaves it out.

    :param log: compute mean and band in log space
    Raises ValueError when a value to be averaged in log space is not positive.
    """
    runs = sorted(arm.runs.items())
    series = {seed: _series(history, metric) for seed, history in runs}
    return _curves(series, [_ending(history, arm.diverged.get(seed)).last for seed, history in runs], log=log)


def pair_curves(control: ArmHistories, treatment: ArmHistories, metric: str) -> Curves:
    """Treatment minus control of one metric, paired over the common seeds.

    Raises ValueError when the arms share no seed.
    """
    seeds = common_seeds(control, treatment)
    if not seeds:
        raise ValueError(f"expected common seeds of '{control.name}' and '{treatment.name}', found none")
    differences: dict[int, Series] = {}
    for seed in seeds:
        minuend, subtrahend = _series(treatment.runs[seed], metric), _series(control.runs[seed], metric)
        both = min(len(minuend), len(subtrahend))
        with np.errstate(over="ignore", invalid="ignore"):
            differences[seed] = minuend[:both] - subtrahend[:both]
    lasts = []
    for seed in seeds:
        ends = [_ending(arm.runs[seed], arm.diverged.get(seed)) for arm in (control, treatment)]
        lasts.append(min(end.last for end in ends))
        lost = min((end.diverged for end in ends if end.diverged is not None), default=len(differences[seed]))
        differences[seed][lost:] = np.nan
    return _curves(differences, lasts, log=False)


def identical_until(one: Curves, other: Curves) -> int:
    """The last epoch up to which the curves are the same number for number, so that one hides the other; 0 for none.

    A single epoch in common counts only when it is all that both have.
    """
    if one.seeds != other.seeds:
        return 0
    epochs, left, right = np.intersect1d(one.epochs, other.epochs, return_indices=True)
    first, second = one.values[:, left], other.values[:, right]
    both = np.isfinite(first) & np.isfinite(second)
    epochs, different = epochs[both.any(axis=0)], ((first != second) & both).any(axis=0)[both.any(axis=0)]
    same = int(np.argmax(different)) if different.any() else len(epochs)
    return int(epochs[same - 1]) if same > 1 or same == len(epochs) > 0 else 0


def panel_metrics(control: ArmHistories, treatment: ArmHistories) -> tuple[str, ...]:
    """The one or two metrics to show, without ``val_``: the loss, and the accuracy or the first other score.

    A score recorded for training and validation goes before one without validation. Raises ValueError when an
    arm has no epochs or the arms have no metric in common.
    """
    for arm in (control, treatment):
        if not arm.longest:
            raise ValueError(f"expected at least one trained epoch in arm '{arm.name}', found none")
    other = _metric_names(treatment)
    names = [name for name in _metric_names(control) if name in other]
    shown = list(dict.fromkeys(name.removeprefix(VALIDATION) for name in names))
    scores = [name for name in shown if name != "loss" and name not in _NOT_A_SCORE]
    scores.sort(key=lambda name: (not is_accuracy(name), name not in names, VALIDATION + name not in names))
    chosen = (("loss",) if "loss" in shown else ()) + tuple(scores[:1])
    if not chosen:
        raise ValueError(f"expected a metric common to '{control.name}' and '{treatment.name}', found none")
    return chosen


def is_loss(metric: str) -> bool:
    """Whether a metric is a loss or an error: lower is better, and without an upper end."""
    name = metric.removeprefix(VALIDATION)
    return name in _LOSS_NAMES or any(word in name for word in _LOSS_WORDS)


def is_accuracy(metric: str) -> bool:
    """Whether a metric is an accuracy, whatever its kind."""
    return "accuracy" in metric or "acc" in metric.split("_")


def better_sign(metric: str) -> int:
    """-1 when lower values of a metric are better, 1 when higher ones are, 0 when its name does not say."""
    if is_loss(metric):
        return -1
    return int(any(word in metric.removeprefix(VALIDATION).split("_") for word in _HIGHER_WORDS))


def wants_log_axis(metric: str, drawn: Iterable[Series]) -> bool:
    """Whether a metric belongs on a log axis: a loss, all positive, that spans more than two decades.

    :param drawn: what is drawn into the panel, all arms, any shapes; values that are not finite do not count
    """
    if not is_loss(metric):
        return False
    values = _finite(drawn)
    if not values.size or values.min() <= 0:
        return False
    return math.log10(values.max()) - math.log10(values.min()) > LOG_DECADES


def are_shares(metric: str, drawn: Iterable[Series]) -> bool:
    """Whether a metric is an accuracy given as a share: all its values lie between 0 and 1."""
    values = _finite(drawn)
    return is_accuracy(metric) and bool(((values >= 0) & (values <= 1)).all())


def block_width(epochs: int) -> int:
    """Epochs per point of a legible line: 1 up to 500 epochs, then 5, 10, 20 ... for at most 250 points."""
    if epochs <= 500:
        return 1
    scale = int(10 ** math.floor(math.log10(epochs / 250)))
    return next(width for width in (scale, 2 * scale, 5 * scale, 10 * scale) if width * 250 >= epochs)


def block_means(epochs: NDArray[np.int64], series: Series, width: int, *, log: bool = False) -> tuple[Series, Series]:
    """Means over blocks of ``width`` epochs, each at the middle of its epochs; the last block may be shorter.

    :param epochs: shape (epochs,), ascending from 1
    :param series: shape (epochs,); values that are not finite do not count, a block without any is NaN
    :param log: geometric means
    """
    _, members = np.unique((epochs - 1) // width, return_inverse=True)
    known = np.isfinite(series)
    numbers = np.zeros(len(series))
    numbers[known] = np.log(series[known]) if log else series[known]
    middles = np.bincount(members, weights=epochs) / np.bincount(members)
    counts = np.bincount(members, weights=known)
    means = np.bincount(members, weights=numbers) / np.where(counts > 0, counts, np.nan)
    return middles, np.exp(means) if log else means


def axis_limits(
    curves: Sequence[Curves],
    *,
    log: bool = False,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    zero: bool = False,
    all_singles: bool = False,
) -> Limits:
    """Ends of a value axis that a diverged run or a lone peak cannot blow up.

    The axis holds all lines unless they span ``CUT_FACTOR`` times the ordinary values: for each arm's metric,
    those of runs that are alive, from the 1st to the 99th percentile and at the first epoch. Then it ends one
    such span beyond them. It holds all of the bands unless that more than doubles the axis; then the tips at
    a fiftieth of the epochs are cut. The result tells what is outside.

    :param bounds: between which numbers the metric lies by its nature; a band may leave them, the axis does
        not. An axis between two finite bounds is not cut.
    :param zero: the axis must hold zero
    :param all_singles: single curves are drawn at all epochs, behind the mean
    """
    lines = _finite([part for one in curves for part in _lines(one, all_singles)], log)
    if not lines.size:
        return Limits(1.0, 10.0) if log else Limits(-1.0 if zero else 0.0, 1.0)
    low, high = float(lines.min()), float(lines.max())
    if log or not np.isfinite(bounds).all():
        low, high = _cut(low, high, np.concatenate([_ordinary(one, log) for one in curves]))
    lower, upper = (_finite([getattr(one, end) for one in curves], log) for end in ("low", "high"))
    if not log:
        lower, upper = np.clip(lower, *bounds), np.clip(upper, *bounds)
    if lower.size and upper.size:
        trimmed = min(low, float(np.percentile(lower, 2.0))), max(high, float(np.percentile(upper, 98.0)))
        whole = min(low, float(lower.min())), max(high, float(upper.max()))
        low, high = trimmed if whole[1] - whole[0] > 2 * (trimmed[1] - trimmed[0]) else whole
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= 1e-4 * max(abs(low), abs(high)):  # constant curves
        half = 0.3 if log else 0.05 * abs(high) or 0.01
        low, high = max(low - half, bounds[0]), min(high + half, bounds[1])
    return _with_margin(low, high, np.concatenate([lines, lower, upper]), log=log)


def _cut(low: float, high: float, ordinary: Series) -> tuple[float, float]:
    """``low`` and ``high``, or ends near the ordinary values where these would all but vanish."""
    if not ordinary.size:
        return low, high
    bottom, top = float(ordinary.min()), float(ordinary.max())
    span = top - bottom or 0.05 * abs(top) or 0.01
    if high - low <= CUT_FACTOR * span:
        return low, high
    return max(low, bottom - span), min(high, top + span)


def _with_margin(low: float, high: float, drawn: Series, *, log: bool) -> Limits:
    """Ends with room for the width of a line, in the units of the metric."""
    margin = 0.04 * (high - low)
    low, high, lowest, highest = low - margin, high + margin, float(drawn.min()), float(drawn.max())
    above, below = highest if highest > high else None, lowest if lowest < low else None
    if not log:
        return Limits(low, high, above, below)
    return Limits(10.0**low, 10.0**high, *(None if end is None else 10.0**end for end in (above, below)))


def _ordinary(curves: Curves, log: bool) -> Series:
    """Numbers that span the ordinary values of some curves, shape (k,); none when no run was ever alive."""
    alive = np.arange(len(curves.epochs))[None, :] < curves.lives[:, None]
    values = _finite([curves.values[alive]], log)
    first = _finite([curves.values[:, :1][alive[:, :1]]], log)
    return np.concatenate([np.percentile(values, (1.0, 99.0)), first]) if values.size else values


def _lines(curves: Curves, all_singles: bool) -> list[Series]:
    return [curves.center, curves.values[:, 0 if all_singles else curves.single_from :]]


def _finite(parts: Iterable[Series], log: bool = False) -> Series:
    """All finite (for a log axis: positive) numbers, flat, and so capped that their spans are finite too."""
    flat = np.concatenate([np.empty(0), *(np.ravel(part) for part in parts)])
    flat = np.clip(flat[np.isfinite(flat)], -1e100, 1e100)
    return np.asarray(np.log10(np.maximum(flat[flat > 0], 1e-100)) if log else flat, dtype=np.float64)


def _metric_names(arm: ArmHistories) -> list[str]:
    return list(dict.fromkeys(name for history in arm.runs.values() for name in history))


def _series(history: History, metric: str) -> Series:
    return history[metric] if metric in history else np.full(history.epochs, np.nan)


def _ending(history: History, diverged: int | None) -> Ending:
    """Alive in training: to the end of the history, or to the epoch before the loss was lost."""
    if diverged is None and "loss" in history:
        broken = np.flatnonzero(~np.isfinite(history["loss"]))
        diverged = int(broken[0]) + 1 if broken.size else None
    if diverged is None:
        return Ending(history.epochs)
    return Ending(min(history.epochs, max(diverged - 1, 0)), diverged)


def _curves(series: Mapping[int, Series], lasts: Sequence[int], *, log: bool) -> Curves:
    longest = max((len(row) for row in series.values()), default=0)
    values = np.full((len(series), longest), np.nan)
    for row, one in zip(values, series.values(), strict=True):
        row[: len(one)] = one
    values[~np.isfinite(values)] = np.nan
    recorded = np.flatnonzero(np.isfinite(values).any(axis=0))
    values, epochs = values[:, recorded], recorded + 1
    trained = np.asarray(lasts, dtype=np.int64)
    alive = np.logical_and.accumulate(np.isfinite(values) & (epochs[None, :] <= trained[:, None]), axis=1)
    lives = alive.sum(axis=1)
    together = int(lives.min(initial=len(epochs)))
    enough = len(series) >= FEWEST_FOR_BAND and together > 0
    center, low, high = _mean_band(values[:, :together], log=log) if enough else (np.empty(0),) * 3
    return Curves(tuple(series), epochs, values, alive.sum(axis=0), lives, center, low, high, log)


def _mean_band(values: Series, *, log: bool) -> tuple[Series, Series, Series]:
    if not log:
        return mean_interval(values)
    if values.min() <= 0:
        raise ValueError(f"expected positive values for a mean in log space, found {values.min():g}")
    with np.errstate(over="ignore"):
        center, low, high = (np.exp(part) for part in mean_interval(np.log(values)))
    return center, low, high
