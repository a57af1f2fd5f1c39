import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from betterdl_cli.analysis.student import mean_interval, t_cdf, t_quantile, t_tails

DEGREES = [*range(1, 31), 47, 99, 150, 199, 200]


@pytest.mark.parametrize("degrees", DEGREES)
def test_cdf_agrees_with_scipy(degrees: int) -> None:
    for t in (-50.0, -4.3, -1.0, -0.01, 0.0, 0.3, 0.99, 1.7, 2.5, 12.7, 300.0):
        assert t_cdf(t, degrees) == pytest.approx(stats.t.cdf(t, degrees), abs=1e-10)


@pytest.mark.parametrize("degrees", DEGREES)
def test_quantile_agrees_with_scipy(degrees: int) -> None:
    for probability in (1e-6, 0.005, 0.025, 0.2, 0.45, 0.6, 0.9, 0.975, 0.9995):
        expected = stats.t.ppf(probability, degrees)
        assert t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-10, abs=1e-10)


def test_quantile_of_a_half_is_zero() -> None:
    assert t_quantile(0.5, 7) == 0.0


def test_quantile_with_two_degrees_of_freedom_by_hand() -> None:
    # closed form for df = 2: t = (2p - 1) * sqrt(2 / (4 p (1 - p)))
    assert t_quantile(0.975, 2) == pytest.approx(0.95 * math.sqrt(2 / (4 * 0.975 * 0.025)), rel=1e-12)


def test_quantile_inverts_the_cdf_close_to_the_middle() -> None:
    assert t_cdf(t_quantile(0.5 + 1e-7, 4), 4) == pytest.approx(0.5 + 1e-7, abs=1e-15)


def test_cdf_of_infinities() -> None:
    assert (t_cdf(-math.inf, 3), t_cdf(math.inf, 3)) == (0.0, 1.0)


def test_cdf_survives_squares_that_overflow() -> None:
    assert t_cdf(1e300, 1) == 1.0


@pytest.mark.parametrize("degrees", [0, 0.5, -1, math.nan, math.inf])
def test_degrees_of_freedom_out_of_range_are_refused(degrees: float) -> None:
    with pytest.raises(ValueError, match="degree of freedom"):
        t_quantile(0.9, degrees)


@pytest.mark.parametrize("probability", [0.0, 1.0, -0.1, math.nan])
def test_probability_out_of_range_is_refused(probability: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        t_quantile(probability, 3)


def test_cdf_refuses_nan() -> None:
    with pytest.raises(ValueError, match="nan"):
        t_cdf(math.nan, 3)


def test_mean_interval_by_hand() -> None:
    # 1, 2, 3: sd 1, standard error 1/sqrt(3), t(0.975; 2) = 4.302652729749461
    mean, low, high = mean_interval([[1.0], [2.0], [3.0]])
    half = 4.302652729749461 / math.sqrt(3)
    assert [mean[0], low[0], high[0]] == pytest.approx([2.0, 2.0 - half, 2.0 + half], rel=1e-10)


def test_mean_interval_works_epoch_by_epoch() -> None:
    mean, low, high = mean_interval(np.array([[1.0, 5.0], [3.0, 5.0]]))
    assert mean.tolist() == [2.0, 5.0]
    assert (low[1], high[1]) == (5.0, 5.0)
    assert low[0] < 2.0 < high[0]


def test_mean_interval_is_wider_with_more_confidence() -> None:
    values = [[1.0], [2.0], [4.0]]
    assert mean_interval(values, 0.99)[2][0] > mean_interval(values, 0.9)[2][0]


def test_mean_interval_of_an_epoch_without_finite_values_is_not_finite() -> None:
    mean, low, high = mean_interval([[np.inf, 1.0], [2.0, 1.0], [1e308, 1.0]])
    assert not np.isfinite([mean[0], low[0], high[0]]).any()
    assert mean[1] == 1.0


@pytest.mark.parametrize("values", [3.0, [[1.0, 2.0]], np.empty((0, 4))])
def test_mean_interval_needs_two_observations(values: object) -> None:
    with pytest.raises(ValueError, match="at least 2 observations"):
        mean_interval(values)  # type: ignore[arg-type]


def test_importing_the_analysis_of_curves_loads_nothing_heavier_than_numpy() -> None:
    code = "import sys, betterdl_cli.analysis.curves; print(*sorted({n.split('.')[0] for n in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "numpy" in loaded
    assert not {"scipy", "matplotlib", "keras", "tensorflow", "sklearn", "pydantic"} & set(loaded)


def test_tails_agree_with_scipy_on_both_sides() -> None:
    t = np.array([[-40.0, -1.0, 0.0], [0.5, 3.0, 60.0]])
    assert t_tails(t, 7) == pytest.approx(stats.t.sf(t, 7), rel=1e-9)
