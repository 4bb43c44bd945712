"""What holds for every transform and every model; the registry says which there are.

Longer than other files: every property of every transform and model.
"""

import functools
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import norm

from keras_flows.layers import LipschitzConcatenation
from keras_flows.noise import InputNoise, ReplayedNoise
from keras_flows.transforms import Transform
from tests.registry import CASES, MODELS, RecordingNoise

TOLERANCE = {"float32": {"rtol": 2e-4, "atol": 2e-5}, "float64": {"rtol": 1e-9, "atol": 1e-9}}

# Another case differs from each of these by one option only, or has the same steps.
VARIANTS = {
    "affine_coupling_map",
    "affine_coupling_odd",
    "augmentation",
    "augmented_normalizing_flow",
    "autoregressive_1d",
    "autoregressive_affine_context",
    "autoregressive_censored",
    "autoregressive_context",
    "autoregressive_image",
    "autoregressive_reverse",
    "batch_normalize_moved",
    "chain_nested",
    "columns_interval",
    "columns_positive",
    "conv1x1_near_identity",
    "coupling_checkerboard_reverse",
    "coupling_columns_reverse",
    "coupling_half_the_tokens",
    "coupling_last_channels",
    "coupling_last_halves",
    "denseflow_labels",
    "denseflow_one_block",
    "denseflow_uniform",
    "factor_out_one",
    "flowpp",
    "flowpp_dequantization",
    "flowpp_uniform",
    "glow_one_level",
    "idensenet_1d",
    "idensenet_3d",
    "idensenet_bounded",
    "idensenet_fixed",
    "idensenet_image",
    "idensenet_image_context",
    "idensenet_image_exact",
    "idensenet_labels",
    "idensenet_unbiased",
    "image_realnvp",
    "image_realnvp_context",
    "interlaced_flow",
    "interlaced_flow_context",
    "jet",
    "macow",
    "macow_context",
    "masked_autoregressive_flow_batch_normalization",
    "masked_autoregressive_flow_context",
    "mixture_autoregressive",
    "patches_of_one",
    "pixelcnn_censored",
    "pixelcnn_context",
    "pixelcnn_dequantized",
    "pixelcnnpp",
    "pool_flow",
    "pool_flow_drop",
    "realnvp_context",
    "residual_1d",
    "residual_9d",
    "residual_clipswish",
    "residual_context",
    "residual_elu",
    "residual_flow",
    "residual_flow_1d",
    "residual_flow_bounded",
    "residual_flow_embedded",
    "residual_flow_image",
    "residual_geometric",
    "residual_leaky_lipswish",
    "residual_linear",
    "residual_lipswish",
    "residual_plain_context",
    "residual_poisson",
    "residual_power_series",
    "residual_power_series_signs",
    "residual_relu",
    "residual_series_gradient",
    "residual_softplus",
    "residual_tanh",
    "residual_vouched",
    "row_by_row_bottom",
    "row_by_row_left",
    "row_by_row_right",
    "spline_coupling_circles",
    "spline_coupling_context",
    "spline_coupling_image",
    "spline_coupling_periodic",
    "spline_flow",
    "spline_flow_circles_coupling",
    "spline_flow_coupling",
    "spline_flow_labels",
    "tarflow",
    "vflow",
}
# XLA takes seconds for every case: one of each kind of step is compiled in the quick tests.
COMPILED = {
    "actnorm",
    "affine_coupling",
    "autoregressive",
    "idensenet",
    "squeeze_and_drop",
}

# Large for their kind; what takes them seconds, the smaller cases do at once.
LARGE = {"cross_unit_block", "denseflow", "glow"}


def cases(of=CASES, where=lambda case: True, slow=lambda name: False):
    names = [
        pytest.param(name, marks=[pytest.mark.slow] if name in VARIANTS or slow(name) else [])
        for name, case in of.items()
        if where(case)
    ]
    return pytest.mark.parametrize("name", names)


def dtypes(daily):
    """Both dtypes; the quick tests have one of them."""
    both = [
        pytest.param(dtype, marks=[] if dtype == daily else [pytest.mark.slow])
        for dtype in ("float32", "float64")
    ]
    return pytest.mark.parametrize("dtype", both)


@functools.cache
def flow_of(name, dtype="float64"):
    """The flow of a case, made once; the tests leave its weights as they are."""
    return CASES[name].flow(dtype)


class Run:
    """A flow with data, context and the noise of its encoding."""

    def __init__(self, name, dtype="float64", n=7, x=None, flow=None):
        self.case = CASES[name]
        self.flow = flow or flow_of(name, dtype)
        self.x = tf.constant(self.case.data(n) if x is None else x, dtype)
        self.given_context = self.case.context(len(self.x))
        self.context = None
        if self.given_context is not None:
            self.context = tf.cast(self.given_context, self.flow.context_dtype)
        recording = RecordingNoise()
        self.encode(self.x, noise=recording)
        self.noise, self.kinds = recording.arrays, recording.kinds

    def replay(self, rows=slice(None)):
        return ReplayedNoise([array[rows] if np.ndim(array) else array for array in self.noise])

    def embedded(self):
        return self.flow.embed(self.context)

    def encode(self, x, noise=None):
        noise = self.replay() if noise is None else noise
        return self.flow.transform.encode(x, self.embedded(), noise)

    def decode(self, z):
        return self.flow.transform.decode(z, self.embedded(), decoding_noise(self.flow, z))

    def log_prob(self, rows=slice(None), context="own"):
        if isinstance(context, str):
            context = None if self.context is None else self.given_context[rows]
        return self.flow.log_prob(self.x[rows], context, noise=self.replay(rows)).numpy()

    def scalar(self, z, log_det):
        """A number that depends on every element of an encoding."""
        rng = np.random.default_rng(4)
        weights = tf.constant(rng.standard_normal(z.shape[1:]), z.dtype)
        return tf.reduce_sum(z * weights) + tf.reduce_sum(log_det)


def decoding_noise(flow, z):
    """The noise of decoding, always the same for an example; None where there is none."""
    (size,) = flow.noise_shape("decode")
    if size == 0:
        return None
    return InputNoise(
        tf.constant(np.random.default_rng(5).normal(size=(z.shape[0], size)), z.dtype)
    )


@dtypes(daily="float64")
@cases()
def test_round_trips(name, dtype):
    run = Run(name, dtype)
    if run.flow.noise_shape("decode") == (0,):
        z, _ = run.encode(run.x)
        np.testing.assert_allclose(run.decode(z), run.x, **TOLERANCE[dtype])
    if run.case.latents is not None:
        z = tf.constant(run.case.latent(run.flow), dtype)
        np.testing.assert_allclose(run.encode(run.decode(z))[0], z, **TOLERANCE[dtype])


@cases(where=lambda case: case.name != "chain_empty")
def test_encode_is_not_the_identity(name):
    # Else the other tests would pass for a transform that does nothing.
    run = Run(name)
    z, _ = run.encode(run.x)
    same = z.shape == run.x.shape and np.abs(z - run.x).max() < 1e-3
    assert same == (name in ("actnorm", "standardize"))


def estimates_log_det(flow):
    return any(
        layer.likelihood in ("unbiased", "biased")
        for layer in flow._flatten_layers()
        if isinstance(layer, Transform)
    )


@cases()
def test_log_det_is_that_of_the_automatic_jacobian(name):
    run = Run(name)
    if estimates_log_det(run.flow):
        pytest.skip("an estimate, which tests/test_log_det.py compares on average")
    # From what is continuous, the noise included: for that, log_det holds minus its log-density.
    noise = [tf.constant(array) for array in run.noise]
    sources = noise if run.flow.transform.dequantizes else [run.x, *noise]
    size = math.prod(run.flow.latent_shape)
    if sum(math.prod(source.shape[1:]) for source in sources) != size:
        pytest.skip("numbers leave on the way: tests/transforms/test_squeeze_and_drop.py")
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(sources)
        z, log_det = run.encode(run.x, ReplayedNoise(noise))
        z = tf.reshape(z, (-1, size))
        parts = [z[:, i] for i in range(size)]
    assert log_det.shape == (7,)
    rows = []
    for part in parts:
        gradients = tape.gradient(part, sources, unconnected_gradients="zero")
        rows.append(np.concatenate([np.reshape(g, (len(z), -1)) for g in gradients], axis=1))
    _, expected = np.linalg.slogdet(np.stack(rows, axis=1))
    for array, kind in zip(noise, run.kinds, strict=True):
        if kind == "normal":
            expected -= norm.logpdf(np.reshape(array, (7, -1))).sum(axis=1)
    np.testing.assert_allclose(log_det, expected, rtol=1e-9, atol=1e-9)


@dtypes(daily="float32")
@cases()
def test_extreme_inputs_have_finite_values_and_gradients(name, dtype):
    case = CASES[name]
    size = math.prod(case.event_shape)
    # Each extreme in all places at once, and in one place beside all the others.
    extremes = np.array(case.extremes)
    rows = [np.full(size, value) for value in extremes]
    rows += [np.resize(np.roll(extremes, i), size) for i in range(len(extremes))]
    run = Run(name, dtype, x=np.reshape(rows, (-1, *case.event_shape)))
    with tf.GradientTape() as tape:
        tape.watch(run.x)
        z, log_det = run.encode(run.x)
        total = run.scalar(z, log_det) + tf.reduce_sum(run.flow.base.log_prob(z))
    weights = run.flow.trainable_variables
    gradients = tape.gradient(
        total, [run.x, *weights], unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    for value in (z, log_det, *gradients):
        assert np.isfinite(tf.convert_to_tensor(value)).all()
    assert np.isfinite(run.log_prob()).all()


@cases()
def test_a_gradient_reaches_every_trainable_weight(name):
    run = Run(name, n=50)
    with tf.GradientTape() as tape:
        log_prob = run.flow.density(run.x, run.context, run.replay(), training=True).log_prob
    weights = run.flow.trainable_variables
    for weight, gradient in zip(weights, tape.gradient(log_prob, weights), strict=True):
        assert gradient is not None, weight.path
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.path


@cases(slow=lambda name: name not in COMPILED)
def test_compiled_by_xla_equals_eager(name):
    run = Run(name, "float32")
    z, _ = run.encode(run.x)
    if run.case.latents is not None:
        z = tf.constant(run.case.latent(run.flow), tf.float32)
    # The blocks of the models are among the transforms: there, values are enough.
    sources = [] if name in MODELS else run.flow.trainable_variables

    def compute(x, z):
        with tf.GradientTape() as tape:
            tape.watch(x)
            encoded, log_det = run.encode(x)
            total = run.scalar(encoded, log_det)
        gradients = tape.gradient(
            total, [x, *sources], unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        decoded = [] if name in MODELS else [run.decode(z)]
        return [encoded, log_det, *decoded, *map(tf.convert_to_tensor, gradients)]

    compiled = tf.function(compute, jit_compile=True, autograph=False)(run.x, z)
    for one, other in zip(compiled, compute(run.x, z), strict=True):
        scale = np.abs(other).max() + 1e-6
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5 * scale)


@cases(slow=lambda name: name in LARGE)
def test_every_batch_size_gives_the_same_rows(name, dtype="float32"):
    run = Run(name, dtype)
    whole = run.log_prob()
    assert whole.shape == (7,)
    for n in (1, 2):
        part = run.log_prob(slice(n))
        assert part.shape == (n,)
        np.testing.assert_allclose(part, whole[:n], **TOLERANCE[dtype])
    if run.case.latents is not None:
        z = tf.constant(run.case.latent(run.flow, 3), dtype)
        context = None if run.context is None else run.given_context
        x = run.flow.decode(
            z, None if context is None else context[:3], noise=decoding_noise(run.flow, z)
        )
        assert (x.shape, x.dtype) == ((3, *run.case.event_shape), dtype)
        z = z[:1]
        one = run.flow.decode(
            z, None if context is None else context[:1], noise=decoding_noise(run.flow, z)
        )
        np.testing.assert_allclose(one, x[:1], **TOLERANCE[dtype])


@cases(slow=lambda name: name in LARGE or name in MODELS)
def test_float32_agrees_with_float64(name):
    run = Run(name)
    single = Run(name, "float32", flow=CASES[name].flow("float32"))
    for weight, wide in zip(single.flow.weights, run.flow.weights, strict=True):
        assert weight.dtype in ("float32", "int32"), weight.path
        assert wide.dtype in ("float64", "int32"), wide.path
        weight.assign(wide)
    single.noise = run.noise
    assert single.log_prob().dtype == "float32"
    assert run.log_prob().dtype == "float64"
    np.testing.assert_allclose(single.log_prob(), run.log_prob(), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_context_belongs_to_its_example():
    for name, case in CASES.items():
        if case.context_shape is None:
            continue
        run = Run(name)
        one, other = run.given_context[:1], run.given_context[-1:]
        assert not np.array_equal(one, other)
        for_all = run.log_prob(context=one[0])
        np.testing.assert_allclose(for_all, run.log_prob(context=np.repeat(one, 7, axis=0)))
        np.testing.assert_allclose(for_all[:1], run.log_prob(slice(1)))
        assert (np.abs(for_all - run.log_prob(context=other[0])) > 1e-6).all(), name


def same_weights(source, target):
    for weight, given in zip(target.weights, source.weights, strict=True):
        weight.assign(given)


@cases()
def test_configuration_goes_through_json(name):
    run = Run(name)
    config = keras.saving.serialize_keras_object(run.flow)
    text = json.dumps(config)
    copy = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(copy) is type(run.flow)
    assert json.dumps(keras.saving.serialize_keras_object(copy)) == text
    assert [w.shape for w in copy.weights] == [w.shape for w in run.flow.weights]
    assert copy.likelihood == run.flow.likelihood
    expected = run.log_prob()
    same_weights(run.flow, copy)
    run.flow = copy
    np.testing.assert_array_equal(run.log_prob(), expected)


@cases(MODELS)
def test_keras_file_gives_the_same_numbers(name, tmp_path):
    run = Run(name, "float32")
    expected = run.log_prob()
    run.flow.save(tmp_path / "flow.keras")
    run.flow = keras.models.load_model(tmp_path / "flow.keras")
    np.testing.assert_array_equal(run.log_prob(), expected)


@cases(MODELS, slow=lambda name: name != "idensenet")
def test_weight_file_gives_the_same_numbers(name, tmp_path):
    run = Run(name, "float32")
    expected = run.log_prob()
    run.flow.save_weights(tmp_path / "flow.weights.h5")
    run.flow = type(run.flow).from_config(run.flow.get_config())
    assert not np.array_equal(run.log_prob(), expected)
    run.flow.load_weights(tmp_path / "flow.weights.h5")
    np.testing.assert_array_equal(run.log_prob(), expected)


@cases(where=lambda case: math.prod(case.event_shape) <= 2)
def test_density_integrates_to_one(name):
    case, flow = CASES[name], flow_of(name)
    if flow.likelihood != "exact":
        pytest.skip("not a density, or an estimate of one")
    size = math.prod(case.event_shape)
    low, high = case.interval
    n = 4000 if size == 1 else 320
    middle = low + (high - low) * (np.arange(n) + 0.5) / n
    grid = np.stack(np.meshgrid(*[middle] * size), axis=-1).reshape(-1, *case.event_shape)
    contexts = [None] if case.context_shape is None else case.context(2)
    for context in contexts:
        density = np.exp(flow.log_prob(grid, context))
        integral = density.sum() * ((high - low) / n) ** size
        assert integral == pytest.approx(case.mass**size, abs=1e-3)


def test_dequantized_density_sums_to_one():
    # Over the integers, and over a grid of the numbers added to them.
    flow = flow_of("dequantization")
    fine = (np.arange(200) + 0.5) / 200
    one, other = np.meshgrid(np.arange(8), np.arange(8))
    x = np.stack([one.ravel(), other.ravel()], axis=1)
    u = np.stack(np.meshgrid(fine, fine), axis=-1).reshape(-1, 2)
    total = sum(np.exp(flow.log_prob(np.tile(row, (len(u), 1)), noise=[u])).mean() for row in x)
    # The latent is in the unit square: what the base density has there.
    mass = 0.5 * math.erf(1.0 / math.sqrt(2.0))
    assert total == pytest.approx(mass**2, abs=1e-5)


@pytest.mark.slow
def test_bad_inputs_are_one_clear_error_each():
    for name, case in CASES.items():
        flow = flow_of(name, "float32")
        x, context = case.data(), case.context()
        shape = f"(batch, {', '.join(map(str, case.event_shape))})"
        nan = x.copy()
        nan[2] = np.nan
        bad = [
            (x[0], f"x must have shape {shape}; got {x[0].shape}. One example alone is x[None]."),
            (x[..., None], f"x must have shape {shape}; got {(*x.shape, 1)}."),
            (
                np.concatenate([x, x], axis=-1),
                f"x must have shape {shape}; got {(*x.shape[:-1], 2 * x.shape[-1])}.",
            ),
            (x.astype("complex64"), "x must hold real numbers; its dtype is complex64."),
            (x > 0, "x must hold real numbers; its dtype is bool."),
            (x.astype(str), f"x must hold real numbers; its dtype is {x.astype(str).dtype}."),
            (nan, "x holds NaN or infinity in 1 of 7 examples, the first at index 2."),
            (np.where(np.isnan(nan), np.inf, nan), "x holds NaN or infinity in 1 of 7"),
            (x[:0], "x is an empty batch; at least one example is needed."),
            ([[1.0, 2.0], [3.0]], "x must be an array of numbers"),
        ]
        for value, message in bad:
            for argument in (
                value,
                *([tf.constant(value)] if isinstance(value, np.ndarray) else []),
            ):
                with pytest.raises(ValueError) as error:
                    flow.log_prob(argument, context)
                start = message.partition("its dtype")[0]
                assert str(error.value).startswith(start), name
        with pytest.raises(ValueError, match=r"^z must have shape"):
            flow.decode(x[..., None], context)


@cases()
def test_a_missing_or_needless_context_is_an_error(name):
    case = CASES[name]
    flow, x, context = flow_of(name, "float32"), case.data(), case.context()
    if context is None:
        with pytest.raises(ValueError, match="This flow has no context; got one"):
            flow.log_prob(x, np.zeros((7, 3)))
        return
    with pytest.raises(ValueError, match="This flow is conditional: give a `context` of shape"):
        flow.log_prob(x)
    with pytest.raises(ValueError, match="7 examples, but 6 contexts"):
        flow.log_prob(x, context[:6])
    with pytest.raises(ValueError, match="context must have shape"):
        flow.log_prob(x, np.zeros((7, 1, 1, 1)))
    if not case.labels:
        context[3] = np.nan
        with pytest.raises(ValueError, match="context holds NaN or infinity in 1 of 7"):
            flow.log_prob(x, context)


@pytest.mark.slow
def test_noise_size_is_what_is_consumed():
    for name in CASES:
        run = Run(name)
        consumed = sum(int(np.prod(array.shape[1:])) for array in run.noise if np.ndim(array))
        assert run.flow.noise_shape("encode") == (consumed,), name
        recording = RecordingNoise()
        run.flow.transform.decode(run.encode(run.x)[0], run.embedded(), recording)
        consumed = sum(int(np.prod(array.shape[1:])) for array in recording.arrays)
        assert run.flow.noise_shape("decode") == (consumed,), name


@pytest.mark.slow
def test_a_step_that_draws_asks_for_noise():
    for name, case in CASES.items():
        flow = flow_of(name)
        if flow.noise_shape("encode") != (0,):
            with pytest.raises(ValueError, match=r"draws random .*: give log_prob a `seed`"):
                flow.transform.encode(tf.constant(case.data()))
            x, context = case.data(), case.context()
            assert not np.array_equal(*(flow.log_prob(x, context, seed=i) for i in range(2))), name
            np.testing.assert_array_equal(*(flow.log_prob(x, context, seed=5) for _ in range(2)))


@pytest.mark.slow
def test_steps_multiply_to_the_whole():
    for name in CASES:
        run = Run(name)
        z, log_det = run.encode(run.x)
        steps = list(run.flow.transform.encode_steps(run.x, run.embedded(), run.replay()))
        if steps:
            np.testing.assert_allclose(steps[-1][1], z)
            np.testing.assert_allclose(sum(step[2] for step in steps), log_det)
        noise = decoding_noise(run.flow, z)
        back = list(run.flow.transform.decode_steps(z, run.embedded(), noise))
        assert [path for path, _ in back] == [path for path, *_ in reversed(steps)]
        if back and noise is None:
            np.testing.assert_allclose(back[-1][1], run.x, atol=1e-9)


@pytest.mark.slow
def test_delayed_concatenations_are_no_part_of_the_registry():
    # They would have no gradient; tests/layers/test_concatenation.py covers them.
    for name in CASES:
        for layer in flow_of(name)._flatten_layers():
            if isinstance(layer, LipschitzConcatenation):
                assert layer.start == 0
