from __future__ import annotations

from typing import Any

import pytest

from betterdl_cli.config.reading import read_experiment
from betterdl_cli.errors import ConfigError
from betterdl_cli.expand import Arm, expand

PLATEAU = {"kind": "plateau", "monitor": "loss"}
COSINE = {"kind": "cosine_decay", "initial_learning_rate": 0.1, "decay_steps": 10}
WITHOUT_VALIDATION = {"train": 60, "test": 20}


def arms_of(plain: dict[str, Any], **sections: Any) -> dict[str, Arm]:
    return {arm.id: arm for arm in expand(read_experiment({**plain, **sections}))}


def faults_of(plain: dict[str, Any], **sections: Any) -> list[str]:
    experiment = read_experiment({**plain, **sections})
    with pytest.raises(ConfigError) as caught:
        expand(experiment)
    return [str(fault) for fault in caught.value.faults]


def layers(arm: Arm) -> list[str]:
    return [layer.name for layer in arm.spec.layers]


# ---- arms ----


def test_config_without_techniques_is_the_control_alone(plain: dict[str, Any]) -> None:
    (control,) = arms_of(plain).values()
    assert control.id == "control"
    assert (control.area, control.techniques, control.reference, control.differences) == ("", (), None, ())
    assert layers(control) == ["hidden_1", "output"]


def test_control_comes_first_then_one_arm_per_technique_as_written(plain: dict[str, Any]) -> None:
    arms = arms_of(plain, techniques={"l2": {}, "dropout": None, "batch_norm": {}})
    assert list(arms) == ["control", "l2", "dropout", "batch_norm"]
    assert all(arm.reference == "control" for arm in list(arms.values())[1:])


def test_arm_says_how_it_differs_from_the_control(plain: dict[str, Any]) -> None:
    arm = arms_of(plain, techniques={"dropout": {"rate": 0.25}})["dropout"]
    assert arm.area == "better generalisation"
    assert [str(difference) for difference in arm.differences] == [
        "+ layers.hidden_1_dropout: Dropout(rate=0.25) after hidden_1"
    ]
    assert arm.techniques[0].parameters == {"rate": 0.25, "retention": None}


def test_list_for_a_scalar_makes_one_arm_per_value(plain: dict[str, Any]) -> None:
    arms = arms_of(plain, techniques={"dropout": {"rate": [0.2, 0.5]}})
    assert list(arms) == ["control", "dropout-rate-0.2", "dropout-rate-0.5"]
    assert [arm.spec.layers[1].arguments for arm in list(arms.values())[1:]] == [{"rate": 0.2}, {"rate": 0.5}]


def test_list_of_one_value_is_a_sweep_too(plain: dict[str, Any]) -> None:
    assert list(arms_of(plain, techniques={"l2": {"l2": [1e-3]}})) == ["control", "l2-l2-0.001"]


def test_several_lists_make_their_product_in_the_order_of_the_parameters(plain: dict[str, Any]) -> None:
    arms = arms_of(plain, techniques={"gaussian_noise": {"where": ["input", "hidden"], "stddev": [0.1, 1]}})
    assert list(arms) == [
        "control",
        "gaussian_noise-stddev-0.1-where-input",
        "gaussian_noise-stddev-0.1-where-hidden",
        "gaussian_noise-stddev-1-where-input",
        "gaussian_noise-stddev-1-where-hidden",
    ]


def test_swept_texts_and_truth_values_are_part_of_the_id(plain: dict[str, Any]) -> None:
    techniques = {"early_stopping": {"monitor": ["loss", "val_loss"], "restore_best_weights": [True, False]}}
    assert list(arms_of(plain, techniques=techniques))[1:3] == [
        "early_stopping-monitor-loss-restore_best_weights-true",
        "early_stopping-monitor-loss-restore_best_weights-false",
    ]


def test_base_is_part_of_every_arm(plain: dict[str, Any]) -> None:
    arms = arms_of(plain, base={"batch_norm": {}}, techniques={"dropout": {}})
    assert layers(arms["control"]) == ["hidden_1", "hidden_1_batch_norm", "output"]
    assert layers(arms["dropout"]) == ["hidden_1", "hidden_1_batch_norm", "hidden_1_dropout", "output"]
    assert len(arms["dropout"].differences) == 1


def test_stacked_arm_takes_its_parameters_from_the_techniques(plain: dict[str, Any]) -> None:
    techniques = {"dropout": {"rate": 0.25}, "l2": {"l2": 0.5}}
    arm = arms_of(plain, techniques=techniques, arms={"both": ["l2", "dropout"]})["both"]
    assert [use.technique for use in arm.techniques] == ["l2", "dropout"]
    assert arm.spec.layers[0].arguments["kernel_regularizer"] == {"l2": 0.5}
    assert arm.spec.layers[1].arguments == {"rate": 0.25}


def test_stacked_arm_takes_defaults_for_what_is_not_under_techniques(plain: dict[str, Any]) -> None:
    arm = arms_of(plain, arms={"both": ["l2", "dropout"]})["both"]
    assert arm.spec.layers[0].arguments["kernel_regularizer"] == {"l2": 0.01}
    assert arm.spec.layers[1].arguments == {"rate": 0.5}


def test_stacked_arm_as_a_mapping_has_its_own_parameters(plain: dict[str, Any]) -> None:
    techniques = {"dropout": {"rate": 0.25}}
    arm = arms_of(plain, techniques=techniques, arms={"both": {"dropout": {"rate": 0.75}, "l1": None}})["both"]
    assert arm.spec.layers[1].arguments == {"rate": 0.75}
    assert arm.spec.layers[0].arguments["kernel_regularizer"] == {"l1": 0.01}


def test_areas_of_a_stacked_arm_are_joined_in_their_fixed_order(plain: dict[str, Any]) -> None:
    arm = arms_of(plain, arms={"both": ["dropout", "batch_norm"]})["both"]
    assert arm.area == "better learning + better generalisation"


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (["gaussian_noise", "dropout"], ["hidden_1", "hidden_1_noise", "hidden_1_dropout", "output"]),
        (["dropout", "gaussian_noise"], ["hidden_1", "hidden_1_dropout", "hidden_1_noise", "output"]),
    ],
)
def test_techniques_are_applied_as_written(plain: dict[str, Any], order: list[str], expected: list[str]) -> None:
    techniques = {"gaussian_noise": {"where": "hidden"}, "dropout": {}}
    assert layers(arms_of(plain, techniques=techniques, arms={"both": order})["both"]) == expected


def test_base_is_applied_before_the_techniques(plain: dict[str, Any]) -> None:
    arms = arms_of(plain, base={"dropout": {}}, techniques={"gaussian_noise": {"where": "hidden"}})
    assert layers(arms["gaussian_noise"]) == ["hidden_1", "hidden_1_dropout", "hidden_1_noise", "output"]


def test_noise_on_the_input_and_behind_hidden_layers_is_no_repetition(plain: dict[str, Any]) -> None:
    arms = arms_of(
        plain, base={"gaussian_noise": {"where": "input"}}, techniques={"gaussian_noise": {"where": "hidden"}}
    )
    assert layers(arms["gaussian_noise"]) == ["input_noise", "hidden_1", "hidden_1_noise", "output"]


def test_default_split_has_three_parts(plain: dict[str, Any]) -> None:
    split = arms_of(plain, data={"kind": "digits"})["control"].spec.data.split
    assert (split.train, split.validation, split.test) == (0.6, 0.2, 0.2)


# ---- arms that make no sense ----


def test_technique_that_changes_nothing_is_an_error(plain: dict[str, Any]) -> None:
    assert faults_of(plain, techniques={"batch_size": {"size": [16, 32]}}) == [
        "techniques.batch_size: 'batch_size-size-16' changes nothing: the control is already like that"
    ]


def test_two_equal_arms_are_an_error(plain: dict[str, Any]) -> None:
    assert faults_of(plain, techniques={"dropout": {}}, arms={"same": ["dropout"]}) == [
        "arms.same: expected different arms, found 'same' the same as 'dropout'"
    ]


def test_two_ways_to_say_the_same_are_equal_arms(plain: dict[str, Any]) -> None:
    arms = {"a": {"l1": {}, "l2": {}}, "b": {"l1_l2": {}}}
    assert faults_of(plain, arms=arms) == ["arms.b: expected different arms, found 'b' the same as 'a'"]


@pytest.mark.parametrize(
    ("technique", "message"),
    [
        ("dropout", "expected dropout once per arm, found it applied twice"),
        ("batch_norm", "expected batch_norm once per arm, found it applied twice"),
        ("gaussian_noise", "expected gaussian_noise once per arm, found it applied twice"),
        ("early_stopping", "expected early_stopping once per arm, found it applied twice"),
        ("l2", "expected one l2 penalty per layer, found a second one on 'hidden_1': remove one of them"),
        ("normalize_inputs", "expected inputs that are normalised once, found a second normalize_inputs"),
    ],
)
def test_technique_of_the_base_cannot_be_applied_again(plain: dict[str, Any], technique: str, message: str) -> None:
    uses = {technique: {}}
    assert faults_of(plain, base=uses, techniques=uses) == [f"techniques.{technique}: {message}"]


@pytest.mark.parametrize("technique", ["batch_norm", "dropout", "l1", "l2", "l1_l2"])
def test_technique_for_hidden_layers_needs_one(plain: dict[str, Any], technique: str) -> None:
    (fault,) = faults_of(plain, model={"kind": "mlp", "hidden": []}, techniques={technique: {}})
    assert fault.startswith(f"techniques.{technique}: expected a model with a hidden layer to apply ")


def test_fault_of_a_stacked_arm_names_the_technique(plain: dict[str, Any]) -> None:
    (fault,) = faults_of(plain, base={"l2": {}}, arms={"a": {"dropout": {}, "l2": {"l2": 1.0}}})
    assert fault.startswith("arms.a: l2: expected one l2 penalty per layer")


def test_fault_of_the_base_is_found_there(plain: dict[str, Any]) -> None:
    (fault,) = faults_of(plain, model={"kind": "mlp", "hidden": []}, base={"dropout": {}}, techniques={"l2": {}})
    assert fault.startswith("base.dropout: expected a model with a hidden layer")


def test_model_that_does_not_take_the_inputs_is_refused(plain: dict[str, Any]) -> None:
    assert faults_of(plain, model={"kind": "cnn"}) == [
        "model.kind: expected inputs with height × width × channels for the model cnn, found the dataset make_circles "
        "with columns"
    ]


def test_faults_of_several_arms_are_reported_together(plain: dict[str, Any]) -> None:
    techniques = {"batch_size": {"size": 16}, "early_stopping": {"monitor": "auc"}}
    assert len(faults_of(plain, techniques=techniques)) == 2


# ---- refused before any training ----


def test_schedule_in_the_optimizer_with_reduce_on_plateau_is_refused(plain: dict[str, Any]) -> None:
    plain["training"]["optimizer"]["learning_rate"] = COSINE
    (fault,) = faults_of(plain, techniques={"lr_schedule": PLATEAU, "dropout": {}})
    assert fault.startswith("techniques.lr_schedule: expected one learning-rate schedule, found one in the optimizer")


def test_schedule_in_the_optimizer_with_reduce_on_plateau_in_the_base_is_one_fault(plain: dict[str, Any]) -> None:
    plain["training"]["optimizer"]["learning_rate"] = COSINE
    (fault,) = faults_of(plain, base={"lr_schedule": PLATEAU}, techniques={"dropout": {}})
    assert fault.startswith("base: expected one learning-rate schedule")


def test_schedule_alone_and_plateau_alone_are_allowed(plain: dict[str, Any]) -> None:
    assert "lr_schedule" in arms_of(plain, techniques={"lr_schedule": PLATEAU})
    plain["training"]["optimizer"]["learning_rate"] = COSINE
    assert "dropout" in arms_of(plain, techniques={"dropout": {}})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"clipnorm": 1.0, "clipvalue": 0.5}, "clipnorm and clipvalue"),
        ({"clipnorm": 1.0, "global_clipnorm": 0.5}, "clipnorm and global_clipnorm"),
        ({"clipnorm": 1, "clipvalue": 1, "global_clipnorm": 1}, "clipnorm and clipvalue and global_clipnorm"),
    ],
)
def test_more_than_one_kind_of_clipping_is_refused(plain: dict[str, Any], given: dict[str, Any], words: str) -> None:
    plain["training"]["optimizer"].update(given)
    assert faults_of(plain, techniques={"dropout": {}}) == [
        f"training.optimizer: expected one kind of gradient clipping, found {words}"
    ]


def test_one_kind_of_clipping_is_allowed(plain: dict[str, Any]) -> None:
    plain["training"]["optimizer"]["clipvalue"] = 0.5
    assert arms_of(plain)["control"].spec.training.optimizer["clipvalue"] == 0.5


@pytest.mark.parametrize("technique", [{"early_stopping": {}}, {"lr_schedule": {"kind": "plateau"}}])
def test_monitoring_validation_without_a_validation_part_is_refused(
    plain: dict[str, Any], technique: dict[str, Any]
) -> None:
    plain["data"]["split"] = WITHOUT_VALIDATION
    (name,) = technique
    assert faults_of(plain, techniques=technique) == [
        f"techniques.{name}.monitor: cannot monitor val_loss: the split has no validation part; "
        "add data.split.validation (rows, a fraction, or test)"
    ]


@pytest.mark.parametrize("validation", ["test", 10, 0.1])
def test_monitoring_validation_is_allowed_with_a_validation_part(plain: dict[str, Any], validation: object) -> None:
    plain["data"]["split"] = {**WITHOUT_VALIDATION, "validation": validation}
    assert "early_stopping" in arms_of(plain, techniques={"early_stopping": {}})


def test_training_loss_can_be_monitored_without_a_validation_part(plain: dict[str, Any]) -> None:
    plain["data"]["split"] = WITHOUT_VALIDATION
    assert "early_stopping" in arms_of(plain, techniques={"early_stopping": {"monitor": "loss"}})


def test_misspelt_monitor_is_refused_with_the_nearest_name(plain: dict[str, Any]) -> None:
    assert faults_of(plain, techniques={"early_stopping": {"monitor": "val_acuracy"}}) == [
        "techniques.early_stopping.monitor: expected a metric to monitor (loss, accuracy, val_loss, val_accuracy), "
        "found 'val_acuracy' (did you mean 'val_accuracy'?)"
    ]


def test_misspelt_monitor_without_a_validation_part_is_not_blamed_on_it(plain: dict[str, Any]) -> None:
    plain["data"]["split"] = WITHOUT_VALIDATION
    assert faults_of(plain, techniques={"early_stopping": {"monitor": "los"}}) == [
        "techniques.early_stopping.monitor: expected a metric to monitor (loss, accuracy), found 'los' "
        "(did you mean 'loss'?)"
    ]


def test_misspelt_monitor_in_base_and_stacked_arm(plain: dict[str, Any]) -> None:
    (fault,) = faults_of(plain, base={"early_stopping": {"monitor": "x"}}, techniques={"dropout": {}})
    assert fault.startswith("base: expected a metric to monitor")
    (fault,) = faults_of(plain, arms={"a": {"early_stopping": {"monitor": "x"}}})
    assert fault.startswith("arms.a: expected a metric to monitor")


ONE_ROW = (
    "batch normalisation of 'hidden_1' needs more than one row per batch: with one row it outputs a constant; "
    "raise training.batch_size"
)


def test_batch_normalisation_of_a_dense_layer_with_one_row_per_batch_is_refused(plain: dict[str, Any]) -> None:
    plain["training"]["batch_size"] = 1
    assert faults_of(plain, techniques={"batch_norm": {}}) == [f"techniques.batch_norm: {ONE_ROW}"]


def test_batch_normalisation_with_one_training_row_is_refused(plain: dict[str, Any]) -> None:
    plain["data"]["split"] = {"train": 1, "test": 20}
    assert faults_of(plain, techniques={"batch_norm": {}}) == [f"techniques.batch_norm: {ONE_ROW}"]


def test_one_row_per_batch_by_a_technique_is_refused_where_the_base_normalises(plain: dict[str, Any]) -> None:
    assert faults_of(plain, base={"batch_norm": {}}, techniques={"batch_size": {"size": [4, 1]}}) == [
        f"techniques.batch_size: {ONE_ROW}"
    ]


def test_batch_normalisation_of_flattened_images_with_one_row_per_batch_is_refused(plain: dict[str, Any]) -> None:
    plain["training"]["batch_size"] = 1
    (fault,) = faults_of(plain, data={"kind": "digits"}, techniques={"batch_norm": {}})
    assert fault == f"techniques.batch_norm: {ONE_ROW}"


def test_batch_normalisation_of_images_with_one_row_per_batch_is_allowed(plain: dict[str, Any]) -> None:
    plain["training"]["batch_size"] = 1
    arms = arms_of(plain, data={"kind": "digits"}, model={"kind": "cnn"}, techniques={"batch_norm": {}})
    assert layers(arms["batch_norm"])[:3] == ["conv_1", "conv_1_batch_norm", "conv_1_pool"]


def test_batch_normalisation_with_two_rows_per_batch_is_allowed(plain: dict[str, Any]) -> None:
    plain["training"]["batch_size"] = 2
    assert "batch_norm" in arms_of(plain, techniques={"batch_norm": {}})


# ---- designs ----


def test_an_arm_left_out_of_all_differs_from_the_arm_with_all(plain: dict[str, Any]) -> None:
    arms = arms_of(plain, techniques={"dropout": {}, "batch_norm": {}}, design="leave-one-out")
    assert [(arm.id, arm.reference) for arm in arms.values()] == [
        ("control", None),
        ("full", "control"),
        ("without-dropout", "full"),
        ("without-batch_norm", "full"),
    ]
    assert [str(difference)[:1] for difference in arms["without-dropout"].differences] == ["-"]
    assert all(str(difference).startswith("+") for difference in arms["full"].differences)


def test_a_technique_that_changes_nothing_is_told_against_its_reference(plain: dict[str, Any]) -> None:
    techniques = {"batch_size": {"size": plain["training"]["batch_size"]}, "dropout": {}}
    found = faults_of(plain, techniques=techniques, design="leave-one-out")
    assert found == ["techniques.batch_size: 'without-batch_size' changes nothing: 'full' is already like that"]


def test_where_all_together_do_not_apply_the_fault_is_told_once(plain: dict[str, Any]) -> None:
    training = {**plain["training"], "optimizer": {"kind": "sgd", "learning_rate": COSINE}}
    techniques = {"lr_schedule": PLATEAU, "dropout": {}, "l2": {}}
    found = faults_of(plain, training=training, techniques=techniques, design="leave-one-out")
    assert all("learning-rate schedule" in fault for fault in found)


def test_the_a_a_arm_differs_from_the_control_by_its_seeds_alone(plain: dict[str, Any]) -> None:
    arm = arms_of(plain, aa=True)["control-aa"]
    assert [str(difference) for difference in arm.differences] == ["+ seeds: those of a stream of its own (control-aa)"]
    assert (arm.area, arm.techniques, arm.reference, arm.spec.seed_stream) == ("", (), "control", "control-aa")
