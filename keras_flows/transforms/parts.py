"""The objects that a step is made of, in its configuration."""

from typing import Any

import keras


def serialized(**parts: Any) -> dict[str, Any]:
    """The configurations of parts, by their names."""
    return {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}


def deserialized(config: dict, *names: str) -> dict[str, Any]:
    """The configuration of a step, with the parts of these names as objects again."""
    parts = {name: keras.saving.deserialize_keras_object(config[name]) for name in names}
    return {**config, **parts}
