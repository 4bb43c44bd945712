"""The residual network that gives a coupling of vectors its parameters."""

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.coupling.circles import seen
from keras_flows.layers.coupling.dense import Linear


@keras.saving.register_keras_serializable("keras_flows")
class ResidualNetwork(keras.layers.Layer):
    """`h = A x`, then `h = h + C relu(B relu(h))` for every block, then a matrix to `units`.

    A context is concatenated to x, behind it, and gates every block: what is added to h is
    multiplied by `sigmoid(G context)`. The last matrix starts at zero. Of features that are angles
    A sees cosine and sine. Input `(batch, features)`, output `(batch, units)`.

    Source: Durkan et al. 2019, *Neural Spline Flows*, appendix B; He et al. 2016, *Identity
    Mappings in Deep Residual Networks*.

    Args:
        units: Size of the output.
        width: Size of h.
        blocks: Number of blocks.
        context_size: Size of the context; None for a network without context.
        circles: The indices of the features that are angles, in radians.

    Raises:
        ValueError: If an argument is out of range, or, when called, the context is missing.
    """

    def __init__(
        self,
        units: int,
        width: int = 64,
        blocks: int = 2,
        context_size: int | None = None,
        circles: Iterable[int] = (),
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.circles = checks.indices(circles, "circles")
        for value, name in ((units, "units"), (width, "width"), (blocks, "blocks")):
            checks.count(value, name)
        self.units, self.width, self.context_size = units, width, context_size
        dtype = {"dtype": self.dtype_policy}
        self.first = Linear(width, **dtype)
        # A block is a pair of matrices, and a gate with a context.
        self.blocks = [
            (Linear(width, **dtype), Linear(width, "small", **dtype)) for _ in range(blocks)
        ]
        self.gates = [Linear(width, **dtype) for _ in range(blocks if context_size else 0)]
        self.last = Linear(units, "zeros", **dtype)

    def build(self, input_shape: tuple) -> None:
        hidden = (None, self.width)
        checks.indices(self.circles, "circles", input_shape[-1])
        size = input_shape[-1] + len(self.circles) + (self.context_size or 0)
        self.first.build((None, size))
        for layer in (*(layer for pair in self.blocks for layer in pair), self.last):
            layer.build(hidden)
        for gate in self.gates:
            gate.build((None, self.context_size))
        self.built = True

    def call(
        self, x: tf.Tensor, context: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        context = given(context, self.context_size)
        x = seen(x, self.circles)
        h = self.first(x if context is None else tf.concat([x, context], axis=-1))
        for i, (inner, outer) in enumerate(self.blocks):
            added = outer(tf.nn.relu(inner(tf.nn.relu(h))))
            h += added if context is None else added * tf.sigmoid(self.gates[i](context))
        return self.last(h)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": self.units,
            "width": self.width,
            "blocks": len(self.blocks),
            "context_size": self.context_size,
            "circles": self.circles,
        }


def given(context: tf.Tensor | None, size: int | None, of: str = "numbers") -> tf.Tensor | None:
    """The context that a network sees, None for one without; `of` is what its size counts.

    Raises:
        ValueError: If the network has a context, and none is given.
    """
    if size is not None and context is None:
        raise ValueError(f"This network needs a context of {size} {of}.")
    return None if size is None else context
