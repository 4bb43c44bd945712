"""Every transform and every model at a tiny size, for the property suite.

Longer than other files: one entry for every transform and model.

A new transform or model adds one entry to `CASES`.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from scipy.special import expit
from scipy.stats import norm

from keras_flows import Flow
from keras_flows.bases import ChannelNormal, StandardLogistic
from keras_flows.layers import (
    MADE,
    ConditionedDense,
    CouplingNetwork,
    DenseAttentionBlock,
    LipschitzDenseLayer,
    LipschitzSequential,
    MaskedConvNetwork,
    ResidualConvolution,
    ResidualDenseBlock,
    ResidualMADE,
    ResidualNetwork,
    VouchedActivation,
)
from keras_flows.models import (
    AugmentedNormalizingFlow,
    DenseFlow,
    FlowPlusPlus,
    Glow,
    IDenseNet,
    ImageRealNVP,
    InterlacedFlow,
    Jet,
    MaCow,
    MaskedAutoregressiveFlow,
    PixelCNN,
    PixelCNNPlusPlus,
    PoolFlow,
    RealNVP,
    ResidualFlow,
    SplineFlow,
    TarFlow,
    VFlow,
)
from keras_flows.models.denseflow import CrossUnitBlock, CrossUnitCoupling
from keras_flows.models.flowpp import FlowPlusPlusDequantization, PartsConv1x1, PixelNorm
from keras_flows.models.glow import TopPrior
from keras_flows.models.jet import VisionTransformer
from keras_flows.models.macow import RowNetwork
from keras_flows.models.tarflow import TokenNetwork
from keras_flows.models.vflow import Augmentation
from keras_flows.noise import Noise, SeededNoise
from keras_flows.numerics.log_det import PowerSeries, Unbiased
from keras_flows.transforms import (
    ActNorm,
    Affine,
    AffineCoupling,
    AppendNoise,
    Asinh,
    Autoregressive,
    BatchNormalize,
    Chain,
    Columns,
    Conv1x1,
    Coupling,
    Drop,
    FactorOut,
    Flatten,
    Logit,
    MaxPool,
    Patches,
    Permutation,
    ResidualBlock,
    Reverse,
    Sigmoid,
    Squeeze,
    SqueezeAndDrop,
    Standardize,
    SwapHalves,
    Turn,
    UniformDequantization,
    VariationalDequantization,
)
from keras_flows.transforms.columns import (
    CircleColumn,
    IntegerColumn,
    IntervalColumn,
    PeriodicColumn,
    PositiveColumn,
    RealColumn,
    SoftplusColumn,
)
from keras_flows.transforms.maps import (
    AffineLogisticMixtureMap,
    AffineMap,
    BoundedSplineMap,
    CensoredLogisticMixtureMap,
    FeatureMaps,
    LogisticMixtureMap,
    NormalMap,
    PeriodicSplineMap,
    SigmoidMap,
    SigmoidScaleMap,
    SplineMap,
)
from keras_flows.transforms.masks import (
    AlternateColumns,
    ChannelHalves,
    Checkerboard,
    FeatureMask,
    HalfTheTokens,
)


@keras.saving.register_keras_serializable("tests")
class SmallPerceptron(keras.layers.Layer):
    """The smallest network of a coupling on vectors that sees a context."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = keras.layers.Dense(units, "tanh", dtype=self.dtype_policy)

    def build(self, input_shape):
        self.dense.build((None, input_shape[-1] + 2))
        self.built = True

    def call(self, x, context=None, training=False):
        return self.dense(tf.concat([x, context], axis=-1))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@dataclass(frozen=True)
class Case:
    """One entry.

    Attributes:
        name: What the test reports call it.
        make: From a dtype name to a fresh `Transform` or `Flow`.
        event_shape: Shape of one example.
        context_shape: Shape of one example's context, None without one.
        labels: Number of labels where the context is one.
        draw: Valid data, from a NumPy generator and a shape.
        latents: Latents that can be decoded, likewise; None where decoding does not invert.
        extremes: Numbers at the edge of the valid data.
        interval: The numbers outside which the density of data is negligible.
        mass: The share of the base density that encoded data covers, per dimension.
        trained: Whether to move the weights away from their start.
        spread: The deviation of that move.
    """

    name: str
    make: Callable
    event_shape: tuple = (2,)
    context_shape: tuple | None = None
    labels: int | None = None
    draw: Callable = np.random.Generator.standard_normal
    latents: Callable | None = np.random.Generator.standard_normal
    extremes: tuple = (-1e4, -1.0, 0.0, 1e-30, 1.0, 1e4)
    interval: tuple = (-16.0, 16.0)
    mass: float = 1.0
    trained: bool = True
    spread: float = 0.3

    def flow(self, dtype="float64"):
        """A fresh flow around the transform, or the model itself; always the same weights."""
        keras.utils.set_random_seed(1)
        made = self.make(dtype)
        if not isinstance(made, Flow):
            made = Flow(made, self.event_shape, self.context_shape, dtype=dtype)
        if self.trained:
            move_weights(made, spread=self.spread)
        return made

    def data(self, n=7, seed=0):
        """Valid data, float64 `(n, *event_shape)`."""
        return self.draw(np.random.default_rng(seed), (n, *self.event_shape))

    def context(self, n=7, seed=0):
        """Contexts, or None."""
        if self.context_shape is None:
            return None
        rng = np.random.default_rng((seed, 1))
        if self.labels:
            return rng.integers(self.labels, size=(n, *self.context_shape))
        return rng.standard_normal((n, *self.context_shape))

    def latent(self, flow, n=7, seed=0):
        """Latents that can be decoded, float64."""
        return self.latents(np.random.default_rng((seed, 2)), (n, *flow.latent_shape))


def move_weights(flow, seed=2, spread=0.3):
    """Adds noise to the trainable weights, so that no test sees zeros and identities only."""
    rng = np.random.default_rng(seed)
    for weight in flow.trainable_weights:
        weight.assign_add(spread * rng.standard_normal(weight.shape))
    flow.converge()


class RecordingNoise(Noise):
    """Draws from a seed and keeps the arrays, to replay them, and what kind each is of."""

    def __init__(self, seed=0):
        self._source = SeededNoise(seed)
        self.arrays, self.kinds = [], []

    def _record(self, kind, *arguments):
        array = getattr(self._source, kind)(*arguments)
        self.arrays.append(array.numpy())
        self.kinds.append(kind)
        return array

    def normal(self, batch, event_shape, dtype):
        return self._record("normal", batch, event_shape, dtype)

    def uniform(self, batch, event_shape, dtype):
        return self._record("uniform", batch, event_shape, dtype)

    def rademacher(self, batch, event_shape, dtype):
        return self._record("rademacher", batch, event_shape, dtype)

    def scalar(self, dtype):
        return self._record("scalar", dtype)


def dense_net(dtype, activation="lipswish", context_size=None, features=2):
    """The network of an i-DenseNet block: depth 2, growth 4."""
    shared = {"context_size": context_size, "dtype": dtype}
    layers = [LipschitzDenseLayer(4, activation, **shared) for _ in range(2)]
    return LipschitzSequential([*layers, ConditionedDense(features, dtype=dtype)], dtype=dtype)


def plain_net(dtype, activation="lipswish", context_size=None, features=2):
    """The network of a Residual Flow block: two layers of width 4."""
    shared = {"context_size": context_size, "dtype": dtype}
    layers = [ConditionedDense(units, activation, **shared) for units in (4, features)]
    return LipschitzSequential(layers, dtype=dtype)


def residual_block(dtype, net=dense_net, log_det="exact", **kwargs):
    """A residual block around one of the networks above."""
    return ResidualBlock(net(dtype, **kwargs), log_det, dtype=dtype)


def _initialized_actnorm(dtype, shape=(2,)):
    actnorm = ActNorm(dtype=dtype)
    actnorm.build((None, *shape))
    batch = 3.0 * np.random.default_rng(3).standard_normal((20, *shape)) + 1.0
    actnorm.encode(tf.constant(batch, dtype), training=True)
    return actnorm


def _chain(dtype):
    steps = [
        ActNorm(dtype=dtype),
        residual_block(dtype),
        Permutation([1, 0], dtype=dtype),
        Affine([0.5, -1.0], [2.0, 0.7], dtype=dtype),
    ]
    return Chain(steps, dtype=dtype)


def _nested_chain(dtype):
    inner = Chain([Reverse(dtype=dtype), _chain(dtype)], dtype=dtype)
    return Chain([inner, Sigmoid(dtype=dtype), Logit(alpha=0.0, dtype=dtype)], dtype=dtype)


def _dequantized_flow(dtype):
    steps = [
        UniformDequantization(bits=3, dtype=dtype),
        Logit(dtype=dtype),
        residual_block(dtype, log_det=Unbiased()),
    ]
    return Chain(steps, dtype=dtype)


def coupling(dtype, channels=4, attention="published", context_size=None, block=None):
    """An affine coupling whose network has one block."""
    if block is None:
        block = DenseAttentionBlock(2, 3, attention, 2, dtype=dtype)
    filters = 2 * (channels // 2)
    net = CouplingNetwork(filters, 4, [block], context_size, dtype=dtype)
    return AffineCoupling(net, dtype=dtype)


def _cross_unit_block(dtype):
    units = [
        Chain([Conv1x1(dtype=dtype), coupling(dtype, 3 + 2 * i)], dtype=dtype) for i in range(3)
    ]
    return CrossUnitBlock(units, growth=2, channels=3, dtype=dtype)


def _variational_dequantization(dtype):
    sizes = {"steps": 1, "width": 4, "depth": 1, "growth": 3, "context": 3}
    return VariationalDequantization(3, **sizes, dtype=dtype)


def _channel_normal(dtype):
    affine = Affine([0.5, -1.0], [2.0, 0.7], dtype=dtype)
    return Flow(affine, (2,), base=ChannelNormal(dtype=dtype), dtype=dtype)


def _standard_logistic(dtype):
    step = autoregressive(dtype, LogisticMixtureMap(2), features=1)
    return Flow(step, (1,), base=StandardLogistic(dtype=dtype), dtype=dtype)


def _uniform(rng, shape):
    return rng.uniform(0.02, 0.98, shape)


def _integers(rng, shape):
    return rng.integers(8, size=shape).astype("float64")


def _image(rng, shape):
    return rng.standard_normal(shape) * [1.0, 3.0] + [0.0, 5.0]


_TINY = {"blocks": 2, "depth": 2, "growth": 4}
_TINY_PLAIN = {"blocks": 2, "widths": (6, 6)}
_INTEGERS = {"draw": _integers, "latents": None, "extremes": (0.0, 7.0)}
# Networks with many inputs to a number, which large weights would make chaotic.
_WIDE = {**_INTEGERS, "spread": 0.1}


def _idensenet(event_shape=(2,), **arguments):
    return lambda dtype: IDenseNet(event_shape, **{**_TINY, **arguments}, dtype=dtype)


def _residual_flow(event_shape=(2,), **arguments):
    return lambda dtype: ResidualFlow(event_shape, **_TINY_PLAIN, **arguments, dtype=dtype)


_TINY_DENSE = {
    "units": (2, 1),
    "modules": (1, 2),
    "growth": 1,
    "width": 4,
    "coupling_depth": 1,
    "coupling_growth": 3,
    "bits": 3,
    "dequantization": {
        "class_name": "variational",
        "config": {"steps": 1, "width": 4, "depth": 1, "growth": 3, "context": 3},
    },
    "landmarks": (2, 1),
}


def dense_flow(event_shape=(4, 4, 1), **arguments):
    """A tiny DenseFlow, from a dtype."""
    return lambda dtype: DenseFlow(event_shape, **{**_TINY_DENSE, **arguments}, dtype=dtype)


def _dense_flow_labels(dtype):
    embedding = keras.layers.Embedding(3, 4, dtype=dtype)
    return dense_flow(context_shape=(), context_embedding=embedding)(dtype)


def _residual_flow_image(dtype):
    return ResidualFlow(
        (4, 4, 1),
        blocks=(1, 1),
        widths=(6, 6),
        bits=3,
        fully_connected=None,
        factor_out=True,
        dtype=dtype,
    )


def _image_net(dtype):
    """The network of an i-DenseNet block on images of two channels."""
    layers = [LipschitzDenseLayer(4, kernel_size=3, dtype=dtype) for _ in range(2)]
    output = ConditionedDense(2, kernel_size=1, dtype=dtype)
    return LipschitzSequential([*layers, output], dtype=dtype)


def _factor_out(dtype):
    inner = [residual_block(dtype, net=_image_net), ActNorm(dtype=dtype)]
    return FactorOut(Chain(inner, dtype=dtype), dtype=dtype)


def _embedded(**arguments):
    def make(dtype):
        embedding = keras.layers.Embedding(3, 4, dtype=dtype)
        return IDenseNet(
            (2,), **_TINY, context_shape=(), context_embedding=embedding, dtype=dtype, **arguments
        )

    return make


def _embedded_image(dtype):
    layers = [keras.layers.Flatten(dtype=dtype), keras.layers.Dense(3, "tanh", dtype=dtype)]
    embedding = keras.Sequential(layers)
    return ResidualFlow(
        (2,), **_TINY_PLAIN, context_shape=(2, 2), context_embedding=embedding, dtype=dtype
    )


_TRANSFORMS = [
    Case("affine", lambda dtype: Affine([0.5, -1.0], [2.0, -0.7], dtype=dtype)),
    Case("affine_number", lambda dtype: Affine(1.0, 3.0, dtype=dtype), (1,)),
    Case(
        "logit",
        lambda dtype: Logit(dtype=dtype),
        draw=_uniform,
        extremes=(0.0, 1e-30, 0.5, 1.0),
        interval=(0.0, 1.0),
        mass=1.0 - 2.0 * norm.cdf(np.log(0.05 / 0.95)),
    ),
    Case(
        "logit_alpha_0",
        lambda dtype: Logit(0.0, dtype=dtype),
        draw=_uniform,
        extremes=(1e-30, 0.5, 1.0 - 1e-7),
        interval=(0.0, 1.0),
    ),
    Case(
        "sigmoid",
        lambda dtype: Sigmoid(dtype=dtype),
        latents=lambda rng, shape: expit(rng.standard_normal(shape)),
        interval=(-20.0, 20.0),
        mass=norm.cdf(1.0) - 0.5,
    ),
    Case("permutation", lambda dtype: Permutation([2, 0, 1], dtype=dtype), (3,)),
    Case("permutation_image", lambda dtype: Permutation([1, 2, 0], dtype=dtype), (2, 2, 3)),
    Case("squeeze", lambda dtype: Squeeze(dtype=dtype), (4, 2, 3)),
    Case("squeeze_and_drop", lambda dtype: SqueezeAndDrop(dtype=dtype), (4, 2, 3)),
    Case("swap_halves", lambda dtype: SwapHalves(dtype=dtype)),
    Case("swap_halves_odd", lambda dtype: SwapHalves(dtype=dtype), (2, 2, 5)),
    Case("conv1x1", lambda dtype: Conv1x1(dtype=dtype), (2, 3, 4)),
    Case("affine_coupling", coupling, (2, 2, 4)),
    Case(
        "affine_coupling_odd",
        functools.partial(coupling, channels=5, attention="proper", context_size=3),
        (2, 2, 5),
        context_shape=(3,),
    ),
    Case(
        "affine_coupling_map",
        lambda dtype: coupling(
            dtype, 3, context_size=2, block=ResidualDenseBlock(2, 3, dtype=dtype)
        ),
        (2, 2, 3),
        context_shape=(2, 2, 2),
    ),
    Case(
        "coupling_on_vectors",
        lambda dtype: Coupling(
            ChannelHalves(), SmallPerceptron(4, dtype=dtype), AffineMap(1.0), dtype=dtype
        ),
        (5,),
        context_shape=(2,),
    ),
    Case(
        "cross_unit_coupling",
        lambda dtype: CrossUnitCoupling(2, context_size=3, dtype=dtype),
        (2, 2, 3),
        context_shape=(2, 2, 3),
        latents=None,
    ),
    Case("cross_unit_block", _cross_unit_block, (2, 2, 3), latents=None),
    Case("reverse", lambda dtype: Reverse(dtype=dtype)),
    Case("actnorm", lambda dtype: ActNorm(dtype=dtype), trained=False),
    Case("actnorm_initialized", _initialized_actnorm, interval=(-40.0, 40.0)),
    Case(
        "actnorm_image",
        functools.partial(_initialized_actnorm, shape=(2, 3, 2)),
        (2, 3, 2),
        draw=_image,
    ),
    Case("chain", _chain),
    Case("chain_nested", _nested_chain, extremes=(-6.0, -1e-30, 0.0, 6.0)),
    Case("chain_empty", lambda dtype: Chain([], dtype=dtype)),
    Case("dequantization", lambda dtype: UniformDequantization(3, dtype=dtype), **_INTEGERS),
    Case("dequantized_flow", _dequantized_flow, **_INTEGERS),
    Case("variational_dequantization", _variational_dequantization, (2, 4, 1), **_WIDE),
    Case("residual_plain", functools.partial(residual_block, net=plain_net)),
    Case(
        "residual_linear",
        lambda dtype: ResidualBlock(ConditionedDense(2, dtype=dtype), dtype=dtype),
        interval=(-60.0, 60.0),
    ),
    Case("residual_1d", functools.partial(residual_block, features=1), (1,)),
    # Beyond the size where the inverse uses the Jacobian.
    Case("residual_9d", functools.partial(residual_block, features=9), (9,)),
    Case("residual_context", functools.partial(residual_block, context_size=3), context_shape=(3,)),
    Case(
        "residual_plain_context",
        functools.partial(residual_block, net=plain_net, context_size=3),
        context_shape=(3,),
    ),
    *(
        Case(f"residual_{name}", functools.partial(residual_block, activation=name))
        for name in ("lipswish", "clipswish", "leaky_lipswish", "relu", "elu", "tanh", "softplus")
    ),
    Case(
        "residual_vouched",
        lambda dtype: residual_block(
            dtype, activation=VouchedActivation("log_sigmoid", dtype=dtype)
        ),
    ),
    *(
        Case(f"residual_{name}", functools.partial(residual_block, log_det=log_det))
        for name, log_det in {
            "power_series": PowerSeries(5),
            "power_series_signs": PowerSeries(3, probes=2, probe="rademacher"),
            "geometric": Unbiased(),
            "poisson": Unbiased("poisson", exact_terms=(1, 3), probe="rademacher"),
            "series_gradient": Unbiased(gradient="series", exact_terms=(2, 4), probes=2),
        }.items()
    ),
]


def spline_coupling(dtype, map, features=2, changed=(1,), context_size=None):
    """A coupling of vectors by a map, with a residual network."""
    units = len(changed) * map.parameters
    net = ResidualNetwork(units, 6, 1, context_size, dtype=dtype)
    return Coupling(FeatureMask(changed), net, map, dtype=dtype)


def spline_coupling_image(dtype):
    """A coupling by splines of two channels of an image, with a convolutional network."""
    map = SplineMap(3, 3.0)
    net = CouplingNetwork(2 * map.parameters, 4, [ResidualConvolution(dtype=dtype)], dtype=dtype)
    return Coupling(FeatureMask([0, 2]), net, map, dtype=dtype)


def _batch_normalize(dtype):
    step = BatchNormalize(dtype=dtype)
    step.build((None, 2))
    batch = 3.0 * np.random.default_rng(3).standard_normal((20, 2)) + [1.0, -5.0]
    for _ in range(10):
        step.encode(tf.constant(batch, dtype), training=True)
    return step


def autoregressive(dtype, map, net=ResidualMADE, features=2, **arguments):
    """An autoregressive step with a small masked network."""
    size = {"width": 6, "blocks": 1} if net is ResidualMADE else {"widths": (6, 5)}
    made = net(features, map.parameters, **size, **arguments, dtype=dtype)
    return Autoregressive(made, map, dtype=dtype)


def _standardize(dtype):
    step = Standardize(dtype=dtype)
    step.build((None, 2))
    step.adapt(3.0 * np.random.default_rng(3).standard_normal((20, 2)) + [1.0, -5.0])
    return step


def _columns(dtype, *maps):
    return Columns(maps, dtype=dtype)


def _all_columns(dtype):
    maps = [
        IntervalColumn(-1.0, 3.0),
        IntegerColumn(),
        RealColumn(),
        PositiveColumn(),
        PeriodicColumn(24.0, 5.5),
        IntegerColumn(),
        SoftplusColumn(2.0),
        RealColumn(),
    ]
    return Columns(maps, dtype=dtype)


def _rows(rng, shape):
    """Rows of all kinds of columns."""
    x = rng.standard_normal(shape)
    x[:, 0] = rng.uniform(-0.9, 2.9, len(x))
    x[:, [1, 5]] = rng.integers(-3, 9, (len(x), 2))
    x[:, [3, 6]] = rng.lognormal(size=(len(x), 2))
    x[:, 4] = rng.uniform(6.0, 29.0, len(x))
    return x


def _angles(rng, shape):
    return rng.uniform(-3.1, 3.1, shape)


def _positive(rng, shape):
    return rng.lognormal(size=shape)


# A million standard deviations and what is between, at the knots at the ends too.
_FAR = {"extremes": (-1e6, -3.0, -1.0, 0.0, 1e-30, 3.0, 1e6), "interval": (-6.0, 6.0)}
# Angles of a turn, and how much of a normal base they reach.
_TURN = {"draw": _angles, "latents": _angles, "extremes": (-1e6, -math.pi, 0.0, math.pi, 1e6)}
_TURN_NORMAL = {
    **_TURN,
    "interval": (-math.pi, math.pi),
    "mass": 1.0 - 2.0 * norm.cdf(-math.pi),
}

_TRANSFORMS += [
    Case(
        "spline_coupling",
        lambda dtype: spline_coupling(dtype, SplineMap(4, 3.0)),
        **_FAR,
    ),
    Case(
        "spline_coupling_context",
        lambda dtype: spline_coupling(dtype, SplineMap(3, 3.0), 5, (1, 3, 4), 2),
        (5,),
        (2,),
        **_FAR,
    ),
    Case(
        "spline_coupling_periodic",
        lambda dtype: spline_coupling(dtype, PeriodicSplineMap(4, 3.0)),
        **_FAR,
    ),
    Case("spline_coupling_image", spline_coupling_image, (2, 2, 3), **_FAR),
    Case("batch_normalize", lambda dtype: BatchNormalize(dtype=dtype), **_FAR),
    Case("batch_normalize_moved", _batch_normalize, **{**_FAR, "interval": (-40.0, 40.0)}),
    Case(
        "spline_bounded",
        lambda dtype: autoregressive(dtype, BoundedSplineMap(4, (0.0, 1.0), (-8.0, 8.0))),
        draw=_uniform,
        latents=lambda rng, shape: rng.uniform(-7.5, 7.5, shape),
        extremes=(0.0, 1e-30, 0.5, 1.0),
        interval=(0.0, 1.0),
    ),
    Case("autoregressive", lambda dtype: autoregressive(dtype, SplineMap(4, 3.0)), **_FAR),
    Case(
        "autoregressive_reverse",
        lambda dtype: autoregressive(dtype, SplineMap(3, 3.0), features=4, reverse=True),
        (4,),
        **_FAR,
    ),
    Case(
        "autoregressive_context",
        lambda dtype: autoregressive(dtype, SplineMap(3, 3.0), context_size=2),
        context_shape=(2,),
        **_FAR,
    ),
    Case(
        "autoregressive_affine",
        lambda dtype: autoregressive(dtype, AffineMap(), MADE, 3),
        (3,),
        **_FAR,
    ),
    Case(
        "autoregressive_affine_context",
        lambda dtype: autoregressive(dtype, AffineMap(), MADE, context_size=2),
        context_shape=(2,),
        **_FAR,
    ),
    Case(
        "autoregressive_1d",
        lambda dtype: autoregressive(dtype, SplineMap(4, 3.0), features=1),
        (1,),
        **_FAR,
    ),
    Case(
        "mixture_coupling",
        lambda dtype: spline_coupling(dtype, AffineLogisticMixtureMap(3)),
        **{**_FAR, "interval": (-40.0, 40.0)},
    ),
    Case(
        "mixture_autoregressive",
        lambda dtype: autoregressive(dtype, LogisticMixtureMap(3), MADE, 3, context_size=2),
        (3,),
        (2,),
        **_FAR,
    ),
    Case(
        "columns",
        _all_columns,
        (8,),
        draw=_rows,
        latents=None,
        extremes=(1.0, 2.0),
    ),
    Case(
        "columns_positive",
        lambda dtype: _columns(dtype, PositiveColumn()),
        (1,),
        draw=_positive,
        extremes=(1e-30, 1.0, 1e6, 1e30),
        interval=(0.0, 60.0),
        mass=norm.cdf(np.log(60.0)),
    ),
    Case(
        "columns_softplus",
        lambda dtype: _columns(dtype, SoftplusColumn(2.0)),
        (1,),
        draw=_positive,
        extremes=(1e-30, 0.19, 0.2, 0.21, 1.0, 1e6),
        interval=(0.0, 20.0),
    ),
    Case(
        "columns_interval",
        lambda dtype: _columns(dtype, IntervalColumn(-2.0, 3.0), IntervalColumn(-2.0, 3.0)),
        draw=lambda rng, shape: rng.uniform(-1.9, 2.9, shape),
        extremes=(-2.0 + 1e-6, -1.0, 0.0, 1e-30, 3.0 - 1e-6),
        interval=(-2.0, 3.0),
    ),
    Case(
        "columns_periodic",
        lambda dtype: _columns(dtype, PeriodicColumn(5.0, 1.0)),
        (1,),
        draw=lambda rng, shape: rng.uniform(1.1, 5.9, shape),
        extremes=(-1e6, -3.0, 0.0, 1e-30, 3.0, 1e6),
        interval=(-17.0, -12.0),
    ),
    Case(
        "columns_circle",
        lambda dtype: _columns(dtype, CircleColumn(5.0, 1.0)),
        (1,),
        **{
            **_TURN_NORMAL,
            "draw": lambda rng, shape: rng.uniform(1.1, 5.9, shape),
            "interval": (1.0, 6.0),
        },
    ),
    Case("turn", lambda dtype: Turn([1], 2.0, dtype=dtype), **_TURN_NORMAL),
    Case(
        "spline_coupling_circles",
        lambda dtype: spline_coupling(
            dtype, FeatureMaps([SplineMap(3, 3.0), PeriodicSplineMap(4)]), 3, (0, 2)
        ),
        (3,),
        **_FAR,
    ),
    Case(
        "asinh",
        lambda dtype: Asinh([0.5, -0.5], [0.3, 0.2], dtype=dtype),
        trained=False,
        **{**_FAR, "interval": (-12.0, 12.0)},
    ),
    Case("standardize", lambda dtype: Standardize(dtype=dtype), trained=False, **_FAR),
    Case("standardize_adapted", _standardize, **{**_FAR, "interval": (-40.0, 40.0)}),
]


def _autoregressive_image(dtype):
    """A continuous step on images, of three colours."""
    map = AffineMap()
    net = MaskedConvNetwork((2, 2, 3), map.parameters, 3, 1, 4, 3, dtype=dtype)
    return Autoregressive(net, map, dtype=dtype)


def _autoregressive_censored(dtype):
    map = CensoredLogisticMixtureMap(2, 3)
    net = MaskedConvNetwork((1, 2, 1), map.parameters, 3, 1, 4, 3, dtype=dtype)
    step = Autoregressive(net, map, dtype=dtype)
    return Flow(step, (1, 2, 1), base=StandardLogistic(dtype=dtype), dtype=dtype)


_TRANSFORMS += [
    Case("flatten", lambda dtype: Flatten(dtype=dtype), (2, 1, 3)),
    Case("factor_out", _factor_out, (2, 2, 4)),
    Case("autoregressive_image", _autoregressive_image, (2, 2, 3), **_FAR),
    Case(
        "factor_out_odd",
        lambda dtype: FactorOut(Affine(1.0, 2.0, dtype=dtype), dtype=dtype),
        (1, 2, 3),
    ),
    Case("residual_image", functools.partial(residual_block, net=_image_net), (3, 2, 2)),
]

_ON_IMAGES = {"bits": None, "log_det": "exact"}
_FRACTIONS = {"draw": _uniform, "extremes": (0.0, 1e-30, 0.5, 1.0)}

_MODELS = [
    Case("channel_normal", _channel_normal, interval=(-40.0, 40.0)),
    Case("standard_logistic", _standard_logistic, (1,), interval=(-40.0, 40.0)),
    Case("denseflow", dense_flow(), (4, 4, 1), **_WIDE),
    Case(
        "denseflow_one_block",
        dense_flow((2, 2, 1), units=(3,), modules=(1,), landmarks=1, attention="proper"),
        (2, 2, 1),
        **_WIDE,
    ),
    Case(
        "denseflow_uniform",
        dense_flow(dequantization="uniform", growth=0, attention=None, alpha=0.05),
        (4, 4, 1),
        **_WIDE,
    ),
    Case(
        "denseflow_labels",
        _dense_flow_labels,
        (4, 4, 1),
        context_shape=(),
        labels=3,
        **_WIDE,
    ),
    Case("idensenet", _idensenet()),
    Case("idensenet_1d", _idensenet((1,)), (1,)),
    Case("idensenet_3d", _idensenet((3,), activation="clipswish", actnorm=True), (3,)),
    Case("idensenet_fixed", _idensenet(learnable_concatenation=False)),
    Case("idensenet_bounded", _idensenet(block_bound=0.99, actnorm=True)),
    Case("idensenet_unbiased", _idensenet(log_det="unbiased")),
    Case("idensenet_context", _idensenet(context_shape=(3,)), context_shape=(3,)),
    Case("idensenet_labels", _embedded(), context_shape=(), labels=3),
    Case("residual_flow", _residual_flow()),
    Case("residual_flow_1d", _residual_flow((1,), activation="tanh"), (1,)),
    Case("residual_flow_bounded", _residual_flow(block_bound=0.99, actnorm=True)),
    Case("residual_flow_embedded", _embedded_image, context_shape=(2, 2)),
]

_SPLINE = {"width": 6, "blocks": 1, "bins": 4, "bound": 3.0}


def _spline_flow_labels(dtype):
    embedding = keras.layers.Embedding(3, 4, dtype=dtype)
    return SplineFlow(
        (3,), layers=2, **_SPLINE, context_shape=(), context_embedding=embedding, dtype=dtype
    )


_MODELS += [
    Case("spline_flow", lambda dtype: SplineFlow((2,), layers=2, **_SPLINE, dtype=dtype), **_FAR),
    Case(
        "spline_flow_coupling",
        lambda dtype: SplineFlow((3,), False, 2, **_SPLINE, context_shape=(2,), dtype=dtype),
        (3,),
        (2,),
        **_FAR,
    ),
    # One feature on a circle, of which the interval holds two turns, and one that is not.
    Case(
        "spline_flow_circles",
        lambda dtype: SplineFlow((2,), layers=2, **_SPLINE, circles=[1], dtype=dtype),
        **{**_TURN, "interval": (-2.0 * math.pi, 2.0 * math.pi), "mass": math.sqrt(2.0)},
    ),
    Case(
        "spline_flow_circles_coupling",
        lambda dtype: SplineFlow(
            (3,), False, 2, **_SPLINE, circles=[0, 2], context_shape=(2,), dtype=dtype
        ),
        (3,),
        (2,),
        **_TURN,
    ),
    Case("spline_flow_labels", _spline_flow_labels, (3,), (), 3, **_FAR),
    Case(
        "masked_autoregressive_flow",
        lambda dtype: MaskedAutoregressiveFlow((2,), 2, 6, 1, dtype=dtype),
        **{**_FAR, "interval": (-40.0, 40.0)},
    ),
    Case(
        "masked_autoregressive_flow_context",
        lambda dtype: MaskedAutoregressiveFlow((2,), 2, 6, 1, context_shape=(3,), dtype=dtype),
        context_shape=(3,),
        **{**_FAR, "interval": (-40.0, 40.0)},
    ),
    Case(
        "masked_autoregressive_flow_batch_normalization",
        lambda dtype: MaskedAutoregressiveFlow(
            (2,), 2, 6, 1, batch_normalization=True, dtype=dtype
        ),
        **{**_FAR, "interval": (-40.0, 40.0)},
    ),
    Case(
        "realnvp",
        lambda dtype: RealNVP((3,), 4, 6, 1, dtype=dtype),
        (3,),
        **_FAR,
    ),
    Case(
        "realnvp_context",
        lambda dtype: RealNVP((2,), 2, 6, 1, context_shape=(2,), dtype=dtype),
        context_shape=(2,),
        **{**_FAR, "interval": (-40.0, 40.0)},
    ),
]

_MODELS += [
    Case(
        "idensenet_image",
        _idensenet(
            (4, 4, 1),
            blocks=(1,),
            bits=3,
            squeeze_first=True,
            fully_connected={"blocks": 1, "size": 4},
        ),
        (4, 4, 1),
        **_INTEGERS,
    ),
    Case(
        "idensenet_image_exact",
        _idensenet((2, 2, 2), blocks=(1, 1), fully_connected=None, **_ON_IMAGES),
        (2, 2, 2),
        **_FRACTIONS,
    ),
    Case(
        "idensenet_image_context",
        _idensenet(
            (2, 2, 1),
            blocks=(1,),
            fully_connected={"blocks": 1, "size": 4},
            context_shape=(3,),
            **_ON_IMAGES,
        ),
        (2, 2, 1),
        (3,),
        **_FRACTIONS,
    ),
    Case("residual_flow_image", _residual_flow_image, (4, 4, 1), **_INTEGERS),
]

_MODELS += [
    Case(
        "autoregressive_censored",
        _autoregressive_censored,
        (1, 2, 1),
        draw=lambda rng, shape: rng.uniform(-0.99, 0.99, shape),
        extremes=(-1.0, -0.9, 0.0, 1.0),
        interval=(-1.0, 1.0),
    ),
]

_PIXELS = {"width": 3, "blocks": 1, "head": 4, "first": 3, "bits": 3}

_MODELS += [
    Case("pixelcnn", lambda dtype: PixelCNN((2, 3, 1), **_PIXELS, dtype=dtype), (2, 3, 1), **_WIDE),
    Case(
        "pixelcnn_context",
        lambda dtype: PixelCNN(
            (2, 2, 3),
            **_PIXELS,
            output="mixture",
            components=2,
            context_shape=(2,),
            dtype=dtype,
        ),
        (2, 2, 3),
        (2,),
        **_WIDE,
    ),
    Case(
        "pixelcnn_dequantized",
        lambda dtype: PixelCNN(
            (2, 2, 1), **_PIXELS, output="dequantized", components=2, dtype=dtype
        ),
        (2, 2, 1),
        **_WIDE,
    ),
    Case(
        "pixelcnn_censored",
        lambda dtype: PixelCNN((2, 2, 1), **_PIXELS, output="censored", components=2, dtype=dtype),
        (2, 2, 1),
        **_WIDE,
    ),
    Case(
        "pixelcnnpp",
        lambda dtype: PixelCNNPlusPlus((2, 2, 3), 2, 1, 2, components=2, bits=3, dtype=dtype),
        (2, 2, 3),
        **_WIDE,
    ),
]

_FLOWPP = {"width": 4, "blocks": 1, "components": 2, "heads": 2}


def image_coupling(dtype, mask, map, filters):
    """A coupling of images by any mask and map."""
    net = CouplingNetwork(filters, 4, [ResidualDenseBlock(1, 2, dtype=dtype)], dtype=dtype)
    return Coupling(mask, net, map, dtype=dtype)


def _autoregressive_tokens(dtype):
    net = TokenNetwork((3, 2), 2, 4, 1, 2, True, 2, dtype=dtype)
    return Autoregressive(net, NormalMap(), dtype=dtype)


def _augmentation(dtype):
    return Augmentation(2, couplings=1, **_FLOWPP, context=2, dtype=dtype)


def _token_coupling(dtype, mask, filters, context_size=None):
    net = VisionTransformer(filters, 4, 1, 2, context_size, dtype=dtype)
    return Coupling(mask, net, SigmoidMap(0.0, 2.0), dtype=dtype)


def _row_by_row(dtype, direction):
    size = 2 if direction == "left" else None
    net = RowNetwork((3, 4, 2), 2, 3, direction, size, dtype=dtype)
    return Autoregressive(net, SigmoidScaleMap(), dtype=dtype)


def _flowpp_dequantization(dtype):
    return FlowPlusPlusDequantization(3, couplings=1, **_FLOWPP, context=2, dtype=dtype)


def _flow_plus_plus(dtype):
    dequantization = {
        "class_name": "variational",
        "config": {"couplings": 1, **_FLOWPP, "context": 2, "bits": 3},
    }
    return FlowPlusPlus((2, 4, 1), (1, 1, 1), **_FLOWPP, dequantization=dequantization, dtype=dtype)


_TRANSFORMS += [
    Case(
        "coupling_checkerboard",
        lambda dtype: image_coupling(dtype, Checkerboard(), NormalMap(), 4),
        (3, 4, 2),
    ),
    Case(
        "coupling_checkerboard_reverse",
        lambda dtype: image_coupling(dtype, Checkerboard(True), SigmoidMap(0.0, 2.0), 2),
        (2, 2, 1),
    ),
    Case(
        "coupling_columns",
        lambda dtype: image_coupling(dtype, AlternateColumns(), SigmoidMap(), 4),
        (3, 4, 2),
    ),
    Case(
        "coupling_columns_reverse",
        lambda dtype: image_coupling(dtype, AlternateColumns(True), SigmoidMap(), 2),
        (2, 2, 1),
    ),
    Case(
        "coupling_last_halves",
        lambda dtype: image_coupling(dtype, ChannelHalves(True), NormalMap(), 6),
        (2, 2, 5),
    ),
    Case("conv1x1_near_identity", lambda dtype: Conv1x1("identity", dtype=dtype), (2, 3, 4)),
    Case("patches", lambda dtype: Patches(2, dtype=dtype), (4, 2, 3)),
    Case("patches_of_one", lambda dtype: Patches(1, dtype=dtype), (2, 2, 3)),
    Case(
        "coupling_token_channels",
        lambda dtype: _token_coupling(dtype, FeatureMask([1, 3]), 4),
        (2, 4),
    ),
    Case(
        "coupling_half_the_tokens",
        lambda dtype: _token_coupling(dtype, HalfTheTokens([1, 2, 0, 3]), 2, 2),
        (4, 2),
        (2,),
    ),
    Case("autoregressive_tokens", _autoregressive_tokens, (3, 2)),
    Case("append_noise", lambda dtype: AppendNoise(2, dtype=dtype), (2, 3), latents=None),
    Case("augmentation", _augmentation, (2, 2, 1), latents=None, spread=0.1),
    Case("drop", lambda dtype: Drop(2, dtype=dtype), (2, 2, 5)),
    Case("max_pool", lambda dtype: MaxPool(dtype=dtype), (4, 2, 3)),
    *(
        Case(
            f"row_by_row_{direction}",
            functools.partial(_row_by_row, direction=direction),
            (3, 4, 2),
            (2,) if direction == "left" else None,
        )
        for direction in ("top", "bottom", "left", "right")
    ),
    Case(
        "coupling_last_channels",
        lambda dtype: image_coupling(dtype, FeatureMask([1, 2]), SigmoidScaleMap(), 4),
        (2, 2, 3),
    ),
    Case(
        "factor_out_one",
        lambda dtype: FactorOut(Affine(1.0, 2.0, dtype=dtype), 1, dtype=dtype),
        (1, 2, 4),
    ),
    Case("top_prior", lambda dtype: TopPrior(dtype=dtype), (3, 2, 2)),
    Case("pixel_norm", lambda dtype: PixelNorm(dtype=dtype), (2, 3, 2)),
    Case("parts_conv1x1", lambda dtype: PartsConv1x1(AlternateColumns(), dtype=dtype), (2, 4, 3)),
    Case("flowpp_dequantization", _flowpp_dequantization, (2, 2, 1), **_WIDE),
]

_MODELS += [
    Case(
        "glow",
        lambda dtype: Glow((4, 4, 1), 2, 1, 3, bits=3, context_shape=(2,), dtype=dtype),
        (4, 4, 1),
        (2,),
        **_WIDE,
    ),
    Case(
        "glow_one_level", lambda dtype: Glow((2, 4, 1), 1, 2, 3, 3, dtype=dtype), (2, 4, 1), **_WIDE
    ),
    Case(
        "interlaced_flow",
        lambda dtype: InterlacedFlow(
            (4, 4, 1), (4,), 1, top_width=2, top_blocks=1, bits=3, dtype=dtype
        ),
        (4, 4, 1),
        **_WIDE,
    ),
    Case(
        "interlaced_flow_context",
        lambda dtype: InterlacedFlow(
            (2, 2, 2), (3,), 1, "mixture", 2, 2, 1, bits=3, context_shape=(2,), dtype=dtype
        ),
        (2, 2, 2),
        (2,),
        **_WIDE,
    ),
    Case(
        "image_realnvp",
        lambda dtype: ImageRealNVP((4, 4, 1), 2, 2, 1, bits=3, dtype=dtype),
        (4, 4, 1),
        **_WIDE,
    ),
    Case(
        "image_realnvp_context",
        lambda dtype: ImageRealNVP((2, 2, 1), 1, 2, 1, bits=3, context_shape=(2,), dtype=dtype),
        (2, 2, 1),
        (2,),
        **_WIDE,
    ),
    Case(
        "pool_flow",
        lambda dtype: PoolFlow(
            (4, 4, 1), 2, 1, 3, 1, 2, dequantization="uniform", bits=3, dtype=dtype
        ),
        (4, 4, 1),
        **_WIDE,
    ),
    Case(
        "pool_flow_drop",
        lambda dtype: PoolFlow(
            (4, 4, 1),
            2,
            1,
            3,
            1,
            2,
            pooling="drop",
            dequantization="uniform",
            bits=3,
            context_shape=(2,),
            dtype=dtype,
        ),
        (4, 4, 1),
        (2,),
        **_WIDE,
    ),
    Case(
        "macow",
        lambda dtype: MaCow((8, 8, 1), (0, (1, 1), 1), (2, 3, 3), bits=3, dtype=dtype),
        (8, 8, 1),
        **_WIDE,
    ),
    Case(
        "macow_context",
        lambda dtype: MaCow((4, 4, 2), (1, 1), (2, 3), bits=3, context_shape=(2,), dtype=dtype),
        (4, 4, 2),
        (2,),
        **_WIDE,
    ),
    Case(
        "tarflow",
        lambda dtype: TarFlow((4, 4, 1), 2, 4, 2, 1, 2, bits=3, context_shape=(2,), dtype=dtype),
        (4, 4, 1),
        (2,),
        **_WIDE,
    ),
    Case(
        "vflow",
        lambda dtype: VFlow(
            (2, 4, 1),
            1,
            (1, 1, 1, 1),
            **_FLOWPP,
            augmentation={"couplings": 1, "blocks": 1, "context": 2},
            dequantization="uniform",
            bits=3,
            dtype=dtype,
        ),
        (2, 4, 1),
        **_WIDE,
    ),
    Case(
        "augmented_normalizing_flow",
        lambda dtype: AugmentedNormalizingFlow((2,), 1, 1, 6, 1, context_shape=(2,), dtype=dtype),
        context_shape=(2,),
        latents=None,
        **_FAR,
    ),
    Case(
        "jet",
        lambda dtype: Jet((4, 4, 1), 2, 4, 6, 1, 2, bits=3, dtype=dtype),
        (4, 4, 1),
        **_WIDE,
    ),
    Case("flowpp", _flow_plus_plus, (2, 4, 1), **_WIDE),
    Case(
        "flowpp_uniform",
        lambda dtype: FlowPlusPlus(
            (2, 4, 1),
            (1, 1, 1),
            **_FLOWPP,
            dequantization="uniform",
            bits=3,
            context_shape=(2,),
            dtype=dtype,
        ),
        (2, 4, 1),
        (2,),
        **_WIDE,
    ),
]

TRANSFORMS = {case.name: case for case in _TRANSFORMS}
MODELS = {case.name: case for case in _MODELS}
CASES = {**TRANSFORMS, **MODELS}
