"""Half the channels to the latent: which half, the paths of the steps inside, the errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows import Flow
from keras_flows.transforms import Affine, Chain, FactorOut, Flatten, Logit, UniformDequantization


def built(inner, shape):
    step = FactorOut(inner, dtype="float64")
    step.build((None, *shape))
    return step


def images(*shape):
    return tf.constant(np.random.default_rng(0).normal(size=shape))


@pytest.mark.parametrize("channels", [2, 5])
def test_the_first_half_is_encoded_and_the_second_kept(channels):
    step = built(Affine(1.0, 2.0, dtype="float64"), (2, 3, channels))
    x = images(4, 2, 3, channels)
    z, log_det = step.encode(x)
    first = channels - channels // 2
    kept = np.reshape(x[..., first:], (4, -1))
    np.testing.assert_array_equal(z[:, : kept.shape[1]], kept)
    encoded = (x[..., :first] - 1.0) / 2.0
    np.testing.assert_allclose(z[:, kept.shape[1] :], np.reshape(encoded, (4, -1)))
    np.testing.assert_allclose(log_det, -6 * first * np.log(2.0))
    np.testing.assert_allclose(step.decode(z), x)
    assert step.encoded_shape((2, 3, channels)) == (6 * channels,)


def test_it_says_of_itself_what_the_inner_transform_says():
    inner = Chain([UniformDequantization(3), Logit()])
    step = built(inner, (2, 2, 4))
    assert (step.likelihood, step.dequantizes, step.bijective) == ("lower_bound", True, False)
    assert step.noise_size("encode") == inner.noise_size("encode") == 8
    assert step.noise_size("decode") == 0
    assert list(step.innermost()) == inner.steps


def test_paths_lead_to_the_steps_inside():
    inner = Chain([Affine(1.0, 2.0, dtype="float64"), Affine(0.0, 3.0, dtype="float64")])
    outer = Chain([Affine(0.5, dtype="float64"), FactorOut(inner, dtype="float64")])
    outer.build((None, 2, 2, 2))
    x = images(3, 2, 2, 2)
    z, log_det = outer.encode(x)
    steps = list(outer.encode_steps(x))
    paths = ["0/Affine", "1/0/0/Affine", "1/0/1/Affine", "1/FactorOut"]
    assert [path for path, *_ in steps] == paths
    np.testing.assert_allclose(steps[-1][1], z)
    np.testing.assert_allclose(sum(step[2] for step in steps), log_det)
    back = list(outer.decode_steps(z))
    assert [path for path, _ in back] == paths[::-1]
    # What a step inside is given is what the step before it made.
    np.testing.assert_allclose(back[0][1], steps[2][1])
    np.testing.assert_allclose(back[1][1], steps[1][1])
    np.testing.assert_allclose(back[-1][1], x)


def test_an_empty_inner_chain():
    step = built(Chain([]), (2, 2))
    x = images(3, 2, 2)
    z, log_det = step.encode(x)
    np.testing.assert_array_equal(log_det, 0.0)
    np.testing.assert_array_equal(step.decode(z), x)
    ((path, back),) = step.decode_steps(z)
    assert path == "FactorOut"
    np.testing.assert_array_equal(back, x)


def test_configuration():
    step = FactorOut(Chain([Affine(1.0, 2.0)]))
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(step))
    assert copy.get_config() == step.get_config()


def test_one_channel_is_an_error():
    with pytest.raises(ValueError, match=r"needs two channels or more.*got \(4, 4, 1\)"):
        FactorOut(Affine()).build((None, 4, 4, 1))


def test_a_flattened_image_has_its_channels_last():
    step = Flatten()
    step.build((None, 2, 3, 4))
    x = images(5, 2, 3, 4)
    z, log_det = step.encode(x)
    np.testing.assert_array_equal(z, np.reshape(x, (5, 24)))
    np.testing.assert_array_equal(log_det, np.zeros(5))
    np.testing.assert_array_equal(step.decode(z), x)
    assert Flow(Flatten(), (2, 3, 4)).latent_shape == (24,)
