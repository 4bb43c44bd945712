"""Batch normalisation in a flow that is already trained: frozen, or its averages taken anew."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import keras
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_flows import checks
from keras_flows.noise import SeededNoise

if TYPE_CHECKING:
    from keras_flows.flow import Flow


def norms(model):
    """The layers of batch normalisation inside a model, a list."""
    layers = model._flatten_layers(include_self=False)
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]


@contextlib.contextmanager
def frozen_normalization(model: keras.Model) -> Iterator[keras.Model]:
    """Batch normalisation in inference mode inside, trained or not as before afterwards.

    Keras's convention: a layer with `trainable = False` normalises with its moving averages, in
    training too, and moves neither these nor its scale and shift. What is trained is then the very
    function that is evaluated, whatever the size of the batches. A model has to be compiled inside.
    """
    layers = norms(model)
    before = [layer.trainable for layer in layers]
    for layer in layers:
        layer.trainable = False
    try:
        yield model
    finally:
        for layer, trainable in zip(layers, before, strict=True):
            layer.trainable = trainable


def recalibrate(
    flow: "Flow",
    x: ArrayLike,
    context: ArrayLike | None = None,
    batch_size: int = 100,
    seed: int = 0,
) -> None:
    """Takes the moving averages of batch normalisation anew, from data.

    Where they are trained, the averages lag behind the weights, and evaluation uses them. Taken
    anew they are `(1/k) Σ_j mean_j` and `(1/k) Σ_j variance_j` over k batches, with the weights as
    they are. Layers that are frozen keep theirs, nothing else changes, and a flow without batch
    normalisation stays as it is.

    Source: the averages of Ioffe & Szegedy 2015, *Batch Normalization*, algorithm 2, step 10.

    Args:
        flow: A `keras_flows.Flow`.
        x: Array `(n, *event_shape)`, of the data it was trained on.
        context: Array `(n, *context_shape)`, or None.
        batch_size: Examples in a batch, at least 2: with as many as in training, the averages are
            of what training saw. Examples that fill no batch are left out, but for the only one.
        seed: Of the draws of dequantization and the like.

    Raises:
        ValueError: If there are fewer than two examples, or an argument does not fit.
    """
    checks.count(batch_size, "batch_size", least=2)
    data, contexts = flow.calls.checked(x, context)
    if len(data) < 2:
        raise ValueError(f"The variance of a batch needs at least two examples; got {len(data)}.")
    layers = [layer for layer in norms(flow) if layer.trainable]
    if not layers:
        return
    batch_size = min(batch_size, len(data))
    momentum = tf.Variable(0.0, dtype=layers[0].variable_dtype)

    @tf.function
    def observe(x, context, seed):
        flow.density(x, context, SeededNoise(seed), training=True)

    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = momentum
    try:
        for j in range(len(data) // batch_size):
            rows = slice(j * batch_size, (j + 1) * batch_size)
            momentum.assign(j / (j + 1))  # the mean of j + 1 batches, from that of j
            of_rows = None if contexts is None else contexts[rows]
            observe(data[rows], of_rows, tf.constant([seed, j]))
    finally:
        for layer, value in zip(layers, before, strict=True):
            layer.momentum = value
