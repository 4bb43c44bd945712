"""Image data sets: integers in memory, and the batches of a training run.

Longer than other files: every source of images, on the one way to arrays of one size.

The names are those of TensorFlow Datasets, and `digits`: scikit-learn's 1,797 handwritten digits
of 8×8 pixels, which come with that library and need no download. Pixels stay integers: the
dequantizer of a flow makes them continuous.
"""

import functools
import itertools
import os
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_flows import checks
from keras_flows.data import batches
from keras_flows.data.batches import Seed

if TYPE_CHECKING:
    import tensorflow as tf

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
_DIGITS_TRAIN = 1500


def images(
    source: str | Path | np.ndarray,
    split: str | None = None,
    data_dir: str | Path | None = None,
    bits: int | None = None,
    resize: int | tuple[int, int] | None = None,
    flip: bool = False,
    shift: float = 0.0,
    cache_dir: str | Path | None = None,
) -> "Images":
    """Reads images of one size and one number of channels.

    The digits have 17 grey levels, 0 to 16, one more than four bits hold: they are data of 5 bits,
    of whose 32 levels 17 occur. Their split is this project's own: a fixed shuffle, the first 1,500
    for training and 297 for testing.

    Args:
        source: `"digits"`; the name of a TensorFlow data set with a feature `image`, such as
            `"mnist"`, `"cifar10"`, `"celeb_a"` or `"downsampled_imagenet/32x32"`; a folder, whose
            PNG, JPEG and BMP files are read, those in subfolders too, in the order of their paths;
            or an integer array `(n, height, width, channels)`.
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

    Returns:
        The `Images`.

    Raises:
        FileNotFoundError: If the data set is not at `data_dir`, or a folder holds no images. The
            message has the command that fetches the data set.
        ImportError: If TensorFlow Datasets or scikit-learn is needed, and not installed.
        TypeError: If an argument is of the wrong type.
        ValueError: If there is no data set, split or folder of that name, an argument is out of
            range, or the images do not have one size and number of channels.
    """
    size = _size(resize)
    if not 0.0 <= shift < 0.5:
        raise ValueError(f"shift must be in [0, 0.5), a part of the image, but it is {shift}.")
    depth = 5 if isinstance(source, str) and source == "digits" else 8
    bits = depth if bits is None else batches.integer("bits", bits, at_least=1)
    if bits > depth:
        raise ValueError(f"bits must be at most {depth} for these images, but it is {bits}.")
    drop = depth - bits

    if isinstance(source, str) and source == "digits":
        name, pixels = f"digits, {split or 'train'}", _collect(_digits(split or "train"), size)
    elif isinstance(source, (str, Path)) and _is_folder(source):
        folder = Path(source).expanduser() / (split or "")
        name, pixels = folder.name, _collect(_folder(folder), size, "Give a resize.")
    elif isinstance(source, str):
        name, pixels = _tfds(source, split or "train", data_dir, size, drop, cache_dir)
        drop = 0
    else:
        if split is not None:
            raise ValueError("An array has no splits: slice it, and leave split out.")
        name, pixels = "array", _collect(_array(source), size)
    if drop:
        pixels = pixels >> drop
    return Images(name, pixels, bits, flip=bool(flip), shift=float(shift))


@dataclass(frozen=True, eq=False)
class Images:
    """Images in memory, or in a file that is read as needed.

    Attributes:
        name: What they are, for people.
        pixels: uint8 array `(n, height, width, channels)`, levels from 0 to `2^bits - 1`.
        bits: Bits of a pixel.
        flip: Whether `dataset` flips images.
        shift: By what part of their size `dataset` shifts them, at most.
    """

    name: str
    pixels: np.ndarray = field(repr=False)
    bits: int
    flip: bool = False
    shift: float = 0.0

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
            `(batch_size, height, width, channels)`.

        Raises:
            TypeError: If an argument is not an integer.
            ValueError: If an argument is out of range.
        """
        n = len(self)

        # Two: a batch may span epochs.
        @functools.lru_cache(maxsize=2)
        def order(key, epoch):
            return batches.generator(*key, 0, epoch).permutation(n)

        def make(key, step):
            epochs, places = np.divmod(np.arange(batch_size) + step * batch_size, n)
            rows = [order(key, int(e))[places[epochs == e]] for e in np.unique(epochs)]
            rng = batches.generator(*key, 1, step)
            return self._augmented(self.pixels[np.concatenate(rows)], rng)

        return batches.dataset(make, self.event_shape, "uint8", batch_size, steps, seed, start)

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


# --------------------------------------------------------------------- sources


def _digits(split):
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "The digits come with scikit-learn: pip install 'keras-flows[data]'"
        ) from error
    parts = {"train": slice(_DIGITS_TRAIN), "test": slice(_DIGITS_TRAIN, None)}
    if split not in parts:
        raise ValueError(f"The digits have the splits {', '.join(parts)}; there is no {split!r}.")
    pixels = load_digits().images.astype(np.uint8)[..., None]
    return pixels[np.random.default_rng(0).permutation(len(pixels))[parts[split]]]


def _array(x):
    x = np.asarray(x)
    if x.ndim != 4 or 0 in x.shape:
        hint = " One channel is x[..., None]." if x.ndim == 3 else ""
        raise ValueError(
            f"Images are an array (n, height, width, channels), none of them 0; its shape is "
            f"{x.shape}.{hint}"
        )
    if x.dtype.kind not in "iu":
        raise ValueError(
            f"Images are integers from 0 to 255; the dtype of this array is {x.dtype}."
        )
    if x.min() < 0 or x.max() > 255:
        raise ValueError(f"Images are integers from 0 to 255; here from {x.min()} to {x.max()}.")
    return x.astype(np.uint8)


def _is_folder(source):
    """Whether a source is a folder; the name of a data set is one, whatever the folders here."""
    if isinstance(source, Path) or source.startswith(("/", "./", "../", "~")):
        if not Path(source).expanduser().is_dir():
            raise ValueError(f"There is no folder {source}.")
        return True
    return Path(source).is_dir() and source.split("/")[0] not in _import_tfds().list_builders(
        with_community_datasets=False
    )


def _folder(folder):
    import tensorflow as tf

    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}.")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise FileNotFoundError(f"{folder} holds no images; they end in {', '.join(_SUFFIXES)}.")

    def images():
        for path in paths:
            content = path.read_bytes()
            if content.startswith(b"\x89PNG") and content[24:25] == b"\x10":
                raise ValueError(f"{path} has 16 bits a channel; images of 8 bits are needed.")
            try:
                image = tf.io.decode_image(content, expand_animations=False)
            except tf.errors.InvalidArgumentError as error:
                raise ValueError(f"{path} cannot be read as an image: {error.message}") from error
            if image.shape[-1] not in (1, 3):
                raise ValueError(
                    f"{path} has {image.shape[-1]} channels; grey or colour images without "
                    "transparency are needed."
                )
            yield path, image.numpy()

    return _Stream(images, len(paths))


def _import_tfds():
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            "Data sets by name need TensorFlow Datasets: pip install 'keras-flows[data]'"
        ) from error
    return tfds


def _tfds(name, split, data_dir, size, drop, cache_dir):
    """The name and the pixels of a TensorFlow data set."""
    tfds = _import_tfds()
    known = [*tfds.list_builders(with_community_datasets=False), "digits"]
    if name.split("/")[0].split(":")[0] not in known:
        hint = checks.suggestion(name, known)
        raise ValueError(
            f"There is no image data set {name!r}, nor a folder of that name.{hint} The names are "
            "'digits' and those of TensorFlow Datasets: tensorflow.org/datasets/catalog"
        )
    where = None if data_dir is None else Path(data_dir).expanduser()
    try:
        builder = tfds.builder(name, data_dir=where)
    except ValueError as error:
        raise ValueError(f"TensorFlow Datasets has no {name!r}: {error}") from error
    features = dict(builder.info.features.items())
    feature = features.get("image")
    if not isinstance(feature, tfds.features.Image) or feature.np_dtype != np.uint8:
        raise ValueError(
            f"{name!r} has no feature 'image' with 8 bits a channel; its features are "
            f"{', '.join(features)}."
        )
    if not builder.is_prepared():
        option = "" if where is None else f", data_dir='{where}'"
        raise FileNotFoundError(
            f"{builder.info.full_name} is not at {builder.data_path}. Give the data_dir that holds "
            'it, or fetch it there with: python -c "import tensorflow_datasets as tfds; '
            f"tfds.builder('{name}'{option}).download_and_prepare()\""
        )
    try:
        count = builder.info.splits[split].num_examples
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"{builder.info.full_name} has no split {split!r}; it has "
            f"{', '.join(builder.info.splits)}, and slices such as 'train[:90%]'."
        ) from error
    if count == 0:
        raise ValueError(f"The split {split!r} of {builder.info.full_name} is empty.")

    def images():
        only = tfds.decode.PartialDecoding({"image": True})
        batches = builder.as_dataset(split=split, shuffle_files=False, decoders=only)
        for example in batches.as_numpy_iterator():
            yield name, example["image"]

    stream = _Stream(images, count)
    title = f"{builder.info.full_name}, {split}"
    if cache_dir is None:
        return title, _collect(stream, size, "Give a resize.", drop)
    shape = "stored" if size is None else f"{size[0]}x{size[1]}"
    file = f"{urllib.parse.quote(title, safe='')}-{shape}-{8 - drop}bits.npy"
    path = Path(cache_dir).expanduser() / file
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"partial-{os.getpid()}-{path.name}")
        _collect(stream, size, "Give a resize.", drop, partial)
        os.replace(partial, path)
    return title, np.load(path, mmap_mode="r")


# --------------------------------------------------------------------- one size


@dataclass(frozen=True)
class _Stream:
    """Images one by one with what to call them in an error, and how many there are."""

    images: Callable
    count: int


def _size(resize):
    if resize is None:
        return None
    sides = resize if isinstance(resize, (tuple, list)) else (resize, resize)
    if len(sides) != 2:
        raise ValueError(f"resize is (height, width), or one number for both; got {resize!r}.")
    return tuple(batches.integer("resize", side, at_least=1) for side in sides)


def _collect(source, size, remedy="", drop=0, path=None):
    """All images of a source in one array, resized, the lowest `drop` bits left out.

    The array is in a `.npy` file if there is a path.
    """
    if isinstance(source, np.ndarray):
        if size in (None, source.shape[1:3]):
            return source
        source = _Stream(functools.partial(enumerate, source), len(source))
    result, done = None, 0
    # In groups of one shape, which are resized at once.
    items = enumerate(source.images())
    for _, group in itertools.groupby(items, lambda item: (item[0] // 256, item[1][1].shape)):
        names, stored = zip(*(item for _, item in group), strict=True)
        group = _resized(np.stack(stored), size)
        if result is None:
            shape = (source.count, *group.shape[1:])
            if path is None:
                result = np.empty(shape, np.uint8)
            else:
                result = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        if group.shape[1:] != result.shape[1:]:
            raise ValueError(
                "The images must have one size and number of channels: image "
                f"{done} ({names[0]}) has the shape {group.shape[1:]}, the first "
                f"{result.shape[1:]}. {remedy}"
            )
        result[done : done + len(group)] = group >> drop
        done += len(group)
    if done != source.count:
        raise ValueError(f"There should be {source.count} images, but {done} could be read.")
    if path is not None:
        result.flush()
    return result


def _resized(x, size):
    """The central parts of the aspect ratio of `size`, resized to it; uint8 to uint8."""
    import tensorflow as tf

    if size is None or x.shape[1:3] == size:
        return x
    height, width = x.shape[1:3]
    scale = min(height / size[0], width / size[1])
    inner = [max(1, round(side * scale)) for side in size]
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    x = x[:, top : top + inner[0], left : left + inner[1]]
    smooth = tf.image.resize(x, size, method="bilinear", antialias=True).numpy()
    return np.clip(np.rint(smooth), 0, 255).astype(np.uint8)
