"""The results of a bench run as a Markdown table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

BAR, ROW, LEFT = 420, 26, 190


def table(measures: Sequence[dict[str, Any]]) -> str:
    """Ratios first; below 1, torchpair is faster or smaller."""
    lines = ["| measure | ratio | min to max | ours | other | runs | against |", "|---|---:|---:|---:|---:|---:|---|"]
    for m in measures:
        spread = m.get("ratio_min_max") or m.get("ours_min_max")
        cells = [
            m["id"], m.get("ratio", ""), " to ".join(map(str, spread)) if spread else "", f"{m['ours']} {m['unit']}",
            f"{m['other']} {m['unit']}" if "other" in m else "", m["runs"], m["against"],
        ]  # fmt: skip
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def picture(measures: Sequence[dict[str, Any]]) -> str:
    """A bar for each ratio below 1.2; the line is what one would do otherwise."""
    shown = [m for m in measures if "ratio" in m and m["ratio"] <= 1.2]
    height = ROW * len(shown) + 30
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + BAR + 130} {height}" font-family="sans-serif"'
        ' font-size="13" fill="currentColor">',
        f'<line x1="{LEFT + BAR}" y1="4" x2="{LEFT + BAR}" y2="{height - 22}" stroke="#999"/>',
        f'<text x="{LEFT + BAR}" y="{height - 6}" text-anchor="middle" fill="#777">1 = otherwise</text>',
    ]
    for i, m in enumerate(shown):
        y, width = 6 + i * ROW, round(m["ratio"] * BAR)
        out.append(f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(m["id"])}</text>')
        out.append(f'<rect x="{LEFT}" y="{y}" width="{width}" height="{ROW - 8}" rx="3" fill="#2a7ab0"/>')
        out.append(f'<text x="{LEFT + width + 6}" y="{y + 14}">{m["ratio"]:.2f}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"
