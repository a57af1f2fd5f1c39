import errno
import fcntl
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from stored import CONFIG, Stored, config_with, write_config

from betterdl_cli import files
from betterdl_cli.config.loading import load
from betterdl_cli.errors import BdlError, UsageError
from betterdl_cli.files import WriteError
from betterdl_cli.store import DamagedError, ExperimentDirectory, experiments, locate


@pytest.fixture
def stored(tmp_path: pathlib.Path) -> Stored:
    return Stored(tmp_path)


def snapshot(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def plan_again(stored: Stored, config: dict[str, Any], root: pathlib.Path) -> Any:
    loaded = load(write_config(root, config, "again.yaml"))
    with stored.directory.locked():
        plan = stored.directory.plan_for(loaded.experiment, loaded.arms)
        stored.directory.write_plan(plan, loaded.experiment)
    return plan


# ---- a directory and its plan ----


def test_the_directory_holds_the_documented_files(stored: Stored) -> None:
    stored.add("control", [0.8])
    stored.add_failure("dropout", 0)
    assert sorted(snapshot(stored.path)) == [
        ".lock",
        "arms/control/seed-0/history.json",
        "arms/control/seed-0/predictions.npz",
        "arms/control/seed-0/run.json",
        "arms/control/spec.json",
        "arms/dropout/seed-0/log.txt",
        "arms/dropout/seed-0/run.json",
        "arms/dropout/spec.json",
        "experiment.yaml",
        "plan.json",
    ]


def test_a_plan_comes_back(stored: Stored) -> None:
    assert stored.directory.plan() == stored.plan
    plain = json.loads((stored.path / "plan.json").read_text())
    assert plain["schema"] == "bdl.plan/1"
    assert plain["arms"][1]["differences_in_words"] == ["+ layers.hidden_1_dropout: Dropout(rate=0.2) after hidden_1"]


def test_the_stored_config_is_the_same_experiment(stored: Stored) -> None:
    again = load(stored.path / "experiment.yaml").experiment
    assert (again.id, again.seeds) == (stored.loaded.experiment.id, (0, 1, 2))
    assert "momentum: 0.0" in stored.directory.experiment_text()


def test_planning_writes_nothing(tmp_path: pathlib.Path) -> None:
    loaded = load(write_config(tmp_path))
    directory = ExperimentDirectory(tmp_path / "new")
    with directory.locked():
        directory.plan_for(loaded.experiment, loaded.arms)
    assert sorted(snapshot(tmp_path / "new")) == [".lock"]


def test_seeds_with_runs_stay_in_the_plan(stored: Stored, tmp_path: pathlib.Path) -> None:
    stored.add("control", [0.8])
    plan = plan_again(stored, config_with(seeds=[5, 0, 2]), tmp_path)
    assert plan.seeds == (0, 5, 2)
    assert load(stored.path / "experiment.yaml").experiment.seeds == (0, 5, 2)


def test_seeds_that_were_never_trained_are_forgotten(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(seeds=1000))
    stored.add_run("dropout", 7)
    assert plan_again(stored, config_with(seeds=2), tmp_path).seeds == (7, 0, 1)


def test_another_name_is_the_same_experiment(stored: Stored, tmp_path: pathlib.Path) -> None:
    assert plan_again(stored, config_with(name="renamed"), tmp_path).name == "renamed"


def test_another_experiment_is_refused_with_both_ids(stored: Stored, tmp_path: pathlib.Path) -> None:
    other = load(write_config(tmp_path, config_with(**{"training.epochs": 4}))).experiment
    with pytest.raises(UsageError) as caught:
        plan_again(stored, config_with(**{"training.epochs": 4}), tmp_path)
    assert str(caught.value) == (
        f"{stored.path} holds another experiment: expected 'made-up' with id {other.id}, found 'made-up' with id "
        f"{stored.loaded.experiment.id}. Choose another --out, or leave it out"
    )


def test_a_directory_of_something_else_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").touch()
    loaded = load(write_config(tmp_path))
    with pytest.raises(UsageError, match=r"thesis is not an experiment directory: .* found chapter1\.tex"):
        ExperimentDirectory(tmp_path / "thesis").plan_for(loaded.experiment, loaded.arms)


def test_a_version_that_trains_an_arm_differently_is_refused(stored: Stored, tmp_path: pathlib.Path) -> None:
    plan = json.loads((stored.path / "plan.json").read_text())
    plan["arms"][1]["spec"]["layers"][1]["arguments"]["rate"] = 0.25
    (stored.path / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(UsageError, match="made by a version of bdl that trains dropout differently: remove"):
        plan_again(stored, CONFIG, tmp_path)


DAMAGE = "is damaged: expected the plan of an experiment, found {}. bdl run with the same config mends it"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "an empty file"),
        ("[]", "no schema bdl.plan/1"),
        ("{}", "no schema bdl.plan/1"),
        ('{"schema": 5}', "no schema bdl.plan/1"),
        ('{"schema": "bdl.plan/1", "arms": [1]}', "no valid value at name"),
        ('{"schema": "bdl.plan/1", "arms": 1}', "no valid value at name"),
        ('{"schema": "bdl.pl', "something else than JSON, or only its beginning"),
        ("\x00", "something else than JSON, or only its beginning"),
        ("[" * 100_000, "something else than JSON, or only its beginning"),
    ],
)
def test_a_damaged_plan_is_one_message(stored: Stored, text: str, found: str) -> None:
    (stored.path / "plan.json").write_text(text)
    with pytest.raises(DamagedError) as caught:
        stored.directory.plan()
    assert str(caught.value) == f"{stored.path}/plan.json {DAMAGE.format(found)} and keeps the finished runs"


def test_a_plan_of_another_version_is_not_damaged(stored: Stored) -> None:
    (stored.path / "plan.json").write_text('{"schema": "bdl.plan/2"}')
    with pytest.raises(UsageError) as caught:
        stored.directory.plan()
    assert str(caught.value) == (
        f"{stored.path}/plan.json: expected bdl.plan/1, found bdl.plan/2: it was made by another version of bdl"
    )


@pytest.mark.parametrize(
    ("key", "value"), [("arms", []), ("arms", [{}]), ("seeds", ["a"]), ("seeds", None), ("name", 5), ("smoke", "no")]
)
def test_a_plan_with_a_wrong_value_names_its_place(stored: Stored, key: str, value: Any) -> None:
    plan = json.loads((stored.path / "plan.json").read_text())
    (stored.path / "plan.json").write_text(json.dumps({**plan, key: value}))
    with pytest.raises(DamagedError, match=f"found no valid value at {key}"):
        stored.directory.plan()


# ---- a directory whose plan is damaged ----


def damage(stored: Stored) -> None:
    path = stored.path / "plan.json"
    path.write_bytes(path.read_bytes()[:100])


def test_the_same_config_mends_a_damaged_plan_and_keeps_all_its_runs(stored: Stored, tmp_path: pathlib.Path) -> None:
    for arm, seed in (("control", 0), ("dropout", 2), ("dropout", 7)):
        stored.add_run(arm, seed)
    before = snapshot(stored.path)
    damage(stored)
    assert plan_again(stored, config_with(seeds=[2, 5]), tmp_path).seeds == (0, 2, 7, 5)
    assert plan_again(stored, config_with(seeds=[2, 5]), tmp_path).seeds == (0, 2, 7, 5)
    after = snapshot(stored.path)
    assert {name for name in before if before[name] != after[name]} == {"experiment.yaml", "plan.json"}
    assert set(stored.directory.runs(stored.directory.plan())["dropout"]) == {2, 7}


def test_the_same_config_mends_a_missing_plan(stored: Stored, tmp_path: pathlib.Path) -> None:
    stored.add_run("control", 1)
    (stored.path / "plan.json").unlink()
    assert ExperimentDirectory.holding(stored.path) is not None
    with pytest.raises(DamagedError, match="found no such file"):
        stored.directory.plan()
    assert plan_again(stored, CONFIG, tmp_path).seeds == (1, 0, 2)


def elsewhere(stored: Stored) -> Stored:
    """Under a name that says nothing, as with --out."""
    stored.directory = ExperimentDirectory(stored.path.rename(stored.path.with_name("mine")))
    return stored


def test_a_damaged_plan_in_a_directory_of_another_name_is_known_by_its_specs(
    stored: Stored, tmp_path: pathlib.Path
) -> None:
    damage(elsewhere(stored))
    assert plan_again(stored, CONFIG, tmp_path).id == stored.plan.id


@pytest.mark.parametrize(
    "change",
    [{"training.epochs": 4}, {"techniques": {}}, {"techniques": {"dropout": {"rate": 0.2}, "l2": {}}}],
    ids=str,
)
def test_another_config_does_not_mend_a_damaged_plan(
    stored: Stored, tmp_path: pathlib.Path, change: dict[str, Any]
) -> None:
    damage(elsewhere(stored))
    before = snapshot(stored.path)
    with pytest.raises(UsageError, match=r"plan\.json is damaged \(.*\), and the arms in .*mine are not all those of"):
        plan_again(stored, config_with(**change), tmp_path)
    assert snapshot(stored.path) == before


def test_a_smoke_run_does_not_mend_the_plan_of_the_experiment(stored: Stored, tmp_path: pathlib.Path) -> None:
    damage(elsewhere(stored))
    smoke = load(write_config(tmp_path, CONFIG, "again.yaml"), smoke=True)
    with stored.directory.locked(), pytest.raises(UsageError, match="are not all those of"):
        stored.directory.plan_for(smoke.experiment, smoke.arms)


def test_a_damaged_spec_is_mended_too_where_the_name_of_the_directory_tells(
    stored: Stored, tmp_path: pathlib.Path
) -> None:
    damage(stored)
    spec = stored.path / "arms" / "dropout" / "spec.json"
    whole = spec.read_text()
    spec.write_text(whole[:50])
    plan_again(stored, CONFIG, tmp_path)
    assert spec.read_text() == whole


# ---- runs ----


def test_a_run_comes_back(stored: Stored) -> None:
    written = stored.add_run("control", 4, 0.75)
    found = stored.directory.read_run(stored.arm("control"), 4)
    assert found is not None
    assert found.record == written
    assert found.history["loss"].tolist() == pytest.approx([0.7, 0.475, 0.25])
    assert set(written.files) == {"history.json", "predictions.npz"}


def test_the_history_is_a_bare_keras_history(stored: Stored) -> None:
    stored.add_run("control", 0, 0.75)
    plain = json.loads((stored.directory.run_path("control", 0) / "history.json").read_text())
    assert list(plain) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert plain["loss"] == pytest.approx([0.7, 0.475, 0.25])


def test_a_diverged_run_comes_back_with_null_in_its_history(stored: Stored) -> None:
    record = stored.add_run("control", 0, None, diverged=2)
    history = {"loss": [0.7, None, None]}
    stored.directory.write_run(record, files_history(history))
    found = stored.directory.read_run(stored.arm("control"), 0)
    assert found is not None
    assert (found.record.finished, found.record.diverged_epoch) == (True, 2)
    assert found.history.to_mapping() == history


def files_history(values: Any) -> Any:
    from betterdl_cli.history import History

    return History.from_mapping(values)


def test_a_failed_run_comes_back_as_failed_and_keeps_its_log(stored: Stored) -> None:
    stored.add_failure("control", 0)
    found = stored.directory.read_run(stored.arm("control"), 0)
    assert found is not None
    assert (found.record.finished, found.history.epochs) == (False, 0)
    assert (stored.directory.run_path("control", 0) / "log.txt").read_text() == "what the worker printed\n"


def test_a_run_that_succeeds_leaves_nothing_of_failed_and_killed_ones(stored: Stored) -> None:
    stored.add_failure("control", 0)
    folder = stored.directory.run_path("control", 0)
    (folder / ".weights.npz-123").write_bytes(b"half")
    (folder / "weights.npz").write_bytes(b"of a run that stored them")
    stored.add_run("control", 0)
    assert sorted(item.name for item in folder.iterdir()) == ["history.json", "predictions.npz", "run.json"]


@pytest.mark.parametrize("name", ["history.json", "predictions.npz", "run.json"])
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.unlink(), id="missing"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-20]), id="cut off"),
        pytest.param(lambda path: path.write_bytes(b"\xff" + path.read_bytes()), id="other bytes"),
        pytest.param(lambda path: path.write_text("[" * 100_000), id="nested"),
    ],
)
def test_a_torn_run_is_none(stored: Stored, name: str, damage: Any) -> None:
    stored.add("control", [0.8, 0.9])
    damage(stored.directory.run_path("control", 0) / name)
    assert list(stored.directory.runs(stored.plan)["control"]) == [1]


def test_what_is_lacking_says_why(stored: Stored) -> None:
    stored.add("control", [0.8, 0.9, 0.7])
    stored.add_failure("dropout", 1)
    (stored.directory.run_path("control", 0) / "run.json").unlink()
    history = stored.directory.run_path("control", 2) / "history.json"
    history.write_bytes(history.read_bytes()[:10])
    assert stored.directory.lacking(stored.plan) == {
        "control": {0: "run.json is missing", 2: "history.json is damaged"},
        "dropout": {0: "", 2: ""},
    }


def test_a_single_changed_digit_is_noticed(stored: Stored) -> None:
    stored.add_run("control", 0)
    path = stored.directory.run_path("control", 0) / "history.json"
    path.write_text(path.read_text().replace("0.7", "0.6", 1))
    assert stored.directory.read_run(stored.arm("control"), 0) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("spec", "0" * 64), ("arm", "dropout"), ("seed", 1), ("schema", "bdl.run/2"), ("files", {}), ("status", "fine")],
)
def test_a_record_of_something_else_is_none(stored: Stored, key: str, value: Any) -> None:
    stored.add_run("control", 0)
    path = stored.directory.run_path("control", 0) / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    assert stored.directory.read_run(stored.arm("control"), 0) is None


def test_the_record_is_written_last(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    write = files.write

    def record(path: pathlib.Path, fill: Any) -> None:
        order.append(path.name)
        write(path, fill)

    monkeypatch.setattr(files, "write", record)
    stored.add_run("control", 0)
    assert order == ["history.json", "predictions.npz", "run.json"]


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_disk_that_fills_up_leaves_no_run_that_looks_whole(
    stored: Stored, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    stored.add_run("control", 0, 0.5)
    calls = 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left on device"):
        stored.add_run("control", 0, 0.9)
    assert stored.directory.read_run(stored.arm("control"), 0) is None
    monkeypatch.undo()
    stored.add_run("control", 0, 0.9)
    found = stored.directory.read_run(stored.arm("control"), 0)
    assert found is not None
    assert found.record.scores["test"]["accuracy"] == 0.9


def test_a_history_that_is_not_finite_is_strict_json(stored: Stored) -> None:
    record = stored.add_run("control", 0)
    stored.directory.write_run(record, files_history({"loss": [np.inf, np.nan, 1.0]}))
    text = (stored.directory.run_path("control", 0) / "history.json").read_text()
    assert text == '{"loss": [null, null, 1.0]}\n'


# ---- one process at a time ----

HOLDER = """
import pathlib, sys, time
from betterdl_cli.store import ExperimentDirectory

with ExperimentDirectory(pathlib.Path(sys.argv[1])).locked():
    print("locked", flush=True)
    time.sleep(600)
"""


def test_a_second_process_is_refused_naming_the_first_which_leaves_no_lock_when_it_dies(
    tmp_path: pathlib.Path,
) -> None:
    directory = ExperimentDirectory(tmp_path / "runs" / "x")
    command = [sys.executable, "-c", HOLDER, str(directory.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "locked\n"
            with pytest.raises(BdlError) as caught, directory.locked():
                pass
        finally:
            holder.kill()
    assert caught.value.exit_code == 1
    assert str(caught.value) == (
        f"{directory.path} is in use by process {holder.pid} on {os.uname().nodename}; wait for it or stop it"
    )
    with directory.locked():
        pass


def test_the_lock_ends_with_an_exception(stored: Stored) -> None:
    with pytest.raises(ZeroDivisionError), stored.directory.locked():
        _ = 1 / 0
    with stored.directory.locked():
        pass


def test_a_file_system_without_locks_is_not_another_process(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(lock: Any, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UsageError, match=r"cannot write to .*: No locks available"), stored.directory.locked():
        pass


@pytest.mark.parametrize(
    ("place", "reason"),
    [("file", "expected a directory, found the file {path}"), ("file/below", "Not a directory")],
)
def test_a_place_where_no_directory_can_be_made(tmp_path: pathlib.Path, place: str, reason: str) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / place
    with pytest.raises(UsageError) as caught, ExperimentDirectory(path).locked():
        pass
    assert str(caught.value) == f"cannot write to {path}: {reason.format(path=path)}"


# ---- what lies at a path ----


def test_an_experiment_an_arm_and_a_run_are_found_by_their_paths(stored: Stored) -> None:
    stored.add_run("control", 4)
    found = [
        locate(path)
        for path in (stored.path, stored.directory.arm_path("control"), stored.directory.run_path("control", 4))
    ]
    assert [(place.arm, place.seed) for place in found if place] == [(None, None), ("control", None), ("control", 4)]


def test_a_relative_path_is_found(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stored.directory.arm_path("control"))
    place = locate(pathlib.Path())
    assert place is not None
    assert place.arm == "control"


@pytest.mark.parametrize("name", ["arms", "arms/control/seed-x", "arms/control/seed-²", "arms/control/other", "report"])
def test_other_directories_are_nothing_of_ours(stored: Stored, name: str) -> None:
    (stored.path / name).mkdir(parents=True, exist_ok=True)
    assert locate(stored.path / name) is None


def test_a_name_too_long_for_a_file_is_nothing() -> None:
    assert ExperimentDirectory.holding(pathlib.Path("x" * 5000)) is None


def test_experiments_are_listed_by_name(tmp_path: pathlib.Path) -> None:
    later = Stored(tmp_path, config_with(name="b"))
    first = Stored(tmp_path, config_with(name="a"))
    (tmp_path / "compare-a-vs-b").mkdir()
    assert [directory.path for directory in experiments(tmp_path)] == [first.path, later.path]
    assert experiments(tmp_path / "nowhere") == []


def test_what_cannot_be_removed_is_named(stored: Stored, tmp_path: pathlib.Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(stored.path)
    with pytest.raises(BdlError, match=f"cannot remove {link}: "):
        ExperimentDirectory(link).remove()
    assert stored.path.is_dir()
    stored.directory.remove()
    assert not stored.path.exists()
