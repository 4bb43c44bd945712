"""Reading and writing files: one clear error each. Faults are in tests/faults."""

import json

import pydantic
import pytest

from keras_flows import __version__
from keras_flows.files import check_place, check_room, complete_file, locked, read_json, read_text


class Schema(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    format: int
    size: int
    versions: dict[str, str] = {}


class Wrong(Exception):
    pass


@pytest.fixture
def read(tmp_path):
    def read(content=None):
        path = tmp_path / "about.json"
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_json(path, Schema, 2, "toy", Wrong)

    return read


@pytest.mark.parametrize("format", [1, 2])
def test_what_fits_is_read(read, format):
    made = read(json.dumps({"format": format, "size": 3, "versions": {"a": "1"}}))
    assert made == Schema(format=format, size=3, versions={"a": "1"})


@pytest.mark.parametrize(
    "content, message",
    [
        (None, r"about\.json does not exist; every toy folder has one"),
        ("", "damaged: it is not valid JSON: "),
        (b"\xff{}", "damaged: it is not UTF-8: .*utf-8"),
        ("[1]", "damaged: it must hold a JSON object; it holds list"),
        (
            '{"format": 3, "versions": {"keras_flows": "9.0"}, "other": 1}',
            rf"by keras-flows 9\.0 in toy format 3; this is {__version__}, which reads up to 2\.",
        ),
        ('{"format": 3, "versions": []}', "by a newer keras-flows in toy format 3"),
        ('{"format": 2, "size": "many", "b": 1}', r"damaged: size: .*integer.*; b: extra inputs"),
        ('{"format": "3", "size": 1, "versions": {"a": 1}}', r"damaged: versions\.a: "),
    ],
)
def test_what_does_not_is_one_error(read, content, message):
    with pytest.raises(Wrong, match=message):
        read(content)


def test_text_is_read_from_plain_files_only(tmp_path):
    path = tmp_path / "card.md"
    path.write_text("Flüsse", encoding="utf-8")
    assert read_text(path, "toy", Wrong) == "Flüsse"
    path.unlink()
    path.mkdir()
    with pytest.raises(Wrong, match="is not a plain file"):
        read_text(path, "toy", Wrong)


def test_where_something_can_be_written(tmp_path):
    check_place(tmp_path / "new" / "folder" / "x.csv")
    check_place(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"x\.csv cannot be written: .*file is a file"):
        check_place(tmp_path / "file" / "x.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_room_is_asked_for_and_given_back(tmp_path):
    check_room(tmp_path, 1000)
    with pytest.raises(OSError, match=f"{2**60:,} bytes are to be written"):
        check_room(tmp_path, 2**60)
    assert not any(tmp_path.iterdir())


def test_a_lock_is_held_once_and_let_go(tmp_path):
    for _ in range(2):
        with (
            locked(tmp_path / "lock", "is here"),
            pytest.raises(BlockingIOError, match=r"Another process is here \(it holds .*lock\)"),
            locked(tmp_path / "lock", "is here"),
        ):
            raise AssertionError("held twice")


def test_a_file_keeps_its_permissions_and_links_to_it(tmp_path):
    path, link = tmp_path / "x.csv", tmp_path / "link.csv"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    with complete_file(link) as partial:
        partial.write_text("new")
        assert path.read_text() == "old" and partial.name == "x.csv"
    assert path.read_text() == "new" and link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(found.name for found in tmp_path.iterdir()) == ["link.csv", "x.csv"]
