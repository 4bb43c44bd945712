"""Commands that move flows out and in: export, verify, upload, import-checkpoint."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from keras_flows.cli.arguments import Handle, Json
from keras_flows.cli.console import command, print_json, print_table, working


class Format(StrEnum):
    """What to export to."""

    saved_model = "saved-model"
    onnx = "onnx"


class DType(StrEnum):
    """What a flow computes in."""

    float32 = "float32"
    float64 = "float64"


@command
def export(
    handle: Handle,
    folder: Annotated[Path, typer.Argument(help="New folder to write")],
    format: Annotated[Format, typer.Option("--format", "-f", help="What to write")] = Format.onnx,
    opset: Annotated[int, typer.Option(help="ONNX operator set")] = 17,
    seed: Annotated[int, typer.Option(help="Of the noise in log_prob_fixed", min=0)] = 0,
    alpha: Annotated[
        float | None,
        typer.Option(help="Rate at which `score` flags, of a calibrated flow; by default 0.01"),
    ] = None,
    as_json: Json = False,
):
    """Export to ONNX or a SavedModel, and check the files against the flow."""
    from keras_flows import export as exports
    from keras_flows import zoo
    from keras_flows.export import manifest, write

    write.check_new(folder)
    flow = zoo.load(handle)
    with working(f"exporting to {format.value}, and checking"):
        if format is Format.onnx:
            exports.to_onnx(flow, folder, opset=opset, seed=seed, alpha=alpha)
        else:
            exports.to_saved_model(flow, folder, seed=seed, alpha=alpha)
    report = exports.verify(folder)
    costs = {name: graph.cost for name, graph in manifest.read(folder).graphs.items()}
    if as_json:
        costs = {name: cost.model_dump() for name, cost in costs.items()}
        print_json({**_report_json(folder, report), "graphs": costs})
        return
    _print_checks(folder, report)
    size = "file" if format is Format.onnx else "all files"
    print_table(
        None,
        ("graph", size, "nodes", "loads in", "runs on one example in"),
        (
            (
                name,
                f"{cost.bytes / 1000:,.0f} kB",
                f"{cost.nodes:,}",
                f"{cost.load_ms:,.1f} ms",
                f"{cost.latency_ms:,.2f} ms",
            )
            for name, cost in costs.items()
        ),
    )


@command
def verify(
    folder: Annotated[Path, typer.Argument(help="Folder of an export, or of scores")],
    as_json: Json = False,
):
    """Check an exported folder: checksums, loading, recorded outputs, round trip.

    Of a folder of scores: that every row is in one part, and no part was changed.
    """
    from keras_flows.stream import manifest as manifests

    if (folder / manifests.FILE).exists():
        _verify_scores(folder, as_json)
        return
    from keras_flows import export as exports

    report = exports.verify(folder)
    if as_json:
        print_json(_report_json(folder, report))
        return
    _print_checks(folder, report)


def _verify_scores(folder, as_json):
    """Checks a folder of scores, and prints what it holds."""
    from keras_flows import stream

    manifest = stream.verify(folder)
    if as_json:
        print_json({"folder": str(folder), **manifest.model_dump()})
        return
    rows = [
        ("task", f"{manifest.task}, by {manifest.scored_by.name} ({manifest.scored_by.runtime})"),
        ("input", manifest.input.name),
        ("rows", f"{manifest.rows:,} in {len(manifest.parts):,} parts"),
        ("likelihood", manifest.likelihood),
    ]
    print_table(f"{folder}: complete, and as it was written", ("", ""), rows)


def _report_json(folder, report):
    return {"folder": str(folder), "checks": [row._asdict() for row in report.rows]}


def _print_checks(folder, report):
    print_table(
        f"{folder}: all checks passed",
        ("check", "measured", "tolerance"),
        ((row.check, row.measured, row.tolerance) for row in report.rows),
    )


@command
def upload(
    handle: Handle,
    address: Annotated[
        str,
        typer.Argument(
            help="hf://user/repository[/folder] or kaggle://owner/model/framework/variation"
        ),
    ],
    as_json: Json = False,
):
    """Verify a preset and upload it to Hugging Face or Kaggle."""
    from keras_flows import zoo

    with working(f"verifying {handle}, and uploading it"):
        metadata = zoo.upload(handle, address)
    files = sorted([*metadata.files, "metadata.json"])
    if as_json:
        print_json({"address": address, "files": files})
        return
    print_table(f"uploaded to {address}", ("file",), ((name,) for name in files))


@command
def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="Published checkpoint: .npz, .pt or .pth")],
    folder: Annotated[Path, typer.Argument(help="Preset folder to write")],
    config: Annotated[Path, typer.Option(help="JSON file with its configuration")],
    dtype: Annotated[DType, typer.Option(help="Of the flow")] = DType.float32,
    ema: Annotated[
        bool,
        typer.Option("--ema/--no-ema", help="Whether to take moving averages of the weights"),
    ] = True,
    converge: Annotated[
        bool,
        typer.Option("--converge", help="Bring the spectral norms to convergence"),
    ] = False,
    as_json: Json = False,
):
    """Turn a published checkpoint into a preset folder."""
    from keras_flows.zoo.card import flat
    from keras_flows.zoo.import_preset import import_to_preset

    with working(f"importing {file}, and measuring what is written"):
        metadata = import_to_preset(file, folder, config, dtype.value, ema, converge)
    if as_json:
        print_json(metadata.model_dump())
        return
    rows = [
        ("model", metadata.model),
        ("parameters", f"{metadata.parameters:,}"),
        ("likelihood", metadata.likelihood),
    ]
    if metadata.lipschitz:
        rows.append(("largest Lipschitz bound", f"{metadata.largest_bound:.6f}"))
    print_table(f"saved to {folder}", ("", ""), [*rows, *flat(metadata.training)])
