"""Commands that make decisions: calibrate, detect."""

from pathlib import Path
from typing import Annotated

import typer

from keras_flows.cli.arguments import Columns, Context, DataDir, Handle, Header, Json, Output
from keras_flows.cli.arguments import arranged as _arranged
from keras_flows.cli.arguments import examples as _examples
from keras_flows.cli.console import command, print_json, print_table, say, say_out_of_range, working

_Examples = Annotated[
    str,
    typer.Argument(
        help="A table; for a flow on images also a data set (digits, mnist, …) or a folder, as in "
        "`evaluate`; - for text on standard input"
    ),
]
_Split = Annotated[str | None, typer.Option(help="Of a data set (test by default), or a subfolder")]


@command
def calibrate(
    handle: Handle,
    held_out: _Examples,
    context: Context = None,
    columns: Columns = None,
    header: Header = None,
    split: _Split = None,
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
    new: _Examples,
    context: Context = None,
    columns: Columns = None,
    header: Header = None,
    split: _Split = None,
    data_dir: DataDir = None,
    alpha: Annotated[
        float, typer.Option(help="The rate at which examples like the held-out ones are flagged")
    ] = 0.01,
    fdr: Annotated[
        float | None,
        typer.Option(help="Also the discoveries at this false-discovery rate, all data together"),
    ] = None,
    output: Output = None,
    as_json: Json = False,
):
    """Score, p-value and flag of every example; CSV on standard output unless -o names a file.

    The flow must be calibrated, as `fit` and `calibrate` leave it.
    """
    from keras_flows import detect as detection
    from keras_flows import zoo
    from keras_flows.data import tables
    from keras_flows.detect.decision import calibration_of

    tables.check_output(output, axes=1)
    if as_json and output is None:
        raise ValueError("--json prints a summary: name a file for the decisions by --output.")
    flow = zoo.load(handle)
    calibration = calibration_of(flow)
    for level, name in ((alpha, "alpha"), (fdr, "fdr")):
        if level is not None:
            calibration.check_level(level, name)
    contexts = None
    if flow.schema is None:
        rows, contexts, _ = _examples(flow, new, context, columns, header, split, data_dir)
    else:
        rows = _arranged(flow, new, context, columns, header)
    with working(f"compiling, then scoring {len(rows):,} examples"):
        made = detection.decide(flow, rows, alpha, fdr, contexts)
    columns_of_file = {"score": made.score, "p_value": made.p_value, "flag": made.flag}
    if made.discovery is not None:
        columns_of_file["discovery"] = made.discovery
    tables.write(output, columns_of_file)
    say_out_of_range(made.reasons, "score infinite")
    counts: dict[str, float | None] = {
        "rows": len(rows),
        "flagged": int(made.flag.sum()),
        "alpha": alpha,
    }
    counts["out_of_range"] = len(made.reasons)
    if made.discovery is not None:
        counts |= {"discoveries": int(made.discovery.sum()), "fdr": fdr}
    if as_json:
        print_json({"output": str(output), **counts})
        return
    flagged = f"{counts['flagged']:,} of {len(rows):,} rows flagged at alpha = {alpha:g}"
    expected = f"{alpha * len(rows):.1f} expected of rows like the held-out ones"
    say(f"{flagged} ({expected})")
    if made.discovery is not None:
        say(f"{counts['discoveries']:,} discoveries at a false-discovery rate of {fdr:g}")
