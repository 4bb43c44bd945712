"""Bad input from a table: each is one clear error, and no number comes out.

Longer than other files: it is a table.
"""

import itertools
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_flows as kf
from keras_flows import layers, transforms
from keras_flows.bases import StandardNormal
from keras_flows.models import DenseFlow, IDenseNet, ResidualFlow
from keras_flows.models.residual.model import FullyConnected
from keras_flows.noise import SeededNoise
from keras_flows.numerics.log_det import PowerSeries, Unbiased
from keras_flows.training import Cycles, WarmUp
from keras_flows.transforms.maps import AffineMap
from keras_flows.transforms.masks import ChannelHalves

NAN, INF = float("nan"), float("inf")

# Constructors: values that no argument of a kind can mean ---------------------------------------

COUNT = (0, -1, 1.5, "3", True, [2], NAN)
COUNT_OR_0 = (-1, 1.5, "3", True, [2], NAN)
FLAG = ("yes", 1, 0.0, [True])
UP_TO_1 = (0.0, -0.1, 1.1, NAN, INF, "0.5", True)
POSITIVE = (0.0, -1.0, NAN, INF, "1", True)
BITS = (0, 17, 1.5, "8", True, NAN)
SHAPE = ("2", (2.5,), (0,), (-1,), 2, (True,), ("2",), {2: 2})
NONE_OF_ITS_KIND = ("net", 3, ["net"])


def dense(units=2):
    return layers.ConditionedDense(units)


def image(**arguments):
    return IDenseNet((4, 4, 1), **{"blocks": (1,), "depth": 1, "growth": 2, **arguments})


def vector(**arguments):
    return IDenseNet((2,), **{"blocks": 1, "depth": 1, "growth": 2, **arguments})


def plain(**arguments):
    return ResidualFlow((2,), **{"blocks": 1, "widths": (2,), **arguments})


def plain_image(**arguments):
    return ResidualFlow((4, 4, 1), **{"blocks": (1,), "widths": (2, 2), **arguments})


SMALL = {"units": (1,), "modules": (1,), "growth": 0, "width": 4, "coupling_depth": 1}
SMALL |= {"coupling_growth": 2, "attention": None, "dequantization": "uniform"}


def denseflow(**arguments):
    return DenseFlow((4, 4, 1), **{**SMALL, **arguments})


def flow(**arguments):
    return kf.Flow(**{"transform": transforms.Reverse(), "event_shape": (2,), **arguments})


def built(layer, shape=(None, 2)):
    layer.build(shape)


CONSTRUCTORS = [
    (vector, "blocks", COUNT),
    (vector, "depth", COUNT),
    (vector, "growth", COUNT),
    (vector, "coeff", UP_TO_1),
    (vector, "lip_coeff", UP_TO_1),
    (vector, "block_bound", (0.0, 1.0, -0.1, NAN, "0.9", True)),
    (vector, "power_iterations", COUNT),
    (vector, "learnable_concatenation", FLAG),
    (vector, "concatenation_start", COUNT_OR_0),
    (vector, "actnorm", FLAG),
    (vector, "activation", ("lipswsh", 3, {"class_name": "x", "config": {}})),
    (vector, "log_det", ("exakt", 3)),
    (vector, "dtype", ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16")),
    (vector, "seed", (-1, 2**31, 1.5, "0", True)),
    (vector, "context_shape", ((0,), "3", (2.5,), 3)),
    (image, "blocks", ((), "44", (1.5,), (0,), 3)),
    (image, "bits", BITS),
    (image, "alpha", (-0.1, 0.5, NAN, "0.1", True)),
    (image, "squeeze_first", FLAG),
    (image, "factor_out", FLAG),
    (image, "first_actnorm", FLAG),
    (plain_image, "first_activation", FLAG),
    (image, "fully_connected", ({"blocks": -1}, {"size": 0}, {"blokcs": 1}, 4, "four")),
    (plain, "widths", ((), "44", (1.5,), (0,), 3)),
    (denseflow, "units", ((), "1", (0,), (1.5,), 1)),
    (denseflow, "modules", ((), "1", (0,), (1.5,), 1)),
    (denseflow, "growth", COUNT_OR_0),
    (denseflow, "width", COUNT[:5]),
    (denseflow, "coupling_depth", COUNT),
    (denseflow, "coupling_growth", COUNT),
    (denseflow, "bits", BITS),
    (denseflow, "dequantization", ("unifrom", 3)),
    (denseflow, "recompute", FLAG),
    (flow, "event_shape", SHAPE),
    (flow, "context_shape", SHAPE),
    (flow, "transform", NONE_OF_ITS_KIND),
    (flow, "base", NONE_OF_ITS_KIND),
    (flow, "dtype", ("float16", "bfloat16")),
    (FullyConnected, "blocks", COUNT_OR_0),
    (FullyConnected, "size", COUNT),
    (transforms.UniformDequantization, "bits", BITS),
    (transforms.VariationalDequantization, "bits", BITS),
    (transforms.VariationalDequantization, "steps", COUNT),
    (transforms.VariationalDequantization, "width", COUNT),
    (transforms.VariationalDequantization, "depth", COUNT),
    (transforms.VariationalDequantization, "growth", COUNT),
    (transforms.VariationalDequantization, "context", COUNT),
    (transforms.Logit, "alpha", (-0.1, 0.5, NAN, "0.1", True)),
    (transforms.Squeeze, "factor", (*COUNT, 1)),
    (transforms.ActNorm, "minimum_variance", (-1.0, NAN, INF, "0.2")),
    (transforms.ActNorm, "epsilon", (-1.0, NAN, INF, "0.2")),
    (transforms.Affine, "shift", (NAN, INF)),
    (transforms.Affine, "scale", (0.0, NAN, INF)),
    (transforms.Permutation, "order", ([0, 0], [1, 2], "01", [0.0, 1.0])),
    (transforms.Chain, "steps", ([3], ["reverse"], [None])),
    (transforms.FactorOut, "inner", NONE_OF_ITS_KIND),
    (transforms.ResidualBlock, "net", NONE_OF_ITS_KIND),
    (transforms.Reverse, "dtype", ("float16", "mixed_bfloat16")),
    (AffineMap, "bound", POSITIVE),
    (PowerSeries, "terms", COUNT),
    (PowerSeries, "probes", COUNT),
    (PowerSeries, "probe", ("norml", 3)),
    (Unbiased, "distribution", ("poison", 3)),
    (Unbiased, "parameter", (0.0, 1.0, -1.0, NAN, "0.5")),
    (Unbiased, "exact_terms", (3, (1,), (1, 2, 3), (-1, 2), (1.5, 2), "12")),
    (Unbiased, "gradient", ("neuman", 3)),
]
OTHERS = {
    layers.SpectralDense: {"units": 2},
    layers.LipschitzDenseLayer: {"growth": 2},
    layers.GatedDenseBlock: {"filters": 2, "depth": 1, "growth": 1},
    layers.NystromAttention: {"embedding": 2},
    WarmUp: {"learning_rate": 0.1, "warmup_steps": 2},
}
CONSTRUCTORS += [
    (layers.SpectralDense, "units", COUNT),
    (layers.SpectralDense, "coeff", UP_TO_1),
    (layers.SpectralDense, "iterations", COUNT),
    (layers.LipschitzDenseLayer, "growth", COUNT),
    (layers.LipschitzDenseLayer, "lip_coeff", UP_TO_1),
    (layers.LipschitzDenseLayer, "start", COUNT_OR_0),
    (layers.GatedDenseBlock, "filters", COUNT),
    (layers.GatedDenseBlock, "depth", COUNT),
    (layers.GatedDenseBlock, "growth", COUNT),
    (layers.NystromAttention, "embedding", COUNT),
    (layers.NystromAttention, "landmarks", COUNT),
    (layers.NystromAttention, "heads", COUNT),
    (layers.NystromAttention, "layout", ("propper", 3)),
    (WarmUp, "learning_rate", POSITIVE),
    (WarmUp, "warmup_steps", POSITIVE),
    (WarmUp, "decay", POSITIVE),
]
TABLE = [
    pytest.param(make, name, value, id=f"{make.__name__}-{name}-{value!r:.30}")
    for make, name, values in CONSTRUCTORS
    for value in values
]


@pytest.mark.parametrize(("make", "name", "value"), TABLE)
def test_constructors(make, name, value):
    with pytest.raises((ValueError, TypeError)) as error:
        make(**{**OTHERS.get(make, {}), name: value})
    words = {"iterations": "iterations", "dtype": "dtype", "log_det": "log-det"}
    words |= {"power_iterations": "iterations", "exact_terms": "exact"}
    words |= {"units": "units|at least one block", "modules": "units and modules|modules"}
    message = str(error.value)
    assert re.search(words.get(name, name.replace("_", ".")), message), message
    assert type(error.value) is ValueError, message


# Calls -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def continuous():
    return flow()


@pytest.fixture(scope="module")
def integers():
    chain = transforms.Chain([transforms.UniformDequantization(3), transforms.Logit(0.05)])
    return kf.Flow(chain, (2, 2, 1))


class Shift(transforms.Transform):
    """The smallest transform that depends on its context: adds its first number."""

    def encode(self, x, context=None, noise=None, training=False):
        return x + context[:, :1], tf.zeros(tf.shape(x)[:1], x.dtype)

    def decode(self, z, context=None, noise=None):
        return z - context[:, :1]


@pytest.fixture(scope="module")
def labelled():
    return kf.Flow(Shift(), (2,), (), keras.layers.Embedding(10, 3))


@pytest.fixture(scope="module")
def conditional():
    return kf.Flow(Shift(), (2,), (3,))


X = np.random.default_rng(0).standard_normal((4, 2)).astype("float32")
PIXELS = np.zeros((3, 2, 2, 1), "float32")

DATA = {
    "three columns": (np.ones((4, 3)), r"x must have shape \(batch, 2\); got \(4, 3\)"),
    "one example": (np.ones(2), r"One example alone is x\[None\]"),
    "a number": (1.0, "x must have shape"),
    "empty": (np.ones((0, 2)), "x is an empty batch"),
    "three axes": (np.ones((4, 2, 1)), "x must have shape"),
    "complex": (np.ones((4, 2), complex), "real numbers; its dtype is complex"),
    "booleans": (np.ones((4, 2), bool), "real numbers; its dtype is bool"),
    "text": (np.array([["a", "b"]]), "real numbers; its dtype is <U1"),
    "objects": (np.array([[None, 1]], object), "real numbers; its dtype is object"),
    "ragged": ([[1.0, 2.0], [3.0]], "x must be an array of numbers"),
    "NaN": (np.array([[1.0, NAN], [1.0, 2.0]]), "NaN or infinity in 1 of 2 examples.* index 0"),
    "infinity": (np.array([[1.0, 2.0], [INF, 2.0]]), "NaN or infinity in 1 of 2 .* index 1"),
}
METHODS = ("log_prob", "encode", "decode", "__call__")


@pytest.mark.parametrize(
    ("method", "kind"), list(itertools.product(METHODS, DATA)), ids=lambda value: value.strip("_")
)
def test_data(continuous, method, kind):
    x, message = DATA[kind]
    if method == "__call__" and kind in ("a number", "text", "objects", "ragged"):
        message = ""  # Keras's own words
    elif method == "decode":
        message = re.sub(r"\bx\b", "z", message)
    with pytest.raises((ValueError, TypeError), match=message):
        getattr(continuous, method)(x)


@pytest.mark.parametrize(
    ("pixels", "first"),
    [(PIXELS + 0.5, 0), (PIXELS - 1, 0), (PIXELS + 8, 0)],
    ids=["fractions", "negative", "too large"],
)
@pytest.mark.parametrize("method", ["log_prob", "encode", "bits_per_dim", "__call__", "predict"])
def test_pixels(integers, pixels, first, method):
    with pytest.raises(
        kf.NonFiniteError, match="NaN" if method == "predict" else r"integers 0 … 7"
    ):
        getattr(integers, method)(pixels)


LABELS = {
    "-1": -1,
    "ten": 10,
    "a fraction": 1.9,
    "2^32 + 3": np.array([2**32 + 3] * 4, "int64"),
    "NaN": NAN,
    "one of four": [0, 1, 2, 99],
    "text": ["a", "b", "c", "d"],
    "booleans": [True] * 4,
}


@pytest.mark.parametrize("label", LABELS.values(), ids=LABELS)
def test_labels(labelled, label):
    for call in (
        lambda: labelled.log_prob(X, label),
        lambda: labelled.encode(X, label),
        lambda: labelled.decode(X, label),
        lambda: labelled.sample(4, context=label),
        lambda: labelled((X, np.broadcast_to(label, (4,)))),
        lambda: labelled.as_distribution(label),
    ):
        with pytest.raises(ValueError, match=r"Labels must be integers from 0 to 9|label must be"):
            call()
    labelled.compile("sgd", jit_compile=False)
    for method in (labelled.fit, labelled.evaluate):
        with pytest.raises(ValueError, match=r"Labels must be integers from 0 to 9|label must be"):
            method(X, np.broadcast_to(label, (4,)), verbose=0)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("label", [-1, 10, 2**32 + 3])
def test_labels_in_a_data_set_stop_a_fit(labelled, label, jit_compile):
    labelled.compile("sgd", jit_compile=jit_compile)
    data = tf.data.Dataset.from_tensors((X, np.array([0, 1, 2, label], "int64")))
    with pytest.raises(kf.NonFiniteError, match="first in the context"):
        labelled.fit(data, verbose=0)


def test_labels_in_a_graph_are_nan(labelled):
    got = tf.function(labelled.log_prob)(X, tf.constant([0, 1, 10, -1]))
    np.testing.assert_array_equal(np.isnan(got), [False, False, True, True])
    np.testing.assert_array_equal(got[:2], labelled.log_prob(X[:2], [0, 1]))


CONTEXTS = {
    "none": (None, "This flow is conditional: give a `context`"),
    "another size": (np.ones((4, 2)), r"context must have shape \(batch, 3\)"),
    "another number": (np.ones((3, 3)), "There are 4 examples, but 3 contexts"),
    "NaN": (np.full((4, 3), NAN), "context holds NaN or infinity in 4 of 4"),
    "text": ([["a", "b", "c"]] * 4, "context must hold real numbers"),
}


@pytest.mark.parametrize(("context", "message"), CONTEXTS.values(), ids=CONTEXTS)
@pytest.mark.parametrize("method", ["log_prob", "encode", "decode"])
def test_contexts(conditional, method, context, message):
    with pytest.raises(ValueError, match=message):
        getattr(conditional, method)(X, context)


ARGUMENTS = {
    "a context too many": (lambda f: f.log_prob(X, np.ones((4, 3))), "This flow has no context"),
    "no samples": (lambda f: f.sample(0), "n must be an integer, at least 1"),
    "a fraction of a sample": (lambda f: f.sample(1.5), "n must be an integer, at least 1"),
    "a negative temperature": (lambda f: f.sample(2, temperature=-1.0), "temperature must be"),
    "a temperature of NaN": (lambda f: f.sample(2, temperature=NAN), "temperature must be"),
    "a fraction as seed": (lambda f: f.sample(2, seed=1.5), "A seed is an integer"),
    "a seed of three": (lambda f: f.sample(2, seed=(1, 2, 3)), "A seed is an integer"),
    "a name as seed": (lambda f: f.sample(2, seed="a"), "seed"),
    "probes of what is exact": (lambda f: f.log_prob(X, num_probes=2), "draws no random numbers"),
    "no probes": (lambda f: f.log_prob(X, num_probes=0), "num_probes must be an integer"),
    "importance": (lambda f: f.log_prob(X, num_importance_samples=2), "lower bound"),
    "bits of what has none": (lambda f: f.bits_per_dim(X), "defined for dequantized integers"),
    "noise of what draws none": (lambda f: f.log_prob(X, noise=[X]), "only 0 were"),
    "noise and seed": (lambda f: f.log_prob(X, noise=[], seed=1), "either noise or a seed"),
    "a direction": (lambda f: f.noise_shape("forward"), "'encode' or 'decode'"),
    "Keras's export": (lambda f: f.export("x"), "kf.export.to_saved_model"),
    "no data": (lambda f: f.fit(None), "There are no data: x is None"),
    "no data to score": (lambda f: f.evaluate(None), "There are no data: x is None"),
    "a context to fit": (lambda f: f.fit(X, X), "This flow has no context"),
    "a context to evaluate": (lambda f: f.evaluate(X, X), "This flow has no context"),
    "weights too few": (
        lambda f: f.fit(X, sample_weight=np.ones(3)),
        "one number for each of the 4",
    ),
    "weights by class": (lambda f: f.fit(X, class_weight={0: 1.0}), "no classes to weigh"),
    "a callback alone": (
        lambda f: f.fit(X, callbacks=keras.callbacks.History()),
        "callbacks must be a list",
    ),
    "no callback": (lambda f: f.fit(X, callbacks=[3]), "Every callback must be a"),
    "a loss": (lambda f: f.compile(loss="mse"), "compile takes no loss"),
    "metrics": (lambda f: f.compile(metrics=["mse"]), "compile takes no metrics"),
    "weighted metrics": (lambda f: f.compile(weighted_metrics=["mse"]), "no weighted_metrics"),
}


@pytest.mark.parametrize(("call", "message"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments(call, message):
    given = flow(transform=transforms.ActNorm())
    given.compile("sgd", jit_compile=False)
    with pytest.raises((ValueError, NotImplementedError), match=message):
        call(given)


def test_nothing_to_train():
    given = flow(transform=transforms.ActNorm())
    given.trainable = False
    given.compile("sgd", jit_compile=False)
    with pytest.raises(ValueError, match="All weights of this flow are frozen"):
        given.fit(X, verbose=0)


def test_a_fit_with_a_callback_list_stops_at_nan():
    given = flow(transform=transforms.ActNorm())
    given.compile("sgd", jit_compile=False)
    callbacks = keras.callbacks.CallbackList([], model=given)
    with pytest.raises(kf.NonFiniteError, match="at step 0, first in the data"):
        given.fit(tf.data.Dataset.from_tensors(X * NAN), callbacks=callbacks, verbose=0)


def test_a_policy_of_half_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        with pytest.raises(ValueError, match="float32 or float64; the dtype policy is 'mixed_bfl"):
            vector()
    finally:
        keras.config.set_dtype_policy(before)


def test_another_backend():
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    program = [sys.executable, "-c", "import keras_flows"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "keras-flows runs on TensorFlow, and KERAS_BACKEND is 'jax'" in done.stderr


@pytest.mark.parametrize(
    "transform", [transforms.Reverse(), transforms.Flatten(), transforms.ActNorm()]
)
def test_symbolic_calls_give_both_results(transform):
    z, log_det = transform(keras.Input((4,)))
    assert (z.shape, log_det.shape) == ((None, 4), (None,))


def test_the_export_of_keras_is_refused_for_ours():
    with pytest.raises(
        NotImplementedError, match=r"kf\.export\.to_saved_model.*kf\.export\.to_onnx"
    ):
        vector().export("folder")


def test_cycles_without_a_start():
    with pytest.raises(ValueError, match="the step at which it begins"):
        Cycles([WarmUp(0.1, 2)], [])


def test_the_table_is_long():
    data = len(METHODS) * len(DATA) + 8 * 8 + len(CONTEXTS) * 3 + len(ARGUMENTS)
    assert len(TABLE) + data >= 300


def test_good_input_still_passes(continuous, labelled, integers):
    assert continuous.log_prob(X).shape == (4,)
    assert labelled.log_prob(X, np.array([0.0, 1.0, 2.0, 9.0])).shape == (4,)
    assert np.isfinite(integers.predict(PIXELS, verbose=0)).all()
    assert dense(3).units == 3 and isinstance(continuous.base, StandardNormal)
    transforms.Coupling(ChannelHalves(), layers.GatedConv1x1(2), AffineMap())
    SeededNoise(1).normal(2, (1,), "float32")
