"""How often the verdicts of ``bdl`` are wrong, measured on experiments of which the truth is known.

    python benchmarks/calibration.py [--simulations N]

Every number comes from the functions that judge a real experiment (``betterdl_cli/analysis/verdict.py``). A rate that
must stay below a limit passes when its one-sided 95 % upper bound (Clopper-Pearson) does, so chance does not excuse it;
one that must stay above, when its lower bound does. A true rate of 5 % passes a limit of 5.5 % so in 3 of 4 cases with
10 000 simulations, so a row that is still open is simulated on. Exits 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
import zlib
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
Simulate = Callable[[np.random.Generator, int], NDArray[np.bool_]]

BATCH = 2_000
TECHNIQUES = 20

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


def heavy_tailed(rng: np.random.Generator, shape: tuple[int, ...]) -> Numbers:
    return rng.laplace(0.0, 1.0, shape)


def flat(rng: np.random.Generator, shape: tuple[int, ...]) -> Numbers:
    return rng.random(shape)


NOISES: dict[str, Noise] = {
    "gaussian": gaussian,
    "skewed": skewed,
    "failed seeds": failed_seeds,
    "near ceiling": near_ceiling,
    "at the ceiling": very_near_ceiling,
}

SMOOTH: dict[str, Noise] = {"gaussian": gaussian, "heavy-tailed": heavy_tailed, "flat": flat}  # and symmetric


class Report:
    """Prints one row per rate and remembers the limits that were missed."""

    def __init__(self, simulations: int) -> None:
        self.simulations = simulations
        self.missed: list[str] = []
        self.begun = time.perf_counter()

    def rate(self, what: str, simulate: Simulate, *, most: float | None = None, least: float | None = None) -> None:
        """How often ``simulate`` says yes; goes on to 16 times as many while chance leaves the limit open."""
        rng = np.random.default_rng(zlib.crc32(what.encode()))
        hits = n = 0
        mark = ""
        for factor in (1, 2, 4, 8, 16):
            while n < factor * self.simulations:
                found = simulate(rng, min(BATCH, factor * self.simulations - n))
                hits, n = hits + int(found.sum()), n + found.size
            low, high = share_interval(hits, n, confidence=0.9)
            if most is None and least is None:
                break
            if (most is None or high <= most) and (least is None or low >= least):
                mark = "ok"
                break
            if (most is not None and low > most) or (least is not None and high < least):
                break
        limits = [f"{word} {100 * value:g} %" for word, value in (("at least", least), ("at most", most)) if value]
        shown = f"{100 * hits / n:6.2f} %  ({100 * low:5.2f} to {100 * high:5.2f}) of {n}"
        self._row(what, shown, ", ".join(limits), mark)

    def value(self, what: str, value: float, *, most: float) -> None:
        self._row(what, f"{value:6.2f}", f"at most {most:g}", "ok" if value <= most else "")

    def _row(self, what: str, found: str, limit: str, mark: str) -> None:
        if limit and not mark:
            mark = "missed"
            self.missed.append(what)
        print(f"{what:<52} {found:<38} {limit:<26} {mark}".rstrip(), flush=True)


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


def false_claims(report: Report) -> None:
    print("\nHelps or hurts (5 pairs: provisionally), when both arms are the same")
    for name, noise in NOISES.items():
        for n in (5, 6, 7, 8, 10, 20, 30):

            def claimed(rng: np.random.Generator, count: int, noise: Noise = noise, n: int = n) -> NDArray[np.bool_]:
                return claims(judged(measure(differences(rng, noise, (count, n)), margin=None)))

            report.rate(f"false claims, {name}, {n} pairs", claimed, most=0.055)


def coverage(report: Report) -> None:
    print("\nThe 95 % interval holds the true difference")
    for name, noise in {**SMOOTH, **NOISES}.items():
        for n in (5, 6, 7, 8, 10, 20, 30):

            def covered(rng: np.random.Generator, count: int, noise: Noise = noise, n: int = n) -> NDArray[np.bool_]:
                measured = measure(differences(rng, noise, (count, n)), margin=None)
                shown = ~np.isnan(measured.low)  # none is shown where all differences are equal
                return ((measured.low <= 0) & (measured.high >= 0))[shown]

            limits = {"least": 0.94, "most": 0.985} if name in SMOOTH else {}
            report.rate(f"coverage, {name}, {n} pairs", covered, **limits)


def power(report: Report) -> None:
    print(
        "\nHelps (5 pairs: provisionally), when the technique does, by so many standard deviations of the differences"
    )

    def found(effect: float, n: int) -> Simulate:
        def helps(rng: np.random.Generator, count: int) -> NDArray[np.bool_]:
            return claims(judged(measure(rng.normal(effect, 1.0, (count, n)), margin=None)))

        return helps

    report.rate("1.27 sd, 10 pairs", found(1.27, 10), least=0.9)
    for n in (5, 6, 7, 8, 10, 20, 30):
        effect = detectable(n) or 0.0
        report.rate(f"said to be found in 80 %: {effect:.2f} sd, {n} pairs", found(effect, n))


def adaptive(report: Report) -> None:
    print(f"\nAdaptive seeds: looks at {', '.join(map(str, LOOKS))} pairs, each at alpha {LOOK_ALPHA}")
    for name, noise in NOISES.items():

        def claimed(rng: np.random.Generator, count: int, noise: Noise = noise) -> NDArray[np.bool_]:
            return look(differences(rng, noise, (count, LOOKS[-1])))[0]

        report.rate(f"false claims, {name}", claimed, most=0.055)
    taken: list[Numbers] = []

    def helps(rng: np.random.Generator, count: int) -> NDArray[np.bool_]:
        said, seeds = look(rng.normal(0.64, 1.0, (count, LOOKS[-1])))
        taken.append(seeds)
        return said

    report.rate("claims, 0.64 sd", helps, least=0.8)
    report.value("seeds on average, 0.64 sd", float(np.concatenate(taken).mean()), most=21)


def look(values: Numbers) -> tuple[NDArray[np.bool_], Numbers]:
    """Whether a claim was made at any look, and at how many pairs the looking ended."""
    said, seeds = np.zeros(len(values), dtype=bool), np.full(len(values), float(LOOKS[-1]))
    for n in LOOKS:
        open_ones = np.flatnonzero(~said)
        new = open_ones[claims(judged(measure(values[open_ones, :n], margin=None), alpha=LOOK_ALPHA))]
        said[new], seeds[new] = True, n
    return said, seeds


def at_the_margin(report: Report) -> None:
    print("\nNo practical difference (or by less than theta), when the true difference is exactly the margin")
    for name, noise in NOISES.items():
        margin = float(differences(np.random.default_rng(5), noise, (100_000,)).std())
        for n in (6, 7, 8, 10, 20, 30):

            def wrong(
                rng: np.random.Generator, count: int, noise: Noise = noise, n: int = n, margin: float = margin
            ) -> NDArray[np.bool_]:
                values = differences(rng, noise, (count, n)) + margin
                return is_small(judged(measure(values, margin=margin)))

            report.rate(f"wrong, {name}, {n} pairs, margin 1 sd", wrong, most=0.055)

    def one_arm_fails(rng: np.random.Generator, count: int) -> NDArray[np.bool_]:
        values = rng.normal(0.0, 0.1, (count, 10)) - (rng.random((count, 10)) < 0.1)
        return is_small(judged(measure(values, margin=0.1)))

    report.rate("wrong, only the treatment fails, 1 run in 10", one_arm_fails)  # no limit: failures are counted apart


def twenty(report: Report) -> None:
    print(f"\n{TECHNIQUES} techniques that do nothing against one control: experiments with any claim")
    for name, noise in NOISES.items():
        for n in (6, 10, 20) if name == "gaussian" else (6, 10):
            for corrected in (True, False):

                def claimed(
                    rng: np.random.Generator,
                    count: int,
                    noise: Noise = noise,
                    n: int = n,
                    corrected: bool = corrected,
                ) -> NDArray[np.bool_]:
                    values = noise(rng, (count, TECHNIQUES, n)) - noise(rng, (count, 1, n))
                    measured = measure(values.reshape(-1, n), margin=None)
                    p_values = measured.deciding_p.reshape(-1, TECHNIQUES)
                    if corrected:
                        p_values = benjamini_hochberg(p_values)
                    said = claims(judged(measured, p_values=p_values.ravel())).reshape(-1, TECHNIQUES)
                    return np.asarray(said.any(axis=1))

                what = "any false claim" if corrected else "without correction"
                report.rate(f"{what}, {name}, {n} pairs", claimed, most=0.055 if corrected else None)


def spreads(report: Report) -> None:
    print("\nSeed-to-seed spread differs (p <= 0.05), when it does not")
    for name, noise in NOISES.items():
        for n in (10, 20):

            def differs(rng: np.random.Generator, count: int, noise: Noise = noise, n: int = n) -> NDArray[np.bool_]:
                shared = noise(rng, (count, n))  # what the seed does to both runs of a pair
                control, treatment = (shared + noise(rng, (count, n)) for _ in range(2))
                return spread_p(control, treatment) <= 0.05

            report.rate(f"another spread, {name}, {n} pairs", differs, most=0.055)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--simulations", type=int, default=10_000, help="experiments per row (default: 10000)")
    simulations = parser.parse_args().simulations
    if simulations < 1:
        parser.error(f"expected at least 1 simulation, found {simulations}")
    report = Report(simulations)
    print(f"at least {simulations} simulated experiments per row; in brackets the one-sided 95 % bounds")
    for part in (false_claims, coverage, power, adaptive, at_the_margin, twenty, spreads):
        part(report)
    print(f"\n{time.perf_counter() - report.begun:.0f} s; {len(report.missed)} limits missed")
    for what in report.missed:
        print(f"missed: {what}")
    sys.exit(1 if report.missed else 0)


if __name__ == "__main__":
    main()
