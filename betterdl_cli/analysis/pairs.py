"""Which arms a comparison holds side by side, on which metric, and whether that has one cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from betterdl_cli.analysis.arms import ArmData
from betterdl_cli.analysis.comparison import confounding, paired_difference, pairing
from betterdl_cli.analysis.summary import difference_summary, notes
from betterdl_cli.errors import UsageError, nearest
from betterdl_cli.record import COMPARABLE
from betterdl_cli.spec import Json, show
from betterdl_cli.tasks import higher_is_better

SCHEMA = "bdl.compare/1"


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
    """The metric to compare on: the one asked for, the experiment's own, or the first that all histories have.

    Raises :class:`UsageError` when a metric that was asked for is nowhere.
    """
    known = [name for name in _candidates(pairs) if all(_has(pair, name) for pair in pairs)]
    if wanted is not None:
        if wanted in known or wanted in _candidates(pairs):
            return wanted
        raise UsageError(
            f"expected a metric that the runs have ({', '.join(_candidates(pairs)) or 'none'}), found '{wanted}'"
            + (f" (did you mean '{guess}'?)" if (guess := nearest(wanted, _candidates(pairs))) else "")
        )
    if default is not None and default in known:
        return default
    if not known:
        sides = {name: data for pair in pairs for name, data in _sides(pair).items()}
        found = "; ".join(f"{name} has {', '.join(_final(data)) or 'none'}" for name, data in sides.items())
        raise UsageError(f"expected a metric with a finite final value on both sides, found none: {found}")
    return known[0]


def _candidates(pairs: Sequence[Pair]) -> list[str]:
    names: dict[str, None] = {}
    for pair in pairs:
        for data in (pair.baseline, pair.candidate):
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
    return [name for name in _candidates([Pair(data, data)]) if data.scores(name)]


def _has(pair: Pair, metric: str) -> bool:
    return bool(pair.baseline.scores(metric)) and bool(pair.candidate.scores(metric))


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


def comparison_document(pairs: Sequence[Pair], metric: str, validation_is_test: bool) -> Mapping[str, Json]:
    """``bdl.compare/1``; its keys are documented in docs/files.md."""
    comparisons = []
    for pair in pairs:
        found = confounding(pair.baseline, pair.candidate)
        difference = difference_summary(
            paired_difference(pair.baseline, pair.candidate, metric),
            pairing(pair.baseline, pair.candidate),
            higher_is_better(metric),
        )
        baseline, candidate = pair.names
        comparisons.append(
            {
                "baseline": baseline,
                "candidate": candidate,
                "spec_differences": None if found is None else [str(item) for item in found.all],
                "confounded": None if found is None else found.factors > 1,
                **{("mean_difference" if key == "mean" else key): value for key, value in difference.items()},
                "failed": {name: sorted(data.failed) for name, data in _sides(pair).items()},
                "diverged": {name: sorted(data.diverged) for name, data in _sides(pair).items()},
                "scores": {name: data.scores(metric) for name, data in _sides(pair).items()},
            }
        )
    arms = {name: data for pair in pairs for name, data in _sides(pair).items()}
    bare = any(data.arm is None for data in arms.values())
    counts = [] if bare else [row["n_pairs"] for row in comparisons]
    said = notes(arms, counts, validation_is_test=validation_is_test)
    said += [sentence for pair in pairs for sentence in _trained_differently(pair)]
    if bare:
        said.append("A history file is one run, and no evidence: another seed can turn the difference round.")
    return {
        "schema": SCHEMA,
        "metric": metric,
        "direction": "higher is better" if higher_is_better(metric) else "lower is better",
        "comparisons": comparisons,
        "notes": list(dict.fromkeys(said)),
        "pictures": [],
    }


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
