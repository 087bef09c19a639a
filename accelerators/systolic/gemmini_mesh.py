"""The units of Gemmini's mesh; what they do stands in `accelerators.gemmini.program`."""

from __future__ import annotations

from codesign.accelerator import Component, Unit

__all__ = ["mesh"]


def mesh(rows: int = 16) -> tuple[Unit, Unit]:
    """The two units of a mesh: its PEs, and the registers below it."""
    array = Unit(
        "array",
        "pe_array",
        (rows, rows),
        (
            Component("a", 8, "activation"),
            Component("b", 20, "psum"),
            Component("d", 20, "weight"),
            Component("c1", 32, "weight", reload="per_tile"),
            Component("c2", 32, "weight", reload="per_tile"),
            Component("product", 16, "product", net=True),
            Component("mac_out", 20, "psum", net=True),
        ),
    )
    edge = Unit(
        "edge",
        "register",
        (rows,),
        (Component("out_b", 20, "psum"), Component("out_c", 20, "psum")),
    )
    return array, edge
