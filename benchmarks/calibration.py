"""How often the verdicts of ``bdl`` are wrong, measured on experiments of which the truth is known.

    python benchmarks/calibration.py [--simulations N]

Every number comes from the functions that judge a real experiment (``betterdl_cli/analysis/verdict.py``). A rate that
must stay below a limit passes when its one-sided 95 % upper bound (Clopper-Pearson) does, so chance does not excuse it;
one that must stay above, when its lower bound does. Exits 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from betterdl_cli.analysis.binomial import share_interval
from betterdl_cli.analysis.corrections import benjamini_hochberg
from betterdl_cli.analysis.power import detectable
from betterdl_cli.analysis.spread import spread_p
from betterdl_cli.analysis.verdict import Measured, Verdict, measure, verdicts

Numbers = NDArray[np.float64]
Noise = Callable[[np.random.Generator, tuple[int, ...]], Numbers]

CLAIMS = [verdict for verdict in Verdict if verdict.helps or verdict.hurts or verdict.provisional]
SMALL = [Verdict.NO_PRACTICAL_DIFFERENCE, Verdict.HELPS_LITTLE, Verdict.HURTS_LITTLE]
LOOKS, LOOK_ALPHA = (8, 12, 20, 30), 0.0158
MEAN_ERROR = 0.01  # near a ceiling
TEST_ROWS = 500


def gaussian(rng: np.random.Generator, shape: tuple[int, ...]) -> Numbers:
    return rng.standard_normal(shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Numbers:
    """Most runs are good, some much worse."""
    return -rng.lognormal(0.0, 1.0, shape)


def failed_seeds(rng: np.random.Generator, shape: tuple[int, ...]) -> Numbers:
    """One run in ten fails and ends far below the others."""
    return np.where(rng.random(shape) < 0.1, -10.0, 0.0) + rng.standard_normal(shape)


def near_ceiling(rng: np.random.Generator, shape: tuple[int, ...]) -> Numbers:
    """Accuracies of about 0.99 on 500 rows: few values, many ties. As stored: the shortest float32."""
    right = TEST_ROWS - rng.binomial(TEST_ROWS, MEAN_ERROR, shape)
    return np.array([float(str(np.float32(k / TEST_ROWS))) for k in range(TEST_ROWS + 1)])[right]


def very_near_ceiling(rng: np.random.Generator, shape: tuple[int, ...]) -> Numbers:
    """One error in 500 rows on average: the differences take hardly three values."""
    return rng.poisson(1.0, shape) / -TEST_ROWS


NOISES: dict[str, Noise] = {
    "gaussian": gaussian,
    "skewed": skewed,
    "failed seeds": failed_seeds,
    "near ceiling": near_ceiling,
    "at the ceiling": very_near_ceiling,
}


class Report:
    """Prints one row per rate and remembers the limits that were missed."""

    def __init__(self) -> None:
        self.missed: list[str] = []
        self.begun = time.perf_counter()

    def rate(
        self, what: str, hits: NDArray[np.bool_], *, most: float | None = None, least: float | None = None
    ) -> None:
        count, n = int(hits.sum()), hits.size
        low, high = share_interval(count, n, confidence=0.9)
        passed = (most is None or high <= most) and (least is None or low >= least)
        limit = ", ".join(
            f"{word} {100 * value:g} %" for word, value in (("at least", least), ("at most", most)) if value is not None
        )
        self._row(what, f"{100 * count / n:6.2f} %  ({100 * low:5.2f} to {100 * high:5.2f})", limit, passed)

    def value(self, what: str, value: float, *, most: float) -> None:
        self._row(what, f"{value:6.2f}", f"at most {most:g}", value <= most)

    def _row(self, what: str, found: str, limit: str, passed: bool) -> None:
        mark = "missed" if not passed else "ok" if limit else ""
        print(f"{what:<58} {found:<28} {limit:<30} {mark}", flush=True)
        if not passed:
            self.missed.append(what)


def judged(measured: Measured, alpha: float = 0.05, p_values: Numbers | None = None) -> NDArray[np.object_]:
    return verdicts(
        measured.n_pairs,
        measured.mean,
        measured.deciding_p if p_values is None else p_values,
        measured.equivalence_p,
        higher_is_better=True,
        alpha=alpha,
    )


def claims(found: NDArray[np.object_]) -> NDArray[np.bool_]:
    return np.isin(found.astype(str), [str(verdict) for verdict in CLAIMS])


def is_small(found: NDArray[np.object_]) -> NDArray[np.bool_]:
    return np.isin(found.astype(str), [str(verdict) for verdict in SMALL])


def differences(rng: np.random.Generator, noise: Noise, shape: tuple[int, ...]) -> Numbers:
    """Of two arms that are the same."""
    return noise(rng, shape) - noise(rng, shape)


def false_claims(report: Report, simulations: int) -> None:
    print("\nHelps or hurts (5 pairs: provisionally), when both arms are the same; and coverage of the 95 % interval")
    for number, (name, noise) in enumerate(NOISES.items()):
        for n in (5, 6, 7, 8, 10, 20, 30):
            rng = np.random.default_rng([1, number, n])
            measured = measure(differences(rng, noise, (simulations, n)), margin=None)
            report.rate(f"false claims, {name}, {n} pairs", claims(judged(measured)), most=0.055)
            known = ~np.isnan(measured.low)  # no interval is shown where all differences are equal
            covered = ((measured.low <= 0) & (measured.high >= 0))[known]
            limits = {"least": 0.94, "most": 0.985} if name == "gaussian" else {}
            report.rate(f"  coverage, {name}, {n} pairs", covered, **limits)


def power(report: Report, simulations: int) -> None:
    print("\nPower: helps, when the technique does, by so many standard deviations of the differences")
    rng = np.random.default_rng(2)
    found = judged(measure(rng.normal(1.27, 1.0, (simulations, 10)), margin=None))
    report.rate("helps, 1.27 sd, 10 pairs", found == Verdict.HELPS, least=0.9)
    for n in (5, 6, 8, 10, 20, 30):
        effect = detectable(n) or 0.0
        found = judged(measure(rng.normal(effect, 1.0, (simulations, n)), margin=None))
        helps = (found == Verdict.HELPS) | (found == Verdict.PROVISIONALLY_HELPS)
        report.rate(f"  said to be detectable: {effect:.2f} sd, {n} pairs", helps)


def adaptive(report: Report, simulations: int) -> None:
    print(f"\nAdaptive seeds: looks at {', '.join(map(str, LOOKS))} pairs, each at alpha {LOOK_ALPHA}")
    for number, (name, noise) in enumerate(NOISES.items()):
        rng = np.random.default_rng([3, number])
        said, _ = look(differences(rng, noise, (simulations, LOOKS[-1])))
        report.rate(f"false claims, {name}", said, most=0.055)
    rng = np.random.default_rng(4)
    said, seeds = look(rng.normal(0.64, 1.0, (simulations, LOOKS[-1])))
    report.rate("helps, 0.64 sd", said, least=0.8)
    report.value("  seeds on average", float(seeds.mean()), most=21)


def look(values: Numbers) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether a claim was made at any look, and at how many pairs the looking ended."""
    said, seeds = np.zeros(len(values), dtype=bool), np.full(len(values), LOOKS[-1])
    for n in LOOKS:
        open_ones = np.flatnonzero(~said)
        new = open_ones[claims(judged(measure(values[open_ones, :n], margin=None), alpha=LOOK_ALPHA))]
        said[new], seeds[new] = True, n
    return said, seeds


def at_the_margin(report: Report, simulations: int) -> None:
    print("\nNo practical difference (or helps, by less than theta), when the true difference is exactly the margin")
    for number, (name, noise) in enumerate(NOISES.items()):
        spread = float(differences(np.random.default_rng(5), noise, (100_000,)).std())
        for n in (6, 8, 10, 20, 30):
            for margin in (0.5 * spread, spread, 3 * spread):
                rng = np.random.default_rng([6, number, n])
                values = differences(rng, noise, (simulations, n)) + margin
                found = is_small(judged(measure(values, margin=margin)))
                report.rate(f"wrong, {name}, {n} pairs, margin {margin / spread:g} sd", found, most=0.055)


def twenty(report: Report, simulations: int) -> None:
    print("\nTwenty techniques that do nothing against one control: experiments with any claim")
    for number, (name, noise) in enumerate(NOISES.items()):
        for n in (6, 10, 20):
            rng = np.random.default_rng([7, number, n])
            experiments = simulations
            anything, uncorrected = [], []
            for some in np.array_split(np.arange(experiments), max(1, experiments // 2000)):
                control = noise(rng, (len(some), 1, n))
                values = noise(rng, (len(some), 20, n)) - control
                measured = measure(values.reshape(-1, n), margin=None)
                adjusted = benjamini_hochberg(measured.deciding_p.reshape(-1, 20)).ravel()
                anything.append(claims(judged(measured, p_values=adjusted)).reshape(-1, 20).any(axis=1))
                uncorrected.append(claims(judged(measured)).reshape(-1, 20).any(axis=1))
            report.rate(f"any false claim, {name}, {n} pairs", np.concatenate(anything), most=0.055)
            report.rate("  without the correction", np.concatenate(uncorrected))


def spreads(report: Report, simulations: int) -> None:
    print("\nSeed-to-seed spread differs (p <= 0.05), when it does not")
    for number, (name, noise) in enumerate(NOISES.items()):
        for n in (10, 20):
            rng = np.random.default_rng([8, number, n])
            seed_effect = noise(rng, (simulations, n))  # what the two runs of a pair share
            control, treatment = (seed_effect + noise(rng, (simulations, n)) for _ in range(2))
            report.rate(f"  other spread, {name}, {n} pairs", spread_p(control, treatment) <= 0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--simulations", type=int, default=10_000, help="experiments per row (default: 10000)")
    simulations = parser.parse_args().simulations
    if simulations < 1:
        parser.error(f"expected at least 1 simulation, found {simulations}")
    report = Report()
    print(f"{simulations} simulated experiments per row; in brackets the one-sided 95 % bounds")
    for part in (false_claims, power, adaptive, at_the_margin, twenty, spreads):
        part(report, simulations)
    print(f"\n{time.perf_counter() - report.begun:.0f} s; {len(report.missed)} limits missed")
    for what in report.missed:
        print(f"missed: {what}")
    sys.exit(1 if report.missed else 0)


if __name__ == "__main__":
    main()
