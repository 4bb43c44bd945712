"""Activations: their bound, their derivatives, their names."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows import layers
from tests.derivatives import check_products, check_second_order, jacobians, random

NAMES = ("lipswish", "clipswish", "leaky_lipswish", "relu", "elu", "tanh", "softplus")
# From a swish that is almost linear to one that is almost a ReLU.
BETAS = (-20.0, -5.0, -1.0, 0.0, 0.5, 1.0, 3.0, 10.0, 50.0)


def made(name, beta=None):
    layer = layers.activation(name, dtype="float64")
    layer.build((None, 3))
    if beta is not None and hasattr(layer, "beta"):
        layer.beta.assign([beta])
    return layer


@pytest.fixture(params=[*NAMES, "vouched"])
def activation(request):
    if request.param != "vouched":
        return made(request.param)
    layer = layers.VouchedActivation("log_sigmoid", dtype="float64")
    layer.build((None, 3))
    return layer


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("name", NAMES)
def test_at_most_1_lipschitz(name, beta):
    layer = made(name, beta)
    assert layer.lipschitz_bound() == 1.0
    # Fine enough for the steepest swish: its slope changes within 1 / softplus(beta).
    x = tf.constant(np.linspace(-20.0, 20.0, 40_001)[:, None])
    steepest = np.linalg.norm(jacobians(layer, x), axis=(1, 2)).max()
    # 1.004 is rounded: the constant of the concatenated swish is 1.00407.
    assert steepest <= 1.0 + (1e-4 if name == "clipswish" else 1e-12)
    # The bound is not idle: 1.1 and 1.004 are the norms that are divided out.
    if name in ("lipswish", "clipswish") and beta >= 0.0:
        assert steepest > 0.99


def test_lipswish_in_numbers():
    x = np.array([[-2.0, 0.0, 3.0]])
    beta = np.log1p(np.exp(0.5))
    expected = x / (1.0 + np.exp(-beta * x)) / 1.1
    np.testing.assert_allclose(made("lipswish")(x), expected, rtol=1e-14)
    flipped = -x / (1.0 + np.exp(beta * x)) / 1.1
    expected = np.concatenate([expected, flipped], axis=1) / 1.004
    np.testing.assert_allclose(made("clipswish")(x), expected, rtol=1e-14)


def test_leaky_lipswish_mixes():
    x = np.array([[-2.0, 0.0, 3.0]])
    layer = made("leaky_lipswish")
    share = 1.0 / (1.0 + np.exp(3.0))
    expected = share * x + (1.0 - share) * made("lipswish")(x).numpy()
    np.testing.assert_allclose(layer(x), expected, rtol=1e-14)


@pytest.mark.parametrize("name", ["relu", "elu", "tanh", "softplus"])
def test_values_are_those_of_keras(name):
    x = np.linspace(-30.0, 30.0, 121).reshape(-1, 1)
    expected = keras.activations.get(name)(tf.constant(x))
    np.testing.assert_allclose(made(name)(x), expected, rtol=1e-12, atol=1e-15)


def test_derivatives(activation):
    check_products(activation, random(5, 3))


def test_second_derivatives(activation):
    check_second_order(activation, random(5, 3))


def test_channels(activation):
    shape = activation.compute_output_shape((None, 4, 3))
    assert shape == (None, 4, 6 if isinstance(activation, layers.CLipSwish) else 3)
    assert activation(random(2, 4, 3)).shape == (2, *shape[1:])


def test_beta_is_trained_and_starts_at_one_half():
    for name in ("lipswish", "clipswish", "leaky_lipswish"):
        layer = made(name)
        assert any(weight is layer.beta for weight in layer.trainable_weights)
        np.testing.assert_array_equal(layer.beta, [0.5])


def test_a_layer_is_copied_with_its_arguments():
    given = layers.VouchedActivation("log_sigmoid")
    copy = layers.activation(given, dtype="float64")
    assert copy is not given
    assert copy.activation is given.activation
    assert copy.compute_dtype == "float64"


def test_vouched_activation_is_configured_by_name():
    layer = layers.VouchedActivation("log_sigmoid")
    config = keras.saving.serialize_keras_object(layer)
    assert config["config"]["activation"] == "log_sigmoid"
    copy = keras.saving.deserialize_keras_object(config)
    x = random(4, 3)
    np.testing.assert_array_equal(copy(x), layer(x))


def test_unknown_names():
    with pytest.raises(ValueError) as error:
        layers.activation("lipswich")
    message = str(error.value)
    assert message.startswith("Unknown activation 'lipswich'. Did you mean 'lipswish'? Known")
    assert all(name in message for name in NAMES)
    assert "VouchedActivation" in message
    with pytest.raises(ValueError, match=r"Unknown activation 'maxout'. Known names"):
        layers.activation("maxout")


@pytest.mark.parametrize("cls", [layers.LipSwish, layers.CLipSwish, layers.LeakyLipSwish])
def test_beta_starts_where_it_is_told(cls):
    layer = layers.activation(cls(beta=7.0))
    layer.build((None, 3))
    assert float(layer.beta[0]) == 7.0
    assert cls.from_config(layer.get_config()).get_config() == layer.get_config()


def test_a_name_may_have_arguments():
    layer = layers.activation({"class_name": "clipswish", "config": {"beta": 3.0}}, "float64")
    assert isinstance(layer, layers.CLipSwish) and layer.compute_dtype == "float64"
    layer.build((None, 3))
    np.testing.assert_array_equal(layer.beta, [3.0])
    with pytest.raises(ValueError, match="Unknown activation 'lipswich'"):
        layers.activation({"class_name": "lipswich", "config": {}})
