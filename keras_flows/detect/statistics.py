"""The statistics that tell a row from the rest: numbers that are larger for the more abnormal."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from keras_flows.detect.shared_noise import latent_norms, log_probs

if TYPE_CHECKING:
    from keras_flows.flow import Flow


class Statistic:
    """A score per row, the larger the more abnormal the row is.

    A subclass measures rows, and turns what it measured into scores. A statistic with `fitted`
    needs numbers from rows other than those that it scores: its constants.

    Attributes:
        name: What it is called in calls and files.
        fitted: Whether it has constants.
    """

    name: str
    fitted = False

    def check(self, flow: "Flow") -> None:
        """Checks that the statistic is defined for a flow.

        Raises:
            ValueError: If it is not.
        """

    def measure(
        self, flow: "Flow", x: np.ndarray, context: np.ndarray | None, seed: int, draws: int
    ) -> np.ndarray:
        """A number per row, float64 `(n,)`; arguments are those of `shared_noise.log_probs`."""
        return log_probs(flow, x, context, seed, draws)

    def constants(self, measured: np.ndarray) -> dict[str, float]:
        """The constants, from what was measured on rows that are not scored."""
        return {}

    def scores(self, measured: np.ndarray, constants: Mapping[str, float]) -> np.ndarray:
        """Scores `(n,)` from what was measured."""
        raise NotImplementedError


class LogProb(Statistic):
    """`s(x) = -log_prob(x)`, nats: rare is abnormal.

    The default for tables. On images it fails where simple ones are more probable than the data:
    see `Complexity`, and Nalisnick et al. 2019, *Do Deep Generative Models Know What They Don't
    Know?*
    """

    name = "log_prob"

    def scores(self, measured: np.ndarray, constants: Mapping[str, float]) -> np.ndarray:
        return -measured


class Typicality(Statistic):
    """`s(x) = |log_prob(x) - m|`, nats, m the mean log_prob of held-out rows.

    Too probable is abnormal, too: of many dimensions, the mode is where no row is. The rows of the
    mean are not those of the p-values.

    Source: Nalisnick et al. 2019, *Detecting Out-of-Distribution Inputs to Deep Generative Models
    Using Typicality*, for one row.
    """

    name = "typicality"
    fitted = True

    def constants(self, measured: np.ndarray) -> dict[str, float]:
        bad = np.count_nonzero(~np.isfinite(measured))
        if bad:
            raise ValueError(
                f"Typicality needs the mean log_prob of held-out rows, and {bad} of "
                f"{len(measured)} have none that is finite. Remove them, or use the "
                "statistic 'log_prob'."
            )
        return {"mean_log_prob": float(np.mean(measured))}

    def scores(self, measured: np.ndarray, constants: Mapping[str, float]) -> np.ndarray:
        return np.abs(measured - constants["mean_log_prob"])


class LatentNorm(Statistic):
    """`s(x) = |e(x)|`, the norm of the latent in deviations of the base density.

    What encode gives, standard normal for the data the flow knows, without the log-det. Needs a
    normal base.
    """

    name = "latent_norm"

    def measure(
        self, flow: "Flow", x: np.ndarray, context: np.ndarray | None, seed: int, draws: int
    ) -> np.ndarray:
        return latent_norms(flow, x, context, seed, draws)

    def scores(self, measured: np.ndarray, constants: Mapping[str, float]) -> np.ndarray:
        return measured


class Complexity(Statistic):
    """`s(x) = -log2 p(x) - L(x)`, bits, L the length of the image as a PNG file.

    A log-likelihood ratio between the flow and a general compressor: what is merely simple is
    probable for both. For flows on images of integers with up to 8 bits, in one channel or three;
    PNG takes their grey levels as they are, at its highest compression.

    Source: Serrà et al. 2020, *Input Complexity and Out-of-Distribution Detection with
    Likelihood-Based Generative Models*.
    """

    name = "complexity"

    def check(self, flow: "Flow") -> None:
        shape, bits = flow.event_shape, flow.bits
        if bits is None or bits > 8 or len(shape) != 3 or shape[-1] not in (1, 3):
            raise ValueError(
                "The statistic 'complexity' is for flows on images of integers: an event shape "
                "(height, width, 1 or 3) and up to 8 bits. This flow is on "
                f"{'real numbers' if bits is None else f'{bits}-bit integers'} of the shape "
                f"{tuple(shape)}."
            )

    def measure(
        self, flow: "Flow", x: np.ndarray, context: np.ndarray | None, seed: int, draws: int
    ) -> np.ndarray:
        # First what says which image is none.
        log_prob = log_probs(flow, x, context, seed, draws)
        return -log_prob / math.log(2.0) - png_bits(x)

    def scores(self, measured: np.ndarray, constants: Mapping[str, float]) -> np.ndarray:
        return measured


def png_bits(images: np.ndarray) -> np.ndarray:
    """The length of every image as a PNG file, in bits.

    Args:
        images: Integers from 0 to 255, array `(n, height, width, 1 or 3)`.

    Returns:
        float64 array `(n,)`.
    """
    images = np.asarray(images).astype("uint8")
    files = (tf.io.encode_png(image, compression=9) for image in images)
    return np.array([8.0 * len(file.numpy()) for file in files])


STATISTICS: dict[str, Statistic] = {
    statistic.name: statistic for statistic in (LogProb(), Typicality(), LatentNorm(), Complexity())
}
