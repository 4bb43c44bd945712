"""What the commands share: how they are registered, fail, print, and show that they work."""

import contextlib
import functools
import json
import sys
import threading
import time
from typing import Annotated

import rich.console
import rich.markup
import rich.progress
import rich.table
import rich.text
import typer

app = typer.Typer(
    help="Pretrained normalizing flows: load, score, sample, fine-tune, export.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = rich.console.Console()
err = rich.console.Console(stderr=True)

# Seconds between the lines on work that takes minutes, where there is no terminal.
EVERY = 30.0


def _version(wanted):
    if wanted:
        from keras_flows import __version__

        typer.echo(f"keras-flows {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version", callback=_version, is_eager=True),
    ] = False,
):
    """Pretrained normalizing flows: load, score, sample, fine-tune, export."""


def command(function):
    """Registers a command; its errors become one line and exit code 1."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        try:
            result = function(*args, **kwargs)
            sys.stdout.flush()  # here, where a reader that left is no news
            return result
        except BrokenPipeError:
            raise  # Typer ends quietly
        except (ValueError, TypeError, ArithmeticError, OSError, ImportError) as error:
            # Not wrapped: some messages hold a command to copy.
            message = f"[bold red]error:[/] {rich.markup.escape(_in_words(error))}"
            err.print(message, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from error

    return app.command(name=function.__name__.rstrip("_").replace("_", "-"))(wrapped)


def _in_words(error):
    """The message of an error, without the number that the system has for it."""
    if isinstance(error, ModuleNotFoundError) and error.name in ("keras", "tensorflow"):
        return (
            "This needs TensorFlow and Keras, which are not installed here: pip install "
            "keras-flows. Without them, `score`, `detect` and `encode` take an exported folder "
            "with --runtime onnx."
        )
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return f"{error.strerror}{'' if error.filename is None else f': {error.filename}'}"


def print_json(value):
    """Prints JSON."""
    typer.echo(json.dumps(value, indent=2))


def print_table(title, columns, rows):
    """Prints a table, its header only where a column has a name."""
    if title is not None:
        out.print(title, soft_wrap=True, highlight=False)
    table = rich.table.Table(show_header=any(columns))
    for i, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=i == 0)
    for row in rows:
        table.add_row(*map(str, row))
    out.print(table)


def say(text):
    """A line on standard error."""
    err.print(text, highlight=False, markup=False, soft_wrap=True)


def say_out_of_range(reasons, count, means):
    """Lines on rows that are outside of the range of a column, and what that means.

    Args:
        reasons: Of the first of them what is wrong, by row.
        count: How many there are.
        means: What that means for their results.
    """
    shown = list(reasons.items())[:5]
    for row, reason in shown:
        say(f"row {row} (counted from 0) is out of range, its {means}: {reason}")
    if count > len(shown):
        say(f"and {count - len(shown):,} more rows are out of range")


@contextlib.contextmanager
def working(title, total=None, unit=None):
    """Shows that a command works: a bar on a terminal, elsewhere a line now and then.

    Args:
        title: What is done.
        total: How many steps it has, where that is known.
        unit: What the steps are, where their rate says something.

    Yields:
        An object with `advance(n=1)`, `skip(n)` for steps that were done before, and
        `describe(title)`.
    """
    with (_Bar if err.is_terminal else _Lines)(title, total, unit) as progress:
        yield progress


class _Rate(rich.progress.ProgressColumn):
    """How many steps are done in a second."""

    def __init__(self, unit):
        super().__init__()
        self._unit = unit

    def render(self, task):
        speed = task.finished_speed or task.speed
        return rich.text.Text("" if speed is None else f"{speed:,.0f} {self._unit}/s")


class _Bar:
    """A progress bar on a terminal."""

    def __init__(self, title, total, unit):
        columns = rich.progress.Progress.get_default_columns()
        if total is not None or unit is not None:
            columns = (*columns, rich.progress.MofNCompleteColumn())
        if unit is not None:
            columns = (*columns, _Rate(unit))
        self._progress = rich.progress.Progress(*columns, console=err, transient=True)
        self._task = self._progress.add_task(title, total=total)

    def __enter__(self):
        self._progress.start()
        return self

    def __exit__(self, *_):
        self._progress.stop()

    def advance(self, n=1):
        self._progress.advance(self._task, n)

    def skip(self, n):
        self._progress.reset(self._task, completed=n)

    def describe(self, title):
        self._progress.update(self._task, description=title)


class _Lines:
    """A line when the work starts, and every `EVERY` seconds while it goes on."""

    def __init__(self, title, total, unit):
        self._title, self._total, self._unit = title, total, unit
        self._done = self._skipped = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._began = time.monotonic()
        say(self._title)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def advance(self, n=1):
        self._done += n

    def skip(self, n):
        self._skipped = n

    def describe(self, title):
        self._title = title

    def _run(self):
        while not self._ended.wait(EVERY):
            say(self.line(time.monotonic() - self._began))

    def line(self, seconds):
        """What is said after so many seconds."""
        done = self._skipped + self._done
        parts = [f"{done:,} of {self._total:,}" if self._total is not None else f"{done:,}"]
        if self._unit is not None:
            parts[0] += f" {self._unit}"
            rate = self._done / seconds
            if rate > 0:
                parts.append(f"{rate:,.0f} {self._unit}/s")
            if rate > 0 and self._total is not None:
                parts.append(f"{(self._total - done) / rate:,.0f} s left")
        elif self._total is None:
            return f"{self._title}, after {seconds:.0f} s"
        return f"{self._title}: {', '.join(parts)}, after {seconds:.0f} s"
