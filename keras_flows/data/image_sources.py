"""Where images come from: data sets, folders and arrays, brought to one size; and their labels."""

import functools
import itertools
import os
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_flows import checks
from keras_flows.data import photographs, pictures

_DIGITS_TRAIN = 1500
_DIGITS_CLASSES = 10


class Labels(NamedTuple):
    """The classes of images.

    Attributes:
        values: int32 array `(n,)`, from 0 to `classes - 1`.
        classes: How many classes there are.
    """

    values: np.ndarray
    classes: int


class Stored(NamedTuple):
    """Images as a source has them, of one size.

    Attributes:
        name: What they are, for people.
        pixels: uint8 array `(n, height, width, channels)`.
        labels: Their `Labels`, None where none were asked for.
    """

    name: str
    pixels: np.ndarray
    labels: Labels | None


def read(
    source: Any,
    split: str | None,
    data_dir: str | Path | None,
    size: tuple[int, int] | None,
    drop: int,
    cache_dir: str | Path | None,
    labels: Any,
) -> Stored:
    """Reads all images of a source; the arguments are those of `keras_flows.data.images`.

    Args:
        source: See there, like `split`, `data_dir`, `cache_dir` and `labels`.
        split: See there.
        data_dir: See there.
        size: `(height, width)`, or None.
        drop: How many of the lowest bits of a pixel to leave out.
        cache_dir: See there.
        labels: See there.

    Returns:
        The images, and their labels.

    Raises:
        ValueError: If the source is none, or has no such labels; see there.
    """
    stored_labels = None
    if isinstance(source, str) and source == "digits":
        name = f"digits, {split or 'train'}"
        stored, stored_labels = _digits(split or "train")
        pixels = _collect(stored, size, drop=drop)
    elif photographs.is_photographs(source):
        name = f"{source}, {split or 'train'}"
        pixels = _collect(photographs.patches(source, split or "train"), size, drop=drop)
    elif isinstance(source, (str, Path)) and _is_folder(source):
        folder = Path(source).expanduser() / (split or "")
        name, pixels = folder.name, _collect(_folder(folder), size, "Give a resize.", drop)
    elif isinstance(source, str):
        split = split or "train"
        builder = _builder(source, split, data_dir)
        if labels is True:
            stored_labels = _tfds_labels(builder, split)
        name = f"{builder.info.full_name}, {split}"
        pixels = _tfds(builder, source, split, name, size, drop, cache_dir)
    else:
        if split is not None:
            raise ValueError("An array has no splits: slice it, and leave split out.")
        name, pixels = "array", _collect(_array(source), size, drop=drop)
    if labels is False:
        return Stored(name, pixels, None)
    if labels is not True:
        stored_labels = _given_labels(labels, len(pixels))
    if stored_labels is None:
        raise ValueError(
            f"{name!r} has no labels of its own: give an integer array, a label for every image."
        )
    return Stored(name, pixels, stored_labels)


def _given_labels(labels, n):
    """The `Labels` of an array."""
    values = np.asarray(labels)
    if values.dtype.kind not in "iu" or values.shape != (n,):
        raise ValueError(
            f"labels are True, for those of a data set, or an array of integers ({n},), one for "
            f"every image; got the dtype {values.dtype} and the shape {values.shape}."
        )
    if values.min() < 0:
        raise ValueError(f"Labels are integers from 0 on; got {values.min()}.")
    return Labels(values.astype(np.int32), int(values.max()) + 1)


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
    digits = load_digits()
    rows = np.random.default_rng(0).permutation(len(digits.target))[parts[split]]
    pixels = digits.images.astype(np.uint8)[rows, :, :, None]
    return pixels, Labels(digits.target[rows].astype(np.int32), _DIGITS_CLASSES)


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
    found = pictures.paths(folder)

    def images():
        for path in found:
            yield path, pictures.decoded(path, path.read_bytes())

    return _Stream(images, len(found))


def _import_tfds():
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            "Data sets by name need TensorFlow Datasets: pip install 'keras-flows[data]'"
        ) from error
    return tfds


def _builder(name, split, data_dir):
    """The builder of a TensorFlow data set that has images, such a split, and its data."""
    tfds = _import_tfds()
    known = [*tfds.list_builders(with_community_datasets=False), "digits", *photographs.SIZES]
    if name.split("/")[0].split(":")[0] not in known:
        hint = checks.suggestion(name, known)
        raise ValueError(
            f"There is no image data set {name!r}, nor a folder of that name.{hint} The names are "
            "'digits', 'photographs' and those of TensorFlow Datasets: "
            "tensorflow.org/datasets/catalog"
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
    return builder


def _examples(builder, split, feature):
    """One feature of all examples of a split, always in the same order."""
    only = _import_tfds().decode.PartialDecoding({feature: True})
    examples = builder.as_dataset(split=split, shuffle_files=False, decoders=only)
    return examples.map(lambda example: example[feature])


def _tfds_labels(builder, split):
    """The `Labels` of a TensorFlow data set; None where it has none."""
    feature = dict(builder.info.features.items()).get("label")
    if not isinstance(feature, _import_tfds().features.ClassLabel):
        return None
    # Without the images, whose decoding takes most of the time.
    parts = list(_examples(builder, split, "label").batch(10_000).as_numpy_iterator())
    return Labels(np.concatenate(parts).astype(np.int32), feature.num_classes)


def _tfds(builder, name, split, title, size, drop, cache_dir):
    """The pixels of a TensorFlow data set."""

    def images():
        for image in _examples(builder, split, "image").as_numpy_iterator():
            yield name, image

    stream = _Stream(images, builder.info.splits[split].num_examples)
    if cache_dir is None:
        return _collect(stream, size, "Give a resize.", drop)
    shape = "stored" if size is None else f"{size[0]}x{size[1]}"
    file = f"{urllib.parse.quote(title, safe='')}-{shape}-{8 - drop}bits.npy"
    path = Path(cache_dir).expanduser() / file
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"partial-{os.getpid()}-{path.name}")
        _collect(stream, size, "Give a resize.", drop, partial)
        os.replace(partial, path)
    return np.load(path, mmap_mode="r")


# --------------------------------------------------------------------- one size


@dataclass(frozen=True)
class _Stream:
    """Images one by one with what to call them in an error, and how many there are."""

    images: Callable
    count: int


def _collect(source, size, remedy="", drop=0, path=None):
    """All images of a source in one array, resized, the lowest `drop` bits left out.

    The array is in a `.npy` file if there is a path.
    """
    if isinstance(source, np.ndarray):
        if size in (None, source.shape[1:3]):
            return source >> drop
        source = _Stream(functools.partial(enumerate, source), len(source))
    result, done = None, 0
    # In groups of one shape, which are resized at once.
    items = enumerate(source.images())
    for _, group in itertools.groupby(items, lambda item: (item[0] // 256, item[1][1].shape)):
        names, stored = zip(*(item for _, item in group), strict=True)
        group = pictures.resized(np.stack(stored), size)
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
