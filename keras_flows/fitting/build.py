"""A flow for the columns of a table, set by its training rows."""

import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_flows import checks
from keras_flows.data.columns import Integer, Interval, Kind, Periodic, Positive
from keras_flows.data.schema import Rows, Schema
from keras_flows.fitting import defaults
from keras_flows.flow import Flow
from keras_flows.models import SplineFlow, registry
from keras_flows.training import adapt
from keras_flows.transforms import Asinh, Chain, Columns, Standardize, Transform, columns

# Beyond it float32 has no number between two integers.
LARGEST_INTEGER = 2**23
# A column has heavy tails if a training row is more than so many mean distances from the median: of
# a normal column that is 8 standard deviations, of an exponential one 13 mean values.
HEAVY = 10.0


def flow_for(rows: Rows, model: str, given: Mapping[str, Any], seed: int) -> Flow:
    """A flow in the units of a table, with fresh weights.

    Its steps are the exact maps of the columns that are not any real number, an `Asinh` of those
    with heavy tails, a `Standardize` whose location and scale are those of the rows, and the steps
    of the model. Periodic columns are on a
    circle in a `SplineFlow`, and cut open for other models. Numbers of the context are standardised
    by a layer of constants.

    Args:
        rows: The training rows.
        model: The name of a class on vectors in `keras_flows.models`.
        given: Arguments of the class, which go before the rules of `defaults.arguments`.
        seed: Of the first weights and of the draws of training.

    Returns:
        A `keras_flows.Flow` that has the schema of the rows.

    Raises:
        ValueError: If there is no such model, or it is none on vectors, or does not fit.
    """
    schema = rows.schema
    size = len(schema.event)
    kind = _model(model)
    keras.utils.set_random_seed(seed)
    common: dict[str, Any] = {"event_shape": (size,), "seed": seed}
    if schema.context:
        common |= {
            "context_shape": (schema.context_size,),
            "context_embedding": _standardized_context(rows),
        }
    arguments = {**common, **defaults.arguments(model, len(rows)), **given}
    periodic = [j for j, column in enumerate(schema.event) if column.kind.kind == "periodic"]
    on_circles = bool(periodic) and issubclass(kind, SplineFlow)
    if on_circles:
        arguments["circles"] = sorted({*periodic, *arguments.get("circles", ())})
    made = kind(**arguments)
    steps: list[Transform] = [*_column_maps(rows, on_circles), *_tails(rows)]
    if not any(isinstance(step, Standardize) for step in made.transform.innermost()):
        steps.append(Standardize())
    flow = made
    if steps:
        flow = Flow(
            Chain([*steps, made.transform]),
            (size,),
            context_shape=made.context_shape,
            context_embedding=made.context_embedding,
            base=made.base,
            seed=seed,
        )
    flow.schema = schema
    try:
        adapt(flow, rows.x, rows.context, seed)
    except ValueError as error:
        raise ValueError(_by_name(str(error), schema)) from None
    return flow


def _model(name: str) -> type[Flow]:
    """The class of a model on vectors.

    Raises:
        ValueError: If there is none of that name.
    """
    kind = checks.known(name, registry.MODELS, "model")
    if name == "DenseFlow":
        raise ValueError(
            "DenseFlow is for images, and a row of a table is none. Take SplineFlow, "
            "MaskedAutoregressiveFlow, RealNVP, IDenseNet or ResidualFlow."
        )
    return kind


def _column_maps(rows: Rows, on_circles: bool) -> list[Transform]:
    """The step that maps the columns to all real numbers, or to circles; none where they are."""
    maps = [
        _column_map(column.kind, values, on_circles)
        for column, values in zip(rows.schema.event, rows.x.T, strict=True)
    ]
    large = [
        column.name
        for column, values in zip(rows.schema.event, rows.x.T, strict=True)
        if column.kind.kind == "integer" and np.abs(values).max() >= LARGEST_INTEGER
    ]
    if large:
        raise ValueError(
            f"Integers of {LARGEST_INTEGER:,} and more leave float32, in which a flow computes, no "
            f"room for the noise between them: {', '.join(large)}. If they are identifiers, leave "
            "them out; else give them the kind 'real', or change the unit."
        )
    if all(isinstance(one, columns.RealColumn) for one in maps):
        return []
    return [Columns(maps)]


def _column_map(kind: Kind, values: np.ndarray, on_circles: bool) -> columns.ColumnMap:
    match kind:
        case Positive():
            return columns.PositiveColumn()
        case Interval(low, high):
            return columns.IntervalColumn(low, high)
        case Periodic(period) if on_circles:
            # Samples are where people have their numbers: from 0, or on both sides of it.
            return columns.CircleColumn(period, 0.0 if values.min() >= 0.0 else -0.5 * period)
        case Periodic(period):
            return columns.PeriodicColumn.between(values, period)
        case Integer():
            return columns.IntegerColumn()
        case _:
            return columns.RealColumn()


def _tails(rows: Rows) -> list[Transform]:
    """The step that shortens the tails of the columns that have heavy ones; none where none has.

    Location and scale are the median and half of the interquartile range, or, where half of the
    values are equal, the mean distance from the median.
    """
    low, location, high = np.quantile(rows.x, (0.25, 0.5, 0.75), axis=0)
    distances = np.abs(rows.x - location)
    mean = distances.mean(axis=0)
    scale = np.where(high > low, (high - low) / 2.0, mean)
    kinds = np.array([column.kind.kind for column in rows.schema.event])
    heavy = np.isin(kinds, ("real", "integer")) & (distances.max(axis=0) > HEAVY * mean)
    if not heavy.any():
        return []
    keep = np.flatnonzero(~heavy)
    location[keep], scale[keep] = 0.0, 1.0
    return [Asinh(location.tolist(), scale.tolist(), keep.tolist())]


def _by_name(message: str, schema: Schema) -> str:
    """A message on a feature, with the name of its column."""
    names = [column.name for column in schema.event]
    return re.sub(r"\bFeature (\d+)\b", lambda m: f"Column {names[int(m[1])]!r}", message)


def _standardized_context(rows: Rows) -> keras.layers.Layer | None:
    """A layer that standardises the numbers of the context and leaves one-hot labels; or None."""
    offsets: list[float] = []
    scales: list[float] = []
    for column in rows.schema.context:
        labels = len(column.levels)
        values = rows.context_columns[column.name]
        scale = 1.0 if labels else 1.0 / (float(np.std(values)) or 1.0)
        offsets += [0.0] * labels if labels else [-scale * float(np.mean(values))]
        scales += [scale] * (labels or 1)
    if all(len(column.levels) for column in rows.schema.context):
        return None
    # Not a Normalization, whose numbers an ONNX graph cannot hold.
    return keras.layers.Rescaling(scale=scales, offset=offsets)
