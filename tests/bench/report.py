# SPDX-License-Identifier: Apache-2.0
"""Medians and ratios of the figures, as a table and as a picture."""

import html
import statistics

from loads import HTTP_CONNECTIONS, SPEED_LEFT, STREAMS_OF_TUNNELS

REFERENCE = "stunnel"
COLUMNS_MAX = 120  # of a line of text
TITLES = {"direct": "direct", "culvert": "Culvert", "culvert-listener": "Culvert, virtual listener",
          "culvert-http": "Culvert HTTP", "openssh": "OpenSSH -R", "haproxy": "HAProxy", "nginx": "nginx stream",
          "stunnel": "stunnel"}
# (title, load, figure) of each panel of the picture
PANELS = [
    ("Bulk, 1 stream: CPU seconds per GB", "bulk down, 1 stream", "CPU s/GB"),
    ("Bulk, 64 streams: CPU seconds per GB", "bulk down, 64 streams", "CPU s/GB"),
    (f"Small HTTP, {HTTP_CONNECTIONS} connections: CPU µs per request", f"small HTTP, {HTTP_CONNECTIONS} connections",
     "CPU µs/request"),
    ("New connections: CPU µs each", "new connections", "CPU µs each"),
]
PANEL_WIDTH, BAR_HEIGHT, BAR_STEP, LABEL_WIDTH, VALUE_WIDTH, MARGIN = 440, 16, 24, 96, 110, 16
BARS_MAX = 6  # all peers of the document; a plain connection costs nothing, so it has no bar
# Each is readable on white and on black, since an image does not know its background.
TEXT, OURS, OTHERS = "#75808c", "#1f8fe0", "#8391a0"


def summarise(rows):
    """Medians over the rounds, and medians of the ratio to the reference in the same round."""
    values, lines = {}, {}
    for row in rows:
        for figure, value in row.get("figures", {}).items():
            rounds = values.setdefault((row["load"], figure, row["peer"]), {})
            lines[row["load"], figure] = None
            if value is not None and not isinstance(value, str):
                rounds[row["round"]] = value
    summary = []
    for (load, figure, peer), mine in sorted(values.items(), key=lambda item: list(lines).index(item[0][:2])):
        theirs = values.get((load, figure, REFERENCE), {})
        ratios = [mine[each] / theirs[each] for each in mine if theirs.get(each)]
        if mine:
            ratio = statistics.median(ratios) if ratios and figure != SPEED_LEFT else None
            summary.append({"load": load, "figure": figure, "peer": peer, "median": statistics.median(mine.values()),
                            "ratio": ratio})
    return summary


def http_beside_channel(rows):
    """A sentence with the CPU time of each load through the HTTP proxy, as a multiple of that through a channel in the
    same round: the price of checking each request. Empty if one of the two was not measured."""
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


def tunnel_streams(rows):
    """A line per load and peer: how many streams each tunnel had, in each round. Empty if that was not measured."""
    seen = {}
    for row in rows:
        if text := row.get("figures", {}).get(STREAMS_OF_TUNNELS):
            seen.setdefault((row["load"], TITLES[row["peer"]]), []).append(text)
    return "\n".join(f"{load}, {title}: {STREAMS_OF_TUNNELS} in each round: {', '.join(texts)}"
                     for (load, title), texts in seen.items())


def load_name(load, peer):
    """The load's name in a table: what goes through Culvert's HTTP proxy has a row of its own."""
    return f"{load}, HTTP proxy" if peer == "culvert-http" else load


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(summary):
    """A line per figure, a column per peer; in brackets is the ratio to the reference. What goes through Culvert's HTTP
    proxy is in its column, in lines below those of the same load."""
    ordered = []
    for load in dict.fromkeys(row["load"] for row in summary):
        mine = [row for row in summary if row["load"] == load]
        ordered += [row for row in mine if row["peer"] != "culvert-http"]
        ordered += [{**row, "load": load_name(load, row["peer"]), "peer": "culvert"} for row in mine
                    if row["peer"] == "culvert-http"]
    summary = ordered
    peers = [peer for peer in TITLES if any(row["peer"] == peer for row in summary)]
    cells = {(row["load"], row["figure"], row["peer"]): row for row in summary}

    def cell(load, figure, peer):
        row = cells.get((load, figure, peer))
        if row is None:
            return "–"
        ratio = f" ({number(row['ratio'])})" if row["ratio"] is not None and peer != REFERENCE else ""
        return number(row["median"]) + ratio

    lines = [f"| load | figure | {' | '.join(TITLES[peer] for peer in peers)} |", "|---|---|" + "--:|" * len(peers)]
    last = None
    for load, figure in dict.fromkeys((row["load"], row["figure"]) for row in summary):
        values = " | ".join(cell(load, figure, peer) for peer in peers)
        name = load if load != last else ""
        if len(f"| {name} | {figure} | {values} |") > COLUMNS_MAX:
            lines.append(f"| {name} |" + " |" * (1 + len(peers)))
            name = ""
        lines.append(f"| {name} | {figure} | {values} |")
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
        bar = left + LABEL_WIDTH
        yield f'<text x="{bar - 8}" y="{y + 12}" text-anchor="end">{html.escape(TITLES[row["peer"]])}</text>'
        yield f'<rect x="{bar}" y="{y}" width="{width:.1f}" height="{BAR_HEIGHT}" rx="2" fill="{colour}"/>'
        yield f'<text x="{bar + width + 6:.1f}" y="{y + 12}">{number(row["median"])}{ratio}</text>'


def picture(summary):
    """An SVG image of what each peer costs; shorter bars are better."""
    height = 28 + BAR_STEP * BARS_MAX + MARGIN  # of a panel
    lines = []
    for index, (title, load, figure) in enumerate(PANELS):
        rows = [row for row in summary if (row["load"], row["figure"]) == (load, figure)]
        if rows:
            left, top = MARGIN + index % 2 * (PANEL_WIDTH + MARGIN), MARGIN + index // 2 * height
            lines += panel(title, sorted(rows, key=lambda row: row["median"]), left, top)
    width, note = 2 * PANEL_WIDTH + 3 * MARGIN, MARGIN + 2 * height + 8
    all_height = note + MARGIN
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {all_height}" width="{width}" '
        f'height="{all_height}" role="img">',
        "<title>What a tunnel costs: CPU time of both its processes</title>",
        f"<style>text {{ font: 13px system-ui, sans-serif; fill: {TEXT}; }} "
        ".title { font-weight: 600; font-size: 14px; }</style>",
        *lines,
        f'<text x="{MARGIN}" y="{note}">CPU time of both processes together; less is better. '
        f"In brackets: the ratio to {REFERENCE}.</text>",
        "</svg>", ""])
