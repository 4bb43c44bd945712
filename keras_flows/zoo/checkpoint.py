"""Import of published PyTorch checkpoints into flows of this library.

Which family a checkpoint is of, and what its arrays are called, is each family's own matter
(`keras_flows.models.family.Published`); reading, checking and filling are here, the same for all.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_flows.files import UNREADABLE
from keras_flows.flow import Flow
from keras_flows.models.registry import FAMILIES, MODELS
from keras_flows.zoo import pytorch


def import_checkpoint(
    path: str | Path,
    config: str | Path | Mapping[str, Any],
    dtype: str = "float32",
    ema: bool = True,
) -> Flow:
    """Reads a checkpoint of a published PyTorch implementation into a flow.

    Supported are the i-DenseNets and Residual Flows on two-dimensional data and on images of
    Perugachi-Diaz et al. 2021 and Chen et al. 2019, in the names and layouts of their training
    scripts. The flow computes what they compute in evaluation, with the stored power-iteration
    vectors; saving a flow brings these to convergence, unless told otherwise
    (`keras_flows.zoo.save`). Supported are also the DenseFlows of Grcić et al. 2021.

    >>> flow = kf.zoo.import_checkpoint("checkpt.pth", {"act": "swish", "nblocks": 10, …})

    Args:
        path: A `.pt` or `.pth` file of the state dict, or of a dictionary with a `state_dict` or,
            of a DenseFlow, a `model`, as the training scripts save them; torch is not needed, and
            no code of the file runs. Or an `.npz` file of the state dict (where keys start with
            `state/`, only those are read). A prefix `module.` of all names is left out.
        config: The options of the published training script (see `published_flow` in the
            `checkpoint` modules of `keras_flows.models.residual` and `.denseflow`), or the
            serialised configuration of a flow of this library (`class_name` and `config`), either
            as a dictionary or as the path of a JSON file.
        dtype: `"float32"` or `"float64"`.
        ema: Whether to read the moving averages of the weights where a PyTorch file has an `ema`
            beside its state dict, as the published evaluations do.

    Returns:
        An `IDenseNet`, a `ResidualFlow` or a `DenseFlow`.

    Raises:
        ValueError: If the file or the configuration cannot be read or is of an unsupported kind,
            or arrays are missing, unknown, of the wrong shape or not finite; all are listed, or
            the options that would fit the arrays are.
    """
    return read(path, config, dtype, ema).flow


class Imported(NamedTuple):
    """An imported flow.

    Attributes:
        flow: The flow.
        averaged: Whether its weights are moving averages.
    """

    flow: Flow
    averaged: bool


def read(path, config, dtype="float32", ema=True):
    """An `Imported`; see `import_checkpoint`."""
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64'; got {dtype!r}.")
    arrays, averaged = _read_arrays(Path(path), ema)
    flow, weights = _made(_read_config(config), dtype, arrays, path)
    _fill(weights, arrays)
    return Imported(flow, averaged)


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


def _read_arrays(path, ema):
    """The arrays of a checkpoint by name, and whether they are moving averages."""
    readers = {".npz": _read_npz, ".pt": _read_torch, ".pth": _read_torch}
    if path.suffix not in readers:
        raise ValueError(f"A checkpoint is a {', '.join(readers)} file; got {path}.")
    if not path.is_file():
        raise ValueError(f"There is no file {path}.")
    arrays, averaged = readers[path.suffix](path, ema)
    # Trained on several devices.
    prefix = "module." if all(name.startswith("module.") for name in arrays) else ""
    return {name.removeprefix(prefix): array for name, array in arrays.items()}, averaged


def _read_npz(path, ema):
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except UNREADABLE as error:
        raise ValueError(f"{path} is not a readable .npz file of arrays: {error}.") from error
    prefix = "state/" if any(name.startswith("state/") for name in arrays) else ""
    kept = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    return kept, False


def _read_torch(path, ema):
    content = pytorch.read(path)
    state = content
    if isinstance(content, dict):
        state = content.get("state_dict", content.get("model", content))
    if not _of_tensors(state):
        raise ValueError(f"{path} must hold a state dict, names with tensors.")
    averages = {}
    if ema and state is not content and content.get("ema") is not None:
        averages = getattr(content["ema"], "shadow_params", None)
        if not _of_tensors(averages) or not averages.keys() <= state.keys():
            raise ValueError(
                f"{path} has moving averages of its weights (`ema`) in a form that is not known: "
                "needed are `shadow_params`, some of the names of the state dict with tensors. "
                "Without them (ema=False, or --no-ema) the weights are those of the last step of "
                "training, of which published evaluations are not."
            )
    try:
        arrays = {name: tensor.numpy() for name, tensor in {**state, **averages}.items()}
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is not a readable PyTorch file: {error}.") from error
    return arrays, bool(averages)


def _of_tensors(values):
    return isinstance(values, dict) and all(
        isinstance(value, pytorch.Tensor) for value in values.values()
    )


# Configurations -----------------------------------------------------------------------------------


def _made(config, dtype, arrays, path):
    """The flow of a configuration, built, that the arrays fit, and its `Weight`s."""
    published = _published(config)
    own = "class_name" in config
    shapes = {name: array.shape for name, array in arrays.items()}

    def make(config):
        """A flow, its `Weight`s, and how the arrays do not fit them."""
        flow = _own_flow(config, dtype) if own else published.flow(config, dtype, shapes)
        weights = list(published.weights(flow))
        return flow, weights, _problems(weights, published.ignored, arrays)

    def hint():
        """A sentence on the options of a training script that would fit; empty where none would."""
        options = {} if own else published.contradicted(config, shapes)
        if not options:
            return ""
        changed = {name: values[0] for name, values in options.items()}
        then = ""
        try:
            if make({**config, **changed})[2]:
                return ""
        except ValueError as error:
            then = f" With that: {error}"
        fitting = "; ".join(
            f"{name} {' or '.join(map(repr, values))} "
            f"({f'not {config[name]!r}' if name in config else 'which is not given'})"
            for name, values in options.items()
        )
        return f" What the arrays fit is {fitting}.{then}"

    try:
        flow, weights, problems = make(config)
    except ValueError as error:
        raise ValueError(f"{error}{hint()}") from error
    if problems:
        start = f"{path} does not fit the {type(flow).__name__} of this configuration"
        listed = ":\n  " + "\n  ".join(sorted(problems))
        other = hint()
        raise ValueError(f"{start}.{other}" if other else start + listed)
    return flow, weights


def _published(config):
    """How the checkpoints of a configuration's family are read."""
    if "class_name" not in config:
        for family in FAMILIES:
            if family.published is not None and family.published.describes(config):
                return family.published
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
    return family.published


def _own_flow(config, dtype):
    """The flow of a configuration of this library."""
    flow = MODELS[config["class_name"]].from_config({**config["config"], "dtype": dtype})
    if flow.context_shape is not None:
        raise ValueError("Published checkpoints have no context; this configuration has one.")
    return flow


# Filling ------------------------------------------------------------------------------------------


def _problems(weights, ignored, arrays):
    """How arrays do not fit the `Weight`s of a flow, a list of texts."""
    shapes = {}
    for weight in weights:
        shapes.update(weight.shapes)
    given = {n: a for n, a in arrays.items() if n.rpartition(".")[2] not in ignored}
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
    return problems


def _fill(weights, arrays):
    """Assigns the arrays that fit."""
    for weight in weights:
        parts = (np.asarray(arrays[name], "float64") for name in weight.shapes)
        weight.variable.assign(weight.convert(*parts))
