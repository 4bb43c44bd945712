"""Preset folders: how a flow is written to one and read back.

A folder holds `config.json`, `model.weights.h5`, a model card `README.md`, one picture where
there is one, `schema.json` of a flow on a table, `calibration.npz` of a calibrated one, and
`metadata.json` with the SHA-256 of all the others.
"""

import json
import platform
import shutil
from collections.abc import Mapping
from importlib import metadata as installed
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_flows.models  # noqa: F401  Keras finds the classes of a preset once they are imported
from keras_flows import __version__
from keras_flows.errors import ConvergenceError, PresetError
from keras_flows.files import check_place, complete_folder, differences, read_object, sha256
from keras_flows.flow import Flow
from keras_flows.measure.inversion import round_trip
from keras_flows.zoo import comparison, parts, weights
from keras_flows.zoo.card import FILE as CARD
from keras_flows.zoo.card import render
from keras_flows.zoo.metadata import FILE as METADATA
from keras_flows.zoo.metadata import FORMAT, Inverse, Metadata
from keras_flows.zoo.metadata import read as read_metadata

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
_PACKAGES = ("keras", "tensorflow", "numpy")
# Samples that the round trip is measured on: of images fewer, which take longer.
_POINTS, _IMAGES = 1000, 64
# What Keras raises where a configuration is none.
_NO_FLOW = (TypeError, ValueError, KeyError, AttributeError, IndexError, RecursionError)


def save(
    flow: Flow,
    folder: str | Path,
    name: str | None = None,
    summary: str = "",
    data: str | None = None,
    test: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    licence: str = "apache-2.0",
    picture: str | Path | None = None,
    data_licence: str | None = None,
    converge: bool = True,
) -> Metadata:
    """Writes a flow as a preset folder.

    The spectral norms are brought to convergence (unless told otherwise), the blocks certified,
    and the round trip of the inverse measured, before anything is written; an existing preset is
    replaced only by a complete new one. Files in its folder that are none of the preset's stay
    there, and a link to the folder stays a link.

    Args:
        flow: The `keras_flows.Flow`.
        folder: Where to write it; a new folder, an empty one, or a preset to replace.
        name: Name of the preset; that of the folder by default.
        summary: One sentence for lists and the model card.
        data: What it was trained on.
        test: Test result, a dictionary with the fields of `keras_flows.zoo.metadata.Test`.
        training: How it was trained: recipe, seed, steps and the like, a dictionary.
        licence: SPDX identifier in lower case.
        picture: Path of a PNG file to include, or None.
        data_licence: The licence of the data, where `keras_flows.zoo.known_data` does not have it.
        converge: Whether to bring the spectral norms to convergence; False to keep an imported
            flow as it was published.

    Returns:
        The `Metadata` written.

    Raises:
        ConvergenceError: If the flow does not decode its own samples.
        LipschitzError: If a residual block cannot be certified invertible.
        OSError: If it cannot be written: no room, a read-only disk, another process writing there.
        PresetError: If the folder holds something that is not a preset.
        ValueError: If the flow has a schema that does not fit it.
    """
    folder = Path(folder)
    check_target(folder)
    parts.check_schema(flow)
    if converge:
        flow.converge()
    bounds = flow.certify().bounds
    with complete_folder(folder, _names(folder)) as partial:
        config = _config(flow, name or folder.name)
        _write_json(partial / CONFIG, config)
        # A copy that was never compiled has no optimizer, whose state is no part of a preset.
        plain = keras.saving.deserialize_keras_object(config)
        # One by one: all values at once would be another copy of the flow.
        for mine, theirs in zip(plain.weights, flow.weights, strict=True):
            mine.assign(theirs)
        weights.write(plain, partial / WEIGHTS)
        parts.write(flow, partial)
        if picture is not None:
            shutil.copy(picture, partial / Path(picture).name)
        metadata = Metadata(
            name=name or folder.name,
            summary=summary,
            model=type(flow).__name__,
            event_shape=list(flow.event_shape),
            context_shape=None if flow.context_shape is None else list(flow.context_shape),
            parameters=sum(int(np.prod(v.shape)) for v in flow.trainable_variables),
            likelihood=flow.likelihood,
            estimator=_estimator(flow),
            data=data,
            test=test,
            lipschitz=bounds,
            inverse=_inverse(flow, converge),
            training=training or {},
            columns=parts.columns(flow.schema),
            calibration=parts.calibrated(flow.calibration),
            versions={
                "python": platform.python_version(),
                "keras_flows": __version__,
                **{package: installed.version(package) for package in _PACKAGES},
            },
            licence=licence,
            data_licence=data_licence,
            files={},
        )
        picture_name = None if picture is None else Path(picture).name
        (partial / CARD).write_text(render(metadata, picture_name), encoding="utf-8")
        files = {path.name: sha256(path) for path in sorted(partial.iterdir())}
        metadata = metadata.model_copy(update={"files": files})
        _write_json(partial / METADATA, metadata.model_dump())
    return metadata


def check_target(folder):
    """Checks, before the work, that a preset can be written there.

    Raises:
        OSError: If nothing can be written there.
        PresetError: If it is a file, or a folder that holds something that is not a preset.
    """
    folder = Path(folder)
    check_place(folder)
    if folder.exists() and not folder.is_dir():
        raise PresetError(f"{folder} is a file; a preset is a folder.")
    if folder.exists() and any(folder.iterdir()) and not (folder / METADATA).exists():
        raise PresetError(f"{folder} exists, and is not a preset; it is left as it is.")


def _names(folder):
    """The names of the files of a preset in a folder; what else is there is somebody's own."""
    try:
        written = read_metadata(folder).files
    except PresetError:
        written = {}
    return {METADATA, CONFIG, WEIGHTS, CARD, *written}


def check_files(folder, metadata):
    """Compares every file of a preset with its SHA-256.

    Raises:
        PresetError: If a file is missing or differs; the message lists them.
    """
    unlisted = {CONFIG, WEIGHTS} - metadata.files.keys()
    wrong = [f"{name} has no checksum in {METADATA}" for name in sorted(unlisted)]
    wrong += differences(folder, metadata.files)
    if wrong:
        raise PresetError(
            f"The preset {folder} is corrupt or was changed: {'; '.join(wrong)}. Fetch it again."
        )


def load(folder):
    """Reads a flow from a preset folder.

    What the files say is compared, checksums aside: the configuration with the size of the weight
    file, before the flow is built, and with its arrays afterwards; the metadata with the flow; the
    stored spectral norms with the weights; and for a flow on vectors the certificate, computed
    anew, with the one in the metadata. On images that takes up to minutes: `certify` does it there.

    Raises:
        PresetError: If a file is missing, corrupt, or of a newer version, or two do not belong
            together.
    """
    folder = Path(folder)
    metadata = read_metadata(folder)
    check_files(folder, metadata)
    config = read_object(folder / CONFIG, "preset", PresetError)
    held = weights.contents(folder / WEIGHTS)
    flow = _built(folder, config, held, metadata)
    weights.check(flow, folder / WEIGHTS, held)
    try:
        weights.read(flow, folder / WEIGHTS)
    except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        raise PresetError(
            f"The weights in {folder / WEIGHTS} do not fit the flow in {CONFIG}: {error}"
        ) from error
    comparison.check_metadata(flow, metadata)
    comparison.check_norms(flow, metadata)
    if len(flow.event_shape) == 1:
        comparison.check_certificate(flow.certify(), metadata)
    parts.read(flow, folder, metadata)
    return flow


def _built(folder, config, held, metadata):
    """The flow of a configuration, with fresh weights."""
    described = json.dumps(config).count('"class_name"')
    try:
        with weights.no_larger_than(held, described):
            flow = keras.saving.deserialize_keras_object(config)
    except PresetError as error:
        raise PresetError(f"{folder / CONFIG} does not fit its weights: {error}") from None
    except _NO_FLOW as error:
        raise PresetError(
            f"{folder / CONFIG} does not describe a flow that keras-flows {__version__} knows "
            f"(it was written by {metadata.versions.get('keras_flows', 'an unknown version')}): "
            f"{error}"
        ) from error
    if not isinstance(flow, Flow):
        raise PresetError(f"{folder / CONFIG} describes a {type(flow).__name__}, not a flow.")
    return flow


def add_calibration(folder, calibration, target):
    """Writes a preset with a calibration, in the place of the one it has where it has one.

    Args:
        folder: The preset.
        calibration: A `keras_flows.detect.Calibration` of its flow.
        target: Where to write: `folder` itself, a new folder, or a preset to replace.

    Returns:
        The `Metadata` written.

    Raises:
        PresetError: If the preset is corrupt, or the target holds something that is not a preset.
    """
    folder, target = Path(folder), Path(target)
    metadata = read_metadata(folder)
    check_files(folder, metadata)
    check_target(target)
    metadata = metadata.model_copy(
        update={
            "format": FORMAT,
            "name": metadata.name if folder == target else target.name,
            "calibration": parts.calibrated(calibration),
        }
    )
    picture = next((name for name in metadata.files if name.endswith(".png")), None)
    with complete_folder(target, _names(target)) as partial:
        for name in metadata.files:
            shutil.copy(folder / name, partial / name)
        parts.write_calibration(calibration, partial)
        (partial / CARD).write_text(render(metadata, picture), encoding="utf-8")
        files = {path.name: sha256(path) for path in sorted(partial.iterdir())}
        metadata = metadata.model_copy(update={"files": files})
        _write_json(partial / METADATA, metadata.model_dump())
    return metadata


def _config(flow, name):
    config = keras.saving.serialize_keras_object(flow)
    config["config"]["name"] = name
    # How a flow was compiled is no part of what it is.
    return {key: config[key] for key in ("module", "class_name", "config", "registered_name")}


def _estimator(flow):
    kinds = {type(block.log_det).__name__ for block in flow.blocks}
    return ", ".join(sorted(kinds)) or None


def _inverse(flow, converge):
    """The tolerance of the inverse, and the largest round-trip error on the flow's samples."""
    blocks = flow.blocks
    if not blocks or flow.noise_shape("decode") != (0,):
        return None
    examples = _IMAGES if len(flow.event_shape) == 3 else _POINTS
    context = None
    if flow.context_shape is not None:
        context = np.zeros((examples, *flow.context_shape), "float32")
    x = flow.sample(examples, seed=0, context=context)
    result = round_trip(flow, x, context, converge=converge)
    if result.refused:
        raise ConvergenceError(
            f"The flow does not decode {result.refused:.1%} of {examples:,} samples "
            "that it encoded; raise max_iterations of its residual blocks."
        )
    return Inverse(
        tolerance=max(block.tolerance for block in blocks),
        max_iterations=max(block.max_iterations for block in blocks),
        round_trip_error=result.worst,
        round_trip_examples=examples,
    )


def _write_json(path, content):
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
