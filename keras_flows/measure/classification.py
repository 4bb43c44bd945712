"""A flow that is conditional on labels, as a classifier."""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keras_flows.measure.evaluation import log_probs
from keras_flows.training import upkeep

if TYPE_CHECKING:
    from keras_flows.flow import Flow


class Classification(NamedTuple):
    """How often a flow tells the label of an example.

    Attributes:
        accuracy: The share of the examples whose own label has the highest posterior.
        standard_error: Of `accuracy` as that over all examples there could be,
            `sqrt(a (1 - a) / n)`.
        examples: Number of examples.
    """

    accuracy: float
    standard_error: float
    examples: int


def label_log_probs(
    flow: "Flow", x: np.ndarray, batch_size: int | None = None, seed: int = 0
) -> np.ndarray:
    """`ln p(x | y)` of every example x and every label y: a pass of the data for each label.

    By Bayes' rule `p(y | x)` is in proportion to `p(x | y) p(y)`: with labels that are equally
    frequent the softmax of a row. Where log_prob is random, all labels of an example have the same
    draws.

    Args:
        flow: A flow whose context is a label.
        x: Array `(n, *event_shape)`.
        batch_size: See `log_probs`.
        seed: See there.

    Returns:
        Array `(n, flow.labels)`, nats.

    Raises:
        ValueError: If the context of the flow is no label, or an example does not fit.
    """
    if flow.labels is None or flow.context_shape:
        raise ValueError(
            "A flow tells labels apart only where its context is one label: this one has "
            f"labels={flow.labels} and context_shape={flow.context_shape}."
        )
    labels = (np.full(len(x), label, "int32") for label in range(flow.labels))
    return np.stack([log_probs(flow, x, y, batch_size, seed) for y in labels], axis=1)


def classify(
    flow: "Flow",
    x: np.ndarray,
    labels: ArrayLike,
    batch_size: int | None = None,
    seed: int = 0,
) -> Classification:
    """How often the label of the highest `p(y | x)` is the right one, all being equally frequent.

    Args:
        flow: See `label_log_probs`.
        x: See there.
        labels: Array `(n,)` of the right labels.
        batch_size: See `log_probs`.
        seed: See there.

    Returns:
        A `Classification`.

    Raises:
        ValueError: If the context of the flow is no label, there is no example, or the labels are
            not one for each of them.
    """
    labels = np.asarray(labels)
    if len(x) == 0 or labels.shape != (len(x),):
        raise ValueError(
            f"labels are one for every example, at least one; got the shape {labels.shape} for "
            f"{len(x)} examples."
        )
    with upkeep.restored(flow):
        flow.converge()
        told = label_log_probs(flow, x, batch_size, seed).argmax(axis=1)
    accuracy = float(np.mean(told == labels))
    return Classification(accuracy, math.sqrt(accuracy * (1.0 - accuracy) / len(x)), len(x))
