"""Scores of a flow on data, with their standard error."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_flows import checks
from keras_flows.calls import in_batches
from keras_flows.numerics.events import bits_per_dim
from keras_flows.training import upkeep

if TYPE_CHECKING:
    from keras_flows.flow import Flow


class Evaluation(NamedTuple):
    """Mean negative log-likelihood of a data set.

    Attributes:
        nll: Nats per example.
        standard_error: Of `nll` as the mean over all data there could be: the deviation over the
            examples divided by sqrt(n). A random log_prob adds to that deviation, so its own error
            is in here, but for what the examples of a batch share.
        examples: Number of examples.
        likelihood: What the log_probs were: `"exact"`, `"unbiased"`, `"lower_bound"`, `"biased"`.
        bits_per_dim: `nll / (D ln 2)` for flows on integers, else None.
        importance_samples: The draws of an importance-weighted bound, None for another number.
        probes: The draws of every log_prob that were averaged, None for one.
        estimator_standard_error: Of `nll` for these very examples, from the draws of a random
            log_prob alone; None without several. With the mean `b_j` of draw j over the `m`
            examples of a batch, and its variance over the k draws, it is
            `sqrt(sum_batches (m / n)^2 var_j(b_j) / k)`. Means of batches, because the examples of
            a batch share a draw, the number of series terms; batches share none.
    """

    nll: float
    standard_error: float
    examples: int
    likelihood: str
    bits_per_dim: float | None
    importance_samples: int | None = None
    probes: int | None = None
    estimator_standard_error: float | None = None


def log_probs(
    flow: "Flow",
    x: np.ndarray,
    context: np.ndarray | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
    importance_samples: int | None = None,
) -> np.ndarray:
    """The log_prob of every example, in batches of bounded memory.

    Args:
        flow: A `keras_flows.Flow`.
        x: Array `(n, *event_shape)`.
        context: Array `(n, *context_shape)`, or None.
        batch_size: Examples at a time; 10,000 points or 100 images by default.
        seed: Seed of the draws of a flow with random numbers in its log_prob.
        progress: Called with the number of examples after every batch.
        importance_samples: The `num_importance_samples` of `Flow.log_prob`.

    Returns:
        Array `(n,)`, nats.
    """

    def score(x, context, seed):
        return flow.log_prob(x, context, seed=seed, num_importance_samples=importance_samples)

    return np.concatenate(_in_batches(score, flow, x, context, batch_size, seed, progress))


def _in_batches(score, flow, x, context, batch_size, seed, progress):
    """The arrays that `score(x, context, seed)` makes of the batches."""
    parts = []
    for start, part, part_context in in_batches(flow, x, context, batch_size):
        parts.append(score(part, part_context, (seed, start)).numpy())
        if progress is not None:
            progress(len(part))
    return parts


def evaluate(
    flow: "Flow",
    x: np.ndarray,
    context: np.ndarray | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
    importance_samples: int | None = None,
    probes: int = 1,
) -> Evaluation:
    """Mean negative log-likelihood with its standard error.

    Args:
        flow: See `log_probs`.
        x: See `log_probs`.
        context: See `log_probs`.
        batch_size: See `log_probs`.
        seed: See `log_probs`.
        progress: See `log_probs`.
        importance_samples: See `log_probs`.
        probes: How many draws of a random log_prob to average for every example, and, from 2 on,
            to tell the error of the estimator from.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: If there are fewer than two examples, several probes are asked of a log_prob
            that is not random or of an importance-weighted bound, or an argument does not fit.
    """
    if len(x) < 2:
        raise ValueError(f"A standard error needs at least two examples; got {len(x)}.")
    checks.count(probes, "probes")
    if probes != 1 and importance_samples is not None:
        raise ValueError(
            "An importance-weighted bound averages its own draws: give either importance_samples "
            "or probes."
        )
    with upkeep.restored(flow):
        flow.converge()
        if probes == 1:
            scores = log_probs(flow, x, context, batch_size, seed, progress, importance_samples)
            return summary(flow, scores, importance_samples)

        def score(x, context, seed):
            return flow.log_prob_draws(x, probes, context, seed)

        parts = _in_batches(score, flow, x, context, batch_size, seed, progress)
    parts = [part.astype("float64") for part in parts]
    variance = sum((part.sum(axis=1) / len(x)).var(ddof=1) / probes for part in parts)
    result = summary(flow, np.concatenate(parts, axis=1).mean(axis=0))
    return result._replace(probes=probes, estimator_standard_error=math.sqrt(variance))


def summary(flow: "Flow", scores: np.ndarray, importance_samples: int | None = None) -> Evaluation:
    """The `Evaluation` of log_probs that are there already.

    Args:
        flow: The flow that they are of.
        scores: Array `(n,)` from `log_probs`.
        importance_samples: As given there.

    Returns:
        An `Evaluation`.
    """
    nll = -scores.astype("float64")
    mean = float(nll.mean())
    return Evaluation(
        nll=mean,
        standard_error=float(nll.std(ddof=1) / math.sqrt(len(nll))),
        examples=len(nll),
        likelihood=flow.likelihood,
        bits_per_dim=bits_per_dim(mean, flow.event_shape) if flow.transform.dequantizes else None,
        importance_samples=importance_samples,
    )
