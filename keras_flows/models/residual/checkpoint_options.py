"""What the arrays of a published i-DenseNet or Residual Flow show of the options it was made with.

A squeeze has no arrays, nor has an activation without parameters: of those the configuration alone
knows. Everywhere, `shapes` is a dictionary from the published names of arrays to their shapes.
"""

import math
import re
from typing import NamedTuple

# Activations without arrays, by which they cannot be told apart.
_WITHOUT_ARRAYS = ("relu", "elu", "tanh", "softplus")
# What an option is where a configuration does not have it.
_DEFAULTS = {
    "densenet": False,
    "actnorm": False,
    "factor_out": False,
    "fc_end": True,
    "first_resblock": True,
    "squeeze_first": False,
}


class Image(NamedTuple):
    """The first image that a residual block is given: its channels, and its number of pixels."""

    channels: int
    pixels: int


def contradicted(config, shapes, aliases):
    """The options of a configuration that the arrays contradict, with what would fit instead.

    Args:
        config: The options of a training script.
        shapes: See above.
        aliases: Dictionary from the name of an option to another that it may have.

    Returns:
        Dictionary from the name of an option to a tuple of the values that would fit. Empty where
        the arrays have nothing of such a flow.
    """
    try:
        found = _of_images(config, shapes) if _images(shapes) else _of_vectors(shapes)
    except (IndexError, KeyError, ValueError):  # arrays of something else
        return {}
    result = {}
    for option, values in found.items():
        name = next((n for n in (option, aliases.get(option)) if n in config), option)
        given = config.get(name, _DEFAULTS.get(option))
        if _plain(given) not in map(_plain, values):
            result[name] = values
    return result


def first_image(shapes):
    """The `Image` that the arrays show, None where they show none."""
    try:
        return _first_image(_nets(shapes, "transforms.0.chain.")[0])
    except (IndexError, KeyError, ValueError):
        return None


def _images(shapes):
    return any(name.startswith("transforms.") for name in shapes)


def _plain(value):
    """`"4-4"` and `[4, 4]` are the same."""
    return "-".join(map(str, value)) if isinstance(value, (list, tuple)) else value


# One network ------------------------------------------------------------------------------------


class _Net(NamedTuple):
    """What the arrays of one network show.

    Attributes:
        dense: Whether it has Dense Layers.
        act: The activations that it can have.
        widths: What every layer but the last gives to the next, or adds to its input.
        weights: The shapes of the weights, in their order.
        vector: The size of the input of the first layer with a vector `v`.
        starts: Whether an activation stands first.
    """

    dense: bool
    act: tuple
    widths: list
    weights: list
    vector: int
    starts: bool


def _net(arrays):
    """The `_Net` of arrays whose names begin with the number of a layer."""
    order = sorted(arrays, key=lambda name: int(name.partition(".")[0]))
    weights = [name for name in order if name.endswith(".weight")]
    dense = any(name.endswith(".K1_unnormalized") for name in arrays)
    if any(name.endswith(".swish.beta") for name in arrays):
        act = ("CLipSwish",)
    elif any(name.endswith(".alpha") for name in arrays):
        act = ("LeakyLSwish",)
    else:
        has_beta = any(name.endswith(".beta") for name in arrays)
        act = ("swish",) if has_beta else _WITHOUT_ARRAYS
    factor = 2 if act == ("CLipSwish",) else 1
    return _Net(
        dense=dense,
        act=act,
        widths=[
            arrays[name][0] * (factor if not dense or ".network." in name else 1)
            for name in weights[:-1]
        ],
        weights=[arrays[name] for name in weights],
        vector=arrays[f"{weights[0].removesuffix('weight')}v"][0],
        starts=int(weights[0].partition(".")[0]) > 0,
    )


def _nets(shapes, prefix, inside="nnet."):
    """The networks of the blocks under a prefix, in their order."""
    blocks = {}
    for name, shape in shapes.items():
        found = re.fullmatch(rf"{re.escape(prefix)}(\d+)\.{re.escape(inside)}(\d+\..+)", name)
        if found:
            blocks.setdefault(int(found[1]), {})[found[2]] = shape
    return [_net(arrays) for _, arrays in sorted(blocks.items())]


def _normed(shapes, prefix):
    """Whether an ActNorm stands at a place, or at any where the prefix ends with a dot."""
    pattern = re.escape(prefix) + (r"\d+" if prefix.endswith(".") else "")
    return any(re.fullmatch(rf"{pattern}\.(fc_module\.)?bias", name) for name in shapes)


# The flows ----------------------------------------------------------------------------------------


def _of_vectors(shapes):
    """Options and the values that would fit, of a flow on vectors."""
    nets = _nets(shapes, "chain.")
    first = nets[0]
    found = {
        "densenet": (first.dense,),
        "act": first.act,
        "nblocks": (len(nets),),
        "actnorm": (_normed(shapes, "chain."),),
    }
    if first.dense:
        found |= {"densenet_depth": (len(first.widths),), "densenet_growth": (first.widths[0],)}
    else:
        found["dims"] = (_plain(first.widths),)
    return found


def _of_images(config, shapes):
    """Options and the values that would fit, of a flow on images."""
    scales = sorted({int(name.split(".")[1]) for name in shapes if name.startswith("transforms.")})
    nets = [_nets(shapes, f"transforms.{scale}.chain.") for scale in scales]
    first, actnorm = nets[0][0], _normed(shapes, "transforms.0.chain.")
    found = {
        "densenet": (first.dense,),
        "act": first.act,
        "nblocks": (_plain([len(scale) for scale in nets]),),
        "actnorm": (actnorm,),
        **_squeezing(config, _first_image(first)),
    }
    if actnorm:
        found["first_resblock"] = (_normed(shapes, "transforms.0.chain.1"),)
    elif not first.dense and len(scales) > 1:
        found["first_resblock"] = (not first.starts,)
    if len(scales) > 1:
        found["factor_out"] = (nets[1][0].weights[-1][0] == 2 * first.weights[-1][0],)
    if first.dense:
        found |= {"densenet_depth": (len(first.widths),), "densenet_growth": (first.widths[0],)}
    else:
        if any(height != width for _, _, height, width in first.weights):
            raise ValueError("kernels are squares")
        found["kernels"] = (_plain([shape[2] for shape in first.weights]),)
        found["idim"] = (first.widths[0],)
    ends = _nets(shapes, f"transforms.{scales[-1]}.chain.", "nnet.nnet.")
    found["fc_end"] = (bool(ends),)
    if ends:
        size = ends[0].widths[1]  # the first of a dense net is the entrance
        found["fc_densenet_growth" if first.dense else "fc_idim"] = (size,)
    return found


def _first_image(net):
    channels, inputs = net.weights[-1][0], net.weights[0][1]
    return Image(channels, net.vector // inputs)


def _squeezing(config, image):
    """`input_size` or `squeeze_first`, whichever the arrays contradict."""
    batch, channels, height, width = config["input_size"]
    squeezed = Image(4 * channels, height * width // 4)
    given = Image(channels, height * width)
    if config.get("squeeze_first", False):
        if image == squeezed or (image == given and channels % 4 == 0):
            return {}
        if image == given:
            return {"squeeze_first": (False,)}
    elif image == given:
        return {}
    elif image == squeezed:
        return {"squeeze_first": (True,)}
    side = math.isqrt(image.pixels)
    if side**2 != image.pixels:
        return {}
    return {"input_size": ([batch, image.channels, side, side],)}
