"""The plots of docs/bench as SVG, written by hand: bars by contender, lines by number of clients."""

import math
import os
from xml.sax.saxutils import escape

STYLE = """<style>
 text { font: 13px system-ui, sans-serif; fill: #333 } .title { font-size: 15px; font-weight: 600 }
 .note { fill: #777 } .ground { fill: #fff } .peer { fill: #9aa5b1 } .weir { fill: #1f77b4 }
 .floor { fill: #c9d1d9 } .axis { stroke: #ccc } .line { fill: none; stroke-width: 2 }
 .weir-line { stroke: #1f77b4 } .floor-line { stroke: #9aa5b1 }
 @media (prefers-color-scheme: dark) { text { fill: #ddd } .note { fill: #999 }
 .ground { fill: #0d1117 } .floor { fill: #444c56 } .peer { fill: #6e7681 }
 .weir, .weir-dot { fill: #58a6ff } .weir-line { stroke: #58a6ff } .axis { stroke: #333 } }
</style>"""


def svg(width, height, body):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img">\n{STYLE}\n'
            f'<rect class="ground" width="{width}" height="{height}"/>\n'
            + "\n".join(body) + "\n</svg>\n")


def text(x, y, words, kind="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def kind_of(name):
    return "weir" if name.startswith("weir") else "floor" if name == "floor" else "peer"


def bars(title, values, x, y, width, shown):
    """A panel of horizontal bars: `values` maps names to numbers. Returns SVG and its height."""
    body = [text(x, y + 14, title, "title")]
    label, step = 130, 24
    longest = max(values.values()) or 1
    for i, (name, value) in enumerate(values.items()):
        top = y + 28 + i * step
        length = max(1.0, (width - label - 90) * value / longest)
        body += [text(x + label - 8, top + 13, name, anchor="end"),
                 f'<rect class="{kind_of(name)}" x="{x + label}" y="{top}" width="{length:.1f}" '
                 f'height="18" rx="2"/>',
                 text(x + label + length + 6, top + 13, shown(value))]
    return body, 28 + len(values) * step + 16


def panels(path, panel_list, shown):
    body, y = [], 16
    for title, values in panel_list:
        part, height = bars(title, values, 16, y, 640, shown)
        body += part
        y += height
    write(path, svg(672, y, body))


def write(path, content):
    with open(path, "w") as file:
        file.write(content)


def contenders(figures):
    return {name: value for name, value in figures.items() if name != "leak"}


def plot_cpu(rows, path):
    found = [(f"CPU µs per GET, pipeline {pipeline}, {label}", contenders(figures))
             for pipeline, name in ((1, "p1"), (32, "p32")) if name in rows
             for label, figures in sorted(rows[name]["figures"].items())]
    if found:
        order = ("floor", "weir hit", "redis-server", "weir pass-through", "nutcracker")
        panels(path, [(title, {n: values[n] for n in order}) for title, values in found],
               lambda value: f"{value:.3g}")


def line(points, kind):
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle class="{kind} {kind}-dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
                   for x, y in points)
    return f'<polyline class="line {kind}-line" points="{joined}"/>{dots}'


def plot_clients(rows, path):
    figures = rows.get("clients", {}).get("figures")
    if not figures:
        return
    counts = sorted(int(count) for count in figures)
    left, right, top, bottom = 60, 590, 50, 290
    highest = max(max(f.values()) for f in figures.values()) * 1.1
    low, high = math.log(counts[0]), math.log(counts[-1])
    body = [text(16, 30, "CPU µs per hit by number of clients, pipeline 1", "title")]

    def at(count, value):
        return (left + (right - left) * (math.log(count) - low) / (high - low),
                bottom - (bottom - top) * value / highest)
    for tick in range(0, int(highest) + 1, 2):
        y = at(counts[0], tick)[1]
        body += [f'<line class="axis" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>',
                 text(left - 8, y + 4, str(tick), "note", "end")]
    for count in counts:
        body.append(text(at(count, 0)[0], bottom + 20, f"{count:,}", "note", "middle"))
    for name, kind, below in (("floor", "floor", 14), ("weir hit", "weir", -4)):
        points = [at(count, figures[str(count)][name]) for count in counts]
        body += [line(points, kind), text(points[-1][0] + 8, points[-1][1] + below, name)]
    write(path, svg(672, 325, body))


def plot_memory(rows, path):
    found = []
    items = rows.get("density", {}).get("figures", {}).get("items")
    if items:
        found.append(("items in 64 MiB: 22 B keys, 100 B values",
                      {"weir": items, "memcached 1.6.18": 349504, "redis-server": 322868}))
    used = rows.get("idle", {}).get("figures")
    if used:
        found.append(("bytes of an idle connection (bar: 2,048)",
                      {"weir, RSS": max(used["rss"], 0), "weir, account": max(used["used"], 0),
                       "bar": 2048}))
    if found:
        panels(path, found, lambda value: f"{value:,.0f}")


def write_all(rows, out):
    plot_cpu(rows, os.path.join(out, "cpu.svg"))
    plot_clients(rows, os.path.join(out, "clients.svg"))
    plot_memory(rows, os.path.join(out, "memory.svg"))
