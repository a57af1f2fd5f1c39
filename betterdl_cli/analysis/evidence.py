"""The evidence of an experiment or a comparison as plain data: verdicts, corrected together, and what stands beside.

The keys are documented in docs/files.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from betterdl_cli.analysis.arms import PARTS, ArmData
from betterdl_cli.analysis.binomial import Failures, unseen_failure_rate
from betterdl_cli.analysis.comparison import Spread, paired_difference
from betterdl_cli.analysis.ranks import EpochsToTarget
from betterdl_cli.analysis.sentence import behind_colon, sentence
from betterdl_cli.analysis.spread import SpreadChange
from betterdl_cli.analysis.verdict import Evidence, judge, judge_all
from betterdl_cli.config.experiment import Judging
from betterdl_cli.spec import Json
from betterdl_cli.tasks import higher_is_better

TARGET_SHARE = 0.95  # of what the baseline gains in its training


@dataclass(frozen=True)
class Compared:
    """Two arms; differences are candidate − baseline. ``name`` and ``reference`` are what to call them."""

    name: str
    reference: str
    baseline: ArmData
    candidate: ArmData

    @property
    def is_aa(self) -> bool:
        """Whether both are one recipe with other seeds: the difference is noise."""
        if self.baseline.arm is None or self.candidate.arm is None:
            return False
        specs = [arm.spec for arm in (self.baseline.arm, self.candidate.arm)]
        recipes = [spec.model_copy(update={"seed_stream": ""}) for spec in specs]
        return recipes[0] == recipes[1] and specs[0].seed_stream != specs[1].seed_stream


def evidence_of(pairs: Sequence[Compared], metric: str, judging: Judging) -> dict[str, Evidence]:
    """The evidence by name, corrected for the number of techniques; an A/A arm is none and is judged apart."""
    higher = higher_is_better(metric)
    found: dict[str, Evidence] = {}
    groups: dict[tuple[tuple[int, int] | None, bool], dict[str, list[float]]] = {}
    for pair in pairs:
        values = list(paired_difference(pair.baseline, pair.candidate, metric).values.values())
        groups.setdefault((resplit_rows(pair), pair.is_aa), {})[pair.name] = values
    for (resplit, _), differences in groups.items():
        found |= judge_all(
            differences,
            higher_is_better=higher,
            margin=judging.equivalence_margin,
            alpha=judging.alpha_now,
            resplit=resplit,
        )
    return {pair.name: found[pair.name] for pair in pairs}


def resplit_rows(pair: Compared) -> tuple[int, int] | None:
    """Rows of the training and test part when every seed of both arms drew a split of its own."""
    arms = [data.arm for data in (pair.baseline, pair.candidate)]
    if not all(arm is not None and arm.spec.data.split.resplit for arm in arms):
        return None
    records = [*pair.candidate.records.values(), *pair.baseline.records.values()]
    rows = next((record.rows for record in records if record.finished), None)
    return (rows["train"], rows["test"]) if rows else None


def document(evidence: Evidence, pair: Compared, metric: str) -> dict[str, Json]:
    """What is printed, drawn and written of one technique."""
    return {
        "verdict": str(evidence.verdict),
        "sentence": _noise_floor(evidence, pair, metric)
        if pair.is_aa
        else sentence(evidence, pair.name, pair.reference, metric),
        "aa": pair.is_aa,
        "scope": evidence.scope,
        "p_value": evidence.p_value,
        "p_adjusted": evidence.p_adjusted,
        "p_holm": evidence.p_holm,
        "win_share_ci95": list(evidence.win_share_interval) if evidence.win_share_interval else None,
        "alpha": evidence.alpha,
        "equivalence_margin": evidence.margin,
        "at_least_margin": evidence.at_least_theta,
        "detectable_effect": evidence.detectable_effect,
        "seeds_needed": evidence.seeds_needed,
        "failures": failures(pair),
        "unseen_failure_rate": unseen(pair),
        "unpaired": unpaired(pair, metric),
        "secondary": secondary(pair, metric),
    }


def _noise_floor(evidence: Evidence, pair: Compared, metric: str) -> str:
    said = sentence(evidence, f"{pair.reference} with other seeds", pair.reference, metric)
    floor = f"Noise floor ({pair.name}): {behind_colon(said)}"
    claims = evidence.verdict.helps or evidence.verdict.hurts or evidence.verdict.provisional
    return f"{floor} Both are the same recipe, so that is chance." if claims else floor


def unpaired(pair: Compared, metric: str) -> dict[str, list[int]]:
    """Seeds with a score that do not count, because the other side has no run of them; lost runs are told apart."""
    sides = dict(zip(_SIDES, (pair.baseline, pair.candidate), strict=True))
    found = {}
    for (side, data), other in zip(sides.items(), (pair.candidate, pair.baseline), strict=True):
        known = {*other.scores(metric), *other.diverged, *other.failed}
        found[side] = [seed for seed in data.scores(metric) if seed not in known]
    return found


def failures(pair: Compared) -> dict[str, Json] | None:
    """Runs that diverged or failed, seed by seed, with exact McNemar; None when none did."""
    lost = [set(data.diverged) | set(data.failed) for data in (pair.baseline, pair.candidate)]
    seeds = [set(data.histories) | set(data.failed) for data in (pair.baseline, pair.candidate)]
    common = sorted(seeds[0] & seeds[1])
    if not any(seed in one for one in lost for seed in common):
        return None
    return asdict(Failures.of(*([seed in one for seed in common] for one in lost)))


def secondary(pair: Compared, metric: str) -> dict[str, Json]:
    """Other things that a technique may change. Not corrected for their number: they explain, they do not decide."""
    found: dict[str, Json] = {}
    if other := _other_metric(pair, metric):
        values = list(paired_difference(pair.baseline, pair.candidate, other).values.values())
        side = judge(values, higher_is_better=higher_is_better(other), margin=None, resplit=resplit_rows(pair))
        found[other] = {
            "mean_difference": side.mean_difference,
            "ci95": list(side.ci95) if side.ci95 else None,
            "p_value": side.p_value,
        }
    found["epochs_to_target"] = epochs_to_target(pair, metric)
    seconds = [
        Spread.of({seed: record.seconds for seed, record in data.records.items() if record.finished})
        for data in (pair.baseline, pair.candidate)
    ]
    if all(seconds):
        found["seconds"] = {side: spread.mean for side, spread in zip(_SIDES, seconds, strict=True) if spread}
    found["seed_spread"] = seed_spread(pair, metric)
    return {key: value for key, value in found.items() if value is not None}


_SIDES = ("baseline", "candidate")


def _other_metric(pair: Compared, metric: str) -> str | None:
    """The loss beside an accuracy, the accuracy beside a loss, of the same part."""
    part, _, name = metric.partition("_")
    if part not in PARTS:
        return None
    recorded = [
        set(next((r.scores.get(PARTS[part], {}) for r in data.records.values() if r.finished), {}))
        for data in (pair.baseline, pair.candidate)
    ]
    return next((f"{part}_{other}" for other in sorted(recorded[0] & recorded[1]) if other != name), None)


def epochs_to_target(pair: Compared, metric: str) -> dict[str, Json] | None:
    """Epochs until a run first has 95 % of what the baseline gains on average in its training.

    On the validation metric where there is one; exact Wilcoxon signed-rank test over the pairs. None where no target
    is known: no history of the metric, a baseline that learns nothing, losses of which some include a penalty.
    """
    name = metric.partition("_")[2] or metric
    before, after = (
        {seed: history for seed, history in data.histories.items() if seed not in data.diverged}
        for data in (pair.baseline, pair.candidate)
    )
    seeds = sorted(set(before) & set(after))
    histories = [one[seed] for one in (before, after) for seed in seeds]
    column = next((c for c in (f"val_{name}", name) if all(c in history for history in histories)), None)
    if len(seeds) < 2 or column is None or pair.baseline.is_file:
        return None
    if name == "loss" and any(
        data.records[seed].penalised for data in (pair.baseline, pair.candidate) for seed in seeds
    ):
        return None
    sign = 1.0 if higher_is_better(column) else -1.0
    first = float(np.mean([before[seed][column][0] for seed in seeds]))
    last = float(np.mean([before[seed][column][-1] for seed in seeds]))
    if not np.isfinite([first, last]).all() or sign * (last - first) <= 0:
        return None  # the baseline learns nothing: there is no target
    target = first + TARGET_SHARE * (last - first)
    longest = max(history.epochs for history in histories)
    control, treatment = ([_first_epoch(one[s][column], target, sign) for s in seeds] for one in (before, after))
    return {"metric": column, "target": target, **asdict(EpochsToTarget.of(control, treatment, longest))}


def _first_epoch(values: Sequence[float] | np.ndarray, target: float, sign: float) -> int | None:
    hits = np.flatnonzero(sign * (np.asarray(values) - target) >= 0)
    return int(hits[0]) + 1 if hits.size else None


def seed_spread(pair: Compared, metric: str) -> dict[str, Json] | None:
    """How far the scores of the seeds lie apart in both arms, from 10 pairs on."""
    before, after = pair.baseline.scores(metric), pair.candidate.scores(metric)
    seeds = sorted(set(before) & set(after))
    found = SpreadChange.of([before[seed] for seed in seeds], [after[seed] for seed in seeds])
    return asdict(found) if found else None


def main_effects(arms: Mapping[str, ArmData], metric: str, judging: Judging) -> dict[str, dict[str, Json]]:
    """Of a factorial: for each technique, arms with it minus arms without, averaged seed by seed over the others."""
    control, *treatments = [data for data in arms.values() if data.arm is None or not data.arm.spec.seed_stream]
    names = list(dict.fromkeys(use.technique for data in treatments for use in data.techniques))
    scores = [(data, data.scores(metric)) for data in (control, *treatments)]
    seeds = sorted(set.intersection(*(set(values) for _, values in scores)))
    left_out = sorted(set.union(*(set(values) for _, values in scores)) - set(seeds))
    differences = {}
    for name in names:
        sides = [
            np.mean([[values[seed] for seed in seeds] for data, values in scores if _has(data, name) is having], axis=0)
            for having in (True, False)
        ]
        differences[name] = (sides[0] - sides[1]).tolist() if seeds else []
    pair = Compared("", "", control, treatments[0])
    found = judge_all(
        differences,
        higher_is_better=higher_is_better(metric),
        margin=judging.equivalence_margin,
        alpha=judging.alpha_now,
        resplit=resplit_rows(pair),
    )
    return {
        name: {
            "n_pairs": one.n_pairs,
            "left_out": left_out,
            "mean_difference": one.mean_difference,
            "ci95": list(one.ci95) if one.ci95 else None,
            "p_value": one.p_value,
            "p_adjusted": one.p_adjusted,
            "verdict": str(one.verdict),
            "sentence": sentence(
                one, f"{name}, averaged over all combinations of the others,", "the arms without it", metric
            ),
        }
        for name, one in found.items()
    }


def _has(data: ArmData, technique: str) -> bool:
    return any(use.technique == technique for use in data.techniques)


def unseen(pair: Compared) -> float | None:
    """With 95 % confidence, the candidate fails in fewer runs than this share; None when it failed in any."""
    runs = len(pair.candidate.histories)
    return unseen_failure_rate(runs) if runs and not (pair.candidate.failed or pair.candidate.diverged) else None
