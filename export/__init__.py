"""Exports of flows, verified: SavedModel and ONNX."""
