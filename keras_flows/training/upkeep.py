"""Upkeep of the state that follows the weights, and a look at a flow that leaves no trace."""

import contextlib

import tensorflow as tf

from keras_flows.layers.upkeep import Upkeep


def kept_up(model):
    """The layers inside a model that have such state, a list of `Upkeep`."""
    layers = model._flatten_layers(include_self=False)
    return [layer for layer in layers if isinstance(layer, Upkeep)]


def after_update(model):
    """What follows an update of the weights, power iterations above all."""
    for layer in kept_up(model):
        layer.after_update()


def converge(model, only_fresh=False):
    """Brings the state to convergence.

    Args:
        model: A Keras model.
        only_fresh: Whether to leave out layers that have more than what they started with.
    """
    for layer in kept_up(model):
        if layer.fresh or not only_fresh:
            layer.converge()


@contextlib.contextmanager
def restored(model):
    """Puts all weights back afterwards, to the last bit."""
    before = copies(model)
    try:
        yield model
    finally:
        put_back(model, before)


def copies(model):
    """The values of all weights, a list of tensors that stay as they are."""
    return [tf.identity(weight.value) for weight in model.weights]


def put_back(model, values):
    """Assigns `copies` to the weights they are of."""
    for weight, value in zip(model.weights, values, strict=True):
        weight.assign(value)
