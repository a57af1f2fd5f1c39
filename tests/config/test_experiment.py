from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from betterdl_cli.config.experiment import Experiment
from betterdl_cli.config.reading import read_experiment
from betterdl_cli.errors import ConfigError

Edit = Callable[[dict[str, Any]], object]


def faults_of(plain: dict[str, Any], **sections: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_experiment({**plain, **sections})
    return [str(fault) for fault in caught.value.faults]


# ---- names ----

NAME = "expected a name of a-z, 0-9, '.', '_' and '-' that begins with a letter or a digit"


@pytest.mark.parametrize("name", ["a", "0", "batch-norm", "v1.2_b", "x" * 100])
def test_name_that_is_valid(plain: dict[str, Any], name: str) -> None:
    assert read_experiment({**plain, "name": name}).name == name


@pytest.mark.parametrize("name", ["", "a/b", "../a", "A", "a b", "-a", ".a", "a\n", "ü", "a\x00"])
def test_name_that_is_no_folder_name_is_refused(plain: dict[str, Any], name: str) -> None:
    (fault,) = faults_of(plain, name=name)
    assert fault.startswith(f"name: {NAME}, found the text '")


def test_name_that_is_too_long_is_refused(plain: dict[str, Any]) -> None:
    assert faults_of(plain, name="x" * 101) == ["name: expected a name of at most 100 characters, found 101 characters"]


def test_name_that_is_a_number_is_refused(plain: dict[str, Any]) -> None:
    assert faults_of(plain, name=5) == ["name: expected a text, found 5"]


# ---- seeds ----


@pytest.mark.parametrize(
    ("given", "seeds"),
    [(1, (0,)), (3, (0, 1, 2)), ([3, 5, 8], (3, 5, 8)), ([7], (7,)), ("10..12", (10, 11, 12)), ("3-5", (3, 4, 5)),
     (" 2 .. 2 ", (2,)), ([2**31 - 1], (2**31 - 1,))],
)  # fmt: skip
def test_seeds_as_number_list_or_range(plain: dict[str, Any], given: object, seeds: tuple[int, ...]) -> None:
    assert read_experiment({**plain, "seeds": given}).seeds == seeds


def test_ten_thousand_seeds_are_the_most(plain: dict[str, Any]) -> None:
    assert len(read_experiment({**plain, "seeds": 10_000}).seeds) == 10_000


SEEDS = "expected a number of seeds (10), a list ([3, 5, 8]), a range with both ends (10..19) or auto"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (0, "expected at least one seed, found none"),
        ([], "expected at least one seed, found none"),
        (-1, f"{SEEDS}, found -1"),
        (1.0, f"{SEEDS}, found 1.0"),
        (True, f"{SEEDS}, found the truth value true"),
        ("x", f"{SEEDS}, found the text 'x'"),
        ("10", f"{SEEDS}, found the text '10'"),
        (None, f"{SEEDS}, found nothing"),
        ({"a": 1}, f"{SEEDS}, found a mapping"),
        ([1, "x"], "expected whole numbers from 0 to 2147483647 as seeds, found the text 'x'"),
        ([True], "expected whole numbers from 0 to 2147483647 as seeds, found the truth value true"),
        ([-1], "expected whole numbers from 0 to 2147483647 as seeds, found -1"),
        ([2**31], "expected whole numbers from 0 to 2147483647 as seeds, found 2147483648"),
        ([4, 2, 4], "expected different seeds, found 4 twice"),
        ("5..3", "expected a range from a lower to a higher seed, found 5..3"),
        (10_001, "expected at most 10000 seeds, found 10001"),
        (10**14, "expected at most 10000 seeds, found 100000000000000"),
        ("0..999999999", "expected at most 10000 seeds, found 1000000000"),
        ("0..100000000000", "expected at most 10000 seeds, found 100000000001"),
        ("2147483648..2147483648", "expected whole numbers from 0 to 2147483647 as seeds, found 2147483648"),
        ([-1, 10**20], f"expected whole numbers from 0 to 2147483647 as seeds, found -1, {10**20}"),
        ([-1, 4, 4], "expected whole numbers from 0 to 2147483647 as seeds, found -1; expected different seeds, "
         "found 4 twice"),
    ],
)  # fmt: skip
def test_seeds_that_are_refused(plain: dict[str, Any], given: object, message: str) -> None:
    assert faults_of(plain, seeds=given) == [f"seeds: {message}"]


# ---- identity ----


def changed(plain: dict[str, Any], edit: Edit) -> Experiment:
    other = copy.deepcopy(plain)
    edit(other)
    return read_experiment(other)


@pytest.fixture
def whole(plain: dict[str, Any]) -> dict[str, Any]:
    plain["base"] = {"gaussian_noise": {"where": "hidden"}, "batch_norm": {}}
    plain["techniques"] = {"l2": {"l2": 0.1}}
    plain["arms"] = {"both": {"l1": {}, "dropout": {}}}
    return plain


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c.update(name="other"),
        lambda c: c.update(seeds=[5]),
        lambda c: c.update(store={"weights": False, "predictions": False}),
        lambda c: c.update(metric="test_accuracy"),
        lambda c: c["data"].update(noise=0.1),
        lambda c: c["training"].update(batch_size=16),
        lambda c: c["data"].update(factor=0.8, random_state=1),
    ],
)
def test_id_does_not_depend_on_name_seeds_store_and_defaults_written_out(whole: dict[str, Any], edit: Edit) -> None:
    assert changed(whole, edit).id == read_experiment(whole).id


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c["data"].update(noise=0.2),
        lambda c: c["data"].update(kind="make_moons"),
        lambda c: c["data"]["split"].update(seed=1),
        lambda c: c["model"].update(hidden=[9]),
        lambda c: c["training"].update(epochs=6),
        lambda c: c["training"].update(validation_batch_size=8),
        lambda c: c["training"]["optimizer"].update(learning_rate=0.2),
        lambda c: c["base"].pop("batch_norm"),
        lambda c: c.update(base=dict(reversed(c["base"].items()))),
        lambda c: c["techniques"].update(l2={"l2": 0.2}),
        lambda c: c["techniques"].update(l1={}),
        lambda c: c["arms"].pop("both"),
        lambda c: c["arms"].update(both=dict(reversed(c["arms"]["both"].items()))),
        lambda c: c["arms"].update(other=c["arms"].pop("both")),
        lambda c: c.update(metric="test_loss"),
    ],
)
def test_id_depends_on_all_that_is_trained_and_measured(whole: dict[str, Any], edit: Edit) -> None:
    assert changed(whole, edit).id != read_experiment(whole).id


def test_order_of_treatments_does_not_change_the_id(plain: dict[str, Any]) -> None:
    one = read_experiment({**plain, "techniques": {"l1": {}, "l2": {}}})
    other = read_experiment({**plain, "techniques": {"l2": {}, "l1": {}}})
    assert one.id == other.id


def test_directory_is_named_by_name_and_id(plain: dict[str, Any]) -> None:
    experiment = read_experiment(plain)
    assert experiment.directory_name == f"t-{experiment.id}"
    assert len(experiment.id) == 8


# ---- smoke ----


def test_smoke_run_is_small(plain: dict[str, Any]) -> None:
    plain["training"]["epochs"] = 500
    small = read_experiment({**plain, "seeds": [4, 6, 9]}).reduced()
    assert (small.training.epochs, small.seeds, small.data.row_limit) == (3, (4, 6), 64)
    assert small.resolved["training"]["epochs"] == 3
    assert small.resolved["seeds"] == [4, 6]


def test_smoke_run_has_its_own_directory(plain: dict[str, Any]) -> None:
    plain["training"]["epochs"] = 2  # fewer than a smoke run would have, so that only the rows differ
    experiment = read_experiment(plain)
    small = experiment.reduced()
    assert small.training.epochs == 2
    assert small.id != experiment.id
    assert small.directory_name == f"t-smoke-{small.id}"


def test_smoke_run_leaves_the_experiment_as_it_was(plain: dict[str, Any]) -> None:
    experiment = read_experiment(plain)
    before = copy.deepcopy(experiment)
    experiment.reduced()
    assert experiment == before
    assert not experiment.smoke
