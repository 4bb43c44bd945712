"""The published DenseFlow checkpoints: their configuration, and the names of their arrays."""

import re

import numpy as np

from keras_flows import transforms
from keras_flows.layers import DenseAttentionBlock
from keras_flows.models.denseflow.cross_unit_coupling import CrossUnitBlock
from keras_flows.models.denseflow.model import DenseFlow
from keras_flows.models.weight import Weight

# Constants, which carry no learning.
IGNORED = ("ldj_per_dim", "_shift", "_scale", "temperature", "buffer", "num_batches_tracked")
_NEEDED = ("data_shape", "block_config", "layers_config", "layer_mid_chnls", "growth_rate")
# Arguments of the published model, by the option of its training script that they come from.
_ARGUMENTS = {"block_conf": "block_config", "layers_conf": "layers_config"}


def describes(config):
    """Whether a configuration is one of a published DenseFlow."""
    return not config.keys().isdisjoint((*_ARGUMENTS, *_ARGUMENTS.values(), "layer_mid_chnls"))


def _renamed(config):
    return {_ARGUMENTS.get(name, name): value for name, value in config.items()}


def contradicted(config, shapes):
    """The options that the arrays contradict, with what would fit instead.

    Args:
        config: See `published_flow`.
        shapes: Shapes of the arrays of the checkpoint by name.

    Returns:
        Dictionary from the name of an option to a tuple of one value. Empty where the arrays have
        nothing of a DenseFlow.
    """
    try:
        found = _shown(config, shapes)
    except (IndexError, KeyError, ValueError):  # arrays of something else
        return {}
    given = {"coupling_depth": 7, "coupling_growth": 64, **_renamed(config)}
    names = {new: old for old, new in _ARGUMENTS.items() if old in config}
    return {
        names.get(option, option): (value,)
        for option, value in found.items()
        if given.get(option) != value
    }


def _shown(config, shapes):
    """Options by name, as the arrays have them."""
    modules = {}  # by block, unit and module
    for name in shapes:
        found = re.fullmatch(
            r"transforms\.(\d+)\.blocks\.(\d+)\.transforms\.(\d+)\.transforms\.1\.weight", name
        )
        if found:
            block, unit, module = map(int, found.groups())
            modules.setdefault(block, {}).setdefault(unit, set()).add(module)
    first = [f"transforms.{block}.blocks.0.transforms.0.transforms.2" for block in sorted(modules)]
    nets = [f"{prefix}.coupling_net.0.dn.transform" for prefix in first]
    dense = [
        shape
        for name, shape in shapes.items()
        if name.startswith(f"{nets[0]}.1.dense.") and name.endswith(".nn.2.weight")
    ]
    result = {
        "block_config": [len(units) for _, units in sorted(modules.items())],
        "layers_config": [len(units[0]) for _, units in sorted(modules.items())],
        "layer_mid_chnls": [shapes[f"{net}.0.weight"][0] for net in nets],
        "coupling_depth": len(dense),
        "coupling_growth": dense[0][0],
    }
    added = [shape for name, shape in shapes.items() if name.endswith("transformation.2.bias")]
    if added:
        result["growth_rate"] = added[0][0] // 2
    if "data_shape" in config:
        channels = shapes["transforms.0.encoder.base_dist.loc"][1] // 4
        result["data_shape"] = [channels, *config["data_shape"][1:]]
    return result


def published_flow(config, dtype, shapes):
    """A DenseFlow from the options of the published model, or of its training script.

    Args:
        config: Dictionary with `data_shape` (channels first), `block_config` (units of every
            block; `block_conf` in the script), `layers_config` (modules in a unit; `layers_conf`
            in the script), `layer_mid_chnls`, `growth_rate`; where
            they differ from the published ones also `coupling_depth`, `coupling_growth`,
            `num_bits`, and `dequant` with `num_steps`, `num_context`, `mid_channels`, `depth`
            and `growth`.
        dtype: `"float32"` or `"float64"`.
        shapes: Shapes of the arrays of the checkpoint by name.

    Raises:
        ValueError: If an option is missing or not supported.
    """
    config = _renamed(config)
    missing = [name for name in _NEEDED if name not in config]
    if missing:
        raise ValueError(
            f"The configuration of a DenseFlow lacks {', '.join(missing)}: the options of its "
            "training script, and beside them `data_shape` (channels, height, width)."
        )
    dequantizer = config.get("dequant", {})
    if dequantizer.get("num_blocks", 1) != 1:
        raise ValueError(
            "Not supported in a published configuration: dequant num_blocks "
            f"{dequantizer['num_blocks']} (supported: 1)."
        )
    names = {
        "steps": "num_steps",
        "width": "mid_channels",
        "depth": "depth",
        "growth": "growth",
        "context": "num_context",
    }
    sizes = {mine: dequantizer[name] for mine, name in names.items() if name in dequantizer}
    options = {"dequantization": {"class_name": "variational", "config": sizes}}
    for mine, name in {
        "coupling_depth": "coupling_depth",
        "coupling_growth": "coupling_growth",
        "bits": "num_bits",
    }.items():
        if name in config:
            options[mine] = config[name]
    channels, height, width = config["data_shape"]
    return DenseFlow(
        (height, width, channels),
        units=config["block_config"],
        modules=config["layers_config"],
        growth=config["growth_rate"],
        width=config["layer_mid_chnls"],
        attention="published",
        dtype=dtype,
        **options,
    )


def table(flow):
    """The table of a DenseFlow: for every variable, the published arrays it is made of.

    Raises:
        ValueError: If the published models have no such flow.
    """
    for i, step in enumerate(flow.transform.steps):
        prefix = f"transforms.{i}"
        if isinstance(step, transforms.VariationalDequantization):
            yield from dequantization(prefix, step)
        elif isinstance(step, CrossUnitBlock):
            yield from block(prefix, step)
        elif step.weights:
            raise ValueError(
                f"Published DenseFlows have cross-unit coupling; step {i} of this flow is a "
                f"{type(step).__name__}."
            )
    yield from normal("base_dist", flow.base)


def dequantization(prefix, step):
    """The table of a `VariationalDequantization`."""
    prefix = f"{prefix}.encoder"
    yield from normal(f"{prefix}.base_dist", step.base)
    for i, inner in enumerate(step.flow.steps):
        yield from _step(f"{prefix}.transforms.{i}", inner)
    first, conv, second = step.context_net
    yield from dense_block(f"{prefix}.context_init.1", first)
    yield from convolution(f"{prefix}.context_init.2", conv)
    yield from dense_block(f"{prefix}.context_init.3", second)


def block(prefix, step):
    """The table of a `CrossUnitBlock`."""
    for i, unit in enumerate(step.units):
        for j, module in enumerate(unit.steps):
            for k, inner in enumerate(module.steps):
                yield from _step(f"{prefix}.blocks.{i}.transforms.{j}.transforms.{k}", inner)
    for i, coupling in enumerate(step.couplings):
        yield from convolution(f"{prefix}.noise_params.{i}.transformation.0", coupling.first)
        yield from convolution(f"{prefix}.noise_params.{i}.transformation.2", coupling.last)


def _step(prefix, step):
    """The table of a step inside a module or the dequantizer."""
    tables = {
        transforms.ActNorm: actnorm,
        transforms.Conv1x1: conv1x1,
        transforms.AffineCoupling: coupling,
        transforms.SwapHalves: lambda prefix, step: (),
    }
    yield from tables[type(step)](prefix, step)


def actnorm(prefix, step):
    """The table of an `ActNorm`: the published one is `(x - shift) exp(-log_scale)`."""
    channels = (1, step.bias.shape[0], 1, 1)
    for name, variable in (("shift", step.bias), ("log_scale", step.log_scale)):
        yield Weight(variable, {f"{prefix}.{name}": channels}, lambda array: -array.ravel())
    name = f"{prefix}.initialized"
    yield Weight(step.initialized, {name: (1,)}, lambda array: array[0])


def conv1x1(prefix, step):
    """The table of a `Conv1x1`: the published one is the full matrix."""
    matrix = {f"{prefix}.weight": tuple(step.triangles.shape)}
    for name in ("triangles", "sign", "order"):
        yield Weight(getattr(step, name), matrix, lambda array, name=name: step.parts(array)[name])


def coupling(prefix, step):
    """The table of an `AffineCoupling`."""
    intra_unit = isinstance(step.net.blocks[0], DenseAttentionBlock)
    yield from network(f"{prefix}.coupling_net.0{'.dn' if intra_unit else ''}", step.net)


def network(prefix, net):
    """The table of a `CouplingNetwork`."""
    prefix = f"{prefix}.transform"
    yield from convolution(f"{prefix}.0", net.first)
    for i, inner in enumerate(net.blocks, 1):
        tables = attention_block if isinstance(inner, DenseAttentionBlock) else residual_block
        yield from tables(f"{prefix}.{i}", inner)
    yield from convolution(f"{prefix}.{len(net.blocks) + 1}", net.last)


def residual_block(prefix, layer):
    """The table of a `ResidualDenseBlock`."""
    yield from dense_block(f"{prefix}.dense", layer.dense)


def attention_block(prefix, layer):
    """The table of a `DenseAttentionBlock`."""
    yield from dense_block(f"{prefix}.dense", layer.dense)
    if layer.attention is None:
        raise ValueError("Published DenseFlows have attention; this configuration has none.")
    yield from attention(f"{prefix}.mha", layer.attention)
    norm = f"{prefix}.mix_conv.0"
    for name, variable in (
        ("weight", layer.norm.gamma),
        ("bias", layer.norm.beta),
        ("running_mean", layer.norm.moving_mean),
        ("running_var", layer.norm.moving_variance),
    ):
        yield Weight(variable, {f"{norm}.{name}": tuple(variable.shape)})
    yield from convolution(f"{prefix}.mix_conv.2", layer.mix)


def attention(prefix, layer):
    """The table of a `NystromAttention`."""
    yield from convolution(f"{prefix}.qkv", layer.qkv)
    yield from convolution(f"{prefix}.out_transform", layer.output_conv)


def dense_block(prefix, layer):
    """The table of a `GatedDenseBlock`."""
    for i, (narrow, wide) in enumerate(layer.pairs):
        yield from convolution(f"{prefix}.{i}.nn.0", narrow)
        yield from convolution(f"{prefix}.{i}.nn.2", wide)
    yield from convolution(f"{prefix}.{layer.depth}.conv", layer.gate.conv)


def normal(prefix, base):
    """The table of a `ChannelNormal`."""
    for name, variable in (("loc", base.loc), ("log_scale", base.log_scale)):
        shape = (1, variable.shape[0], 1, 1)
        yield Weight(variable, {f"{prefix}.{name}": shape}, np.ravel)


def convolution(prefix, conv):
    """The table of a convolution: (out, in, height, width) there."""
    height, width, inputs, outputs = conv.kernel.shape
    yield Weight(
        conv.kernel,
        {f"{prefix}.weight": (outputs, inputs, height, width)},
        lambda array: np.transpose(array, (2, 3, 1, 0)),
    )
    if conv.use_bias:
        yield Weight(conv.bias, {f"{prefix}.bias": (outputs,)})
