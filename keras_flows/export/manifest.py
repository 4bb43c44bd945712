"""What an exported folder says about itself: `manifest.json`, and the checksums in it.

Reading one takes no TensorFlow.
"""

import hashlib
from pathlib import Path
from typing import Any, Literal

import pydantic

from keras_flows.errors import ExportError
from keras_flows.files import differences, read_json
from keras_flows.zoo.metadata import Calibrated

# The format of an exported folder; raised when a change would make older versions misread one.
FORMAT = 3
MANIFEST, SAMPLE = "manifest.json", "sample.npz"
# Where the two are, by kind of export: a SavedModel has a folder for what others add to it.
PLACES = {"onnx": ".", "saved_model": "assets.extra"}
# The files that a runtime may load, and that must therefore be in the manifest.
_LOADED = ("*.onnx", "*.pb", "variables/*")


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Tensor(_Strict):
    """An input or output; its first axis is `"batch"` where it has one."""

    name: str
    shape: list[int | str]
    dtype: str
    units: str | None


class Cost(_Strict):
    """What a graph takes, as measured on the machine that exported it.

    `bytes` and `load_ms` are those of its ONNX file, or of the whole SavedModel, whose signatures
    load together. `nodes` counts those in loops and functions too. `latency_ms` is the median of
    several runs on one example, in onnxruntime on a CPU or in TensorFlow.
    """

    bytes: int
    nodes: int
    load_ms: float
    latency_ms: float


class Graph(_Strict):
    """One exported function: an ONNX file, or a signature of a SavedModel.

    `cost` is None in folders of format 1.
    """

    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    cost: Cost | None = None


class Inverse(_Strict):
    """The fixed-point iteration of decode: an example it does not solve is NaN."""

    tolerance: float
    max_iterations: int


class Parity(_Strict):
    """A comparison with the flow, made when it was exported; see `compare.Row`."""

    check: str
    measured: float
    tolerance: float


class Manifest(_Strict):
    """The contents of `manifest.json`.

    `round_trip` is the flow's own error in decoding what it encoded, `integers` whether its data
    are integers, from 0 to `levels - 1`, and `checksum` the SHA-256 of the manifest without it.
    `noise_seed` is the seed of the noise in `log_prob_fixed` (see `endpoints.fixed_noise`), None
    without that graph. `columns` are those of a flow on a table, with the parameters of their
    kinds: x and the context have them in this order (`keras_flows.data.Schema`, as JSON).
    `calibration` says what the p-values of the graph `score` are by, and `alpha` at which rate it
    flags; they are None without that graph.
    """

    format: int = FORMAT
    kind: Literal["onnx", "saved_model"]
    source: str
    model: str
    likelihood: str
    note: str | None
    noise_seed: int | None = None
    columns: list[dict[str, Any]] | None = None
    calibration: Calibrated | None = None
    alpha: float | None = None
    integers: bool
    levels: int | None = None
    graphs: dict[str, Graph]
    opset: int | None
    inverse: Inverse | None
    round_trip: float | None
    parity: list[Parity]
    versions: dict[str, str]
    files: dict[str, str]
    checksum: str = ""

    def signed(self):
        """The same with its checksum."""
        blank = self.model_copy(update={"checksum": ""})
        # Without what a folder of an older format does not have.
        content = blank.model_dump_json(exclude_unset=True)
        digest = hashlib.sha256(content.encode()).hexdigest()
        return self.model_copy(update={"checksum": digest})


def read(folder):
    """Reads and checks the manifest of an exported folder.

    Raises:
        ExportError: If it is missing, damaged, or of a newer format.
    """
    paths = [Path(folder) / place / MANIFEST for place in PLACES.values()]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise ExportError(f"{folder} is no export: there is no {' or '.join(map(str, paths))}.")
    manifest = read_json(path, Manifest, FORMAT, "export", ExportError)
    if manifest.signed() != manifest:
        raise ExportError(f"{path} was changed: its checksum differs. Export again.")
    return manifest


def check_files(folder, manifest):
    """Compares the files of an export with their checksums.

    Raises:
        ExportError: If a file is missing or differs, or one is there that a runtime might load
            and that is not in the manifest; the message lists them.
    """
    folder = Path(folder)
    wrong = differences(folder, manifest.files)
    loaded = (path for pattern in _LOADED for path in sorted(folder.rglob(pattern)))
    for name in (path.relative_to(folder).as_posix() for path in loaded if path.is_file()):
        if name not in manifest.files:
            wrong.append(f"{name} is not in the manifest")
    if wrong:
        raise ExportError(f"{folder} is not as it was exported: {'; '.join(wrong)}. Export again.")
