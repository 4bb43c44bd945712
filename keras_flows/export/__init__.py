"""Exports of flows, verified: SavedModel and ONNX."""

from keras_flows.export.onnx import to_onnx as to_onnx
from keras_flows.export.saved_model import to_saved_model as to_saved_model
from keras_flows.export.verify import verify as verify
