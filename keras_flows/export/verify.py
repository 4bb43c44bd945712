"""Checks of an exported folder, which need no flow."""

from pathlib import Path

from keras_flows.export import compare, manifest, onnx, record, saved_model
from keras_flows.export.compare import Report

_FORMATS = {form.kind: form for form in (onnx.Onnx, saved_model.SavedModel)}


def verify(folder: str | Path) -> Report:
    """Repeats the checks of an export on its folder.

    The SHA-256 of every file; that every graph loads in its runtime; its outputs on the recorded
    samples and extreme inputs, against those of the flow; and that decoding undoes encoding.

    Args:
        folder: A folder written by `to_onnx` or `to_saved_model`.

    Returns:
        A `keras_flows.export.compare.Report`.

    Raises:
        ExportError: If a check fails; the message lists what failed, with the numbers.
        ImportError: If it is an ONNX folder and onnxruntime is not installed.
    """
    folder = Path(folder)
    described = manifest.read(folder)
    manifest.check_files(folder, described)
    rows = [compare.Row(f"SHA-256 of {name}", "equal", "equal", True) for name in described.files]
    loaded = _FORMATS[described.kind]().load(folder, described)
    recorded = record.read(folder / manifest.PLACES[described.kind] / manifest.SAMPLE)
    rows += compare.check(loaded, described, recorded)
    return compare.passed(rows, f"{folder} fails its checks")
