"""Import of published flows on images, from state dicts written here under the published names."""

import keras
import numpy as np
import pytest

import keras_flows as kf
from keras_flows.numerics.log_det import PowerSeries, Unbiased
from tests.layers.lipschitz.test_spectral_conv import matrix

# The options of the training script, with what its flow is given beside them.
PLAIN = {
    "input_size": [64, 1, 4, 4],
    "init_layer": "LogitTransform(0.05)",
    "nblocks": "1-1",
    "act": "swish",
    "coeff": 0.9,
    "n_lipschitz_iters": None,
    "sn_tol": 1e-3,
    "kernels": "3-1-3",
    "idim": 3,
    "fc_end": True,
    "fc_idim": 5,
    "actnorm": True,
    "preact": True,
    "first_resblock": True,
    "factor_out": False,
    "n_power_series": None,
    "n_dist": "geometric",
    "n_exact_terms": 3,
}
DENSE = {
    **PLAIN,
    "densenet": True,
    "densenet_depth": 1,
    "densenet_growth": 4,
    "fc_densenet_growth": 4,
    "learnable_concat": True,
    "lip_coeff": 0.98,
    "act": "CLipSwish",
}


class State:
    """A state dict under the published names, and what the published flow computes with it.

    Images are channels first, and a convolution is its matrix on flat images.
    """

    def __init__(self, seed=0):
        self.random, self.arrays = np.random.default_rng(seed), {}

    def draw(self, name, *shape):
        self.arrays[name] = self.random.normal(size=shape)
        return self.arrays[name]

    def activation(self, name, x):
        beta = np.log1p(np.exp(self.draw(f"{name}.beta", 1)))
        return x / (1.0 + np.exp(-beta * x)) / 1.1

    def linear(self, name, x, units):
        """On vectors `(batch, features)`."""
        return self._apply(name, x, self.draw(f"{name}.weight", units, x.shape[1]), units)

    def convolution(self, name, x, filters, size):
        """On images `(batch, channels, height, width)`."""
        batch, channels, height, width = x.shape
        weight = self.draw(f"{name}.weight", filters, channels, size, size)
        self.arrays[f"{name}.initialized"] = np.array(1)
        self.arrays[f"{name}.spatial_dims"] = np.array([height, width])
        full = matrix(np.transpose(weight, (2, 3, 1, 0)), height, width)
        # Pixels there vary slowest, channels here.
        full = full.reshape(height * width, filters, height * width, channels)
        full = full.transpose(1, 0, 3, 2).reshape(filters * height * width, -1)
        # The vectors of a 1x1 convolution are those of its matrix.
        norm = self._vectors(name, weight[:, :, 0, 0] if size == 1 else full)
        bias = np.repeat(self.draw(f"{name}.bias", filters), height * width)
        y = x.reshape(batch, -1) @ full.T / max(1.0, norm / PLAIN["coeff"]) + bias
        return y.reshape(batch, filters, height, width)

    def _apply(self, name, x, weight, units):
        norm = self._vectors(name, weight)
        bias = self.draw(f"{name}.bias", units)
        return x @ weight.T / max(1.0, norm / PLAIN["coeff"]) + bias

    def _vectors(self, name, weight):
        left, values, right = np.linalg.svd(weight)
        self.arrays[f"{name}.u"], self.arrays[f"{name}.v"] = left[:, 0], right[0]
        self.arrays[f"{name}.scale"] = values[0]
        return values[0]

    def actnorm(self, name, x):
        shape = (1, -1) + (1,) * (x.ndim - 2)
        weight, bias = (
            self.draw(f"{name}.weight", x.shape[1]) / 5,
            self.draw(f"{name}.bias", x.shape[1]),
        )
        self.arrays[f"{name}.weight"] = weight
        self.arrays[f"{name}.initialized"] = np.array(1)
        return (x + bias.reshape(shape)) * np.exp(weight.reshape(shape))


def plain_encode(state, x):
    """The latent of the published flow of `PLAIN`, `(batch, channels, height, width)`."""
    s = 0.05 + 0.9 * x
    x = state.actnorm("transforms.0.chain.1", np.log(s) - np.log(1.0 - s))
    name = "transforms.0.chain.2.nnet"
    h = state.convolution(f"{name}.0", x, 3, 3)
    h = state.convolution(f"{name}.2", state.activation(f"{name}.1", h), 3, 1)
    x = x + state.convolution(f"{name}.4", state.activation(f"{name}.3", h), 1, 3)
    x = state.actnorm("transforms.0.chain.3", x)
    # Squeezed, a 2x2 square in the order (dy, dx) inside a channel.
    x = x.reshape(-1, 1, 2, 2, 2, 2).transpose(0, 1, 3, 5, 2, 4).reshape(-1, 4, 2, 2)
    name = "transforms.1.chain.0.nnet"
    h = state.convolution(f"{name}.1", state.activation(f"{name}.0", x), 3, 3)
    h = state.convolution(f"{name}.3", state.activation(f"{name}.2", h), 3, 1)
    x = x + state.convolution(f"{name}.5", state.activation(f"{name}.4", h), 4, 3)
    x = state.actnorm("transforms.1.chain.1", x).reshape(len(x), -1)
    for k in (2, 4, 6, 8):
        name, h = f"transforms.1.chain.{k}.nnet.nnet", x
        for i, units in ((1, 5), (3, 5), (5, 16)):
            h = state.linear(f"{name}.{i}", state.activation(f"{name}.{i - 1}", h), units)
        x = state.actnorm(f"transforms.1.chain.{k + 1}.fc_module", x + h)
    return x.reshape(-1, 4, 2, 2)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).uniform(size=(3, 1, 4, 4))


@pytest.fixture(scope="module")
def plain(images):
    state = State()
    z = plain_encode(state, images)
    return state.arrays, np.moveaxis(z, 1, -1).reshape(len(z), -1)


def test_an_imported_residual_flow_computes_what_was_published(written, plain, images):
    arrays, z = plain
    flow = kf.zoo.import_checkpoint(written(arrays), PLAIN, dtype="float64")
    assert type(flow) is kf.models.ResidualFlow
    x = np.moveaxis(images, 1, -1)
    np.testing.assert_allclose(flow.encode(x, seed=0), z, rtol=1e-9, atol=1e-11)


def test_options_reach_the_flow(written, plain, images):
    arrays, z = plain
    flow = kf.zoo.import_checkpoint(written(arrays), {**PLAIN, "nbits": 5})
    estimator = flow.blocks[0].log_det
    assert isinstance(estimator, Unbiased) and estimator.distribution == "geometric"
    assert estimator.exact_terms == (3, 20)
    assert flow.likelihood == "lower_bound" and flow.transform.dequantizes
    config = flow.get_config()
    assert config["power_iterations"] == "tolerance" and config["bits"] == 5
    # Integers now: with the noise that leads to the same numbers, the same latent.
    x = np.moveaxis(images, 1, -1) * 32.0
    draws = [x - np.floor(x)]
    for block in flow.blocks:
        draws += [np.ones((3, *block.event_shape)), 0.5]
    np.testing.assert_allclose(flow.encode(np.floor(x), noise=draws), z, rtol=1e-3, atol=1e-4)
    other = {**PLAIN, "n_power_series": 7, "n_lipschitz_iters": 4}
    flow = kf.zoo.import_checkpoint(written(arrays), other)
    assert isinstance(flow.blocks[0].log_det, PowerSeries) and flow.blocks[0].log_det.terms == 7
    assert flow.get_config()["power_iterations"] == 4


def test_a_flow_comes_back_through_its_own_configuration(written, plain, images):
    arrays, z = plain
    flow = kf.zoo.import_checkpoint(written(arrays), PLAIN)
    config = keras.saving.serialize_keras_object(flow)
    copy = kf.zoo.import_checkpoint(written(arrays), config, dtype="float64")
    np.testing.assert_allclose(copy.encode(np.moveaxis(images, 1, -1), seed=0), z, rtol=1e-9)


def test_all_that_does_not_fit_is_one_error(written, plain):
    arrays = dict(plain[0])
    arrays["transforms.0.chain.2.nnet.0.weight"] = np.zeros((3, 3, 1, 3))
    del arrays["transforms.1.chain.3.fc_module.bias"]
    arrays["transforms.1.chain.9.extra"] = np.zeros(2)
    with pytest.raises(ValueError, match="does not fit the ResidualFlow") as error:
        kf.zoo.import_checkpoint(written(arrays), PLAIN)
    assert sorted(map(str.strip, str(error.value).splitlines()[1:])) == [
        "missing: transforms.1.chain.3.fc_module.bias (16,)",
        "shape: transforms.0.chain.2.nnet.0.weight (3, 3, 1, 3), needed (3, 1, 3, 3)",
        "unknown: transforms.1.chain.9.extra (2,)",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"factor_out": True}, "factor_out True"),
        ({"act": "maxmin"}, "activation 'maxmin'"),
        ({"kernels": "3-3"}, "kernels '3-3'"),
        ({"vnorms": "222f"}, "vnorms '222f'"),
        ({"init_layer": "None"}, "init_layer 'None'"),
        ({"sn_tol": 1e-2, "preact": False}, r"preact False .*; sn_tol 0\.01"),
    ],
)
def test_configurations_that_are_not_supported(written, plain, change, message):
    with pytest.raises(ValueError, match=message):
        kf.zoo.import_checkpoint(written(plain[0]), {**PLAIN, **change})


@pytest.mark.parametrize(
    ("config", "name"), [(PLAIN, "idim"), (DENSE, "densenet_growth"), (DENSE, "init_layer")]
)
def test_a_missing_option_is_named(written, plain, config, name):
    lacking = {key: value for key, value in config.items() if key != name}
    with pytest.raises(ValueError, match=f"lacks {'intermediate_dim' if name == 'idim' else name}"):
        kf.zoo.import_checkpoint(written(plain[0]), lacking)
