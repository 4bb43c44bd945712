"""The patches of the photographs."""

import numpy as np
import pytest

from keras_flows.data import images, photographs

pytest.importorskip("skimage", reason="no scikit-image: pip install 'keras-flows[data]'")


@pytest.mark.parametrize("size", [8, 32])
def test_patches_are_those_of_the_photographs_by_position(size):
    import skimage.data

    train = images(f"photographs/{size}x{size}", "train")
    assert train.event_shape == (size, size, 3) and train.bits == 8 and train.labels is None
    astronaut = skimage.data.astronaut()
    across = astronaut.shape[1] // size
    for i, (row, column) in {0: (0, 0), 1: (0, 1), across: (1, 0)}.items():
        there = astronaut[row * size :][:size, column * size :][:, :size]
        np.testing.assert_array_equal(train.pixels[i], there)
    sides = [(512, 512), (300, 451), (427, 640), (427, 640)]
    assert len(train) == sum((down // size) * (right // size) for down, right in sides)


def test_no_photograph_is_in_both_splits():
    train, test = (images("photographs/8x8", split).pixels for split in ("train", "test"))
    assert len(test) == (400 // 8) * (600 // 8) + (427 // 8) * (640 // 8)
    # All patches of one colour aside, which any two photographs can have.
    seen = {x.tobytes() for x in train if x.std(axis=(0, 1)).max() > 2}
    assert not seen & {x.tobytes() for x in test}


def test_the_larger_patches_are_the_default():
    assert images("photographs", "test").event_shape == (32, 32, 3)


def test_unknown_sizes_and_splits():
    with pytest.raises(ValueError, match="photographs/32x32"):
        images("photographs/64x64")
    with pytest.raises(ValueError, match=r"'validation'.*train, test"):
        photographs.patches("photographs", "validation")
