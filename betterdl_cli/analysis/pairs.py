"""Which arms a comparison holds side by side, on which metric, and whether that has one cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from betterdl_cli.analysis.arms import NO_SEED, ArmData
from betterdl_cli.analysis.comparison import confounding, have_equal_histories, paired_difference, pairing
from betterdl_cli.analysis.evidence import Compared, document, evidence_of
from betterdl_cli.analysis.summary import by_seed, difference_summary, notes, spread_of
from betterdl_cli.analysis.verdict import Evidence
from betterdl_cli.config.experiment import Judging
from betterdl_cli.errors import UsageError, nearest
from betterdl_cli.record import COMPARABLE
from betterdl_cli.spec import Json, show
from betterdl_cli.tasks import higher_is_better

SCHEMA = "bdl.compare/1"
OTHER_ROWS = "between other data or splits"
NOT_JUDGED: dict[str, Json] = {  # a history file is one run of an unknown seed
    **dict.fromkeys((
        "verdict", "sentence", "aa", "scope", "p_value", "p_adjusted", "p_holm", "win_share_ci95", "alpha",
        "equivalence_margin", "at_least_margin", "detectable_effect", "seeds_needed", "failures", "unseen_failure_rate",
    )),
    "unpaired": {"baseline": [], "candidate": []},
    "secondary": {},
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Differences are candidate − baseline."""

    baseline: ArmData
    candidate: ArmData

    @property
    def names(self) -> tuple[str, str]:
        """Short names that tell the two apart."""
        same = self.baseline.name == self.candidate.name
        return (self.baseline.label, self.candidate.label) if same else (self.baseline.name, self.candidate.name)


def common_metric(pairs: Sequence[Pair], wanted: str | None, default: str | None) -> str:
    """The metric to compare on: the one asked for, the experiment's own, or the first that all have.

    One with scores on all sides goes first; runs that diverged have none, and then it is one that they recorded.
    Raises :class:`UsageError` when a metric that was asked for is nowhere, or when there is none.
    """
    sides = {name: data for pair in pairs for name, data in _sides(pair).items()}
    recorded = _recorded(*sides.values())
    if wanted is not None:
        if wanted in recorded:
            return wanted
        raise UsageError(
            f"expected a metric that the runs have ({', '.join(recorded) or 'none'}), found '{wanted}'"
            + (f" (did you mean '{guess}'?)" if (guess := nearest(wanted, recorded)) else "")
        )
    if not recorded:
        found = [note.removesuffix(".") for note in notes(sides, [], validation_is_test=False)]
        raise UsageError(f"expected finished runs on both sides, found none. {'. '.join(found)}")
    known = [name for name in recorded if all(_may_have(data, name) for data in sides.values())]
    if default is not None and default in known:
        return default
    scored = [name for name in known if all(data.scores(name) for data in sides.values())]
    if not known:
        have = "; ".join(f"{name} has {', '.join(_final(data)) or 'none'}" for name, data in sides.items())
        raise UsageError(f"expected a metric with a finite final value on both sides, found none: {have}")
    return (scored or known)[0]


def _recorded(*arms: ArmData) -> list[str]:
    """The metrics that any of the arms recorded, those that people read first."""
    names: dict[str, None] = {}
    for data in arms:
        for record in data.records.values():
            for part, metrics in record.scores.items():
                short = "val" if part == "validation" else part
                names.update(dict.fromkeys(f"{short}_{name}" for name in reversed(metrics)))
        if not data.records:
            for history in data.histories.values():
                names.update(dict.fromkeys(history))
    order = ("test_accuracy", "val_accuracy", "test_loss", "val_loss", "accuracy", "loss")
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def _final(data: ArmData) -> list[str]:
    return [name for name in _recorded(data) if data.scores(name)]


def _may_have(data: ArmData, metric: str) -> bool:
    """Whether an arm has a score of the metric, or would have one if its runs had not failed or diverged."""
    if data.scores(metric) or not data.histories:
        return True
    return len(data.diverged) == len(data.histories) and metric in _recorded(data)


def refuse_confounded(pairs: Sequence[Pair]) -> None:
    """Raises :class:`UsageError` naming every difference of pairs that differ by more than one thing."""
    said = []
    for pair in pairs:
        found = confounding(pair.baseline, pair.candidate)
        if found is not None and found.factors > 1:
            said.append(f"{pair.baseline.label} and {pair.candidate.label} differ by {found.factors} things:")
            said += [f"  {difference}" for difference in found.all]
    if said:
        said.append("An effect would have no single cause. --allow-confounded compares them all the same.")
        raise UsageError("\n".join(said))


def judge_pairs(pairs: Sequence[Pair], metric: str, judging: Judging) -> tuple[list[Compared], dict[str, Evidence]]:
    """The pairs under the names to call them, and the evidence of those between stored runs."""
    compared = [Compared(pair.names[1], pair.names[0], pair.baseline, pair.candidate) for pair in pairs]
    runs = [one for one in compared if not (one.baseline.is_file or one.candidate.is_file)]
    return compared, evidence_of(runs, metric, judging)


def comparison_document(
    pairs: Sequence[Pair], metric: str, validation_is_test: bool, judging: Judging
) -> Mapping[str, Json]:
    """``bdl.compare/1``; its keys are documented in docs/files.md. History files are described and not judged."""
    comparisons = []
    compared, judged = judge_pairs(pairs, metric, judging)
    for pair in pairs:
        if pair.names[1] in judged and _other_rows(pair):
            judged[pair.names[1]] = replace(judged[pair.names[1]], scope=OTHER_ROWS)
    direction = "higher is better" if higher_is_better(metric) else "lower is better"
    for pair, one in zip(pairs, compared, strict=True):
        found = confounding(pair.baseline, pair.candidate)
        difference = difference_summary(
            paired_difference(pair.baseline, pair.candidate, metric),
            pairing(pair.baseline, pair.candidate),
            higher_is_better(metric),
            judged.get(one.name),
        )
        baseline, candidate = pair.names
        comparisons.append(
            {
                "schema": SCHEMA,
                "metric": metric,
                "direction": direction,
                "baseline": baseline,
                "candidate": candidate,
                **(document(judged[one.name], one, metric) if one.name in judged else NOT_JUDGED),
                "spec_differences": None if found is None else [str(item) for item in found.all],
                "confounded": None if found is None else found.factors > 1,
                **{("mean_difference" if key == "mean" else key): value for key, value in difference.items()},
                "no_pair": None if difference["n_pairs"] else _no_pair(pair),
                "failed": {name: _listed(data.failed, "error") for name, data in _sides(pair).items()},
                "diverged": {name: _listed(data.diverged, "epoch") for name, data in _sides(pair).items()},
                "missing": {name: list(data.missing) for name, data in _sides(pair).items()},
                "unreadable": {name: list(data.unreadable) for name, data in _sides(pair).items()},
                "scores": {name: by_seed(data.scores(metric)) for name, data in _sides(pair).items()},
                "spreads": {name: spread_of(data.scores(metric)) for name, data in _sides(pair).items()},
            }
        )
    arms = {name: data for pair in pairs for name, data in _sides(pair).items()}
    bare = any(data.is_file for data in arms.values())
    counts = [] if bare else [row["n_pairs"] for row in comparisons]
    said = [sentence for pair in pairs for sentence in _other_rows(pair)]
    said += _same(pairs) + notes(arms, counts, validation_is_test=validation_is_test)
    said += [sentence for pair in pairs for sentence in _trained_differently(pair)]
    if bare:
        said.append("A history file is one run, and no evidence: another seed can turn the difference round.")
    return {
        "schema": SCHEMA,
        "metric": metric,
        "direction": direction,
        "comparisons": comparisons,
        "notes": list(dict.fromkeys(said)),
        "pictures": [],
    }


def _listed(values: Mapping[int, Json], what: str) -> list[dict[str, Json]]:
    """One entry per run; a history file has no seed."""
    return [{"seed": None if seed == NO_SEED else seed, what: value} for seed, value in values.items()]


def _no_pair(pair: Pair) -> str:
    """Why nothing was subtracted."""
    baseline, candidate = pair.baseline, pair.candidate
    if baseline.is_file != candidate.is_file:
        return "a history file has no seed, so it makes no pair with a stored run"
    if baseline.is_file:
        lost = [name for name, data in _sides(pair).items() if data.diverged]
        return f"{' and '.join(lost)} diverged" if lost else "not both files end with a finite value"
    if not set(baseline.histories) & set(candidate.histories):
        return "the two have no finished run of the same seed"
    return "no seed has a score on both sides"


def _same(pairs: Sequence[Pair]) -> list[str]:
    """Says where both sides are one and the same, or might as well be."""
    itself = [pair.names[0] for pair in pairs if pair.baseline.label == pair.candidate.label]
    said = [f"{name} is compared with itself: both sides are the same runs." for name in itself]
    for pair in pairs:
        if pair.names[0] not in itself and have_equal_histories(pair.baseline, pair.candidate):
            said.append(f"{' and '.join(pair.names)} have the same history, number for number.")
    return said


def _other_rows(pair: Pair) -> list[str]:
    shared = pairing(pair.baseline, pair.candidate)
    if not shared.pairs or shared.split:
        return []
    return [
        f"NOT THE SAME ROWS: {' and '.join(pair.names)} were trained or scored on other data or another split. Their "
        "differences mix that with what the arms differ by."
    ]


def _trained_differently(pair: Pair) -> list[str]:
    before, after = pair.baseline.records, pair.candidate.records
    changed: dict[str, None] = {}
    for seed in sorted(set(before) & set(after)):
        if before[seed].finished and after[seed].finished:
            old, new = before[seed].environment, after[seed].environment
            words = (
                f"{key} {show(old.get(key))} → {show(new.get(key))}"
                for key in COMPARABLE
                if old.get(key) != new.get(key)
            )
            changed.update(dict.fromkeys(words))
    if not changed:
        return []
    return [
        f"{' and '.join(pair.names)} were trained differently ({', '.join(changed)}): that may make a difference too."
    ]


def _sides(pair: Pair) -> dict[str, ArmData]:
    baseline, candidate = pair.names
    return {baseline: pair.baseline, candidate: pair.candidate}
