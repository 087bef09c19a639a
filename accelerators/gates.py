"""Area in gate equivalents (GE): two-input NAND gates, by formulas that anybody can check.

The sizes of the cells are round figures typical of standard-cell libraries (assumed; a library's
own numbers differ by some 20 %), so areas counted with them compare designs, not chips.
"""

from __future__ import annotations

__all__ = [
    "AND",
    "FLIP_FLOP",
    "FULL_ADDER",
    "MUX",
    "XOR",
    "check_bits",
    "comparator",
    "decoder",
    "multiplier",
]

AND = 1.5  # assumed: two-input, with output inverter
XOR = 2.5  # assumed: two-input
MUX = 2.5  # assumed: two-to-one, one bit
FULL_ADDER = 6.0  # assumed: one bit
FLIP_FLOP = 6.0  # assumed: one bit, with enable


def multiplier(a_bits: int, b_bits: int) -> float:
    """An array multiplier: an AND for each partial product bit, all but one row of them added up.

    >>> multiplier(8, 8)
    432.0
    """
    return a_bits * b_bits * AND + a_bits * (b_bits - 1) * FULL_ADDER


def comparator(bits: int) -> float:
    """A magnitude comparator: the carry chain of a subtractor."""
    return bits * FULL_ADDER


def check_bits(data_bits: int, corrected: int) -> int:
    """Check bits of a code that corrects some bits and detects one more.

    The smallest m with ``2**m - 1 >= data + t · m`` gives ``t · m`` of a shortened BCH code (with
    t = 1: Hamming), and one of overall parity.

    >>> [check_bits(8, 1), check_bits(64, 1), check_bits(64, 2)]
    [5, 8, 15]
    """
    m = 2
    while (1 << m) - 1 < data_bits + corrected * m:
        m += 1
    return corrected * m + 1


def decoder(data_bits: int, corrected: int) -> float:
    """A decoder of such a code.

    An XOR tree over half the word for each check bit; for each data bit an AND tree over the
    syndrome (once for each bit that can be corrected: a lower bound) and the XOR that mends it.

    >>> decoder(8, 1)  # 5 · 4 XOR, 8 · 3 AND, 8 XOR
    106.0
    """
    checks = check_bits(data_bits, corrected)
    syndrome = checks * data_bits / 2 * XOR
    locator = data_bits * corrected * (checks - 2) * AND
    return syndrome + locator + data_bits * XOR
