"""Data to train and judge flows on."""

from keras_flows.data.images import Images, images
from keras_flows.data.schema import Arranged, Rows, Schema
from keras_flows.data.table import Split, Table, table
from keras_flows.data.toy import ToyDensity, names, toy

__all__ = [
    "Arranged",
    "Images",
    "Rows",
    "Schema",
    "Split",
    "Table",
    "ToyDensity",
    "images",
    "names",
    "table",
    "toy",
]
