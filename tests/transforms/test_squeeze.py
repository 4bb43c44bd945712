"""Space to depth: the order of the channels, the inverse, the errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows import transforms


def images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("factor", [2, 3])
def test_every_pixel_goes_where_the_equation_says(factor):
    x = images(2, 2 * factor, 3 * factor, 5)
    squeeze = transforms.Squeeze(factor)
    squeeze.build((None, *x.shape[1:]))
    z, log_det = squeeze.encode(x)
    assert z.shape == (2, 2, 3, 5 * factor**2)
    np.testing.assert_array_equal(log_det, [0.0, 0.0])
    for row, column, c, dy, dx in np.ndindex(2, 3, 5, factor, factor):
        np.testing.assert_array_equal(
            z[:, row, column, (c * factor + dy) * factor + dx],
            x[:, row * factor + dy, column * factor + dx, c],
        )
    np.testing.assert_array_equal(squeeze.decode(z), x)


def test_shapes_and_configuration():
    squeeze = transforms.Squeeze()
    assert squeeze.encoded_shape((4, 6, 3)) == (2, 3, 12)
    assert squeeze.compute_output_shape((None, 4, 6, 3)) == (None, 2, 3, 12)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(squeeze))
    assert copy.get_config() == squeeze.get_config() and copy.factor == 2


def test_any_batch_size_in_one_graph():
    squeeze = transforms.Squeeze()
    squeeze.build((None, 4, 6, 3))

    @tf.function(input_signature=[tf.TensorSpec((None, 4, 6, 3))])
    def round_trip(x):
        return squeeze.decode(squeeze.encode(x)[0])

    for n in (1, 3):
        np.testing.assert_array_equal(round_trip(images(n, 4, 6, 3)), images(n, 4, 6, 3))


def test_errors():
    with pytest.raises(ValueError, match="factor must be at least 2; got 1"):
        transforms.Squeeze(1)
    with pytest.raises(ValueError, match=r"divisible by 2; got \(4, 5, 3\)"):
        transforms.Squeeze().build((None, 4, 5, 3))
    with pytest.raises(ValueError, match=r"divisible by 3; got \(4, 6, 3\)"):
        transforms.Squeeze(3).build((None, 4, 6, 3))
    with pytest.raises(ValueError, match=r"takes images.*got \(6,\)"):
        transforms.Squeeze().build((None, 6))
