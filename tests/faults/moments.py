"""The moments of a job at which a process could be killed, or the disk could fail.

Python tells a hook of every file that is opened and every name that is changed, and another one of
every call of something written in C, such as the writing and closing of files. Before each of
these, what is on the disk is what a kill at that moment would leave, so a copy of it is taken; or
an error is raised there, as a full disk would.
"""

import contextlib
import os
import shutil
import sys
from pathlib import Path

_EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.truncate")
_WRITING = ("write", "writelines", "writerow", "writerows", "close", "flush", "tofile", "fsync")
_hook = None


def _call(event, arguments):
    if _hook is not None and event in _EVENTS:
        _hook(event, arguments)


sys.addaudithook(_call)  # for good: there is no way to remove one


@contextlib.contextmanager
def _before_every(root, function):
    """Calls a function before every change below a folder."""
    global _hook
    busy = []

    def hook(event, arguments):
        path = arguments[0]
        if busy or not isinstance(path, (str, bytes, os.PathLike)):
            return
        # A folder is opened, and looked into, by rmtree: relative to it are the names it removes.
        name = os.path.abspath(os.fsdecode(path))
        relative = not os.path.isabs(os.fsdecode(path))
        if not name.startswith(str(root)) and not (relative and event in ("os.remove", "os.rmdir")):
            return
        if event == "open" and not _writes(arguments[2]):
            return
        busy.append(True)
        try:
            function(f"{event} {name}")
        finally:
            busy.clear()

    _hook = hook
    try:
        yield
    finally:
        _hook = None


def _writes(flags):
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))


def snapshots(root, job, copies):
    """Runs a job; what a kill would leave at every one of its moments.

    Args:
        root: The folder that it writes into.
        job: A function without arguments.
        copies: An empty folder for the copies.

    Returns:
        A list of `(moment, folder)`.
    """
    taken, seen = [], []

    def take(moment):
        now = sorted((str(path), path.lstat().st_size) for path in Path(root).rglob("*"))
        if taken and now == seen[-1]:
            return
        copy = Path(copies) / f"{len(taken):03}"
        shutil.copytree(root, copy, symlinks=True)
        taken.append((moment, copy))
        seen.append(now)

    def calls(frame, event, function):
        if event == "c_call" and function.__name__ in _WRITING:
            sys.setprofile(None)
            take(f"{function.__name__} in {frame.f_code.co_qualname}")
            sys.setprofile(calls)

    with _before_every(Path(root), take):
        sys.setprofile(calls)
        try:
            job()
        finally:
            sys.setprofile(None)
    return taken


@contextlib.contextmanager
def failing(root, number, code):
    """Raises an `OSError` at that moment of whatever is done below a folder.

    Args:
        root: The folder.
        number: Of the moment, from 0 on.
        code: Of the error, such as `errno.ENOSPC`.

    Yields:
        A list that has the moment, once it has come.
    """
    seen, failed = [], []

    def fail(moment):
        seen.append(moment)
        if len(seen) == number + 1:
            failed.append(moment)
            raise OSError(code, os.strerror(code), moment)

    with _before_every(Path(root), fail):
        yield failed
