"""Self-contained HTML pages: templates, and plots as inline SVG in the page's text colour, in light
and dark mode."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2

# Placeholder colour of text and axes in a plot; `svg` replaces it with the page's text colour.
INK = "#010203"
PALETTE = ("#2f7ed8", "#e8743b", "#19a979", "#945ecf", "#d64550", "#13a4b4", "#b9a30e", "#6c7a89")


def render(template: Path, **values: Any) -> str:
    """Return the HTML of a template, with all values escaped.

    Args:
        template: path of the template.
        values: by the names that the template uses.

    Raises:
        jinja2.UndefinedError: the template uses a name that is not in `values`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(**values)


@contextlib.contextmanager
def canvas(
    rows: int, columns: int, *, width: float, height: float, squeeze: bool = True
) -> Iterator[Any]:
    """Yield a matplotlib figure and its axes, and close the figure at the end of the block.

    Text and axes drawn inside the block have the colour `INK`.

    Args:
        rows: number of rows of subplots.
        columns: number of columns of subplots.
        width: of the figure, in inches.
        height: of the figure, in inches.
        squeeze: whether the array of axes drops dimensions of length 1.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    ink = dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK
    )
    style = {
        **ink,
        "svg.fonttype": "none",
        "svg.hashsalt": "foldline",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.constrained_layout.use": True,
    }
    with pyplot.rc_context(style), warnings.catch_warnings():
        # The SVG keeps text as text, so a glyph missing here comes from the browser's fonts.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        figure, axes = pyplot.subplots(rows, columns, figsize=(width, height), squeeze=squeeze)
        yield figure, axes
        pyplot.close(figure)


def svg(figure: Any) -> str:
    """Return the figure as an `<svg>` element."""
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    document = text.getvalue()
    return document[document.index("<svg") :].replace(INK, "currentColor")
