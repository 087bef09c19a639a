"""How a unit looks: its instances as cells, from the shape of the group alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

from codesign.report.heat import blocks
from codesign.report.numbers import count
from codesign.study.findings import UnitPicture

__all__ = ["Cell", "Look", "groups_in", "look_of", "shape_text"]

LARGEST_GRID = 32  # cells along an axis of an array
LARGEST_INNER = 12  # along an axis of one core's array
LARGEST_STRIP = 16
MOST_BANKS = 32
MOST_GROUPS = 64  # cores drawn with what is inside them
GRID, INNER, SMALLEST = 184.0, 88.0, 6.0
BANK, GAP, LANE = 34.0, 6.0, 5.0
MEMORY_WIDTH, MEMORY_HEIGHT, PER_DOUBLING = 104.0, 34.0, 4.0

Range = tuple[int, int]


@dataclass(frozen=True)
class Cell:
    """A rectangle that stands for instances.

    Attributes:
        x, y, width, height: Within the unit, in pixels.
        ranges: Half open, of each axis of the unit's shape; of a bank, its words.
    """

    x: float
    y: float
    width: float
    height: float
    ranges: tuple[Range, ...]


@dataclass(frozen=True)
class Look:
    """A unit as drawn.

    Attributes:
        width, height: In pixels.
        cells: All its instances, once each.
        wires: Lines between neighbours of a mesh: (x1, y1, x2, y2).
        block: What a cell stands for where it is more than one instance, for example
            ``6 × 2 of 64 × 20``.
        in_row: Cores in a row of the drawing, or 0.
    """

    width: float
    height: float
    cells: tuple[Cell, ...]
    wires: tuple[tuple[float, float, float, float], ...] = ()
    block: str = ""
    in_row: int = 0


def groups_in(units: tuple[UnitPicture, ...]) -> int:
    """How many cores a chip has: the first axis that meshes and units of three axes share, or 0."""
    firsts = {u.shape[0] for u in units if len(u.shape) >= 3 or (u.kind == "mesh" and u.shape)}
    return firsts.pop() if len(firsts) == 1 else 0


def look_of(unit: UnitPicture, groups: int, words: int = 0) -> Look:
    """Cells of a unit.

    Args:
        unit: Of a chip.
        groups: Of `groups_in`: units whose first axis is that long are drawn core by core.
        words: Of a memory of one instance whose words are told: it is drawn in banks.
    """
    shape = unit.shape
    if not shape:
        return _banks(unit, words) if words else _memory(unit)
    if len(shape) == 2 and not (groups and shape[0] == groups):
        return _grid(shape, LARGEST_GRID, GRID, unit.kind == "mesh")
    return _lanes(shape) if unit.kind == "link" and len(shape) == 1 else _cores(unit)


def shape_text(unit: UnitPicture) -> str:
    """The shape in words: instances, or size and word of a memory.

    >>> shape_text(UnitPicture("array", "pe_array", (8, 16), ()))
    '8 × 16'
    >>> shape_text(UnitPicture("sram", "sram", (), (("words", 128, 1024, "weight"),)))
    '16 KiB, 128 b words'
    """
    if len(unit.shape) == 1:
        return f"{unit.shape[0]} {'lanes' if unit.kind == 'link' else 'instances'}"
    if unit.shape:
        return " × ".join(map(str, unit.shape))
    if len(unit.components) == 1:
        _, bits, words, _ = unit.components[0]
        return f"{_bytes(bits * words)}, {bits} b words"
    return ""


def _bytes(bits: int) -> str:
    size = bits / 8
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"


def _memory(unit: UnitPicture) -> Look:
    """A box; each doubling of its content makes it a little taller."""
    content = sum(bits * words for _, bits, words, _ in unit.components)
    height = MEMORY_HEIGHT + PER_DOUBLING * max(0.0, math.log2(max(1, content)) - 12)
    return Look(MEMORY_WIDTH, height, (Cell(0.0, 0.0, MEMORY_WIDTH, height, ()),))


def _banks(unit: UnitPicture, words: int) -> Look:
    """The same box, cut into banks of words that lie side by side."""
    whole = _memory(unit)
    parts = blocks(words, MOST_BANKS)
    in_row = math.ceil(math.sqrt(len(parts) * whole.width / whole.height / 1.5))
    rows = -(-len(parts) // in_row)
    width, height = whole.width / in_row, whole.height / rows
    cells = tuple(
        Cell(i % in_row * width, i // in_row * height, width, height, (part,))
        for i, part in enumerate(parts)
    )
    step = parts[0][1]
    block = "" if step == 1 else f"{count(step)} of {count(words)} words"
    return Look(whole.width, whole.height, cells, (), block)


def _grid(shape: tuple[int, ...], largest: int, extent: float, mesh: bool = False) -> Look:
    """Rows and columns as they are; long axes in blocks. A mesh has gaps, and wires in them."""
    down, across = blocks(shape[0], largest), blocks(shape[1], largest)
    size = max(SMALLEST, min(BANK if mesh else 23.0, extent / max(len(down), len(across))))
    gap = max(3.0, size * 0.35) if mesh else 1.0
    cells = tuple(
        Cell(j * (size + gap), i * (size + gap), size, size, (rows, columns))
        for (i, rows), (j, columns) in product(enumerate(down), enumerate(across))
    )
    width = len(across) * (size + gap) - gap
    height = len(down) * (size + gap) - gap
    wires = _wires(len(down), len(across), size, gap) if mesh else ()
    return Look(width, height, cells, wires, _block(shape, (down, across)))


def _lanes(shape: tuple[int, ...]) -> Look:
    """The lanes of a bus, one above the other."""
    parts = blocks(shape[0], LARGEST_STRIP)
    cells = tuple(
        Cell(0.0, i * (LANE + 2), 3 * LANE, LANE, (part,)) for i, part in enumerate(parts)
    )
    return Look(3 * LANE, len(parts) * (LANE + 2) - 2, cells, (), _block(shape, (parts,)))


def _cores(unit: UnitPicture) -> Look:
    """A near-square arrangement of cores, each with its own instances inside."""
    shape = unit.shape
    runs = blocks(shape[0], shape[0] if shape[0] <= MOST_GROUPS else LARGEST_GRID**2)
    inner = shape[1:] if shape[0] <= MOST_GROUPS else ()
    one = _inner(unit, inner)
    in_row = math.ceil(math.sqrt(len(runs)))
    mesh = unit.kind == "mesh"
    gap = max(GAP, 12.0 if mesh else GAP)
    cells = []
    for g, run in enumerate(runs):
        left, top = (g % in_row) * (one.width + gap), (g // in_row) * (one.height + gap)
        rest = tuple((0, size) for size in shape[1:])
        for c in one.cells:
            ranges = (run, *(c.ranges if inner else rest))
            cells.append(Cell(left + c.x, top + c.y, c.width, c.height, ranges))
    rows = -(-len(runs) // in_row)
    width = in_row * (one.width + gap) - gap
    height = rows * (one.height + gap) - gap
    wires = _wires(rows, in_row, one.width, gap, len(runs)) if mesh else ()
    block = one.block if len(runs) == shape[0] else f"{runs[0][1]} of {shape[0]}"
    return Look(width, height, tuple(cells), wires, block, in_row if len(runs) > 1 else 0)


def _inner(unit: UnitPicture, inner: tuple[int, ...]) -> Look:
    """What is inside one core."""
    if len(inner) >= 2:
        grid = _grid((math.prod(inner[:-1]), inner[-1]), LARGEST_INNER, INNER)
        if len(inner) == 2:
            return grid
        whole = tuple((0, size) for size in inner)
        return Look(BANK, BANK, (Cell(0.0, 0.0, BANK, BANK, whole),))
    if len(inner) == 1:
        parts = blocks(inner[0], LARGEST_STRIP)
        size, thick = max(5.0, min(10.0, INNER / len(parts))), 16.0
        upright = "axon" in unit.kind
        cells = []
        for i, part in enumerate(parts):
            at = i * (size + 1)
            x, y, w, h = (0.0, at, thick, size) if upright else (at, 0.0, size, thick)
            cells.append(Cell(x, y, w, h, (part,)))
        length = len(parts) * (size + 1) - 1
        told = _block(inner, (parts,))
        return Look(*((thick, length) if upright else (length, thick)), tuple(cells), (), told)
    size = BANK if unit.shape[0] <= MOST_GROUPS else SMALLEST
    return Look(size, size, (Cell(0.0, 0.0, size, size, ()),))


def _wires(
    rows: int, columns: int, size: float, gap: float, count: int | None = None
) -> tuple[tuple[float, float, float, float], ...]:
    """Between horizontal and vertical neighbours."""
    count = rows * columns if count is None else count
    wires = []
    for index in range(count):
        row, column = divmod(index, columns)
        x, y = column * (size + gap), row * (size + gap)
        if column + 1 < columns and index + 1 < count:
            wires.append((x + size, y + size / 2, x + size + gap, y + size / 2))
        if index + columns < count:
            wires.append((x + size / 2, y + size, x + size / 2, y + size + gap))
    return tuple(wires)


def _block(shape: tuple[int, ...], parts: tuple[list[Range], ...]) -> str:
    steps = [part[0][1] for part in parts]
    if all(step == 1 for step in steps):
        return ""
    return f"{' × '.join(map(str, steps))} of {' × '.join(map(str, shape))}"
