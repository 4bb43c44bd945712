"""Weights with fewer bits."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from keras_flows.flow import Flow


def round_weights(flow: "Flow", bits: int) -> None:
    """Rounds the trainable weights of a flow to so many significant bits.

    To the nearest, an error of at most `2^-bits` relative. The others are zeros: with 16 of the 24
    bits of float32 a packed file is a quarter smaller. Training leaves far more to chance.

    Args:
        flow: A built `keras_flows.Flow`.
        bits: At least 1.
    """
    for weight in flow.trainable_variables:
        fraction, exponent = np.frexp(weight.numpy())
        weight.assign(np.ldexp(np.round(np.ldexp(fraction, bits)), exponent - bits))
