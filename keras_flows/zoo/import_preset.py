"""From a published checkpoint to a preset folder, and what becomes of its spectral norms there."""

from pathlib import Path

import numpy as np

from keras_flows.errors import LipschitzError
from keras_flows.training import upkeep
from keras_flows.zoo import checkpoint, preset

# Samples that the change of log_prob is measured on: of images fewer, which take longer.
_POINTS, _IMAGES = 1000, 16


def import_to_preset(path, folder, config, dtype="float32", ema=True, converge=False):
    """Writes a published checkpoint as a preset folder.

    A published residual flow divides its weights by the norms that its stored singular vectors
    give. Those have not converged, and with converged ones it is another function. The preset keeps
    what was published; the metadata, under `training`, and the card say so, and by how much
    log_prob changes where the norms converge, on samples of the flow.

    Args:
        path: See `keras_flows.zoo.import_checkpoint`.
        folder: See `keras_flows.zoo.save`.
        config: See `keras_flows.zoo.import_checkpoint`.
        dtype: See `keras_flows.zoo.import_checkpoint`.
        ema: See `keras_flows.zoo.import_checkpoint`.
        converge: Whether to bring the norms to convergence.

    Returns:
        The `keras_flows.zoo.metadata.Metadata` written.

    Raises:
        LipschitzError: If a block cannot be certified invertible.
        PresetError: If the folder holds something that is not a preset.
        ValueError: If the checkpoint or its configuration cannot be read, or do not fit.
    """
    preset.check_target(folder)
    flow, averaged = checkpoint.read(path, config, dtype, ema)
    name = Path(path).name
    training = {
        "imported from": name,
        "weights": "moving averages (EMA)" if averaged else "those of the state dict",
    }
    if flow.blocks:
        training["spectral norms"] = _norms(flow, converge)
    return preset.save(
        flow, folder, summary=f"Imported from {name}.", training=training, converge=converge
    )


def _norms(flow, converge):
    """What the preset says of the norms."""
    try:
        flow.certify()
    except LipschitzError as error:
        if not converge:
            raise LipschitzError(
                f"With the norms as published: {error} Here, converge=True (--converge) does, and "
                "gives another function than the published one."
            ) from error
        return {"here": "converged; as published they do not prove all blocks invertible"}
    change = _change(flow, converge)
    kept = "as published; evaluate, export and saving again converge them"
    return {
        "here": "converged, which is not the published function" if converge else kept,
        "mean change of log_prob by converging (nats)": round(float(np.mean(change)), 6),
        "largest change of log_prob by converging (nats)": round(float(np.abs(change).max()), 6),
        "samples": len(change),
    }


def _change(flow, converge):
    """log_prob with converged norms less that with the stored ones, on samples of what is saved."""
    n = _IMAGES if len(flow.event_shape) == 3 else _POINTS
    x = None if converge else flow.sample(n, seed=0)
    with upkeep.restored(flow):
        flow.converge()
        if converge:
            x = flow.sample(n, seed=0)
        after = flow.log_prob(x, seed=0)
    return after.numpy() - flow.log_prob(x, seed=0).numpy()
