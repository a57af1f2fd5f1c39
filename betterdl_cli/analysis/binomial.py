"""Exact binomial probabilities, the interval of a share, and what the failures of two arms say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


def binomial_cdf(successes: int, trials: int, probability: float) -> float:
    """The probability of at most ``successes`` in ``trials``: the plain sum, in logarithms so that none overflows."""
    if successes >= trials or probability <= 0.0:
        return 1.0 if successes >= 0 else 0.0
    if successes < 0 or probability >= 1.0:
        return 0.0
    k = np.arange(1, successes + 1)
    log_ways = np.concatenate([[0.0], np.cumsum(np.log((trials - k + 1) / k))])
    k = np.arange(successes + 1)
    return min(1.0, float(np.exp(log_ways + k * math.log(probability) + (trials - k) * math.log1p(-probability)).sum()))


def share_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson 1934, https://doi.org/10.1093/biomet/26.4.404).

    Its ends are the shares at which as few, or as many, successes have a probability of (1 − confidence) / 2.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"expected 0 to {trials} successes in at least 1 trial, found {successes} in {trials}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"expected a confidence between 0 and 1, found {confidence}")
    tail = (1.0 - confidence) / 2
    failures = trials - successes
    low = 0.0 if not successes else 1.0 - _falls_to(tail, lambda share: binomial_cdf(failures, trials, share))
    high = 1.0 if not failures else _falls_to(tail, lambda share: binomial_cdf(successes, trials, share))
    return low, high


def _falls_to(value: float, falling: Callable[[float], float]) -> float:
    """Where a function that falls from 1 to 0 on the unit interval has that value, by bisection."""
    low, high = 0.0, 1.0
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if falling(middle) > value else (low, middle)
    return high


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Exact two-sided McNemar test of two counts of discordant pairs (McNemar 1947; binomial with share ½)."""
    discordant, fewer = only_first + only_second, min(only_first, only_second)
    return min(1.0, 2 * sum(math.comb(discordant, count) for count in range(fewer + 1)) / float(2**discordant))


def unseen_failure_rate(runs: int) -> float:
    """The rate that failures stay below, with 95 % confidence, when none of ``runs`` failed: (1 − rate)ⁿ = 0.05."""
    return 1.0 if runs == 0 else float(1.0 - 0.05 ** (1.0 / runs))


@dataclass(frozen=True)
class Failures:
    """How often two arms failed on the same seeds; ``p_value`` is McNemar's, from seeds on which only one failed."""

    n_pairs: int
    both: int
    only_control: int
    only_treatment: int
    p_value: float

    @classmethod
    def of(cls, control: Sequence[bool], treatment: Sequence[bool]) -> Failures:
        """:param control: whether each run of the control failed, ``treatment`` in the same order of seeds"""
        if len(control) != len(treatment):
            raise ValueError(f"expected one run of each arm per seed, found {len(control)} and {len(treatment)}")
        pairs = list(zip(control, treatment, strict=True))
        first, second = pairs.count((True, False)), pairs.count((False, True))
        return cls(len(pairs), pairs.count((True, True)), first, second, mcnemar_p(first, second))
