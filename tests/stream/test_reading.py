"""Every format gives the same rows, from any row on, in chunks of any size."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

import keras_flows as kf
from keras_flows.data import tables
from keras_flows.data.columns import Category, Column, Interval, Real
from keras_flows.stream import Takes, open_input
from keras_flows.stream.stored import Parquet

N = 23
X = np.random.default_rng(0).normal(size=(N, 2)).astype("float32")
FRAME = pd.DataFrame(X.astype("float64"), columns=["a", "b"])
SCHEMA = kf.data.Schema(
    (
        Column("size", Interval(-50.0, 50.0)),
        Column("site", Category(("01", "7", "north")), True),
        Column("dose", Real(), True),
    )
)
SITES = ["7", "7", "01", "7", "7", "north", "01"]
TABLE = pd.DataFrame(
    {
        "dose": np.arange(N) / 4,
        "site": (SITES * 4)[:N],
        "size": np.where(np.arange(N) % 9 == 5, 60.0, np.arange(N)),
    }
)


def parquet(path, frame, groups):
    pa.parquet.write_table(pa.Table.from_pandas(frame), path, row_group_size=groups)


def folder(path, frame):
    path.mkdir()
    for number, start in enumerate(range(0, N, 9)):
        parquet(path / f"part-{number}.parquet", frame[start : start + 9], 4)
    (path / "_manifest.json").write_text("no part")
    return path


def records(path, frame):
    tf = pytest.importorskip("tensorflow")

    def feature(value):
        if isinstance(value, str):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
        if isinstance(value, list):
            return tf.train.Feature(float_list=tf.train.FloatList(value=value))
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))

    options = "GZIP" if path.suffix == ".gz" else ""
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for row in frame.to_dict("records"):
            features = tf.train.Features(feature={k: feature(v) for k, v in row.items()})
            writer.write(tf.train.Example(features=features).SerializeToString())


WRITERS = {
    "a.parquet": lambda path: parquet(path, FRAME, 5),
    "index.parquet": lambda path: FRAME.set_index(FRAME["a"].rename("row")).to_parquet(path),
    "parts": lambda path: folder(path, FRAME),
    "a.csv": lambda path: FRAME.to_csv(path, index=False),
    "plain.csv": lambda path: FRAME.to_csv(path, index=False, header=False),
    "a.tsv.gz": lambda path: FRAME.to_csv(path, index=False, sep="\t"),
    "a.npy": lambda path: np.save(path, X),
    "fortran.npy": lambda path: np.save(path, np.asfortranarray(X)),
    "a.npz": lambda path: np.savez(path, x=X),
    "a.tfrecord": lambda path: records(path, FRAME),
    "x.tfrecord.gz": lambda path: records(path, pd.DataFrame({"x": X.tolist(), "id": X[:, 0]})),
}


def opened(path, takes, **options):
    if path.name == "plain.csv":
        options["header"] = False
    if path.name == "a.tfrecord":
        with pytest.raises(ValueError, match="have no order"):
            open_input(path, takes)
        options["columns"] = ["a", "b"]
    return open_input(path, takes, **options)


@pytest.mark.parametrize("name", WRITERS)
def test_rows_from_any_row_on(tmp_path, name):
    WRITERS[name](tmp_path / name)
    data = opened(tmp_path / name, Takes((2,)))
    text = "csv" in name or "tsv" in name or "tfrecord" in name
    assert data.rows == (None if text else N)
    for start, size in ((0, N + 5), (0, 4), (0, 9), (7, 4), (9, 1), (22, 3), (23, 4)):
        read = list(data.read(start, size))
        assert [len(rows) for rows in read[:-1]] == [size] * (len(read) - 1)
        assert [rows.first for rows in read] == list(range(start, N, size))
        x = np.concatenate([np.empty((0, 2)), *(rows.x for rows in read)])
        np.testing.assert_allclose(x, X[start:], rtol=1e-6)
    if name.endswith((".parquet", ".csv", ".npy", ".npz")):
        header = False if name == "plain.csv" else None
        whole = tables.read(tmp_path / name, (2,), header=header)
        np.testing.assert_array_equal(next(data.read(0, N)).x, whole)


@pytest.mark.parametrize("name", ["t.parquet", "parts", "t.csv", "t.tfrecord"])
def test_a_flow_that_knows_its_columns(tmp_path, name):
    path = tmp_path / name
    if name == "t.csv":
        TABLE.to_csv(path, index=False)
    else:
        {"t.parquet": lambda p, f: parquet(p, f, 6), "parts": folder, "t.tfrecord": records}[name](
            path, TABLE
        )
    whole = SCHEMA.arrange(TABLE)
    data = open_input(path, Takes((1,), (4,), SCHEMA))
    # Chunks in which the labels are all numbers: they stay what they are in the whole column.
    for start, size in ((0, 30), (0, 2), (4, 5)):
        read = list(data.read(start, size))
        np.testing.assert_array_equal(np.concatenate([r.x for r in read]), whole.x[start:])
        context = np.concatenate([r.context for r in read])
        np.testing.assert_array_equal(context, whole.context[start:])
        inside = np.concatenate([r.inside for r in read])
        np.testing.assert_array_equal(inside, whole.inside[start:])
        reasons = {row: reason for r in read for row, reason in r.reasons.items()}
        assert reasons == {row: why for row, why in whole.reasons.items() if row >= start}
    assert list(whole.reasons) == [5, 14]


def test_images_in_a_folder_and_in_records(tmp_path):
    tf = pytest.importorskip("tensorflow")
    pixels = np.random.default_rng(0).integers(0, 256, (7, 16, 16, 1), dtype=np.uint8)
    encoded = [tf.io.encode_png(image).numpy() for image in pixels]
    (tmp_path / "folder" / "b").mkdir(parents=True)
    for i, content in enumerate(encoded):
        place = tmp_path / "folder" / ("b" if i > 3 else "") / f"{i}.png"
        place.write_bytes(content)
    with tf.io.TFRecordWriter(str(tmp_path / "i.tfrecord")) as writer:
        for content in encoded:
            image = tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
            label = tf.train.Feature(int64_list=tf.train.Int64List(value=[3]))
            features = tf.train.Features(feature={"image": image, "label": label})
            writer.write(tf.train.Example(features=features).SerializeToString())
    takes = Takes((8, 8, 1), bits=4)
    for name in ("folder", "i.tfrecord"):
        data = open_input(tmp_path / name, takes)
        expected = kf.data.images(pixels, resize=8, bits=4).pixels
        for start, size in ((0, 10), (2, 3)):
            read = list(data.read(start, size))
            assert [rows.first for rows in read] == list(range(start, 7, size))
            np.testing.assert_array_equal(np.concatenate([r.x for r in read]), expected[start:])
        with pytest.raises(ValueError, match="not one on images"):
            open_input(tmp_path / name, Takes((2,)))
        with pytest.raises(ValueError, match="has 1 channels; the flow takes 3"):
            list(open_input(tmp_path / name, Takes((8, 8, 3), bits=4)).read(0, 4))


def test_contexts_of_their_own(tmp_path):
    contexts = np.arange(N * 3, dtype="float32").reshape(N, 3)
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    np.save(tmp_path / "c.npy", contexts)
    pd.DataFrame(contexts[:9]).to_csv(tmp_path / "short.csv", index=False, header=list("uvw"))
    np.save(tmp_path / "a.npy", X)
    takes = Takes((2,), (3,))
    data = open_input(tmp_path / "a.csv", takes, context=tmp_path / "c.npy")
    assert data.rows == N
    read = list(data.read(5, 4))
    np.testing.assert_array_equal(np.concatenate([rows.context for rows in read]), contexts[5:])
    np.save(tmp_path / "c9.npy", contexts[:9])
    with pytest.raises(ValueError, match=r"a.npy has 23 examples, but .*c9.npy has 9\."):
        open_input(tmp_path / "a.npy", takes, context=tmp_path / "c9.npy")
    short = open_input(tmp_path / "a.csv", takes, context=tmp_path / "short.csv")
    with pytest.raises(ValueError, match=r"a.csv has 23 examples, but .*short.csv has 9\."):
        list(short.read(0, 4))
    with pytest.raises(ValueError, match="give --context"):
        open_input(tmp_path / "a.npy", takes)


BAD = {
    "a.csv": ("a,b\n" + "1,2\n" * 9 + "1,x\n", "these columns do not: b"),
    "gap.csv": ("a,b\n" + "1,2\n" * 9 + "1,\n", r"the first is row 9 \(counted from 0"),
    "long.csv": ("a,b\n" + "1,2\n" * 9 + "1,2,3\n", "not a well-formed table"),
    "many.csv": ("a,b,c\n1,2,3\n", "must have 2 columns"),
    "cut.parquet": ("PAR1", "cannot be read as a Parquet file"),
    "empty.csv": ("", "is empty"),
    "objects.npy": (None, "pickled objects are never"),
    "x.doc": ("1", "must end in one of"),
    "cut.tfrecord": ("12345678901234567890", "damaged TFRecord"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read(tmp_path, name):
    text, message = BAD[name]
    if text is None:
        np.save(tmp_path / name, np.array([{}]), allow_pickle=True)
    else:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        list(open_input(tmp_path / name, Takes((2,))).read(0, 4))


def test_which_rows_of_a_big_table_are_bad(tmp_path):
    TABLE.assign(dose=[*TABLE.dose[:-1], np.inf]).to_parquet(tmp_path / "t.parquet")
    data = open_input(tmp_path / "t.parquet", Takes((1,), (4,), SCHEMA))
    with pytest.raises(ValueError, match=r"t.parquet, rows 20 to 22: these columns hold infinity"):
        list(data.read(0, 10))
    with pytest.raises(FileNotFoundError, match="There is no file"):
        open_input(tmp_path / "none.csv", Takes((2,)))
    parquet(tmp_path / "a.parquet", FRAME, 5)
    other = folder(tmp_path / "parts", FRAME)
    parquet(other / "z.parquet", TABLE, 5)
    with pytest.raises(ValueError, match="All files of a folder must have the same"):
        open_input(other, Takes((2,)))


def test_row_groups_that_were_read_are_let_go(tmp_path):
    path, groups = tmp_path / "rows.parquet", 40
    frame = pd.DataFrame(np.random.default_rng(0).random((groups * 10_000, 2)), columns=["a", "b"])
    frame.to_parquet(path, row_group_size=10_000)
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() for _ in Parquet("rows", [path], False).frames(0, 5_000)]
    assert len(held) == 2 * groups
    assert max(held) - before < 0.2 * frame.memory_usage().sum()


def test_the_fingerprint_is_of_the_content(tmp_path):
    np.save(tmp_path / "a.npy", X)
    np.save(tmp_path / "b.npy", X)
    one, other = (open_input(tmp_path / f"{n}.npy", Takes((2,))) for n in "ab")
    assert one.fingerprint.sha256 == other.fingerprint.sha256
    one.check_unchanged()
    np.save(tmp_path / "a.npy", X)  # the same again
    one.check_unchanged()
    np.save(tmp_path / "a.npy", X + 1)
    with pytest.raises(ValueError, match=r"a.npy changed while it was read"):
        one.check_unchanged()
    (tmp_path / "b.npy").unlink()
    with pytest.raises(ValueError, match="is gone"):
        other.check_unchanged()
    parts = folder(tmp_path / "parts", FRAME)
    before = open_input(parts, Takes((2,))).fingerprint
    (parts / "part-2.parquet").rename(parts / "part-3.parquet")
    after = open_input(parts, Takes((2,))).fingerprint
    assert before.files == after.files == 3 and before.sha256 != after.sha256


def test_text_by_standard_input(tmp_path, monkeypatch):
    import io
    import sys

    class Given:
        buffer = io.BytesIO(FRAME.to_csv(index=False).encode())

    monkeypatch.setattr(sys, "stdin", Given)
    data = open_input("-", Takes((2,)))
    assert len(data.fingerprint.sha256) == 64
    np.testing.assert_allclose(np.concatenate([r.x for r in data.read(0, 5)]), X, rtol=1e-6)
