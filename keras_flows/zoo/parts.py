"""What a preset has beside its flow: the columns of a table, and a calibration."""

from keras_flows.data.columns import in_words
from keras_flows.data.schema import Schema
from keras_flows.detect.storage import FILE as CALIBRATION
from keras_flows.detect.storage import load_calibration, save_calibration
from keras_flows.errors import PresetError
from keras_flows.zoo.metadata import Calibrated, Column

SCHEMA = "schema.json"


def check_schema(flow):
    """Checks that the schema of a flow, if it has one, is of its shapes.

    Raises:
        ValueError: If it is not.
    """
    if flow.schema is None:
        return
    shapes = (len(flow.schema.event),), (flow.schema.context_size,)
    own = flow.event_shape, flow.context_shape or (0,)
    if shapes != own:
        raise ValueError(
            f"The schema has {shapes[0][0]} columns of the event, and a context of "
            f"{shapes[1][0]} numbers; the flow has the event shape {own[0]} and the context shape "
            f"{flow.context_shape}."
        )


def write(flow, folder):
    """Writes the schema and the calibration of a flow into a folder, where it has them."""
    if flow.schema is not None:
        (folder / SCHEMA).write_text(flow.schema.to_json() + "\n", encoding="utf-8")
    write_calibration(flow.calibration, folder)


def write_calibration(calibration, folder):
    """Writes a calibration into a folder, if there is one."""
    if calibration is not None:
        save_calibration(calibration, folder / CALIBRATION)


def read(flow, folder, metadata):
    """Gives a flow the schema and the calibration that are in its preset.

    Raises:
        PresetError: If one is damaged, or of another flow.
    """
    if SCHEMA in metadata.files:
        try:
            flow.schema = Schema.from_json((folder / SCHEMA).read_text(encoding="utf-8"))
            check_schema(flow)
        except ValueError as error:
            raise PresetError(f"{folder / SCHEMA} is damaged: {error}") from error
    if CALIBRATION in metadata.files:
        flow.calibration = load_calibration(folder / CALIBRATION)
        if flow.calibration.likelihood != flow.likelihood:
            raise PresetError(
                f"{folder / CALIBRATION} is of another flow: its log_probs are "
                f"{flow.calibration.likelihood!r}, those of the flow {flow.likelihood!r}."
            )


def columns(schema):
    """The columns of a schema for `metadata.json`, None without one."""
    if schema is None:
        return None
    return [
        Column(name=c.name, part="context" if c.context else "event", kind=in_words(c.kind))
        for c in schema.columns
    ]


def calibrated(calibration):
    """What a calibration is of for `metadata.json`, None without one."""
    if calibration is None:
        return None
    return Calibrated(
        scores=len(calibration),
        statistic=calibration.statistic,
        data=calibration.data,
        data_sha256=calibration.data_sha256,
    )
