"""A layered layout for accelerators: data flows from left to right, what flows back goes below.

Sugiyama, Tagawa, Toda 1981, small: break cycles, rank by longest path, bend long links at dummies,
order by barycentres, then let boxes float to the height of their neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Layout", "Size", "layered"]

SWEEPS = 8
RELAXATIONS = 12
DUMMY_HEIGHT = 18.0

Size = tuple[float, float]
Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """Where everything is, in pixels.

    Attributes:
        boxes: Left upper corner of each node, in their order.
        forward: By index of an edge, the points between its ends at which it bends.
        back: Indices of edges against the flow, themselves loops not among them.
        width, height: Of the whole.
    """

    boxes: tuple[Point, ...]
    forward: dict[int, tuple[Point, ...]]
    back: tuple[int, ...]
    width: float
    height: float


@dataclass
class _Node:
    width: float
    height: float
    rank: int = 0
    y: float = 0.0  # of its middle


def layered(
    sizes: Sequence[Size], edges: Sequence[tuple[int, int]], gap_x: float, gap_y: float
) -> Layout:
    """Place nodes.

    Args:
        sizes: Width and height of each node, nodes in the order in which data meets them: an edge
            that agrees with it is never turned back.
        edges: (from, to) by index; loops and parallel edges are allowed.
        gap_x: Between ranks.
        gap_y: Between nodes of a rank.
    """
    kept, back = _broken(len(sizes), edges)
    ranks = _ranks(len(sizes), [edges[i] for i in kept])
    nodes = [_Node(*size, rank) for size, rank in zip(sizes, ranks, strict=True)]
    chains = {i: _chain(nodes, *edges[i]) for i in kept}
    links = [pair for chain in chains.values() for pair in pairwise(chain)]
    rows = _ordered(nodes, links)
    _float(nodes, rows, links, gap_y)
    lefts = _lefts(nodes, rows, gap_x)
    bends = {
        i: tuple((lefts[nodes[d].rank], nodes[d].y) for d in chain[1:-1])
        for i, chain in chains.items()
    }
    real = range(len(sizes))
    widest = [max((nodes[n].width for n in row), default=0.0) for row in rows]
    boxes = tuple(
        (
            lefts[nodes[n].rank] + (widest[nodes[n].rank] - nodes[n].width) / 2,
            nodes[n].y - nodes[n].height / 2,
        )
        for n in real
    )
    width = max((x + sizes[n][0] for n, (x, _) in enumerate(boxes)), default=0.0)
    height = max((y + sizes[n][1] for n, (_, y) in enumerate(boxes)), default=0.0)
    return Layout(boxes, bends, tuple(back), width, height)


def _broken(count: int, edges: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Edges that are kept and edges that would close a cycle; the given order comes first."""
    after: list[set[int]] = [set() for _ in range(count)]

    def reaches(start: int, goal: int) -> bool:
        seen, left = {start}, [start]
        while left:
            node = left.pop()
            if node == goal:
                return True
            fresh = after[node] - seen
            seen |= fresh
            left += fresh
        return False

    kept, back = [], []
    forward_first = sorted(range(len(edges)), key=lambda i: edges[i][0] >= edges[i][1])
    for i in forward_first:
        source, target = edges[i]
        if source == target:
            continue
        if reaches(target, source):
            back.append(i)
        else:
            after[source].add(target)
            kept.append(i)
    return sorted(kept), sorted(back)


def _ranks(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Longest path from a source; sources stand just before what they feed."""
    ranks = [0] * count
    for _ in range(count):
        for source, target in edges:
            ranks[target] = max(ranks[target], ranks[source] + 1)
    fed = {target for _, target in edges}
    for node in range(count):
        following = [ranks[target] for source, target in edges if source == node]
        if node not in fed and following:
            ranks[node] = min(following) - 1
    return ranks


def _chain(nodes: list[_Node], source: int, target: int) -> list[int]:
    """The nodes that an edge passes, dummies in the ranks between its ends."""
    chain = [source]
    for rank in range(nodes[source].rank + 1, nodes[target].rank):
        nodes.append(_Node(0.0, DUMMY_HEIGHT, rank))
        chain.append(len(nodes) - 1)
    return [*chain, target]


def _ordered(nodes: list[_Node], links: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Nodes of each rank from top to bottom, with few crossings: the best of a few sweeps."""
    rows: list[list[int]] = [[] for _ in range(1 + max((n.rank for n in nodes), default=0))]
    for index, node in enumerate(nodes):
        rows[node.rank].append(index)
    best, fewest = [row[:] for row in rows], _crossings(rows, links)
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            place = {n: i / max(1, len(r) - 1) for r in rows for i, n in enumerate(r)}
            wanted = {n: _mean([place[m] for m in _near(n, links)] or [place[n]]) for n in row}
            row.sort(key=wanted.__getitem__)
        crossings = _crossings(rows, links)
        if crossings < fewest:
            best, fewest = [row[:] for row in rows], crossings
    return best


def _crossings(rows: Sequence[Sequence[int]], links: Sequence[tuple[int, int]]) -> int:
    place = {n: (rank, i) for rank, row in enumerate(rows) for i, n in enumerate(row)}
    ends = [(place[a][0], place[a][1], place[b][1]) for a, b in links]
    return sum(
        one[0] == other[0] and (one[1] - other[1]) * (one[2] - other[2]) < 0
        for i, one in enumerate(ends)
        for other in ends[:i]
    )


def _float(
    nodes: list[_Node], rows: Sequence[Sequence[int]], links: Sequence[tuple[int, int]], gap: float
) -> None:
    """Heights: each node as near to the middle of its neighbours as the others of its rank let."""
    for row in rows:
        _stack(nodes, row, [0.0] * len(row), gap)
    for _ in range(RELAXATIONS):
        for row in rows:
            wanted = [_mean([nodes[m].y for m in _near(n, links)] or [nodes[n].y]) for n in row]
            _stack(nodes, row, wanted, gap)
    highest = min((n.y - n.height / 2 for n in nodes), default=0.0)
    for node in nodes:
        node.y -= highest


def _stack(nodes: list[_Node], row: Sequence[int], wanted: Sequence[float], gap: float) -> None:
    """Middles in the order of the row, without overlap, and on average where they are wanted."""
    places, bottom = [], float("-inf")
    for n, middle in zip(row, wanted, strict=True):
        half = nodes[n].height / 2
        place = max(middle, bottom + gap + half)
        places.append(place)
        bottom = place + half
    pushed = _mean([p - w for p, w in zip(places, wanted, strict=True)] or [0.0])
    for n, place in zip(row, places, strict=True):
        nodes[n].y = place - pushed


def _lefts(nodes: Sequence[_Node], rows: Sequence[Sequence[int]], gap: float) -> list[float]:
    lefts, x = [], 0.0
    for row in rows:
        lefts.append(x)
        x += max((nodes[n].width for n in row), default=0.0) + gap
    return lefts


def _near(node: int, links: Sequence[tuple[int, int]]) -> list[int]:
    return [b if a == node else a for a, b in links if node in (a, b)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
