import pathlib

import pytest
from shell import bdl
from stored import Stored, config_with

RUNS = pathlib.Path("runs")


@pytest.fixture
def stored(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Stored:
    monkeypatch.chdir(tmp_path)
    return Stored(RUNS, config_with(seeds=8))


def test_seeds_needed_come_from_the_spread_of_the_stored_pairs(stored: Stored) -> None:
    stored.add("control", [0.8] * 8)
    stored.add("dropout", [0.79, 0.81] * 4)  # differences of ±0.01: their standard deviation is 0.0107
    result = bdl("power", "made-up", "--effect", "0.0107")
    assert result.code == 0
    # one standard deviation: ten pairs find it in 4 of 5 cases
    assert result.out.startswith(
        "dropout against control: about 10 seeds are needed to find a difference of 0.0107 in 4 of 5 experiments; with "
        "the 8 that are there the chance is "
    )
    assert "(standard deviation of the differences 0.011, itself from only 8 pairs)." in result.out


def test_power_as_json(stored: Stored) -> None:
    stored.add("control", [0.8] * 8)
    stored.add("dropout", [0.79, 0.81] * 4)
    document = bdl("power", "made-up", "--effect", "0.02", "--json").json
    assert (document["schema"], document["metric"], document["effect"]) == ("bdl.power/1", "test_accuracy", 0.02)
    (arm,) = document["arms"]
    assert arm["sd"] == pytest.approx(0.01069, abs=1e-5)
    assert arm["seeds_needed"] <= 8
    assert 0.9 < arm["power_now"] <= 1.0


def test_equal_differences_tell_nothing(stored: Stored) -> None:
    stored.add("control", [0.8] * 8)
    stored.add("dropout", [0.9] * 8)
    assert (
        "all 8 differences are equal, which says nothing about other seeds."
        in bdl("power", "made-up", "--effect", "0.1").out
    )


def test_too_few_pairs_are_refused(stored: Stored) -> None:
    stored.add("control", [0.8, 0.7])
    stored.add("dropout", [0.9, 0.7])
    result = bdl("power", "made-up", "--effect", "0.1")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("bdl: expected at least 3 finished pairs in ")


def test_an_effect_of_nothing_is_refused(stored: Stored) -> None:
    assert bdl("power", "made-up", "--effect", "0").code == 2
    assert bdl("power", "made-up").code == 2
