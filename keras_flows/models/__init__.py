"""Models: configuration in, chain of transforms out. Their classes are those of the registry."""

from typing import Any

from keras_flows.models.registry import CONFIGURATIONS as CONFIGURATIONS
from keras_flows.models.registry import MODELS as _MODELS
from keras_flows.models.registry import from_name as from_name


def __getattr__(name: str) -> Any:
    if name in _MODELS:
        return _MODELS[name]
    raise AttributeError(f"module 'keras_flows.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODELS])
