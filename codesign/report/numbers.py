"""Numbers as people read them: ``93.0 ± 0.4``, rates as ``1e-3``, zero events as ``< 0.4 %``."""

from __future__ import annotations

from codesign.intervals import Interval

__all__ = ["between", "change", "count", "duration", "figures", "points", "rate", "share", "si"]

MINUS = "\N{MINUS SIGN}"
RULE_OF_THREE = 3.0  # no event in n: below 3/n with 95 % confidence (Hanley, Lippman-Hand 1983)


def points(interval: Interval, signed: bool = False) -> str:
    """A share or difference of shares in percent or points, with half its interval's width.

    What was not seen at all, and what was seen always, is told by its bound; what is exactly
    known has no ±.

    >>> points(Interval(0.93, 0.926, 0.934, 0.95, 30, "x"))
    '93.0 ± 0.4'
    >>> points(Interval(0.0, 0.0, 0.012, 0.95, 30, "x")), points(Interval.exact(-0.25, 8))
    ('< 1.2', '−25.0')
    >>> points(Interval(1.0, 0.912, 1.0, 0.95, 40, "x"))
    '> 91.2'
    """
    value, half = 100 * interval.value, 100 * interval.half_width
    if interval.value == interval.low == 0.0 < interval.high:
        return f"< {_shortest(100 * interval.high)}"
    if interval.value == interval.high == 1.0 > interval.low:
        return f"> {MINUS if interval.low < 0 else ''}{_shortest(100 * abs(interval.low))}"
    digits = 1 if half >= 0.05 or half == 0.0 else 2
    told = _signed(value, digits, signed)
    return told if half == 0.0 else f"{told} ± {half:.{digits}f}"


def between(interval: Interval) -> str:
    """Both ends in percent or points.

    >>> between(Interval(0.93, -0.02, 0.95, 0.95, 30, "x"))
    '−2.0 to 95.0'
    """
    digits = 1 if interval.half_width >= 0.0005 or interval.half_width == 0.0 else 2
    ends = (_signed(100 * end, digits) for end in (interval.low, interval.high))
    return " to ".join(ends)


def share(value: float, trials: int = 0) -> str:
    """A share in percent; nothing seen in n trials is below the rule of three's bound.

    >>> share(0.125), share(0.0, 750), share(0.0004), share(1.0)
    ('12.5 %', '< 0.4 %', '0.04 %', '100 %')
    """
    if value == 0.0 and trials:
        return f"< {_shortest(100 * min(1.0, RULE_OF_THREE / trials))} %"
    return f"{_shortest(100 * value)} %"


def rate(value: float | None) -> str:
    """A probability per site.

    >>> rate(0.001), rate(0.00025), rate(None), rate(0)
    ('1e-3', '2.5e-4', 'one fault', '0')
    """
    if value is None:
        return "one fault"
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def count(value: float) -> str:
    """A whole number in groups of three digits.

    >>> count(12345).split(), count(-7)
    (['12', '345'], '−7')
    """
    return f"{round(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}").replace("-", MINUS)


def si(value: float, unit: str) -> str:
    """Three figures with a prefix; the value is in the unit itself.

    >>> si(1.234e-9, "J"), si(0.9996, "J"), si(0, "J")
    ('1.23 nJ', '1 J', '0 J')
    """
    if value == 0:
        return f"0 {unit}"
    prefixes = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}
    exponent = int(f"{value:.2e}".split("e")[1])
    power = min(9, max(-15, 3 * (exponent // 3)))
    return f"{figures(value / 10**power)} {prefixes[power]}{unit}"


def change(ratio: float) -> str:
    """A factor as people say it: percent up to a doubling, times beyond.

    >>> change(1.02), change(3.02), change(0.8), change(1.0), change(1.00004)
    ('+2.0 %', '× 3.02', '−20.0 %', '±0 %', '+0.004 %')
    """
    if ratio == 1.0:
        return "±0 %"
    if ratio >= 2.0:
        return f"× {figures(ratio)}"
    percent = 100 * (ratio - 1)
    sign = "+" if percent > 0 else MINUS
    told = f"{abs(percent):.1f}" if abs(percent) >= 0.05 else f"{abs(percent):.1g}"
    return f"{sign}{told} %"


def figures(value: float) -> str:
    """Three figures and no power of ten where it can be helped.

    >>> figures(123.45), figures(0.0123), figures(2.0)
    ('123', '0.0123', '2')
    """
    if abs(value) >= 1000:
        return count(value)
    return f"{value:.3g}".replace("-", MINUS)


def duration(seconds: float) -> str:
    """A time as a clock would say it.

    >>> duration(0.42), duration(75), duration(7384)
    ('0.42 s', '1 min 15 s', '2 h 3 min')
    """
    if seconds < 60:
        return f"{figures(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _signed(value: float, digits: int, plus: bool = False) -> str:
    told = f"{abs(value):.{digits}f}"
    if not float(told):
        return told
    return (MINUS if value < 0 else "+" if plus else "") + told


def _shortest(value: float) -> str:
    if value == 0:
        return "0"
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 0.1 else f"{value:.1g}"
