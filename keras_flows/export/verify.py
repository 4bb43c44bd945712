"""Checks of an exported folder, which need no flow."""

from pathlib import Path

from keras_flows.export import manifest, onnx, parity, saved_model

_LOADERS = {"onnx": onnx.load, "saved_model": saved_model.load}


def verify(folder):
    """Repeats the checks of an export on its folder.

    The SHA-256 of every file; that every graph loads in its runtime; its outputs on the recorded
    samples and extreme inputs, against those of the flow; and that decoding undoes encoding.

    Args:
        folder: A folder written by `to_onnx` or `to_saved_model`.

    Returns:
        A `keras_flows.export.parity.Report`.

    Raises:
        ExportError: If a check fails; the message lists what failed, with the numbers.
        ImportError: If it is an ONNX folder and onnxruntime is not installed.
    """
    folder = Path(folder)
    described = manifest.read(folder)
    rows = manifest.check_files(folder, described)
    graphs = _LOADERS[described.kind](folder, described)
    rows += parity.check(graphs, described, manifest.read_sample(folder, described))
    return parity.passed(rows, f"{folder} fails its checks")
