"""HTML pages that need nothing else: their templates, and plots as inline SVG in the page's own
ink, on light and on dark."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2

# Every line and letter is drawn in this colour, which is then replaced by the page's own.
INK = "#010203"
PALETTE = ("#2f7ed8", "#e8743b", "#19a979", "#945ecf", "#d64550", "#13a4b4", "#b9a30e", "#6c7a89")


def render(template: Path, **values: Any) -> str:
    """A page of a template; a name that it lacks is an error, and texts are escaped."""
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
    """A figure and its axes, with all that is drawn inside the block in the page's ink."""
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
        # Letters stay letters in the SVG, and the browser has a font for them.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        figure, axes = pyplot.subplots(rows, columns, figsize=(width, height), squeeze=squeeze)
        yield figure, axes
        pyplot.close(figure)


def svg(figure: Any) -> str:
    """The figure as an element of a page."""
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :].replace(INK, "currentColor")
