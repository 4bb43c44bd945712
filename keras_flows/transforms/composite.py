"""What holds other steps."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from keras_flows.noise import Noise
from keras_flows.transforms.base import LIKELIHOODS, Steps, Transform


class Composite(Transform):
    """A transform made of others: its capabilities are theirs, and it goes through them one by one.

    A subclass has `steps`, the transforms in the order of encoding, and says by `encode_steps` and
    `decode_steps` how data pass through them; `encode` and `decode` are those, to their ends. A
    path leads to an innermost step through the places of the steps around it: `"2/0/ActNorm"`.
    """

    steps: Sequence[Transform] = ()

    @property
    def likelihood(self) -> str:
        """The weakest of the steps'."""
        return max((step.likelihood for step in self.steps), key=LIKELIHOODS.index, default="exact")

    @property
    def dequantizes(self) -> bool:
        """Whether a step does."""
        return any(step.dequantizes for step in self.steps)

    @property
    def bijective(self) -> bool:
        """Whether all steps are."""
        return all(step.bijective for step in self.steps)

    def noise_size(self, direction: str) -> int:
        return sum(step.noise_size(direction) for step in self.steps)

    def innermost(self) -> Iterator[Transform]:
        for step in self.steps:
            yield from step.innermost()

    def lipschitz_bounds(self) -> dict[str, float]:
        return {
            f"{i}/{path}": bound
            for i, step in enumerate(self.steps)
            for path, bound in step.lipschitz_bounds().items()
        }

    def encode_steps(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> Steps:
        raise NotImplementedError

    def decode_steps(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> Steps:
        raise NotImplementedError

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return finish(self.encode_steps(x, context, noise, training))

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        return finish(self.decode_steps(z, context, noise))


def inside(place: int | str, steps: Steps) -> Steps:
    """The steps of a part, their paths led through its place; gives what the part returns."""
    while True:
        try:
            path, *made = next(steps)
        except StopIteration as end:
            return end.value
        yield (f"{place}/{path}", *made)


def finish(steps: Steps, observe: Callable[..., object] | None = None) -> Any:
    """What `encode_steps` or `decode_steps` returns after the last step.

    Args:
        steps: The generator.
        observe: Called with what is yielded after every step; None for nothing.
    """
    while True:
        try:
            made = next(steps)
        except StopIteration as end:
            return end.value
        if observe is not None:
            observe(*made)


def step_at(transform: Transform, path: str) -> Transform:
    """The step that a path of `encode_steps` or `decode_steps` names."""
    for part in path.split("/"):
        if part.isdigit():
            transform = transform.steps[int(part)]
    return transform
