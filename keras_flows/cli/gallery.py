"""The command that writes and opens a gallery: flows in the browser."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from keras_flows.cli.arguments import DataDir, Json
from keras_flows.cli.console import command, print_json, print_table, say, working


@command
def gallery(
    places: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ENTRY]... FOLDER",
            help="Presets, by default all of the zoo, and the folder to write; `gallery` if "
            "--serve names none",
        ),
    ] = None,
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Open it in the browser; a gallery that is there as it is"),
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
    if not serve or presets or not _is_gallery(folder):
        _write(presets, folder, data_dir, as_json)
    if serve:
        _serve(folder, port)


def _is_gallery(folder):
    from keras_flows.export.gallery import write

    return (folder / write.INDEX).is_file()


def _write(presets, folder, data_dir, as_json):
    from keras_flows import export as exports
    from keras_flows.zoo import handles

    if not presets:
        _check_is_folder(folder)
        presets = handles.bundled()
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
    from keras_flows.zoo import handles

    if str(folder) in handles.bundled():
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
