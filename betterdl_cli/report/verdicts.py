"""What the evidence says, in sentences: the verdict, every pair, failed runs, and what else the technique changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from betterdl_cli.errors import counted
from betterdl_cli.report.table import metric_words, number, seconds, signed

Plain = Mapping[str, Any]
SHOWN_PAIRS = 10


def verdict_lines(name: str, reference: str, difference: Plain, evidence: Plain) -> list[str]:
    """The verdict first; what is secondary last, and said to be."""
    lines = [evidence["sentence"]]
    if difference["n_pairs"]:
        lines.append(f"    {pairs_words(difference)} Paired: {difference['paired']['in_words']}.")
    if failed := evidence["failures"]:
        lines.append(f"    {failure_words(name, reference, failed)}")
    if beside := secondary_words(reference, evidence["secondary"]):
        lines.append(f"    Secondary, uncorrected: {beside}.")
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
        f"Failed or diverged in {counted(failed['n_pairs'], 'pair')}: {reference} {both + first}, "
        f"{name} {both + second} (McNemar p = {failed['p_value']:.2g}). "
        "The verdict is on the pairs in which both finished."
    )


def secondary_words(reference: str, beside: Plain) -> str:
    """Loss, epochs to the target, seconds and spread, as far as they are known."""
    said = []
    for metric, found in beside.items():
        if metric.partition("_")[0] in {"test", "val", "train"} and found["mean_difference"] is not None:
            said.append(f"{metric_words(metric)} {signed(found['mean_difference'])}{_p(found)}")
    if found := beside.get("epochs_to_target"):
        middle = found["median_difference"]
        words = "as soon" if not middle else f"{abs(middle):g} epochs {'sooner' if middle < 0 else 'later'}"
        reached = f"reached by {found['treatment_reached']} and {found['control_reached']} of {found['n_pairs']}"
        said.append(
            f"{metric_words(found['metric'])} {number(found['target'])} (95 % of what {reference} gains) {words} in "
            f"the median ({reached}{_p(found, ', ')})"
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
