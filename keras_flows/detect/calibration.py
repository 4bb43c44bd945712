"""From scores to decisions: p-values by held-out scores, and what they flag."""

import dataclasses
import functools
import hashlib
import math
import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from keras_flows import checks
from keras_flows.transforms.base import LIKELIHOODS

_SHA256 = re.compile(r"[0-9a-f]{64}")
# p-values and levels are quotients: two that are equal on paper may differ in the last digits.
_ROUNDING = 1e-12
# So may two scores of one row, relative to their size but for small ones, when another program or
# another size of batch adds up the same float32 numbers.
_SCORE_ROUNDING = np.float32(2e-5)


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of rows that the flow never saw in training, which other scores are held against.

    A score is the larger the more abnormal its row is: `-log_prob`, or another of
    `keras_flows.detect.STATISTICS`. With the held-out scores `s_1 … s_n`, the conformal p-value
    of a score s is

    `p(s) = (1 + #{i : s_i >= s}) / (n + 1)`.

    If the row and the held-out rows are exchangeable, `P(p <= alpha) <= alpha` for every alpha,
    whatever the flow is worth: a bad flow finds less, it does not flag more. Scores are compared
    in float32, and one that is above `s_i` by no more than rounding, 2e-5 relative or half of the
    way to the next higher score, counts as `s_i`: so the same row is a tie wherever its score was
    computed. A p-value can only be larger by that, and the statement above holds as it is.

    Source: Vovk et al. 2005, *Algorithmic Learning in a Random World*; Bates et al. 2023,
    *Testing for Outliers with Conformal p-values*.

    Attributes:
        scores: The held-out scores, float32 `(n,)`, ascending. Given in any order.
        statistic: The name of the statistic they are.
        constants: The numbers that statistic took from other held-out rows, by name.
        likelihood: What the log_probs in them are: `"exact"`, `"unbiased"`, `"lower_bound"`,
            `"biased"`.
        seed: The seed of the draws of a random log_prob, the same in calibration and in use.
        draws: How many draws were averaged, the same in calibration and in use.
        data: The name of the held-out data.
        data_sha256: Their SHA-256, in hexadecimal; see `fingerprint`.

    Raises:
        ValueError: If there are no scores, one is NaN, or an attribute is none of the above.
    """

    scores: np.ndarray
    statistic: str
    likelihood: str
    data: str
    data_sha256: str
    constants: Mapping[str, float] = dataclasses.field(default_factory=dict)
    seed: int = 0
    draws: int = 1

    def __post_init__(self):
        scores = _as_float32(self.scores)
        if scores.ndim != 1 or not len(scores):
            raise ValueError(
                f"Calibration needs the scores of at least one held-out row, as an array (n,); got "
                f"the shape {scores.shape}."
            )
        scores = np.sort(scores)
        scores.setflags(write=False)
        object.__setattr__(self, "scores", scores)
        if self.likelihood not in LIKELIHOODS:
            raise ValueError(
                f"likelihood must be one of {', '.join(LIKELIHOODS)}; got {self.likelihood!r}."
            )
        for name in ("statistic", "data"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise ValueError(f"{name} must be a name; got {getattr(self, name)!r}.")
        if not isinstance(self.data_sha256, str) or not _SHA256.fullmatch(self.data_sha256):
            raise ValueError(
                f"data_sha256 must be 64 hexadecimal digits in lower case; got "
                f"{self.data_sha256!r}. `fingerprint(x)` gives those of an array."
            )
        for name, value in self.constants.items():
            if not np.isfinite(value):
                raise ValueError(f"The constant {name!r} must be a finite number; got {value!r}.")
        object.__setattr__(self, "constants", {k: float(v) for k, v in self.constants.items()})
        checks.count(self.seed, "seed", least=0)
        checks.count(self.draws, "draws")

    def __len__(self):
        return len(self.scores)

    @functools.cached_property
    def steps(self) -> np.ndarray:
        """Where the p-value falls: the held-out scores and their rounding, float32, ascending.

        `p(s) = (1 + #{i : steps_i >= s}) / (n + 1)` for a score s in float32.
        """
        different, places = np.unique(self.scores, return_inverse=True)
        steps = different.copy()
        finite = np.isfinite(different)
        high, low = different[1:], different[:-1]
        with np.errstate(invalid="ignore", over="ignore"):
            rounding = _SCORE_ROUNDING * np.maximum(np.abs(different), np.float32(1.0))
            halfway = np.minimum(low + np.float32(0.5) * (high - low), np.nextafter(high, low))
            steps[finite] += rounding[finite]
            near = finite[1:] & finite[:-1]
            steps[:-1][near] = np.minimum(steps[:-1], halfway)[near]
        steps = steps[places]
        steps.setflags(write=False)
        return steps

    @property
    def smallest_p_value(self) -> float:
        """`1 / (n + 1)`: no row can have less."""
        return 1.0 / (len(self) + 1)

    def p_values(self, scores: ArrayLike) -> np.ndarray:
        """The conformal p-value of every score.

        Args:
            scores: Scores of the same statistic, of the same flow, an array of any shape.

        Returns:
            float64 array of the same shape, from `1 / (n + 1)` to 1.

        Raises:
            ValueError: If a score is NaN, or no number.
        """
        below = np.searchsorted(self.steps, _as_float32(scores), side="left")
        return (1 + len(self) - below) / (len(self) + 1)

    def check_level(self, level: float, name: str = "alpha") -> None:
        """Checks that a p-value can be as small as a level.

        Args:
            level: A false-positive rate, or another bound on p-values.
            name: What it is called, for the message.

        Raises:
            ValueError: If it is not in (0, 1], or below `1 / (n + 1)`; the message says how many
                held-out rows it takes.
        """
        checks.positive(level, name, most=1.0)
        if level < self.smallest_p_value:
            raise ValueError(
                f"{name} = {level:g} is out of reach: with {len(self)} held-out rows no p-value is "
                f"below 1/{len(self) + 1} = {self.smallest_p_value:.3g}. Calibrate with at least "
                f"{rows_needed(level)} rows, or ask for {name} = {self.smallest_p_value:.3g} or "
                "more."
            )

    def flags(self, p_values: ArrayLike, alpha: float) -> np.ndarray:
        """Which p-values are at most alpha.

        Of rows that are exchangeable with the held-out ones, a share of at most alpha is flagged,
        on average over calibrations.

        Args:
            p_values: Of this calibration.
            alpha: The false-positive rate, at least `1 / (n + 1)`.

        Returns:
            Boolean array of the same shape.

        Raises:
            ValueError: See `check_level`; or if a p-value is not in [0, 1].
        """
        self.check_level(alpha)
        return _as_p_values(p_values) <= alpha

    def threshold(self, alpha: float) -> float:
        """The score above which, and only above which, a p-value is at most alpha.

        Raises:
            ValueError: See `check_level`.
        """
        self.check_level(alpha)
        n = len(self)
        # How many held-out scores, and one, may be as large: counted with the very quotients that
        # `p_values` gives, for alpha (n + 1) may round to the wrong side of an integer.
        allowed = np.count_nonzero(np.arange(1, n + 2) / (n + 1) <= alpha)
        return float(self.steps[n - allowed]) if allowed <= n else -math.inf


def rows_needed(alpha: float) -> int:
    """The least number n of held-out rows with `1 / (n + 1) <= alpha`.

    Raises:
        ValueError: If alpha is not in (0, 1].
    """
    checks.positive(alpha, "alpha", most=1.0)
    n = max(math.ceil(1.0 / alpha) - 1, 1)
    if 1.0 / (n + 1) > alpha:  # 1 / alpha was rounded down to an integer
        return n + 1
    return n - 1 if n > 1 and 1.0 / n <= alpha else n


def benjamini_hochberg(p_values: ArrayLike, fdr: float) -> np.ndarray:
    """Which of a batch of p-values are discoveries at a false-discovery rate.

    With the m p-values in ascending order, those up to the largest i with `p_(i) <= i fdr / m`.
    Conformal p-values of one calibration depend on one another in a way (PRDS) under which the
    expected share of false ones among the discoveries is still at most fdr, if the rows that are
    no outliers are independent and from the distribution of the held-out ones.

    Source: Benjamini & Hochberg 1995, *Controlling the False Discovery Rate*; for conformal
    p-values Bates et al. 2023, *Testing for Outliers with Conformal p-values*, theorem 2.

    Args:
        p_values: Array `(m,)`, at least one.
        fdr: The false-discovery rate, in (0, 1].

    Returns:
        Boolean array `(m,)`.

    Raises:
        ValueError: If an argument is none of the above.
    """
    checks.positive(fdr, "fdr", most=1.0)
    values = _as_p_values(p_values)
    if values.ndim != 1 or not len(values):
        raise ValueError(
            f"p_values must be an array (m,) of at least one; got the shape {values.shape}."
        )
    return stats.false_discovery_control(values, method="bh") <= fdr * (1.0 + _ROUNDING)


def fingerprint(x: ArrayLike) -> str:
    """The SHA-256 of an array: that of the file which `numpy.save` makes of it.

    Args:
        x: An array of numbers.

    Returns:
        64 hexadecimal digits.
    """
    digest = _Digest()
    np.lib.format.write_array(digest, np.ascontiguousarray(x), allow_pickle=False)
    return digest.hash.hexdigest()


class _Digest:
    """A file to write to, of which only the SHA-256 is kept."""

    def __init__(self):
        self.hash = hashlib.sha256()

    def write(self, data):
        self.hash.update(data)


def _as_float32(scores):
    scores = np.asarray(scores)
    if scores.dtype.kind not in "fiu":
        raise ValueError(f"Scores must be real numbers; their dtype is {scores.dtype}.")
    bad = np.count_nonzero(np.isnan(scores))
    if bad:
        raise ValueError(f"Scores must be numbers; {bad} of {scores.size} are NaN.")
    with np.errstate(over="ignore"):  # what is too large is infinite: the most abnormal there is
        return scores.astype(np.float32)


def _as_p_values(p_values):
    p_values = np.asarray(p_values)
    if p_values.dtype.kind not in "fiu" or not np.all((p_values >= 0.0) & (p_values <= 1.0)):
        raise ValueError(
            "p_values must be numbers from 0 to 1; give those that `p_values` returns."
        )
    return p_values
