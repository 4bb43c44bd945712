"""Certificates: upper bounds on the Lipschitz constants of residual blocks."""

from typing import TYPE_CHECKING, NamedTuple

from keras_flows.errors import LipschitzError

if TYPE_CHECKING:
    from keras_flows.flow import Flow


class Certificate(NamedTuple):
    """Certified upper bounds.

    Attributes:
        bounds: Dictionary from the path of each residual block to its bound.
    """

    bounds: dict

    @property
    def largest(self) -> float:
        """The largest bound, 0 for a flow without residual blocks."""
        return max(self.bounds.values(), default=0.0)


def certify(flow: "Flow") -> Certificate:
    """Bounds the Lipschitz constant of every residual block from above.

    The norms of the matrices come from a singular value decomposition in float64, those of
    convolutions from bounds from above, see `keras_flows.layers.lipschitz.spectral_conv` (power
    iteration bounds norms from below only). They are multiplied through the network: a Dense Layer
    is bounded by `sqrt(eta1^2 + eta2^2 sigma^2)`, a composition by the product. Each bound below
    one proves that its block is invertible.

    Args:
        flow: A `keras_flows.Flow`.

    Returns:
        A `Certificate`.

    Raises:
        LipschitzError: If a bound is one or more.
    """
    certificate = Certificate(flow.transform.lipschitz_bounds())
    # Written so that NaN fails too.
    bad = {path: bound for path, bound in certificate.bounds.items() if not bound < 1.0}
    if bad:
        path, bound = max(bad.items(), key=lambda item: item[1])
        raise LipschitzError(
            f"{len(bad)} of {len(certificate.bounds)} residual blocks cannot be certified "
            f"invertible; the worst, {path!r}, has the Lipschitz bound {bound:.6f}, and it must be "
            "below 1. `flow.converge()` brings the spectral norms up to date after weights were "
            "changed by hand; else train with smaller coefficients."
        )
    return certificate
