"""Every verdict read aloud."""

import pytest

from betterdl_cli.analysis.sentence import sentence
from betterdl_cli.analysis.verdict import Evidence, Verdict, judge, judge_all

BETTER = [0.02, 0.01, 0.03, 0.02, 0.04, 0.02, 0.01, 0.01, 0.03, 0.03]
SPLIT = [0.03, -0.02, 0.01, -0.04, 0.02, -0.01, 0.03, -0.03, 0.02, -0.01]


def said(
    differences: list[float],
    margin: float | None = 0.01,
    *,
    higher: bool = True,
    resplit: tuple[int, int] | None = None,
) -> tuple[Verdict, str]:
    found = judge(differences, higher_is_better=higher, margin=margin, resplit=resplit)
    return found.verdict, read(found)


def read(evidence: Evidence) -> str:
    return sentence(evidence, "dropout", "control", "test_accuracy" if evidence.higher_is_better else "test_loss")


def test_no_pair() -> None:
    assert said([]) == (
        Verdict.TOO_FEW,
        "dropout has no pair with control: nothing can be said about test accuracy.",
    )


def test_one_pair() -> None:
    assert said([0.02]) == (
        Verdict.TOO_FEW,
        "Too few seeds to say whether dropout helps test accuracy on this split: +0.020 against control (better in "
        "the only pair); a verdict needs at least 6 pairs.",
    )


def test_too_few_seeds() -> None:
    assert said([0.02, -0.01, 0.02]) == (
        Verdict.TOO_FEW,
        "Too few seeds to say whether dropout helps test accuracy on this split: +0.01 against control (better in 2 "
        "of 3 pairs); a verdict needs at least 6 pairs.",
    )
