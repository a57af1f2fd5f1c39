import pathlib

import pytest
from shell import bdl
from stored import Stored, config_with

RUNS = pathlib.Path("runs")


@pytest.fixture
def stored(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Stored:
    monkeypatch.chdir(tmp_path)
    stored = Stored(RUNS)
    stored.add("control", [0.80, 0.70, 0.90])
    stored.add("dropout", [0.85])
    stored.add_failure("dropout", 1)
    return stored


# ---- ls ----


def test_ls_tells_how_far_each_experiment_is(stored: Stored) -> None:
    other = Stored(RUNS, config_with(name="zzz"))
    result = bdl("ls")
    assert result.code == 0
    assert result.out.splitlines() == [
        f"{stored.name}: 4 of 6 runs finished, 1 failed; arms control, dropout",
        f"{other.name}: 0 of 6 runs finished; arms control, dropout",
    ]


def test_ls_as_json(stored: Stored) -> None:
    assert bdl("ls", "--json").json == {
        "schema": "bdl.ls/1",
        "experiments": [
            {
                "experiment": stored.name,
                "arms": ["control", "dropout"],
                "seeds": 3,
                "runs": 6,
                "finished": 4,
                "failed": 1,
            }
        ],
    }


def test_torn_runs_are_not_finished(stored: Stored) -> None:
    (stored.directory.run_path("control", 0) / "history.json").unlink()
    assert "3 of 6 runs finished" in bdl("ls").out


def test_ls_of_an_empty_or_missing_folder(stored: Stored, tmp_path: pathlib.Path) -> None:
    for folder in (tmp_path / "nowhere", stored.path):
        result = bdl("ls", "--runs", folder)
        assert (result.code, result.out, result.err) == (0, "", f"no experiments in {folder}\n")
    assert bdl("ls", "--runs", tmp_path / "nowhere", "--json").json["experiments"] == []


def test_a_broken_experiment_does_not_hide_the_others(stored: Stored) -> None:
    broken = Stored(RUNS, config_with(name="broken"))
    (broken.path / "plan.json").write_text("{")
    result = bdl("ls")
    assert result.code == 0
    assert result.out.startswith(stored.name)
    assert f"bdl: {broken.path}/plan.json is damaged: expected the plan of an experiment, found " in result.err


# ---- rm ----


@pytest.mark.parametrize("answer", ["y\n", "yes\n"])
def test_rm_asks_and_removes(stored: Stored, answer: str) -> None:
    result = bdl("rm", "made-up", answer=answer)
    assert (result.code, result.out) == (0, f"removed {stored.path}\n")
    assert result.err.startswith(f"Remove {stored.path} with 5 runs? [y/N]: ")
    assert list(RUNS.iterdir()) == [RUNS / "config.yaml"]


@pytest.mark.parametrize("answer", ["\n", "n\n"])
def test_rm_asks_and_leaves_it(stored: Stored, answer: str) -> None:
    result = bdl("rm", "made-up", answer=answer)
    assert (result.code, result.out) == (0, "")
    assert result.err.endswith("nothing was removed\n")
    assert stored.path.is_dir()


def test_no_answer_is_no(stored: Stored) -> None:
    assert bdl("rm", "made-up").code == 130
    assert stored.path.is_dir()


@pytest.mark.parametrize("flag", ["--yes", "-y"])
def test_rm_does_not_ask_when_told(stored: Stored, flag: str) -> None:
    result = bdl("rm", flag, "made")
    assert (result.code, result.err) == (0, "")
    assert not stored.path.exists()


def test_rm_takes_a_path(stored: Stored) -> None:
    assert bdl("rm", "-y", stored.path).code == 0
    assert not stored.path.exists()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("", "expected the name of an experiment, found an empty one"),
        ("made", "'made' names 2 experiments in runs: "),
        ("zzz", "found nothing called 'zzz' in runs"),
        (".", "found nothing called '.' in runs"),
        ("made-up:control", "found nothing called 'made-up:control' in runs"),
        ("x" * 5000, "found nothing called 'xxx"),
    ],
)
def test_rm_removes_nothing_when_it_is_not_clear_what(stored: Stored, word: str, message: str) -> None:
    Stored(RUNS, config_with(name="made-elsewhere"))
    before = sorted(RUNS.rglob("*"))
    result = bdl("rm", "-y", word)
    assert result.code == 2
    assert message in result.err
    assert sorted(RUNS.rglob("*")) == before
    assert stored.path.is_dir()


def test_a_part_of_an_experiment_is_not_removed(stored: Stored) -> None:
    result = bdl("rm", "-y", stored.directory.run_path("control", 0))
    assert result.code == 2
    assert stored.directory.run_path("control", 0).is_dir()


def test_an_experiment_in_use_is_not_removed(stored: Stored) -> None:
    with stored.directory.locked():
        result = bdl("rm", "-y", "made-up")
    assert result.code == 1
    assert "is in use by process " in result.err
    assert stored.path.is_dir()


def test_a_broken_experiment_can_be_removed(stored: Stored) -> None:
    (stored.path / "plan.json").write_text("{")
    result = bdl("rm", "-y", stored.name)
    assert (result.code, result.out) == (0, f"removed {stored.path}\n")
