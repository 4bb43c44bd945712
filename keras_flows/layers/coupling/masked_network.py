"""Networks whose output for a feature depends on the features before it only."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.coupling.autoregressive_network import AutoregressiveNetwork
from keras_flows.layers.coupling.circles import seen
from keras_flows.layers.coupling.dense import Linear
from keras_flows.layers.coupling.residual_network import given


class MaskedNetwork(AutoregressiveNetwork):
    """An `AutoregressiveNetwork` on vectors, and the masks that make it one.

    Called as `network(x, context, training)`, it maps `(batch, features)` to
    `(batch, features * parameters)`. Outputs `parameters * j … parameters * (j + 1) - 1` are those
    of feature j; they depend on the features before j, in the order of the columns or, reversed,
    from the last to the first, and on the whole context.

    Source: Germain et al. 2015, *MADE: Masked Autoencoder for Distribution Estimation*.

    Args:
        features: Number of features.
        parameters: Outputs of each feature.
        context_size: Size of the context; None for a network without context.
        reverse: Whether the order is from the last feature to the first.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        features: int,
        parameters: int,
        context_size: int | None = None,
        reverse: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        checks.count(features, "features")
        checks.count(parameters, "parameters")
        checks.flag(reverse, "reverse")
        self.features, self.parameters = features, parameters
        self.event_shape = (features,)
        self.context_size, self.reverse = context_size, bool(reverse)

    @property
    def order(self) -> list[int]:
        """The features, from the one that depends on no other to the last."""
        order = list(range(self.features))
        return order[::-1] if self.reverse else order

    def input_degrees(self) -> np.ndarray:
        """The place of every feature in the order, counted from 1."""
        return np.argsort(self.order) + 1

    def hidden_degrees(self, units: int) -> np.ndarray:
        """How many features a hidden unit may depend on, for every one: the numbers in turn.

        They end below the last place, since nothing depends on the feature there. They begin at 1,
        or at 0 with a context: units that see the context only are for the first feature.
        """
        places = self.input_degrees().max()
        least = 0 if self.context_size or places == 1 else 1
        return np.arange(units) % (places - least) + least

    def output_degrees(self) -> np.ndarray:
        """The place of the feature that every output is of."""
        return np.repeat(self.input_degrees(), self.parameters)

    def _masked(self, mask: np.ndarray, start: str = "uniform") -> Linear:
        """A matrix with a mask, booleans `(inputs, units)`."""
        return Linear(mask.shape[1], start, mask.astype("float64"), dtype=self.dtype_policy)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.features * self.parameters)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "features": self.features,
            "parameters": self.parameters,
            "context_size": self.context_size,
            "reverse": self.reverse,
        }


@keras.saving.register_keras_serializable("keras_flows")
class MADE(MaskedNetwork):
    """A perceptron of masked matrices with ReLU between them; see `MaskedNetwork`.

    A weight from a unit of degree d leads to hidden units of degree d or more, and to outputs of
    features after place d. A context is concatenated to x, behind it. The last matrix starts at
    zero.

    Source: Germain et al. 2015, *MADE*; Papamakarios et al. 2017, *Masked Autoregressive Flow*.

    Args:
        features: See `MaskedNetwork`.
        parameters: See there.
        widths: Sizes of the hidden layers.
        context_size: See there.
        reverse: See there.
    """

    def __init__(
        self,
        features: int,
        parameters: int,
        widths: Sequence[int] = (64, 64),
        context_size: int | None = None,
        reverse: bool = False,
        **kwargs: Any,
    ):
        super().__init__(features, parameters, context_size, reverse, **kwargs)
        checks.counts(widths, "widths")
        self.widths = tuple(int(width) for width in widths)
        context = np.zeros(context_size or 0, int)
        degrees = [
            np.concatenate([self.input_degrees(), context]),
            *(self.hidden_degrees(width) for width in self.widths),
        ]
        self.hidden = [
            self._masked(below[:, None] <= above) for below, above in itertools.pairwise(degrees)
        ]
        self.last = self._masked(degrees[-1][:, None] < self.output_degrees(), "zeros")

    def build(self, input_shape: tuple) -> None:
        sizes = (input_shape[-1] + (self.context_size or 0), *self.widths)
        for layer, size in zip((*self.hidden, self.last), sizes, strict=True):
            layer.build((None, size))
        self.built = True

    def call(
        self, x: tf.Tensor, context: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        context = given(context, self.context_size)
        h = x if context is None else tf.concat([x, context], axis=-1)
        for layer in self.hidden:
            h = tf.nn.relu(layer(h))
        return self.last(h)

    def get_config(self) -> dict:
        return {**super().get_config(), "widths": list(self.widths)}


@keras.saving.register_keras_serializable("keras_flows")
class ResidualMADE(MaskedNetwork):
    """A residual network of masked matrices: `h = h + C relu(B relu(h) + b context)`.

    It begins with `h = A x + relu(a context)` and ends in a matrix that starts at zero; A, B, C and
    that one are masked as in `MADE`, all hidden layers by the same degrees. Of features that are
    angles A sees cosine and sine. See `MaskedNetwork`.

    Source: Durkan et al. 2019, *Neural Spline Flows*, appendix B; Nash & Durkan 2019,
    *Autoregressive Energy Machines*.

    Args:
        features: See `MaskedNetwork`.
        parameters: See there.
        width: Size of h.
        blocks: Number of blocks.
        context_size: See there.
        reverse: See there.
        circles: The indices of the features that are angles, in radians.
    """

    def __init__(
        self,
        features: int,
        parameters: int,
        width: int = 64,
        blocks: int = 2,
        context_size: int | None = None,
        reverse: bool = False,
        circles: Iterable[int] = (),
        **kwargs: Any,
    ):
        super().__init__(features, parameters, context_size, reverse, **kwargs)
        checks.count(width, "width")
        checks.count(blocks, "blocks")
        self.width = width
        self.circles = checks.indices(circles, "circles", features)
        degrees = self.hidden_degrees(width)
        across = degrees[:, None] <= degrees
        places = self.input_degrees()
        places = np.concatenate([places, places[self.circles]])
        self.first = self._masked(places[:, None] <= degrees)
        # A block is a pair of matrices.
        self.blocks = [(self._masked(across), self._masked(across, "small")) for _ in range(blocks)]
        self.last = self._masked(degrees[:, None] < self.output_degrees(), "zeros")
        contexts = blocks + 1 if context_size else 0
        self.context_layers = [Linear(width, dtype=self.dtype_policy) for _ in range(contexts)]

    def build(self, input_shape: tuple) -> None:
        self.first.build((None, input_shape[-1] + len(self.circles)))
        for layer in (*(layer for pair in self.blocks for layer in pair), self.last):
            layer.build((None, self.width))
        for layer in self.context_layers:
            layer.build((None, self.context_size))
        self.built = True

    def call(
        self, x: tf.Tensor, context: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        context = given(context, self.context_size)
        added = [layer(context) for layer in self.context_layers]
        h = self.first(seen(x, self.circles))
        if added:
            h += tf.nn.relu(added[0])
        for i, (inner, outer) in enumerate(self.blocks):
            new = inner(tf.nn.relu(h))
            h += outer(tf.nn.relu(new + added[i + 1] if added else new))
        return self.last(h)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "width": self.width,
            "blocks": len(self.blocks),
            "circles": self.circles,
        }
