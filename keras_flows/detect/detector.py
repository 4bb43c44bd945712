"""FlowDetector: a flow as an outlier detector for tables."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_flows import checks
from keras_flows.detect.calibration import benjamini_hochberg, rows_needed
from keras_flows.detect.decision import scores_inside
from keras_flows.detect.explanation import Explanation, explain
from keras_flows.detect.scoring import calibrate, rows_to_calibrate
from keras_flows.detect.statistics import STATISTICS
from keras_flows.flow import Flow

try:
    from sklearn.base import BaseEstimator
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        f"FlowDetector needs scikit-learn, 1.6 or later ({error}). Install it with: "
        "pip install 'keras-flows[data]'"
    ) from error


# What a flow by the rules of `keras_flows.fit` needs beside the rows of the calibration.
FEWEST_ROWS = 4


class FlowDetector(BaseEstimator):
    """An outlier detector whose scores are those of a normalizing flow.

    A scikit-learn estimator with the conventions of PyOD: `decision_function` is **larger for the
    more abnormal**, `predict` is 1 for outliers and 0 for the rest. scikit-learn's own outlier
    detectors have the opposite sign, and -1 and 1; PyOD's tools read `decision_function` and
    `decision_scores_` as one scale, which can have one direction only. So this is no
    `OutlierMixin`; for scikit-learn's convention take `-decision_function(X)`.

    `fit` holds out rows that training never sees. Their scores make the threshold and the
    p-values, so that a row like them is flagged at the rate asked for, however well the flow fits:
    see `keras_flows.detect.Calibration`. The guarantee is for held-out rows without outliers; with
    outliers among them, fewer rows are flagged.

    >>> detector = kf.detect.FlowDetector().fit(X)
    >>> detector.flags(new, alpha=0.01), detector.explain(new).contributions

    Args:
        flow: None for the flow of `keras_flows.fit`, by its rules: a `SplineFlow` behind maps for
            the kinds of the columns, which are inferred as `keras_flows.data.table` does, with the
            best weights by rows held out from training for that alone. Or what makes the flow: a
            function from the number of columns to a compiled `keras_flows.Flow`, which `fit` trains
            on the rows that are not held out. Or a trained flow, or the handle of its preset: then
            all rows given to `fit` are held-out ones, and must not be those that it was trained on.
        statistic: A name in `keras_flows.detect.STATISTICS`: what the scores are.
        contamination: The rate at which `predict` and `labels_` flag rows that are like the
            held-out ones, in (0, 0.5]: the p-values that are at most this.
        holdout: The share of the rows that is held out, in (0, 1); more of a small table, if the
            contamination needs more.
        epochs: Of training; where flow is None at most so many, as in `keras_flows.fitting`.
        batch_size: Of training a flow that a function makes; where flow is None, a rule says it.
        draws: How many draws of a random log_prob to average.
        seed: Of the choice of held-out rows, the flow's first weights, the order of training and
            the draws: `fit` hands it to `keras.utils.set_random_seed`.

    Attributes:
        flow_: The `keras_flows.Flow`.
        calibration_: The `keras_flows.detect.Calibration`.
        held_out_: The indices of the held-out rows, ascending.
        decision_scores_: `decision_function` of the rows given to `fit`. Those of the rows it was
            trained on are lower than they would be for new ones.
        threshold_: The score above which a row is an outlier.
        labels_: `predict` of the rows given to `fit`.
        n_features_in_: The number of columns.
        feature_names_in_: Their names, where X had some.
    """

    def __init__(
        self,
        flow: Callable[[int], Flow] | Flow | str | Path | None = None,
        statistic: str = "log_prob",
        contamination: float = 0.1,
        holdout: float = 0.2,
        epochs: int = 100,
        batch_size: int = 256,
        draws: int = 1,
        seed: int = 0,
    ):
        self.flow = flow
        self.statistic = statistic
        self.contamination = contamination
        self.holdout = holdout
        self.epochs = epochs
        self.batch_size = batch_size
        self.draws = draws
        self.seed = seed

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Trains the flow, where it is not, and calibrates it on held-out rows.

        Args:
            X: Rows of numbers, `(n, columns)`.
            y: Ignored.

        Returns:
            The detector.

        Raises:
            ValueError: If an argument does not fit, X holds anything but finite numbers, or there
                are too few rows for the contamination.
            NonFiniteError: If training fails; see `keras_flows.Flow.fit`.
        """
        self._check_arguments()
        rows = validate_data(self, X, dtype=(np.float64, np.float32), ensure_min_samples=2)
        needed = rows_to_calibrate(STATISTICS[self.statistic], rows_needed(self.contamination))
        if isinstance(self.flow, (Flow, str, Path)):
            self._check_rows(len(rows), needed)
            self.flow_ = self.flow if isinstance(self.flow, Flow) else Flow.from_preset(self.flow)
            self._check_flow(rows.shape[1])
            self.held_out_ = np.arange(len(rows))
        else:
            least = FEWEST_ROWS if self.flow is None else 1
            self._check_rows(len(rows), needed + least)
            order = np.random.default_rng(self.seed).permutation(len(rows))
            held_out = min(max(round(self.holdout * len(rows)), needed), len(rows) - least)
            self.held_out_ = np.sort(order[:held_out])
            self._train(rows[np.sort(order[held_out:])])
        self._held_out_rows = rows[self.held_out_]
        self.calibration_ = calibrate(
            self.flow_,
            self._held_out_rows,
            "rows held out by FlowDetector.fit",
            self.statistic,
            seed=self.seed,
            draws=self.draws,
        )
        self.threshold_ = self.calibration_.threshold(self.contamination)
        self.decision_scores_ = self._scores(rows)
        self.labels_ = (self.decision_scores_ > self.threshold_).astype(int)
        return self

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """The scores of rows, larger for the more abnormal.

        Args:
            X: Rows of numbers, `(n, columns)`, as in all methods.

        Returns:
            Array `(n,)`, of numbers rounded to float32, in which they are compared. A row outside
            of the range of a column, whose log_prob is −∞, has the largest number of float32, as
            measures of scikit-learn take no infinity.

        Raises:
            ValueError: If X is not of the columns that the detector was fitted to, or holds
                anything but finite numbers.
        """
        return np.minimum(self._scores(self._rows(X)), np.finfo(np.float32).max)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """1 for rows whose score is above `threshold_`, 0 for the others, `(n,)`.

        That is where `p_value(X) <= contamination`.
        """
        return (self.decision_function(X) > self.threshold_).astype(int)

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """`(n, 2)`: the p-value of every row, and one minus it.

        The second column is the share of held-out rows that are less abnormal, which is what can
        be known without the rate of outliers: it is not the probability that a row is one. It has
        as many values as there are held-out rows, and one: rank by `decision_function`.
        """
        p_values = self.p_value(X)
        return np.stack([p_values, 1.0 - p_values], axis=1)

    def p_value(self, X: ArrayLike) -> np.ndarray:
        """The conformal p-value of every row, `(n,)`; see `keras_flows.detect.Calibration`."""
        scores = self.decision_function(X)
        return self.calibration_.p_values(scores)

    def flags(self, X: ArrayLike, alpha: float) -> np.ndarray:
        """Which rows are outliers at a false-positive rate, boolean `(n,)`.

        Args:
            X: The rows.
            alpha: The rate at which rows like the held-out ones are flagged.

        Raises:
            ValueError: If there are too few held-out rows for alpha.
        """
        check_is_fitted(self)
        self.calibration_.check_level(alpha)
        return self.calibration_.flags(self.p_value(X), alpha)

    def discoveries(self, X: ArrayLike, fdr: float) -> np.ndarray:
        """Which rows of a batch are outliers at a false-discovery rate, boolean `(n,)`.

        See `keras_flows.detect.benjamini_hochberg`.

        Args:
            X: The rows, judged together.
            fdr: The share of false ones among the discoveries, in expectation at most.

        Raises:
            ValueError: If there are too few held-out rows for any discovery.
        """
        check_is_fitted(self)
        self.calibration_.check_level(fdr, "fdr")
        return benjamini_hochberg(self.p_value(X), fdr)

    def explain(self, X: ArrayLike, draws: int = 32, seed: int = 0) -> Explanation:
        """Which columns make rows unusual; see `keras_flows.detect.explain`.

        Args:
            X: The rows.
            draws: How many held-out rows to replace a column from.
            seed: Of the choice of them.

        Returns:
            A `keras_flows.detect.Explanation`.

        Raises:
            ValueError: If the statistic is not `"log_prob"`, or an argument does not fit.
        """
        rows = self._rows(X)
        return explain(self.flow_, rows, self._held_out_rows, self.calibration_, draws, seed)

    def _train(self, rows):
        """Makes the flow, and trains it."""
        if self.flow is None:
            from keras_flows.fitting.arrays import fit_array  # it needs this package

            names = getattr(self, "feature_names_in_", None)
            self.flow_ = fit_array(rows, names, self.holdout, self.epochs, self.seed)
            return
        keras.utils.set_random_seed(self.seed)
        self.flow_ = self.flow(rows.shape[1])
        self._check_flow(rows.shape[1])
        if not self.flow_.compiled:
            raise ValueError(
                "The flow that `flow` makes must be compiled: call flow.compile(optimizer) in it."
            )
        self.flow_.fit(rows, epochs=self.epochs, batch_size=self.batch_size, verbose=0)

    def _rows(self, X):
        check_is_fitted(self)
        return validate_data(self, X, dtype=(np.float64, np.float32), reset=False)

    def _scores(self, rows):
        inside = np.ones(len(rows), bool)
        if self.flow_.schema is not None:
            inside[list(self.flow_.schema.outside(rows))] = False
        return scores_inside(self.flow_, rows, inside, self.calibration_).astype("float64")

    def _check_arguments(self):
        given = self.flow
        if not (given is None or callable(given) or isinstance(given, (str, Path))):
            raise ValueError(
                "flow must be None, or a function from the number of columns to a compiled "
                "keras_flows.Flow, or a trained flow, or the handle of a preset; got "
                f"{self.flow!r}."
            )
        checks.known(self.statistic, STATISTICS, "statistic")
        checks.positive(self.contamination, "contamination", most=0.5)
        checks.positive(self.holdout, "holdout", most=1.0)
        if self.holdout == 1.0:
            raise ValueError("holdout must be below 1, or no rows are left to train on; got 1.")
        for name in ("epochs", "batch_size", "draws"):
            checks.count(getattr(self, name), name)
        checks.count(self.seed, "seed", least=0)

    def _check_flow(self, columns):
        flow = self.flow_
        if not isinstance(flow, Flow):
            raise ValueError(
                f"flow must make a keras_flows.Flow of the number of columns; it made {flow!r}."
            )
        if flow.event_shape != (columns,) or flow.context_shape is not None:
            raise ValueError(
                f"The flow must be on vectors of {columns} numbers, as X is, without context; its "
                f"event shape is {flow.event_shape}, its context shape {flow.context_shape}. "
                "keras_flows.detect.calibrate takes any flow."
            )
        names = getattr(self, "feature_names_in_", None)
        if flow.schema is not None and names is not None:
            own = [column.name for column in flow.schema.event]
            if list(names) != own:
                raise ValueError(
                    f"X must have the columns of the flow in their order: {', '.join(own)}; it has "
                    f"{', '.join(names)}."
                )

    def _check_rows(self, rows, needed):
        if rows < needed:
            raise ValueError(
                f"X has n_samples={rows}; a contamination of {self.contamination:g} needs at least "
                f"{needed} rows. Give more, or a larger contamination."
            )
