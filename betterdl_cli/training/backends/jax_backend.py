"""JAX: ``jax.jit`` and ``jax.value_and_grad``."""

from __future__ import annotations

from typing import Any

import jax

from betterdl_cli.training.backends.base import Backend, Function


class JaxBackend:
    name = "jax"

    def compile(self, function: Function) -> Function:
        compiled: Function = jax.jit(function)
        return compiled

    def value_and_gradient(self, function: Function, weights: list[Any]) -> tuple[Any, Any, list[Any]]:
        (loss, rest), gradients = jax.value_and_grad(function, has_aux=True)(weights)
        return loss, rest, gradients


BACKEND: Backend = JaxBackend()
