"""VFlow and augmented normalizing flows against numbers in float64, to 1e-9."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import logsumexp

from keras_flows import Flow
from keras_flows.layers.coupling.dense import Linear
from keras_flows.models import VFlow
from keras_flows.models.flowpp import couplings
from keras_flows.noise import ReplayedNoise
from keras_flows.numerics.logistic_mixture import log_density, log_tails
from keras_flows.transforms import AppendNoise, Chain, Coupling, Logit
from keras_flows.transforms.maps import AffineLogisticMixtureMap, ElementwiseMap
from keras_flows.transforms.maps.mixture import components_of
from keras_flows.transforms.masks import FeatureMask
from tests.registry import SmallPerceptron
from tests.test_reference_flowpp import set_conditional_noise, set_couplings

pytestmark = pytest.mark.reference

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


# VFlow --------------------------------------------------------------------------------------------


class SmoothMap(AffineLogisticMixtureMap):
    """With the logit of `0.05 + 0.9 F`, as published."""

    def encode(self, x, parameters):
        a, b = tf.tanh(parameters[..., 0]), parameters[..., 1]
        mixture = components_of(parameters, self.components)
        below, above = (0.05 + 0.9 * tf.exp(tail) for tail in log_tails(x, mixture))
        log_slope = log_density(x, mixture) + np.log(0.9) - tf.math.log(below * above)
        return tf.exp(a) * (tf.math.log(below) - tf.math.log(above)) + b, log_slope + a


def test_the_smooth_logit(reference):
    arrays, _ = reference("families/vflow_smooth_logit")
    u, logit = tf.constant(arrays["in/u"]), Logit(0.05, dtype="float64")
    z, log_det = logit.encode(u)
    np.testing.assert_allclose(z, arrays["out/z"], **CLOSE)
    np.testing.assert_allclose(log_det, arrays["out/log_det_sum"], **CLOSE)
    np.testing.assert_allclose(logit.decode(z), arrays["out/u_of_z"], **CLOSE)


def blocks_of(arrays, number):
    """How many blocks the network of a coupling has there."""
    scope = f"state/MixLogisticAttnCoupling_{number}/block"
    return len({key[len(scope) :].split("/")[0] for key in arrays if key.startswith(scope)})


@pytest.mark.slow
def test_the_bound(reference, monkeypatch):
    arrays, config = reference("families/vflow_bound")
    monkeypatch.setattr(couplings, "AffineLogisticMixtureMap", SmoothMap)
    sizes = {
        name: config[name if name != "width" else "filters"]
        for name in ("width", "components", "heads")
    }
    context = config["context_channels"]
    flow = VFlow(
        tuple(config["image"]),
        config["extra_dims"],
        **sizes,
        blocks=config["blocks"],
        augmentation={"blocks": blocks_of(arrays, 4), "context": context},
        dequantization={
            "class_name": "variational",
            "config": {**sizes, "blocks": blocks_of(arrays, 1), "context": context},
        },
        dtype="float64",
    )
    steps, k = flow.transform.steps, config["components"]
    set_conditional_noise(steps[0].flow, arrays, "context_proc", ("proj", "c"), 0, k)
    set_conditional_noise(steps[2].flow, arrays, "context_proc_1", ("proj_q", "q_c"), 4, k)
    set_couplings(steps[3:15], arrays, 8, k)
    set_couplings(steps[17:], arrays, 12, k)
    x, noise = tf.cast(arrays["in/pixels"], "float64"), [arrays["noise/000"], arrays["noise/001"]]
    made = list(flow.transform.encode_steps(x, noise=ReplayedNoise(noise)))
    np.testing.assert_allclose(made[1][1], arrays["out/x"], **CLOSE)
    augmented, log_det = made[2][1:]
    np.testing.assert_allclose(augmented[..., 3:], arrays["out/e"], **CLOSE)
    np.testing.assert_allclose(-log_det, arrays["out/log_q_e"], **CLOSE)
    np.testing.assert_allclose(flow.log_prob(x, noise=noise), arrays["out/log_prob"], **CLOSE)


# Augmented normalizing flows ----------------------------------------------------------------------


class Encoder(ElementwiseMap):
    """`z = m + exp(s) e`."""

    parameters = 2

    def encode(self, x, parameters):
        mean, log_scale = tf.unstack(parameters, axis=-1)
        return mean + tf.exp(log_scale) * x, log_scale

    def decode(self, z, parameters):
        mean, log_scale = tf.unstack(parameters, axis=-1)
        return (z - mean) * tf.exp(-log_scale)


class Decoder(Encoder):
    """`y = (x - m) exp(-s)`."""

    def encode(self, x, parameters):
        return super().decode(x, parameters), -parameters[..., 1]

    def decode(self, z, parameters):
        return super().encode(z, parameters)[0]


class TwoMatrices(SmallPerceptron):
    """A matrix, tanh and another matrix."""

    def build(self, input_shape):
        self.first, self.last = Linear(8, dtype="float64"), Linear(self.units, dtype="float64")
        self.first.build((None, input_shape[-1]))
        self.last.build((None, 8))
        self.built = True

    def call(self, x, context=None, training=False):
        return self.last(tf.tanh(self.first(x)))


def autoencoding(arrays, layers):
    """So many pairs of encoder and decoder."""
    steps = [AppendNoise(2, dtype="float64")]
    for i in range(layers):
        for name, changed, map in (("enc", [3, 4], Encoder()), ("dec", [0, 1, 2], Decoder())):
            net = TwoMatrices(2 * len(changed), dtype="float64")
            step = Coupling(FeatureMask(changed), net, map, dtype="float64")
            step.build((None, 5))
            # Halves there, pairs here.
            order = np.arange(2 * len(changed)).reshape(2, -1).T.ravel()
            for layer, part, rows in ((net.first, "a", slice(None)), (net.last, "b", order)):
                key = f"state/{name}.{i}.{part}"
                layer.kernel.assign(arrays[f"{key}.weight"][rows].T)
                layer.bias.assign(arrays[f"{key}.bias"][rows])
            steps.append(step)
    return Flow(Chain(steps, dtype="float64"), (3,), dtype="float64")


def test_auto_encoding_transforms(reference):
    arrays, config = reference("families/anf")
    flow, x = autoencoding(arrays, config["steps"]), arrays["in/x"]
    weights = []
    for i, e in enumerate(arrays["noise/000"]):
        z = flow.encode(x, noise=[e])
        np.testing.assert_allclose(z[:, :3], arrays["out/y"][i], **CLOSE)
        np.testing.assert_allclose(z[:, 3:], arrays["out/z"][i], **CLOSE)
        np.testing.assert_allclose(flow.decode(z), x, **CLOSE)
        weights.append(flow.log_prob(x, noise=[e]))
    np.testing.assert_allclose(weights, arrays["out/log_weight"], **CLOSE)
    bound = logsumexp(weights, axis=0) - np.log(len(weights))
    np.testing.assert_allclose(bound, arrays["out/importance_bound"], **CLOSE)


def test_one_transform_is_a_variational_autoencoder(reference):
    arrays, _ = reference("families/anf")
    flow = autoencoding(arrays, 1)
    log_prob = flow.log_prob(arrays["in/x"], noise=[arrays["noise/000"][0]])
    np.testing.assert_allclose(log_prob, arrays["out/one_step/log_weight"], **CLOSE)
