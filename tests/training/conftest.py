from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def engine() -> ModuleType:
    """The module of engine ``fit``, with TensorFlow imported into this process and made deterministic."""
    import tensorflow as tf

    from betterdl_cli.training import fit

    tf.config.experimental.enable_op_determinism()
    return fit
