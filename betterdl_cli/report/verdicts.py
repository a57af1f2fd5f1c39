"""What the evidence says, in sentences: the verdict, every pair, failed runs, and what else the technique changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from betterdl_cli.analysis.sentence import behind_colon
from betterdl_cli.analysis.summary import seeds_in_words
from betterdl_cli.errors import counted
from betterdl_cli.report.numbers import metric_words, number, seconds, signed

Plain = Mapping[str, Any]
SHOWN_PAIRS = 10


def verdict_lines(name: str, reference: str, difference: Plain, evidence: Plain) -> list[str]:
    """The verdict first; what is secondary last, and said to be."""
    lines = [evidence["sentence"]]
    if difference["n_pairs"]:
        lines.append(f"    {pairs_words(difference)} Paired: {difference['paired']['in_words']}.")
    if failed := evidence["failures"]:
        rest = " The verdict is on the pairs in which neither did." if difference["n_pairs"] else ""
        lines.append(f"    {failure_words(name, reference, failed)}{rest}")
    if without := unpaired_words(name, reference, evidence["unpaired"]):
        lines.append(f"    {without}")
    if beside := secondary_words(name, reference, evidence["secondary"]):
        lines.append(f"    Secondary, uncorrected: {beside}.")
    return lines


def main_effect_lines(effects: Plain) -> list[str]:
    """Of a factorial; the seeds that not every arm has are the same for all effects."""
    lines = [f"Main effect: {behind_colon(effect['sentence'])}" for effect in effects.values()]
    left_out: list[int] = next((effect["left_out"] for effect in effects.values()), [])
    if left_out:
        lines.append(f"    Main effects leave out {seeds_in_words(left_out)}, of which not every arm has a score.")
    return lines


def pairs_words(difference: Plain) -> str:
    """``Pairs: +0.010 (seed 0), −0.008 (seed 1).``"""
    values = list(difference["values"].items())
    if difference["n_pairs"] > 1 and difference["ties"] == difference["n_pairs"]:
        return f"All {difference['n_pairs']} pairs are equal."
    shown = ", ".join(f"{signed(value)} (seed {seed})" for seed, value in values[:SHOWN_PAIRS])
    more = f" and {len(values) - SHOWN_PAIRS} more" if len(values) > SHOWN_PAIRS else ""
    return f"Pairs: {shown}{more}." if shown else ""


def failure_words(name: str, reference: str, failed: Plain) -> str:
    """How many runs of either arm diverged or failed."""
    both, first, second = failed["both"], failed["only_control"], failed["only_treatment"]
    return (
        f"Of {counted(failed['n_pairs'], 'pair')}, {reference} failed or diverged in {both + first} and "
        f"{name} in {both + second} (McNemar's test: {_p(failed, '')})."
    )


def unpaired_words(name: str, reference: str, unpaired: Plain) -> str:
    """Which seeds have no partner."""
    sides = ((reference, name, unpaired["baseline"]), (name, reference, unpaired["candidate"]))
    said = [f"{seeds_in_words(seeds)} of {side} ({other} has no score)" for side, other, seeds in sides if seeds]
    return f"Without a partner and not counted: {'; '.join(said)}." if said else ""


def secondary_words(name: str, reference: str, beside: Plain) -> str:
    """Loss, epochs to the target, seconds and spread, as far as they are known."""
    said = []
    for metric, found in beside.items():
        if metric.partition("_")[0] in {"test", "val", "train"} and found["mean_difference"] is not None:
            said.append(f"{metric_words(metric)} {signed(found['mean_difference'])}{_p(found)}")
    if found := beside.get("epochs_to_target"):
        middle, runs = found["median_difference"], found["n_pairs"]
        epochs = f"{abs(middle):g} epoch{'' if abs(middle) == 1 else 's'}"
        words = f"{epochs} {'sooner' if middle < 0 else 'later'} in the median" if middle else "as soon in the median"
        if not found["treatment_reached"]:
            words = "never"
        reached = f"{name} in {found['treatment_reached']}, {reference} in {found['control_reached']} of {runs} runs"
        said.append(
            f"{metric_words(found['metric'])} {number(found['target'])} (95 % of what {reference} gains) reached "
            f"{words} ({reached}{_p(found, ', ')})"
        )
    if found := beside.get("seconds"):
        said.append(f"{seconds(found['candidate'])} s a run against {seconds(found['baseline'])} s")
    if (found := beside.get("seed_spread")) and found["ratio"] is not None:
        said.append(f"seeds lie {found['ratio']:.2g} times as far apart{_p(found)}")
    return "; ".join(said)


def _p(found: Plain, before: str = " (") -> str:
    if found["p_value"] is None:
        return ""
    text = "p < 0.001" if found["p_value"] < 0.001 else f"p = {found['p_value']:.2g}"
    return f"{before}{text}" + (")" if before == " (" else "")
