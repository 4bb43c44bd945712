"""Files and folders that are complete or not there, and that one process at a time writes."""

import contextlib
import errno
import os
import shutil
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # on Windows, where writers are not kept apart
    fcntl = None  # type: ignore[assignment]

# How long a writer waits for another one of the same file or folder, in seconds.
PATIENCE = 60.0

_LOCK, _NEW, _REPLACED = "lock", "new", "replaced"


@contextlib.contextmanager
def locked(path, doing, patience=0.0):
    """Holds a lock file. The system lets go of it when the process ends, however that ends.

    Args:
        path: The file, a `pathlib.Path`; it is made where it is missing, and stays.
        doing: What only one process may do, for the message, such as `"is training there"`.
        patience: Seconds to wait for another process.

    Raises:
        BlockingIOError: If another process holds it.
    """
    end = time.monotonic() + patience
    while (file := _lock(path)) is None:
        if time.monotonic() >= end:
            raise BlockingIOError(
                f"Another process {doing} (it holds {path}). Wait for its end, or choose another "
                "place."
            )
        time.sleep(0.05)
    with file:
        yield


def _lock(path):
    """The open lock file, None if another process has it or was just removing it."""
    file = None
    try:
        path.parent.mkdir(exist_ok=True)
        file = open(path, "ab")  # noqa: SIM115 (the caller closes it)
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            return file
    except BlockingIOError:
        pass
    except FileNotFoundError:
        if not path.parent.parent.is_dir():
            raise
    if file is not None:
        file.close()
    return None


@contextlib.contextmanager
def _scratch(target):
    """A folder beside `target` that one process at a time writes into.

    What a killed process left in it is put back or removed by the next one.
    """
    scratch = target.with_name(f".{target.name}.partial")
    with locked(scratch / _LOCK, f"is writing {target}", PATIENCE):
        try:
            _tidy(scratch, target)
            (scratch / _NEW).mkdir()
            yield scratch
        finally:
            _tidy(scratch, target)
            with contextlib.suppress(OSError):  # the next writer may be there already
                (scratch / _LOCK).unlink()
                scratch.rmdir()


def _tidy(scratch, target):
    replaced = scratch / _REPLACED
    if replaced.exists() and not target.exists():  # killed between two renames
        replaced.rename(target)
    for name in (_NEW, _REPLACED):
        shutil.rmtree(scratch / name, ignore_errors=True)


@contextlib.contextmanager
def complete_folder(folder, replaces=()):
    """A folder beside `folder` to write into, which replaces it if all goes well.

    A link stays a link: what it names is replaced. A folder keeps its permissions.

    Args:
        folder: Where the result goes, a `pathlib.Path`.
        replaces: The names of the files of a folder that is there which go with it. All others are
            kept: in the new folder they are the same files.

    Yields:
        The folder to write into. If an error is raised, it is removed, and `folder` stays as it
        was; likewise if the process is killed, and the next writer removes what that left.

    Raises:
        BlockingIOError: If another process goes on writing the same folder.
        FileExistsError: If one of the files to keep has the name of a new one.
    """
    target = folder.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(target) as scratch:
        partial = scratch / _NEW / target.name
        partial.mkdir()
        yield partial
        for path in partial.rglob("*"):
            if path.is_file():
                _flush(path)
        if target.exists():
            shutil.copymode(target, partial)
            _keep(target, partial, replaces)
            target.rename(scratch / _REPLACED)
        partial.rename(target)


def _keep(folder, partial, replaces):
    """Puts the files of a folder into the one that replaces it, but for those that it replaces."""
    for path in sorted(folder.iterdir()):
        if path.name in replaces:
            continue
        kept = partial / path.name
        if os.path.lexists(kept):
            raise FileExistsError(
                f"{path} would be replaced, and is none of the files that were written there. "
                "Rename it, or choose another folder."
            )
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, kept, symlinks=True, copy_function=_link)
        else:
            _link(path, kept)


def _link(path, other):
    try:
        os.link(path, other, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a file system without links
        shutil.copy2(path, other, follow_symlinks=False)


def _flush(path):
    """Waits until a file is on the disk: it is to be complete before it has its name."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


@contextlib.contextmanager
def complete_file(path):
    """A file beside `path` to write, which replaces it if all goes well.

    A link stays a link: what it names is replaced. The file keeps the permissions of the one it
    replaces.

    Args:
        path: Where the result goes; its folder exists.

    Yields:
        The `pathlib.Path` to write to, with the same name. If an error is raised, or the process is
        killed, `path` stays as it was; what a killed process left is removed by the next writer.

    Raises:
        BlockingIOError: If another process goes on writing the same file.
    """
    target = Path(path).resolve()
    with _scratch(target) as scratch:
        partial = scratch / _NEW / target.name
        yield partial
        if target.exists():
            shutil.copymode(target, partial)
        _flush(partial)
        os.replace(partial, target)


def check_room(folder, size):
    """Checks that a file of so many bytes can be written into a folder.

    For libraries that do not take a full disk well: HDF5 may end the process by a signal.

    Raises:
        OSError: If it cannot.
    """
    path = Path(folder) / "room"
    try:
        with open(path, "wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            elif shutil.disk_usage(folder).free < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            message = f"{os.strerror(error.errno)}: {size:,} bytes are to be written"
            raise OSError(error.errno, message, str(folder)) from None
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
    finally:
        path.unlink(missing_ok=True)


def check_place(path):
    """Checks, before the work, that a file or folder can be made or replaced.

    Args:
        path: The file or folder; folders above it may be missing.

    Raises:
        NotADirectoryError: If something above it is a file.
        OSError: If it is where another file system begins, which cannot be renamed.
        PermissionError: If the folder that it is to be in cannot be written to.
    """
    path = Path(path).resolve()
    above = next(parent for parent in path.parents if parent.exists())
    if not above.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {above} is a file.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} cannot be written: the folder {above} is read-only.")
    if path.is_mount():
        raise OSError(
            f"{path} is where another file system begins, and cannot be replaced; name a folder in "
            "it."
        )
