"""TensorFlow: ``tf.function(jit_compile=True)`` and a gradient tape."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from betterdl_cli.training.backends.base import Backend, Function


class TensorFlowBackend:
    name = "tensorflow"

    def compile(self, function: Function) -> Function:
        compiled: Function = tf.function(function, jit_compile=True, autograph=False)
        return compiled

    def value_and_gradient(self, function: Function, weights: list[Any]) -> tuple[Any, Any, list[Any]]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            loss, rest = function(weights)
        gradients = tape.gradient(loss, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return loss, rest, gradients


BACKEND: Backend = TensorFlowBackend()
