"""Objects with a configuration that are no Keras layers."""

from typing import Self


class Configured:
    """An object without weights that Keras can serialise: registered, with a configuration."""

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        """The object with this configuration."""
        return cls(**config)
