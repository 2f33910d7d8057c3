#!/usr/bin/env python3
"""Makes a book of the repository's documents in target/book, and checks all its links: book.py MDBOOK

docs/SUMMARY.md says which documents are in the book. mdbook reads one folder, so they are copied to target/book-sources, with the paths that they have
in the repository. The book has no sources: a link from a page to something else than a page becomes its text.
"""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SOURCES = ROOT / "target" / "book-sources"
BOOK = ROOT / "target" / "book"

# A link or an image: its text, and where it leads.
LINK = re.compile(r"(!?)\[((?:[^][`]|`[^`]*`|\[[^][]*\])*)\]\(([^()\s]+)\)")


class Broken(Exception):
    """A link leads nowhere."""


def main(mdbook: str) -> None:
    """Makes the book, and checks it."""
    summary = (DOCS / "SUMMARY.md").read_text(encoding="utf-8")
    pages = {within(DOCS, target) for _, _, target in LINK.findall(summary)}
    shutil.rmtree(SOURCES, ignore_errors=True)
    for page in pages:
        copy = SOURCES / in_book(page)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(rewritten(page, pages), encoding="utf-8")
    (SOURCES / "SUMMARY.md").write_text(
        LINK.sub(lambda link: f"[{link[2]}]({in_book(within(DOCS, link[3]))})", summary), encoding="utf-8"
    )
    shutil.rmtree(BOOK, ignore_errors=True)
    subprocess.run([mdbook, "build", ROOT], check=True)
    links = check()
    print(f"{BOOK.relative_to(ROOT)}: {len(pages)} pages, {links} links, none of them broken")


def within(folder: Path, target: str) -> str:
    """Returns the path in the repository of what a link in a folder leads to, without its fragment."""
    path = Path(os.path.normpath(folder / unquote(target.partition("#")[0])))
    if not path.exists():
        raise Broken(f"{folder.relative_to(ROOT)}: a link leads to {target}, which does not exist")
    return path.relative_to(ROOT).as_posix()


def in_book(page: str) -> str:
    """Returns a page's path in the book. mdbook makes index.html of a README.md, but does not change the links to it."""
    return re.sub(r"(^|/)README\.md$", r"\1index.md", page)


def rewritten(page: str, pages: set[str]) -> str:
    """Returns a page's text with the links that lead out of the book replaced by their text. Code stays as it is."""
    folder = (ROOT / page).parent

    def replaced(link: re.Match[str]) -> str:
        image, text, target = link.groups()
        if urlsplit(target).scheme or target.startswith("#"):
            return link[0]
        to, hash_, fragment = within(folder, target), *target.partition("#")[1:]
        to = next((path for path in (to, f"{to}/README.md".removeprefix("./")) if path in pages), None)
        return f"{image}[{text}]({os.path.relpath(in_book(to), Path(page).parent)}{hash_}{fragment})" if to else text

    parts = re.split(r"(^```.*?^```$)", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else LINK.sub(replaced, part) for part in parts)


class Page(HTMLParser):
    """The links of a page, and the places in it that links can lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.places.add(found.get("id") or "")
        self.links += [found[name] or "" for name in ("href", "src") if name in found]


def check() -> int:
    """Makes sure that each link in the book leads to something in it, and returns how many there are."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in BOOK.rglob("*.html")}
    broken, count = set(), 0
    for path, page in pages.items():
        # mdbook's own page for what is not found is made for the root of a server.
        for link in page.links if path.name != "404.html" else []:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            count += 1
            to = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
            found = pages.get(to)
            if not to.is_file() or (found and unquote(parts.fragment) not in found.places and path.name != "print.html"):
                broken.add(f"{path.relative_to(BOOK)}: {link}")
    if broken:
        raise Broken("these links of the book lead nowhere:\n" + "\n".join(sorted(broken)))
    return count


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(sys.argv[1])
    except (Broken, subprocess.CalledProcessError, OSError) as error:
        sys.exit(f"book.py: {error}")
