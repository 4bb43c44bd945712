"""How fast keras-flows is, and how much memory it takes: all of docs/performance.md.

    python scripts/benchmark.py                                  # everything
    python scripts/benchmark.py --only start,training --against HEAD~3
    python scripts/benchmark.py --only compare --case residual --again

Every case runs in processes of their own, with as many threads each. Where two are compared, this
commit with another or keras-flows with normflows, they take turns: A B A B. Counted are seconds of
processor time, which other work lengthens less, and seconds on the clock; shown are medians, and
the JSON has minima too. A case that is in docs/performance.json is not measured again, unless told
so: the command goes on where it was ended.

normflows and PyTorch live in an environment of their own, made where it is not there; where it
cannot be had, their cases are left out, and the page says why.
"""

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import rich.console
import typer

ROOT = Path(__file__).resolve().parents[1]
WORKERS = ROOT / "scripts/benchmarks"
sys.path.insert(0, str(WORKERS))

import cases as measured  # noqa: E402
import page  # noqa: E402
import serving  # noqa: E402

RESULTS = ROOT / "docs/performance.json"
TEMPORARY = Path(tempfile.gettempdir())
PACKAGES = ("torch==2.13.0", "normflows==1.7.3")
_err = rich.console.Console(stderr=True)


def git(*arguments):
    """What git prints."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def environment(folder):
    """The interpreter of an environment with normflows, and why there is none.

    Returns:
        `(path, None)` or `(None, reason)`.
    """
    python = folder / "bin/python"
    check = [python, "-c", "import normflows"]
    if python.exists() and subprocess.run(check, capture_output=True).returncode == 0:
        return python, None
    _err.print(f"making {folder}")
    try:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", *PACKAGES]
        subprocess.run(install, check=True, capture_output=True, text=True)
        subprocess.run(check, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        *_, last = (error.stderr or "").strip().splitlines() or [str(error)]
        return None, f"normflows and PyTorch could not be had: {last}"
    return python, None


def started(arguments, tree):
    """The seconds of a whole process, `[process, wall]`, and the most memory it held, GB."""
    command = [sys.executable, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(tree), "TF_CPP_MIN_LOG_LEVEL": "2"}
    begin = time.perf_counter()
    with open(os.devnull, "wb") as nowhere:
        process = subprocess.Popen(command, env=environment, cwd=tree, stdout=nowhere)
        _, status, used = os.wait4(process.pid, 0)
    wall, process.returncode = time.perf_counter() - begin, os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return [used.ru_utime + used.ru_stime, wall], used.ru_maxrss * 1024 / 1e9


def start(arguments, trees):
    """The sides of a case of the section `start`, in turns."""
    made = {side: [] for side in trees}
    for _ in range(measured.STARTS):
        for side, tree in trees.items():
            made[side].append(started(arguments, tree))
    sides = {}
    for side, runs in made.items():
        seconds, memory = zip(*runs, strict=True)
        found = {**serving.summary(seconds), "memory": max(memory)}
        sides[side] = {"facts": {}, "functions": {"start": found}}
    return sides


def work(case, makers):
    """The sides of any other case: what its workers say, and their functions in turns."""
    told = {name: value for name, value in case.items() if name not in ("times", "rounds", "title")}
    makers = {side: lambda make=make: make(told) for side, make in makers.items()}
    with serving.open_workers(makers) as workers:
        sides = {side: {"facts": w.facts, "functions": {}} for side, w in workers.items()}
        names = list(dict.fromkeys(n for w in workers.values() for n in w.names))
        for name in names:
            having = {side: w for side, w in workers.items() if name in w.names}
            times = case["times"][name] if isinstance(case["times"], dict) else case["times"]
            for side, found in serving.in_turns(having, name, times, case["rounds"]).items():
                sides[side]["functions"][name] = found
    return sides


def measure(section, name, case, trees, threads, normflows):
    """The sides of a case: `{side: {"facts": …, "functions": {name: summary}}}`."""
    if section == "start":
        return start(case, trees)

    def ours(tree):
        return lambda told: serving.Worker(WORKERS / "ours.py", told, tree=tree, threads=threads)

    makers = {side: ours(tree) for side, tree in trees.items()}
    if section == "compare":

        def theirs(told):
            script = WORKERS / "theirs.py"
            return serving.Worker(script, told, python=normflows, threads=threads)

        makers |= {"normflows": theirs}
    return work(case, makers)


def main(
    only: Annotated[
        str, typer.Option(help=f"Sections, of {', '.join(measured.SECTIONS)}; all by default")
    ] = ",".join(measured.SECTIONS),
    case: Annotated[list[str] | None, typer.Option(help="Cases of them; all by default")] = None,
    against: Annotated[str | None, typer.Option(help="A commit to compare with")] = None,
    again: Annotated[bool, typer.Option(help="Measure anew what is there")] = False,
    threads: Annotated[int, typer.Option(help="Of every process", min=1)] = 1,
    normflows_in: Annotated[
        Path, typer.Option("--normflows", help="Where normflows is, or is to be")
    ] = TEMPORARY / "keras-flows-normflows",
    note: Annotated[str, typer.Option(help="What else the page should say of the machine")] = "",
):
    """Measures, and writes docs/performance.json and the parts of docs/performance.md."""
    chosen = only.split(",")
    for name in chosen:
        if name not in measured.SECTIONS:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(measured.SECTIONS)}.")
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    wanted = [
        (section, name, described)
        for section in chosen
        for name, described in measured.SECTIONS[section].items()
        if (not case or name in case) and (again or name not in results.get(section, {}))
    ]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    commit = git("rev-parse", "--short", "HEAD")
    normflows = None
    if any(section == "compare" for section, *_ in wanted):
        normflows, reason = environment(normflows_in)
        if normflows is None:
            _err.print(f"compare is left out. {reason}")
            results["left out"] = {"compare": reason}
            wanted = [one for one in wanted if one[0] != "compare"]
        else:
            results.pop("left out", None)
    with tempfile.TemporaryDirectory() as scratch:
        trees = {"this": ROOT}
        if against is not None:
            against = git("rev-parse", "--short", against)
            tree = Path(scratch) / "tree"
            git("worktree", "add", "--detach", str(tree), against)
            trees = {"before": tree, **trees}
        try:
            for section, name, described in wanted:
                own = trees if section in measured.AGAINST else {"this": ROOT}
                begin = time.perf_counter()
                sides = measure(section, name, described, own, threads, normflows)
                results.setdefault(section, {})[name] = {
                    "commit": commit,
                    "before": against if "before" in sides else None,
                    "date": f"{datetime.date.today()}",
                    "machine": machine,
                    "note": note,
                    "threads": threads,
                    "sides": sides,
                }
                RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
                _err.print(f"{section}, {name}: {time.perf_counter() - begin:.0f} s")
        finally:
            if against is not None:
                git("worktree", "remove", "--force", str(tree))
    page.write(results)


if __name__ == "__main__":
    typer.run(main)
