"""How a page is made: one file that holds all that it shows, with every text escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from reports import units

if TYPE_CHECKING:
    import jinja2


def make_environment() -> jinja2.Environment:
    """The templates of the package, with the filters that put numbers in words."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Hundreds of points are embedded: no blanks, and "–" is shorter than its escape.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False}
    environment.filters |= {
        "latency": units.latency,
        "plain_latency": units.plain_latency,
        "percent": units.percent,
        "number": units.number,
        "duration": units.duration,
    }
    return environment


def own_texts() -> dict[str, Any]:
    """The style and the scripts that go into a page, by the name that templates know them under."""
    from markupsafe import Markup

    # These texts are ours: put in as they are, but never able to end their element.
    return {
        "css": Markup(_template("style.css")),  # noqa: S704
        "script": Markup(_inside_script(_template("report.js"))),  # noqa: S704
        "charts": Markup(_inside_script(_template("chart.js"))),  # noqa: S704
    }


def flat(record: Mapping[str, Any], *, skip: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of a JSON record as pairs of a path and a text; lists stand on one line.

    Args:
        record: plain JSON.
        skip: a key of the outermost object to leave out.
        prefix: what every path begins with.
    """
    for key, value in record.items():
        if not prefix and key == skip:
            continue
        if isinstance(value, dict):
            yield from flat(value, skip=skip, prefix=f"{prefix}{key}.")
        elif isinstance(value, list):
            yield prefix + key, ", ".join(map(_leaf, value)) or "–"
        else:
            yield prefix + key, _leaf(value)


def _leaf(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _template(name: str) -> str:
    return resources.files("reports").joinpath("templates", name).read_text(encoding="utf-8")


def _inside_script(code: str) -> str:
    return re.sub("</(script)", r"<\\/\1", code, flags=re.IGNORECASE)
