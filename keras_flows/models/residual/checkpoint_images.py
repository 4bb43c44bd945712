"""The published i-DenseNets and Residual Flows on images: configuration, names, order of pixels."""

import re

import numpy as np

from keras_flows import transforms
from keras_flows.models.residual.model import FullyConnected, IDenseNet, ResidualFlow
from keras_flows.numerics.log_det import PowerSeries, Unbiased

# Options of the training script, by the argument of the published flow that they become.
_SCRIPT = {"activation_fn": "act", "n_blocks": "nblocks", "intermediate_dim": "idim"}
_NEEDED = ("input_size", "n_blocks", "activation_fn", "coeff", "init_layer")
_NEEDED_DENSE = (
    "densenet_depth",
    "densenet_growth",
    "fc_densenet_growth",
    "learnable_concat",
    "lip_coeff",
)
_NEEDED_PLAIN = ("kernels", "intermediate_dim", "fc_idim")
# What each option must be, where it is given.
_SUPPORTED = {
    "factor_out": (False,),
    "quadratic": (False,),
    "batchnorm": (False,),
    "fc": (False,),
    "fc_actnorm": (False,),
    "learn_p": (False,),
    "classification": (False,),
    "dropout": (0, 0.0),
    "block_type": ("resblock",),
    "block": ("resblock",),
    "preact": (True,),
    "first_resblock": (True,),
    "sn_atol": (1e-3,),
    "sn_rtol": (1e-3,),
    "sn_tol": (1e-3,),
}
# Records of a published convolution: the size of its images, and that it was run once.
IGNORED = ("spatial_dims",)


def is_configuration(config):
    """Whether a configuration is one of a published flow on images."""
    return "input_size" in config or "kernels" in config


def published_flow(config, activations, dtype):
    """A flow from the arguments of the published one.

    Args:
        config: Dictionary with the arguments of the published flow or the options of its training
            script, and beside the latter `input_size` (batch, channels, height, width) and
            `init_layer`, such as `"LogitTransform(0.05)"`. With `nbits`, the flow is one on
            integers, else on numbers from 0 to 1.
        activations: The names of activations here, by those there.
        dtype: `"float32"` or `"float64"`.

    Raises:
        ValueError: If an option is missing or not supported.
    """
    config = {**{name: config[old] for name, old in _SCRIPT.items() if old in config}, **config}
    dense = config.get("densenet", False)
    needed = (*_NEEDED, *(_NEEDED_DENSE if dense else _NEEDED_PLAIN))
    missing = [name for name in needed if name not in config]
    if missing:
        raise ValueError(
            f"The configuration of a flow on images lacks {', '.join(missing)}: the arguments of "
            "the published flow, or the options of its training script with `input_size` and "
            "`init_layer` beside them."
        )
    logit = re.fullmatch(r"LogitTransform\((.+)\)", str(config["init_layer"]))
    problems = [
        f"{name} {config[name]!r} (supported: {values[0]!r})"
        for name, values in _SUPPORTED.items()
        if name in config and config[name] not in values
    ]
    if config["activation_fn"] not in activations:
        problems.append(f"activation {config['activation_fn']!r} ({', '.join(activations)})")
    if set(config.get("vnorms", "2")) != {"2"}:
        problems.append(f"vnorms {config['vnorms']!r} (supported: 2-norms)")
    if not dense and config["kernels"] != "3-1-3":
        problems.append(f"kernels {config['kernels']!r} (supported: '3-1-3')")
    if logit is None:
        problems.append(f"init_layer {config['init_layer']!r} (supported: LogitTransform)")
    if problems:
        raise ValueError(f"Not supported in a published configuration: {'; '.join(problems)}.")
    _, channels, height, width = config["input_size"]
    blocks = config["n_blocks"]
    if isinstance(blocks, str):
        blocks = [int(number) for number in blocks.split("-")]
    common = {
        "event_shape": (height, width, channels),
        "blocks": blocks,
        "activation": activations[config["activation_fn"]],
        "coeff": config["coeff"],
        "power_iterations": config.get("n_lipschitz_iters") or "tolerance",
        "actnorm": config.get("actnorm", False),
        "log_det": _estimator(config),
        "bits": config.get("nbits"),
        "alpha": float(logit[1]),
        "squeeze_first": config.get("squeeze_first", False),
        "dtype": dtype,
    }
    fc_blocks = 4 if config.get("fc_end", True) else 0
    if not dense:
        widths = [config["intermediate_dim"]] * 2
        fully_connected = FullyConnected(fc_blocks, config["fc_idim"])
        return ResidualFlow(**common, widths=widths, fully_connected=fully_connected)
    return IDenseNet(
        **common,
        depth=config["densenet_depth"],
        growth=config["densenet_growth"],
        fully_connected=FullyConnected(fc_blocks, config["fc_densenet_growth"]),
        learnable_concatenation=config["learnable_concat"],
        lip_coeff=config["lip_coeff"],
    )


def _estimator(config):
    terms = config.get("n_power_series_eval", config.get("n_power_series"))
    if terms:
        return PowerSeries(terms)
    exact_terms = (config.get("n_exact_terms", 2), 20)
    return Unbiased(config.get("n_dist", "poisson"), exact_terms=exact_terms)


def table(flow, table):
    """What a checkpoint holds for a flow on images, a sequence of `Weight`.

    Args:
        flow: An `IDenseNet` or `ResidualFlow` on images.
        table: The table of one step or layer, a function of its published name and itself.
    """
    if any(isinstance(step, transforms.FactorOut) for step in flow.transform.steps):
        raise ValueError("Checkpoints of flows with factored-out channels are not supported.")
    dequantizes = isinstance(flow.transform.steps[0], transforms.UniformDequantization)
    steps = flow.transform.steps[1:] if dequantizes else list(flow.transform.steps)
    if isinstance(steps[1], transforms.Squeeze):
        del steps[1]  # of the training script, not of the flow
    scale, i, order = 0, 0, None
    for step in steps:
        name = f"transforms.{scale}.chain.{i}"
        i += 1
        if isinstance(step, transforms.Flatten):
            order, i = _order(step.event_shape), i - 1
        elif isinstance(step, transforms.Squeeze):
            scale, i = scale + 1, 0
        elif order is None:
            yield from table(name, step)
        elif isinstance(step, transforms.ActNorm):
            axes = {id(step.log_scale): 0, id(step.bias): 0}
            yield from _reordered(table(f"{name}.fc_module", step), axes, order)
        else:
            first, last = step.net.layers[0].dense, step.net.layers[-1].dense
            axes = {id(first.kernel): 1, id(first.v): 0}
            axes |= {id(variable): 0 for variable in (last.kernel, last.bias, last.u)}
            yield from _reordered(table(f"{name}.nnet.nnet", step.net), axes, order)


def _order(shape):
    """For every pixel of a flattened image, its place in the published order, channels first."""
    height, width, channels = shape
    places = np.arange(height * width * channels).reshape(channels, height, width)
    return np.moveaxis(places, 0, -1).ravel()


def _reordered(weights, axes, order):
    """The same weights, made of arrays with the pixels along an axis in our order.

    Args:
        weights: A sequence of `Weight`.
        axes: Dictionary from the id of a variable to the axis, of the published array, of pixels.
        order: See `_order`.
    """
    for weight in weights:
        axis = axes.get(id(weight.variable))
        if axis is None:
            yield weight
        else:
            yield weight._replace(convert=_taken(order, axis, weight.convert))


def _taken(order, axis, convert):
    return lambda array: convert(np.take(array, order, axis=axis))
