"""The exact two-sided sign-flip test of paired differences: how often chance alone gives a mean as far from 0.

When a technique changes nothing, every difference could as well have had the other sign (Fisher 1935, The Design of
Experiments, section 21). The p value is the share of all sign patterns whose mean is as far from 0 as the one seen;
``scipy.stats.permutation_test(..., permutation_type="samples")`` gives the same.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from betterdl_cli.history import Series

MOST_ENUMERATED = 16
RESAMPLES = 99_999
_ROWS, _COLUMNS = 16, 8_000  # sums held at once: they fit into a processor's cache


def sign_flip_p(differences: ArrayLike) -> Series:
    """Two-sided p over the last axis, of shape ``differences.shape[:-1]``.

    Up to 16 differences all sign patterns are counted. Beyond, 99 999 random ones, always the same, and
    p = (1 + count) / (1 + 99 999), which keeps the test valid (Phipson and Smyth 2010). Neither the order of the
    differences nor exchanging the two arms changes p.
    """
    sizes = np.abs(np.asarray(differences, dtype=np.float64))
    if sizes.ndim == 0 or sizes.shape[-1] == 0:
        raise ValueError(f"expected at least 1 difference along the last axis, found shape {sizes.shape}")
    n, shape = sizes.shape[-1], sizes.shape[:-1]
    signed = np.asarray(differences, dtype=np.float64).reshape(-1, n)
    sizes = np.sort(sizes.reshape(-1, n), axis=1)  # only sizes matter: with them p is that of any order of the pairs
    least = np.abs(signed.sum(axis=1)) - tolerance(signed)
    patterns = _all_patterns(n) if n <= MOST_ENUMERATED else _random_patterns(n)
    count = np.zeros(len(sizes), dtype=np.int64)
    for row in range(0, len(sizes), _ROWS):
        rows = slice(row, row + _ROWS)
        for column in range(0, patterns.shape[1], _COLUMNS):
            sums = sizes[rows] @ patterns[:, column : column + _COLUMNS]
            np.abs(sums, out=sums)
            count[rows] += np.count_nonzero(sums >= least[rows, None], axis=1)
    total = patterns.shape[1]
    p = count / total if n <= MOST_ENUMERATED else (1 + count) / (1 + total)
    return np.asarray(p, dtype=np.float64).reshape(shape)


def tolerance(differences: ArrayLike) -> Series:
    """How far apart two sums of the differences (last axis) may be and still count as equal.

    A thousandth of the median size. Scores are float32, so the accuracies 2/3 and 1/3 differ by 0.3333334: without a
    tolerance the rounding would break the ties of sums of such steps, and p would be too small. Counting near sums as
    ties can only make p larger, for continuous differences by about a thousandth of itself. The median and not the
    largest, so that one run that went far astray does not make everything a tie.
    """
    sizes = np.abs(np.asarray(differences, dtype=np.float64))
    real = np.where(sizes > 1e-12 * sizes.max(axis=-1, keepdims=True), sizes, np.inf)
    nonzero = np.isfinite(real).sum(axis=-1)
    middle = np.maximum(nonzero - 1, 0) // 2
    median = np.take_along_axis(np.sort(real, axis=-1), middle[..., None], axis=-1)[..., 0]
    return np.asarray(np.where(nonzero > 0, 1e-3 * median, 0.0) + 1e-14 * sizes.sum(axis=-1), dtype=np.float64)


def _all_patterns(n: int) -> NDArray[np.float64]:
    """Every pattern with a first sign of +1, shape (n, 2ⁿ⁻¹): the others are their mirror images."""
    bits = (np.arange(2 ** (n - 1)) >> np.arange(n)[:, None]) & 1
    return 1.0 - 2.0 * bits[::-1].astype(np.float64)


@lru_cache(maxsize=1)
def _random_patterns(n: int) -> NDArray[np.float64]:
    """Shape (n, 99 999). From raw 64-bit words, because NumPy promises that those never change."""
    words = (n + 63) // 64
    raw = np.random.PCG64(20_240_229).random_raw(RESAMPLES * words).reshape(words, RESAMPLES)
    bits = [(raw[i // 64] >> np.uint64(i % 64)) & np.uint64(1) for i in range(n)]
    return 1.0 - 2.0 * np.array(bits, dtype=np.float64)
