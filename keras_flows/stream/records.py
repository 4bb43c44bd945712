"""TFRecord files of `tf.train.Example`, read some rows at a time. TensorFlow reads them."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_flows.data import sources
from keras_flows.stream.stored import Stored

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".tfrecord", ".tfrecords", ".tfrecord.gz", ".tfrecords.gz")
# Features that hold an example as a whole, instead of one number of it.
WHOLE = ("x", "image")


class Records(Stored):
    """The examples of a TFRecord file.

    Each number of a row is a feature of its own, with one value and the name of its column; or the
    row is one feature `x`, a list of numbers in C order; or an image, PNG or JPEG, `image`. Other
    features beside `x` or `image` are left alone.

    Args:
        path: The file; compressed by gzip if its name ends in .gz.

    Attributes:
        whole: `"x"` or `"image"` where there is such a feature, else None.

    Raises:
        ImportError: If TensorFlow is not installed.
        ValueError: If the file is empty, or its first record is no such example.
    """

    rows = None

    def __init__(self, path: Path):
        try:
            import tensorflow as tf
        except ImportError as error:
            raise ImportError(
                f"{path}: TFRecord files are read by TensorFlow, which is not installed "
                f"({error}). Install keras-flows, or convert the file to Parquet."
            ) from error
        self.name, self.files = str(path), [path]
        first = next(self._raw(0), None)
        if first is None:
            raise ValueError(f"{path} is empty: it holds no rows.")
        try:
            features = tf.train.Example.FromString(first).features.feature
        except Exception as error:  # protobuf's own kinds
            raise ValueError(f"{path}: its records are no tf.train.Example: {error}") from error
        if not features:
            raise ValueError(f"{path}: its records are no tf.train.Example with features.")
        self.whole = next((name for name in WHOLE if name in features), None)
        chosen = [self.whole] if self.whole else sorted(features)
        self._kinds = {name: features[name].WhichOneof("kind") for name in chosen}
        # Of a list of numbers, how many it has.
        self._size = 1
        if self.whole == "x":
            listed = features["x"]
            self._size = len(listed.float_list.value) + len(listed.int64_list.value)
        self.names = [str(i) for i in range(self._size)] if self.whole == "x" else chosen
        sources.checked_names(self.name, self.names)

    def _raw(self, start):
        """The records from one on, bytes."""
        import tensorflow as tf

        kind = "GZIP" if self.name.endswith(".gz") else ""
        try:
            records = tf.data.TFRecordDataset(self.name, kind).skip(start)
            yield from records.as_numpy_iterator()
        except (tf.errors.DataLossError, tf.errors.OpError) as error:
            raise ValueError(f"{self.name} is a damaged TFRecord file: {error.message}") from error

    def _parsed(self, start, size):
        """The features of the records from one on, in batches: arrays by name."""
        import tensorflow as tf

        types = {"float_list": tf.float32, "int64_list": tf.int64, "bytes_list": tf.string}
        lengths = {name: (self._size,) if name == "x" else () for name in self._kinds}
        wanted = {
            name: tf.io.FixedLenFeature(lengths[name], types[kind or "float_list"])
            for name, kind in self._kinds.items()
        }
        raw = self._raw(start)
        while records := list(itertools.islice(raw, size)):
            try:
                parsed = tf.io.parse_example(records, wanted)
            except tf.errors.InvalidArgumentError as error:
                raise ValueError(
                    f"{self.name}: its records do not all have the features of the first: "
                    f"{', '.join(self._kinds)}, of one kind and length each: {error.message}"
                ) from error
            yield {name: values.numpy() for name, values in parsed.items()}

    def frames(
        self, start: int, size: int, columns: Sequence[str] | None = None
    ) -> Iterator["pd.DataFrame"]:
        import pandas as pd

        for parsed in self._parsed(start, size):
            if self.whole == "x":
                frame = pd.DataFrame(parsed["x"], columns=self.names)
            else:
                frame = pd.DataFrame({name: _text(values) for name, values in parsed.items()})
            yield frame if columns is None else frame[list(columns)]

    def images(self, start: int) -> Iterator[tuple[str, bytes]]:
        """The encoded images from one on, each with what to call it."""
        number = itertools.count(start)
        for parsed in self._parsed(start, 256):
            for content in parsed["image"]:
                yield f"{self.name}, record {next(number)}", content


def _text(values: np.ndarray) -> np.ndarray:
    """Bytes as text; numbers as they are."""
    if values.dtype != object:
        return values
    return np.array([value.decode("utf-8", "replace") for value in values], object)
