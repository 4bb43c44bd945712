"""How a gallery is written: the built site, and the exports of its entries."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_flows import __version__
from keras_flows.errors import ExportError
from keras_flows.export import manifest, onnx, write
from keras_flows.export.gallery import panels, site
from keras_flows.files import complete_folder
from keras_flows.training.recipe import check_name
from keras_flows.zoo import handles, preset
from keras_flows.zoo.metadata import read as read_metadata

# The format of the index and of the entries, which the site reads.
FORMAT = 1
INDEX, ENTRY = "gallery.json", "entry.json"


class Written(NamedTuple):
    """An entry of a gallery.

    Attributes:
        name: That of the preset.
        panel: The panel that shows it: `"plane"`, `"images"` or `"tables"`.
        missing: What it could not be given, in a sentence; None where it has all.
    """

    name: str
    panel: str
    missing: str | None


def to_gallery(
    presets: Sequence[str | Path],
    folder: str | Path,
    data_dir: str | Path | None = None,
    observe: Callable[[str], object] | None = None,
) -> list[Written]:
    """Writes a gallery: a static site that runs flows in the browser of whoever visits it.

    Each preset is exported to ONNX, compared with its flow as `to_onnx` does, and put beside the
    built site with what its panel shows: points of the data, test images, rows. Any static host
    serves the folder, and no special headers are needed. Presets are flows on the plane, flows on
    grey images with no context but a label, and flows on tables; docs/gallery.md says what is shown
    of each.

    Args:
        presets: Names of entries of the zoo, folders or addresses, as `keras_flows.zoo.load` takes
            them; their names must differ.
        folder: A new folder, or an empty one.
        data_dir: Where TensorFlow Datasets keeps images; its usual folder by default. An entry
            whose test images are not there goes without them, and the result says so.
        observe: Called with the name of every preset before it is exported.

    Returns:
        A list of `Written`, in the order of the presets.

    Raises:
        ExportError: If there is no panel for a flow, an export disagrees with its flow, or the
            folder is not empty.
        ImportError: If tf2onnx, onnx or onnxruntime is not installed.
        PresetError: If there is no such preset, or it is damaged.
        ValueError: If there are no presets, or two have the same name.
    """
    found = _resolved(presets)
    folder = Path(folder)
    write.check_new(folder)
    entries = []
    with complete_folder(folder) as partial:
        write.check_new(folder)
        site.copy(partial)
        for name, place in found.items():
            if observe is not None:
                observe(name)
            entries.append(_entry(place, partial / "entries" / name, data_dir))
        index = {
            "format": FORMAT,
            "keras_flows": __version__,
            "entries": [summary for summary, _ in entries],
        }
        _write_json(partial / INDEX, index)
    return [Written(one["name"], one["panel"], missing) for one, missing in entries]


def _resolved(presets):
    """The folders of presets by the names of the presets."""
    if isinstance(presets, (str, Path)) or not presets:
        raise ValueError(f"presets must be a list of at least one preset; got {presets!r}.")
    found = {}
    for handle in presets:
        place = handles.resolve(handle)
        name = read_metadata(place).name
        check_name(name)
        if name in found:
            raise ValueError(f"Two presets are called {name!r}: {found[name]} and {place}.")
        found[name] = place
    return found


def _entry(place, folder, data_dir):
    """Writes one entry: its summary for the index, and what it could not be given."""
    flow, metadata = preset.load(place), read_metadata(place)
    panel = panels.of(flow, metadata.name)
    folder.parent.mkdir(exist_ok=True)
    names = panel.graphs(flow)
    onnx.to_onnx(flow, folder, graphs=names)
    cost = manifest.read(folder).graphs[names[0]].cost
    shown = panel.describe(flow, metadata, folder, data_dir)
    summary = {
        "name": metadata.name,
        "panel": panel.name,
        "summary": metadata.summary,
        "model": metadata.model,
        "parameters": metadata.parameters,
        "calibrated": flow.calibration is not None,
        # Of the graph that a page loads first; a panel opens with the entry of the quickest.
        "first_ms": round(cost.load_ms + cost.latency_ms, 1),
    }
    content = {
        "format": FORMAT,
        **summary,
        "likelihood": metadata.likelihood,
        "data": metadata.data,
        "test": None if metadata.test is None else metadata.test.model_dump(),
        "licence": metadata.licence,
        "data_licence": metadata.data_licence,
        **shown,
    }
    _write_json(folder / ENTRY, content)
    return summary, shown.get("missing")


def _write_json(path, content):
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_index(folder):
    """The index of a written gallery.

    Raises:
        ExportError: If the folder is none.
    """
    path = Path(folder) / INDEX
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(f"{folder} is no gallery: {path} cannot be read: {error}") from error
