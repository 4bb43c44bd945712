"""How the networks inside flows on vectors see features that are angles."""

from collections.abc import Sequence

import tensorflow as tf


def seen(x: tf.Tensor, circles: Sequence[int]) -> tf.Tensor:
    """Every angle as its cosine, in its place, and its sine, behind all features.

    A function of these is one of the circle: it has no jump, and no kink, where a turn ends.

    Source: Rezende et al. 2020, *Normalizing Flows on Tori and Spheres*, section 2.1.4.

    Args:
        x: `(batch, features)`.
        circles: The indices of the features that are angles, in radians.

    Returns:
        Tensor `(batch, features + len(circles))`; x itself where there are no angles.
    """
    if not circles:
        return x
    angles = tf.constant([j in circles for j in range(x.shape[-1])])
    sines = tf.sin(tf.gather(x, list(circles), axis=-1))
    return tf.concat([tf.where(angles, tf.cos(x), x), sines], axis=-1)
