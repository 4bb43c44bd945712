"""The Fourier features of integers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows import layers
from keras_flows.layers.coupling.fourier_features import count, fourier_features


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_they_are_cosines_and_sines_of_periods_of_powers_of_two(bits):
    levels = np.arange(2**bits)
    v = np.stack([levels, levels[::-1]], axis=-1)[:, None, None]
    seen = np.asarray(fourier_features(tf.constant(2 * v / (2**bits - 1) - 1.0), bits))
    assert seen.shape == (2**bits, 1, 1, 2 * count(bits))
    turns = [np.exp(2j * np.pi * v / 2**k) for k in range(1, bits + 1)]
    waves = [part for turn in turns for part in (turn.real, turn.imag)]
    del waves[1]  # the sine at the period 2
    expected = np.concatenate([2 * v / (2**bits - 1) - 1, *waves], axis=-1)
    np.testing.assert_allclose(seen, expected, atol=1e-12)
    # Parity tells neighbours apart.
    assert (np.abs(np.diff(seen[:, 0, 0, 2])) > 1.99).all()


def test_without_bits_the_input_is_as_it_was():
    x = tf.ones((1, 2, 2, 3))
    assert fourier_features(x, None) is x
    assert count(None) == 1


@pytest.mark.parametrize(
    ("network", "argument"),
    [
        (lambda bits: layers.CouplingNetwork(2, 2, [], fourier_bits=bits), 0),
        (lambda bits: layers.MaskedConvNetwork((2, 2, 1), 2, 2, 1, fourier_bits=bits), 17),
        (lambda flag: layers.StreamNetwork((2, 2, 1), 2, 2, 1, 1, fourier_features=flag), 8),
    ],
)
def test_bad_arguments(network, argument):
    with pytest.raises(ValueError, match=r"bits must be an integer|fourier_features must be"):
        network(argument)


@pytest.mark.parametrize(
    "network",
    [
        lambda: layers.CouplingNetwork(2, 2, [], fourier_bits=3, dtype="float64"),
        lambda: layers.MaskedConvNetwork((2, 2, 2), 2, 2, 1, 2, 3, fourier_bits=3, dtype="float64"),
        lambda: layers.StreamNetwork(
            (2, 2, 1), 2, 2, 1, 1, 3, fourier_features=True, dtype="float64"
        ),
    ],
)
def test_the_configuration_keeps_them(network):
    keras.utils.set_random_seed(0)
    made = network()
    again = type(made).from_config(made.get_config())
    channels = 1 if isinstance(made, layers.StreamNetwork) else 2
    for net in (made, again):
        net.build((None, 2, 2, channels))
        for i, weight in enumerate(net.weights):
            weight.assign(np.random.default_rng(i).normal(size=weight.shape))
    x = tf.constant(np.linspace(-1, 1, 4 * channels).reshape(1, 2, 2, channels))
    np.testing.assert_array_equal(made(x), again(x))
    assert any(
        2 * 3 * channels in weight.shape[2:3] or 7 in weight.shape for weight in made.weights
    )
