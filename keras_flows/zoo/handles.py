"""Where a preset's folder is: bundled, local, or fetched."""

import re
from importlib import resources
from pathlib import Path

from keras_flows.errors import PresetError
from keras_flows.zoo import metadata

_CHECKSUM = re.compile(r"^sha256=([0-9a-f]{64})$")


def entries():
    """The folder of the entries that come with the package."""
    installed = Path(str(resources.files("keras_flows.zoo"))) / "entries"
    # In a checkout they are beside the package.
    return installed if installed.is_dir() else Path(__file__).resolve().parents[2] / "zoo"


def bundled():
    """The names of the entries that come with the package, sorted."""
    return sorted(path.parent.name for path in entries().glob(f"*/{metadata.FILE}"))


def resolve(handle):
    """The local folder of a preset, fetched first where that is needed.

    Args:
        handle: A bundled name; the path of a folder; `https://…/folder#sha256=<hash>`, the hash
            that of the folder's `metadata.json`, which holds those of its other files;
            `hf://user/repository[/folder]`; or `kaggle://owner/model/framework/variation`.

    Returns:
        A `pathlib.Path`.

    Raises:
        PresetError: If there is no such preset, or a file differs from its checksum.
        ImportError: If the library that fetches from a hub is not installed.
    """
    handle = str(handle)
    scheme, separator, rest = handle.partition("://")
    if separator:
        fetchers = {"https": _fetch, "http": _fetch, "hf": _hugging_face, "kaggle": _kaggle}
        if scheme not in fetchers:
            raise PresetError(
                f"Unknown kind of address {scheme}:// in {handle!r}; known: "
                f"{', '.join(f'{name}://' for name in fetchers)}."
            )
        return fetchers[scheme](handle, rest)
    if handle in bundled():
        return entries() / handle
    if Path(handle).is_dir():
        return Path(handle)
    from keras_flows import checks  # imports TensorFlow

    raise PresetError(
        f"There is no zoo entry or folder {handle!r}.{checks.suggestion(handle, bundled())} "
        f"Entries: {', '.join(bundled())}."
    )


def _fetch(handle, _):
    address, _, fragment = handle.partition("#")
    pinned = _CHECKSUM.match(fragment)
    if not pinned:
        raise PresetError(
            f"Add the checksum of the preset's metadata.json to its address: "
            f"{address}#sha256=<64 hexadecimal digits>. It pins every file of the preset."
        )
    checksum = pinned.group(1)
    import keras

    # One folder in the cache for each version of a preset.
    subfolder = f"keras_flows/{checksum[:16]}"

    def file(name, expected):
        try:
            return keras.utils.get_file(
                name,
                f"{address.rstrip('/')}/{name}",
                file_hash=expected,
                hash_algorithm="sha256",
                cache_subdir=subfolder,
            )
        except ValueError as error:
            raise PresetError(
                f"{address}/{name} does not have the SHA-256 {expected[:12]}…: {error}"
            ) from error
        except Exception as error:
            raise PresetError(f"{address}/{name} could not be fetched: {error}") from error

    folder = Path(file(metadata.FILE, checksum)).parent
    for name, expected in metadata.read(folder).files.items():
        if Path(name).name != name:
            raise PresetError(f"The preset at {address} names a file outside its folder: {name!r}.")
        file(name, expected)
    return folder


def hugging_face_parts(handle):
    """The repository `user/name` and the folder in it, "" for its root.

    Raises:
        PresetError: If the handle is none of Hugging Face.
    """
    scheme, _, rest = handle.partition("://")
    user, _, path = rest.partition("/")
    repository, _, folder = path.partition("/")
    if scheme != "hf" or not user or not repository:
        raise PresetError(
            f"A Hugging Face handle is hf://user/repository[/folder]; got {handle!r}."
        )
    return f"{user}/{repository}", folder.strip("/")


def _hugging_face(handle, _):
    repository, folder = hugging_face_parts(handle)
    hub = library("huggingface_hub")
    patterns = [f"{folder}/*"] if folder else None
    root = hub.snapshot_download(repository, allow_patterns=patterns)
    return Path(root) / folder


def _kaggle(handle, rest):
    if len(rest.split("/")) not in (4, 5):
        raise PresetError(
            "A Kaggle handle is kaggle://owner/model/framework/variation[/version]; got "
            f"{handle!r}."
        )
    return Path(library("kagglehub").model_download(rest))


def library(name):
    """The library of a hub.

    Raises:
        ImportError: If it is not installed; the message says how.
    """
    try:
        return __import__(name)
    except ImportError as error:
        raise ImportError(f"This address needs {name}: pip install keras-flows[hub]") from error
