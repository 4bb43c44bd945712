"""Exports of flows, verified: SavedModel, ONNX, and a gallery of them.

Without TensorFlow only what reads an exported folder is here: `keras_flows.export.manifest`.
"""

import keras_flows

if not keras_flows._without_tensorflow():
    from keras_flows.export.gallery import to_gallery as to_gallery
    from keras_flows.export.onnx import to_onnx as to_onnx
    from keras_flows.export.saved_model import to_saved_model as to_saved_model
    from keras_flows.export.verify import verify as verify
