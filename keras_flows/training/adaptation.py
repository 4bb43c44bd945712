"""What a flow takes from its data before training: location and scale."""

import keras
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_flows import checks
from keras_flows.noise import SeededNoise
from keras_flows.transforms import Standardize
from keras_flows.transforms.chain import flattened


def adapt(flow: keras.Model, x: ArrayLike, context: ArrayLike | None = None, seed: int = 0) -> None:
    """Sets location and scale of every `Standardize` of a flow, each from what reaches it.

    Called once, before `flow.fit`, on the training data; it changes no other weight.

    >>> flow = kf.models.SplineFlow((5,))
    >>> kf.training.adapt(flow, x)
    >>> flow.fit(x, epochs=10)

    Args:
        flow: A `keras_flows.Flow`.
        x: Its data, `(n, features)`.
        context: The context of each example, or None.
        seed: Of the draws of steps before a `Standardize`, such as dequantization.

    Raises:
        ValueError: If an argument does not fit, the flow has no `Standardize` in its chain, or a
            feature has no scale; see `Standardize.adapt`.
    """
    checks.count(seed, "seed", least=0)
    steps = list(flattened(flow.transform))
    places = [i for i, step in enumerate(steps) if isinstance(step, Standardize)]
    if not places:
        raise ValueError(
            "This flow has no Standardize among its steps: there is nothing to adapt. Put one "
            "first in its chain, as kf.models.SplineFlow and its like have it."
        )
    data, given = flow.calls.checked(x, context)
    vector, noise = flow.embed(given), SeededNoise(seed)
    for step in steps[: places[-1] + 1]:
        if isinstance(step, Standardize):
            step.adapt(data)
        data, log_det = step.encode(data, vector, noise)
        outside = int(tf.reduce_sum(tf.cast(tf.math.is_inf(log_det), tf.int32)))
        if outside:
            raise ValueError(
                f"{outside} of {len(data)} rows are out of the bounds of a column: their log_prob "
                "is -inf, whatever the location and scale. Leave them out, or give other bounds."
            )
