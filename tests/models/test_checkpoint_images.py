"""Import of published flows on images, from state dicts written here under the published names."""

import keras
import numpy as np
import pytest

import keras_flows as kf
from keras_flows.numerics.log_det import PowerSeries, Unbiased
from tests.layers.lipschitz.test_spectral_conv import matrix

# The options of the training script, with what its flow is given beside them.
PLAIN = {
    "input_size": [64, 1, 8, 8],
    "init_layer": "LogitTransform(0.05)",
    "nblocks": "1-1",
    "act": "swish",
    "coeff": 0.9,
    "n_lipschitz_iters": None,
    "sn_tol": 1e-3,
    "kernels": "3-1-3",
    "idim": 4,
    "fc_end": True,
    "fc_idim": 6,
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

    def __init__(self, config, seed=0):
        self.config, self.random, self.arrays = config, np.random.default_rng(seed), {}

    def draw(self, name, *shape):
        self.arrays[name] = self.random.normal(size=shape)
        return self.arrays[name]

    def activation(self, name, x):
        if self.config["act"] == "CLipSwish":
            both = np.concatenate([x, -x], axis=1)
            return self._swish(self.draw(f"{name}.swish.beta", 1), both) / 1.004
        return self._swish(self.draw(f"{name}.beta", 1), x)

    @staticmethod
    def _swish(beta, x):
        return x / (1.0 + np.exp(-np.log1p(np.exp(beta)) * x)) / 1.1

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

    def net(self, name, x, widths, apply, starts):
        """A plain network: linear maps with an activation between, and one first if it `starts`."""
        i = 0
        for k, width in enumerate(widths):
            if k or starts:
                x, i = self.activation(f"{name}.{i}", x), i + 1
            x, i = apply(f"{name}.{i}", x, width, k), i + 1
        return x

    def block(self, name, x, starts):
        """A residual block of convolutions, of 3, 1 and 3 pixels a side."""

        def apply(name, x, filters, k):
            return self.convolution(name, x, filters, (3, 1, 3)[k])

        filters = self.config["idim"] // (2 if self.config["act"] == "CLipSwish" else 1)
        return x + self.net(name, x, (filters, filters, x.shape[1]), apply, starts)

    def vector_block(self, name, x):
        """A residual block of matrices."""
        size = self.config["fc_idim"] // (2 if self.config["act"] == "CLipSwish" else 1)
        widths = (size, size, x.shape[1])
        return x + self.net(name, x, widths, lambda name, x, n, _: self.linear(name, x, n), True)

    def encode(self, x):
        """What leaves the scales one by one, and what is left: images, channels first."""
        c, left = self.config, []
        s = 0.05 + 0.9 * x
        x = np.log(s) - np.log(1.0 - s)
        scales = min(len(c["nblocks"].split("-")), len(bin(x.shape[2])) - 4)
        for scale in range(scales):
            prefix, k, last = f"transforms.{scale}.chain", int(scale == 0), scale == scales - 1
            first = c["first_resblock"] and scale == 0
            if first and c["actnorm"]:
                x, k = self.actnorm(f"{prefix}.{k}", x), k + 1
            for i in range(int(c["nblocks"].split("-")[scale])):
                # The last scale has no first block, though it may be the only one.
                starts = last or not (first and i == 0)
                x, k = self.block(f"{prefix}.{k}.nnet", x, starts), k + 1
                if c["actnorm"]:
                    x, k = self.actnorm(f"{prefix}.{k}", x), k + 1
            if not last:
                x = squeezed(x)
                if c["factor_out"]:
                    kept = x.shape[1] // 2
                    left, x = [*left, x[:, kept:]], x[:, :kept]
        shape, x = x.shape, x.reshape(len(x), -1)
        for _ in range(4 * c["fc_end"]):
            x = self.vector_block(f"{prefix}.{k}.nnet.nnet", x)
            x, k = self.actnorm(f"{prefix}.{k + 1}.fc_module", x), k + 2
        return [*left, x.reshape(shape)]


def squeezed(x):
    """A 2x2 square in the order (dy, dx) inside a channel."""
    n, channels, height, width = x.shape
    x = x.reshape(n, channels, height // 2, 2, width // 2, 2).transpose(0, 1, 3, 5, 2, 4)
    return x.reshape(n, 4 * channels, height // 2, width // 2)


def latent(parts):
    """The same numbers as a latent here."""
    return np.concatenate([np.moveaxis(part, 1, -1).reshape(len(part), -1) for part in parts], 1)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).uniform(size=(3, 1, 8, 8))


@pytest.fixture(scope="module")
def plain(images):
    state = State(PLAIN)
    z = state.encode(images)
    return state.arrays, latent(z)


def test_an_imported_residual_flow_computes_what_was_published(written, plain, images):
    arrays, z = plain
    flow = kf.zoo.import_checkpoint(written(arrays), PLAIN, dtype="float64")
    assert type(flow) is kf.models.ResidualFlow
    x = np.moveaxis(images, 1, -1)
    np.testing.assert_allclose(flow.encode(x, seed=0), z, rtol=1e-9, atol=1e-11)


SMALLER = {**PLAIN, "fc_end": False}
VARIANTS = {
    "concatenated": {**PLAIN, "act": "CLipSwish"},
    "factored": {**SMALLER, "factor_out": True, "nblocks": "1-2"},
    "no first block": {**SMALLER, "first_resblock": False},
    "one scale": {**SMALLER, "nblocks": "2"},
    "more scales than the image has": {**SMALLER, "nblocks": "1-1-9"},
    "without ActNorm": {**SMALLER, "actnorm": False, "act": "CLipSwish"},
}


def slow_but(quick, values):
    """The values as parameters, slow ones except some."""
    return [v if v in quick else pytest.param(v, marks=pytest.mark.slow) for v in values]


@pytest.mark.parametrize("name", slow_but(("factored", "without ActNorm"), VARIANTS))
def test_variants_compute_what_was_published(written, images, name):
    config = VARIANTS[name]
    state = State(config)
    z = state.encode(images)
    flow = kf.zoo.import_checkpoint(written(state.arrays), config, dtype="float64")
    mine = np.reshape(flow.encode(np.moveaxis(images, 1, -1), seed=0), (3, -1))
    np.testing.assert_allclose(mine, latent(z), rtol=1e-9, atol=1e-11)
    config = flow.get_config()  # and so comes back from a preset
    assert config["factor_out"] == (name == "factored")
    assert config["first_actnorm"] == (name != "no first block")
    assert config["first_activation"] == (name in ("no first block", "one scale"))


def test_widths_of_half_the_filters_are_even(written):
    config = {**PLAIN, "act": "CLipSwish", "idim": 5}
    with pytest.raises(ValueError, match=r"intermediate_dim 5 \(with CLipSwish.* even number"):
        kf.zoo.import_checkpoint(written({}), config)


BEHIND, BEFORE = [64, 4, 4, 4], [64, 1, 8, 8]


@pytest.mark.parametrize("size", slow_but((BEHIND,), (BEHIND, BEFORE)))
def test_the_size_before_a_squeeze_or_behind_it(written, images, size):
    config = {**SMALLER, "squeeze_first": True, "nblocks": "1", "input_size": size}
    state = State(config)
    z = state.encode(squeezed(images))
    flow = kf.zoo.import_checkpoint(written(state.arrays), config, dtype="float64")
    assert flow.event_shape == (8, 8, 1)
    mine = np.reshape(flow.encode(np.moveaxis(images, 1, -1), seed=0), (3, -1))
    np.testing.assert_allclose(mine, latent(z), rtol=1e-9, atol=1e-11)


def estimator_and_bits(written, plain, **options):
    flow = kf.zoo.import_checkpoint(written(plain[0]), {**PLAIN, **options})
    return flow.blocks[0].log_det, flow.bits


def test_the_number_of_terms_is_for_training_only(written, plain):
    estimator, _ = estimator_and_bits(written, plain, n_power_series=7)
    assert isinstance(estimator, Unbiased) and estimator.exact_terms == (3, 20)


BITS = {"celebahq": 4, "celeba_5bit": 5, "cifar10": 8, "mnist": 8}


@pytest.mark.parametrize("data", slow_but(("celebahq", "cifar10"), BITS))
def test_bits_are_those_that_the_training_script_takes(written, plain, data, recwarn):
    assert estimator_and_bits(written, plain, data=data, nbits=4)[1] == BITS[data]
    warned = [str(one.message) for one in recwarn if one.category is UserWarning]
    assert len(warned) == (data == "celebahq")
    assert all("1 - 2^-4 before it adds noise" in text for text in warned)


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
    other = {**PLAIN, "n_power_series_eval": 7, "n_lipschitz_iters": 4}
    flow = kf.zoo.import_checkpoint(written(arrays), other)
    assert isinstance(flow.blocks[0].log_det, PowerSeries) and flow.blocks[0].log_det.terms == 7
    assert flow.get_config()["power_iterations"] == 4


@pytest.mark.slow
def test_a_flow_comes_back_through_its_own_configuration(written, plain, images):
    arrays, z = plain
    flow = kf.zoo.import_checkpoint(written(arrays), PLAIN)
    config = keras.saving.serialize_keras_object(flow)
    copy = kf.zoo.import_checkpoint(written(arrays), config, dtype="float64")
    np.testing.assert_allclose(copy.encode(np.moveaxis(images, 1, -1), seed=0), z, rtol=1e-9)


def test_all_that_does_not_fit_is_one_error(written, plain):
    arrays = dict(plain[0])
    arrays["transforms.0.chain.2.nnet.0.weight"] = np.zeros((3, 4, 1, 3))
    del arrays["transforms.1.chain.3.fc_module.bias"]
    arrays["transforms.1.chain.9.extra"] = np.zeros(2)
    with pytest.raises(ValueError, match="does not fit the ResidualFlow") as error:
        kf.zoo.import_checkpoint(written(arrays), PLAIN)
    assert sorted(map(str.strip, str(error.value).splitlines()[1:])) == [
        "missing: transforms.1.chain.3.fc_module.bias (64,)",
        "shape: transforms.0.chain.2.nnet.0.weight (3, 4, 1, 3), needed (4, 1, 3, 3)",
        "unknown: transforms.1.chain.9.extra (2,)",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"padding": 3}, r"padding 3 \(supported: 0\)"),
        ({"input_size": [64, 1, 2, 2]}, "four or more pixels a side .* have 2"),
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
