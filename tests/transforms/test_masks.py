"""Masks of images and tokens: what passes, and what they are not for."""

import numpy as np
import pytest
import tensorflow as tf

from keras_flows.transforms.masks import (
    AlternateColumns,
    ChannelHalves,
    Checkerboard,
    HalfTheTokens,
)

X = np.arange(2 * 3 * 4 * 2, dtype="float32").reshape(2, 3, 4, 2)
TOKENS = np.arange(2 * 4 * 4, dtype="float32").reshape(2, 4, 4)

MASKS = [
    (Checkerboard(), X),
    (Checkerboard(True), X),
    (AlternateColumns(), X),
    (AlternateColumns(True), X),
    (ChannelHalves(True), X),
    (HalfTheTokens([3, 1, 0, 2]), TOKENS),
]


@pytest.mark.parametrize(("mask", "x"), MASKS)
def test_parts_of_the_said_shapes_make_the_whole(mask, x):
    seen, changed = mask.split(tf.constant(x))
    assert tuple(seen.shape[1:]) == mask.seen_shape(x.shape[1:])
    assert tuple(changed.shape[1:]) == mask.changed_shape(x.shape[1:])
    np.testing.assert_array_equal(mask.join(seen, changed), x)
    same = type(mask).from_config(mask.get_config())
    np.testing.assert_array_equal(same.split(tf.constant(x))[1], changed)
    assert changed.shape[1:].num_elements() == x[0].size // 2


def test_what_passes():
    i, j = np.indices((3, 4))
    passing = ((i + j) % 2 == 1)[..., None]
    np.testing.assert_array_equal(Checkerboard().split(tf.constant(X))[0], X * passing)
    np.testing.assert_array_equal(Checkerboard(True).split(tf.constant(X))[0], X * ~passing)
    np.testing.assert_array_equal(AlternateColumns().split(tf.constant(X))[0], X[:, :, ::2])
    np.testing.assert_array_equal(AlternateColumns(True).split(tf.constant(X))[0], X[:, :, 1::2])
    np.testing.assert_array_equal(ChannelHalves(True).split(tf.constant(X))[0], X[..., 1:])
    seen, changed = HalfTheTokens([3, 1, 0, 2]).split(tf.constant(TOKENS))
    np.testing.assert_array_equal(seen, TOKENS[:, [3, 1]].reshape(2, 4, 2))
    np.testing.assert_array_equal(changed, TOKENS[:, [0, 2]].reshape(2, 4, 2))


def test_parameters_of_a_checkerboard_are_those_made_at_its_pixels():
    made = tf.constant(np.concatenate([X, X + 0.5], axis=-1))
    parameters = Checkerboard().parameters(made, 2)
    assert parameters.shape == (2, 3, 2, 2, 2)
    # Row 0 changes in columns 0 and 2, row 1 in 1 and 3; channel j has parameters 2 j and 2 j + 1.
    np.testing.assert_array_equal(parameters[:, 0, 1].numpy().reshape(2, 4), made[:, 0, 2])
    np.testing.assert_array_equal(parameters[:, 1, 0].numpy().reshape(2, 4), made[:, 1, 1])


@pytest.mark.parametrize(
    ("mask", "shape", "message"),
    [
        (Checkerboard(), (4, 3, 1), "an even width; got"),
        (AlternateColumns(), (4, 3, 1), "an even width; got"),
        (Checkerboard(), (4,), "for images"),
        (HalfTheTokens([1, 0]), (4, 4), "for 2 tokens of an even size"),
        (HalfTheTokens([1, 0]), (2, 3), "for 2 tokens of an even size"),
    ],
)
def test_events_that_cannot_be_split(mask, shape, message):
    with pytest.raises(ValueError, match=message):
        mask.seen_shape(shape)


def test_wrong_arguments_are_errors():
    for kind in (Checkerboard, AlternateColumns, ChannelHalves):
        with pytest.raises(ValueError, match="reverse must be True or False"):
            kind("yes")
    for order in ([0, 1, 2], [0, 0], [1, 2]):
        with pytest.raises(ValueError, match="a permutation of 0 … n-1, n even"):
            HalfTheTokens(order)
