"""The published i-DenseNets and Residual Flows: their configurations, and names of their arrays.

What a checkpoint holds for a flow is a table, made by `table`: for every variable, the names
and shapes of the published arrays it is made of, and how. Flows on images have more about them in
`checkpoint_images`.
"""

import numpy as np
import tensorflow as tf

from keras_flows import layers, transforms
from keras_flows.models.residual import checkpoint_images, checkpoint_options
from keras_flows.models.residual.model import IDenseNet, ResidualFlow
from keras_flows.models.weight import Weight

_ACTIVATIONS = {
    "swish": "lipswish",
    "CLipSwish": "clipswish",
    "LeakyLSwish": "leaky_lipswish",
    "relu": "relu",
    "elu": "elu",
    "tanh": "tanh",
    "softplus": "softplus",
}
# Arrays that a density does not need. `scale` is a record of the norm `<u, W v>`, which the
# published forward pass takes from its three parts, at their full precision; so do we.
IGNORED = (
    *("geom_p", "lamb", "last_n_samples", "last_firmom", "last_secmom", "scale"),
    *checkpoint_images.IGNORED,
)


def describes(config):
    """Whether a configuration is one of the published training scripts of these flows."""
    return checkpoint_images.is_configuration(config) or "nblocks" in config or "act" in config


def contradicted(config, shapes):
    """The options that the arrays contradict; see `checkpoint_options.contradicted`."""
    return checkpoint_options.contradicted(config, shapes, checkpoint_images.ARGUMENTS)


def published_flow(config, dtype, shapes):
    """A flow from the options of a published training script.

    Args:
        config: For two-dimensional data `act`, `nblocks`, `coeff`, and `densenet` with its options
            or `dims`; for images see `checkpoint_images.published_flow`.
        dtype: `"float32"` or `"float64"`.
        shapes: Shapes of the arrays of the checkpoint by name.

    Raises:
        ValueError: If an option is missing or not supported.
    """
    if checkpoint_images.is_configuration(config):
        return checkpoint_images.published_flow(config, _ACTIVATIONS, dtype, shapes)
    return _flow_on_vectors(config, dtype)


def weights(flow):
    """What a checkpoint holds for a flow, a list of `Weight`."""
    if len(flow.event_shape) == 3:
        return list(checkpoint_images.table(flow, table))
    return list(table("chain", flow.transform))


def _flow_on_vectors(config, dtype):
    """A flow from the options of the published training script for two-dimensional data."""
    dense = config.get("densenet", False)  # the older script has no such option
    needed = ["act", "nblocks", "coeff"]
    needed += (
        ["densenet_depth", "densenet_growth", "learnable_concat", "lip_coeff"]
        if dense
        else ["dims"]
    )
    missing = [key for key in needed if key not in config]
    if missing:
        raise ValueError(
            f"The configuration lacks {', '.join(missing)}. It needs the options of the published "
            "training script, or the `class_name` and `config` of a flow of this library."
        )
    problems = []
    if config["act"] not in _ACTIVATIONS:
        problems.append(f"act {config['act']!r} (supported: {', '.join(_ACTIVATIONS)})")
    if config["act"] == "CLipSwish" and not dense:
        problems.append("act 'CLipSwish' without densenet (on vectors there is no such flow)")
    if config.get("arch", "iresnet") != "iresnet":
        problems.append(f"arch {config['arch']!r} (supported: 'iresnet')")
    if set(config.get("vnorms", "2")) != {"2"} and not dense:
        problems.append(f"vnorms {config['vnorms']!r} (supported: 2-norms)")
    problems += [f"{key} True" for key in ("learn_p", "batchnorm") if config.get(key)]
    if problems:
        raise ValueError(f"Not supported in a published configuration: {'; '.join(problems)}.")
    common = {
        "event_shape": (2,),
        "blocks": config["nblocks"],
        "activation": _ACTIVATIONS[config["act"]],
        "coeff": config["coeff"],
        # None there means iterations up to a tolerance.
        "power_iterations": config.get("n_lipschitz_iters") or 5,
        "actnorm": config.get("actnorm", False),
        # As published: in two dimensions the evaluation is exact, whatever training used.
        "log_det": "exact",
        "dtype": dtype,
    }
    if not dense:
        widths = [int(width) for width in config["dims"].split("-")]
        return ResidualFlow(**common, widths=widths)
    return IDenseNet(
        **common,
        depth=config["densenet_depth"],
        growth=config["densenet_growth"],
        learnable_concatenation=config["learnable_concat"],
        lip_coeff=config["lip_coeff"],
    )


# Names and layouts --------------------------------------------------------------------------------


def _same(name, variable):
    return Weight(variable, {name: tuple(variable.shape)})


def _actnorm(prefix, step):
    yield _same(f"{prefix}.weight", step.log_scale)
    yield _same(f"{prefix}.bias", step.bias)
    yield _same(f"{prefix}.initialized", step.initialized)


def _residual_block(prefix, step):
    yield from table(f"{prefix}.nnet", step.net)


def _sequential(prefix, net):
    parts = []
    for layer in net.layers:
        if isinstance(layer, layers.ConditionedDense) and layer.activation is not None:
            parts.append(layer.activation)  # a layer of its own there
        parts.append(layer)
    for i, part in enumerate(parts):
        yield from table(f"{prefix}.{i}", part)


def _dense_layer(prefix, layer):
    names = [f"{prefix}.K{i}_unnormalized" for i in (1, 2)]
    yield Weight(layer.concatenation.k, dict.fromkeys(names, (1,)), lambda *k: np.concatenate(k))
    yield from table(f"{prefix}.network.0", layer.linear)
    yield from table(f"{prefix}.network.1", layer.activation)


def _conditioned_dense(prefix, layer):
    yield from table(prefix, layer.dense)


def _spectral_dense(prefix, layer):
    # (out, in) there; u is on the side of the output.
    weight = {f"{prefix}.weight": tuple(reversed(layer.kernel.shape))}
    u, v = _same(f"{prefix}.u", layer.u), _same(f"{prefix}.v", layer.v)
    yield Weight(layer.kernel, weight, np.transpose)
    yield _same(f"{prefix}.bias", layer.bias)
    yield from (u, v)
    yield Weight(layer.sigma, {**u.shapes, **weight, **v.shapes}, lambda u, w, v: u @ w @ v)


def _spectral_conv(prefix, layer):
    # (out, in, height, width) there, and the vectors flat, channels first.
    height, width, channels, filters = layer.kernel.shape
    weight = {f"{prefix}.weight": (filters, channels, height, width)}

    def kernel(w):
        return np.transpose(w, (2, 3, 1, 0))

    def shaped(variable):
        *image, channels = variable.shape
        return lambda vector: np.moveaxis(vector.reshape(channels, *image), 0, -1)

    def norm(u, w, v):
        image = layer.linear(tf.constant(shaped(layer.v)(v)[None]), tf.constant(kernel(w)))[0]
        return np.sum(shaped(layer.u)(u) * image)

    u, v = ({f"{prefix}.{n}": (getattr(layer, n).shape.num_elements(),)} for n in ("u", "v"))
    yield Weight(layer.kernel, weight, kernel)
    yield _same(f"{prefix}.bias", layer.bias)
    yield Weight(layer.u, u, shaped(layer.u))
    yield Weight(layer.v, v, shaped(layer.v))
    yield Weight(layer.sigma, {**u, **weight, **v}, norm)


def _lipswish(prefix, layer):
    yield _same(f"{prefix}.beta", layer.beta)


def _clipswish(prefix, layer):
    yield _same(f"{prefix}.swish.beta", layer.beta)


def _leaky_lipswish(prefix, layer):
    yield _same(f"{prefix}.alpha", layer.alpha)
    yield _same(f"{prefix}.beta", layer.beta)


def _chain(prefix, chain):
    for i, step in enumerate(chain.steps):
        yield from table(f"{prefix}.{i}", step)


# What each kind of step or layer is called there.
_TABLES = {
    transforms.Chain: _chain,
    transforms.ActNorm: _actnorm,
    transforms.ResidualBlock: _residual_block,
    layers.LipschitzSequential: _sequential,
    layers.LipschitzDenseLayer: _dense_layer,
    layers.ConditionedDense: _conditioned_dense,
    layers.SpectralDense: _spectral_dense,
    layers.SpectralConv2D: _spectral_conv,
    layers.LipSwish: _lipswish,
    layers.CLipSwish: _clipswish,
    layers.LeakyLipSwish: _leaky_lipswish,
}


def table(prefix, layer):
    """The table of a step or layer, a sequence of `Weight`."""
    if type(layer) in _TABLES:
        yield from _TABLES[type(layer)](prefix, layer)
    elif layer.weights:
        raise ValueError(f"Published checkpoints have no {type(layer).__name__}.")
