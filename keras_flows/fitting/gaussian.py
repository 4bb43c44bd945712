"""The density that a flow has to beat: one Gaussian, its mean linear in the context."""

import math

import numpy as np

# Added to the variances, relative: columns may depend on one another.
_RIDGE = 1e-6


class Gaussian:
    """A normal density by maximum likelihood, in the units of a table.

    `x ~ N(A (1, c), S)`, with the least-squares A and the covariance S of what it leaves, whose
    diagonal is 1e-6 relative larger.

    Args:
        x: Array `(n, d)`.
        context: Array `(n, k)`, or None.
    """

    def __init__(self, x: np.ndarray, context: np.ndarray | None = None):
        self._center, scale = x.mean(axis=0), x.std(axis=0)
        self._scale = np.where(scale > 0, scale, 1.0)
        design = _design(len(x), context)
        z = (x - self._center) / self._scale
        self._weights = np.linalg.lstsq(design, z, rcond=None)[0]
        left = z - design @ self._weights
        covariance = left.T @ left / len(x)
        # Shrunk where there are hardly more rows than columns, or it is no density at all.
        share = min(1.0, x.shape[1] / len(x))
        covariance = (1.0 - share) * covariance + share * np.diag(np.diag(covariance))
        covariance[np.diag_indices_from(covariance)] += _RIDGE
        self._root = np.linalg.cholesky(covariance)

    def log_prob(self, x: np.ndarray, context: np.ndarray | None = None) -> np.ndarray:
        """The log-density of rows, nats, `(n,)`."""
        left = (x - self._center) / self._scale - _design(len(x), context) @ self._weights
        whitened = np.linalg.solve(self._root, left.T)
        log_det = np.sum(np.log(np.diag(self._root))) + np.sum(np.log(self._scale))
        constant = 0.5 * x.shape[1] * math.log(2.0 * math.pi)
        return -0.5 * np.sum(whitened**2, axis=0) - log_det - constant


def _design(n, context):
    ones = np.ones((n, 1))
    return ones if context is None else np.concatenate([ones, context], axis=1)
