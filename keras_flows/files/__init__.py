"""Files: written complete or not at all, and read with one clear error."""

from keras_flows.files.reading import (
    UNREADABLE,
    by_schema,
    differences,
    parse_object,
    read_json,
    read_object,
    read_text,
    sha256,
)
from keras_flows.files.writing import (
    check_place,
    check_room,
    complete_file,
    complete_folder,
    locked,
)

__all__ = [
    "UNREADABLE",
    "by_schema",
    "check_place",
    "check_room",
    "complete_file",
    "complete_folder",
    "differences",
    "locked",
    "parse_object",
    "read_json",
    "read_object",
    "read_text",
    "sha256",
]
