"""Commands that make decisions: calibrate, detect."""

from pathlib import Path
from typing import Annotated

import typer

from keras_flows.cli import streaming
from keras_flows.cli.arguments import Columns, Context, DataDir, Handle, Header, Json
from keras_flows.cli.arguments import examples as _examples
from keras_flows.cli.console import command, print_json, print_table, say, working
from keras_flows.cli.streaming import (
    Output,
    PartRows,
    Resume,
    Rows,
    Runtime,
    RuntimeName,
    Split,
)

_Examples = Annotated[
    str,
    typer.Argument(
        help="A table; for a flow on images also a data set (digits, mnist, …) or a folder, as in "
        "`evaluate`; - for text on standard input"
    ),
]


@command
def calibrate(
    handle: Handle,
    held_out: _Examples,
    context: Context = None,
    columns: Columns = None,
    header: Header = None,
    split: Split = None,
    data_dir: DataDir = None,
    statistic: Annotated[
        str, typer.Option(help="What the scores are: log_prob, typicality, latent_norm, complexity")
    ] = "log_prob",
    draws: Annotated[int, typer.Option(help="Draws of a random log_prob to average", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Of those draws", min=0)] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Preset folder to write; FLOW itself by default"),
    ] = None,
    as_json: Json = False,
):
    """Add a calibration to a preset, from held-out data: p-values for `detect` and exports.

    The data must be no part of what the flow was trained on, and like what it will judge.
    """
    from keras_flows import detect, zoo
    from keras_flows.files import sha256
    from keras_flows.zoo import handles, preset

    folder = handles.resolve(handle)
    if output is None and folder != Path(handle):
        raise ValueError(f"{handle} is no folder of yours: name one to write by --output FOLDER.")
    target = folder if output is None else output
    preset.check_target(target)
    flow = zoo.load(handle)
    x, contexts, name = _examples(flow, held_out, context, columns, header, split, data_dir)
    of_file = sha256(held_out) if Path(held_out).is_file() else None
    with working(f"compiling, then scoring {len(x):,} held-out examples"):
        calibration = detect.calibrate(
            flow, x, name, statistic, contexts, seed, draws, data_sha256=of_file
        )
    preset.add_calibration(folder, calibration, target)
    if as_json:
        described = zoo.show(target).calibration
        assert described is not None  # it was added above
        print_json({"folder": str(target), **described.model_dump()})
        return
    rows = [
        ("held-out scores", f"{len(calibration):,} ({name})"),
        ("statistic", calibration.statistic),
        ("p-values", f"down to {calibration.smallest_p_value:.3g} (1/{len(calibration) + 1:,})"),
    ]
    print_table(f"calibrated: {target}", ("", ""), rows)


@command
def detect(
    handle: Handle,
    new: Rows,
    context: Context = None,
    columns: Columns = None,
    header: Header = None,
    split: Split = None,
    data_dir: DataDir = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            help="The rate at which examples like the held-out ones are flagged: 0.01, or that of "
            "the export"
        ),
    ] = None,
    fdr: Annotated[
        float | None,
        typer.Option(help="Also the discoveries at this false-discovery rate, all data together"),
    ] = None,
    runtime: Runtime = RuntimeName.keras,
    output: Output = None,
    resume: Resume = False,
    part_rows: PartRows = None,
    as_json: Json = False,
):
    """Score, p-value and flag of every example; CSV on standard output unless -o names a file.

    The flow must be calibrated, as `fit` and `calibrate` leave it. Rows are scored as they are
    read. Into a folder they go in parts, and --resume goes on after a kill.
    """
    from keras_flows.data import tables

    streaming.check_output(runtime, output, 1, resume, part_rows)
    if as_json and output is None:
        raise ValueError("--json prints a summary: name a file for the decisions by --output.")
    if alpha is None and runtime is RuntimeName.keras:
        alpha = 0.01
    scorer = streaming.scorer_of(runtime, handle, "detect", alpha=alpha, fdr=fdr)
    alpha = scorer.options["alpha"]
    rows = streaming.open_rows(scorer, new, context, columns, header, split, data_dir)
    said = {"columns": columns, "header": header}
    made = streaming.score_rows(scorer, rows, output, resume, part_rows, "score infinite", said)
    discoveries = made.discoveries
    if made.arrays is not None:
        written = dict(made.arrays)
        if fdr is not None:
            written["discovery"] = _discovered(written["p_value"], fdr)
            discoveries = int(written["discovery"].sum())
        tables.write(output, written)
    counts: dict[str, float | None] = {
        "rows": made.rows,
        "flagged": made.flagged,
        "alpha": alpha,
        "out_of_range": made.out_of_range,
    }
    if fdr is not None:
        counts |= {"discoveries": discoveries, "fdr": fdr}
    if as_json:
        print_json({"output": str(output), **counts})
        return
    flagged = f"{made.flagged:,} of {made.rows:,} rows flagged at alpha = {alpha:g}"
    expected = f"{alpha * made.rows:.1f} expected of rows like the held-out ones"
    say(f"{flagged} ({expected})")
    if fdr is not None:
        say(f"{discoveries:,} discoveries at a false-discovery rate of {fdr:g}")


def _discovered(p_values, fdr):
    """Which rows are discoveries; see `keras_flows.detect.benjamini_hochberg`."""
    import numpy as np

    from keras_flows.stream import parts

    counted = dict(zip(*np.unique(p_values, return_counts=True), strict=True))
    found = parts.discoveries(counted, fdr)
    return p_values <= found["p_value"]
