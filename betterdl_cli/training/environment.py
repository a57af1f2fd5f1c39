"""Set up the libraries of a training process before anything is computed, and say what decides the bits."""

from __future__ import annotations

import os
import pathlib
import platform
import sys
from importlib.metadata import version
from typing import Any

from betterdl_cli.record import Engine
from betterdl_cli.training.setting import Setting, with_engine


class DeviceError(RuntimeError):
    """The device asked for is not there."""


def set_up(setting: Setting) -> dict[str, Any]:
    """Import Keras on its backend, choose the device and pin the threads.

    Returns what decides the bits beside the spec, the seed and the engine. Raises :class:`DeviceError`.
    """
    os.environ["KERAS_BACKEND"] = setting.backend
    for name in ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH"):  # would shorten trainings in silence
        os.environ.pop(name, None)
    device = {"tensorflow": _set_up_tensorflow, "jax": _set_up_jax}[setting.backend](setting)
    import keras

    keras.config.set_floatx("float32")  # whatever ~/.keras/keras.json says
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    libraries = {"tensorflow": ("tensorflow",), "jax": ("jax", "jaxlib")}[setting.backend]
    return {
        "backend": setting.backend,
        "device": device,
        "threads": setting.threads,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "versions": {name: version(name) for name in ("keras", *libraries, "numpy", "scikit-learn")},
    }


def enter_engine(engine: Engine, environment: dict[str, Any]) -> dict[str, Any]:
    """Make this process ready for an engine; the environment with what the engine adds to it.

    Deterministic operations are for engine ``fit`` on TensorFlow: compiled programs on CPU are deterministic by
    themselves, and XLA refuses the gradient of max pooling under that switch.
    """
    if engine == "fit" and environment["backend"] == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    return with_engine(environment, engine)


def _set_up_tensorflow(setting: Setting) -> str:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    if setting.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if setting.device == "gpu" and not gpus:
        raise DeviceError("expected a GPU (--device gpu), found none that TensorFlow can use; try --device cpu")
    device = "gpu" if gpus and setting.device != "cpu" else "cpu"
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    for gpu in gpus if device == "gpu" else ():
        tf.config.experimental.set_memory_growth(gpu, True)  # several workers share it
    tf.config.threading.set_intra_op_parallelism_threads(setting.threads)
    tf.config.threading.set_inter_op_parallelism_threads(setting.threads)
    return device


def _set_up_jax(setting: Setting) -> str:
    if setting.device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several workers share a GPU
    os.environ["NPROC"] = str(setting.threads)  # the size of XLA's thread pool on CPU
    if setting.threads == 1:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type]  # Keras looks for it: seconds and 400 MB
    import jax

    found = jax.default_backend()
    if setting.device == "gpu" and found == "cpu":
        raise DeviceError("expected a GPU (--device gpu), found none that JAX can use; try --device cpu")
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "betterdl-cli" / "jax"
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    return "cpu" if found == "cpu" else "gpu"
