"""Numbers on a circle."""

import math

import tensorflow as tf


def wrapped(angle: tf.Tensor) -> tf.Tensor:
    """The same angle in `[-pi, pi]`, radians; by rounding either end may stand for the other."""
    return tf.math.floormod(angle + math.pi, 2.0 * math.pi) - math.pi
