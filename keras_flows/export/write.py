"""How an export is written, in whatever format."""

import abc
import contextlib
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_flows.errors import ExportError
from keras_flows.export import compare, cost, endpoints, graphs, manifest, record, score
from keras_flows.export.describe import describe
from keras_flows.files import check_place, complete_folder, sha256
from keras_flows.zoo import parts


class Format(abc.ABC):
    """What graphs are written as.

    Attributes:
        kind: Its name in the table of graphs and in the manifest.
        suffix: What the name of a graph's own file ends in, empty where all are in one.
        packages: The packages whose versions the manifest notes beside TensorFlow and Keras.
        opset: ONNX operator set, None for other formats.
    """

    kind: str
    suffix: str = ""
    packages: tuple = ()
    opset: int | None = None

    @abc.abstractmethod
    def write(self, flow, exported, folder):
        """Writes graphs into a folder.

        Args:
            flow: The `keras_flows.Flow`.
            exported: Its graphs; see `graphs.of`.
            folder: The folder, a `pathlib.Path`.

        Raises:
            ExportError: If something in the flow has no such form.
        """

    @abc.abstractmethod
    def load(self, folder, described):
        """Loads the graphs of a folder into their runtime.

        Args:
            folder: The folder, a `pathlib.Path`.
            described: Its `manifest.Manifest`.

        Returns:
            Dictionary from name to `cost.Loaded`.

        Raises:
            ExportError: If one does not load.
        """

    @abc.abstractmethod
    def count_nodes(self, folder, graph, loaded):
        """The number of nodes of a graph, those inside its loops and functions included.

        Args:
            folder: The folder, a `pathlib.Path`.
            graph: The `manifest.Graph`.
            loaded: The graph as `load` gave it.
        """


def export(flow, folder, form, seed, alpha=None, names=None):
    """Writes a flow in a format, compared with the flow before it gets its place.

    Args:
        flow: A `keras_flows.Flow`. Its spectral norms are brought to convergence, and its blocks
            certified.
        folder: A new folder, or an empty one.
        form: A `Format`.
        seed: Of the noise that graphs hold, an integer, 0 or more.
        alpha: The false-positive rate of the flags of a calibrated flow; see `score.alpha_of`.
        names: Which graphs; see `graphs.of`.

    Returns:
        The `compare.Report` of the comparison.

    Raises:
        LipschitzError: If a residual block cannot be certified invertible.
        ConvergenceError: If the flow cannot decode a standard normal latent.
        ExportError: If something in the flow has no such form, a graph disagrees with the flow, or
            the folder is not empty.
        OSError: If it cannot be written.
        ValueError: If the seed is no such integer, alpha is out of reach, a schema does not fit, or
            the flow has no graph of a name.
    """
    alpha = score.alpha_of(flow, alpha)
    parts.check_schema(flow)
    with _new_folder(folder) as partial:
        flow.converge()
        flow.certify()
        noise = endpoints.fixed_noise(flow, seed)
        exported = graphs.of(flow, form.kind, noise, alpha, names)
        recorded = record.record(flow, exported, noise)
        try:
            form.write(flow, exported, partial)
        except tf.errors.OpError as error:  # what TensorFlow makes of a full disk, for example
            raise ExportError(f"{folder} cannot be written: {error.message}.") from error
        described = describe(
            flow,
            exported,
            form,
            record.own_round_trip(flow, exported, recorded),
            int(seed) if any(one.graph.fixed_noise for one in exported.values()) else None,
            alpha if "score" in exported else None,
        )
        loaded = form.load(partial, described)
        rows = compare.check(loaded, described, recorded)
        report = compare.passed(rows, "The export disagrees with the flow, and is not written")
        costs = _costs(partial, form, described, loaded, recorded)
        _write_manifest(partial, described, recorded, rows, costs)
    return report


@contextlib.contextmanager
def _new_folder(folder):
    """A folder beside `folder` to write into, which takes its name if all goes well.

    Raises:
        ExportError: If `folder` is a file, or a folder that is not empty.
        OSError: If nothing can be written there.
    """
    folder = Path(folder)
    check_new(folder)
    with complete_folder(folder) as partial:
        check_new(folder)  # another process may have come first
        yield partial


def check_new(folder):
    """Checks, before the work, that an export can be written there.

    Raises:
        ExportError: If `folder` is a file, or a folder that is not empty.
        OSError: If nothing can be written there.
    """
    check_place(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(
            f"{folder} exists and is not an empty folder. Remove it, or give another."
        )


def _costs(folder, form, described, loaded, recorded):
    """The `manifest.Cost` of every graph, by name."""
    costs = {}
    for name, graph in described.graphs.items():
        path = folder / graph.name if form.suffix else folder
        nodes = form.count_nodes(folder, graph, loaded[name])
        costs[name] = cost.measure(path, name, graph, loaded[name], nodes, recorded)
    return costs


def _write_manifest(folder, described, recorded, rows, costs):
    """Writes the record and the manifest, the last of the files."""
    place = folder / manifest.PLACES[described.kind]
    place.mkdir(exist_ok=True)
    np.savez_compressed(place / manifest.SAMPLE, **recorded)
    complete = described.model_copy(
        update={
            "graphs": {
                name: graph.model_copy(update={"cost": costs[name]})
                for name, graph in described.graphs.items()
            },
            "parity": [
                manifest.Parity(check=row.check, measured=row.measured, tolerance=row.tolerance)
                for row in rows
            ],
            "files": {
                path.relative_to(folder).as_posix(): sha256(path)
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            },
        }
    ).signed()
    path = place / manifest.MANIFEST
    path.write_text(complete.model_dump_json(indent=2) + "\n", encoding="utf-8")
