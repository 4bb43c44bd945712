"""What every layer inside a residual block offers."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_flows.layers.upkeep import Upkeep

# From cotangents to J^T cotangents.
Pullback = Callable[[tf.Tensor], tf.Tensor]


def times(scale: Any, x: Any) -> Any:
    """`scale * x`, where None is 1."""
    if scale is None or x is None:
        return x if scale is None else scale
    return scale * x


def apart(stacked: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The value and its tangents: `(1 + k, batch, ...)` to `(1, batch, ...)` and `(k, batch, ...)`.

    The gradient of a split is a concatenation, that of slices a sum of tensors padded by zeros.
    """
    number = stacked.shape[0]
    value, tangents = tf.split(stacked, [1, -1 if number is None else number - 1])
    return value, tangents


class LipschitzLayer(Upkeep, keras.layers.Layer):
    """A layer with a known Lipschitz bound and hand-written derivatives.

    The derivatives are made of forward operations only, so the same code serves training (they
    can be differentiated again), exact Jacobians (tangents stacked into the batch) and export
    (gradient operations have no ONNX converter).
    """

    _bound = None

    def derive(self, training: bool = False) -> Any:
        """What the layer makes of its weights before it sees an input, such as a normalised kernel.

        Tensors, or None. The layer itself reads them by `derived`, which `bound` may hold.
        """

    def derived(self, training: bool = False) -> Any:
        """What `derive` gives, or what is held inside a `bound`."""
        return self.derive(training) if self._bound is None else self._bound

    @contextlib.contextmanager
    def bound(self, training: bool = False) -> Iterator[None]:
        """Holds what this layer and those inside it derive from their weights.

        For loops: a loop built inside computes it once, before its first iteration.
        """
        layers = [layer for layer in self._flatten_layers() if isinstance(layer, LipschitzLayer)]
        for layer in layers:
            layer._bound = layer.derive(training)
        try:
            yield
        finally:
            for layer in layers:
                layer._bound = None

    def call(
        self, x: tf.Tensor, *inputs: Any, training: bool = False, **arguments: Any
    ) -> tf.Tensor:
        # x and `training` by name, or Keras would not build for x nor pass `training` on. Unused
        # pullbacks cost nothing: their operations are made when they are called.
        return self.vjp(x, *inputs, training=training, **arguments)[0]  # type: ignore[misc]

    def jvp(
        self, x: tf.Tensor, tangents: tf.Tensor, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Value and Jacobian-vector products.

        Args:
            x: Tensor `(batch, *event)`.
            tangents: Tensor `(k, batch, *event)`: k tangents for every example.
            training: Whether the layer runs in training mode.

        Returns:
            `(y, J tangents)` of shapes `(batch, *out)` and `(k, batch, *out)`.
        """
        raise NotImplementedError

    def vjp(self, x: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, Pullback]:
        """Value, and the function that pulls cotangents back.

        Args:
            x: Tensor `(batch, *event)`.
            training: Whether the layer runs in training mode.

        Returns:
            `(y, pullback)`: `y` of shape `(batch, *out)`; `pullback` maps cotangents
            `(k, batch, *out)` to `J^T cotangents`, `(k, batch, *event)`.
        """
        raise NotImplementedError

    def lipschitz_bound(self) -> float:
        """An upper bound on the layer's l2 Lipschitz constant, a Python float."""
        raise NotImplementedError

    def get_config(self) -> dict:
        # Overridden, or Keras would record the constructor's arguments, a dtype policy among them.
        return super().get_config()
