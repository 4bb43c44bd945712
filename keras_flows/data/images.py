"""Image data sets: integers in memory, and the batches of a training run.

The names are those of TensorFlow Datasets, and two sets that come with libraries and need no
download: `digits`, scikit-learn's 1,797 handwritten digits of 8×8 pixels, and `photographs`,
patches of six photographs in colour. Pixels stay integers: the dequantizer of a flow makes them
continuous.
"""

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from keras_flows.data import batches, image_sources
from keras_flows.data.batches import Seed

if TYPE_CHECKING:
    import tensorflow as tf


def images(
    source: str | Path | np.ndarray,
    split: str | None = None,
    data_dir: str | Path | None = None,
    bits: int | None = None,
    resize: int | tuple[int, int] | None = None,
    flip: bool = False,
    shift: float = 0.0,
    cache_dir: str | Path | None = None,
    labels: bool | ArrayLike = False,
) -> "Images":
    """Reads images of one size and one number of channels.

    The digits have 17 grey levels, 0 to 16, one more than four bits hold: they are data of 5 bits,
    of whose 32 levels 17 occur. Their split is this project's own: a fixed shuffle, the first 1,500
    for training and 297 for testing.

    Args:
        source: `"digits"`; `"photographs/8x8"` or `"photographs/32x32"` (see
            `keras_flows.data.photographs`); the name of a TensorFlow data set with a feature
            `image`, such as `"mnist"`, `"cifar10"`, `"celeb_a"` or `"downsampled_imagenet/32x32"`;
            a folder, whose PNG, JPEG and BMP files are read, those in subfolders too, in the order
            of their paths; or an integer array `(n, height, width, channels)`.
        split: A split of a data set, such as `"train"` (the default), `"test"` or `"train[:90%]"`
            (slices are for TensorFlow Datasets only); a subfolder of a folder. Arrays have none.
        data_dir: Where TensorFlow Datasets finds its data; `~/tensorflow_datasets` by default.
        bits: Bits of a pixel, the most significant ones; all by default: 5 for digits, else 8.
        resize: `(height, width)`, or one number for both. The largest central part of that aspect
            ratio is resized bilinearly, with antialiasing, and rounded. As stored by default.
        flip: Whether `Images.dataset` flips every image left to right with probability 1/2.
        shift: By what part of its height and width, at most, `Images.dataset` shifts every image,
            in whole pixels; the pixels of the edge are repeated.
        cache_dir: A folder to keep a TensorFlow data set in, decoded and resized, as one `.npy`
            file. It is read from the disk as needed, for data larger than the memory.
        labels: Whether to have the labels of a data set too, the context of a conditional flow:
            those of the digits, or the feature `label` of a TensorFlow data set. Or an array of
            integers from 0 on, one for every image, for those of a folder (in the order of their
            paths) or an array.

    Returns:
        The `Images`.

    Raises:
        FileNotFoundError: If the data set is not at `data_dir`, or a folder holds no images. The
            message has the command that fetches the data set.
        ImportError: If TensorFlow Datasets or scikit-learn is needed, and not installed.
        TypeError: If an argument is of the wrong type.
        ValueError: If there is no data set, split or folder of that name, an argument is out of
            range, the images do not have one size and number of channels, or there are no such
            labels.
    """
    size = _size(resize)
    if not 0.0 <= shift < 0.5:
        raise ValueError(f"shift must be in [0, 0.5), a part of the image, but it is {shift}.")
    depth = 5 if isinstance(source, str) and source == "digits" else 8
    bits = depth if bits is None else batches.integer("bits", bits, at_least=1)
    if bits > depth:
        raise ValueError(f"bits must be at most {depth} for these images, but it is {bits}.")
    stored = image_sources.read(source, split, data_dir, size, depth - bits, cache_dir, labels)
    values, classes = (None, None) if stored.labels is None else stored.labels
    return Images(stored.name, stored.pixels, bits, bool(flip), float(shift), values, classes)


def _size(resize):
    if resize is None:
        return None
    sides = resize if isinstance(resize, (tuple, list)) else (resize, resize)
    if len(sides) != 2:
        raise ValueError(f"resize is (height, width), or one number for both; got {resize!r}.")
    return tuple(batches.integer("resize", side, at_least=1) for side in sides)


@dataclass(frozen=True, eq=False)
class Images:
    """Images in memory, or in a file that is read as needed.

    Attributes:
        name: What they are, for people.
        pixels: uint8 array `(n, height, width, channels)`, levels from 0 to `2^bits - 1`.
        bits: Bits of a pixel.
        flip: Whether `dataset` flips images.
        shift: By what part of their size `dataset` shifts them, at most.
        labels: int32 array `(n,)`, the class of every image; None without labels.
        classes: How many classes the labels are of, those from 0 to `classes - 1`: as the data set
            says; for an array of labels, one more than the highest. None without labels.
    """

    name: str
    pixels: np.ndarray = field(repr=False)
    bits: int
    flip: bool = False
    shift: float = 0.0
    labels: np.ndarray | None = field(default=None, repr=False)
    classes: int | None = None

    @property
    def event_shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)`."""
        return self.pixels.shape[1:]

    def __len__(self) -> int:
        return len(self.pixels)

    def dataset(self, batch_size: int, steps: int, seed: Seed, start: int = 0) -> "tf.data.Dataset":
        """Shuffled, augmented training batches, the same ones for the same seed.

        Every epoch goes through all images in an order of its own, drawn from `(seed, epoch)`; a
        batch may span two epochs. Batch i is augmented by draws from `(seed, i)`. So a run that
        stopped after k batches goes on with `start=k` and sees what it would have seen.

        Args:
            batch_size: Images in a batch, at least 1.
            steps: Batches in the whole run, at least 1.
            seed: A nonnegative integer, or a tuple of them.
            start: Batches to leave out at the beginning, from 0 to `steps`.

        Returns:
            A `tf.data.Dataset` of `steps - start` uint8 tensors of shape
            `(batch_size, height, width, channels)`; with labels, of pairs of those and their
            labels, int32 `(batch_size,)`, as `fit` takes them.

        Raises:
            TypeError: If an argument is not an integer.
            ValueError: If an argument is out of range.
        """
        import tensorflow as tf

        n = len(self)

        # Two: a batch may span epochs.
        @functools.lru_cache(maxsize=2)
        def order(key, epoch):
            return batches.generator(*key, 0, epoch).permutation(n)

        def rows(key, step):
            epochs, places = np.divmod(np.arange(batch_size) + step * batch_size, n)
            parts = [order(key, int(e))[places[epochs == e]] for e in np.unique(epochs)]
            return np.concatenate(parts)

        def make(key, step):
            rng = batches.generator(*key, 1, step)
            return self._augmented(self.pixels[rows(key, step)], rng)

        run = (batch_size, steps, seed, start)
        pixels = batches.dataset(make, self.event_shape, "uint8", *run)
        labels = self.labels
        if labels is None:
            return pixels
        of_labels = batches.dataset(lambda *batch: labels[rows(*batch)], (), "int32", *run)
        return tf.data.Dataset.zip(pixels, of_labels)

    def _augmented(self, x, rng):
        if self.flip:
            flipped = rng.random(len(x)) < 0.5
            x[flipped] = x[flipped, :, ::-1]
        if self.shift:
            height, width, _ = self.event_shape
            y = _shifted_places(height, self.shift, len(x), rng)[:, :, None]
            across = _shifted_places(width, self.shift, len(x), rng)[:, None, :]
            x = x[np.arange(len(x))[:, None, None], y, across]
        return x


def _shifted_places(side, shift, n, rng):
    """Where the pixels along a side come from, `(n, side)`; over the edge, it is repeated."""
    offset = np.rint(rng.uniform(-shift * side, shift * side, n)).astype(int)
    return np.clip(np.arange(side) - offset[:, None], 0, side - 1)
