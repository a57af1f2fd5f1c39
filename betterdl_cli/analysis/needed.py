"""How many seeds an effect of a given size needs, from the spread of the pairs already stored."""

from __future__ import annotations

from betterdl_cli.analysis.comparison import paired_difference
from betterdl_cli.analysis.evidence import Compared, resplit_rows
from betterdl_cli.analysis.power import power, seeds_needed
from betterdl_cli.analysis.summary import compared_arms, experiment_arms
from betterdl_cli.errors import UsageError, counted
from betterdl_cli.spec import Json
from betterdl_cli.store import ExperimentDirectory, Plan

FEWEST = 3  # pairs from which a spread is worth anything


def needed(directory: ExperimentDirectory, plan: Plan, effect: float) -> dict[str, Json]:
    """``bdl.power/1``. Raises :class:`UsageError` when no arm has enough pairs."""
    arms = compared_arms(experiment_arms(directory, plan), plan)
    techniques = [pair for pair in arms.values() if not pair.is_aa]
    alpha = plan.judging.alpha_now / max(1, len(techniques))
    rows = [_row(pair, plan, effect, alpha) for pair in techniques]
    if all(row["sd"] is None for row in rows):
        raise UsageError(
            f"expected at least {FEWEST} finished pairs in {directory.path}, from which to learn how far they lie "
            "apart; train a few seeds first"
        )
    share = ", its share of one look" if plan.judging.adaptive else ""
    several = f", divided by its {len(techniques)} techniques" if len(techniques) > 1 else ""
    return {
        "schema": "bdl.power/1",
        "experiment": plan.name,
        "metric": plan.metric,
        "effect": effect,
        "alpha": alpha,
        "arms": rows,
        "note": f"For a claim at p ≤ {alpha:.2g}: the experiment's alpha{share}{several}.",
    }


def _row(pair: Compared, plan: Plan, effect: float, alpha: float) -> dict[str, Json]:
    difference = paired_difference(pair.baseline, pair.candidate, plan.metric)
    n, spread = len(difference.values), difference.spread
    sd = spread.sd if spread is not None and n >= FEWEST else None
    who = f"{pair.name} against {pair.reference}"
    rows = resplit_rows(pair)
    ratio = 0.0 if rows is None else rows[1] / rows[0]
    seeds = now = None
    if sd is None:
        said = f"{who}: {counted(n, 'pair')}, too few to say how far they lie apart."
    elif sd == 0.0:
        said = f"{who}: all {n} differences are equal, which says nothing about other seeds."
    else:
        seeds, now = (
            seeds_needed(effect, sd, alpha, ratio),
            power(effect / sd, n, alpha, ratio),
        )
        many = "more seeds alone will not find it" if seeds is None else f"about {counted(seeds, 'seed')} are needed"
        said = (
            f"{who}: {many} to find a difference of {effect:g} in 4 of 5 experiments; with the {n} that are there the "
            f"chance is {100 * now:.0f} % (standard deviation of the differences {sd:.2g}, itself from only {n} pairs)."
        )
    return {"arm": pair.name, "reference": pair.reference, "n_pairs": n, "sd": sd, "seeds_needed": seeds,
            "power_now": now, "sentence": said}  # fmt: skip
