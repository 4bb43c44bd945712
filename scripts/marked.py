"""Generated parts of Markdown files, between two marks that name the script."""

from pathlib import Path


def updated(text, script, part):
    """`text` with `part` between the marks of `script`."""
    begin, end = f"<!-- {script} -->", f"<!-- end of {script} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"The text has no {begin} … {end}.")
    return f"{before}{begin}\n{part}\n{end}{after}"


def update(path, script, part):
    """Writes `part` between the marks of `script` in a file."""
    path = Path(path)
    path.write_text(updated(path.read_text(encoding="utf-8"), script, part), encoding="utf-8")
