"""The rows of big inputs, in the form that a flow takes them, from any row on."""

import abc
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from keras_flows.data import examples, pictures, sources
from keras_flows.stream.fingerprint import Fingerprint, Watched, of_array, of_text, state_of
from keras_flows.stream.stored import Array, Stored
from keras_flows.stream.takes import Rows, Takes


class Input(abc.ABC):
    """Rows to score.

    Attributes:
        name: What to call them in messages.
        rows: How many there are; None where only reading them to the end tells.
    """

    name: str
    rows: int | None

    @property
    @abc.abstractmethod
    def fingerprint(self) -> Fingerprint:
        """Which data they are. It reads all of them, the first time."""

    @abc.abstractmethod
    def read(self, start: int, size: int) -> Iterator[Rows]:
        """The rows from one on, a number of them at a time, the last ones excepted.

        Args:
            start: The first row.
            size: Rows at a time.

        Raises:
            ValueError: If the data are damaged, or no such rows; the message says which.
        """

    @property
    def context_fingerprint(self) -> Fingerprint | None:
        """Which contexts they have; None where these are among the data, or there are none."""
        return None

    @property
    def state(self) -> list[tuple[str, int, int]]:
        """Names, sizes and times of the files: what is quick to compare."""
        return []

    def check_unchanged(self) -> None:  # noqa: B027 (what is in memory stays as it is)
        """Checks that the data are what they were.

        Raises:
            ValueError: If they are not.
        """


class InFiles(Input):
    """Rows that are in files.

    Args:
        stored: What has the attributes `name` and `files`.
        base: See `fingerprint.Watched`.
    """

    def __init__(self, stored, base: Path | None = None):
        self.name = stored.name
        self._files, self._base = list(stored.files), base
        self._watched: Watched | None = None
        self._stored = stored

    @property
    def fingerprint(self) -> Fingerprint:
        if not self._files:  # standard input
            with self._stored.layout.again() as file:
                return of_text(self.name, file.read().encode())
        if self._watched is None:
            self._watched = Watched(Path(self.name).name, self._files, self._base)
        return self._watched.fingerprint

    @property
    def state(self) -> list[tuple[str, int, int]]:
        return state_of(self._files)

    def check_unchanged(self) -> None:
        if self._watched is not None:
            self._watched.check()


class Named(InFiles):
    """The rows of a table for a flow that knows its columns by name.

    Args:
        stored: The table.
        takes: What the flow takes, with a schema.
        columns: Those to take of the table; all by default.
        base: See `fingerprint.Watched`.

    Raises:
        ValueError: If the columns are not those of the flow.
    """

    def __init__(
        self,
        stored: Stored,
        takes: Takes,
        columns: Sequence[str] | None = None,
        base: Path | None = None,
    ):
        super().__init__(stored, base)
        self.rows = stored.rows
        assert takes.schema is not None  # that of a flow that knows its columns
        self._schema = takes.schema
        if columns is not None:
            sources.check_known("--columns", self.name, stored.names, columns)
        self._columns = columns

    def read(self, start: int, size: int) -> Iterator[Rows]:
        first = start
        for frame in self._stored.frames(start, size, self._columns):
            name = self.name
            if first > 0 or len(frame) == size:
                name += f", rows {first:,} to {first + len(frame) - 1:,}"
            try:
                arranged = self._schema.arrange(frame)
            except ValueError as error:
                # They are called by the name of the file, not of the frame that was read from it.
                message = str(error).replace("The frame", name, 1)
                if "unknown columns" in message:
                    message += " --columns chooses among those of a file."
                raise ValueError(message) from None
            reasons = {first + row: reason for row, reason in arranged.reasons.items()}
            yield Rows(first, arranged.x, arranged.context, arranged.inside, reasons)
            first += len(frame)


class Examples(InFiles):
    """The rows of a table or an array for a flow that knows a shape only.

    Args:
        stored: The table, or the array in a file.
        shape: That of one example.
        columns: Those to take of a table; all by default.
        base: See `fingerprint.Watched`.

    Raises:
        ValueError: If the table has other columns, or the array another shape.
    """

    def __init__(
        self,
        stored: Stored | Array,
        shape: tuple[int, ...],
        columns: Sequence[str] | None = None,
        base: Path | None = None,
    ):
        super().__init__(stored, base)
        self._shape, self._columns = tuple(shape), columns
        if isinstance(stored, Array):
            if columns is not None:
                raise ValueError(
                    f"{self.name}: columns can be chosen in text and .parquet files only."
                )
            examples.check_array(self.name, np.empty(stored.shape, stored.dtype), shape)
            self.rows = stored.shape[0]
        else:
            self._columns = examples.check_columns(self.name, stored.names, shape, columns)
            self.rows = stored.rows

    def read(self, start: int, size: int) -> Iterator[Rows]:
        for first, values in self.values(start, size):
            yield Rows(first, values, None, np.ones(len(values), bool), {})

    def values(self, start: int, size: int) -> Iterator[tuple[int, np.ndarray]]:
        """The examples, float32, with the row that the first of them is."""
        first = start
        for values in self._stored_values(start, size):
            yield first, examples.finite_float32(self.name, values, first)
            first += len(values)

    def _stored_values(self, start, size):
        if isinstance(self._stored, Array):
            for first in range(start, self.rows, size):
                yield self._stored[first : first + size]
            return
        for frame in self._stored.frames(start, size, self._columns):
            yield examples.numbers(self.name, frame, self._shape)


class Pictures(InFiles):
    """Images in files, brought to the size and the number of bits of a flow.

    Args:
        stored: What has the attributes `name` and `files`.
        images: From the first image to an iterator over what to call them and their contents.
        rows: How many there are, or None.
        takes: What the flow takes.
        base: See `fingerprint.Watched`.
    """

    def __init__(self, stored, images, rows, takes: Takes, base: Path | None = None):
        super().__init__(stored, base)
        if not takes.on_images:
            raise ValueError(f"{self.name} holds images, and this flow is not one on images.")
        self.rows, self._images, self._takes = rows, images, takes

    def read(self, start: int, size: int) -> Iterator[Rows]:
        height, width, channels = self._takes.event_shape
        bits = self._takes.bits or 8
        images, first = self._images(start), start
        while part := list(itertools.islice(images, size)):
            x = np.empty((len(part), height, width, channels), np.float32)
            for place, (name, content) in enumerate(part):
                pixels = pictures.decoded(name, content)
                if pixels.shape[-1] != channels:
                    raise ValueError(
                        f"{name} has {pixels.shape[-1]} channels; the flow takes {channels}."
                    )
                x[place] = pictures.resized(pixels[None], (height, width))[0] >> (8 - bits)
            yield Rows(first, x, None, np.ones(len(x), bool), {})
            first += len(x)


class InMemory(Input):
    """Rows in memory.

    Args:
        name: What to call them.
        x: The examples, `(n, *event_shape)`.
        context: Their contexts, or None.
    """

    def __init__(self, name: str, x: np.ndarray, context: np.ndarray | None = None):
        self.name, self.rows, self._x, self._context = name, len(x), x, context

    @property
    def fingerprint(self) -> Fingerprint:
        return of_array(self.name, self._x)

    @property
    def context_fingerprint(self) -> Fingerprint | None:
        return None if self._context is None else of_array(self.name, self._context)

    def read(self, start: int, size: int) -> Iterator[Rows]:
        for first in range(start, len(self._x), size):
            x = np.asarray(self._x[first : first + size])
            context = None if self._context is None else self._context[first : first + size]
            yield Rows(first, x, context, np.ones(len(x), bool), {})


class WithContext(Input):
    """Rows and their contexts, from a file of their own.

    Args:
        data: The rows.
        contexts: The contexts, as many.

    Raises:
        ValueError: If they are known not to be as many.
    """

    def __init__(self, data: Input, contexts: Examples):
        self.name, self._data, self._contexts = data.name, data, contexts
        self.rows = data.rows if contexts.rows is None else contexts.rows
        if None not in (data.rows, contexts.rows) and data.rows != contexts.rows:
            raise self._differ(data.rows, contexts.rows)

    def _differ(self, rows, contexts):
        return ValueError(
            f"{self.name} has {rows} examples, but {self._contexts.name} has {contexts}."
        )

    @property
    def fingerprint(self) -> Fingerprint:
        return self._data.fingerprint

    @property
    def context_fingerprint(self) -> Fingerprint | None:
        return self._contexts.fingerprint

    def check_unchanged(self) -> None:
        self._data.check_unchanged()
        self._contexts.check_unchanged()

    def read(self, start: int, size: int) -> Iterator[Rows]:
        data, contexts = self._data.read(start, size), self._contexts.values(start, size)
        seen = given = start
        while True:
            rows, (_, context) = next(data, None), next(contexts, (0, None))
            if rows is None and context is None:
                return
            seen += 0 if rows is None else len(rows)
            given += 0 if context is None else len(context)
            if rows is None or context is None or len(rows) != len(context):
                # The rest of them is read for the message only.
                seen += sum(len(more) for more in data)
                given += sum(len(more) for _, more in contexts)
                raise self._differ(seen, given)
            yield dataclasses.replace(rows, context=context)
