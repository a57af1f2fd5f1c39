"""Numbers and names as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def number(value: float | None, digits: int = 3) -> str:
    """Fixed digits; one digit, or scientific, where they would show nothing or too much."""
    if value is None:
        return "–"
    if 1e-4 <= abs(value) < 0.5 * 10**-digits:
        return f"{value:.1g}"
    if value != 0 and (abs(value) < 0.5 * 10**-digits or abs(value) >= 1e5):
        return f"{value:.2e}"
    return f"{value:.{digits}f}"


def seconds(value: float) -> str:
    """One digit after the point; under a second, thousandths."""
    return f"{value:.1f}" if value >= 1 else f"{value:.3f}"


def signed(value: float | None, digits: int = 3) -> str:
    """As :func:`number`, with a plus sign or a real minus; zero has none."""
    if value is None:
        return "–"
    sign = "−" if value < 0 else "+" if value > 0 else ""
    return sign + number(abs(value), digits)


def mean_sd(spread: Mapping[str, Any] | None, digits: int = 3) -> str:
    """``0.834 ± 0.012``; without the sd for a single run."""
    if spread is None:
        return "–"
    sd = "" if spread["sd"] is None else f" ± {number(spread['sd'], digits)}"
    return number(spread["mean"], digits) + sd


def metric_words(metric: str) -> str:
    """``test_accuracy`` → ``test accuracy``."""
    part, _, name = metric.partition("_")
    return f"{'validation' if part == 'val' else part} {name.replace('_', ' ')}".strip()
