"""Cycles per packet as bars: a small SVG without a library."""

BAR, GAP, LEFT, WIDTH = 14, 10, 280, 560
OURS, PEER, INK = "#1f6feb", "#9aa4af", "#57606a"


def write(path, results):
    """One pair of bars for each result that has a peer."""
    rows = [result for result in results if result["peer"]]
    longest = max((result["peer_cycles"] for result in rows), default=1)
    longest = max([longest, *(result["ours_cycles"] for result in rows)])
    height = 60 + len(rows) * (2 * BAR + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 130}" height="{height}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}">',
        f'<text x="{LEFT}" y="18" font-size="14">TSC cycles a packet, one core: shorter is faster</text>',
        f'<rect x="{LEFT}" y="28" width="12" height="12" fill="{OURS}"/><text x="{LEFT + 18}" y="38">Portcullis</text>',
        f'<rect x="{LEFT + 110}" y="28" width="12" height="12" fill="{PEER}"/>'
        f'<text x="{LEFT + 128}" y="38">ipsec-secgw, its best mode</text>',
    ]
    for index, result in enumerate(rows):
        top = 52 + index * (2 * BAR + GAP)
        parts.append(f'<text x="{LEFT - 8}" y="{top + BAR + 4}" text-anchor="end">{result["case"]}</text>')
        parts.append(_bar(top, result["ours_cycles"], longest, OURS, f'{result["ratio"]:.2f} times as fast'))
        parts.append(_bar(top + BAR, result["peer_cycles"], longest, PEER, ""))
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join([*parts, "</svg>\n"]))


def _bar(top, cycles, longest, colour, note):
    width = WIDTH * cycles / longest
    return (
        f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR - 2}" fill="{colour}"/>'
        f'<text x="{LEFT + width + 6:.1f}" y="{top + BAR - 4}">{cycles} {note}</text>'
    )
