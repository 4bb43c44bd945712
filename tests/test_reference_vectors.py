"""Spline maps, masked networks, couplings and autoregressive steps against published numbers.

All in float64, to 1e-9. The sources differ from the classes here in how raw parameters become knots
and scales; the maps at the top of this file are theirs.

Longer than other files: these maps, and the reading of weights, serve all cases.
"""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_flows.layers import (
    MADE,
    CouplingNetwork,
    ResidualConvolution,
    ResidualMADE,
    ResidualNetwork,
)
from keras_flows.numerics import rational_quadratic
from keras_flows.numerics.rational_quadratic import Knots
from keras_flows.transforms import Autoregressive, BatchNormalize, Coupling, Reverse
from keras_flows.transforms.maps import (
    BoundedSplineMap,
    ElementwiseMap,
    FeatureMaps,
    PeriodicSplineMap,
    SplineMap,
)
from keras_flows.transforms.masks import FeatureMask

pytestmark = pytest.mark.reference

CLOSE = {"rtol": 1e-9, "atol": 1e-9}
# What a raw slope of this package is below one of nflows.
SHIFT = math.log(math.expm1(1.0 - 1e-3))


@pytest.fixture
def case(reference):
    def load(name):
        arrays, config = reference(f"families/{name}")
        return {key: tf.constant(value) for key, value in arrays.items()}, config

    return load


def close(got, expected):
    np.testing.assert_allclose(got, expected, **CLOSE)


# Maps of other packages ---------------------------------------------------------------------------


def soft_clip(raw, slope=1e-3):
    return raw / (1.0 + tf.abs(raw / math.log(slope)))


class ZukoSpline(SplineMap):
    """The knots of zuko: no least width, and the exponential of soft-clipped slopes."""

    def _knots(self, parameters, x_ends, y_ends):
        k = self.bins
        sizes = tf.stack([parameters[..., :k], parameters[..., k : 2 * k]], axis=-2)
        places = rational_quadratic.places(soft_clip(2.0 * sizes) / 2.0, (x_ends, y_ends), 0.0)
        free = tf.exp(soft_clip(parameters[..., 2 * k :]))
        return Knots(places, self._slopes(free, tf.ones_like(free[..., :1])))


class ZukoCircularSpline(ZukoSpline):
    """Of zuko's circular flow: both ends have the slope 1, and the circle is turned by half."""

    def encode(self, x, parameters):
        return super().encode(self._turned(x), parameters)

    def decode(self, z, parameters):
        return self._turned(super().decode(z, parameters))

    def _turned(self, x):
        return tf.math.floormod(x, 2.0 * self.bound) - self.bound


class NflowsAffine(ElementwiseMap):
    parameters = 2

    def encode(self, x, parameters):
        scale = tf.nn.softplus(parameters[..., 0]) + 1e-3
        return scale * x + parameters[..., 1], tf.math.log(scale)

    def decode(self, z, parameters):
        return (z - parameters[..., 1]) / (tf.nn.softplus(parameters[..., 0]) + 1e-3)


class ZukoAffine(ElementwiseMap):
    parameters = 2

    def encode(self, x, parameters):
        log_scale = soft_clip(parameters[..., 1])
        return x * tf.exp(log_scale) + parameters[..., 0], log_scale

    def decode(self, z, parameters):
        return (z - parameters[..., 0]) * tf.exp(-soft_clip(parameters[..., 1]))


class NflowsMADE(ResidualMADE):
    """In nflows no hidden unit sees the context only."""

    def hidden_degrees(self, units):
        return np.arange(units) % (self.features - 1) + 1


class CouplingMADE(MADE):
    """In zuko's order of a coupling, all features of a half have the same place."""

    def input_degrees(self):
        return 1 + np.arange(self.features) // 3


# Weights ------------------------------------------------------------------------------------------


def set_linear(layer, arrays, name, rows=None):
    """A PyTorch linear layer, masked ones by their own mask, which must be that of the layer."""
    weight, bias = arrays[f"{name}.weight"].numpy(), arrays[f"{name}.bias"].numpy()
    layer.kernel.assign(weight.T if rows is None else rows(weight).T)
    layer.bias.assign(bias if rows is None else rows(bias))
    if f"{name}.mask" in arrays:
        np.testing.assert_array_equal(layer.mask, arrays[f"{name}.mask"].numpy().T)


def set_residual_made(net, arrays, name, rows=None):
    net.build((None, net.features))
    set_linear(net.first, arrays, f"{name}initial_layer")
    for i, pair in enumerate(net.blocks):
        for j, layer in enumerate(pair):
            set_linear(layer, arrays, f"{name}blocks.{i}.linear_layers.{j}")
    set_linear(net.last, arrays, f"{name}final_layer", rows)
    if net.context_size:
        set_linear(net.context_layers[0], arrays, f"{name}context_layer")
        for i, layer in enumerate(net.context_layers[1:]):
            set_linear(layer, arrays, f"{name}blocks.{i}.context_layer")


def set_made(net, arrays, name):
    net.build((None, net.features))
    for i, layer in enumerate((*net.hidden, net.last)):
        set_linear(layer, arrays, f"{name}.{2 * i}")


def lowered(parameters, bins, divisor=1.0):
    """Rows of a last layer of nflows, so that its widths, heights and slopes are those of here."""

    def rows(array):
        split = np.reshape(array, (-1, parameters, *array.shape[1:])).copy()
        split[:, : 2 * bins] /= divisor
        if array.ndim == 1:
            split[:, 2 * bins :] -= SHIFT
        return split.reshape(array.shape)

    return rows


def check(step, arrays, x="in/x", z="out/z", log_det="out/log_det"):
    """One step: encode, log-det, and decode back to the data."""
    context = arrays.get("in/context")
    encoded, got = step.encode(arrays[x], context)
    close(encoded, arrays[z])
    close(got, arrays[log_det])
    close(step.decode(arrays[z], context), arrays[x])


# Spline maps --------------------------------------------------------------------------------------


def parameters(arrays, kind, shift=SHIFT):
    parts = [arrays[f"in/{kind}/{part}"] for part in ("widths", "heights", "derivatives")]
    return tf.concat([*parts[:2], parts[2] - shift], axis=-1)


@pytest.mark.parametrize(
    ("kind", "make", "shift"),
    [
        ("linear", lambda: SplineMap(5, 3.0), SHIFT),
        ("bounded", lambda: BoundedSplineMap(5, (-1.5, 2.5), (0.25, 3.0)), SHIFT),
        ("circular", lambda: PeriodicSplineMap(5, 3.0), SHIFT),
        ("zuko", lambda: ZukoSpline(5, 5.0), 0.0),
    ],
)
def test_spline_map(case, kind, make, shift):
    arrays, _ = case("spline_elementwise")
    map, raw, x = make(), parameters(arrays, kind, shift), arrays[f"in/{kind}/x"]
    if kind == "circular":
        # Outside of the first turn the source has the identity, and this map the next turn.
        inside = tf.abs(x) <= 3.0
        assert 0 < np.sum(~inside) < 5
        arrays = {k: v[inside] for k, v in arrays.items() if k.startswith("out/circular/")}
        raw, x = raw[inside], x[inside]
    y, log_derivative = map.encode(x, raw)
    close(y, arrays[f"out/{kind}/y"])
    close(log_derivative, arrays[f"out/{kind}/log_det"])
    close(map.decode(y, raw), x)
    close(map.decode(y, raw), arrays[f"out/{kind}/inverse_of_y"])


def test_spline_map_inverse(case):
    arrays, _ = case("spline_elementwise")
    y = arrays["in/linear/y"]
    map, raw = SplineMap(5, 3.0), parameters(arrays, "linear")[: len(y)]
    x = map.decode(y, raw)
    close(x, arrays["out/linear/x_of_y"])
    close(-map.encode(x, raw)[1], arrays["out/linear/inverse_log_det"])


# Couplings ----------------------------------------------------------------------------------------


def set_residual_network(net, arrays, name, rows):
    set_linear(net.first, arrays, f"{name}.initial_layer")
    for i, pair in enumerate(net.blocks):
        for j, layer in enumerate(pair):
            set_linear(layer, arrays, f"{name}.blocks.{i}.linear_layers.{j}")
    for i, gate in enumerate(net.gates):
        set_linear(gate, arrays, f"{name}.blocks.{i}.context_layer")
    set_linear(net.last, arrays, f"{name}.final_layer", rows)


def spline_coupling(arrays, config):
    """The coupling of nflows, with its weights."""
    map = SplineMap(config["num_bins"], config["tail_bound"])
    width, blocks = config["hidden_features"], config["num_blocks"]
    net = ResidualNetwork(3 * map.parameters, width, blocks, 2, dtype="float64")
    step = Coupling(FeatureMask(np.flatnonzero(config["mask"])), net, map, dtype="float64")
    step.build((None, 5))
    seen, _ = step.mask.split(arrays["in/x"])
    name = "state/transform_net"
    set_residual_network(net, arrays, name, None)
    close(net(seen, arrays["in/context"]), arrays["out/net"])
    set_residual_network(net, arrays, name, lowered(map.parameters, map.bins, math.sqrt(width)))
    return step


def test_spline_coupling(case):
    arrays, config = case("spline_coupling")
    check(spline_coupling(arrays, config), arrays)


def test_spline_coupling_of_images(case):
    arrays, config = case("spline_coupling_image")
    for name in ("in/x", "out/z", "out/x_of_z"):
        arrays[name] = tf.transpose(arrays[name], (0, 2, 3, 1))
    map, width = SplineMap(config["num_bins"], config["tail_bound"]), config["hidden_channels"]
    block = ResidualConvolution(dtype="float64")
    net = CouplingNetwork(2 * map.parameters, width, [block], dtype="float64")
    step = Coupling(FeatureMask(np.flatnonzero(config["mask"])), net, map, dtype="float64")
    step.build((None, 4, 4, 4))
    rows, name = lowered(map.parameters, map.bins, math.sqrt(width)), "state/transform_net"
    for conv, part, lower in (
        (net.first, "initial_layer", None),
        (block.inner, "blocks.0.conv_layers.0", None),
        (block.outer, "blocks.0.conv_layers.1", None),
        (net.last, "final_layer", rows),
    ):
        weight, bias = (arrays[f"{name}.{part}.{kind}"].numpy() for kind in ("weight", "bias"))
        if lower is not None:
            weight, bias = lower(weight), lower(bias)
        conv.kernel.assign(weight.transpose(2, 3, 1, 0))
        conv.bias.assign(bias)
    check(step, arrays)
    close(step.decode(arrays["out/z"]), arrays["out/x_of_z"])


def unconditional(arrays, name, rows):
    """The raw parameters of splines that no network makes, the same for all rows."""
    parts = [arrays[f"{name}.unnormalized_{part}"] for part in ("widths", "heights", "derivatives")]
    raw = tf.concat([*parts[:2], parts[2] - SHIFT], axis=-1)
    return tf.repeat(raw[None], rows, axis=0)


def test_spline_coupling_with_splines_of_what_passes(case):
    arrays, config = case("spline_coupling_unconditional")
    step, x, context = spline_coupling(arrays, config), arrays["in/x"], arrays["in/context"]
    raw = unconditional(arrays, "state/unconditional_transform", len(x))
    z, log_det = step.encode(x, context)
    seen, changed = step.mask.split(z)
    seen, added = step.map.encode(seen, raw)
    close(step.mask.join(seen, changed), arrays["out/z"])
    close(log_det + tf.reduce_sum(added, axis=1), arrays["out/log_det"])
    seen, changed = step.mask.split(arrays["out/z"])
    close(step.decode(step.mask.join(step.map.decode(seen, raw), changed), context), x)


def test_spline_coupling_on_circles_and_lines(case):
    """Features 0 and 1 are on a circle; 1 and 3 are transformed, given 0 and 2."""
    arrays, config = case("spline_coupling_circular")
    k, width, name = config["num_bins"], config["hidden"], "state/prqct"
    map = FeatureMaps([PeriodicSplineMap(k, config["tail_bound"]), SplineMap(k, math.pi)])
    # Both kinds have 3 K + 1 raw parameters there; the slopes that the ends fix are not used.
    of_circle = np.arange(3 * k)
    of_line = np.delete(np.arange(3 * k), 2 * k)

    def rows(array):
        """Those that are used, and zeros where the map on the line takes fewer."""
        split = lowered(3 * k + 1, k, math.sqrt(width))(array).reshape(2, 3 * k + 1, -1)
        used = np.stack([split[0, of_circle], np.pad(split[1, of_line], ((0, 1), (0, 0)))])
        return used.reshape(6 * k, *array.shape[1:])

    net = ResidualNetwork(6 * k, width, config["num_blocks"], circles=[0], dtype="float64")
    step = Coupling(FeatureMask([1, 3]), net, map, dtype="float64")
    step.build((None, 4))
    # There the network sees w0 sin + w1 cos; here it sees the cosine, feature 2 and the sine.
    first = f"{name}.transform_net.initial_layer.weight"
    w0, w1 = arrays[f"{name}.transform_net.preprocessing.weights"][0].numpy()
    a, b = arrays[first].numpy().T
    arrays[first] = tf.constant(np.stack([w1 * a, b, w0 * a], axis=1))
    set_residual_network(net, arrays, f"{name}.transform_net", rows)
    z, log_det = step.encode(arrays["in/x"])
    # The features 0 and 2 are mapped after the network has read them.
    free = unconditional(arrays, f"{name}.unconditional_transform", len(z))
    free = tf.stack(
        [
            tf.gather(free[:, 0], of_circle, axis=-1),
            tf.pad(tf.gather(free[:, 1], of_line, axis=-1), [(0, 0), (0, 1)]),
        ],
        axis=1,
    )
    seen, changed = step.mask.split(z)
    seen, added = map.encode(seen, free)
    close(step.mask.join(seen, changed), arrays["out/z"])
    close(log_det + tf.reduce_sum(added, axis=1), arrays["out/log_det"])
    seen, changed = step.mask.split(arrays["out/z"])
    decoded = step.decode(step.mask.join(map.decode(seen, free), changed))
    # The least slope here is exp(-11.7): 1e-13 of z, which the source rounds by, are 1e-8 of x.
    np.testing.assert_allclose(decoded, arrays["in/x"], rtol=1e-7)


# Masked networks ----------------------------------------------------------------------------------


def jacobian_of_first(net, x, context=None):
    """The Jacobian of the network at the first example: by x, and by the context behind it."""
    sources = [x[:1]] if context is None else [x[:1], context[:1]]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(sources)
        outputs = tf.unstack(net(*sources)[0])
    rows = [tape.gradient(output, sources, unconnected_gradients="zero") for output in outputs]
    return np.stack([np.concatenate([part[0] for part in row]) for row in rows])


def test_residual_made(case):
    arrays, config = case("made_masks")
    net = ResidualMADE(5, 2, config["hidden_nflows"], 2, dtype="float64")
    set_residual_made(net, arrays, "state/nflows/")
    close(net(arrays["in/x"]), arrays["out/nflows/net"])
    close(jacobian_of_first(net, arrays["in/x"]), arrays["out/nflows/jacobian0"])


@pytest.mark.parametrize("order", ["ascending", "descending", "coupling"])
def test_made(case, order):
    arrays, config = case("made_masks")
    kind = CouplingMADE if order == "coupling" else MADE
    net = kind(5, 2, config["hidden_zuko"], 2, reverse=order == "descending", dtype="float64")
    set_made(net, arrays, f"state/zuko_{order}/hyper")
    np.testing.assert_array_equal(net.input_degrees() - 1, arrays[f"state/zuko_{order}/order"])
    x, context = arrays["in/x"], arrays["in/context"]
    close(net(x, context), arrays[f"out/zuko_{order}/net"])
    close(jacobian_of_first(net, x, context), arrays[f"out/zuko_{order}/jacobian0"])


# Autoregressive steps -----------------------------------------------------------------------------


def run(steps, arrays, reversed_after=False):
    """Steps one after the other, the features reversed after each where the source does that."""
    context, z, total = arrays.get("in/context"), arrays["in/x"], 0.0
    for i, step in enumerate(steps):
        z, log_det = step.encode(z, context)
        total += log_det
        if f"out/layer{i}/z" in arrays and not reversed_after:
            close(z, arrays[f"out/layer{i}/z"])
            close(log_det, arrays[f"out/layer{i}/log_det"])
        z = z[:, ::-1] if reversed_after else z
    close(z, arrays["out/z"])
    close(total, arrays["out/log_det"])
    x = arrays["out/z"]
    for step in reversed(steps):
        x = step.decode(x[:, ::-1] if reversed_after else x, context)
    close(x, arrays["in/x"])
    close(x, arrays["out/x_of_z"])


def test_affine_autoregressive_flow_of_nflows(case):
    arrays, config = case("maf_nflows")
    steps = []
    for i in (0, 2, 4):
        net = NflowsMADE(5, 2, config["hidden"], config["num_blocks"], 2, dtype="float64")
        set_residual_made(net, arrays, f"state/_transforms.{i}.autoregressive_net.")
        steps.append(Autoregressive(net, NflowsAffine(), dtype="float64"))
    run(steps, arrays, reversed_after=True)


def test_affine_autoregressive_flow_with_batch_normalization_of_nflows(case):
    arrays, config = case("maf_nflows_batchnorm")
    steps = []
    for i in (0, 3, 6):
        net = NflowsMADE(5, 2, config["hidden"], config["num_blocks"], 2, dtype="float64")
        set_residual_made(net, arrays, f"state/_transforms.{i}.autoregressive_net.")
        name, norm = f"state/_transforms.{i + 1}", BatchNormalize(dtype="float64")
        norm.build((None, 5))
        scale = tf.nn.softplus(arrays[f"{name}.unconstrained_weight"]) + 1e-5
        norm.log_scale.assign(tf.math.log(scale))
        norm.shift.assign(arrays[f"{name}.bias"])
        norm.norm.moving_mean.assign(arrays[f"{name}.running_mean"])
        norm.norm.moving_variance.assign(arrays[f"{name}.running_var"])
        steps += [Autoregressive(net, NflowsAffine(), dtype="float64"), norm]
        steps.append(Reverse(dtype="float64"))
    run(steps, arrays)


def test_spline_autoregressive_flow_of_nflows(case):
    arrays, config = case("spline_autoregressive")
    map, steps = SplineMap(config["num_bins"], config["tail_bound"]), []
    for i in (0, 2):
        size = (config["hidden"], config["num_blocks"])
        net = ResidualMADE(4, map.parameters, *size, dtype="float64")
        rows = lowered(map.parameters, map.bins)
        set_residual_made(net, arrays, f"state/_transforms.{i}.autoregressive_net.", rows)
        steps.append(Autoregressive(net, map, dtype="float64"))
    run(steps, arrays, reversed_after=True)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("maf_zuko", lambda config: ZukoAffine()),
        ("spline_autoregressive_zuko", lambda config: ZukoSpline(config["bins"], 5.0)),
        ("spline_circular_zuko", lambda config: ZukoCircularSpline(config["bins"], math.pi)),
    ],
)
def test_autoregressive_flow_of_zuko(case, name, make):
    arrays, config = case(name)
    map, steps = make(config), []
    for i in range(config["transforms"]):
        net = MADE(
            config["features"],
            map.parameters,
            config["hidden_features"],
            config["context"],
            reverse=i % 2 == 1,
            dtype="float64",
        )
        set_made(net, arrays, f"state/transform.transforms.{i}.hyper")
        steps.append(Autoregressive(net, map, dtype="float64"))
    run(steps, arrays)
