"""A real check of the verdicts: 300 pairs of one and the same network, in which every claim is wrong.

    python benchmarks/aa.py [FOLDER]

Trains a small network on the 8×8 digits with 300 seeds and, as ``aa: true`` does, with 300 others; then draws
experiments of 6, 10 and 20 pairs from those and counts the verdicts *helps* and *hurts*: as trained, and with their
mean taken off, because 300 pairs have a mean of their own by chance. Exits with 1 above 6 % as trained.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from betterdl_cli.analysis.verdict import measure, verdicts

PAIRS, EXPERIMENTS, LIMIT, MARGIN = 300, 20_000, 0.06, 0.01
CONFIG = """\
name: aa
data: {kind: digits, split: {train: 0.6, test: 0.4}}
model: {kind: mlp, hidden: [32]}
training: {optimizer: {kind: adam}, epochs: 20, batch_size: 32}
base: {normalize_inputs: {kind: minmax}}
aa: true
store: {weights: false, predictions: false}
"""


def differences(folder: pathlib.Path) -> np.ndarray:
    """Test accuracy of the second control minus the first, shape (PAIRS,)."""
    (folder / "aa.yaml").write_text(CONFIG)
    command = [sys.executable, "-m", "betterdl_cli", "run", str(folder / "aa.yaml"), f"seeds={PAIRS}", "--json"]
    done = subprocess.run([*command, "--runs", str(folder)], stdout=subprocess.PIPE, text=True, check=True)
    arm = next(arm for arm in json.loads(done.stdout)["arms"] if arm["arm"] == "control-aa")
    return np.array(list(arm["difference"]["values"].values()))


def claims(values: np.ndarray, n: int, rng: np.random.Generator) -> float:
    """Share of experiments of ``n`` pairs, drawn without replacement, that say helps or hurts."""
    drawn = np.array([rng.choice(values, n, replace=False) for _ in range(EXPERIMENTS)])
    found = measure(drawn, margin=MARGIN)
    said = verdicts(n, found.mean, found.deciding_p, found.equivalence_p, higher_is_better=True)
    return float(np.mean([verdict.helps or verdict.hurts for verdict in said]))


def main() -> None:
    with tempfile.TemporaryDirectory() as own:
        values = differences(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(own))
    mean, sd = values.mean(), values.std(ddof=1)
    error = sd / len(values) ** 0.5
    print(f"{len(values)} A/A pairs: mean difference {mean:+.5f} (standard error {error:.5f}), sd {sd:.4f}")
    rng, worst = np.random.default_rng(0), 0.0
    for name, sample in (("as trained", values), ("centred", values - mean)):
        for n in (6, 10, 20):
            share = claims(sample, n, rng)
            worst = max(worst, share) if name == "as trained" else worst
            print(f"{name}, {n} pairs: {100 * share:.2f} % of {EXPERIMENTS} experiments say helps or hurts")
    print(f"limit: {100 * LIMIT:.0f} % as trained")
    sys.exit(worst > LIMIT)


if __name__ == "__main__":
    main()
