"""Self-attention over the positions of an image, at a cost linear in their number."""

import math
from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.coupling.convolution import convolution
from keras_flows.numerics.events import reshape_events

LAYOUTS = ("published", "proper")
_INVERSE_STEPS = 6


@keras.saving.register_keras_serializable("keras_flows")
class NystromAttention(keras.layers.Layer):
    """Nyström approximation of self-attention, with a skip connection of the values.

    A 1×1 convolution makes a query, a key and a value for each of T = height · width tokens. With
    `q̃`, `k̃` the means of q and k over consecutive groups of `T / landmarks` tokens,

        y = k1 pinv(k2) k3 v + v,  k1 = softmax(q k̃ᵀ), k2 = softmax(q̃ k̃ᵀ), k3 = softmax(q̃ kᵀ),

    and a 1×1 convolution brings y back to the channels of the input. The pseudo-inverse is six
    steps of `V <- V (13 I - K V (15 I - K V (7 I - K V))) / 4` from
    `V = Kᵀ / (largest column sum · largest row sum)` of |K|.

    The layout says what tokens and softmax are:

    * `"proper"`: a token is a pixel, the softmax goes over the last axis, and the queries are
      divided by the square root of their size, as in attention elsewhere.
    * `"published"`: that of the published DenseFlow models, needed to run their weights. The
      channels-first map `(3E, height, width)` is read, without transposing, as T tokens of 3E
      numbers; the softmax goes over the second last axis; q̃ and k̃ are divided by sqrt(T).

    Input and output `(batch, height, width, channels)`.

    Sources: Xiong et al. 2021, *Nyströmformer*; Grcić et al. 2021, *Densely connected normalizing
    flows*.

    Args:
        embedding: E, the size of all queries, keys or values of a token together.
        landmarks: Number of groups.
        layout: `"proper"` or `"published"`.
        heads: Number of heads that share E.

    Raises:
        ValueError: If height · width is not divisible by the landmarks, or E by the heads.
    """

    def __init__(
        self,
        embedding: int,
        landmarks: int = 4,
        layout: str = "proper",
        heads: int = 1,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        for value, name in (
            (embedding, "embedding"),
            (landmarks, "landmarks"),
            (heads, "heads"),
        ):
            checks.count(value, name)
        if layout not in LAYOUTS:
            raise ValueError(f"layout must be 'published' or 'proper'; got {layout!r}.")
        if embedding % heads:
            raise ValueError(
                f"The heads share the embedding: {embedding} is not divisible by {heads}."
            )
        self.embedding, self.landmarks = embedding, landmarks
        self.layout, self.heads = layout, heads

    def build(self, input_shape: tuple) -> None:
        self.qkv = convolution(3 * self.embedding, 1, self.dtype_policy)
        self.output_conv = convolution(input_shape[-1], 1, self.dtype_policy)
        self._check_landmarks(*input_shape[1:3])
        self.qkv.build(input_shape)
        self.output_conv.build((*input_shape[:-1], self.embedding))
        self.built = True

    def _check_landmarks(self, height, width):
        tokens = height * width
        if tokens % self.landmarks:
            divisors = ", ".join(str(n) for n in range(1, tokens + 1) if tokens % n == 0)
            raise ValueError(
                f"The number of landmarks must divide the {height}×{width} = {tokens} positions; "
                f"got {self.landmarks}. Possible are {divisors}."
            )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        height, width = x.shape[1:3]
        tokens, published = height * width, self.layout == "published"
        qkv = self.qkv(x)
        if published:
            qkv = tf.transpose(qkv, (0, 3, 1, 2))
        qkv = reshape_events(qkv, (tokens, 3, self.heads, self.embedding // self.heads))
        # Half precision is not enough for the pseudo-inverse.
        qkv = tf.cast(qkv, self.variable_dtype)
        # Heads become an axis beside the batch.
        q, k, v = (tf.transpose(part, (0, 2, 1, 3)) for part in tf.unstack(qkv, axis=2))
        y = tf.cast(self._attend(q, k, v), x.dtype)
        y = tf.transpose(y, (0, 2, 1, 3))
        if published:
            y = reshape_events(y, (self.embedding, height, width))
            y = tf.transpose(y, (0, 2, 3, 1))
        else:
            y = reshape_events(y, (height, width, self.embedding))
        return self.output_conv(y)

    def _attend(self, q, k, v):
        """`(batch, heads, tokens, size)` to the same."""
        tokens, size = q.shape[2:]
        published = self.layout == "published"
        if not published:
            q = q / math.sqrt(size)
        q_means, k_means = self._means(q), self._means(k)
        if published:
            q_means, k_means = q_means / math.sqrt(tokens), k_means / math.sqrt(tokens)
        axis = -2 if published else -1
        k1, k2, k3 = (
            tf.nn.softmax(tf.matmul(one, other, transpose_b=True), axis=axis)
            for one, other in ((q, k_means), (q_means, k_means), (q_means, k))
        )
        return tf.matmul(tf.matmul(k1, pseudo_inverse(k2)), tf.matmul(k3, v)) + v

    def _means(self, q):
        tokens, size = q.shape[2:]
        groups = (self.heads, self.landmarks, tokens // self.landmarks, size)
        return tf.reduce_mean(reshape_events(q, groups), axis=3)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "embedding": self.embedding,
            "landmarks": self.landmarks,
            "layout": self.layout,
            "heads": self.heads,
        }


def pseudo_inverse(k: tf.Tensor) -> tf.Tensor:
    """The iterated pseudo-inverse of matrices `(…, n, n)`; see `NystromAttention`."""
    size = tf.abs(k)
    columns = tf.reduce_max(tf.reduce_sum(size, axis=-2), axis=-1)
    rows = tf.reduce_max(tf.reduce_sum(size, axis=-1), axis=-1)
    inverse = tf.linalg.matrix_transpose(k) / (columns * rows)[..., None, None]
    identity = tf.eye(k.shape[-1], dtype=k.dtype)
    for _ in range(_INVERSE_STEPS):
        product = tf.matmul(k, inverse)
        inner = 15.0 * identity - tf.matmul(product, 7.0 * identity - product)
        inverse = 0.25 * tf.matmul(inverse, 13.0 * identity - tf.matmul(product, inner))
    return inverse
