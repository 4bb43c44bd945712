import numpy as np
import pytest

from keras_flows.layers.coupling.dense import Linear
from keras_flows.layers.coupling.padded_convolution import MaskedConv


def _linear():
    mask = np.random.default_rng(0).integers(0, 2, (5, 4)).astype("float64")
    return Linear(4, mask=mask, dtype="float64"), (None, 5)


def _conv():
    layer = MaskedConv(3, np.array([0, 1]), np.array([0, 1, 0]), True, dtype="float64")
    return layer, (None, 6, 6, 2)


@pytest.mark.parametrize("make", [_linear, _conv])
def test_masked_weights_are_zero_and_play_no_part(make):
    layer, shape = make()
    layer.build(shape)
    kernel = layer.kernel.numpy()
    assert (kernel[layer.mask == 0] == 0).all() and (kernel[layer.mask == 1] != 0).all()
    x = np.random.default_rng(1).standard_normal((2, *shape[1:]))
    before = layer(x).numpy()
    layer.kernel.assign(kernel + (1 - layer.mask))
    np.testing.assert_array_equal(layer(x), before)
