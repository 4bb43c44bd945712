"""The command that makes a flow of a table: fit."""

import contextlib
import re
from pathlib import Path
from typing import Annotated

import typer

from keras_flows.cli.arguments import Json, names
from keras_flows.cli.console import command, err, out, print_json, print_table, say


@command
def fit(
    data: Annotated[Path, typer.Argument(help="Table: .csv, .tsv, .parquet, .npy or .npz")],
    folder: Annotated[Path, typer.Argument(help="Preset folder to write")],
    model: Annotated[
        str, typer.Option(help="Class of the model, as in docs/tables.md")
    ] = "SplineFlow",
    columns: Annotated[
        str | None, typer.Option(help="Columns to take, those of the context too: a,b,c")
    ] = None,
    context: Annotated[
        str | None, typer.Option(help="Columns to condition on, categories too: sex,site")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="Kind of a column, where it is not to be inferred; may be repeated: age=real, "
            "dose=positive, visits=integer, sex=category, share=interval:0:1, angle=periodic:360"
        ),
    ] = None,
    validation: Annotated[
        Path | None, typer.Option(help="Rows to choose the weights by, instead of held-out ones")
    ] = None,
    holdout: Annotated[
        float | None,
        typer.Option(help="Share to hold out, half to choose the weights by; by default 0.2 or so"),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps at most", min=1)] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop training after so many")] = None,
    drop_missing: Annotated[
        bool, typer.Option("--drop-missing", help="Leave out rows with missing values")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of everything random", min=0)] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the saved state, where there is one")
    ] = False,
    as_json: Json = False,
):
    """Fit a flow to a table: split, train, test, calibrate, and save it as a preset.

    Says what it takes each column for; --kind, --columns and --context say otherwise.
    """
    from keras_flows.data import table
    from keras_flows.zoo import preset

    preset.check_target(folder)
    with _as_options():
        of_table = table(data, names(columns), _kinds(kind), names(context), drop_missing)
    if not as_json:
        say_columns(of_table)
    say("loading TensorFlow, and building the flow")
    from keras_flows import fitting

    with _as_options():
        fitted = fitting.fit(
            of_table,
            folder,
            model=model,
            validation=validation,
            holdout=holdout,
            steps=steps,
            minutes=minutes,
            seed=seed,
            resume=resume,
            console=err,
        )
    if as_json:
        # The columns themselves in the place of their number.
        described = {"folder": str(folder), "columns": of_table.describe()}
        print_json({**fitted.report.to_json(), **described})
        return
    print_table(f"saved to {folder}", ("", ""), fitted.report.rows())
    for warning in fitted.report.warnings:
        out.print(f"note: {warning}", soft_wrap=True, highlight=False, markup=False)


def say_columns(of_table):
    """Prints what every column of a table is taken for."""
    described = of_table.describe()
    print_table(
        f"{of_table.name}: {len(of_table):,} rows, {len(described)} columns",
        ("column", "part", "kind", "why"),
        ((row["column"], row["part"], row["kind"], row["why"]) for row in described),
    )
    alike: dict[str, list[str]] = {}
    for row in described:
        alike.setdefault(row["warning"], []).append(row["column"])
    for warning, columns in alike.items():
        if warning:
            say(f"look at {', '.join(columns)}: {warning}")
    if of_table.dropped:
        say(f"{of_table.dropped:,} rows with missing values are left out")


# How messages name the arguments of kf.data.table, and what they are called here.
_OPTIONS = (
    (r"kinds=\{'(.+?)': '(\w+)'\}", r"--kind '\1=\2'"),
    (r"columns=\[…\]", "--columns"),
    (r"drop_missing=True", "--drop-missing"),
    (r"\bdrop_missing\b", "--drop-missing"),
    (r"\(resume=True, --resume\)", "(--resume)"),
)


@contextlib.contextmanager
def _as_options():
    """Errors name options of the command, not arguments of Python."""
    try:
        yield
    except (ValueError, TypeError) as error:
        message = str(error)
        for argument, option in _OPTIONS:
            message = re.sub(argument, option, message)
        raise type(error)(message) from error


def _kinds(given):
    """Kinds by the names of columns, from `name=kind` and `name=kind:number:number`."""
    kinds = {}
    for text in given or ():
        column, found, kind = text.rpartition("=")
        if not found or not column.strip():
            raise ValueError(f"--kind is COLUMN=KIND, such as dose=positive; got {text!r}.")
        name, *numbers = kind.strip().split(":")
        try:
            values = [float(number) for number in numbers]
        except ValueError:
            raise ValueError(
                f"--kind {text}: what follows a colon must be a number, such as "
                "share=interval:0:1 or angle=periodic:360."
            ) from None
        if column.strip() in kinds:
            raise ValueError(f"--kind names {column.strip()!r} twice.")
        kinds[column.strip()] = (name, *values) if values else name
    return kinds or None
