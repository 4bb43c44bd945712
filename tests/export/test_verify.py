import hashlib
import json
import shutil

import numpy as np
import onnx
import pytest

import keras_flows as kf
from keras_flows.errors import ExportError
from keras_flows.export import manifest as manifests
from keras_flows.files import sha256

KINDS = {"onnx": kf.export.to_onnx, "saved_model": kf.export.to_saved_model}
FILES = {
    "onnx": ["log_prob.onnx", "encode.onnx", "decode.onnx", "sample.npz"],
    "saved_model": [
        "saved_model.pb",
        "fingerprint.pb",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
        "assets.extra/sample.npz",
    ],
}
EVERY_FILE = [(kind, name) for kind, names in FILES.items() for name in names]


@pytest.fixture
def copied(exported, tmp_path):
    """A copy of an export to damage."""
    return lambda kind: shutil.copytree(exported(KINDS[kind], "chain")[1], tmp_path / "export")


@pytest.mark.parametrize("kind", KINDS)
def test_an_untouched_export_passes(copied, kind):
    report = kf.export.verify(copied(kind))
    assert all(row.passed for row in report.rows)
    checks = [row.check for row in report.rows]
    assert len(set(checks)) == len(checks)
    assert {f"SHA-256 of {name}" for name in FILES[kind]} <= set(checks)
    assert {"log_prob on extreme: log_prob", "decode after encode: x"} <= set(checks)
    json.dumps([row._asdict() for row in report.rows], allow_nan=False)


@pytest.mark.parametrize("kind, name", EVERY_FILE)
def test_a_flipped_byte(copied, kind, name):
    path = copied(kind) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ExportError, match=f"{name} has SHA-256"):
        kf.export.verify(path.parents[name.count("/")])


@pytest.mark.parametrize("kind, name", EVERY_FILE)
def test_a_truncated_file(copied, kind, name):
    path = copied(kind) / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ExportError, match=f"{name} has SHA-256"):
        kf.export.verify(path.parents[name.count("/")])


@pytest.mark.parametrize("kind, name", EVERY_FILE)
def test_a_missing_file(copied, kind, name):
    path = copied(kind) / name
    path.unlink()
    with pytest.raises(ExportError, match=f"{name} is missing"):
        kf.export.verify(path.parents[name.count("/")])


@pytest.mark.parametrize(
    "kind, name",
    [
        ("onnx", "other.onnx"),
        ("onnx", "deeper/other.onnx"),
        ("saved_model", "other.pb"),
        ("saved_model", "variables/other"),
    ],
)
def test_an_extra_file_that_might_be_loaded(copied, kind, name):
    folder = copied(kind)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"")
    with pytest.raises(ExportError, match=f"{name} is not in the manifest"):
        kf.export.verify(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_all_wrong_files_are_listed_and_notes_of_ones_own_are_none(copied, kind):
    folder = copied(kind)
    (folder / "README.md").write_text("mine", encoding="utf-8")
    kf.export.verify(folder)
    first, second = sorted(FILES[kind])[:2]
    (folder / first).unlink()
    (folder / second).unlink()
    with pytest.raises(ExportError, match=f"{first} is missing; {second} is missing"):
        kf.export.verify(folder)


def manifest_path(folder, kind):
    return folder / manifests.PLACES[kind] / "manifest.json"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "change, message",
    [
        (lambda text: text.replace('"likelihood": "exact"', '"likelihood": "eract"'), "changed"),
        (lambda text: text[:-10], "damaged"),
        (lambda text: text.replace('"opset"', '"opsex"'), "damaged: opse"),
        (lambda text: text.replace('"format": 3', '"format": 4'), "reads up to 3"),
        (lambda text: text.replace('"format": 3', '"format": 1'), "changed"),
        (lambda text: text.replace('"nodes"', '"node"'), "damaged: graphs.log_prob.cost.node"),
        (lambda text: "[]", "damaged"),
        (lambda text: "", "damaged"),
    ],
)
def test_a_changed_manifest(copied, kind, change, message):
    folder = copied(kind)
    path = manifest_path(folder, kind)
    before = path.read_text(encoding="utf-8")
    assert change(before) != before
    path.write_text(change(before), encoding="utf-8")
    with pytest.raises(ExportError, match=message):
        kf.export.verify(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_format_1_is_read(copied, kind):
    folder = copied(kind)
    path = manifest_path(folder, kind)
    content = json.loads(path.read_text(encoding="utf-8"))
    # What formats 1 and 2 did not have, and the checksum as it was made then.
    for name in ("noise_seed", "columns", "calibration", "alpha"):
        del content[name]
    for graph in content["graphs"].values():
        del graph["cost"]
    content.update(format=1, checksum="")
    compact = manifests.Manifest.model_validate(content).model_dump_json(exclude_unset=True)
    assert "noise_seed" not in compact and "cost" not in compact and '"format":1' in compact
    content["checksum"] = hashlib.sha256(compact.encode()).hexdigest()
    path.write_text(json.dumps(content), encoding="utf-8")
    assert all(row.passed for row in kf.export.verify(folder).rows)
    assert manifests.read(folder).graphs["log_prob"].cost is None
    # It is still signed.
    path.write_text(json.dumps({**content, "source": "other"}), encoding="utf-8")
    with pytest.raises(ExportError, match="changed"):
        kf.export.verify(folder)


def test_a_folder_that_is_no_export(tmp_path):
    with pytest.raises(ExportError, match="no export"):
        kf.export.verify(tmp_path)
    with pytest.raises(ExportError, match="no export"):
        kf.export.verify(tmp_path / "absent")


def sign_again(folder, name):
    """What a forger would do: makes the manifest fit a changed file."""
    manifest = manifests.read(folder)
    files = {**manifest.files, name: sha256(folder / name)}
    manifest = manifest.model_copy(update={"files": files}).signed()
    (folder / "manifest.json").write_text(manifest.model_dump_json(), encoding="utf-8")


def test_a_graph_that_makes_other_numbers(copied):
    folder = copied("onnx")
    model = onnx.load(folder / "decode.onnx")
    for tensor in model.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        if value.dtype == np.float32:
            tensor.CopyFrom(onnx.numpy_helper.from_array(value * np.float32(1.01), tensor.name))
    onnx.save(model, folder / "decode.onnx")
    sign_again(folder, "decode.onnx")
    with pytest.raises(ExportError, match=r"decode on samples: x: 0\.\d+, tolerance 0\.0001"):
        kf.export.verify(folder)


def test_a_graph_that_onnxruntime_refuses(copied):
    folder = copied("onnx")
    model = onnx.load(folder / "decode.onnx")
    model.graph.node[-1].op_type = "NoSuchOperation"
    onnx.save(model, folder / "decode.onnx")
    sign_again(folder, "decode.onnx")
    with pytest.raises(ExportError, match=r"decode\.onnx does not load.*NoSuchOperation"):
        kf.export.verify(folder)


def test_a_graph_with_other_outputs(copied):
    folder = copied("onnx")
    shutil.copy(folder / "encode.onnx", folder / "log_prob.onnx")
    sign_again(folder, "log_prob.onnx")
    with pytest.raises(ExportError, match="log_prob must make 'log_prob', float32"):
        kf.export.verify(folder)


def test_a_sample_that_cannot_be_read(copied):
    folder = copied("onnx")
    (folder / "sample.npz").write_bytes(b"not a zip")
    sign_again(folder, "sample.npz")
    with pytest.raises(ExportError, match=r"sample\.npz cannot be read"):
        kf.export.verify(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda name, value: np.full_like(value, np.nan) if name == "log_prob" else value, "NaN"),
        (lambda name, value: None if name == "log_prob" else value, "no such thing of 'log_prob'"),
        (lambda name, value: None, "has no samples of log_prob"),
    ],
    ids=["NaN", "no output", "no samples"],
)
def test_a_record_that_compares_with_nothing(copied, change, message):
    """Whatever agrees with nothing, or with NaN, would pass."""
    folder = copied("onnx")
    with np.load(folder / "sample.npz") as file:
        recorded = dict(file)
    changed = {
        key: change(key.rpartition("/")[2], value) if "/samples/" in key else value
        for key, value in recorded.items()
    }
    np.savez_compressed(
        folder / "sample.npz", **{key: v for key, v in changed.items() if v is not None}
    )
    sign_again(folder, "sample.npz")
    with pytest.raises(ExportError, match=message):
        kf.export.verify(folder)


def test_a_graph_that_this_version_does_not_know(copied):
    folder = copied("onnx")
    manifest = manifests.read(folder)
    shutil.copy(folder / "encode.onnx", folder / "gradient.onnx")
    gradient = manifest.graphs["encode"].model_copy(update={"name": "gradient.onnx"})
    files = {**manifest.files, "gradient.onnx": sha256(folder / "gradient.onnx")}
    changed = {"graphs": {**manifest.graphs, "gradient": gradient}, "files": files}
    manifest = manifest.model_copy(update=changed).signed()
    (folder / "manifest.json").write_text(manifest.model_dump_json(), encoding="utf-8")
    with pytest.raises(ExportError, match=r"no graph 'gradient'.*knows log_prob, log_prob_fixed"):
        kf.export.verify(folder)
