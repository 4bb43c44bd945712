"""The published flows on images, number by number; see `tests/test_reference.py`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_flows as kf
from keras_flows import layers, transforms
from keras_flows.noise import ReplayedNoise
from keras_flows.numerics.log_det import Exact, PowerSeries
from tests.test_reference import FLOAT64, assert_close, channels_last

pytestmark = pytest.mark.reference

NAMES = ["B4_img_1x8x8", "B5_img_3x8x8"]


@pytest.fixture(scope="module")
def imported(reference, tmp_path_factory):
    """A function that imports a reference case, once for each name and dtype."""
    flows = {}

    def load(name, dtype="float64"):
        if (name, dtype) not in flows:
            arrays, config = reference(name)
            path = tmp_path_factory.mktemp("reference") / f"{name}.npz"
            np.savez(path, **arrays)
            flows[name, dtype] = kf.zoo.import_checkpoint(path, config, dtype=dtype)
        return flows[name, dtype]

    return load


@pytest.fixture(params=[(name, dtype) for name in NAMES for dtype in ("float32", "float64")])
def case(request, reference, imported):
    """A flow, the arrays, a function that compares with an output, and the recorded probes."""
    name, dtype = request.param
    flow, (arrays, _) = imported(name, dtype), reference(name)
    probes = [
        channels_last(arrays[f"noise/{i:03d}"]).reshape(-1, *block.event_shape)
        for i, block in enumerate(flow.blocks)
    ]

    def compare(actual, output):
        expected, rounded = (arrays[f"{out}/{output}"] for out in ("out64", "out"))
        if np.ndim(expected) == 4:
            expected, rounded = channels_last(expected), channels_last(rounded)
        actual = np.reshape(actual, expected.shape)
        if dtype == "float64":
            assert_close(actual, expected, FLOAT64)
        else:
            # Twice as far as the reference's own float32 run; a few units of rounding at least.
            size = np.abs(expected).max()
            error = 2.0 * np.abs(rounded - expected).max() + 1e-6 * size
            assert_close(actual, expected, 0.0, max(error, 2e-5))

    return flow, arrays, compare, probes


def flow_channels_first(flow):
    """The shape of the last image of a flow, before its fully connected blocks."""
    height, width, channels = flow.blocks[-5].event_shape
    return channels, height, width


def published_latent(z, flow):
    """A latent in the published order of its elements, channels first."""
    channels, height, width = flow_channels_first(flow)
    return np.moveaxis(np.reshape(z, (-1, height, width, channels)), -1, 1)


@pytest.mark.slow
def test_every_step_of_the_chain(case):
    flow, arrays, compare, probes = case
    x = tf.constant(channels_last(arrays["in/x"]), flow.compute_dtype)
    i = 0
    for path, z, log_det in flow.transform.encode_steps(x, None, ReplayedNoise(probes)):
        if path.endswith("Flatten"):
            continue  # the published flow flattens inside its last blocks
        compare(z, f"b{i:02d}/y")
        compare(log_det, f"b{i:02d}/logdet")
        i += 1
    assert i == sum(name.startswith("out/b") for name in arrays) / 2


@pytest.mark.slow
def test_latent_log_det_and_log_prob(case):
    flow, arrays, compare, probes = case
    x = channels_last(arrays["in/x"])
    compare(flow.log_prob(x, noise=probes), "logpx")
    z, log_det = flow.transform.encode(
        tf.constant(x, flow.compute_dtype), None, ReplayedNoise(probes)
    )
    compare(published_latent(z, flow), "z")
    compare(-log_det, "delta_logp")
    compare(flow.base.log_prob(z), "logpz")
    np.testing.assert_array_equal(flow.encode(x, noise=probes), z)


@pytest.mark.slow
def test_inverse(case):
    flow, arrays, _, _ = case
    z = np.moveaxis(arrays["out64/z"].reshape(-1, *flow_channels_first(flow)), 1, -1)
    back = flow.decode(z.reshape(len(z), -1))
    tolerance = 2e-6 if flow.compute_dtype == "float32" else 1e-12
    np.testing.assert_allclose(back, channels_last(arrays["in/x"]), rtol=0.0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_exact_determinants_of_the_blocks(reference, imported, name):
    flow, (arrays, _) = imported(name), reference(name)
    x = tf.constant(channels_last(arrays["in/x"]), tf.float64)
    i, total, exact = 0, 0.0, Exact()
    for step in flow.transform.steps:
        if isinstance(step, transforms.ResidualBlock):
            g, log_det = exact(step.net, x)
            assert_close(log_det, arrays[f"out64/b{i:02d}/logdet_exact"], 1e-9)
            x = x + g
        else:
            x, log_det = step.encode(x)
        total += log_det
        i += not isinstance(step, transforms.Flatten)
    assert_close(-total[:, None], arrays["out64/delta_logp_exact"])
    log_prob = flow.base.log_prob(x) + total
    assert_close(log_prob[:, None], arrays["out64/logpx_exact"])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_normalised_weights_norms_and_concatenations(reference, imported, name):
    flow, (arrays, _) = imported(name), reference(name)
    spectral, dense = {}, {}
    scale, k = 0, 0
    for step in flow.transform.steps:
        if isinstance(step, transforms.ResidualBlock):
            prefix = f"transforms.{scale}.chain.{k}.nnet" + ".nnet" * (len(step.event_shape) == 1)
            for i, layer in enumerate(step.net.layers):
                if isinstance(layer, layers.LipschitzDenseLayer):
                    dense[f"{prefix}.{i}"] = layer
                    spectral[f"{prefix}.{i}.network.0"] = layer.linear.dense
                else:
                    spectral[f"{prefix}.{i}"] = layer.dense
        k += not isinstance(step, transforms.Flatten)
        if isinstance(step, transforms.Squeeze):
            scale, k = scale + 1, 0
    assert {key.split("/")[1] for key in arrays if key.startswith("norm/")} == {*spectral, *dense}
    for published, layer in spectral.items():
        assert_close(layer.sigma, arrays[f"norm/{published}/sigma"], 1e-6)
        # The norm that is found here, and the bound that is proved, against the reference's.
        exact = float(arrays[f"norm/{published}/sigma_exact"])
        stored = [weight.numpy() for weight in layer.weights]
        layer.converge()
        assert float(layer.sigma) == pytest.approx(exact, rel=1e-6)
        bound = layer.lipschitz_bound()
        assert min(exact, 0.98) * (1.0 - 1e-6) <= bound <= min(exact, 0.98) * (1.0 + 2e-4)
        layer.set_weights(stored)
    for published, layer in dense.items():
        eta = layer.concatenation.coefficients().numpy()
        assert_close(eta[:1], arrays[f"norm/{published}/eta1"], 1e-6)
        assert_close(eta[1:], arrays[f"norm/{published}/eta2"], 1e-6)


@pytest.mark.slow
def test_the_imported_flow(reference, imported):
    flow, (_, config) = imported(NAMES[1]), reference(NAMES[1])
    assert type(flow) is kf.models.IDenseNet
    assert flow.event_shape == (8, 8, 3)
    assert flow.likelihood == "biased"
    assert all(isinstance(block.log_det, PowerSeries) for block in flow.blocks)
    assert {block.log_det.terms for block in flow.blocks} == {config["n_power_series_eval"]}
    assert flow.certify().largest < 1.0
    # The same flow from its own configuration, and so from a file of this library.
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(flow))
    assert [w.shape for w in copy.weights] == [w.shape for w in flow.weights]
