"""Student's t distribution without SciPy: probabilities, quantiles and the interval of a mean.

Source of the formulas: NIST Digital Library of Mathematical Functions, 8.17 (https://dlmf.nist.gov/8.17): the
continued fraction 8.17.22 of the regularised incomplete beta function and its reflection 8.17.4, evaluated by
Lentz's method in the modified form of Thompson and Barnett (1986). Accurate to 1e-10 for 1 to 200 degrees of
freedom.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from betterdl_cli.history import Series

_TINY = 1e-300
_MAX_STEPS = 10_000


def t_cdf(t: float, degrees_of_freedom: float) -> float:
    """The probability that a t-distributed number is at most ``t``.

    Raises ValueError for a NaN and for degrees of freedom that are below 1 or not finite.
    """
    _check_degrees(degrees_of_freedom)
    if math.isnan(t):
        raise ValueError("expected a number, found nan")
    tail = _upper_tail(abs(t), degrees_of_freedom)
    return 1.0 - tail if t > 0 else tail


def t_quantile(probability: float, degrees_of_freedom: float) -> float:
    """The number that a t-distributed one stays below with ``probability``, strictly between 0 and 1.

    Raises ValueError for a probability outside (or within 1e-100 of 0), and for degrees of freedom that are
    below 1 or not finite.
    """
    _check_degrees(degrees_of_freedom)
    if not 1e-100 <= probability < 1.0:  # thinner tails leave the range of floating-point numbers
        raise ValueError(f"expected a probability between 0 and 1, found {probability}")
    tail = min(probability, 1.0 - probability)
    return math.copysign(_tail_quantile(tail, degrees_of_freedom), probability - 0.5)


def t_tails(t: ArrayLike, degrees_of_freedom: float) -> Series:
    """The probability beyond each ``t``, of the shape of ``t``: 1 − :func:`t_cdf`, exact far out too."""
    values = np.asarray(t, dtype=np.float64)
    tails = [
        1.0 - t_cdf(value, degrees_of_freedom) if value < 0 else t_cdf(-value, degrees_of_freedom)
        for value in values.ravel().tolist()
    ]
    return np.array(tails, dtype=np.float64).reshape(values.shape)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[Series, Series, Series]:
    """The mean over axis 0 with its t interval: ``(mean, low, high)``, each of shape ``values.shape[1:]``.

    :param values: independent observations along axis 0, shape (n, epochs) with n >= 2; an epoch that holds a
        value that is not finite has no finite mean and interval either
    :param confidence: share of intervals that cover the true mean of normally distributed values
    Raises ValueError for fewer than two observations and for a confidence not strictly between 0 and 1.
    """
    observed = np.asarray(values, dtype=np.float64)
    if observed.ndim == 0 or len(observed) < 2:
        raise ValueError(f"expected at least 2 observations along axis 0, found shape {observed.shape}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"expected a confidence between 0 and 1, found {confidence}")
    count = len(observed)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = observed.mean(axis=0)
        half = t_quantile(0.5 + confidence / 2, count - 1) * observed.std(axis=0, ddof=1) / math.sqrt(count)
        return mean, mean - half, mean + half


def _check_degrees(degrees_of_freedom: float) -> None:
    if not (degrees_of_freedom >= 1 and math.isfinite(degrees_of_freedom)):
        raise ValueError(f"expected at least 1 degree of freedom, found {degrees_of_freedom}")


def _upper_tail(t: float, degrees_of_freedom: float) -> float:
    """Probability beyond ``t`` >= 0: half of I_x(df / 2, 1 / 2) at x = df / (df + t^2), DLMF 8.17.2."""
    if math.isinf(t):
        return 0.0
    ratio = t / math.sqrt(degrees_of_freedom)
    hypotenuse = math.hypot(1.0, ratio)  # squares only after dividing: t^2 may overflow
    x, complement = hypotenuse**-2, (ratio / hypotenuse) ** 2
    if complement == 0.0:
        return 0.5
    a, b = degrees_of_freedom / 2, 0.5
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    weight = math.exp(-2 * a * math.log(hypotenuse) + b * math.log(complement) - log_beta)
    if x < (a + 1) / (a + b + 2):  # the side on which the fraction converges fast
        return 0.5 * weight / a * _beta_fraction(a, b, x)
    return 0.5 * (1.0 - weight / b * _beta_fraction(b, a, complement))


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of DLMF 8.17.22, evaluated forwards."""
    numerator = 1.0
    denominator = _inverse(1.0 - (a + b) / (a + 1) * x)
    value = denominator
    for m in range(1, _MAX_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for coefficient in (even, odd):
            denominator = _inverse(1.0 + coefficient * denominator)
            numerator = 1.0 + coefficient / (numerator or _TINY)
            factor = numerator * denominator
            value *= factor
        if abs(factor - 1.0) < 1e-15:
            return value
    raise ArithmeticError(f"the incomplete beta function did not converge for a={a}, b={b}, x={x}")


def _inverse(value: float) -> float:
    return 1.0 / (value or _TINY)


def _density(t: float, degrees_of_freedom: float) -> float:
    half = degrees_of_freedom / 2
    log_scale = math.lgamma(half + 0.5) - math.lgamma(half) - 0.5 * math.log(degrees_of_freedom * math.pi)
    return math.exp(log_scale - (2 * half + 1) * math.log(math.hypot(1.0, t / math.sqrt(degrees_of_freedom))))


def _tail_quantile(tail: float, degrees_of_freedom: float) -> float:
    """The ``t`` >= 0 with probability ``tail`` (at most 0.5) beyond it.

    The tail is convex in t, so Newton's steps from below the root rise to it and never overshoot.
    """
    t = 0.0
    following = 1.0
    while _upper_tail(following, degrees_of_freedom) > tail:
        t, following = following, 2 * following
    for _ in range(100):
        step = (_upper_tail(t, degrees_of_freedom) - tail) / _density(t, degrees_of_freedom)
        t += step
        if step <= 1e-15 * t:
            break
    return t
