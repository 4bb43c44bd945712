"""Checksums of files, and JSON by a schema."""

import hashlib
import json
import zipfile
import zlib
from pathlib import Path

from keras_flows import __version__

# What is raised by `numpy.load` for files that are damaged, or claim more than memory holds.
UNREADABLE = (ValueError, TypeError, EOFError, OSError, MemoryError, zipfile.BadZipFile, zlib.error)


def sha256(path):
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differences(folder, expected):
    """What is wrong with the files of a folder.

    Args:
        folder: The folder.
        expected: Dictionary from the relative name of every file to its SHA-256.

    Returns:
        A list of phrases, empty if all files are there and as expected.
    """
    wrong = []
    for name, checksum in expected.items():
        path = Path(folder) / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif (found := sha256(path)) != checksum:
            wrong.append(f"{name} has SHA-256 {found[:12]}…, expected {checksum[:12]}…")
    return wrong


def read_object(path, kind, error):
    """Reads a JSON file that holds an object.

    Args:
        path: The file, a `pathlib.Path`.
        kind: What its folder is, in a word, such as `"preset"`.
        error: The exception class to raise.

    Returns:
        A dictionary.

    Raises:
        error: If the file is missing, is no JSON, or holds something else.
    """
    return parse_object(read_text(path, kind, error), path, error)


def read_text(path, kind, error):
    """Reads a text file.

    Args:
        path: See `read_object`, like the other arguments.
        kind: See there.
        error: See there.

    Raises:
        error: If the file is missing, no plain file (a pipe would never end), or no UTF-8.
    """
    if not path.exists():
        raise error(f"{path} does not exist; every {kind} folder has one.")
    if not path.is_file():
        raise error(f"{path} is not a plain file.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as wrong:
        raise error(f"{path} is damaged: it is not UTF-8: {wrong}.") from None
    except OSError as wrong:
        raise error(f"{path} cannot be read: {wrong.strerror}.") from wrong


def parse_object(text, path, error):
    """The JSON object that a text is, a dictionary; `path` is where it is from.

    Raises:
        error: If it is no JSON, or something else.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as wrong:  # the latter of thousands of brackets
        raise error(f"{path} is damaged: it is not valid JSON: {wrong}.") from None
    if not isinstance(content, dict):
        raise error(
            f"{path} is damaged: it must hold a JSON object; it holds {type(content).__name__}."
        )
    return content


def read_json(path, schema, newest, kind, error):
    """Reads a JSON file that follows a schema.

    Args:
        path: The file, a `pathlib.Path`.
        schema: The `pydantic.BaseModel` class; the file has its `format`, and in `versions` that
            of the keras-flows that wrote it.
        newest: The newest format that this version reads, an integer.
        kind: What its folder is, in a word, such as `"preset"`.
        error: The exception class to raise.

    Returns:
        A `schema` object.

    Raises:
        error: If the file is missing, is no JSON, is of a newer format, or does not fit the schema;
            the message lists every field that does not.
    """
    return by_schema(read_object(path, kind, error), path, schema, newest, kind, error)


def by_schema(content, path, schema, newest, kind, error):
    """What `read_json` returns, from the dictionary that the file at `path` holds.

    Raises:
        error: See `read_json`.
    """
    import pydantic  # heavy, and those who only write files need none

    written = content.get("format")
    if isinstance(written, int) and written > newest:
        versions = content.get("versions")
        version = versions.get("keras_flows") if isinstance(versions, dict) else None
        writer = f"keras-flows {version}" if version else "a newer keras-flows"
        raise error(
            f"{path} was written by {writer} in {kind} format {written}; this is "
            f"{__version__}, which reads up to {newest}. Upgrade keras-flows."
        )
    try:
        return schema.model_validate(content)
    except pydantic.ValidationError as wrong:
        fields = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg'].lower()}" for e in wrong.errors()
        )
        raise error(f"{path} is damaged: {fields}.") from None
