"""The menu: a page of docs/ that mkdocs.yml does not place stands at the end of the guides."""


def on_files(files, config):
    """Adds the pages that are nowhere."""
    placed = set(_paths(config.nav))
    pages = [file.src_uri for file in files.documentation_pages()]
    missing = [path for path in sorted(pages) if "/" not in path and path not in placed]
    for item in config.nav:
        item.get("Guides", []).extend(missing)
    return files


def _paths(item):
    """All paths of a menu, or of a part of it."""
    if isinstance(item, str):
        yield item
    else:
        for part in item.values() if isinstance(item, dict) else item:
            yield from _paths(part)
