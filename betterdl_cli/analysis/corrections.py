"""P values of several techniques in one experiment, corrected for their number."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from betterdl_cli.history import Series


def benjamini_hochberg(p_values: ArrayLike) -> Series:
    """Adjusted p values over the last axis: calling those <= q keeps the expected share of false claims below q.

    Benjamini and Hochberg (1995), https://doi.org/10.1111/j.2517-6161.1995.tb02031.x; equals
    ``scipy.stats.false_discovery_control``.
    """
    p = _checked(p_values)
    count = p.shape[-1]
    order = np.argsort(p, axis=-1)[..., ::-1]
    scaled = np.take_along_axis(p, order, axis=-1) * count / np.arange(count, 0, -1)
    adjusted = np.minimum(np.minimum.accumulate(scaled, axis=-1), 1.0)
    return np.take_along_axis(adjusted, np.argsort(order, axis=-1), axis=-1)


def holm(p_values: ArrayLike) -> Series:
    """Adjusted p values over the last axis: calling those <= q keeps the chance of any false claim below q.

    Holm (1979), Scandinavian Journal of Statistics 6, 65-70.
    """
    p = _checked(p_values)
    count = p.shape[-1]
    order = np.argsort(p, axis=-1)
    scaled = np.take_along_axis(p, order, axis=-1) * np.arange(count, 0, -1)
    adjusted = np.minimum(np.maximum.accumulate(scaled, axis=-1), 1.0)
    return np.take_along_axis(adjusted, np.argsort(order, axis=-1), axis=-1)


def _checked(p_values: ArrayLike) -> Series:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim == 0 or not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"expected p values between 0 and 1, found {p_values!r}")
    return p
