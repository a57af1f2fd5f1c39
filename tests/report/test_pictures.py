import pathlib

import numpy as np
import pytest
from matplotlib.figure import Figure
from stored import Stored, config_with

from betterdl_cli.analysis.arms import NO_SEED, ArmData
from betterdl_cli.analysis.evidence import Compared
from betterdl_cli.files import WriteError, read_json
from betterdl_cli.history import History
from betterdl_cli.plots import difference
from betterdl_cli.report.pictures import Pictures, draw_pictures
from betterdl_cli.report.write import write_report


def bare(label: str, **metrics: list[float]) -> ArmData:
    history = History({name: np.array(values, dtype=float) for name, values in metrics.items()})
    return ArmData(label, {NO_SEED: history} if metrics else {})


def draw(folder: pathlib.Path, baseline: ArmData, candidate: ArmData) -> Pictures:
    pair = Compared(candidate.name, baseline.name, baseline, candidate)
    return draw_pictures(folder, [(pair, "x")], "title", "loss", {}, validation_is_test=False)


def is_png(path: pathlib.Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


def test_a_pair_has_two_pictures(tmp_path: pathlib.Path) -> None:
    found = draw(tmp_path / "new", bare("a", loss=[1.0, 0.5]), bare("b", loss=[1.0, 0.4]))
    assert found == Pictures(["curves_x.png", "difference_x.png"], [])
    assert all(is_png(tmp_path / "new" / name) for name in found.files)


@pytest.mark.parametrize(
    ("baseline", "reason"),
    [
        (bare("a"), "expected at least one trained epoch in arm 'a', found none"),
        (bare("a", loss=[]), "expected at least one trained epoch in arm 'a', found none"),
        (bare("a", mse=[1.0]), "expected a metric common to 'a' and 'b', found none"),
    ],
)
def test_what_cannot_be_drawn_is_said(tmp_path: pathlib.Path, baseline: ArmData, reason: str) -> None:
    assert draw(tmp_path, baseline, bare("b", loss=[1.0])) == Pictures([], [f"No picture of x: {reason}."])
    assert list(tmp_path.iterdir()) == []


def test_without_a_common_seed_there_are_curves_and_no_difference(tmp_path: pathlib.Path) -> None:
    other = ArmData("b", {3: History({"loss": np.array([1.0])})})
    assert draw(tmp_path, bare("a", loss=[1.0]), other) == Pictures(
        ["curves_x.png"], ["No picture of the differences of x: the two have no seed in common."]
    )


def test_one_pair_that_cannot_be_drawn_does_not_keep_the_others(tmp_path: pathlib.Path) -> None:
    first, second, none = bare("a", loss=[1.0]), bare("b", loss=[0.5]), bare("c")
    pairs = [(Compared(one.name, "a", first, one), one.name) for one in (none, second)]
    assert draw_pictures(tmp_path, pairs, "title", "loss", {}, validation_is_test=False).files == [
        "curves_b.png", "difference_b.png"
    ]  # fmt: skip


def test_a_folder_that_cannot_be_made_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=f"expected a directory, found the file {tmp_path}/file"):
        draw(tmp_path / "file", bare("a", loss=[1.0]), bare("b", loss=[1.0]))


def test_what_the_histories_do_not_show_is_said_in_the_picture(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Stored(tmp_path)
    stored.add("control", [0.8, 0.7])
    stored.add("dropout", [0.9, 0.7])
    said = []
    monkeypatch.setattr(difference, "draw_difference", lambda *_, outcome, **__: said.append(outcome) or Figure())
    write_report(stored.directory, stored.plan)
    assert said == ["Final test accuracy: difference +0.050 (mean of 2 pairs)."]


# ---- the report of an experiment ----


def test_a_report_has_its_documented_files(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(**{"techniques.batch_norm": {}}))
    stored.add("control", [0.8, 0.7])
    stored.add("dropout", [0.9, 0.7])
    stored.add_failure("batch_norm", 0)
    summary = write_report(stored.directory, stored.plan)
    assert sorted(item.name for item in stored.directory.report.iterdir()) == [
        "curves_dropout.png", "difference_dropout.png", "effects.png", "report.md", "summary.json"
    ]  # fmt: skip
    assert summary["pictures"] == ["effects.png", "curves_dropout.png", "difference_dropout.png"]
    sentence = "No picture of batch_norm: expected at least one trained epoch in arm 'batch_norm', found none."
    assert sentence in summary["notes"]
    assert sentence in (stored.directory.report / "report.md").read_text()
    assert read_json(stored.directory.report / "summary.json") == summary


def test_a_report_repeats_byte_for_byte(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path)
    stored.add("control", [0.8, 0.7, 0.6])
    stored.add("dropout", [0.9, 0.7, 0.6])
    contents = []
    for _ in range(2):
        write_report(stored.directory, stored.plan)
        contents.append({item.name: item.read_bytes() for item in stored.directory.report.iterdir()})
    assert contents[0] == contents[1]
