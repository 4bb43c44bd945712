"""How exactly a flow decodes what it encoded, and with how many iterations."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_flows import checks
from keras_flows.calls import Caller, in_batches
from keras_flows.numerics import fixed_point
from keras_flows.training import upkeep
from keras_flows.transforms.base import Transform
from keras_flows.transforms.composite import step_at
from keras_flows.transforms.repeated import once

if TYPE_CHECKING:
    from keras_flows.flow import Flow

TOLERANCE = 1e-4  # of pixels between black, 0, and white, 1


class RoundTrip(NamedTuple):
    """Data encoded and decoded.

    Errors are in the unit of the data; for a flow on integers, levels divided by the highest level
    `2^bits - 1`, so that 1 is from black to white.

    Attributes:
        errors: `(n,)`, the largest error in an element of each example; NaN for an example that
            the flow refuses: `decode` raises a ConvergenceError, or `encode` a NonFiniteError.
        mean: The mean error of all elements of the examples that it does not refuse; NaN without
            any.
        other_levels: The share of their integers that `decode` gives another level, None for a
            flow that is not on integers. A number whose dequantization noise is less than the
            error from the edge of its level may be rounded over it.
        iterations: `{path: (n,)}`, the fixed-point iterations of every residual block, in the
            order of decoding.
        residuals: `{path: (n,)}`, the size of the last step that the inverse of every block took,
            its largest element: what its tolerance bounds, unless it was refused.
    """

    errors: np.ndarray
    mean: float
    other_levels: float | None
    iterations: dict
    residuals: dict

    @property
    def refused(self) -> float:
        """The share of the examples that the flow refuses."""
        return float(np.isnan(self.errors).mean())

    @property
    def worst(self) -> float:
        """The largest error of the examples that it does not refuse; NaN without any."""
        decoded = self.errors[~np.isnan(self.errors)]
        return float(decoded.max()) if len(decoded) else float("nan")


def round_trip(
    flow: "Flow",
    x: ArrayLike,
    context: ArrayLike | None = None,
    seed: int = 0,
    batch_size: int = 100,
    progress: Callable[[int], object] | None = None,
    converge: bool = True,
    tolerance: float | None = None,
) -> RoundTrip:
    """Encodes examples, decodes their latents and compares.

    Encoding integers adds noise, and decoding ends with a floor, which hides an error or makes a
    whole level of it. So what is compared are the continuous numbers: those that come out of the
    dequantization, and those that decoding makes of the latent, before the floor.

    Args:
        flow: A `keras_flows.Flow` whose decoding draws nothing.
        x: Array `(n, *event_shape)`.
        context: Array `(n, *context_shape)`, or None.
        seed: Of the noise that encoding draws.
        batch_size: Examples at a time.
        progress: Called with the number of examples after every batch.
        converge: Whether to look at the flow with its spectral norms converged, as it is evaluated.
        tolerance: Of the inverses, see `keras_flows.Flow.decode`; None for their own.

    Returns:
        A `RoundTrip`.

    Raises:
        ValueError: If decoding draws random numbers, so that it does not invert encoding, or an
            argument does not fit.
    """
    if flow.noise_shape("decode") != (0,):
        raise ValueError(
            "Decoding draws what encoding this flow does not keep, so it does not give back what "
            "was encoded, and there is no error to measure. See keras_flows.plot.reconstructions."
        )
    checks.count(batch_size, "batch_size")
    if tolerance is not None:
        checks.tolerance(tolerance, flow.blocks)
    caller = Caller(flow)  # of its own: the limits of the solvers may have changed
    data, contexts = caller.checked(x, context)
    parts = []
    with upkeep.restored(flow), fixed_point.tolerance(tolerance):
        if converge:
            flow.converge()
        for start, part, context in in_batches(flow, data, contexts, batch_size):
            made = caller.run(_round_trip, part, context, seed=(seed, start), explain=False)
            parts.append(made)
            if progress is not None:
                progress(len(part))
    joined = tf.nest.map_structure(lambda *pieces: np.concatenate(pieces), *parts)
    unit = 1.0 if flow.bits is None else 2.0**flow.bits - 1.0
    # An infinite number that comes back as one is no agreement: its difference is NaN.
    errors = (
        np.abs(joined["after"].astype("float64") - joined["before"]).reshape(len(data), -1) / unit
    )
    kept = ~np.isnan(errors).any(axis=1)
    differs = joined["decoded"] != data.numpy()
    return RoundTrip(
        errors=np.where(kept, errors.max(axis=1), np.nan),
        mean=float(errors[kept].mean()) if kept.any() else float("nan"),
        other_levels=float(differs[kept].mean()) if flow.bits and kept.any() else None,
        iterations=joined["iterations"],
        residuals=joined["residuals"],
    )


def _inverse_by(step):
    return lambda z, context, _: step.invert(z, context)


def _round_trip(flow, x, context, noise, training):
    """The numbers of one batch before and after, in levels, and what they are decoded to."""
    transform, context = flow.transform, flow.embed(context)
    before, after, iterations, residuals = x, None, {}, {}
    for path, z, _ in transform.encode_steps(x, context, noise):
        if step_at(transform, path).dequantizes:
            before = 2.0**flow.bits * z
    for path, decoded in transform.decode_steps(z, context):
        step = step_at(transform, path)
        if type(step).invert is not Transform.invert:
            inversion = once(step, "invert", _inverse_by(step), z, context)
            iterations[path], residuals[path] = inversion.iterations, inversion.residual
        if step.dequantizes:
            after = 2.0**flow.bits * z
        z = decoded
    return {
        "before": before,
        "after": decoded if after is None else after,
        "decoded": decoded,
        "iterations": iterations,
        "residuals": residuals,
    }
