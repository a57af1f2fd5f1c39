import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from betterdl_cli.analysis.corrections import benjamini_hochberg, holm

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_benjamini_hochberg_by_hand() -> None:
    # ascending 0.01, 0.02, 0.03, 0.5, times 4/1, 4/2, 4/3, 4/4: 0.04, 0.04, 0.04, 0.5
    assert benjamini_hochberg([0.5, 0.03, 0.01, 0.02]).tolist() == pytest.approx([0.5, 0.04, 0.04, 0.04])


def test_holm_by_hand() -> None:
    # ascending 0.01, 0.02, 0.03, 0.5, times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.5
    assert holm([0.5, 0.03, 0.01, 0.02]).tolist() == pytest.approx([0.5, 0.06, 0.04, 0.06])


@given(P_VALUES)
def test_benjamini_hochberg_agrees_with_scipy(p_values: list[float]) -> None:
    assert benjamini_hochberg(p_values) == pytest.approx(stats.false_discovery_control(p_values), abs=1e-15)


@given(P_VALUES)
def test_neither_lowers_p_and_holm_is_the_stricter(p_values: list[float]) -> None:
    assert np.all(benjamini_hochberg(p_values) >= np.array(p_values) * (1 - 1e-15))
    assert np.all(holm(p_values) >= benjamini_hochberg(p_values) * (1 - 1e-15))


@pytest.mark.parametrize("correct", [benjamini_hochberg, holm])
def test_one_technique_is_not_corrected(correct: object) -> None:
    assert correct([0.031]).tolist() == [0.031]  # type: ignore[operator]


@pytest.mark.parametrize("correct", [benjamini_hochberg, holm])
def test_many_experiments_at_once(correct: object) -> None:
    p_values = np.random.default_rng(0).random((5, 7))
    assert correct(p_values).tolist() == [correct(row).tolist() for row in p_values]  # type: ignore[operator]


@pytest.mark.parametrize("p_values", [[1.2], [-0.1, 0.5], [float("nan")], 0.5])
def test_what_is_no_p_value_is_refused(p_values: object) -> None:
    with pytest.raises(ValueError, match="p values between 0 and 1"):
        holm(p_values)  # type: ignore[arg-type]
