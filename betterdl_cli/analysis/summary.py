"""The numbers of an experiment as one plain document: what tables, reports and ``--json`` show.

The keys are documented in docs/files.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from betterdl_cli.analysis.arms import NO_SEED, PARTS, ArmData
from betterdl_cli.analysis.comparison import (
    PairedDifference,
    Pairing,
    Spread,
    paired_difference,
    pairing,
)
from betterdl_cli.analysis.evidence import Compared, document, evidence_of, main_effects
from betterdl_cli.analysis.verdict import Evidence
from betterdl_cli.config.experiment import LOOKS
from betterdl_cli.spec import Json
from betterdl_cli.store import ExperimentDirectory, Plan
from betterdl_cli.tasks import higher_is_better

SCHEMA = "bdl.summary/1"


def experiment_arms(directory: ExperimentDirectory, plan: Plan) -> dict[str, ArmData]:
    """The arms of a stored experiment with all their runs, the control first."""
    runs = directory.runs(plan)
    control = plan.arms[0].spec
    arms = {}
    for arm in plan.arms:
        without = [seed for seed in plan.seeds if seed not in runs[arm.id]]
        unreadable = tuple(seed for seed in without if directory.run_path(arm.id, seed).exists())
        missing = tuple(seed for seed in without if seed not in unreadable)
        arms[arm.id] = ArmData.of_runs(arm.id, arm, control, runs[arm.id], missing, unreadable)
    return arms


def compared_arms(arms: Mapping[str, ArmData], plan: Plan) -> dict[str, Compared]:
    """Every arm with its reference."""
    return {
        arm.id: Compared(arm.id, arm.reference, arms[arm.reference], arms[arm.id]) for arm in plan.arms if arm.reference
    }


def summarise(
    directory: ExperimentDirectory,
    plan: Plan,
    arms: Mapping[str, ArmData] | None = None,
    evidence: Mapping[str, Evidence] | None = None,
) -> dict[str, Json]:
    """The summary document of a stored experiment; ``arms`` and ``evidence`` where the caller has them already."""
    arms = experiment_arms(directory, plan) if arms is None else arms
    pairs = compared_arms(arms, plan)
    found = evidence_of(list(pairs.values()), plan.metric, plan.judging) if evidence is None else evidence
    rows = []
    for arm in plan.arms:
        pair = pairs.get(arm.id)
        judged = document(found[arm.id], pair, plan.metric) if pair else None
        row = arm_summary(arms[arm.id], plan.metric, pair.baseline if pair else None, found.get(arm.id))
        rows.append({**row, "evidence": judged})
    return {
        "schema": SCHEMA,
        "experiment": plan.name,
        "id": plan.id,
        "directory": str(directory.path),
        "smoke": plan.smoke,
        "metric": plan.metric,
        "higher_is_better": higher_is_better(plan.metric),
        "validation_is_test": plan.validation_is_test,
        "seeds": list(plan.seeds),
        "environment": _environment(arms),
        "engine": plan.engine.model_dump() if plan.engine else None,
        "design": plan.judging.design,
        "arms": rows,
        "main_effects": main_effects(arms, plan.metric, plan.judging) if plan.judging.design == "factorial" else None,
        "notes": _engine_notes(plan)
        + _looks(plan)
        + notes(arms, _pairs(rows), validation_is_test=plan.validation_is_test),
        "pictures": [],
    }


def arm_summary(
    data: ArmData, metric: str, reference: ArmData | None, evidence: Evidence | None = None
) -> dict[str, Json]:
    """One arm; ``metric`` is the primary one (``test_accuracy``)."""
    completed = [record for record in data.records.values() if record.status == "completed"]
    trained = [record for record in data.records.values() if record.finished]
    names = _metric_names(data)
    return {
        "arm": data.name,
        "area": data.arm.area if data.arm else "",
        "reference": reference.name if reference else None,
        "differences": [str(item) for item in data.arm.differences] if data.arm else [],
        "seeds": sorted(data.histories),
        "failed": {str(seed): error for seed, error in data.failed.items()},
        "diverged": {str(seed): epoch for seed, epoch in data.diverged.items()},
        "missing": list(data.missing),
        "unreadable": list(data.unreadable),
        "scores": _scores(data, names),
        "best_epoch": {
            "selected_on": completed[0].best.selected_on,
            "epoch": spread_of({r.seed: float(r.best.epoch) for r in completed if r.best}),
            "scores": _scores(data, names, best=True),
        }
        if completed and completed[0].best
        else None,
        "epochs": spread_of({seed: float(history.epochs) for seed, history in data.histories.items()}),
        "stopped_early": sum(record.stopped_early for record in trained),
        "seconds": spread_of({record.seed: record.seconds for record in trained}),
        "parameters": trained[0].parameters if trained else None,
        "difference": difference_summary(
            paired_difference(reference, data, metric), pairing(reference, data), higher_is_better(metric), evidence
        )
        if reference
        else None,
    }


def difference_summary(
    difference: PairedDifference, shared: Pairing, higher: bool, evidence: Evidence | None = None
) -> dict[str, Json]:
    """A paired difference as plain data; ``wins`` counts the pairs in which the candidate was better.

    The interval is that of the evidence, where there is one: it knows of splits drawn anew.
    """
    interval = evidence.ci95 if evidence else difference.interval
    wins = sum((value > 0) == higher for value in difference.values.values() if value != 0)
    return {
        "metric": difference.metric,
        "n_pairs": len(difference.values),
        "values": by_seed(difference.values),
        **(spread_of(difference.values) or {"mean": None, "sd": None, "min": None, "max": None}),
        "ci95": list(interval) if interval else None,
        "wins": wins,
        "ties": sum(value == 0 for value in difference.values.values()),
        "smallest_p": difference.smallest_p,
        "paired": {
            "pairs": shared.pairs,
            "split": shared.split,
            "order": shared.order,
            "weights": list(shared.weights),
            "other_weights": list(shared.other_weights),
            "in_words": shared.in_words,
        },
    }


def by_seed(values: Mapping[int, float]) -> dict[str, float]:
    """Values under their seeds; that of a history file is left out, nobody knows its seed."""
    return {str(seed): value for seed, value in values.items() if seed != NO_SEED}


def _metric_names(data: ArmData) -> list[str]:
    for record in data.records.values():
        if record.finished:
            return list(record.scores["train"])
    return []


def _scores(data: ArmData, names: Sequence[str], *, best: bool = False) -> dict[str, Json]:
    scores: dict[str, Json] = {}
    for short, part in PARTS.items():
        found = {name: spread_of(data.scores(f"{short}_{name}", best=best)) for name in names}
        if any(found.values()):
            scores[part] = found
    return {part: scores[part] for part in ("train", "validation", "test") if part in scores}


def spread_of(values: Mapping[int, float]) -> dict[str, Json] | None:
    """A :class:`Spread` as plain data."""
    spread = Spread.of(values)
    if spread is None:
        return None
    return {"n": spread.n, "mean": spread.mean, "sd": spread.sd, "min": spread.low, "max": spread.high}


def _environment(arms: Mapping[str, ArmData]) -> dict[str, Any]:
    """What the runs were trained in; with mixed runs (``--allow-mixed``) every one, in ``mixed``.

    The number of seeds at once is no part of it: it changes the last bits and nothing that is compared.
    """
    seen: list[dict[str, Any]] = []
    for data in arms.values():
        for record in data.records.values():
            environment = {key: value for key, value in record.environment.items() if key != "width"}
            if record.finished and environment not in seen:
                seen.append(environment)
    if not seen:
        return {}
    return seen[0] if len(seen) == 1 else {**seen[0], "mixed": seen}


def _looks(plan: Plan) -> list[str]:
    if not plan.judging.adaptive:
        return []
    looks = ", ".join(str(look) for look in LOOKS if look <= len(plan.seeds))
    return [
        f"Seeds were added until all was decided, or {LOOKS[-1]}: it took {len(plan.seeds)}. Looked after {looks} "
        f"pairs, with an alpha of {plan.judging.alpha_now:.2g} each, so that all looks together keep to "
        f"{plan.judging.alpha:g}."
    ]


def _engine_notes(plan: Plan) -> list[str]:
    """Why the arms were not trained as they usually are."""
    if plan.engine is None or not plan.engine.reasons:
        return []
    why = "; ".join(f"{arm}: {reason}" for arm, reason in plan.engine.reasons.items())
    return [f"Engine fit trained all arms, because engine vectorized cannot train every one ({why})."]


def _pairs(rows: Sequence[Mapping[str, Json]]) -> list[int]:
    return [row["difference"]["n_pairs"] for row in rows if row["difference"]]


# ---- what has to be said beside the numbers ----


def notes(arms: Mapping[str, ArmData], pairs: Sequence[int], *, validation_is_test: bool) -> list[str]:
    """Sentences that a reader of the table needs in order not to be misled.

    ``arms`` by the name to call them; ``pairs``: how many pairs each comparison has.
    """
    said = [note for name, data in arms.items() for note in _fate(name, data)] + _gaps(arms)
    if validation_is_test and (chosen := _chosen_by_validation(arms)):
        said.append(f"The validation set is the test set: {chosen} are optimistic, because they were chosen by it.")
    fewest = min((n for n in pairs if n), default=6)
    if fewest < 6:
        said.append(
            f"With {fewest} {'pair' if fewest == 1 else 'pairs'} the smallest p that an exact two-sided test can give "
            f"is {2 / 2**fewest:g}: this describes the runs and proves nothing. Ten seeds (seeds=10) can give "
            f"{2 / 2**10:.2g}."
        )
    return said


def seeds_in_words(seeds: Iterable[int]) -> str:
    """``seed 1``, ``seeds 0, 2``, ``seeds 0 to 9``."""
    found = sorted(seeds)
    if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
        return f"seeds {found[0]} to {found[-1]}"
    return f"seed{'' if len(found) == 1 else 's'} {', '.join(map(str, found))}"


def _fate(name: str, data: ArmData) -> list[str]:
    """Which runs of an arm diverged and failed."""
    said, runs = [], data.planned
    if data.diverged and data.is_file:
        (epoch,) = data.diverged.values()
        said.append(f"{name} diverged at epoch {epoch}: its last values are no scores.")
    elif data.diverged:
        epochs: dict[int, list[int]] = {}
        for seed, epoch in data.diverged.items():
            epochs.setdefault(epoch, []).append(seed)
        when = "; ".join(f"{seeds_in_words(seeds)} at epoch {epoch}" for epoch, seeds in sorted(epochs.items()))
        completed = any(record.status == "completed" for record in data.records.values())
        rest = "; its scores are those of the runs that did not" if completed else ", so it has no score"
        said.append(f"{name} diverged in {_share(len(data.diverged), runs)} ({when}){rest}.")
    if data.failed:
        errors: dict[str, list[int]] = {}
        for seed, error in data.failed.items():
            errors.setdefault(error, []).append(seed)
        what = "; ".join(f"{seeds_in_words(seeds)}: {error}" for error, seeds in errors.items())
        said.append(
            f"{name} failed in {_share(len(data.failed), runs)} ({what}); the log.txt of a failed run says more."
        )
    return said


def _share(some: int, runs: int) -> str:
    if runs == 1:
        return "its only run"
    return f"{'both' if runs == 2 else f'all {runs}'} runs" if some == runs else f"{some} of {runs} runs"


def _gaps(arms: Mapping[str, ArmData]) -> list[str]:
    """Which planned runs there are none of, and what closes the gaps."""
    missing: dict[tuple[int, ...], list[str]] = {}
    for name, data in arms.items():
        if data.missing:
            missing.setdefault(data.missing, []).append(name)
    said = [f"{', '.join(names)}: no run yet of {seeds_in_words(seeds)}." for seeds, names in missing.items()]
    for name, data in arms.items():
        if data.unreadable:
            which = seeds_in_words(data.unreadable)
            said.append(
                f"{name}: what is stored of {which} is not whole (a file was cut short or changed) and left out."
            )
    if said or any(data.failed for data in arms.values()):
        said.append("`bdl run` with the same config trains what is not finished.")
    return said


def _chosen_by_validation(arms: Mapping[str, ArmData]) -> str:
    """Which of the scores that there are were chosen by the validation part, in words; empty for none."""
    completed = {
        name: [run for run in data.records.values() if run.status == "completed"] for name, data in arms.items()
    }
    deciding = [name for name, data in arms.items() if completed[name] and _decides_by_validation(data)]
    tests = [f"the test scores of {', '.join(deciding)}"] if deciding else []
    best = ["all scores of a best epoch"] if any(run.best for runs in completed.values() for run in runs) else []
    return " and ".join(tests + best)


def _decides_by_validation(data: ArmData) -> bool:
    controllers = data.arm.spec.controllers if data.arm else ()
    return any(str(controller.get("monitor", "")).startswith("val_") for controller in controllers)
