from __future__ import annotations

from typing import Any

import pytest

from betterdl_cli.config.experiment import Experiment
from betterdl_cli.config.reading import read_experiment
from betterdl_cli.errors import ConfigError

TWO: dict[str, Any] = {"dropout": {"rate": 0.2}, "l2": {}}
THREE: dict[str, Any] = {**TWO, "batch_norm": {}}
SEVEN: dict[str, Any] = {**THREE, "l1": {}, "l1_l2": {}, "gaussian_noise": {}, "normalize_inputs": {}}


def experiment(plain: dict[str, Any], **sections: Any) -> Experiment:
    return read_experiment({**plain, **sections})


def arms(plain: dict[str, Any], **sections: Any) -> list[tuple[str, str]]:
    """Id and reference of the arms beside the control."""
    return [(recipe.id, recipe.reference) for recipe in experiment(plain, **sections).recipes]


def faults_of(plain: dict[str, Any], **sections: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        experiment(plain, **sections)
    return [str(fault) for fault in caught.value.faults]


# ---- which arms there are ----


def test_one_at_a_time_is_the_default(plain: dict[str, Any]) -> None:
    expected = [("dropout", "control"), ("l2", "control"), ("both", "control")]
    stacked = {"both": ["dropout", "l2"]}
    assert arms(plain, techniques=TWO, arms=stacked) == expected
    assert arms(plain, techniques=TWO, arms=stacked, design="one-at-a-time") == expected
    assert experiment(plain).judging.design == "one-at-a-time"


def test_leave_one_out_holds_each_against_the_arm_with_all(plain: dict[str, Any]) -> None:
    assert arms(plain, techniques=THREE, design="leave-one-out") == [
        ("full", "control"),
        ("without-dropout", "full"),
        ("without-l2", "full"),
        ("without-batch_norm", "full"),
    ]
    recipes = {recipe.id: recipe for recipe in experiment(plain, techniques=THREE, design="leave-one-out").recipes}
    assert [use.technique for use in recipes["full"].uses] == list(THREE)
    assert [use.technique for use in recipes["without-l2"].uses] == ["dropout", "batch_norm"]
    assert recipes["without-l2"].uses[0].parameters["rate"] == 0.2


def test_factorial_has_every_combination(plain: dict[str, Any]) -> None:
    assert [name for name, _ in arms(plain, techniques=THREE, design="factorial")] == [
        "dropout",
        "l2",
        "batch_norm",
        "dropout-and-l2",
        "dropout-and-batch_norm",
        "l2-and-batch_norm",
        "dropout-and-l2-and-batch_norm",
    ]
    assert {reference for _, reference in arms(plain, techniques=THREE, design="factorial")} == {"control"}


def test_six_techniques_are_the_most_of_a_factorial(plain: dict[str, Any]) -> None:
    six = {name: SEVEN[name] for name in list(SEVEN)[:6]}
    assert len(arms(plain, techniques=six, design="factorial")) == 63


@pytest.mark.parametrize("design", ["one-at-a-time", "leave-one-out", "factorial"])
def test_an_a_a_arm_is_the_last(plain: dict[str, Any], design: str) -> None:
    recipes = experiment(plain, techniques=TWO, design=design, aa=True).recipes
    assert [recipe.id for recipe in recipes if recipe.seed_stream] == ["control-aa"]
    assert (recipes[-1].id, recipes[-1].uses, recipes[-1].reference) == ("control-aa", (), "control")


def test_an_a_a_arm_needs_no_technique(plain: dict[str, Any]) -> None:
    assert arms(plain, techniques={}, arms={}, aa=True) == [("control-aa", "control")]


# ---- what is refused ----


@pytest.mark.parametrize(
    ("design", "expected"), [("leave-one-out", "at least 2 techniques"), ("factorial", "2 to 6 techniques")]
)
@pytest.mark.parametrize("techniques", [{}, {"dropout": {}}])
def test_a_design_of_fewer_than_two_techniques_is_refused(
    plain: dict[str, Any], design: str, expected: str, techniques: dict[str, Any]
) -> None:
    assert faults_of(plain, techniques=techniques, design=design) == [
        f"techniques: expected {expected} for the design {design}, found {len(techniques)}"
    ]


def test_a_factorial_of_seven_is_refused(plain: dict[str, Any]) -> None:
    assert faults_of(plain, techniques=SEVEN, design="factorial") == [
        "techniques: expected 2 to 6 techniques for the design factorial, found 7"
    ]


@pytest.mark.parametrize("design", ["leave-one-out", "factorial"])
def test_sweeps_and_arms_are_refused_together(plain: dict[str, Any], design: str) -> None:
    techniques = {"dropout": {"rate": [0.1, 0.2]}, "l2": {}}
    assert faults_of(plain, techniques=techniques, arms={"both": ["l2", "batch_norm"]}, design=design) == [
        f"techniques.dropout: expected single values for the design {design}, found a sweep of 2 arms",
        f"arms: expected no arms beside those of the design {design}, found 1",
    ]


def test_an_unknown_design_is_corrected(plain: dict[str, Any]) -> None:
    assert faults_of(plain, design="factorail") == [
        "design: expected 'one-at-a-time', 'leave-one-out' or 'factorial', found the text 'factorail' "
        "(did you mean 'factorial'?)"
    ]


def test_an_arm_of_the_name_of_the_a_a_arm_is_refused(plain: dict[str, Any]) -> None:
    assert faults_of(plain, techniques={}, arms={"control-aa": ["l2", "dropout"]}, aa=True) == [
        "aa: expected arms with different names, found 'control-aa' twice"
    ]


# ---- how it is judged ----


@pytest.mark.parametrize(("metric", "margin"), [("test_accuracy", 0.01), ("test_loss", None)])
def test_the_usual_margin_is_one_point_of_accuracy(plain: dict[str, Any], metric: str, margin: float | None) -> None:
    assert experiment(plain, metric=metric).judging.equivalence_margin == margin
    assert experiment(plain, metric=metric, equivalence_margin=0.5).judging.equivalence_margin == 0.5


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"equivalence_margin": 0}, "equivalence_margin: expected a number > 0, found 0"),
        ({"equivalence_margin": float("inf")}, "equivalence_margin: expected a finite number, found inf"),
        ({"equivalence_margin": True}, "equivalence_margin: expected a number, found the truth value true"),
        ({"alpha": 0}, "alpha: expected a number > 0, found 0"),
        ({"alpha": 0.6}, "alpha: expected a number ≤ 0.5, found 0.6"),
        ({"alpha": "5 %"}, "alpha: expected a number, found the text '5 %'"),
        ({"aa": 1}, "aa: expected true or false, found 1"),
    ],
)
def test_how_it_cannot_be_judged(plain: dict[str, Any], sections: dict[str, Any], message: str) -> None:
    assert faults_of(plain, **sections) == [message]


# ---- identity ----


def test_how_it_is_judged_is_no_part_of_the_id(plain: dict[str, Any]) -> None:
    assert experiment(plain, alpha=0.1, equivalence_margin=0.2).id == experiment(plain).id


def test_the_default_design_written_out_keeps_the_id(plain: dict[str, Any]) -> None:
    assert experiment(plain, design="one-at-a-time", aa=False).id == experiment(plain).id


def test_another_design_and_an_a_a_arm_are_other_experiments(plain: dict[str, Any]) -> None:
    usual = {**plain, "techniques": TWO, "arms": {}}
    changes: list[dict[str, Any]] = [{}, {"aa": True}, {"design": "factorial"}, {"design": "leave-one-out"}]
    assert len({experiment(usual, **change).id for change in changes}) == 4


def test_the_resolved_config_of_a_design_reads_back_equal(plain: dict[str, Any]) -> None:
    found = experiment(plain, techniques=THREE, arms={}, design="leave-one-out", aa=True, alpha=0.1)
    assert read_experiment(found.resolved) == found
