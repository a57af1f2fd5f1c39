from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from betterdl_cli.datasets.base import DATASETS, Table

SHAPES = {
    "breast_cancer": (569, 30),
    "digits": (1797, 8, 8, 1),
    "make_circles": (60, 2),
    "make_moons": (60, 2),
}
CLASSES = {"breast_cancer": 2, "digits": 10, "make_circles": 2, "make_moons": 2}


def load(name: str, **parameters: Any) -> Table:
    return DATASETS.get(name).model_validate(parameters).load()


@pytest.mark.parametrize("name", DATASETS.names)
def test_table_has_the_types_shapes_and_classes_of_its_kind(name: str) -> None:
    cls = DATASETS.get(name)
    table = load(name, **cls.example)
    assert table.x.dtype == np.float32
    assert np.all(np.isfinite(table.x))
    assert table.x.ndim == cls.rank + 1
    assert table.y.shape == (table.rows,)
    if cls.task != "regression":
        assert table.y.dtype == np.int32
        assert sorted(set(table.y.tolist())) == list(range(table.classes))
        assert (table.classes == 2) == (cls.task == "binary")


@pytest.mark.parametrize("name", SHAPES)
def test_number_of_rows_columns_and_classes(name: str) -> None:
    table = load(name, **DATASETS.get(name).example)
    assert (table.x.shape, table.classes) == (SHAPES[name], CLASSES[name])


@pytest.mark.parametrize("name", DATASETS.names)
def test_same_parameters_give_the_same_rows(name: str) -> None:
    example = DATASETS.get(name).example
    first, second = load(name, **example), load(name, **example)
    assert first.x.tobytes() == second.x.tobytes()
    assert first.y.tobytes() == second.y.tobytes()


@pytest.mark.parametrize("name", ["make_circles", "make_moons"])
def test_generated_rows_are_those_of_scikit_learn(name: str) -> None:
    from sklearn import datasets

    x, y = getattr(datasets, name)(n_samples=50, noise=0.3, random_state=7)
    table = load(name, n_samples=50, noise=0.3, random_state=7)
    assert np.array_equal(table.x, x.astype(np.float32))
    assert np.array_equal(table.y, y)


def test_first_row_of_the_circles_of_the_lessons() -> None:
    table = load("make_circles", n_samples=1000, noise=0.1, random_state=1)
    assert table.x[0].tolist() == pytest.approx([0.92787748, -0.04521731], abs=1e-7)
    assert table.y[:8].tolist() == [1, 1, 0, 0, 0, 1, 0, 1]
    assert np.bincount(table.y).tolist() == [500, 500]


def test_circles_without_noise_have_their_radii() -> None:
    table = load("make_circles", n_samples=20, noise=0.0, factor=0.5)
    assert np.linalg.norm(table.x, axis=1) == pytest.approx(np.where(table.y == 0, 1.0, 0.5), abs=1e-6)


def test_moons_without_noise_are_half_circles() -> None:
    table = load("make_moons", n_samples=20, noise=0.0)
    upper = table.x[table.y == 0]
    lower = table.x[table.y == 1] - np.float32([1.0, 0.5])
    assert np.linalg.norm(upper, axis=1) == pytest.approx(np.ones(10), abs=1e-6)
    assert np.linalg.norm(lower, axis=1) == pytest.approx(np.ones(10), abs=1e-6)
    assert upper[:, 1].min() >= -1e-6
    assert lower[:, 1].max() <= 1e-6


@pytest.mark.parametrize("name", ["make_circles", "make_moons"])
@pytest.mark.parametrize("other", [{"random_state": 2}, {"noise": 0.3}, {"n_samples": 61}])
def test_every_parameter_changes_the_rows(name: str, other: dict[str, Any]) -> None:
    assert load(name, n_samples=60).x.tobytes() != load(name, **{"n_samples": 60, **other}).x.tobytes()


def test_tumours_are_malignant_zero_or_benign_one() -> None:
    table = load("breast_cancer")
    assert table.x[0, :3].tolist() == pytest.approx([17.99, 10.38, 122.8], rel=1e-6)
    assert np.bincount(table.y).tolist() == [212, 357]


def test_digits_are_images_with_values_up_to_sixteen() -> None:
    table = load("digits")
    assert table.x[0, 0, :, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert table.y[:10].tolist() == list(range(10))
    assert (table.x.min(), table.x.max()) == (0, 16)


@pytest.mark.parametrize(
    "given",
    [{"n_samples": 3}, {"n_samples": 10_000_001}, {"noise": -0.1}, {"random_state": -1}, {"random_state": 2**32},
     {"factor": 1.0}],
)  # fmt: skip
def test_parameter_of_circles_that_scikit_learn_would_refuse_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        load("make_circles", **given)
