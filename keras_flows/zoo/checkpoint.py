"""Import of published PyTorch checkpoints into flows of this library.

Which family a checkpoint is of, and what its arrays are called, is each family's own matter
(`keras_flows.models.family.Published`); reading, checking and filling are here, the same for all.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from keras_flows.files import UNREADABLE
from keras_flows.models.registry import FAMILIES, MODELS


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
        config: The options of the published training script (see `published_flow` in the
            `checkpoint` modules of `keras_flows.models.residual` and `.denseflow`), or the
            serialised configuration of a flow of this library (`class_name` and `config`), either
            as a dictionary or as the path of a JSON file.
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
    flow, published = _flow(_read_config(config), dtype)
    _fill(flow, published, state, path)
    return flow


# Files --------------------------------------------------------------------------------------------


def _read_config(config):
    if isinstance(config, dict):
        return config
    if not Path(config).is_file():
        raise ValueError(f"There is no file {config}.")
    try:
        content = json.loads(Path(config).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # the latter of thousands of brackets
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
    except UNREADABLE as error:
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


def _flow(config, dtype):
    """The flow of a configuration, built, with fresh weights, and how its checkpoints are read."""
    published = [family.published for family in FAMILIES if family.published is not None]
    if "class_name" not in config:
        for one in published:
            if one.describes(config):
                return one.flow(config, dtype), one
        raise ValueError(
            "The configuration is none of a published flow. It needs the options of the published "
            "training script, or the `class_name` and `config` of a flow of this library."
        )
    model = MODELS.get(config["class_name"])
    if model is None or not isinstance(config.get("config"), dict):
        raise ValueError(
            f"A model configuration has a `config` and the `class_name` {' or '.join(MODELS)}; "
            f"got {config['class_name']!r} and {type(config.get('config')).__name__}."
        )
    (family,) = (family for family in FAMILIES if model in family.models)
    if family.published is None:
        raise ValueError(f"There are no published checkpoints of a {model.__name__}.")
    flow = model.from_config({**config["config"], "dtype": dtype})
    if flow.context_shape is not None:
        raise ValueError("Published checkpoints have no context; this configuration has one.")
    return flow, family.published


# Filling ------------------------------------------------------------------------------------------


def _fill(flow, published, state, path):
    """Checks the arrays against the family's table and assigns them."""
    weights = list(published.weights(flow))
    shapes = {}
    for weight in weights:
        shapes.update(weight.shapes)
    given = {n: a for n, a in state.items() if n.rpartition(".")[2] not in published.ignored}
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
