"""The gallery: what is written for each panel, and that the built site belongs to its sources."""

import atexit
import functools
import hashlib
import json
import shutil
import subprocess
import tempfile
import threading
import types
import urllib.request
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_flows as kf
from keras_flows import transforms
from keras_flows.data.columns import Category, Column, Positive, Real
from keras_flows.detect import calibrate, explain
from keras_flows.errors import ExportError
from keras_flows.export import endpoints, graphs, manifest
from keras_flows.export.gallery import images, panels, plane, site, tables, write
from keras_flows.transforms.columns import PositiveColumn, RealColumn

SOURCES = Path(__file__).resolve().parents[2] / "export" / "gallery"
SCHEMA = kf.data.Schema((Column("age", Real()), Column("dose", Positive())))


def exported(flow, *names):
    made = graphs.of(flow, "onnx", None, names=names)
    return {name: one.endpoint.function for name, one in made.items()}


def test_steps_are_those_of_encoding(build):
    flow = build("exact")
    x = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    made = exported(flow, "steps")["steps"](x)
    np.testing.assert_allclose(made["log_prob"], flow.log_prob(x), rtol=1e-5)
    np.testing.assert_allclose(made["z"], flow.encode(x), rtol=1e-5, atol=1e-6)
    expected = x
    for i, step in enumerate(transforms.chain.flattened(flow.transform)):
        expected = step.encode(expected)[0]
        np.testing.assert_allclose(made["states"][:, i], expected, rtol=1e-5, atol=1e-6)
    assert made["states"].shape[1] == i + 1 > len(flow.blocks)


def test_contractions_are_what_blocks_add(build):
    flow = build("exact")
    points = np.random.default_rng(0).normal(size=(5, len(flow.blocks), 2)).astype("float32")
    g = exported(flow, "contractions")["contractions"](points)["g"]
    for k, block in enumerate(flow.blocks):
        added = block.encode(points[:, k])[0] - points[:, k]
        np.testing.assert_allclose(g[:, k], added, rtol=1e-4, atol=1e-6)


def test_graphs_are_chosen_by_name(build):
    flow = build("exact")
    assert graphs.exist(flow, "onnx") == ["log_prob", "encode", "decode", "steps", "contractions"]
    assert "contractions" not in graphs.exist(build("chain"), "onnx")
    assert "steps" not in graphs.exist(build("integers"), "onnx")
    assert "steps" not in graphs.exist(build("unbiased"), "onnx")
    with pytest.raises(ValueError, match="encode, decode, steps, contractions; 'sample' is none"):
        graphs.of(flow, "onnx", None, names=["encode", "sample"])
    with pytest.raises(ValueError, match="name one"):
        graphs.of(flow, "onnx", None, names=[])


@pytest.mark.slow
def test_chosen_graphs_are_written_and_verified(build, tmp_path):
    pytest.importorskip("onnxruntime")
    flow = build("exact")
    report = kf.export.to_onnx(flow, tmp_path / "1", graphs=["steps", "contractions"])
    assert list(manifest.read(tmp_path / "1").graphs) == ["steps", "contractions"]
    checks = {row.check for row in report.rows}
    assert {"steps on samples: states", "contractions on samples: g"} <= checks
    assert len(kf.export.verify(tmp_path / "1").rows) > len(checks)


def square(channels=1):
    """A flow on images that is made in no time."""
    steps = [transforms.UniformDequantization(4), transforms.Logit(), transforms.Affine(0.0, 1.5)]
    return kf.Flow(transforms.Chain(steps), (3, 3, channels))


def labelled(labels=10):
    """A flow on the digits, given the digit: of integers, with a logistic base."""
    keras.utils.set_random_seed(0)
    return kf.models.InterlacedFlow(
        (8, 8, 1),
        (4,),
        1,
        top_width=2,
        top_blocks=1,
        bits=5,
        context_shape=(),
        context_embedding=keras.layers.Embedding(labels, 2),
    )


def table(*more):
    flow = kf.Flow(
        transforms.Columns([RealColumn(), PositiveColumn()]),
        (2,),
        context_shape=(2,) if more else None,
    )
    flow.schema = kf.data.Schema((*SCHEMA.columns, *more))
    return flow


def positive_rows(n, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.normal(size=n), np.exp(rng.normal(size=n))], axis=1).astype("float32")


def plain():
    return kf.Flow(transforms.Chain([transforms.Affine(1.0, 2.0)]), (2,))


def test_every_flow_has_its_panel(build):
    assert panels.of(build("exact"), "a").name == "plane"
    assert panels.of(plain(), "a").graphs(plain()) == ["steps", "decode"]
    assert panels.of(square(), "a").name == "images"
    assert panels.of(square(), "a").graphs(square()) == ["log_prob_fixed", "encode", "decode"]
    assert panels.of(square(3), "a").name == "images"
    assert panels.of(labelled(), "a").name == "images"
    assert panels.of(labelled(), "a").graphs(labelled()) == ["log_prob", "encode", "decode"]
    with pytest.raises(ExportError, match=r"the shape \(3, 3, 2\)"):
        panels.of(square(2), "two channels")
    for name in ("wide", "conditional", "integers"):
        with pytest.raises(ExportError, match=rf"no panel for {name}: its events have the shape"):
            panels.of(build(name), name)


def metadata(**data):
    """As far as a panel reads it: what a flow was trained on."""
    return types.SimpleNamespace(training={"data": data} if data else {})


def test_a_plane_without_data_says_so():
    shown = plane.describe(plain(), metadata(), None, None)
    assert shown["points"] is None and "no data are shown" in shown["missing"]
    xmin, xmax, ymin, ymax = shown["bounds"]
    # Twice a standard normal, around 1: the middle 99 % of it, and a margin.
    assert xmin < 1 - 2 * 2.3 and xmax > 1 + 2 * 2.3 and xmax - xmin == pytest.approx(ymax - ymin)
    assert shown["steps"] == ["Affine"] and shown["blocks"] == [] and shown["eta"] is None


def test_a_plane_has_the_data_of_its_entry():
    flow = kf.models.IDenseNet((2,), blocks=2, depth=3, growth=4)
    shown = plane.describe(flow, metadata(toy="two_moons"), None, None)
    density = kf.data.toy("two_moons")
    assert shown["bounds"] == list(density.bounds) and shown["missing"] is None
    assert len(shown["points"]) == plane.POINTS
    assert np.mean(density.log_prob(np.float32(shown["points"]))) == pytest.approx(-2.39, abs=0.1)
    np.testing.assert_allclose(shown["eta"], flow.concatenation_coefficients(), atol=1e-5)
    assert [shown["steps"][i] for i in shown["blocks"]] == ["ResidualBlock"] * 2
    assert all(0.0 < bound < 1.0 for bound in shown["bounds_of_blocks"])


def test_images_that_are_not_at_hand(monkeypatch):
    def read(*_, **__):
        raise FileNotFoundError("mnist is not at /data.")

    monkeypatch.setattr(images.data, "images", read)
    shown = images.describe(square(), metadata(images="mnist"), None, None)
    assert shown["scores"] is None and shown["missing"].endswith("mnist is not at /data.")
    assert np.shape(shown["images"]) == (images.SHOWN, 9) and 0 < shown["highest"] <= 15
    assert shown["images_are"] == "drawn from the flow" and shown["size"] == [3, 3, 1]
    assert shown["base"] == {"kind": "normal", "location": None, "scale": None}
    assert shown["labels"] is None and shown["labels_of_images"] is None
    shown = images.describe(labelled(3), metadata(images="mnist"), None, None)
    assert shown["base"]["kind"] == "logistic" and shown["labels"] == 3
    assert shown["labels_of_images"] == [i % 3 for i in range(images.SHOWN)]


def test_photographs_are_shown_in_colour(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("skimage")
    steps = [transforms.UniformDequantization(8), transforms.Logit()]
    flow = kf.Flow(transforms.Chain(steps), (8, 8, 3))
    kf.export.to_onnx(flow, tmp_path / "flow", graphs=["log_prob_fixed"])
    asked = metadata(images="photographs/8x8")
    shown = images.describe(flow, asked, tmp_path / "flow", None)
    test = kf.data.images("photographs/8x8", split="test")
    assert shown["size"] == [8, 8, 3] and len(shown["scores"]) == images.SCORED
    some = test.pixels[images.spread(len(test), images.SCORED)]
    some = some[images.spread(images.SCORED, images.SHOWN)]
    np.testing.assert_array_equal(shown["images"], some.reshape(-1, 192))
    assert np.ptp(np.mean(shown["images"], axis=1)) > 100  # dark ones and light ones


def test_images_are_spread_over_all_of_them():
    assert images.spread(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert images.spread(101, 3).tolist() == [0, 50, 100]
    assert images.spread(1, 3).tolist() == [0]


def test_images_are_read_as_in_training(monkeypatch):
    asked = {}

    def read(name, **given):
        asked.update(given)
        raise FileNotFoundError(f"{name} is not at /data.")

    monkeypatch.setattr(images.data, "images", read)
    images.describe(square(), metadata(images="mnist", resize=32), None, "/data")
    expected = {"split": "test", "data_dir": "/data", "bits": 4, "resize": 32, "labels": False}
    assert asked == expected


@pytest.mark.slow
def test_images_are_scored_given_their_labels(tmp_path):
    pytest.importorskip("onnxruntime")
    flow = labelled()
    # Labels that matter.
    for i, weight in enumerate(flow.trainable_variables):
        weight.assign_add(0.1 * np.random.default_rng(i).normal(size=weight.shape))
    kf.export.to_onnx(flow, tmp_path / "flow", graphs=["log_prob"])
    shown = images.describe(flow, metadata(images="digits", labels=True), tmp_path / "flow", None)
    test = kf.data.images("digits", split="test", labels=True)
    some = images.spread(len(test), images.SHOWN)
    assert shown["labels_of_images"] == test.labels[some].tolist()
    x = test.pixels.astype("float32")
    expected = np.sort(flow.log_prob(x, test.labels))
    np.testing.assert_allclose(shown["scores"], expected, rtol=2e-5)
    other = np.sort(flow.log_prob(x, (test.labels + 1) % 10))
    assert np.abs(other - expected).max() > 0.1


def test_rows_of_a_table():
    flow = table()
    flow.calibration = calibrate(flow, positive_rows(99), "held out")
    shown = tables.describe(flow, metadata(), None, None)
    assert [list(row) for row in shown["rows"]] == [["age", "dose"]] * tables.EXAMPLES
    assert np.shape(shown["replacements"]) == (tables.REPLACEMENTS, 2)
    assert shown["calibration"]["scores"] == 99
    # What Python explains with those rows is what the page explains: the odd value is found.
    x = np.array([[row["age"], row["dose"]] for row in shown["rows"]])
    drawn = np.array(shown["replacements"])
    made = explain(flow, x, drawn, flow.calibration, draws=len(drawn)).contributions
    odd = np.unravel_index(np.argmax(made), made.shape)
    assert odd[0] == tables.EXAMPLES - 1


def test_rows_of_a_table_with_a_context():
    shown = tables.describe(
        table(Column("sex", Category(("f", "m")), True)), metadata(), None, None
    )
    assert [row["sex"] for row in shown["rows"]] == ["f", "m"] * 3
    assert shown["replacements"] is None and shown["calibration"] is None


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """A small gallery of all three panels."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("gallery")
    keras.utils.set_random_seed(0)
    flows = {"plane": kf.models.IDenseNet((2,), blocks=2, depth=1, growth=4), "pixels": square()}
    flows["table"] = table()
    flows["table"].calibration = calibrate(flows["table"], positive_rows(99), "held out")
    for name, flow in flows.items():
        flow.save_to_preset(folder / name, summary=f"The {name}.")
    written = kf.export.to_gallery([folder / name for name in flows], folder / "gallery")
    return folder / "gallery", written


@pytest.mark.slow
def test_a_gallery_is_the_site_and_its_entries(gallery):
    folder, written = gallery
    assert [one.panel for one in written] == ["plane", "images", "tables"]
    index = write.read_index(folder)
    assert [entry["name"] for entry in index["entries"]] == [one.name for one in written]
    for path in built().rglob("*"):
        if path.is_file():
            assert (folder / path.relative_to(built())).read_bytes() == path.read_bytes()
    for one in written:
        place = folder / "entries" / one.name
        assert kf.export.verify(place).rows
        (first,) = [entry["first_ms"] for entry in index["entries"] if entry["name"] == one.name]
        costs = [graph.cost for graph in manifest.read(place).graphs.values()]
        assert first in [round(cost.load_ms + cost.latency_ms, 1) for cost in costs]
        entry = json.loads((place / write.ENTRY).read_text(encoding="utf-8"))
        assert entry["panel"] == one.panel and entry["missing"] == one.missing
    with pytest.raises(ExportError, match="not an empty folder"):
        kf.export.to_gallery(["spline_iris"], folder)


@functools.cache
def built():
    """A copy of the built site, as a gallery has it."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    site.copy(folder)
    return folder


def node(*folders):
    """The comparison with Python in Node: the exit code, and the rows of every folder."""
    executable = shutil.which("node")
    if executable is None:
        pytest.skip("there is no Node")
    version = subprocess.run([executable, "--version"], capture_output=True, text=True).stdout
    if tuple(map(int, version.strip("v\n").split(".")[:2])) < (20, 12):
        pytest.skip(f"Node {version.strip()} is too old: 20.12 is needed")
    (wasm,) = (built() / "assets").glob("*.wasm")
    command = [executable, SOURCES / "compare" / "node.js", wasm, *folders]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.returncode in (0, 1) and ran.stdout, ran.stderr
    return ran.returncode, json.loads(ran.stdout)


def test_node_on_the_smallest_flow(tmp_path):
    pytest.importorskip("onnxruntime")
    kf.export.to_onnx(plain(), tmp_path / "plain", graphs=["steps"])
    code, rows = node(tmp_path / "plain")
    assert code == 0 and {row["output"] for row in rows[str(tmp_path / "plain")]} == {
        "log_prob",
        "z",
        "log_det",
        "states",
    }


@pytest.mark.slow
def test_node_gives_the_numbers_of_python(gallery, tmp_path):
    folder, written = gallery
    places = [folder / "entries" / one.name for one in written]
    code, rows = node(*places)
    assert code == 0, rows
    for place in places:
        described = manifest.read(place)
        compared = {f"{row['graph']} on {row['kind']}: {row['output']}" for row in rows[str(place)]}
        expected = {row.check.partition(", ")[0] for row in described.parity}
        assert compared == {name for name in expected if " on " in name}
    # A number of the flow that is another one is noticed.
    changed = tmp_path / "changed"
    shutil.copytree(places[0], changed)
    with np.load(changed / "sample.npz") as file:
        arrays = dict(file)
    arrays["steps/samples/log_prob"] = arrays["steps/samples/log_prob"] + np.float32(0.01)
    np.savez_compressed(changed / "sample.npz", **arrays)
    code, rows = node(changed)
    failed = [row["output"] for row in rows[str(changed)] if not row["passed"]]
    assert code == 1 and failed == ["log_prob"]


def test_presets_of_a_gallery_differ(tmp_path):
    with pytest.raises(ValueError, match="at least one preset"):
        kf.export.to_gallery([], tmp_path / "gallery")
    with pytest.raises(ValueError, match="Two presets are called 'spline_iris'"):
        kf.export.to_gallery(["spline_iris", "spline_iris"], tmp_path / "gallery")
    assert not (tmp_path / "gallery").exists()


def digest():
    """That of the sources, as vite.config.ts makes it."""
    parts = ["index.html", "package-lock.json", "public", "src", "tsconfig.json", "vite.config.ts"]
    files = []
    for part in parts:
        place = SOURCES / part
        found = [place] if place.is_file() else place.rglob("*")
        files += [path.relative_to(SOURCES).as_posix() for path in found if path.is_file()]
    made = hashlib.sha256()
    for name in sorted(files):
        made.update(f"{name}\n".encode())
        made.update((SOURCES / name).read_bytes())
    return made.hexdigest()


@pytest.mark.parametrize("folder", ["dist", "compare"])
def test_the_site_is_built_from_its_sources(folder):
    stamp = (SOURCES / folder / "sources.sha256").read_text(encoding="utf-8").strip()
    assert stamp == digest(), "run scripts/build_gallery.sh"


def test_a_copy_of_the_site_is_unpacked():
    (wasm,) = (built() / "assets").glob("*.wasm")
    assert wasm.read_bytes()[:4] == b"\0asm" and not list(built().rglob("*.xz"))
    assert (built() / "index.html").read_bytes() == (site.built() / "index.html").read_bytes()


def test_the_server_is_for_this_machine_alone():
    with site.server(built(), 0) as server:
        host, port = server.server_address
        assert host == "127.0.0.1"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (wasm,) = (built() / "assets").glob("*.wasm")
        address = f"http://{host}:{port}/"
        with urllib.request.urlopen(f"{address}assets/{wasm.name}") as answer:
            assert answer.headers["Content-Type"] == "application/wasm"
            assert len(answer.read()) == wasm.stat().st_size
        with urllib.request.urlopen(address) as answer:
            assert b"keras-flows gallery" in answer.read()
        with pytest.raises(OSError, match="another port"):
            site.server(built(), port)
        server.shutdown()


def test_a_folder_that_is_no_gallery(tmp_path):
    with pytest.raises(ExportError, match="is no gallery"):
        write.read_index(tmp_path)


def test_every_entry_of_the_zoo_has_a_panel():
    # By what their metadata say: building all the flows would take long.
    for entry in kf.zoo.list():
        shape = entry.event_shape
        on_plane = shape == [2] and entry.likelihood == "exact" and not entry.context_shape
        on_images = len(shape) == 3 and shape[2] in (1, 3) and max(shape) <= images.LARGEST
        assert entry.columns is not None or on_plane or on_images, entry.name


def test_exports_of_a_gallery_are_asked_for(build):
    # The two graphs of the steps are no part of an ordinary export.
    made = graphs.of(build("exact"), "onnx", endpoints.fixed_noise(build("exact"), 0))
    assert list(made) == ["log_prob", "encode", "decode"]
