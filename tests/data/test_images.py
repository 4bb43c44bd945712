"""Image data: sources, sizes and bits; batches that a resumed run sees again."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_flows.data import images
from tests.conftest import SHARED

MNIST = SHARED / "tfds"
mnist = pytest.mark.skipif(
    not (MNIST / "mnist").is_dir(),
    reason=f"no MNIST at {MNIST}: set KERAS_FLOWS_SHARED to the folder that holds tfds/mnist",
)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (10, 6, 8, 3), dtype=np.uint8)


def batches(data, *arguments, **options):
    return [batch.numpy() for batch in data.dataset(*arguments, **options)]


# Sources ------------------------------------------------------------------------------------------


def test_digits_are_all_there_once():
    from sklearn.datasets import load_digits

    train, test = images("digits"), images("digits", "test")
    assert (len(train), len(test)) == (1500, 297)
    assert train.event_shape == (8, 8, 1) and train.pixels.dtype == np.uint8
    together = np.concatenate([train.pixels, test.pixels]).reshape(-1, 64)
    stored = load_digits().data.astype(np.uint8)
    order = np.lexsort(together.T), np.lexsort(stored.T)
    np.testing.assert_array_equal(together[order[0]], stored[order[1]])
    # 17 grey levels take five bits.
    assert train.bits == 5 and train.pixels.max() == 16


@mnist
def test_mnist_and_its_cache(tmp_path):
    data = images("mnist", "test[:300]", data_dir=MNIST)
    assert data.event_shape == (28, 28, 1) and len(data) == 300 and "mnist" in data.name
    import tensorflow_datasets as tfds

    stored = tfds.load("mnist", split="test", data_dir=MNIST, download=False)
    for image, example in zip(data.pixels[:20], stored, strict=False):
        np.testing.assert_array_equal(image, example["image"])
    options = {"data_dir": MNIST, "resize": 32, "bits": 5}
    plain = images("mnist", "test[:300]", **options)
    for _ in range(2):  # written, then read
        cached = images("mnist", "test[:300]", **options, cache_dir=tmp_path)
        assert isinstance(cached.pixels, np.memmap)
        np.testing.assert_array_equal(cached.pixels, plain.pixels)
    one, other = (batches(dataclasses.replace(x, flip=True), 30, 2, 0) for x in (plain, cached))
    np.testing.assert_array_equal(one, other)
    (file,) = tmp_path.iterdir()
    np.save(file, np.zeros((2, 32, 32, 1), np.uint8))  # it is really read
    assert len(images("mnist", "test[:300]", **options, cache_dir=tmp_path)) == 2


def test_folder_of_images(pixels, tmp_path):
    for i, image in enumerate(pixels):
        path = tmp_path / ("train" if i < 7 else "test") / f"{i:02}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(tf.io.encode_png(image).numpy())
    (tmp_path / "notes.txt").write_text("not an image")
    np.testing.assert_array_equal(images(tmp_path, "train").pixels, pixels[:7])
    np.testing.assert_array_equal(images(str(tmp_path), split="test").pixels, pixels[7:])
    assert len(images(tmp_path)) == 10
    grey = tf.io.encode_png(pixels[0, :, :, :1]).numpy()
    (tmp_path / "test" / "grey.png").write_bytes(grey)
    with pytest.raises(ValueError, match=r"one size.*grey\.png.*\(6, 8, 1\).*\(6, 8, 3\)"):
        images(tmp_path, "test")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tf.io.encode_png(np.zeros((4, 4, 1), np.uint16)).numpy(), "16 bits"),
        (tf.io.encode_png(np.zeros((4, 4, 4), np.uint8)).numpy(), "4 channels"),
        (b"not a picture", "cannot be read"),
    ],
)
def test_files_that_are_no_such_images(tmp_path, content, message):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ValueError, match=rf"x\.png.*{message}"):
        images(tmp_path)


# Labels -------------------------------------------------------------------------------------------


def test_digits_have_their_labels():
    from sklearn.datasets import load_digits

    assert images("digits").labels is None and images("digits").classes is None
    parts = [images("digits", split, labels=True) for split in ("train", "test")]
    assert [x.classes for x in parts] == [10, 10] and parts[0].labels.dtype == np.int32
    stored = load_digits()
    label_of = {x.tobytes(): y for x, y in zip(stored.images, stored.target, strict=True)}
    for data in parts:
        pixels = data.pixels[..., 0].astype(stored.images.dtype)
        np.testing.assert_array_equal(data.labels, [label_of[x.tobytes()] for x in pixels])


@mnist
def test_mnist_has_its_labels_with_a_cache_too(tmp_path):
    import tensorflow_datasets as tfds

    stored = tfds.load("mnist", split="test[:300]", data_dir=MNIST, download=False)
    expected = [(int(x["label"]), x["image"].numpy().sum()) for x in stored]
    for cache_dir in (None, tmp_path, tmp_path):
        data = images("mnist", "test[:300]", MNIST, cache_dir=cache_dir, labels=True)
        assert data.classes == 10
        given = zip(data.labels, data.pixels.sum((1, 2, 3), int), strict=True)
        assert [(int(y), int(s)) for y, s in given] == [(y, int(s)) for y, s in expected]


def test_labels_of_an_array_are_given(pixels, tmp_path):
    labels = np.array([4, 0, 1, 1, 2, 0, 3, 4, 4, 0])
    data = images(pixels, labels=labels)
    np.testing.assert_array_equal(data.labels, labels)
    assert data.classes == 5
    (tmp_path / "x.png").write_bytes(tf.io.encode_png(pixels[0]).numpy())
    assert images(tmp_path, labels=[7]).labels == [7]
    for wrong, message in (
        (True, "no labels of its own"),
        (labels[:9], r"integers \(10,\).*shape \(9,\)"),
        (labels / 2, "float64"),
        (labels - 1, "from 0 on; got -1"),
        ("yes", "array of integers"),
    ):
        with pytest.raises(ValueError, match=message):
            images(pixels, labels=wrong)


def test_batches_have_the_labels_of_their_images(pixels):
    labels = np.arange(10)[::-1].copy()
    plain, data = (images(pixels, flip=True, labels=y) for y in (False, labels))
    seen = [(x.numpy(), y.numpy()) for x, y in data.dataset(4, 6, (3, 1))]
    np.testing.assert_array_equal([x for x, _ in seen], batches(plain, 4, 6, (3, 1)))
    for x, y in seen:
        for image, label in zip(x, y, strict=True):
            stored = pixels[labels.tolist().index(label)]
            assert (image == stored).all() or (image == stored[:, ::-1]).all()
    resumed = [y.numpy() for _, y in data.dataset(4, 6, (3, 1), start=2)]
    np.testing.assert_array_equal(resumed, [y for _, y in seen[2:]])
    assert len(data.dataset(4, 6, 0, start=2)) == 4


# Bits and sizes -----------------------------------------------------------------------------------


def test_bits_keep_the_most_significant(pixels):
    data = images(pixels, bits=3)
    np.testing.assert_array_equal(data.pixels, pixels // 32)
    assert data.bits == 3
    np.testing.assert_array_equal(images("digits", bits=4).pixels, images("digits").pixels // 2)


def test_resize_agrees_with_pillow():
    from PIL import Image

    smooth = np.random.default_rng(1).integers(0, 256, (3, 7, 5, 3), dtype=np.uint8)
    smooth = smooth.repeat(4, axis=1).repeat(4, axis=2)  # 28×20
    for size in ((32, 32), (12, 12), (14, 10)):
        mine = images(smooth, resize=size).pixels
        for image, x in zip(mine, smooth, strict=True):
            if size[0] == size[1]:
                x = x[4:24]  # the central square
            other = Image.fromarray(x).resize(size[::-1], Image.Resampling.BILINEAR)
            # Pillow rounds after each axis.
            assert np.abs(image.astype(int) - np.asarray(other)).max() <= 2


def test_resize_to_the_same_size_changes_nothing(pixels):
    np.testing.assert_array_equal(images(pixels, resize=(6, 8)).pixels, pixels)
    assert images(pixels, resize=4).event_shape == (4, 4, 3)


# Batches ------------------------------------------------------------------------------------------


def test_every_epoch_has_every_image_in_an_order_of_its_own(pixels):
    seen = np.concatenate(batches(images(pixels), 4, 5, 0))  # two epochs of 10
    assert seen.dtype == np.uint8 and seen.shape == (20, 6, 8, 3)
    place = [int(np.flatnonzero((pixels == x).all(axis=(1, 2, 3)))[0]) for x in seen]
    assert sorted(place[:10]) == sorted(place[10:]) == list(range(10))
    assert place[:10] != place[10:] and place[:10] != list(range(10))


def test_batches_larger_than_the_data(pixels):
    (batch,) = batches(images(pixels), 25, 1, 0)
    counts = [(batch == x).all(axis=(1, 2, 3)).sum() for x in pixels]
    assert sum(counts) == 25 and set(counts) == {2, 3}


def test_a_resumed_run_sees_the_same_batches(pixels):
    data = images(pixels, flip=True, shift=0.2)
    whole = batches(data, 4, 9, (3, 1))
    np.testing.assert_array_equal(batches(data, 4, 9, (3, 1), start=5), whole[5:])
    assert not np.array_equal(batches(data, 4, 9, (3, 2)), whole)
    assert len(data.dataset(4, 9, 0, start=2)) == 7
    np.testing.assert_array_equal(data.pixels, pixels)  # augmentation leaves them as they are


def test_half_of_the_images_are_flipped():
    image = np.arange(12, dtype=np.uint8).reshape(1, 3, 4, 1)
    x = np.concatenate(batches(images(image, flip=True), 100, 10, 0))
    flipped = (x == image[:, :, ::-1]).all(axis=(1, 2, 3))
    assert np.all(flipped | (x == image).all(axis=(1, 2, 3)))
    assert abs(flipped.mean() - 0.5) < 0.06  # four standard errors


def test_shifts_repeat_the_edge():
    image = np.random.default_rng(2).integers(0, 256, (1, 20, 30, 1), dtype=np.uint8)
    # Up to 1 of 20 rows and 1.5 of 30 columns.
    x = np.concatenate(batches(images(image, shift=0.05), 100, 4, 0))
    padded = np.pad(image[0, ..., 0], 2, mode="edge")
    reach = {"rows": (-1, 0, 1), "columns": (-2, -1, 0, 1, 2)}
    counts = {
        (dy, dx): int((x[..., 0] == padded[2 - dy : 22 - dy, 2 - dx : 32 - dx]).all((1, 2)).sum())
        for dy in reach["rows"]
        for dx in reach["columns"]
    }
    assert sum(counts.values()) == 400
    rows = [sum(counts[dy, dx] for dx in reach["columns"]) for dy in reach["rows"]]
    # Rounded from U(-1, 1): one quarter, one half, one quarter.
    np.testing.assert_allclose(np.array(rows) / 400, [0.25, 0.5, 0.25], atol=0.1)
    across = [sum(counts[dy, dx] for dy in reach["rows"]) for dx in reach["columns"]]
    np.testing.assert_allclose(np.array(across) / 400, [0, 1 / 3, 1 / 3, 1 / 3, 0], atol=0.1)


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("minst",), ValueError, "no image data set 'minst'.*mean 'mnist'"),
        (("digit",), ValueError, "mean 'digits'"),
        (("cifar10",), FileNotFoundError, r"cifar10/3.* is not at .*builder\('cifar10'"),
        (("mnist/no_such_config",), ValueError, "no 'mnist/no_such_config'"),
        (("imdb_reviews",), ValueError, "no feature 'image'.*features are text, label"),
        (("digits", "valid"), ValueError, "splits train, test; there is no 'valid'"),
        (("./no_such_folder",), ValueError, "no folder ./no_such_folder"),
        ((np.zeros((3, 4, 4), np.uint8),), ValueError, r"\(3, 4, 4\).*x\[\.\.\., None\]"),
        ((np.zeros((0, 4, 4, 1), np.uint8),), ValueError, r"\(0, 4, 4, 1\)"),
        ((np.zeros((3, 4, 4, 1)),), ValueError, "integers from 0 to 255.*float64"),
        ((np.full((3, 4, 4, 1), 256),), ValueError, "from 256 to 256"),
        ((np.zeros((3, 4, 4, 1), int), "train"), ValueError, "no splits"),
    ],
)
def test_sources_that_are_none(arguments, error, message, tmp_path):
    with pytest.raises(error, match=message):
        images(*arguments, data_dir=tmp_path)


def test_a_missing_data_set_comes_with_the_command_that_fetches_it(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    name = "downsampled_imagenet/32x32"
    with pytest.raises(FileNotFoundError) as missing:
        images(name, data_dir=tmp_path)
    command = str(missing.value).split("python -c ")[1]
    fetched = []
    monkeypatch.setattr(
        tfds.core.DatasetBuilder,
        "download_and_prepare",
        lambda self: fetched.append((self.info.full_name.rsplit("/", 1)[0], self.data_dir)),
    )
    exec(command.strip('"'), {})
    ((built, where),) = fetched
    assert built == name and str(where).startswith(str(tmp_path))


def test_folder_without_images(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no images"):
        images(tmp_path)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"bits": 9}, ValueError, "at most 8"),
        ({"bits": 0}, ValueError, "at least 1"),
        ({"bits": 2.5}, TypeError, "integer"),
        ({"resize": 0}, ValueError, "at least 1"),
        ({"resize": (1, 2, 3)}, ValueError, r"\(height, width\)"),
        ({"shift": 0.5}, ValueError, "shift"),
        ({"shift": float("nan")}, ValueError, "shift"),
    ],
)
def test_options_out_of_range(pixels, options, error, message):
    with pytest.raises(error, match=message):
        images(pixels, **options)


@mnist
def test_splits_that_are_none():
    with pytest.raises(ValueError, match="no split 'valid'; it has train, test"):
        images("mnist", "valid", data_dir=MNIST)
    with pytest.raises(ValueError, match="empty"):
        images("mnist", "train[5:5]", data_dir=MNIST)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((0, 1, 0), ValueError),
        ((1, 0, 0), ValueError),
        ((1, 2, 0, 3), ValueError),
        ((1, 2, -1), ValueError),
        ((1.5, 2, 0), TypeError),
    ],
)
def test_batches_out_of_range(pixels, arguments, error):
    with pytest.raises(error):
        images(pixels).dataset(*arguments)
