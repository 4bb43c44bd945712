"""The command that writes and opens a gallery: flows in the browser."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from keras_flows.cli.arguments import DataDir, Json
from keras_flows.cli.console import command, print_json, print_table, say, working

# What there is without a choice: of every panel some entries, in a few minutes.
SELECTION = (
    "idensenet_lc_two_moons",
    "denseflow_digits",
    "idensenet_lc_digits",
    "interlaced_mnist_labels",
    "spline_iris",
    "spline_wine",
)


@command
def gallery(
    places: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ENTRY]... FOLDER",
            help="Presets, by default a few of the zoo, and the folder to write; `gallery` if "
            "--serve names none",
        ),
    ] = None,
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Open it in the browser; a gallery that is there as it is"),
    ] = False,
    all_: Annotated[
        bool, typer.Option("--all", help="Every entry of the zoo, which takes up to an hour")
    ] = False,
    port: Annotated[int, typer.Option(help="Of --serve", min=0, max=65535)] = 8008,
    data_dir: DataDir = None,
    as_json: Json = False,
):
    """Write a static site that runs presets in the browser; nothing leaves the visitor's page."""
    if not places and not serve:
        raise ValueError("Name the folder to write: keras-flows gallery [ENTRY]... FOLDER.")
    *presets, last = places or ["gallery"]
    folder = Path(last)
    if all_:
        if presets:
            raise ValueError(f"--all is every entry of the zoo: leave {' '.join(presets)} out.")
        presets = _bundled()
    if not serve or presets or not _is_gallery(folder):
        _write(presets, folder, data_dir, as_json)
    if serve:
        _serve(folder, port)


def _is_gallery(folder):
    from keras_flows.export.gallery import write

    return (folder / write.INDEX).is_file()


def _bundled():
    from keras_flows.zoo import handles

    return handles.bundled()


def _write(presets, folder, data_dir, as_json):
    from keras_flows import export as exports

    if not presets:
        _check_is_folder(folder)
    presets = presets or SELECTION
    with working("exporting to ONNX, and checking", len(presets)) as progress:
        started = []

        def observe(name):
            if started:
                progress.advance()
            started.append(name)
            progress.describe(f"exporting {name}, and checking it")

        written = exports.to_gallery(presets, folder, data_dir, observe)
    if as_json:
        print_json({"folder": str(folder), "entries": [one._asdict() for one in written]})
        return
    rows = ((one.name, one.panel, one.missing or "") for one in written)
    print_table(f"a gallery in {folder}: any static host serves it", ("", "", ""), rows)


def _check_is_folder(folder):
    """The only argument is the folder: not the name of an entry, which would be a mistake."""
    if str(folder) in _bundled():
        raise ValueError(
            f"{folder} is an entry of the zoo, and the last argument is the folder to write: "
            f"keras-flows gallery {folder} FOLDER."
        )


def _serve(folder, port):
    from keras_flows.export.gallery import site, write

    write.read_index(folder)
    with site.server(folder, port) as server:
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        say(f"{folder} is at {address} until you press Ctrl-C")
        webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("ended")
