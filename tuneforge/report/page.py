"""What the pages share: one self-contained file each, text from data escaped, a policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneforge.evaluation.figures import figure
from tuneforge.files import write_text

if TYPE_CHECKING:
    from jinja2 import Environment

LONGEST = 2000
"""Characters of one text that are shown; how many more there are is said."""
UNSHOWABLE = {c: "\N{REPLACEMENT CHARACTER}" for c in (*range(32), *range(0x7F, 0xA0)) if chr(c) not in "\n\t"}
"""Control characters, which a page cannot hold."""


def render(template: str, **values: Any) -> str:
    """The HTML of a page of that template."""
    return environment().get_template(template).render(**values)


def write(path: Path, html: str) -> Path:
    """Replaced in one piece. A lone surrogate, which UTF-8 cannot hold, becomes a character reference, and browsers
    show it as unreadable."""
    write_text(path, html.encode("utf-8", "xmlcharrefreplace").decode())
    return path


@cache
def environment() -> Environment:
    """Templates that escape whatever they are given; the style sheet and the script are ours, and hashed."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=PackageLoader("tuneforge", "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    folder = resources.files("tuneforge.report")
    made.globals |= {
        "style": Markup(folder.joinpath("page.css").read_text(encoding="utf-8")),
        "script": Markup(folder.joinpath("tables.js").read_text(encoding="utf-8")),
    }
    made.filters |= {"shown": shown, "seconds": seconds, "count": count, "figure": figure, "hash": policy_hash}
    return made


def policy_hash(text: str) -> str:
    """`sha256-…` by which a Content-Security-Policy names an inline style sheet or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(str(text).encode()).digest()).decode()


def shown(text: Any, longest: int = LONGEST) -> str:
    """Text without what a page cannot hold, cut at `longest` characters with a count of the rest."""
    whole = str(text)
    head = whole[:longest].translate(UNSHOWABLE)
    return head if len(whole) <= longest else f"{head}… ({len(whole) - longest:,} more characters)"


def seconds(value: float) -> str:
    """`3.2 s`, `1 min 05 s`, `2 h 10 min`."""
    if value < 60:
        return f"{value:.1f} s"
    if value < 3600:
        return f"{int(value // 60)} min {int(value % 60):02d} s"
    return f"{int(value // 3600)} h {int(value % 3600 // 60):02d} min"


def count(value: Any) -> str:
    """`4,812`; a dash for nothing."""
    return f"{value:,}" if isinstance(value, int | float) else "-"
