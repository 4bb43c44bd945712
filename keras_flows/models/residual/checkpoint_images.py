"""The published i-DenseNets and Residual Flows on images: configuration, names, order of pixels."""

import re
import warnings

import numpy as np

from keras_flows import transforms
from keras_flows.models.residual import checkpoint_options
from keras_flows.models.residual.model import FullyConnected, IDenseNet, ResidualFlow
from keras_flows.numerics.log_det import PowerSeries, Unbiased

# Arguments of the published flow, by the option of the training script that they come from.
ARGUMENTS = {"act": "activation_fn", "nblocks": "n_blocks", "idim": "intermediate_dim"}
_NEEDED = ("input_size", "n_blocks", "activation_fn", "coeff", "init_layer")
_NEEDED_DENSE = (
    "densenet_depth",
    "densenet_growth",
    "fc_densenet_growth",
    "learnable_concat",
    "lip_coeff",
)
_WIDTHS = ("intermediate_dim", "fc_idim")
_NEEDED_PLAIN = ("kernels", *_WIDTHS)
# What each option must be, where it is given.
_SUPPORTED = {
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
    "padding": (0,),
    "add_noise": (True,),
    "task": ("density",),
    "sn_atol": (1e-3,),
    "sn_rtol": (1e-3,),
    "sn_tol": (1e-3,),
}
# Records of a published convolution: the size of its images, and that it was run once.
IGNORED = ("spatial_dims",)


def is_configuration(config):
    """Whether a configuration is one of a published flow on images."""
    return "input_size" in config or "kernels" in config


def published_flow(config, activations, dtype, shapes):
    """A flow from the arguments of the published one.

    With `data` or `nbits`, the flow is one on integers, else on numbers from 0 to 1. As in the
    training script, `nbits` counts for `data` `"celebahq"` only, `"celeba_5bit"` has 5 bits and all
    others 8; where there is no `data`, `nbits` is what it says. `n_power_series` is for training:
    the published evaluation is unbiased, with 20 exact terms, and so is this flow.

    Args:
        config: Dictionary with the arguments of the published flow or the options of its training
            script, and beside the latter `input_size` (batch, channels, height, width) and
            `init_layer`, such as `"LogitTransform(0.05)"`. With `squeeze_first`, `input_size` is
            that before the squeeze or behind it: the arrays tell.
        activations: The names of activations here, by those there.
        dtype: `"float32"` or `"float64"`.
        shapes: Shapes of the arrays of the checkpoint by name.

    Raises:
        ValueError: If an option is missing or not supported.
    """
    config = {**{ARGUMENTS.get(name, name): value for name, value in config.items()}, **config}
    dense = config.get("densenet", False)
    _check(config, activations, dense)
    event_shape = _event_shape(config, shapes)
    blocks = _blocks(config, event_shape)
    first = config.get("first_resblock", True)
    clipswish = config["activation_fn"] == "CLipSwish"
    common = {
        "event_shape": event_shape,
        "blocks": blocks,
        "activation": activations[config["activation_fn"]],
        "coeff": config["coeff"],
        "power_iterations": config.get("n_lipschitz_iters") or "tolerance",
        "actnorm": config.get("actnorm", False),
        "log_det": _estimator(config),
        "bits": _bits(config),
        "alpha": float(_logit(config)[1]),
        "squeeze_first": config.get("squeeze_first", False),
        "factor_out": config.get("factor_out", False),
        "first_actnorm": first,
        "dtype": dtype,
    }
    fc_blocks = 4 if config.get("fc_end", True) else 0
    if not dense:
        # With CLipSwish a layer has half the filters, of which the activation makes them all.
        sizes = [config[name] // (2 if clipswish else 1) for name in _WIDTHS]
        return ResidualFlow(
            **common,
            widths=[sizes[0]] * 2,
            fully_connected=FullyConnected(fc_blocks, sizes[1]),
            # The only scale, as the last of several, has no first block there.
            first_activation=not first or len(blocks) == 1,
        )
    return IDenseNet(
        **common,
        depth=config["densenet_depth"],
        growth=config["densenet_growth"],
        fully_connected=FullyConnected(fc_blocks, config["fc_densenet_growth"]),
        learnable_concatenation=config["learnable_concat"],
        lip_coeff=config["lip_coeff"],
    )


def _check(config, activations, dense):
    """Checks that all options are there, and supported."""
    needed = (*_NEEDED, *(_NEEDED_DENSE if dense else _NEEDED_PLAIN))
    missing = [name for name in needed if name not in config]
    if missing:
        raise ValueError(
            f"The configuration of a flow on images lacks {', '.join(missing)}: the arguments of "
            "the published flow, or the options of its training script with `input_size` and "
            "`init_layer` beside them."
        )
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
    if not dense and config["activation_fn"] == "CLipSwish":
        problems += [
            f"{name} {config[name]} (with CLipSwish, which doubles its channels, an even number)"
            for name in _WIDTHS
            if config[name] % 2
        ]
    if _logit(config) is None:
        problems.append(f"init_layer {config['init_layer']!r} (supported: LogitTransform)")
    if problems:
        raise ValueError(f"Not supported in a published configuration: {'; '.join(problems)}.")


def _logit(config):
    return re.fullmatch(r"LogitTransform\((.+)\)", str(config["init_layer"]))


def _event_shape(config, shapes):
    """The shape of an image, before any squeeze."""
    _, channels, height, width = config["input_size"]
    image = checkpoint_options.first_image(shapes)
    behind = image is not None and image.channels == channels and channels % 4 == 0
    if config.get("squeeze_first", False) and behind:
        return 2 * height, 2 * width, channels // 4
    return height, width, channels


def _blocks(config, event_shape):
    """The blocks of every scale; as there, of no more scales than leave four pixels a side."""
    blocks = config["n_blocks"]
    if isinstance(blocks, str):
        blocks = [int(number) for number in blocks.split("-")]
    side = min(event_shape[:2]) // (2 if config.get("squeeze_first", False) else 1)
    if side < 4:
        raise ValueError(
            "The published flows are on images of four or more pixels a side at their first scale; "
            f"those of this configuration have {side}."
        )
    return blocks[: side.bit_length() - 2]


def _bits(config):
    """The bits of the integers that the training script dequantizes, None without."""
    if "data" not in config:
        return config.get("nbits")
    if config["data"] != "celebahq":
        return 5 if config["data"] == "celeba_5bit" else 8
    bits = config.get("nbits", 8)
    if bits < 8:
        warnings.warn(
            f"The training script multiplies the integers of celebahq by 1 - 2^-{bits} before it "
            "adds noise; this flow adds noise to the integers as they are, so that its numbers on "
            "them differ from the published ones.",
            stacklevel=2,
        )
    return bits


def _estimator(config):
    # As the reference numbers have it; no option of the training script.
    if config.get("n_power_series_eval"):
        return PowerSeries(config["n_power_series_eval"])
    exact_terms = (config.get("n_exact_terms", 2), 20)
    return Unbiased(config.get("n_dist", "poisson"), exact_terms=exact_terms)


def table(flow, table):
    """What a checkpoint holds for a flow on images, a sequence of `Weight`.

    Args:
        flow: An `IDenseNet` or `ResidualFlow` on images.
        table: The table of one step or layer, a function of its published name and itself.
    """
    dequantizes = isinstance(flow.transform.steps[0], transforms.UniformDequantization)
    steps = _flat(flow.transform.steps[1:] if dequantizes else flow.transform.steps)
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
            places = {id(step.log_scale): (order, 0), id(step.bias): (order, 0)}
            yield from _reordered(table(f"{name}.fc_module", step), places)
        else:
            first, last = step.net.layers[0].dense, step.net.layers[-1].dense
            # CLipSwish in front gives the first matrix all pixels twice.
            times = first.v.shape[0] // len(order)
            several = np.concatenate([order + k * len(order) for k in range(times)])
            places = {id(first.kernel): (several, 1), id(first.v): (several, 0)}
            places |= {id(variable): (order, 0) for variable in (last.kernel, last.bias, last.u)}
            yield from _reordered(table(f"{name}.nnet.nnet", step.net), places)


def _flat(steps):
    """The steps of all scales, those behind a `FactorOut` too."""
    *steps, last = steps
    behind = _flat(last.inner.steps) if isinstance(last, transforms.FactorOut) else [last]
    return [*steps, *behind]


def _order(shape):
    """For every pixel of a flattened image, its place in the published order, channels first."""
    height, width, channels = shape
    places = np.arange(height * width * channels).reshape(channels, height, width)
    return np.moveaxis(places, 0, -1).ravel()


def _reordered(weights, places):
    """The same weights, made of arrays with the pixels in our order.

    Args:
        weights: A sequence of `Weight`.
        places: Dictionary from the id of a variable to the places of its pixels in the published
            order, see `_order`, and to the axis of the published array that they are on.
    """
    for weight in weights:
        if id(weight.variable) in places:
            order, axis = places[id(weight.variable)]
            weight = weight._replace(convert=_taken(order, axis, weight.convert))
        yield weight


def _taken(order, axis, convert):
    return lambda array: convert(np.take(array, order, axis=axis))
