"""The tables and plots of docs/performance.md."""

import math
import sys
from pathlib import Path

import cases

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import marked  # noqa: E402

PAGE, PLOT = ROOT / "docs/performance.md", ROOT / "docs/images/performance_growth.png"
_LABELS = {
    "columns": "columns",
    "depth": "blocks, or pairs of couplings",
    "batch": "rows of a batch",
    "side": "side of an image, pixels",
}
_MISSING = "Not measured yet on this machine."
_COLOURS = {"exact": "#1f4e79", "unbiased": "#c0504d", "coupling": "#4f8f4f"}


def write(results):
    """Writes what has been measured into the page."""
    for section, part in _PARTS.items():
        found = results.get(section)
        if section == "compare" and "left out" in results:
            text = f"Left out: {results['left out']['compare']}."
        else:
            text = f"{part(found)}\n\n{_source(found)}" if found else _MISSING
        marked.update(PAGE, f"scripts/benchmark.py: {section}", text)


def _source(found):
    """Where and when the cases of a section were measured."""
    dates = sorted({case["date"] for case in found.values()})
    commits = sorted({case["commit"] for case in found.values()})
    before = sorted({case["before"] for case in found.values() if case["before"]})
    machines = sorted({case["machine"] for case in found.values()})
    notes = sorted({case["note"] for case in found.values() if case["note"]})
    threads = sorted({case["threads"] for case in found.values()})
    parts = [
        f"Measured {' and '.join(dates)} on {'; '.join(machines)}; "
        f"{' or '.join(map(str, threads))} thread{'s' * (threads != [1])} each",
        f"commit {', '.join(f'`{commit}`' for commit in commits)}",
    ]
    if before:
        parts.append(f"before: {', '.join(f'`{commit}`' for commit in before)}")
    return f"{'; '.join([*parts, *notes])}."


def table(head, rows):
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _ms(summary, kind="process"):
    """A median in milliseconds, with three digits."""
    if summary is None:
        return ""
    return _digits(1000.0 * summary[kind]["median"])


def _digits(value):
    """A number with three digits."""
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _function(case, side, name):
    return case["sides"].get(side, {}).get("functions", {}).get(name)


def _sides(found):
    """The sides that any case has, in order."""
    return [s for s in ("before", "this") if any(s in case["sides"] for case in found.values())]


def _start(found):
    sides = _sides(found)
    head = ["command", *(f"{side}, s" for side in sides), "on the clock, s"]
    head += [f"{side}, GB" for side in sides]
    rows = []
    for name in cases.START:
        if name not in found:
            continue
        made = [_function(found[name], side, "start") for side in sides]
        cells = ["" if one is None else f"{one['process']['median']:.2f}" for one in made]
        memory = ["" if one is None else f"{one['memory']:.2f}" for one in made]
        rows.append([f"`{name}`", *cells, f"{made[-1]['wall']['median']:.2f}", *memory])
    text = table(head, rows)
    if {"import keras", "import keras_flows"} <= found.keys():
        both = [
            _function(found[name], "this", "start")["process"]["median"]
            for name in ("import keras", "import keras_flows")
        ]
        text += f"\n\n`import keras_flows` takes {both[1] - both[0]:.2f} s beyond `import keras`."
    return text


def _training(found):
    head = ["case", "commit", "first update, s", "later updates, ms", "peak memory, GB"]
    rows = []
    for name, case in cases.TRAINING.items():
        for side in ("before", "this"):
            made = _function(found.get(name, {"sides": {}}), side, "update")
            if made is not None:
                first = found[name]["sides"][side]["facts"]["first"][0]
                cells = f"{first:.1f}", _ms(made), f"{made['memory']:.2f}"
                rows.append([case["title"], side, *cells])
    return table(head, rows)


def _calls(found):
    parts = []
    for name, case in found.items():
        functions = case["sides"]["this"]["functions"]
        names = dict.fromkeys(key.rpartition(", ")[0] for key in functions)
        kinds = ("Keras", "SavedModel", "onnxruntime")
        rows = [
            [one.replace(", ", ", batch "), *(_ms(functions.get(f"{one}, {k}")) for k in kinds)]
            for one in sorted(names, key=lambda one: (one.split(", ")[0], int(one.split(", ")[1])))
        ]
        parts.append(table([f"`{name}`, ms", *kinds], rows))
    return "\n\n".join(parts)


def _zoo(found):
    head = ["entry", "parameters", "load, s", "export to ONNX, s"]
    rows = []
    for name, case in found.items():
        side = case["sides"]["this"]
        load, export = (side["functions"][key]["process"]["median"] for key in ("load", "export"))
        rows.append(
            [f"`{name}`", f"{side['facts']['parameters']:,}", f"{load:.2f}", f"{export:.1f}"]
        )
    return table(head, rows)


def _sampling(found):
    parts = []
    for name, case in found.items():
        this, before = case["sides"]["this"], case["sides"].get("before")
        head = ["tolerance", "steps of a block", "largest residual", "error of a round trip"]
        head += ["this, ms"] + ["before, ms"] * (before is not None)
        rows = []
        for tolerance, made in this["functions"].items():
            error = this["facts"][f"error {tolerance}"]
            mean, most = error["steps"]
            own = f"{this['facts']['own']:g}, its own" if tolerance == "own" else tolerance
            cells = [own, f"{mean:.1f}, at most {most}", f"{error['residual']:.1e}"]
            cells += [f"{error['worst']:.1e}", _ms(made)]
            if before is not None:
                cells.append(_ms(before["functions"].get(tolerance)))
            rows.append(cells)
        described = cases.SAMPLING[name]
        parts.append(f"`{name}`, {described['batch']:,} at once:\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def slope(values, numbers):
    """The exponent of a power law: the slope of a line through logarithms, by least squares."""
    x, y = [math.log(v) for v in values], [math.log(n) for n in numbers]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    across = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return across / sum((a - mean_x) ** 2 for a in x)


def _curves(found):
    """`{(what, kind): (values, seconds, memories)}` of the growth, where it is measured."""
    curves = {}
    for what, kinds in cases.GROWING.items():
        for kind, values in kinds.items():
            having = [value for value in values if f"{kind}, {what} {value}" in found]
            made = [
                _function(found[f"{kind}, {what} {value}"], "this", "update") for value in having
            ]
            if len(having) > 1:
                seconds = [one["process"]["median"] for one in made]
                curves[what, kind] = having, seconds, [one["memory"] for one in made]
    return curves


def crossing(exact, unbiased):
    """Where two curves `(values, numbers)` cross, between logarithms; None where they do not."""
    both = sorted(set(exact[0]) & set(unbiased[0]))
    ratios = [
        math.log(exact[1][exact[0].index(v)] / unbiased[1][unbiased[0].index(v)]) for v in both
    ]
    for (low, first), (high, second) in zip(
        zip(both, ratios, strict=True), list(zip(both, ratios, strict=True))[1:], strict=False
    ):
        if first < 0.0 <= second:
            share = first / (first - second)
            return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    return None


def _growth(found):
    curves = _curves(found)
    rows = []
    for (what, kind), (values, seconds, memory) in curves.items():
        half = len(values) // 2
        cells = [_LABELS[what], kind, f"{values[0]} to {values[-1]}"]
        cells.append(f"{_digits(1000 * seconds[0])} to {_digits(1000 * seconds[-1])}")
        cells.append(f"{slope(values, seconds):.2f}")
        cells.append(f"{slope(values[half:], seconds[half:]):.2f}" if len(values) > 3 else "")
        cells.append(f"{memory[0]:.2f} to {memory[-1]:.2f}")
        rows.append(cells)
    head = ["what grows", "flow", "from, to", "update, ms", "exponent", "of the upper half"]
    text = table([*head, "peak memory, GB"], rows)
    _plot(curves)
    text += f"\n\n![Time and memory of an update](images/{PLOT.name})"
    if ("columns", "exact") in curves and ("columns", "unbiased") in curves:
        place = crossing(curves["columns", "exact"], curves["columns", "unbiased"])
        if place is not None:
            text += f"\n\nThe exact and the unbiased log-det take the same at {place:.0f} columns."
    return text


def _plot(curves):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, ScalarFormatter

    shown = [what for what in cases.GROWING if any(key[0] == what for key in curves)]
    figure, axes = pyplot.subplots(
        2, len(shown), figsize=(3.2 * len(shown), 5.6), sharex="col", sharey="row", squeeze=False
    )
    for column, what in enumerate(shown):
        ticks = set()
        for (of, kind), (values, seconds, memory) in curves.items():
            if of != what:
                continue
            ticks |= set(values)
            for axis, numbers in (
                (axes[0, column], [1000 * s for s in seconds]),
                (axes[1, column], memory),
            ):
                axis.plot(values, numbers, "o-", color=_COLOURS[kind], label=kind, markersize=4)
        for axis in axes[:, column]:
            axis.set_xscale("log")
            axis.set_xticks(sorted(ticks), [str(tick) for tick in sorted(ticks)])
            axis.xaxis.set_minor_locator(NullLocator())
            axis.grid(alpha=0.3)
        axes[0, column].set_yscale("log")
        axes[0, column].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes[0, column].yaxis.set_major_formatter(ScalarFormatter())
        axes[0, column].yaxis.set_minor_formatter(NullFormatter())
        axes[1, column].set_xlabel(_LABELS[what])
    axes[1, 0].set_ylim(bottom=0.0)
    axes[0, 0].set_ylabel("processor time of an update, ms")
    axes[1, 0].set_ylabel("peak memory, GB")
    axes[0, 0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(PLOT, dpi=110)
    pyplot.close(figure)


def _ratio(one, other):
    """Of two medians."""
    return f"{one['process']['median'] / other['process']['median']:.2f}"


def _compare(found):
    head = ["model", "parameters", "first update, s"]
    head += [f"{name}, ms" for name in ("update", "log_prob", "sample")] + ["peak memory, GB"]
    rows, torch = [], set()
    for name, case in cases.COMPARE.items():
        if name not in found:
            continue
        sides = found[name]["sides"]
        mine, other = sides["this"], sides["normflows"]
        torch.add(other["facts"]["versions"])
        cells = [case["title"] + f", batch {case['batch']}"]
        cells.append(f"{mine['facts']['parameters']:,}; {other['facts']['parameters']:,}")
        cells.append(f"{mine['facts']['first'][0]:.1f}; {other['facts']['first'][0]:.2f}")
        for function in ("update", "log_prob", "sample"):
            pair = [side["functions"][function] for side in (mine, other)]
            loose = mine["functions"].get("sample, loose")
            shown = f"{_ms(pair[0])}; {_ms(pair[1])}: **{_ratio(*pair)}**"
            if function == "sample" and loose is not None:
                shown += f" (at 3e-3 {_ms(loose)}: **{_ratio(loose, pair[1])}**)"
            cells.append(shown)
        memory = (side["functions"]["update"]["memory"] for side in (mine, other))
        cells.append("; ".join(f"{one:.2f}" for one in memory))
        rows.append(cells)
    return f"{table(head, rows)}\n\nOurs; theirs: ratio. {', '.join(sorted(torch))}."


_PARTS = {
    "start": _start,
    "training": _training,
    "calls": _calls,
    "zoo": _zoo,
    "sampling": _sampling,
    "growth": _growth,
    "compare": _compare,
}
