"""What an exported folder says about itself: `manifest.json`, and the folder around it."""

import contextlib
import hashlib
import json
import platform
import zipfile
from importlib import metadata as installed
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic

from keras_flows._version import __version__
from keras_flows.errors import ExportError
from keras_flows.export import endpoints, parity
from keras_flows.files import complete_folder, differences, sha256

# The format of an exported folder; raised when a change would make older versions misread one.
FORMAT = 1
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


class Graph(_Strict):
    """One exported function: an ONNX file, or a signature of a SavedModel."""

    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]


class Inverse(_Strict):
    """The fixed-point iteration of decode: an example it does not solve is NaN."""

    tolerance: float
    max_iterations: int


class Parity(_Strict):
    """A comparison with the flow, made when it was exported; see `parity.Row`."""

    check: str
    measured: float
    tolerance: float


class Manifest(_Strict):
    """The contents of `manifest.json`.

    `round_trip` is the flow's own error in decoding what it encoded, `integers` whether its data
    are integers, and `checksum` the SHA-256 of the manifest without it.
    """

    format: int = FORMAT
    kind: Literal["onnx", "saved_model"]
    source: str
    model: str
    likelihood: str
    note: str | None
    integers: bool
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
        digest = hashlib.sha256(blank.model_dump_json().encode()).hexdigest()
        return self.model_copy(update={"checksum": digest})


_CUT = (
    "The flow draws how many terms of the power series its log-det sums, which makes it unbiased; "
    "this export sums the fewest it ever does, always, which makes it biased."
)
_UNITS = {"log_prob": "nats", "log_det": "nats"}


def describe(flow, kind, graphs, packages, round_trip, opset=None):
    """The manifest of a new export, without its files and the comparison.

    Args:
        flow: The `keras_flows.Flow`.
        kind: `"onnx"` or `"saved_model"`.
        graphs: Dictionary from name to `(file or signature, endpoint, names of its outputs)`.
        packages: Names of the packages whose versions to note.
        round_trip: See `parity.own_round_trip`.
        opset: ONNX operator set.
    """
    blocks, inverse = flow.blocks, None
    if blocks:
        inverse = Inverse(
            tolerance=max(block.tolerance for block in blocks),
            max_iterations=max(block.max_iterations for block in blocks),
        )
    return Manifest(
        kind=kind,
        source=flow.name,
        model=type(flow).__name__,
        likelihood=endpoints.likelihood(flow),
        note=_CUT if endpoints.cuts_series(flow) else None,
        integers=flow.transform.dequantizes,
        graphs={
            name: Graph(
                name=target,
                inputs=[_tensor(spec) for spec in endpoint.inputs.values()],
                outputs=[_tensor(endpoint.outputs[output]) for output in outputs],
            )
            for name, (target, endpoint, outputs) in graphs.items()
        },
        opset=opset,
        inverse=inverse,
        round_trip=round_trip,
        parity=[],
        versions={
            "python": platform.python_version(),
            "keras_flows": __version__,
            **{name: installed.version(name) for name in ("tensorflow", "keras", *packages)},
        },
        files={},
    )


def _tensor(spec):
    shape = ["batch" if size is None else size for size in spec.shape]
    return Tensor(name=spec.name, shape=shape, dtype=spec.dtype.name, units=_UNITS.get(spec.name))


@contextlib.contextmanager
def new_folder(folder):
    """A folder beside `folder` to write into, which takes its name if all goes well.

    Raises:
        ExportError: If `folder` is a file, or a folder that is not empty.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(
            f"{folder} exists and is not an empty folder. Remove it, or give another."
        )
    with complete_folder(folder) as partial:
        yield partial


def finish(folder, manifest, recorded, graphs):
    """Compares a new export with its flow; writes its sample and manifest.

    Args:
        folder: The folder, which holds all other files.
        manifest: See `describe`.
        recorded: See `parity.record`.
        graphs: The exported functions, loaded; see `parity.check`.

    Returns:
        A `Report`.

    Raises:
        ExportError: If a graph disagrees with the flow.
    """
    rows = parity.check(graphs, manifest, recorded)
    report = parity.passed(rows, "The export disagrees with the flow, and is not written")
    place = folder / PLACES[manifest.kind]
    place.mkdir(exist_ok=True)
    np.savez_compressed(place / SAMPLE, **recorded)
    update = {
        "parity": [Parity(**{k: v for k, v in r._asdict().items() if k != "passed"}) for r in rows],
        "files": {
            path.relative_to(folder).as_posix(): sha256(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    }
    manifest = manifest.model_copy(update=update).signed()
    (place / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return report


def read(folder):
    """Reads and checks the manifest of an exported folder.

    Raises:
        ExportError: If it is missing, damaged, or of a newer format.
    """
    paths = [Path(folder) / place / MANIFEST for place in PLACES.values()]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise ExportError(f"{folder} is no export: there is no {' or '.join(map(str, paths))}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ExportError(f"{path} is damaged: {error}.") from None
    written = content.get("format") if isinstance(content, dict) else None
    if isinstance(written, int) and written > FORMAT:
        raise ExportError(
            f"{path} has format {written}; keras-flows {__version__} reads up to {FORMAT}. Upgrade "
            "keras-flows."
        )
    try:
        manifest = Manifest.model_validate(content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ExportError(f"{path} is damaged: {where}: {first['msg'].lower()}.") from None
    if manifest.signed() != manifest:
        raise ExportError(f"{path} was changed: its checksum differs. Export again.")
    return manifest


def check_files(folder, manifest):
    """Compares the files of an export with their checksums.

    Returns:
        A list of `parity.Row`.

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
    return [parity.Row(f"SHA-256 of {name}", "equal", "equal", True) for name in manifest.files]


def read_sample(folder, manifest):
    """The recorded inputs and outputs of an export; see `parity.record`.

    Raises:
        ExportError: If they cannot be read.
    """
    path = Path(folder) / PLACES[manifest.kind] / SAMPLE
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ExportError(f"{path} cannot be read: {error}") from error
