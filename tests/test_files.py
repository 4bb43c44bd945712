"""Reading JSON by a schema: one clear error each."""

import json

import pydantic
import pytest

from keras_flows import __version__
from keras_flows.files import read_json


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
