"""Scores of a flow on data, with their standard error."""

import math
from typing import NamedTuple

import numpy as np


class Evaluation(NamedTuple):
    """Mean negative log-likelihood of a data set.

    Attributes:
        nll: Nats per example.
        standard_error: Of `nll`: the deviation over the examples divided by sqrt(n).
        examples: Number of examples.
        likelihood: What the log_probs were: `"exact"`, `"unbiased"`, `"lower_bound"`, `"biased"`.
        bits_per_dim: `nll / (D ln 2)` for flows on integers, else None.
        importance_samples: The draws of an importance-weighted bound, None for another number.
    """

    nll: float
    standard_error: float
    examples: int
    likelihood: str
    bits_per_dim: float | None
    importance_samples: int | None = None


def log_probs(
    flow, x, context=None, batch_size=None, seed=0, progress=None, importance_samples=None
):
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
    batch_size = batch_size or (100 if len(flow.event_shape) == 3 else 10_000)
    parts = []
    for start in range(0, max(len(x), 1), batch_size):
        rows = slice(start, start + batch_size)
        part_context = None if context is None else context[rows]
        part = flow.log_prob(
            x[rows], part_context, seed=(seed, start), num_importance_samples=importance_samples
        )
        parts.append(part.numpy())
        if progress is not None:
            progress(len(part))
    return np.concatenate(parts)


def evaluate(
    flow, x, context=None, batch_size=None, seed=0, progress=None, importance_samples=None
):
    """Mean negative log-likelihood with its standard error; arguments as in `log_probs`.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: If there are fewer than two examples, or an argument does not fit.
    """
    if len(x) < 2:
        raise ValueError(f"A standard error needs at least two examples; got {len(x)}.")
    flow.converge()
    scores = log_probs(flow, x, context, batch_size, seed, progress, importance_samples)
    return summary(flow, scores, importance_samples)


def summary(flow, scores, importance_samples=None):
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
    dims = math.prod(flow.event_shape)
    return Evaluation(
        nll=mean,
        standard_error=float(nll.std(ddof=1) / math.sqrt(len(nll))),
        examples=len(nll),
        likelihood=flow.likelihood,
        bits_per_dim=mean / (dims * math.log(2.0)) if flow.transform.dequantizes else None,
        importance_samples=importance_samples,
    )
