"""The evidence in plain words: one sentence, or two, per verdict."""

from __future__ import annotations

import math

from betterdl_cli.analysis.power import FEWEST_PAIRS
from betterdl_cli.analysis.verdict import Evidence, Verdict


def sentence(evidence: Evidence, name: str, reference: str, metric: str) -> str:
    """:param metric: the metric's name, such as ``test_accuracy``"""
    metric = metric.replace("_", " ")
    if evidence.mean_difference is None:
        return f"{name} has no pair with {reference}: nothing can be said about {metric}."
    if evidence.verdict is Verdict.TOO_FEW:
        return (
            f"Too few seeds to say whether {name} helps {metric} {evidence.scope}: {_difference(evidence)} against "
            f"{reference} ({_pairs(evidence)}); a verdict needs at least {FEWEST_PAIRS} pairs."
        )
    numbers = f"{_difference(evidence)} against {reference} ({_brackets(evidence)})"
    return f"{_claim(evidence, name, metric)} {evidence.scope}: {numbers}{_rest(evidence)}"


def behind_colon(said: str) -> str:
    """A sentence behind "Noise floor: ": one that does not begin with a name begins small."""
    return said[0].lower() + said[1:] if said.startswith(("Too few", "It is")) else said


def _claim(evidence: Evidence, name: str, metric: str) -> str:
    match evidence.verdict:
        case Verdict.NO_PRACTICAL_DIFFERENCE:
            return f"{name} makes no practical difference to {metric}"
        case Verdict.UNDECIDED:
            return f"It is undecided whether {name} helps or hurts {metric}"
    word = "helps" if evidence.verdict.helps or evidence.verdict is Verdict.PROVISIONALLY_HELPS else "hurts"
    return f"{name} {'provisionally ' if evidence.verdict.provisional else ''}{word} {metric}"


def _rest(evidence: Evidence) -> str:
    margin = None if evidence.margin is None else f"{evidence.margin:g}"
    match evidence.verdict:
        case Verdict.PROVISIONALLY_HELPS | Verdict.PROVISIONALLY_HURTS:
            return f". That is no proof yet: {evidence.n_pairs} pairs cannot give one, {FEWEST_PAIRS} or more can."
        case Verdict.HELPS_LITTLE | Verdict.HURTS_LITTLE | Verdict.NO_PRACTICAL_DIFFERENCE:
            return f"; less than the {margin} that would matter."
        case Verdict.UNDECIDED:
            return "." + _what_it_takes(evidence)
    if margin is None:
        return "."
    if evidence.at_least_theta:
        return f"; at least the {margin} that matters."
    return f"; whether by the {margin} that matters is open."


def _what_it_takes(evidence: Evidence) -> str:
    """What these pairs can find, and what a difference that matters needs."""
    found = evidence.detectable_effect
    if found is None:
        more = f" {evidence.n_pairs} pairs cannot prove anything, {FEWEST_PAIRS} or more can."
        if evidence.sd and evidence.n_pairs >= FEWEST_PAIRS:
            return f" {evidence.n_pairs} pairs cannot prove it for one of so many techniques; more seeds can."
        return more if evidence.n_pairs < FEWEST_PAIRS else ""
    text = f" {evidence.n_pairs} pairs find a difference of {found:.2g} in 4 of 5 cases"
    wanted = (
        "one as large as that seen here" if evidence.margin is None else f"one of {evidence.margin:g}, which matters,"
    )
    if evidence.seeds_needed is None:
        if evidence.mean_difference == 0.0 and evidence.margin is None:
            return f"{text}."
        return f"{text}; {wanted} needs more data: more seeds alone will not find it."
    if evidence.seeds_needed <= evidence.n_pairs:
        return f"{text}."
    return f"{text}; {wanted} needs about {evidence.seeds_needed} seeds."


def _brackets(evidence: Evidence) -> str:
    parts = []
    if not evidence.higher_is_better:
        parts.append("lower is better")
    if evidence.ci95 is not None:
        low, high = (_signed(end, _decimals(evidence)) for end in evidence.ci95)
        parts.append(f"95 % interval {low} to {high}")
    parts.append(_p_words(evidence))
    parts.append(_pairs(evidence))
    return ", ".join(parts)


def _p_words(evidence: Evidence) -> str:
    if evidence.verdict.provisional:
        text, p = "t test ", evidence.deciding_p
    else:
        text, p = "", evidence.p_value
    assert p is not None
    text += _p(p, evidence.alpha)
    adjusted = evidence.p_adjusted
    if adjusted is not None and adjusted != evidence.deciding_p and evidence.n_pairs >= FEWEST_PAIRS:
        text += f", {_p(adjusted, evidence.alpha).removeprefix('p = ')} corrected for the number of techniques"
    return text


def _p(p: float, alpha: float) -> str:
    """Two digits; more where two would put it on the other side of ``alpha``."""
    if p < 0.001:
        return "p < 0.001"
    for digits in (2, 3, 4):
        text = f"{p:.{digits}g}"
        if (float(text) <= alpha) == (p <= alpha):
            break
    return f"p = {text}"


def _pairs(evidence: Evidence) -> str:
    if evidence.n_pairs == 1:
        won = "a tie" if evidence.ties else "better" if evidence.wins else "worse"
        return f"{won} in the only pair"
    if evidence.ties == evidence.n_pairs:
        return f"equal in all {evidence.n_pairs} pairs"
    text = f"better in {evidence.wins} of {evidence.n_pairs} pairs"
    return text + (f" and equal in {evidence.ties}" if evidence.ties else "")


def _difference(evidence: Evidence) -> str:
    assert evidence.mean_difference is not None
    return _signed(evidence.mean_difference, _decimals(evidence))


def _decimals(evidence: Evidence) -> int:
    """So many that half the interval has one digit, or two when the first is small."""
    if evidence.ci95 is not None:
        scale = (evidence.ci95[1] - evidence.ci95[0]) / 2
    else:
        scale = abs(evidence.mean_difference or 0.0)
    if scale == 0.0:
        return 0
    return min(12, max(0, math.ceil(math.log10(3.55 / scale))))


def _signed(value: float, decimals: int) -> str:
    text = f"{abs(value):.{decimals}f}"
    if float(text) == 0.0:
        return "0" if decimals == 0 else text
    return ("−" if value < 0 else "+") + text
