"""Rows scored by a flow itself, in Keras and TensorFlow."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_flows import calls
from keras_flows.detect.decision import calibration_of
from keras_flows.detect.scoring import scores
from keras_flows.errors import PresetError
from keras_flows.files import sha256
from keras_flows.noise import InputNoise, Seed, SeededNoise
from keras_flows.stream import scorer
from keras_flows.stream.manifest import Scored
from keras_flows.stream.row_noise import by_row
from keras_flows.stream.takes import Rows, Takes
from keras_flows.zoo import handles, metadata, preset


class KerasScorer(scorer.Scorer):
    """A preset that scores rows.

    Args:
        handle: An entry of the zoo, a folder or an address; see `keras_flows.zoo.load`.
        task: See `Scorer`.
        seed: See there.
        alpha: Of decisions, the false-positive rate of the flags.
        fdr: Of decisions, a false-discovery rate, checked and noted; the run finds the discoveries.

    Attributes:
        flow: The `keras_flows.Flow`.

    Raises:
        PresetError: If there is no such preset, it is corrupt, or it was replaced meanwhile.
        ValueError: If the flow has no calibration to decide by, or a rate is out of reach.
    """

    def __init__(
        self,
        handle: str | Path,
        task: str,
        seed: int = 0,
        alpha: float = 0.01,
        fdr: float | None = None,
    ):
        super().__init__(task, seed)
        folder = handles.resolve(handle)
        if not (folder / metadata.FILE).is_file():
            metadata.read(folder)  # which says what is missing
        # The metadata hold the checksums of all other files.
        checksum = sha256(folder / metadata.FILE)
        flow = self.flow = preset.load(folder)
        if sha256(folder / metadata.FILE) != checksum:
            raise PresetError(f"{folder} was replaced while it was loaded. Load it again.")
        self.scored_by = Scored(name=str(handle), runtime="keras", sha256=checksum)
        self.likelihood = flow.likelihood
        self.takes = Takes(
            flow.event_shape, flow.context_shape, flow.schema, flow.bits, flow.labels
        )
        self._calibration, self._noise = None, flow.transform.noise_size("encode")
        if task == "score":
            self.columns = {"log_prob": flow.compute_dtype}
        elif task == "encode":
            self.columns = scorer.latent_columns(flow.latent_shape, flow.compute_dtype)
        else:
            self.columns = scorer.decision_columns()
            calibration = self._calibration = calibration_of(flow)
            for level, name in ((alpha, "alpha"), (fdr, "fdr")):
                if level is not None:
                    calibration.check_level(level, name)
            self.options = {"alpha": alpha, "fdr": fdr}

    def scores(
        self, x: np.ndarray, context: np.ndarray | None, first: int
    ) -> dict[str, np.ndarray]:
        if self._calibration is not None:
            made = scores(self.flow, x, self._calibration, context)
            p_value = self._calibration.p_values(made)
            flag = self._calibration.flags(p_value, self.options["alpha"])
            return {"score": made, "p_value": p_value, "flag": flag}
        function = _log_prob if self.task == "score" else _encode
        seed: int | None = None
        noise: tuple[tf.Tensor, ...] = ()
        if self._noise:
            seed = self.seed
            values = by_row(self.seed, first, len(x), self._noise)
            noise = (tf.constant(values, self.flow.compute_dtype),)
        made = self.flow.calls.run(function, x, context, seed=seed, extra=noise).numpy()
        return {"log_prob": made} if self.task == "score" else scorer.latent_arrays(made)

    def outside(self, rows: Rows) -> dict[str, np.ndarray]:
        smallest = None if self._calibration is None else self._calibration.smallest_p_value
        made = scorer.outside(self.task, rows, smallest)
        return {name: values.astype(self.columns[name]) for name, values in made.items()}


class _RowNoise(InputNoise):
    """The numbers of every row, and one scalar for all rows, from the seed alone.

    Args:
        values: The numbers of the rows, `(batch, n)`.
        seed: Of the scalar.
    """

    def __init__(self, values: tf.Tensor, seed: Seed):
        super().__init__(values)
        self._scalars = SeededNoise(seed)

    def scalar(self, dtype: str | tf.DType) -> tf.Tensor:
        return self._scalars.scalar(dtype)


def _log_prob(flow, x, context, noise, training, values=None):
    return calls.log_prob(flow, x, context, _of_rows(noise, values), training)


def _encode(flow, x, context, noise, training, values=None):
    return calls.encode(flow, x, context, _of_rows(noise, values), training)


def _of_rows(noise, values):
    return None if values is None else _RowNoise(values, noise.seed)
