"""The same functions as the published PyTorch implementations, number by number.

Longer than other files: all numbers of one publication.

Differences are measured against the largest element of an array, not element by element: latents
and log-dets pass through zero. Images are channels-first in the files.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_flows as kf
from keras_flows import layers, transforms
from keras_flows.models.residual.checkpoint import table
from keras_flows.noise import ReplayedNoise
from keras_flows.numerics.log_det import Exact, Unbiased, power_series

pytestmark = pytest.mark.reference

FLOAT32, FLOAT64 = 1e-5, 1e-9
TOY = ["B1_toy_clipswish", "B2_toy_swish", "B3_toy_resflow"]


def assert_close(actual, expected, relative=FLOAT64, absolute=0.0):
    actual, expected = np.asarray(actual, "float64"), np.asarray(expected, "float64")
    assert actual.shape == expected.shape
    tolerance = relative * np.abs(expected).max() + absolute
    np.testing.assert_allclose(actual, expected, rtol=0.0, atol=tolerance)


def channels_last(x):
    return np.moveaxis(x, 1, -1)


def build(layer, event_shape, **weights):
    """A layer in float64 with the given weights."""
    layer.build((None, *event_shape))
    for name, value in weights.items():
        getattr(layer, name).assign(value)
    return layer


# Toy flows ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def imported(reference, tmp_path_factory):
    """A function that imports a reference case, once for each name and dtype."""
    flows = {}

    def load(name, dtype):
        if (name, dtype) not in flows:
            arrays, config = reference(name)
            path = tmp_path_factory.mktemp("reference") / f"{name}.npz"
            np.savez(path, **arrays)
            flows[name, dtype] = kf.zoo.import_checkpoint(path, config, dtype=dtype)
        return flows[name, dtype]

    return load


@pytest.fixture(params=[(name, dtype) for name in TOY for dtype in ("float32", "float64")], ids=str)
def case(request, reference, imported):
    """A flow, the arrays, which of them are its outputs, and the tolerance."""
    name, dtype = request.param
    out, tolerance = ("out", FLOAT32) if dtype == "float32" else ("out64", FLOAT64)
    return imported(name, dtype), reference(name)[0], out, tolerance


def test_every_step_of_the_chain(case):
    flow, arrays, out, tolerance = case
    x = tf.constant(arrays["in/x"], flow.compute_dtype)
    # The log-det of a block is the logarithm of a number near one, which float32 holds to a few
    # 1e-7: the reference's own float32 run is as far from its float64 run.
    rounding = 4 * np.finfo("float32").eps if out == "out" else 0.0
    steps = list(flow.transform.encode_steps(x))
    assert len(steps) == sum(name.startswith(f"{out}/b") for name in arrays) / 2
    for i, (_, y, log_det) in enumerate(steps):
        assert_close(y, arrays[f"{out}/b{i:02d}/y"], tolerance)
        assert_close(log_det, arrays[f"{out}/b{i:02d}/logdet"], tolerance, rounding)


def test_latent_log_det_and_log_prob(case):
    flow, arrays, out, tolerance = case
    x = tf.constant(arrays["in/x"], flow.compute_dtype)
    z, log_det = flow.transform.encode(x)
    assert_close(z, arrays[f"{out}/z"], tolerance)
    assert_close(flow.encode(arrays["in/x"]), arrays[f"{out}/z"], tolerance)
    assert_close(-log_det[:, None], arrays[f"{out}/delta_logp"], tolerance)
    assert_close(flow.base.log_prob(z)[:, None], arrays[f"{out}/logpz"], tolerance)
    log_prob = flow.log_prob(arrays["in/x"])
    assert_close(log_prob[:, None], arrays[f"{out}/logpx"], tolerance)
    assert_close(-tf.reduce_mean(log_prob), arrays[f"{out}/loss"], tolerance)


@pytest.mark.slow
def test_inverse(case):
    flow, arrays, out, tolerance = case
    assert_close(flow.decode(arrays[f"{out}/z"]), arrays["inv64/x_strict"], tolerance)
    assert_close(flow.decode(arrays["in/z_sample"]), arrays["sample64/x_strict"], tolerance)


def published_layers(flow):
    """The spectrally normalised layers and the Dense Layers by their published names."""
    spectral, dense = {}, {}
    for i, step in enumerate(flow.transform.steps):
        if not isinstance(step, transforms.ResidualBlock):
            continue
        plain = isinstance(flow, kf.models.ResidualFlow)
        for j, layer in enumerate(step.net.layers):
            name = f"chain.{i}.nnet.{2 * j + 1 if plain else j}"
            if isinstance(layer, layers.LipschitzDenseLayer):
                dense[name] = layer
                spectral[f"{name}.network.0"] = layer.linear.dense
            else:
                spectral[name] = layer.dense
    return spectral, dense


def test_normalised_weights_norms_and_concatenations(case):
    flow, arrays, _, _ = case
    spectral, dense = published_layers(flow)
    names = {name.split("/")[1] for name in arrays if name.startswith("norm/")}
    assert names == {*spectral, *dense}
    for name, layer in spectral.items():
        # float32 in the files.
        kernel = layer.normalized_kernel().numpy()
        assert_close(kernel.T, arrays[f"norm/{name}/weight"], 1e-6)
        assert_close(layer.sigma, arrays[f"norm/{name}/sigma"], 1e-6)
        kernel = layer.normalized_kernel(training=True).numpy()
        assert_close(kernel.T, arrays[f"norm/{name}/weight"], 1e-6)
    for name, layer in dense.items():
        eta = layer.concatenation.coefficients().numpy()
        assert_close(eta[:1], arrays[f"norm/{name}/eta1"], 1e-6)
        assert_close(eta[1:], arrays[f"norm/{name}/eta2"], 1e-6)


@pytest.mark.parametrize("name", TOY)
def test_converged_norms(reference, name):
    arrays, _ = reference(name)
    exact = {key: value for key, value in arrays.items() if key.endswith("/sigma_exact")}
    assert exact
    for key, sigma in exact.items():
        weight = arrays[f"state/{key.split('/')[1]}.weight"]
        layer = layers.SpectralDense(weight.shape[0], dtype="float64")
        build(layer, weight.shape[1:], kernel=weight.T).converge()
        assert_close(layer.sigma, sigma)
        assert_close(layer.lipschitz_bound(), min(sigma, layer.coeff))


# Layers -------------------------------------------------------------------------------------------

ACTIVATIONS = {
    "swish": (layers.LipSwish, {"beta": "swish.beta"}),
    "clipswish": (layers.CLipSwish, {"beta": "clipswish.swish.beta"}),
    "leaky": (layers.LeakyLipSwish, {"beta": "leaky.beta", "alpha": "leaky.alpha"}),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(reference, name):
    arrays, _ = reference("unit_iden_activations")
    kind, names = ACTIVATIONS[name]
    weights = {mine: arrays[f"state/{published}"] for mine, published in names.items()}
    layer = build(kind(dtype="float64"), (5,), **weights)
    x, cotangent = tf.constant(arrays["in/x"]), arrays["in/ct2" if name == "clipswish" else "in/ct"]
    with tf.GradientTape() as tape:
        value, pullback = layer.vjp(x)
        scalar = tf.reduce_sum(value * cotangent)
    assert_close(value, arrays[f"out/{name}"])
    assert_close(pullback(tf.constant(cotangent)[None])[0], arrays[f"out/{name}_dx"])
    gradients = tape.gradient(scalar, {mine: getattr(layer, mine) for mine in names})
    for mine, published in names.items():
        assert_close(gradients[mine], arrays[f"out/{name}_d_{published.partition('.')[2]}"])
    x = tf.constant(channels_last(arrays["in/x4"]))
    assert_close(layer(x), channels_last(arrays[f"out/{name}_4d"]))


@pytest.mark.parametrize("name", ["1", "2"], ids=["vectors", "images"])
def test_actnorm(reference, name):
    arrays, _ = reference("unit_iden_actnorm")
    arrays = {key: channels_last(a) if np.ndim(a) == 4 else a for key, a in arrays.items()}
    x = tf.constant(arrays[f"in/x{name}"])
    step = build(
        transforms.ActNorm(dtype="float64"),
        x.shape[1:],
        log_scale=arrays[f"state/a{name}.weight"],
        bias=arrays[f"state/a{name}.bias"],
        initialized=arrays[f"state/a{name}.initialized"],
    )
    for training in (False, True):  # initialised: the same in both
        z, log_det = step.encode(x, training=training)
        assert_close(z, arrays[f"out/y{name}"])
        assert_close(-log_det[:, None], arrays[f"out/delta{name}"])
    assert_close(step.decode(z), arrays[f"out/inv{name}"])

    x = tf.constant(arrays[f"in/x{name}_init"])
    step = build(transforms.ActNorm(dtype="float64"), x.shape[1:])
    z, log_det = step.encode(x, training=True)
    assert_close(z, arrays[f"out/init_y{name}"])
    assert_close(-log_det[:, None], arrays[f"out/init_delta{name}"])
    assert_close(step.log_scale, arrays[f"out/init_weight{name}"])
    assert_close(step.bias, arrays[f"out/init_bias{name}"])
    assert step.initialized == 1


def test_dense_layer(reference):
    arrays, config = reference("unit_iden_dense_layer")
    layer = layers.LipschitzDenseLayer(
        8, "clipswish", coeff=0.9, lip_coeff=config["lip_coeff"], dtype="float64"
    )
    layer.build((None, 5))
    for weight in table("state/", layer):
        given = [arrays[name.replace("/.", "/")] for name in weight.shapes]
        weight.variable.assign(weight.convert(*given))
    x = tf.constant(arrays["in/x"])
    eta = layer.concatenation.coefficients().numpy()
    assert_close(eta[:1], arrays["out/eta1"])
    assert_close(eta[1:], arrays["out/eta2"])
    assert_close(layer.linear.dense.sigma, arrays["out/sigma"])
    for training in (False, True):
        assert_close(layer(x, training=training), arrays["out/y"])


def image_vector(vector, channels, spatial):
    """A flattened channels-first image, as a channels-last one."""
    return np.moveaxis(vector.reshape(channels, *spatial), 0, -1)


@pytest.mark.parametrize("iterations", [1, 5])
@pytest.mark.parametrize("name", ["linear", "conv1x1", "conv3x3"])
def test_spectral_normalisation(reference, name, iterations):
    arrays, config = reference(f"unit_iden_induced_{name}")
    x, cotangent = arrays["in/x"], arrays["in/ct"]
    vectors = {key: arrays[key] for key in ("in/u0", "in/v0")}
    vectors |= {key: arrays[f"out/{key}_{iterations}"] for key in ("u", "v")}
    coeff = config["coeff"]
    if name == "linear":
        layer = layers.SpectralDense(config["out_features"], coeff, iterations, dtype="float64")

        def mine(weight):
            return weight.T
    else:
        layer = layers.SpectralConv2D(
            config["out_channels"], config["kernel_size"], coeff, iterations, dtype="float64"
        )

        def mine(weight):
            return np.transpose(weight, (2, 3, 1, 0))

        if config["kernel_size"] > 1:
            spatial, channels = config["spatial"], {"u": cotangent.shape[1], "v": x.shape[1]}
            for key, vector in vectors.items():
                side = "u" if "u" in key else "v"
                vectors[key] = image_vector(vector, channels[side], spatial)
        x, cotangent = channels_last(x), channels_last(cotangent)
    x = tf.constant(x)
    kernel, bias = mine(arrays["state/weight"]), arrays["state/bias"]
    u, v = vectors["in/u0"], vectors["in/v0"]
    build(layer, x.shape[1:], kernel=kernel, bias=bias, u=u, v=v)
    layer.after_update()
    assert_close(layer.u, vectors["u"])
    assert_close(layer.v, vectors["v"])
    assert_close(layer.sigma, arrays[f"out/sigma_{iterations}"])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, pullback = layer.vjp(x, training=True)
        scalar = tf.reduce_sum(y * cotangent)
    gradients = tape.gradient(scalar, [x, layer.kernel, layer.bias])
    expected = {key: arrays[f"out/{key}_{iterations}"] for key in ("y", "dx")}
    if name != "linear":
        expected = {key: channels_last(a) for key, a in expected.items()}
    assert_close(y, expected["y"])
    assert_close(gradients[0], expected["dx"])
    assert_close(pullback(tf.constant(cotangent)[None])[0], expected["dx"])
    assert_close(gradients[1], mine(arrays[f"out/d_weight_{iterations}"]))
    assert_close(gradients[2], arrays[f"out/d_bias_{iterations}"])
    for training in (False, True):
        weight = layer.normalized_kernel(training)
        assert_close(weight, mine(arrays[f"out/weight_{iterations}"]))
    assert_close(layer(x), expected["y"])


# Estimators of the log-det ------------------------------------------------------------------------

DISTRIBUTIONS = {"geom": "geometric", "pois": "poisson"}
# P(N >= 3) is 0.25 and 0.32, P(N >= 4) is 0.125 and 0.14: this uniform number draws N = 3.
THREE = 0.2


@pytest.fixture(scope="module")
def block(reference, tmp_path_factory):
    """The network of the estimators' case, its weights by published name, and the arrays."""
    arrays, _ = reference("unit_iden_estimators")
    config = {
        "act": "CLipSwish",
        "nblocks": 1,
        "coeff": 0.9,
        "densenet": True,
        "densenet_depth": 2,
        "densenet_growth": 8,
        "learnable_concat": True,
        "lip_coeff": 0.98,
    }
    path = tmp_path_factory.mktemp("estimators") / "state.npz"
    np.savez(path, **arrays)
    flow = kf.zoo.import_checkpoint(path, config, dtype="float64")
    return flow.blocks[0].net, arrays


def run(block, estimator, training, noise=()):
    """`(g, log_det, gradients)` of mean(log_det) + mean(g ct), the gradients by published name."""
    net, arrays = block
    x = tf.constant(arrays["in/x"])
    weights = [weight for weight in table("nnet", net) if weight.variable.trainable]
    with tf.GradientTape() as tape:
        tape.watch(x)
        g, log_det = estimator(net, x, noise=ReplayedNoise(noise), training=training)
        scalar = tf.reduce_mean(log_det) + tf.reduce_mean(g * arrays["in/ct"])
    variables = [weight.variable for weight in weights]
    gradient_x, *gradients = tape.gradient(scalar, [x, *variables])
    return g, log_det, gradient_x, list(zip(weights, gradients, strict=True))


def assert_gradients(results, arrays, name):
    g, _, gradient_x, gradients = results
    assert_close(g, arrays[f"out/{name}/g"])
    assert_close(gradient_x, arrays[f"out/{name}/grad_x"])
    published = {key for key in arrays if key.startswith(f"out/{name}/grad/")}
    compared = {f"out/{name}/grad/{n}" for weight, _ in gradients for n in weight.shapes}
    assert compared == published
    for weight, gradient in gradients:
        expected = weight.convert(*(arrays[f"out/{name}/grad/{n}"] for n in weight.shapes))
        assert_close(gradient, expected)


def probe(arrays):
    return tf.constant(arrays["noise/000"], tf.float64)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_russian_roulette_weights(block, name):
    _, arrays = block
    estimator = Unbiased(DISTRIBUTIONS[name])
    for mode, exact_terms in zip(("train", "eval"), estimator.exact_terms, strict=True):
        expected = arrays[f"out/coeff_{name}_{mode}"]
        assert len(expected) == exact_terms + 3
        assert_close(estimator.weights(exact_terms)[: len(expected)], expected)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_power_series_estimator(block, name):
    _, arrays = block
    estimator = Unbiased(DISTRIBUTIONS[name], gradient="series")
    results = run(block, estimator, True, [probe(arrays), THREE])
    assert_close(results[1], arrays[f"out/basic_{name}/logdet"])
    assert_gradients(results, arrays, f"basic_{name}")
    _, log_det, *_ = run(block, estimator, False, [probe(arrays), THREE])
    assert_close(log_det, arrays[f"out/basic_eval_{name}/logdet"])


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_neumann_estimator(block, name):
    net, arrays = block
    estimator = Unbiased(DISTRIBUTIONS[name], gradient="neumann")
    results = run(block, estimator, True, [probe(arrays), THREE])
    # Our value is that of the power series; the reference reports the expression it
    # differentiates, which is not the log-det.
    assert_close(results[1], arrays[f"out/basic_{name}/logdet"])
    assert_gradients(results, arrays, f"neumann_{name}")
    assert_gradients(results, arrays, f"neumann_memeff_{name}")
    _, pullback = net.vjp(tf.constant(arrays["in/x"]))
    weights = tf.constant(estimator.weights(2))
    _, neumann = power_series(pullback, probe(arrays)[None], weights, 5)
    surrogate = tf.reduce_sum(pullback(neumann)[0] * probe(arrays), axis=1)
    assert_close(surrogate, arrays[f"out/neumann_{name}/logdet"])
    assert_close(surrogate, arrays[f"out/neumann_memeff_{name}/logdet"])


def test_exact_log_det(block):
    _, arrays = block
    results = run(block, Exact(), True)
    assert_close(results[1], arrays["out/brute/logdet"])
    assert_gradients(results, arrays, "brute")


# Transforms and the optimizer ---------------------------------------------------------------------


@pytest.mark.parametrize(("name", "alpha"), [("a", 0.05), ("b", 1e-6)])
def test_logit(reference, name, alpha):
    arrays, _ = reference("unit_iden_logit")
    x = tf.constant(arrays["in/x"])
    step = build(transforms.Logit(alpha, dtype="float64"), x.shape[1:])
    z, log_det = step.encode(x)
    assert_close(z, arrays[f"out/y_{name}"])
    assert_close(-log_det[:, None], arrays[f"out/delta_{name}"])
    assert_close(step.decode(tf.constant(arrays[f"out/y_{name}"])), arrays[f"out/x_inv_{name}"])


def test_squeeze(reference):
    arrays, _ = reference("unit_iden_squeeze")
    x, z = channels_last(arrays["in/x"]), channels_last(arrays["out/y"])
    step = build(transforms.Squeeze(2, dtype="float64"), x.shape[1:])
    np.testing.assert_array_equal(step.encode(tf.constant(x))[0], z)
    np.testing.assert_array_equal(step.decode(tf.constant(z)), channels_last(arrays["out/x_inv"]))


def test_keras_adam_takes_the_same_steps(reference):
    arrays, config = reference("unit_iden_adam")

    def steps(*betas):
        variable = keras.Variable(arrays["in/p0"], dtype="float64")
        optimizer = keras.optimizers.Adam(config["lr"], *betas, epsilon=config["eps"])
        for i, gradient in enumerate(arrays["in/grads"]):
            optimizer.apply([tf.constant(gradient)], [variable])
            yield variable.numpy(), arrays[f"out/p_nowd_{i}"]

    # The same formula, epsilon included. Keras rounds Python floats to float32 before it corrects
    # the bias of the moments, which changes a step by up to 1e-5 of its size.
    for actual, expected in steps(*np.array(config["betas"])):
        assert_close(actual, expected)
    for i, (actual, expected) in enumerate(steps(*config["betas"])):
        np.testing.assert_allclose(actual, expected, rtol=0.0, atol=1e-5 * config["lr"] * (i + 1))


def test_the_weight_decay_of_the_reference_has_no_effect(reference):
    arrays, _ = reference("unit_iden_adam")
    for i in range(4):
        np.testing.assert_array_equal(arrays[f"out/p_wd_{i}"], arrays[f"out/p_nowd_{i}"])
