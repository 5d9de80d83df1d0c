# SPDX-License-Identifier: Apache-2.0
"""Medians and ratios of what was measured, as a table and as a picture."""

import html
import statistics

from loads import HTTP_CONNECTIONS, SPEED_LEFT

REFERENCE = "stunnel"
TITLES = {"direct": "direct", "culvert": "Culvert", "culvert-http": "Culvert HTTP", "openssh": "OpenSSH -R", "haproxy": "HAProxy", "nginx": "nginx stream",
          "stunnel": "stunnel"}
# (title, load, figure) of each panel of the picture
PANELS = [
    ("Bulk, 1 stream: CPU seconds per GB", "bulk down, 1 stream", "CPU s/GB"),
    ("Bulk, 64 streams: CPU seconds per GB", "bulk down, 64 streams", "CPU s/GB"),
    (f"Small HTTP, {HTTP_CONNECTIONS} connections: CPU µs per request", f"small HTTP, {HTTP_CONNECTIONS} connections", "CPU µs/request"),
    ("New connections: CPU µs each", "new connections", "CPU µs each"),
]
PANEL_WIDTH, BAR_HEIGHT, BAR_STEP, LABEL_WIDTH, VALUE_WIDTH, MARGIN = 440, 16, 24, 96, 110, 16
# Each stands out from white and from black, since an image cannot know what it lies on.
TEXT, OURS, OTHERS = "#75808c", "#1f8fe0", "#8391a0"


def summarise(rows):
    """Medians over the rounds, and medians of the ratio to the reference in the same round."""
    values, lines = {}, {}
    for row in rows:
        for figure, value in row.get("figures", {}).items():
            rounds = values.setdefault((row["load"], figure, row["peer"]), {})
            lines[row["load"], figure] = None
            if value is not None:
                rounds[row["round"]] = value
    summary = []
    for (load, figure, peer), mine in sorted(values.items(), key=lambda item: list(lines).index(item[0][:2])):
        theirs = values.get((load, figure, REFERENCE), {})
        ratios = [mine[each] / theirs[each] for each in mine if theirs.get(each)]
        if mine:
            summary.append({"load": load, "figure": figure, "peer": peer, "median": statistics.median(mine.values()),
                            "ratio": statistics.median(ratios) if ratios and figure != SPEED_LEFT else None})
    return summary


def http_beside_channel(rows):
    """What a load costs through the HTTP proxy, as a multiple of what it costs through a channel in the same round: the price of
    seeing each request."""
    costs = {}
    for row in rows:
        for figure, value in row.get("figures", {}).items():
            if figure.startswith("CPU") and "HTTP" in row["load"] and value:
                costs.setdefault((row["load"], row["round"]), {})[row["peer"]] = value
    ratios = {}
    for (load, _), by_peer in costs.items():
        if {"culvert", "culvert-http"} <= by_peer.keys():
            ratios.setdefault(load, []).append(by_peer["culvert-http"] / by_peer["culvert"])
    if not ratios:
        return ""
    parts = [f"{load} {number(statistics.median(each))} ×" for load, each in ratios.items()]
    return f"CPU through the HTTP proxy, as a multiple of the channel's in the same round: {'; '.join(parts)}."


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(summary):
    """A line per figure, a column per peer; in brackets the ratio to the reference."""
    peers = [peer for peer in TITLES if any(row["peer"] == peer for row in summary)]
    cells = {(row["load"], row["figure"], row["peer"]): row for row in summary}

    def cell(load, figure, peer):
        row = cells.get((load, figure, peer))
        if row is None:
            return "–"
        ratio = f" ({number(row['ratio'])})" if row["ratio"] is not None and peer != REFERENCE else ""
        return number(row["median"]) + ratio

    lines = ["| load | figure | " + " | ".join(TITLES[peer] for peer in peers) + " |", "|---|---|" + "--:|" * len(peers)]
    last = None
    for load, figure in dict.fromkeys((row["load"], row["figure"]) for row in summary):
        lines.append(f"| {load if load != last else ''} | {figure} | " + " | ".join(cell(load, figure, peer) for peer in peers) + " |")
        last = load
    return "\n".join(lines)


def panel(title, rows, left, top):
    most = max(row["median"] for row in rows)
    yield f'<text x="{left}" y="{top + 14}" class="title">{html.escape(title)}</text>'
    for index, row in enumerate(rows):
        y = top + 28 + index * BAR_STEP
        width = max(1, (PANEL_WIDTH - LABEL_WIDTH - VALUE_WIDTH) * row["median"] / most)
        ratio = f" ({number(row['ratio'])} ×)" if row["ratio"] is not None and row["peer"] != REFERENCE else ""
        colour = OURS if row["peer"].startswith("culvert") else OTHERS
        yield f'<text x="{left + LABEL_WIDTH - 8}" y="{y + 12}" text-anchor="end">{html.escape(TITLES[row["peer"]])}</text>'
        yield f'<rect x="{left + LABEL_WIDTH}" y="{y}" width="{width:.1f}" height="{BAR_HEIGHT}" rx="2" fill="{colour}"/>'
        yield f'<text x="{left + LABEL_WIDTH + width + 6:.1f}" y="{y + 12}">{number(row["median"])}{ratio}</text>'


def picture(summary):
    """SVG: what each peer costs; the shorter the bar, the better."""
    height = 28 + BAR_STEP * (len(TITLES) - 1) + MARGIN  # of a panel; a plain connection has no bar
    lines = []
    for index, (title, load, figure) in enumerate(PANELS):
        rows = sorted((row for row in summary if (row["load"], row["figure"]) == (load, figure)), key=lambda row: row["median"])
        if rows:
            lines += panel(title, rows, MARGIN + index % 2 * (PANEL_WIDTH + MARGIN), MARGIN + index // 2 * height)
    width, note = 2 * PANEL_WIDTH + 3 * MARGIN, MARGIN + 2 * height + 8
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {note + MARGIN}" width="{width}" height="{note + MARGIN}" role="img">',
        "<title>What a tunnel costs: CPU time of both its processes</title>",
        f"<style>text {{ font: 13px system-ui, sans-serif; fill: {TEXT}; }} .title {{ font-weight: 600; font-size: 14px; }}</style>",
        *lines,
        f'<text x="{MARGIN}" y="{note}">CPU time of both processes together; less is better. In brackets: the ratio to {REFERENCE}.</text>',
        "</svg>", ""])
