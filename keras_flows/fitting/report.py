"""What a fit reports: the numbers, and what is to be said against them."""

from dataclasses import asdict, dataclass
from typing import Any

from keras_flows.detect.calibration import rows_needed
from keras_flows.fitting.defaults import ALPHA, ROWS_A_COLUMN

_ENDED = {
    "steps": "all steps were made",
    "patience": "the held-out NLL got no better",
    "minutes": "the time was up",
}


@dataclass(frozen=True)
class Report:
    """The result of a fit. All NLL are nats per row, in the units of the table.

    Attributes:
        data: What the rows are.
        model: The class of the model.
        parameters: Its trained numbers.
        likelihood: What its log_probs are; see `keras_flows.Flow.likelihood`.
        columns: How many columns the event has.
        train_rows: Rows trained on.
        validation_rows: Rows that chose the weights.
        test_rows: Rows used for nothing but the test and the calibration.
        repeated_rows: Rows of the table that equal one before; equal rows are in one part.
        dropped_rows: Rows left out because of missing values.
        steps: Training steps made.
        best_step: The step whose weights were kept.
        ended: Why training ended: `"steps"`, `"patience"` or `"minutes"`.
        seconds: The whole fit took.
        validation_nll: Mean over the validation rows, by which the weights were chosen.
        test_nll: Mean over the test rows.
        test_standard_error: Of `test_nll`.
        gaussian_validation_nll: Of one Gaussian fitted to the training rows, on the validation
            rows; its mean is linear in the context.
        gaussian_test_nll: The same on the test rows.
        smallest_p_value: The smallest p-value that the calibration on the test rows reaches.
    """

    data: str
    model: str
    parameters: int
    likelihood: str
    columns: int
    train_rows: int
    validation_rows: int
    test_rows: int
    repeated_rows: int
    dropped_rows: int
    steps: int
    best_step: int
    ended: str
    seconds: float
    validation_nll: float
    test_nll: float
    test_standard_error: float
    gaussian_validation_nll: float
    gaussian_test_nll: float
    smallest_p_value: float

    @property
    def warnings(self) -> list[str]:
        """What speaks against relying on the flow, sentences; empty if nothing does."""
        found = []
        if self.train_rows < ROWS_A_COLUMN * self.columns:
            found.append(
                f"Few rows: {self.train_rows:,} to train {self.parameters:,} parameters on "
                f"{self.columns} columns, fewer than {ROWS_A_COLUMN} rows a column. Another split "
                "may give a rather different flow: compare two seeds, and take more rows or fewer "
                "columns if you can."
            )
        if not self.validation_nll < self.gaussian_validation_nll:
            found.append(
                "The flow never beat a Gaussian on held-out rows: "
                f"{self.validation_nll:.4f} against {self.gaussian_validation_nll:.4f} nats. Do "
                "not use it as it is: a Gaussian is the better density of these rows."
            )
        if self.best_step == 0:
            found.append("No step of training made the held-out NLL better than the start.")
        if self.smallest_p_value > ALPHA:
            found.append(
                f"The {self.test_rows} held-out rows reach p-values down to "
                f"{self.smallest_p_value:.3g}; a false-positive rate of {ALPHA:g} needs "
                f"{rows_needed(ALPHA)}: `keras-flows calibrate` takes more."
            )
        if self.ended == "minutes":
            found.append("Training was stopped by the time given, not by the held-out NLL.")
        return found

    def rows(self) -> list[tuple[str, str]]:
        """The report as pairs of a name and a text, for a table."""
        split = f"{self.train_rows:,} to train, {self.validation_rows:,} to choose the weights, "
        split += f"{self.test_rows:,} to test and calibrate"
        listed = [
            ("data", self.data),
            ("rows", split),
            ("model", f"{self.model}, {self.parameters:,} parameters, {self.likelihood}"),
            ("training", f"{self.steps:,} steps, best at {self.best_step:,}: {_ENDED[self.ended]}"),
            ("test NLL", f"{self.test_nll:.4f} ± {self.test_standard_error:.4f} nats"),
            ("of a Gaussian", f"{self.gaussian_test_nll:.4f} nats"),
            ("p-values", f"down to {self.smallest_p_value:.3g} (1/{self.test_rows + 1:,})"),
            ("time", f"{self.seconds:.0f} s"),
        ]
        if self.repeated_rows:
            listed.insert(2, ("repeated rows", f"{self.repeated_rows:,}, kept in one part"))
        if self.dropped_rows:
            listed.insert(2, ("dropped", f"{self.dropped_rows:,} rows with missing values"))
        return listed

    def to_json(self) -> dict[str, Any]:
        """The attributes and the warnings as a dictionary."""
        return {**asdict(self), "warnings": self.warnings}

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.rows())
        lines = [f"{name:{width}}  {text}" for name, text in self.rows()]
        return "\n".join([*lines, *(f"! {warning}" for warning in self.warnings)])
