"""What a training process is started with, and which engine trains. Imports no Keras."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

from betterdl_cli.errors import UsageError
from betterdl_cli.record import Engine

WantedEngine = Literal["auto", "fit", "vectorized"]
BackendName = Literal["tensorflow", "jax"]

_NEEDED = {
    "tensorflow": ("TensorFlow", "pip install tensorflow, or use --backend jax"),
    "jax": ("JAX", "pip install 'betterdl-cli[jax]'"),
}


@dataclass(frozen=True)
class Setting:
    """``backend``: Keras's name; ``device``: cpu, gpu or auto; ``threads``: CPU threads of one process."""

    backend: BackendName = "tensorflow"
    device: str = "auto"
    threads: int = 1

    def require_backend(self) -> None:
        """Raises :class:`UsageError` when the backend's library is not installed."""
        if find_spec(self.backend) is None:
            name, remedy = _NEEDED[self.backend]
            raise UsageError(f"backend {self.backend} needs {name}, which is not installed: {remedy}")


def with_engine(environment: dict[str, Any], engine: Engine) -> dict[str, Any]:
    """A worker's environment with what the engine adds to it."""
    compiled = engine == "vectorized" or environment["backend"] == "jax"
    return {**environment, "engine": engine, "jit_compile": compiled}
