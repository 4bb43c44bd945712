"""Keras's own checks of a layer, on every layer and model of the public API.

`run_layer_test` goes through the configuration, building, symbolic and eager calls, one step of
training, and a policy of mixed precision. What it cannot say of a transform, which takes a context
and noise and gives `(z, log_det)`, is checked here instead:

* Its training step hands the layer the data alone. A transform that draws or is conditional is
  trained as a flow, by `fit`.
* Mixed precision is no policy for transforms and flows: they refuse it.
* It knows nothing of `decode`: tests/test_properties.py compares both directions.
"""

import functools
import inspect
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.testing import TestCase

from keras_flows import Flow, bases, layers
from keras_flows.noise import SeededNoise
from keras_flows.transforms import Transform
from tests.registry import CASES, MODELS, TRANSFORMS, dense_net
from tests.test_api import LISTED, resolved

# Of steps without weights, and of how the check hands on its data.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:keras")

ABSTRACT = {
    "bases.Base",
    "bases.Independent",
    "layers.AutoregressiveNetwork",
    "layers.LipschitzLayer",
    "layers.MaskedNetwork",
    "layers.SpectralLayer",
    "transforms.Composite",
    "transforms.FlowDequantization",
    "transforms.Transform",
    "transforms.Triangular",
}
# Not on the page of the API, but steps of a public model.
OF_MODELS = (
    "models.denseflow.CrossUnitBlock",
    "models.denseflow.CrossUnitCoupling",
    "models.flowpp.FlowPlusPlusDequantization",
    "models.flowpp.PartsConv1x1",
    "models.flowpp.PixelNorm",
    "models.glow.TopPrior",
    "models.vflow.Augmentation",
)
VECTORS, IMAGES = (2, 4), (2, 4, 4, 4)


def _coupling_network(dtype=None):
    block = layers.ResidualDenseBlock(1, 2, dtype=dtype)
    return layers.CouplingNetwork(4, 4, [block], dtype=dtype)


# How to make one, given nothing or a dtype, and the shape of its input, the batch included.
MADE = {
    "bases.ChannelNormal": (bases.ChannelNormal, IMAGES),
    "bases.NormalWithCircles": (functools.partial(bases.NormalWithCircles, [1]), VECTORS),
    "bases.StandardLogistic": (bases.StandardLogistic, VECTORS),
    "bases.StandardNormal": (bases.StandardNormal, VECTORS),
    "layers.BatchNorm": (layers.BatchNorm, IMAGES),
    "layers.CLipSwish": (layers.CLipSwish, VECTORS),
    "layers.ConditionedDense": (functools.partial(layers.ConditionedDense, 3, "tanh"), VECTORS),
    "layers.CouplingNetwork": (_coupling_network, IMAGES),
    "layers.DenseAttentionBlock": (functools.partial(layers.DenseAttentionBlock, 1, 2), IMAGES),
    "layers.ELU": (layers.ELU, VECTORS),
    "layers.GatedConv1x1": (functools.partial(layers.GatedConv1x1, 4), IMAGES),
    "layers.GatedDenseBlock": (functools.partial(layers.GatedDenseBlock, 4, 1, 2), IMAGES),
    "layers.LeakyLipSwish": (layers.LeakyLipSwish, VECTORS),
    "layers.LipSwish": (layers.LipSwish, VECTORS),
    "layers.LipschitzConcatenation": (
        layers.LipschitzConcatenation,
        {"x_shape": (2, 4), "branch_shape": (2, 3)},
    ),
    "layers.LipschitzDenseLayer": (functools.partial(layers.LipschitzDenseLayer, 4), VECTORS),
    "layers.LipschitzSequential": (lambda dtype=None: dense_net(dtype), (2, 2)),
    "layers.MADE": (functools.partial(layers.MADE, 4, 2, (6,)), VECTORS),
    "layers.MaskedConvNetwork": (
        functools.partial(layers.MaskedConvNetwork, (4, 4, 4), 2, 4, 1, 4, 3),
        IMAGES,
    ),
    "layers.NystromAttention": (functools.partial(layers.NystromAttention, 4), IMAGES),
    "layers.ReLU": (layers.ReLU, VECTORS),
    "layers.ResidualConvolution": (layers.ResidualConvolution, IMAGES),
    "layers.ResidualDenseBlock": (functools.partial(layers.ResidualDenseBlock, 1, 2), IMAGES),
    "layers.ResidualMADE": (functools.partial(layers.ResidualMADE, 4, 2, 6, 1), VECTORS),
    "layers.ResidualNetwork": (functools.partial(layers.ResidualNetwork, 3, 6, 1), VECTORS),
    "layers.Softplus": (layers.Softplus, VECTORS),
    "layers.SpectralConv2D": (functools.partial(layers.SpectralConv2D, 3, 3), IMAGES),
    "layers.SpectralDense": (functools.partial(layers.SpectralDense, 3), VECTORS),
    "layers.StreamNetwork": (
        functools.partial(layers.StreamNetwork, (4, 4, 4), 6, 2, 1, 2),
        IMAGES,
    ),
    "layers.Tanh": (layers.Tanh, VECTORS),
    "layers.VouchedActivation": (functools.partial(layers.VouchedActivation, "gelu"), VECTORS),
}
# XLA compiles a step of training of each. The activations among them are like those that are not.
SLOW = {
    "layers.CouplingNetwork",
    "layers.DenseAttentionBlock",
    "layers.ELU",
    "layers.GatedDenseBlock",
    "layers.LeakyLipSwish",
    "layers.LipschitzDenseLayer",
    "layers.LipschitzSequential",
    "layers.MaskedConvNetwork",
    "layers.NystromAttention",
    "layers.StreamNetwork",
    "layers.ResidualMADE",
    "layers.ReLU",
    "layers.ResidualConvolution",
    "layers.ResidualDenseBlock",
    "layers.Softplus",
    "layers.SpectralConv2D",
    "models.DenseFlow",
    "models.FlowPlusPlus",
    "models.Glow",
    "models.IDenseNet",
    "models.ImageRealNVP",
    "models.MaskedAutoregressiveFlow",
    "models.PixelCNN",
    "models.PixelCNNPlusPlus",
    "models.InterlacedFlow",
    "models.Jet",
    "models.MaCow",
    "models.PoolFlow",
    "models.RealNVP",
    "models.ResidualFlow",
    "models.SplineFlow",
    "models.AugmentedNormalizingFlow",
    "models.TarFlow",
    "models.VFlow",
    "models.vflow.Augmentation",
    "models.denseflow.CrossUnitBlock",
    "models.denseflow.CrossUnitCoupling",
    "models.flowpp.FlowPlusPlusDequantization",
    "models.flowpp.PartsConv1x1",
    "transforms.AffineCoupling",
    "transforms.Autoregressive",
    "transforms.Chain",
    "transforms.Coupling",
    "transforms.FactorOut",
    "transforms.ResidualBlock",
    "transforms.VariationalDequantization",
}


def of_keras():
    """The names of all public layers and models that can be made, and their classes."""
    things = {name: resolved(name) for name in (*LISTED, *OF_MODELS)}
    return {
        name: thing
        for name, thing in things.items()
        if inspect.isclass(thing) and issubclass(thing, keras.layers.Layer) and name not in ABSTRACT
    }


def named(where):
    names = [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name, kind in of_keras().items()
        if where(kind)
    ]
    return pytest.mark.parametrize("name", names)


def is_step(kind):
    """Whether it is a transform or a flow, which the registry of the property suite has."""
    return issubclass(kind, (Transform, Flow))


@functools.cache
def kind_of(name):
    return type(CASES[name].make("float32"))


def case_of(kind):
    """The first case of the registry that makes one; without a context, where there is one."""
    table = TRANSFORMS if issubclass(kind, Transform) else MODELS
    cases = sorted(table.values(), key=lambda case: case.context_shape is not None)
    return next((case for case in cases if kind_of(case.name) is kind), None)


def test_every_layer_is_checked():
    found = of_keras()
    plain = {name for name, kind in found.items() if not is_step(kind)}
    assert plain == set(MADE), "give it a line in MADE"
    assert set(LISTED) > ABSTRACT and set(found) > SLOW
    assert len(found) - len(plain) > 20


@named(where=lambda kind: not is_step(kind))
def test_a_layer_is_one_of_keras(name):
    make, shape = MADE[name]
    TestCase().run_layer_test(
        make,
        {},
        input_shape=shape,
        # With several inputs, Keras's model for training hands them on as one.
        run_training_check=not isinstance(shape, dict),
    )


def _arguments(made, case, x):
    """The inputs of a call, and what it needs beside them."""
    context, needed = None, {}
    if case.context_shape is not None:
        context = tf.constant(case.context(2), tf.float32)
    if isinstance(made, Flow):
        return x if context is None else (x, context), needed
    if context is not None:
        needed["context"] = context
    if made.noise_size("encode"):
        needed["noise"] = SeededNoise(0)
    return x, needed


@named(where=is_step)
def test_a_step_or_a_flow_is_a_layer_of_keras(name):
    kind = of_keras()[name]
    case = case_of(kind)
    assert case is not None, "give it a case in tests/registry.py"

    def make():
        keras.utils.set_random_seed(0)
        return case.make("float32")

    x = tf.constant(case.data(2), tf.float32)
    built = make()
    if not built.built:
        built.build(x.shape)
    shape: tuple = (2,)
    if isinstance(built, Transform):
        shape = ((2, *built.encoded_shape(case.event_shape)), (2,))
    inputs, needed = _arguments(built, case, x)
    TestCase().run_layer_test(
        make,
        {},
        input_data=inputs,
        call_kwargs=needed,
        expected_output_shape=shape,
        expected_output_dtype=("float32", "float32") if len(shape) == 2 else "float32",
        run_training_check=inputs is x and not needed,
        run_mixed_precision_check=False,
    )
    with pytest.raises(ValueError, match=r"float32 or float64.*'mixed_float16'"):
        case.make("mixed_float16")
    if inputs is not x or needed:
        _train(case)


def _train(case):
    """One step of `fit`, which moves every trainable weight to a finite number."""
    flow = case.flow("float32")
    before = [weight.numpy() for weight in flow.trainable_weights]
    if not before:
        return
    # Adam moves a weight by the rate, however small its gradient.
    flow.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
    history = flow.fit(case.data(4), case.context(4), batch_size=4, verbose=0).history
    assert math.isfinite(history["loss"][0])
    for weight, old in zip(flow.trainable_weights, before, strict=True):
        assert np.isfinite(weight.numpy()).all() and (weight.numpy() != old).any(), weight.path
