"""The density of a flow column by column, where its steps are autoregressive in one order."""

from typing import TYPE_CHECKING

import tensorflow as tf
from numpy.typing import ArrayLike

from keras_flows.bases import Independent
from keras_flows.transforms.chain import flattened
from keras_flows.transforms.triangular import Triangular

if TYPE_CHECKING:
    from keras_flows.flow import Flow


def column_order(flow: "Flow") -> list[int] | None:
    """The order of the columns in which a flow is autoregressive.

    It is that if all steps of its chain are `keras_flows.transforms.Triangular` and go in the same
    order, no step draws, and the numbers of a latent are independent under the base.

    Args:
        flow: A `keras_flows.Flow`.

    Returns:
        The indices of the columns, from the one whose term depends on no other to the last; None
        for any other flow.
    """
    steps = list(flattened(flow.transform))
    if (
        not all(isinstance(step, Triangular) for step in steps)
        or flow.noise_shape("encode") != (0,)
        or not isinstance(flow.base, Independent)
        or len(flow.event_shape) != 1
    ):
        return None
    columns = list(range(flow.event_shape[0]))
    orders = [step.order for step in steps if step.order is not None] or [columns]
    return orders[0] if all(order == orders[0] for order in orders) else None


def conditional_log_probs(
    flow: "Flow", x: ArrayLike, context: ArrayLike | None = None
) -> tf.Tensor:
    """The terms of `log_prob(x) = sum_j ln p(x_j | columns before j)`, exact, in nats.

    `ln p(x_j | before j) = ln p_Z(z_j) + sum_k ln dz_j/dx_j` of the steps k.

    Args:
        flow: A `keras_flows.Flow` that has a `column_order`.
        x: `(batch, columns)`.
        context: See `Flow.log_prob`.

    Returns:
        Tensor `(batch, columns)`; column j holds the term of column j.

    Raises:
        ValueError: If the flow has no such order, or x or the context does not fit.
    """
    if column_order(flow) is None:
        raise ValueError(
            "This flow is not autoregressive in one order of its columns. "
            "kf.models.SplineFlow(event_shape, one_order=True) and "
            "kf.models.MaskedAutoregressiveFlow(event_shape, one_order=True) are."
        )
    return flow.calls.run(_terms, x, context)


def _terms(flow, x, context, noise, training=False):
    """The pure function: see `keras_flows.calls`."""
    context = flow.embed(context, training)
    terms = tf.zeros_like(x)
    for step in flattened(flow.transform):
        x, added = step.encode_terms(x, context, noise, training)
        terms += added
    return terms + flow.base.terms(x)
