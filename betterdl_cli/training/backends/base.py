"""What the vectorized engine needs of a backend beyond ``keras.ops``: compiling a program and differentiating."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

Function = Callable[..., Any]


class Backend(Protocol):
    """``name`` is Keras's name of the backend."""

    name: str

    def compile(self, function: Function) -> Function:
        """The function as one XLA program; arguments and results are nested dicts and lists of arrays."""

    def value_and_gradient(self, function: Function, weights: list[Any]) -> tuple[Any, Any, list[Any]]:
        """``function(weights)`` returns (loss, rest); gives (loss, rest, gradients of the loss)."""


def backend_named(name: str) -> Backend:
    """The backend of this name; imports its library."""
    import importlib

    module = importlib.import_module(f"betterdl_cli.training.backends.{name}_backend")
    backend: Backend = module.BACKEND
    return backend
