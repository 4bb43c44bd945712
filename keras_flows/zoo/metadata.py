"""What a preset folder says about its flow: the schema of `metadata.json`."""

import math
from pathlib import Path
from typing import Any, Literal

import pydantic

from keras_flows.errors import PresetError
from keras_flows.files import read_json

FILE = "metadata.json"

# The format of a preset folder; raised when a change would make older versions misread one.
FORMAT = 2


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Test(_Strict):
    """A test result: nats per example, with the standard error over the examples.

    `kl_divergence` is that from the true density to the flow, where the true one is known;
    `importance_samples` the number of draws of an importance-weighted bound; `accuracy` that of a
    flow which is conditional on labels, on the first `accuracy_examples`; see
    `keras_flows.measure.classify`.
    """

    nll: float
    standard_error: float
    examples: int
    bits_per_dim: float | None = None
    kl_divergence: float | None = None
    kl_standard_error: float | None = None
    importance_samples: int | None = None
    accuracy: float | None = None
    accuracy_examples: int | None = None
    data: str

    @property
    def accuracy_standard_error(self):
        """The standard error of `accuracy`, None without that."""
        if self.accuracy is None:
            return None
        return math.sqrt(self.accuracy * (1.0 - self.accuracy) / self.accuracy_examples)

    @property
    def bits_per_dim_standard_error(self):
        """The standard error in the unit of `bits_per_dim`, None without that."""
        if self.bits_per_dim is None:
            return None
        return self.standard_error * self.bits_per_dim / self.nll


class Inverse(_Strict):
    """The inverse: its tolerance, and the round trip measured on samples.

    `round_trip_error` is the `worst` of a `keras_flows.measure.inversion.RoundTrip`.
    """

    tolerance: float
    max_iterations: int
    round_trip_error: float
    round_trip_examples: int


class Column(_Strict):
    """A column of the table that the flow is on; `schema.json` has it with all its parameters."""

    name: str
    part: Literal["event", "context"]
    kind: str


class Calibrated(_Strict):
    """What `calibration.npz` is of: the number of held-out scores, and their data."""

    scores: int
    statistic: str
    data: str
    data_sha256: str


class Metadata(_Strict):
    """The contents of `metadata.json`.

    `licence` is that of the code and the weights, `data_licence` that of the data, None where it
    was not recorded. `columns` and `calibration` are None where there are none, as in folders of
    format 1.
    """

    format: int = FORMAT
    name: str
    summary: str
    model: str
    event_shape: list[int]
    context_shape: list[int] | None
    parameters: int
    likelihood: str
    estimator: str | None
    data: str | None
    test: Test | None
    lipschitz: dict[str, float]
    inverse: Inverse | None
    training: dict[str, Any]
    columns: list[Column] | None = None
    calibration: Calibrated | None = None
    versions: dict[str, str]
    licence: str
    data_licence: str | None = None
    files: dict[str, str]

    @property
    def largest_bound(self):
        """The largest certified Lipschitz bound, None without residual blocks."""
        return max(self.lipschitz.values(), default=None)


def read(folder):
    """Reads and checks `metadata.json`.

    Raises:
        PresetError: If it is missing, unreadable, or of a newer format.
    """
    return read_json(Path(folder) / FILE, Metadata, FORMAT, "preset", PresetError)
