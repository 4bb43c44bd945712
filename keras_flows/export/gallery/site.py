"""The built site: where its files are, a copy of them, and a server for one's own browser."""

import functools
import http.server
import lzma
import shutil
from importlib import resources
from pathlib import Path

from keras_flows.errors import ExportError

# What `http.server` does not know everywhere; a browser compiles WebAssembly of this type alone.
_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".onnx": "application/octet-stream",
    ".npz": "application/octet-stream",
}


def built():
    """The folder of the built site.

    Raises:
        ExportError: If it is not there.
    """
    installed = Path(str(resources.files("keras_flows.export.gallery"))) / "site"
    # In a checkout it is beside the package.
    folder = (
        installed
        if installed.is_dir()
        else Path(__file__).resolve().parents[3] / "export" / "gallery" / "dist"
    )
    if not (folder / "index.html").is_file():
        raise ExportError(
            f"The built site of the gallery is not at {folder}. Install keras-flows again; in a "
            "checkout, build it with scripts/build_gallery.sh."
        )
    return folder


def copy(folder):
    """Copies the built site into a folder that is there.

    What is compressed with xz, onnxruntime's WebAssembly of 14 MB, is unpacked.

    Raises:
        ExportError: If the site is not there.
    """
    shutil.copytree(built(), folder, dirs_exist_ok=True)
    for packed in Path(folder).rglob("*.xz"):
        with lzma.open(packed) as source, packed.with_suffix("").open("wb") as target:
            shutil.copyfileobj(source, target)
        packed.unlink()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def guess_type(self, path):
        return _TYPES.get(Path(path).suffix) or super().guess_type(path)

    def end_headers(self):
        # A gallery may be written anew: the browser asks whether a file is still the same.
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *_):
        pass


def server(folder, port):
    """A server of a folder on the loopback address, not reachable from other machines.

    Args:
        folder: What it serves.
        port: 0 for any that is free.

    Returns:
        An `http.server.ThreadingHTTPServer`; `serve_forever()` runs it.

    Raises:
        OSError: If the port is taken.
    """
    handler = functools.partial(_Handler, directory=str(folder))
    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        message = f"{error.strerror}: give another port than {port} by --port"
        raise OSError(error.errno, message) from error
