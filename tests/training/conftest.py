from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def engine() -> ModuleType:
    """The module of engine ``fit``, with TensorFlow imported into this process.

    As TensorFlow comes: the switches that a worker throws would hold for every later test of this process.
    """
    from betterdl_cli.training import fit

    return fit
