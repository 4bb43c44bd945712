"""The file of a calibration, `calibration.npz`: the scores, and JSON that says what they are."""

from pathlib import Path

import numpy as np
import pydantic

from keras_flows import __version__
from keras_flows.detect.calibration import Calibration
from keras_flows.errors import PresetError
from keras_flows.files import UNREADABLE, by_schema, complete_file, parse_object

FILE = "calibration.npz"

# The format of the file; raised when a change would make older versions misread one.
FORMAT = 1

_ARRAYS = ("description", "scores")


class _Description(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)

    format: int
    versions: dict[str, str]
    statistic: str
    constants: dict[str, float]
    likelihood: str
    seed: int
    draws: int
    data: str
    data_sha256: str


def save_calibration(calibration: Calibration, path: str | Path) -> None:
    """Writes a calibration to a file, complete or not at all.

    The same calibration gives the same bytes. The file holds two arrays: `scores`, float32,
    ascending, and `description`, a JSON text with all else.

    Args:
        calibration: The `Calibration`.
        path: The file, which ends in `.npz`; an existing one is replaced.

    Raises:
        ValueError: If the name ends in something else.
        FileNotFoundError: If its folder does not exist.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"A calibration is an .npz file, such as {FILE}; got {path}.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to write {path.name} into.")
    description = _Description(
        format=FORMAT,
        versions={"keras_flows": __version__},
        statistic=calibration.statistic,
        constants=dict(calibration.constants),
        likelihood=calibration.likelihood,
        seed=int(calibration.seed),
        draws=int(calibration.draws),
        data=calibration.data,
        data_sha256=calibration.data_sha256,
    )
    with complete_file(path) as partial:
        np.savez(partial, scores=calibration.scores, description=description.model_dump_json())


def load_calibration(path: str | Path) -> Calibration:
    """Reads a calibration from a file. Pickled objects are never loaded.

    Args:
        path: A file that `save_calibration` wrote.

    Returns:
        The `Calibration`.

    Raises:
        PresetError: If the file is missing, damaged, of a newer format, or no calibration.
    """
    path = Path(path)
    if not path.is_file():
        raise PresetError(
            f"There is no calibration {path}. `keras_flows.detect.calibrate` makes one of held-out "
            "rows."
        )
    arrays = _read(path)
    scores, text = arrays["scores"], arrays["description"]
    if text.dtype.kind != "U" or text.ndim:
        raise PresetError(f"{path} is damaged: its description is no text.")
    if scores.dtype != np.float32 or scores.ndim != 1 or np.any(scores[1:] < scores[:-1]):
        raise PresetError(
            f"{path} is damaged: its scores must be float32 numbers (n,) in ascending order; they "
            f"are {scores.dtype} of the shape {scores.shape}."
        )
    content = parse_object(str(text), path, PresetError)
    described = by_schema(content, path, _Description, FORMAT, "calibration", PresetError)
    fields = described.model_dump(exclude={"format", "versions"})
    try:
        return Calibration(scores=scores, **fields)
    except ValueError as error:
        raise PresetError(f"{path} is damaged: {error}") from error


def _read(path):
    try:
        with open(path, "rb") as opened:
            file = np.load(opened, allow_pickle=False)
            single = isinstance(file, np.ndarray)
            arrays = {} if single else {name: file[name] for name in file.files}
    except UNREADABLE as error:
        raise PresetError(f"{path} is no calibration, or damaged: {error}") from error
    if sorted(arrays) != sorted(_ARRAYS):
        raise PresetError(
            f"{path} is no calibration: it must hold the arrays {', '.join(_ARRAYS)}; it holds "
            f"{', '.join(sorted(arrays)) or 'one without a name'}."
        )
    return arrays
