"""Location and scale of data, set once before training."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_flows import checks
from keras_flows.noise import Noise
from keras_flows.transforms.triangular import Triangular

# Of a normal density: the interquartile range in standard deviations.
_NORMAL_RANGE = 1.3489795003921634
# A column is heavy-tailed if its deviation is more than so many times that of its middle half.
_HEAVY = 2.0


@keras.saving.register_keras_serializable("keras_flows")
class Standardize(Triangular):
    """`z = (x - location) / scale` per feature, with constants that `adapt` takes from data.

    `log_det = -sum ln scale`, so that the log_prob of a flow stays that of the data in their own
    units. Location and scale are weights that are not trained; before `adapt` they are 0 and 1.
    They are the mean and the standard deviation, or, robustly, the median and the interquartile
    range over 1.349, which is the standard deviation of normal data. Vectors `(batch, features)`.

    Source: Keras's preprocessing layers, such as `keras.layers.Normalization`; Rousseeuw & Croux
    1993, *Alternatives to the Median Absolute Deviation*, on robust scales.

    Args:
        robust: True, False, or `"auto"`: robust for the columns whose standard deviation is more
            than twice the robust one, heavy tails. A column with an interquartile range of 0, half
            of whose values are equal, has none: it keeps mean and deviation, unless robust is True,
            where it is an error.
        keep: The indices of the features that stay as they are, such as angles.

    Raises:
        ValueError: If robust is none of these, keep holds no such indices, or the data are no
            vectors.
    """

    def __init__(self, robust: bool | str = "auto", keep: Iterable[int] = (), **kwargs: Any):
        super().__init__(**kwargs)
        if robust != "auto":
            checks.flag(robust, "robust, where it is not 'auto',")
        self.robust = robust
        self.keep = checks.indices(keep, "keep")

    def build(self, input_shape: tuple) -> None:
        if len(input_shape) != 2:
            raise ValueError(
                f"Standardize is for vectors; got an event of shape {tuple(input_shape[1:])}."
            )
        checks.indices(self.keep, "keep", input_shape[-1])
        shape = (input_shape[-1],)
        self.location = self.add_weight(
            name="location", shape=shape, initializer="zeros", trainable=False
        )
        self.scale = self.add_weight(name="scale", shape=shape, initializer="ones", trainable=False)
        super().build(input_shape)

    def adapt(self, x: ArrayLike) -> None:
        """Sets location and scale.

        Args:
            x: Data, `(n, features)`, at least two rows.

        Raises:
            ValueError: If x is no such array or holds NaN or infinity; if a feature is constant
                or, robustly, half of its values are equal; or if float32, where the flow computes
                in it, does not tell the values of a feature apart.
        """
        values = np.asarray(x, "float64")
        checks.batch_shape(values.shape, self.event_shape, "x")
        if len(values) < 2 or not np.isfinite(values).all():
            raise ValueError(
                "Location and scale are taken from two rows or more of finite numbers; got "
                f"{len(values)} rows, {(~np.isfinite(values)).any(axis=1).sum()} of them with NaN "
                "or infinity."
            )
        # In units of the largest number, so that no square overflows.
        unit = np.maximum(np.abs(values).max(axis=0), np.finfo("float64").tiny)
        deviation = unit * np.std(values / unit, axis=0)
        low, median, high = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
        middle = (high - low) / _NORMAL_RANGE
        robust = np.full(deviation.shape, self.robust is True)
        if self.robust == "auto":
            robust = (middle > 0.0) & (deviation > _HEAVY * middle)
        location = np.where(robust, median, unit * np.mean(values / unit, axis=0))
        scale = np.where(robust, middle, deviation)
        location[self.keep], scale[self.keep] = 0.0, 1.0
        constant = np.flatnonzero(~(scale > 4.0 * np.finfo("float64").eps * unit))
        if len(constant):
            what = "half of the values are equal" if self.robust is True else "is constant"
            raise ValueError(
                f"Feature {constant[0]}{f' and {len(constant) - 1} more' * (len(constant) > 1)}: "
                f"{what}, so that it has no scale. Leave such columns out"
                f"{', or take robust=False' * (self.robust is True)}."
            )
        coarse = np.flatnonzero(scale < 100.0 * np.finfo(self.compute_dtype).eps * unit)
        if len(coarse):
            j = coarse[0]
            raise ValueError(
                f"Feature {j} varies by {scale[j]:.3g} around numbers of the size of {unit[j]:.3g},"
                f" which {self.compute_dtype} hardly tells apart. Subtract a constant from it, or "
                "build the flow with dtype='float64'."
            )
        self.location.assign(location)
        self.scale.assign(scale)

    def encode_terms(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        scale = tf.convert_to_tensor(self.scale)
        return (x - self.location) / scale, tf.zeros_like(x) - tf.math.log(scale)

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        return z * self.scale + self.location

    def get_config(self) -> dict:
        return {**super().get_config(), "robust": self.robust, "keep": self.keep}
