"""Links of the pages to files of the repository outside of docs/.

Markdown that is a page of its own, and cards of entries, are linked as pages; any other file
becomes a page that shows it, below source/.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

_REPOSITORY = Path(__file__).resolve().parents[2]
# Pages whose source lies elsewhere, for readers of the repository.
_PAGES = {
    "deploy.md": "export/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
_CARD = re.compile(r"zoo/(\w+)/README\.md")
_LINK = re.compile(r"(\]\()([^)#:\s]+)(#[^)\s]*)?(\))")
_LANGUAGES = {".py": "python", ".sh": "bash", ".json": "json", ".toml": "toml"}


def on_files(files, config):
    """Adds the pages of other places, and one for every file that a page links to."""
    for page, source in _PAGES.items():
        text = (_REPOSITORY / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    wanted = {}
    for file in files.documentation_pages():
        for match in _LINK.finditer(file.content_string):
            target = _in_repository(match[2], file.src_uri)
            page = None if target is None else _page_of(target)
            if page is not None and page.startswith("source/"):
                wanted[page] = target
    for page, target in sorted(wanted.items()):
        text = (_REPOSITORY / target).read_text(encoding="utf-8").rstrip("\n")
        language = _LANGUAGES.get(Path(target).suffix, "text")
        content = (
            f"---\nsearch:\n  exclude: true\n---\n\n# `{target}`\n\n````{language}\n{text}\n````\n"
        )
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown, page, config, files):
    """Leads the links there."""

    def led(match):
        target = _in_repository(match[2], page.file.src_uri)
        to = None if target is None else _page_of(target)
        if to is None:
            return match[0]
        path = posixpath.relpath(to, posixpath.dirname(page.file.src_uri) or ".")
        return f"{match[1]}{path}{match[3] or ''}{match[4]}"

    return _LINK.sub(led, markdown)


def _in_repository(link, page):
    """The file that a page links to, by its path in the repository; None for what docs/ holds."""
    home = posixpath.dirname(_PAGES.get(page, f"docs/{page}"))
    target = posixpath.normpath(posixpath.join(home, link))
    if page not in _PAGES and not link.startswith("../"):
        return None
    return target if (_REPOSITORY / target).is_file() else None


def _page_of(target):
    """The page of the site that shows a file of the repository, None where there is none."""
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    for page, source in _PAGES.items():
        if source == target:
            return page
    if card := _CARD.fullmatch(target):
        return f"zoo/{card[1]}.md"
    return f"source/{target}.md"
