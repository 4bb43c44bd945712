"""What a fit does where nobody says otherwise: rules from the number of rows and columns.

They are all here, and in docs/tables.md. Nothing is searched for.
"""

from dataclasses import asdict, dataclass
from typing import Any

from keras_flows import checks
from keras_flows.detect.calibration import rows_needed

MODEL = "SplineFlow"
# The false-positive rate that the held-out rows of a fit should be enough for.
ALPHA = 0.01
HELD_OUT, MOST_HELD_OUT = 0.2, 0.4
EPOCHS, MOST_STEPS, LEARNING_RATE = 100, 4000, 2e-3
# With fewer there is nothing to stop by or to test on.
FEWEST_ROWS = 20
# Where a report says that the rows are few.
ROWS_A_COLUMN = 30


@dataclass(frozen=True)
class Settings:
    """How a flow is trained on a table.

    Attributes:
        steps: Training steps at most, along a cosine that falls to a rate of 0.
        batch_size: Rows in a step.
        learning_rate: The highest rate of Adam, after a linear rise over a twentieth of the steps.
        report_every: Steps between looks at the held-out rows.
        patience: Looks without a better held-out NLL after which training stops.
        seed: Of the split, the first weights, the order of the rows and the draws of training.

    Raises:
        ValueError: If a number is out of its range.
    """

    steps: int
    batch_size: int
    learning_rate: float
    report_every: int
    patience: int
    seed: int = 0

    def __post_init__(self):
        for name in ("steps", "batch_size", "report_every", "patience"):
            checks.count(getattr(self, name), name)
        checks.positive(self.learning_rate, "learning_rate")
        checks.count(self.seed, "seed", least=0)

    def to_json(self) -> dict[str, Any]:
        """The attributes as a dictionary."""
        return asdict(self)


def settings(rows: int, steps: int | None = None, epochs: int = EPOCHS, seed: int = 0) -> Settings:
    """The settings for a number of training rows.

    * A batch is a sixteenth of the rows, at least 32 and at most 256.
    * The steps are those of 100 epochs, and at most 4000.
    * The held-out rows are looked at once an epoch, every 20 steps at most often and every 200 at
      least.
    * Training stops after a fifth of all looks without a better one.

    Args:
        rows: Training rows.
        steps: Training steps, where the rule is not to say.
        epochs: In the rule for the steps.
        seed: See `Settings`.

    Returns:
        A `Settings`.

    Raises:
        ValueError: If a number is out of its range.
    """
    checks.count(rows, "rows")
    batch_size = min(rows, max(32, min(256, rows // 16)))
    epoch = max(rows // batch_size, 1)
    if steps is None:
        checks.count(epochs, "epochs")
        steps = min(MOST_STEPS, epochs * epoch)
    checks.count(steps, "steps")
    every = min(max(20, min(200, epoch)), steps)
    steps = -(-steps // every) * every
    return Settings(
        steps=steps,
        batch_size=batch_size,
        learning_rate=LEARNING_RATE,
        report_every=every,
        patience=max(10, steps // every // 5),
        seed=seed,
    )


def arguments(model: str, rows: int) -> dict[str, Any]:
    """The arguments of a model for a table, those that are not the model's own defaults.

    Its networks are 32 wide below 1,000 training rows, 64 below 10,000, and 128 above; the number
    of layers and of bins is the model's.

    Args:
        model: The name of its class.
        rows: Training rows.

    Returns:
        A dictionary; empty for a model that has no rule here.
    """
    width = 32 if rows < 1000 else 64 if rows < 10_000 else 128
    rules: dict[str, dict[str, Any]] = {
        "SplineFlow": {"width": width},
        "RealNVP": {"width": width},
        "MaskedAutoregressiveFlow": {"width": width},
        "ResidualFlow": {"blocks": 6, "widths": [width, width]},
        "IDenseNet": {"blocks": 4, "depth": 2, "growth": width // 2},
    }
    return rules.get(model, {})


def holdout(rows: int) -> float:
    """The share of the rows to hold out, half for validation and half for the test.

    A fifth, or what it takes to calibrate on the test rows for a false-positive rate of 1 %, 99
    rows in each half, but at most two fifths.
    """
    return min(MOST_HELD_OUT, max(HELD_OUT, 2.0 * (rows_needed(ALPHA) + 0.5) / max(rows, 1)))
