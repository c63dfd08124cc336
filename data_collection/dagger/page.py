"""The parts of a self-contained HTML page: nothing in it is fetched from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from data_collection.dagger.plots import Plot

_STYLE = """
:root { color-scheme: light; --quiet: #5f6670; --line: #e3e6ea; --good: #0f9d77; --bad: #c8402f }
* { box-sizing: border-box }
body { font: 16px/1.55 system-ui, sans-serif; color: #1c2024; max-width: 1120px;
       margin: 0 auto; padding: 2.5rem 1.25rem 4rem }
h1 { font-size: clamp(1.4rem, 3vw, 1.75rem); line-height: 1.2; margin: .2rem 0 .8rem;
     text-wrap: pretty }
h2 { font-size: 1.15rem; margin: 3rem 0 1rem; border-top: 1px solid var(--line);
     padding-top: 1.2rem }
h3 { font-size: 1rem; margin: 1.5rem 0 .6rem }
p { max-width: 48rem }
.quiet, figcaption { color: var(--quiet); font-size: .9rem }
dl, .plots, .videos { display: grid; gap: 1.5rem; margin: 0 }
dl { grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); margin-top: 1.8rem }
dt { color: var(--quiet); font-size: .9rem } dd { margin: 0; font-size: 1.4rem }
.plots { grid-template-columns: repeat(auto-fill, minmax(min(100%, 27rem), 1fr)) }
.videos { grid-template-columns: repeat(auto-fill, minmax(min(100%, 12rem), 1fr)); gap: 1rem }
figure { margin: 0 } figure h3 { margin-top: 0 }
img, video { display: block; width: 100% } video { border-radius: 4px; background: #eee }
.success::before { color: var(--good); content: "● " }
.failure::before { color: var(--bad); content: "● " }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem }
th { color: var(--quiet); font-weight: normal; vertical-align: bottom }
td, th { padding: .35rem .75rem; text-align: right; border-bottom: 1px solid var(--line);
         white-space: nowrap }
td:first-child, th:first-child { text-align: left; padding-left: 0 }
.faint { color: #9aa0a8 }
"""


@dataclass(frozen=True)
class Video:
    """An MP4 file. ``success`` and ``failure`` as its outcome are marked, anything else is not."""

    content: bytes
    caption: str
    outcome: str


def document(title: str, headline: str, explanation: str, parts: Sequence[str]) -> str:
    """Return the whole page; ``parts`` are HTML, everything else is plain text."""
    body = "\n".join(parts)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
<p class="quiet">{escape(title)}</p>
<h1>{escape(headline)}</h1>
<p>{escape(explanation)}</p>
{body}
</html>
"""


def heading(text: str, level: int = 2) -> str:
    """Return a heading."""
    return f"<h{level}>{escape(text)}</h{level}>"


def key_figures(figures: Mapping[str, str]) -> str:
    """Return figures in large type under their names."""
    items = [f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in figures.items()]
    return f"<dl>{''.join(items)}</dl>"


def plot_grid(plots: Sequence[Plot]) -> str:
    """Return plots side by side, as many as there is room for."""
    figures = [
        f"<figure>{heading(plot.title, 3)}"
        f'<img alt="{escape(plot.title)}" src="{_embedded(plot.to_svg(), "image/svg+xml")}">'
        f"<figcaption>{escape(plot.caption)}</figcaption></figure>"
        for plot in plots
    ]
    return f'<div class="plots">{"".join(figures)}</div>'


def table(rows: Sequence[Mapping[str, str]], faint: Collection[int]) -> str:
    """Return a table of rows by column name; those numbered in ``faint`` are greyed out."""
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    lines = [
        ('<tr class="faint">' if number in faint else "<tr>")
        + "".join(f"<td>{escape(cell)}</td>" for cell in row.values())
        + "</tr>"
        for number, row in enumerate(rows)
    ]
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def video_grid(videos: Sequence[Video]) -> str:
    """Return videos side by side, as many as there is room for."""
    figures = [
        f'<figure><video controls muted loop playsinline src="{_embedded(v.content, "video/mp4")}">'
        f'</video><figcaption class="{v.outcome}">{escape(v.caption)}</figcaption></figure>'
        for v in videos
    ]
    return f'<div class="videos">{"".join(figures)}</div>'


def _embedded(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
