import builtins
import io

import numpy as np
import pandas as pd
import pytest

from keras_flows.data import tables

SUFFIXES = [".npy", ".npz", ".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet"]
TEXT = [".csv", ".tsv", ".csv.gz", ".tsv.gz"]


@pytest.fixture
def path(tmp_path):
    return lambda suffix: tmp_path / f"table{suffix}"


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def any_float32(n):
    """Finite numbers of every size, subnormal ones included."""
    bits = np.random.default_rng(0).integers(0, 2**32, size=2 * n, dtype=np.uint32)
    values = bits.view(np.float32)
    return values[np.isfinite(values)][:n]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip_is_bit_equal(path, suffix):
    x = any_float32(2000).reshape(-1, 2)
    tables.write(path(suffix), {"x": x})
    back = tables.read(path(suffix), (2,))
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back.view(np.uint32), x.view(np.uint32))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_events_of_higher_rank(path, suffix):
    x = np.arange(24, dtype=np.float32).reshape(2, 2, 2, 3)
    tables.write(path(suffix), {"x": x if suffix in (".npy", ".npz") else x.reshape(2, -1)})
    np.testing.assert_array_equal(tables.read(path(suffix), (2, 2, 3)), x)


@pytest.mark.parametrize("suffix", [*TEXT, ".parquet"])
def test_names_of_columns(path, suffix):
    x = np.ones((3, 2), np.float32)
    tables.write(path(suffix), {"x": x, "log_prob": np.zeros(3), "inside": np.ones(3, bool)})
    if suffix == ".parquet":
        frame = pd.read_parquet(path(suffix))
    else:
        frame = pd.read_csv(path(suffix), sep="\t" if "tsv" in suffix else ",")
    assert list(frame.columns) == ["x_0", "x_1", "log_prob", "inside"]
    np.testing.assert_array_equal(tables.read(path(suffix), (2,), columns=["x_0", "x_1"]), x)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_come_in_the_order_asked_for(path, suffix):
    tables.write(path(suffix), {"a": np.arange(3), "b": np.ones(3), "c": np.zeros(3)})
    np.testing.assert_array_equal(
        tables.read(path(suffix), (2,), columns=["b", "a"]), [[1, 0], [1, 1], [1, 2]]
    )


def test_float64_is_written_in_full(path):
    values = np.random.default_rng(0).standard_normal(100)
    tables.write(path(".csv"), {"log_prob": values})
    _, *lines = path(".csv").read_text().splitlines()
    np.testing.assert_array_equal([float(line) for line in lines], values)


@pytest.mark.parametrize("where", [None, "-"])
def test_standard_output(capsys, where):
    tables.write(where, {"x": np.float32([[0.5, -1], [2, 3]]), "n": np.array([1, 2])})
    assert capsys.readouterr().out == "x_0,x_1,n\n0.5,-1,1\n2,3,2\n"


def test_csv_without_header(path):
    file = written(path(".csv"), "1,2,3\n4,5,6\n")
    rows = tables.read(file, (3,), header=False)
    np.testing.assert_array_equal(rows, [[1, 2, 3], [4, 5, 6]])
    third = tables.read(file, (1,), columns=["2"], header=False)
    np.testing.assert_array_equal(third, [[3], [6]])


def test_a_header_of_numbers_is_never_taken_for_a_row(path):
    file = written(path(".csv"), "2020,2021\n1,2\n3,4\n")
    with pytest.raises(ValueError, match=r"all numbers \(2020, 2021\).*--header.*--no-header"):
        tables.read(file, (2,))
    np.testing.assert_array_equal(tables.read(file, (2,), header=True), [[1, 2], [3, 4]])
    swapped = tables.read(file, (2,), columns=["2021", "2020"], header=True)
    np.testing.assert_array_equal(swapped, [[2, 1], [4, 3]])
    assert len(tables.read(file, (2,), header=False)) == 3


def test_what_is_said_of_the_header_must_be_so(path):
    with pytest.raises(ValueError, match=r"without a header its first row must be numbers: a, b"):
        tables.read(written(path(".csv"), "a,b\n1,2\n"), (2,), header=False)
    mixed = written(path(".csv"), "a,2021\n1,2\n")
    np.testing.assert_array_equal(tables.read(mixed, (2,), header=True), [[1, 2]])
    np.save(path(".npy"), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="only text tables"):
        tables.read(path(".npy"), (2,), header=True)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators(path, separator):
    file = written(path(".csv"), "a,b\n1.5,2\n3,4\n".replace(",", separator))
    np.testing.assert_array_equal(tables.read(file, (2,)), [[1.5, 2], [3, 4]])


def test_decimal_commas_are_no_numbers(path):
    file = written(path(".csv"), "a;b\n1,5;2\n3;4\n")
    with pytest.raises(ValueError, match="must hold numbers, but these columns do not: a"):
        tables.read(file, (2,))


def test_standard_input(monkeypatch):
    def given(text):
        stream = io.TextIOWrapper(io.BytesIO(text.encode()))
        monkeypatch.setattr("sys.stdin", stream)

    given("a;b\n1;2\n")
    np.testing.assert_array_equal(tables.read("-", (2,)), [[1, 2]])
    given("1,2\n3,4\n")
    with pytest.raises(ValueError, match="standard input: its first row is all numbers"):
        tables.read("-", (2,))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failed_write_leaves_the_old_file(path, suffix, monkeypatch):
    tables.write(path(suffix), {"x": np.ones((3, 2))})
    before = path(suffix).read_bytes()

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        tables.write(path(suffix), {"x": np.zeros((3, 2))})
    assert path(suffix).read_bytes() == before
    assert [file.name for file in path(suffix).parent.iterdir()] == [path(suffix).name]


def test_writing_through_a_link_keeps_the_link(path, tmp_path):
    (tmp_path / "link.csv").symlink_to(path(".csv"))
    tables.write(tmp_path / "link.csv", {"x": np.ones(2)})
    assert (tmp_path / "link.csv").is_symlink()
    assert path(".csv").read_text() == "x\n1\n1\n"


def test_outputs_are_checked_before_the_work(path, tmp_path):
    with pytest.raises(ValueError, match="must end in one of"):
        tables.check_output(path(".txt"), axes=1)
    for where in (None, "-", path(".csv"), path(".parquet")):
        tables.check_output(where, axes=2)
        with pytest.raises(ValueError, match=r"4 axes, but .*Name a \.npy or \.npz"):
            tables.check_output(where, axes=4)
    tables.check_output(path(".npy"), axes=4)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        tables.check_output(tmp_path / "nowhere" / "x.csv", axes=1)
    path(".csv").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        tables.check_output(path(".csv"), axes=1)


def test_csv_with_byte_order_mark_and_blank_lines(path):
    file = written(path(".csv"), "\ufeffa,b\n\n1,2\n\n3,4\n")
    np.testing.assert_array_equal(tables.read(file, (2,), columns=["a", "b"]), [[1, 2], [3, 4]])


def test_npz_with_several_arrays(path):
    x = np.ones((3, 2), np.float32)
    np.savez(path(".npz"), x=x, y=np.zeros(5))
    np.testing.assert_array_equal(tables.read(path(".npz"), (2,)), x)
    np.savez(path(".npz"), train=x, test=x)
    with pytest.raises(ValueError, match="holds 2: train, test"):
        tables.read(path(".npz"), (2,))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rejects_what_is_not_finite(path, suffix, bad):
    x = np.zeros((5, 2))
    x[[1, 3], 0] = bad
    tables.write(path(suffix), {"x": x})
    with pytest.raises(ValueError, match=r"2 of its 5 rows .* first is row 1 "):
        tables.read(path(suffix), (2,))


def test_rejects_missing_cells_and_numbers_beyond_float32(path):
    with pytest.raises(ValueError, match=r"2 of its 3 rows .* row 0 "):
        tables.read(written(path(".csv"), "a,b\n1,\n2,3\n1e300,4\n"), (2,))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rejects_another_width(path, suffix):
    tables.write(path(suffix), {"x": np.zeros((4, 3))})
    message = (
        r"shape \(n, 2\).*\(4, 3\)" if suffix in (".npy", ".npz") else "2 columns.* has 3: x_0"
    )
    with pytest.raises(ValueError, match=message):
        tables.read(path(suffix), (2,))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rejects_no_rows(path, suffix):
    tables.write(path(suffix), {"x": np.zeros((0, 2))})
    with pytest.raises(ValueError, match="is empty"):
        tables.read(path(suffix), (2,))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rejects_an_empty_file(path, suffix):
    path(suffix).touch()
    with pytest.raises(ValueError, match=f"table{suffix}"):
        tables.read(path(suffix), (2,))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv.gz", ".parquet"])
def test_rejects_a_truncated_file(path, suffix):
    tables.write(path(suffix), {"x": np.zeros((100, 2))})
    path(suffix).write_bytes(path(suffix).read_bytes()[: -200 if suffix != ".csv.gz" else -20])
    with pytest.raises(ValueError, match=r"cannot be read|not a well-formed"):
        tables.read(path(suffix), (2,))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_never_loads_a_pickle(path, suffix):
    save = np.save if suffix == ".npy" else np.savez
    save(path(suffix), np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="never loaded"):
        tables.read(path(suffix), (2,))


def test_rejects_arrays_that_are_not_real_numbers(path):
    np.save(path(".npy"), np.zeros((2, 2), np.complex64))
    with pytest.raises(ValueError, match="complex64"):
        tables.read(path(".npy"), (2,))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_names_the_columns_that_are_not_numbers(path, suffix):
    frame = pd.DataFrame({"a": [1.0, 2.0], "kind": ["u", "v"], "ok": [True, False]})
    getattr(frame, f"to_{suffix[1:]}")(path(suffix), index=False)
    with pytest.raises(ValueError, match="these columns do not: kind, ok"):
        tables.read(path(suffix), (3,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,1\n2,3\n", "mixture: a, 1"),
        ("a,b\n1,2\n1,2,3\n", "well-formed"),
        ("a,b\n1,2,3\n1,2,3\n", "well-formed"),
        ("\n\n", "is empty"),
        ("1,5;2,5\n3;4\n", "commas and semicolons"),
        ("a,a\n1,2\n", "same name: a, a"),
    ],
)
def test_rejects_csv(path, text, message):
    with pytest.raises(ValueError, match=message):
        tables.read(written(path(".csv"), text), (2,))


def test_rejects_a_longer_row_without_header(path):
    with pytest.raises(ValueError, match="well-formed"):
        tables.read(written(path(".csv"), "1,2\n1,2,3\n"), (2,), header=False)


def test_rejects_csv_that_is_not_text(path):
    path(".csv").write_bytes(b"a,b\n\xff\xfe,2\n")
    with pytest.raises(ValueError, match="well-formed"):
        tables.read(path(".csv"), (2,))


def test_rejects_columns_that_are_not_there(path):
    file = written(path(".csv"), "a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"no column z.*a, b"):
        tables.read(file, (2,), columns=["a", "z"])


def test_rejects_columns_of_an_array(path):
    np.save(path(".npy"), np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"text and \.parquet"):
        tables.read(path(".npy"), (2,), columns=["a"])


def test_rejects_a_missing_file_and_folder(path, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"table\.csv"):
        tables.read(path(".csv"), (2,))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        tables.write(tmp_path / "nowhere" / "x.csv", {"x": np.zeros(3)})


def test_rejects_an_unknown_suffix(path):
    with pytest.raises(ValueError, match=r"\.npy, \.npz, \.csv, .*\.parquet"):
        tables.read(path(".txt"), (2,))
    with pytest.raises(ValueError, match=r"\.npy, \.npz, \.csv, .*\.parquet"):
        tables.write(path(".txt"), {"x": np.zeros(3)})


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_says_what_to_install(path, suffix, monkeypatch):
    tables.write(path(suffix), {"x": np.zeros((2, 2))})
    original = builtins.__import__

    def without_pandas(name, *arguments, **options):
        if name == "pandas":
            raise ImportError("No module named 'pandas'")
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    with pytest.raises(ImportError, match=r"pip install 'keras-flows\[data\]'"):
        tables.read(path(suffix), (2,))
    if suffix == ".csv":
        tables.write(path(suffix), {"x": np.zeros((2, 2))})
    else:
        with pytest.raises(ImportError, match=r"pip install 'keras-flows\[data\]'"):
            tables.write(path(suffix), {"x": np.zeros((2, 2))})


@pytest.mark.parametrize(
    ("suffix", "arrays", "message"),
    [
        (".csv", {}, "nothing to write"),
        (".npy", {"x": np.zeros(2), "y": np.zeros(2)}, r"\(x, y\)\. Use \.npz"),
        (".csv", {"x": np.zeros((2, 2, 2))}, r"Use \.npy or \.npz"),
        (".parquet", {"x": np.zeros(())}, r"one or two axes"),
        (".csv", {"x": np.zeros(2), "y": np.zeros(3)}, "'x': 2, 'y': 3"),
        (".npz", {"x": np.array(["a"])}, "x must hold real numbers"),
    ],
)
def test_write_rejects(path, suffix, arrays, message):
    with pytest.raises(ValueError, match=message):
        tables.write(path(suffix), arrays)
    assert not path(suffix).exists()


def test_a_header_of_more_rows_than_memory_holds(tmp_path):
    path = tmp_path / "x.npy"
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**13, 2)}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(ValueError, match="claims to hold more than memory does"):
        tables.read(path, (2,))
