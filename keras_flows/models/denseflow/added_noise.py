"""How large the noise is that a DenseFlow appends before its units."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_flows.models.denseflow.cross_unit_coupling import CrossUnitCoupling
from keras_flows.noise import SeededNoise


class AddedNoise(NamedTuple):
    """The norms of what one `CrossUnitCoupling` appends, by channel.

    Attributes:
        path: Which coupling, as `encode_steps` names it.
        drawn: `(growth,)`, of the Gaussian e: 1 up to the chance of the draw.
        added: `(growth,)`, of what is appended, `μ + exp(s) e`.
    """

    path: str
    drawn: np.ndarray
    added: np.ndarray


def noise_norms(flow, x, context=None, seed=0):
    """The norms of the noise that is appended before the units, in the order of encoding.

    A norm is the root mean square of a channel over examples and positions: that of standard
    normal noise is 1 whatever the size of the maps.

    Args:
        flow: A flow with a `CrossUnitBlock`, such as a `DenseFlow`.
        x: `(batch, *event_shape)`, encoded at once.
        context: See `Flow.log_prob`.
        seed: Of the noise, an integer or a pair of integers.

    Returns:
        A list of `AddedNoise`, one for every unit but the first of a block.

    Raises:
        ValueError: If the flow appends no noise, or the data do not fit it.
        NonFiniteError: If encoding makes NaN; the message names the step.
    """
    if not any(isinstance(step, CrossUnitCoupling) for step in flow.transform.innermost()):
        raise ValueError(
            "This flow appends no noise. A DenseFlow does before every unit of a block but the "
            "first, where its growth is not 0."
        )
    norms = flow.calls.run(_norms, x, context, noise=_Remembering(seed))
    return [AddedNoise(path, *map(np.asarray, pair)) for path, pair in norms.items()]


def _norms(flow, x, context, noise, training):
    """The norms of what was drawn and of what was appended, by the path of the coupling."""
    norms, context = {}, flow.embed(context)
    encoded = flow.transform.encode_steps(x, context, noise)
    for step, (path, z, _) in zip(flow.transform.innermost(), encoded, strict=True):
        if isinstance(step, CrossUnitCoupling):
            norms[path] = _norm(noise.last), _norm(z[..., -step.growth :])
    return norms


class _Remembering(SeededNoise):
    """Draws from a seed, and keeps the last normal numbers."""

    def normal(self, batch, event_shape, dtype):
        self.last = super().normal(batch, event_shape, dtype)
        return self.last


def _norm(x):
    return tf.sqrt(tf.reduce_mean(x**2, axis=(0, 1, 2)))
