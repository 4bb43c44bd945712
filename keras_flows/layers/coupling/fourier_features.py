"""How a network tells levels of an image apart that are close to each other."""

import math

import tensorflow as tf


def count(bits: int | None) -> int:
    """Channels that `fourier_features` makes of each."""
    return 1 if bits is None else 2 * bits


def fourier_features(x: tf.Tensor, bits: int | None) -> tf.Tensor:
    """Integers, and beside them cosine and sine of their angle at every period of a power of 2.

    `cos(2π v / p)` and `sin(2π v / p)` for the periods p = 2, 4, …, `2^bits` of the integers
    `v = (x + 1) (2^bits - 1) / 2`, but for the sine at the period 2, which is zero. As numbers from
    -1 to 1 neighbours differ by `2 / (2^bits - 1)`, which a network tells apart with large weights
    only.

    Source: Kingma et al. 2021, *Variational Diffusion Models*, appendix C, with other periods.

    Args:
        x: `(batch, height, width, channels)`, from -1 to 1.
        bits: Of the integers; None for x as it is.

    Returns:
        Tensor `(batch, height, width, 2 bits channels)`: the channels of x, then all of them at one
        wave, and so on.
    """
    if bits is None:
        return x
    v = (x + 1.0) * ((2.0**bits - 1.0) / 2.0)
    features = [x, tf.cos(math.pi * v)]
    for k in range(2, bits + 1):
        angle = v * (2.0 * math.pi / 2.0**k)
        features += [tf.cos(angle), tf.sin(angle)]
    return tf.concat(features, axis=-1)
