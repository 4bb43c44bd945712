"""Import of published PyTorch checkpoints into flows of this library.

What a checkpoint holds for a flow is a table, made by `table`: for every variable, the names
and shapes of the published arrays it is made of, and how. A new family adds its layers to
`_TABLES` and its configuration to `_flow`.
"""

import argparse
import json
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_flows import layers, transforms
from keras_flows.models import DenseFlow, IDenseNet, ResidualFlow
from keras_flows.zoo import checkpoint_denseflow, checkpoint_images
from keras_flows.zoo.weight import Weight

_MODELS = {"DenseFlow": DenseFlow, "IDenseNet": IDenseNet, "ResidualFlow": ResidualFlow}
_ACTIVATIONS = {
    "swish": "lipswish",
    "CLipSwish": "clipswish",
    "LeakyLSwish": "leaky_lipswish",
    "relu": "relu",
    "elu": "elu",
    "tanh": "tanh",
}
# Arrays that a density does not need. `scale` is a record of the norm `<u, W v>`, which the
# published forward pass takes from its three parts, at their full precision; so do we.
_IGNORED = ("geom_p", "lamb", "last_n_samples", "last_firmom", "last_secmom", "scale")
_IGNORED += checkpoint_denseflow.IGNORED + checkpoint_images.IGNORED


def import_checkpoint(path, config, dtype="float32"):
    """Reads a checkpoint of a published PyTorch implementation into a flow.

    Supported are the i-DenseNets and Residual Flows on two-dimensional data and on images of
    Perugachi-Diaz et al. 2021 and Chen et al. 2019, in the names and layouts of their training
    scripts. The flow computes what they compute in evaluation, with the stored power-iteration
    vectors. Supported are also the DenseFlows of Grcić et al. 2021.

    >>> flow = kf.zoo.import_checkpoint("checkpt.pth", {"act": "swish", "nblocks": 10, …})

    Args:
        path: An `.npz` file of the state dict (where keys start with `state/`, only those are
            read), or a `.pt` or `.pth` file of one or of a dictionary with a `state_dict` or, of
            a DenseFlow, a `model`, which needs torch and is loaded with `weights_only=True`.
        config: The options of the published training script (`act`, `nblocks`, `coeff`,
            `densenet`, …; for images see `keras_flows.zoo.checkpoint_images.published_flow`, for
            a DenseFlow `keras_flows.zoo.checkpoint_denseflow.published_flow`), or the serialised
            configuration of a flow of this library (`class_name` and `config`), either as a
            dictionary or as the path of a JSON file.
        dtype: `"float32"` or `"float64"`.

    Returns:
        An `IDenseNet`, a `ResidualFlow` or a `DenseFlow`.

    Raises:
        ValueError: If the file or the configuration cannot be read or is of an unsupported kind,
            or arrays are missing, unknown, of the wrong shape or not finite; all are listed.
        ImportError: If a PyTorch file is given and torch is not installed.
    """
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64'; got {dtype!r}.")
    state = _read_state(Path(path))
    flow = _flow(_read_config(config), state, dtype)
    _fill(flow, state, path)
    return flow


# Files --------------------------------------------------------------------------------------------


def _read_config(config):
    if isinstance(config, dict):
        return config
    try:
        content = json.loads(Path(config).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{config} is not a JSON file: {error}.") from None
    if not isinstance(content, dict):
        raise ValueError(f"{config} must hold a JSON object; it holds {type(content).__name__}.")
    return content


def _read_state(path):
    """The arrays of a checkpoint by name."""
    readers = {".npz": _read_npz, ".pt": _read_torch, ".pth": _read_torch}
    if path.suffix not in readers:
        raise ValueError(f"A checkpoint is a {', '.join(readers)} file; got {path}.")
    if not path.is_file():
        raise ValueError(f"There is no file {path}.")
    return readers[path.suffix](path)


def _read_npz(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (ValueError, OSError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a readable .npz file of arrays: {error}.") from error
    prefix = "state/" if any(name.startswith("state/") for name in arrays) else ""
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _read_torch(path):
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"Reading {path} needs PyTorch: install torch, or write the state dict to an .npz file "
            "where it is installed: numpy.savez(path, **{name: tensor.numpy() for name, tensor in "
            "state_dict.items()})."
        ) from error
    try:
        # The training scripts keep their command-line options beside the state dict, in a plain
        # record without code.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises errors of many kinds
        raise ValueError(
            f"{path} cannot be read as weights only. If it holds other Python objects beside the "
            "state dict (an EMA, an optimizer), write the state dict alone, where it was trained: "
            f"torch.save(content['state_dict'], path). PyTorch says: {error}"
        ) from error
    if isinstance(content, dict):
        content = content.get("state_dict", content.get("model", content))
    if not isinstance(content, dict) or not all(map(torch.is_tensor, content.values())):
        raise ValueError(f"{path} must hold a state dict, names with tensors.")
    # No copies, except of what NumPy does not have.
    return {
        name: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
        for name, tensor in content.items()
    }


# Configurations -----------------------------------------------------------------------------------


def _flow(config, state, dtype):
    """The flow, built, with fresh weights."""
    if checkpoint_denseflow.is_configuration(config):
        return checkpoint_denseflow.published_flow(config, dtype)
    if checkpoint_images.is_configuration(config):
        return checkpoint_images.published_flow(config, _ACTIVATIONS, dtype)
    if "class_name" not in config:
        return _published_flow(config, dtype)
    model = _MODELS.get(config["class_name"])
    if model is None or not isinstance(config.get("config"), dict):
        raise ValueError(
            f"A model configuration has a `config` and the `class_name` {' or '.join(_MODELS)}; "
            f"got {config['class_name']!r} and {type(config.get('config')).__name__}."
        )
    flow = model.from_config({**config["config"], "dtype": dtype})
    if flow.context_shape is not None:
        raise ValueError("Published checkpoints have no context; this configuration has one.")
    return flow


def _published_flow(config, dtype):
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


def _fill(flow, state, path):
    """Checks the arrays against the table and assigns them."""
    if isinstance(flow, DenseFlow):
        weights = list(checkpoint_denseflow.table(flow))
    elif len(flow.event_shape) == 3:
        weights = list(checkpoint_images.table(flow, table))
    else:
        weights = list(table("chain", flow.transform))
    shapes = {}
    for weight in weights:
        shapes.update(weight.shapes)
    given = {n: a for n, a in state.items() if n.rpartition(".")[2] not in _IGNORED}
    # A convolution there records whether it was run once; an ActNorm needs that.
    given = {n: a for n, a in given.items() if n in shapes or not n.endswith(".initialized")}
    problems = [
        *(f"missing: {name} {shapes[name]}" for name in shapes if name not in given),
        *(f"unknown: {name} {array.shape}" for name, array in given.items() if name not in shapes),
    ]
    for name in shapes.keys() & given.keys():
        array = given[name]
        if array.shape != shapes[name]:
            problems.append(f"shape: {name} {array.shape}, needed {shapes[name]}")
        elif array.dtype.kind not in "fiub":
            problems.append(f"dtype: {name} {array.dtype}, needed numbers")
        elif not np.all(np.isfinite(array)):
            problems.append(f"NaN or infinity: {name} {array.shape}")
    if problems:
        raise ValueError(
            f"{path} does not fit the {type(flow).__name__} of this configuration:\n  "
            + "\n  ".join(sorted(problems))
        )
    for weight in weights:
        arrays = (np.asarray(given[name], "float64") for name in weight.shapes)
        weight.variable.assign(weight.convert(*arrays))
