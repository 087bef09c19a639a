"""The corruptions of one place, applied to tensors."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codesign.engine.dense_formulas import Formulas, full, order_of, reach, short, waves
from codesign.engine.dense_numbers import within_long
from codesign.engine.dense_rows import Rows, Span, expand

__all__ = ["Stack", "corrupt_all"]

Ints = NDArray[np.int64]
BROAD_WINDOWS = 16  # more windows than this in a wave are spread out element by element


def corrupt_all(values: Tensor, formulas: Formulas, chosen: Ints, ends: tuple[int, int]) -> Tensor:
    """Int64 values of a range after chosen rows that meet every one of them."""
    for i in chosen[order_of(formulas.rows[chosen])].tolist():
        if formulas.inside(ends):
            values = short(values, formulas.short[:, i].tolist())
        else:
            ends = within_long(*reach(formulas.rows[i : i + 1], *ends))
            values = full(values, formulas.full[:, i].tolist())
    return values


@dataclass(frozen=True, eq=False)
class _Wave:
    """Rows that meet each element at most once.

    Attributes:
        owner: ``[entries]`` row of each entry.
        element: ``[entries]`` what it corrupts.
        window: ``[4, entries]`` first and last sample, first and last step; or None for always.
        every: Whether the entries are all elements, in order.
    """

    owner: Ints
    element: Ints
    window: Ints | None
    every: bool
    ready: dict[torch.dtype, tuple[Tensor, Tensor]] = field(default_factory=dict)


class Stack:
    """The corruptions of one place, ready for tensors ``[steps, samples, elements]``.

    Attributes:
        rows: Effect rows.
    """

    def __init__(
        self,
        rows: Rows,
        owner: Ints,
        element: Ints,
        device: torch.device,
        window: Ints | None = None,
    ) -> None:
        """Arrange entries in waves.

        Args:
            rows: Effect rows.
            owner: ``[entries]`` row of each entry, ascending where entries share an element.
            element: ``[entries]`` what it corrupts.
            device: Of the tensors.
            window: ``[4, rows]`` first and last sample, first and last step of each row; without,
                rows act on everything.
        """
        self.rows, self._formulas, self._device = rows, Formulas(rows), device
        self._waves: list[_Wave] = []
        if len(element) == 0:
            return
        for wave in waves(element, rows["rank"][owner], self._formulas.stuck[owner]):
            mine, at = owner[wave], element[wave]
            every = window is None and bool((at == np.arange(len(at))).all())
            when = None if window is None else window[:, mine]
            self._waves.append(_Wave(mine, at, when, every))

    def __len__(self) -> int:
        return len(self._waves)

    def reach(self, low: int, high: int) -> tuple[int, int]:
        """Range of values of a range afterwards."""
        for _ in self._waves:
            low, high = within_long(*reach(self.rows, low, high))
        return low, high

    def apply_(
        self,
        data: Tensor,
        ends: tuple[int, int] | None,
        samples: Ints | None = None,
        first_step: int = 0,
    ) -> None:
        """Corrupt ``[steps, samples, elements]`` in place.

        Args:
            data: Integers in any dtype that holds the results.
            ends: Their range, or None if nothing is known.
            samples: Ascending numbers of the samples that are there (for rows with windows).
            first_step: Number of the first step that is there.
        """
        inside = self._formulas.inside(ends)
        for wave in self._waves:
            if wave.window is None:
                element, numbers = self._numbers(wave, inside)
                every = wave.every and len(wave.element) == data.shape[2]
                _corrupt(data, None if every else element, numbers)
            else:
                self._windowed(data, wave, wave.window, inside, samples, first_step)

    def _numbers(self, wave: _Wave, inside: bool) -> tuple[Tensor, Tensor]:
        """Elements and coefficients of a wave; the short ones in 32 bits where they fit."""
        form, dtype = self._formulas.form, torch.int64
        if inside and form is not None and form.bits + (not form.signed) <= 32:
            dtype = torch.int32
        key = dtype if dtype == torch.int32 or not inside else torch.int16  # short in 64 bits
        if key not in wave.ready:
            table = self._formulas.short if inside else self._formulas.full
            numbers = torch.from_numpy(np.ascontiguousarray(table[:, wave.owner]))
            element = torch.from_numpy(np.ascontiguousarray(wave.element))
            wave.ready[key] = element.to(self._device), numbers.to(self._device, dtype)
        return wave.ready[key]

    def _windowed(
        self,
        data: Tensor,
        wave: _Wave,
        windows: Ints,
        inside: bool,
        samples: Ints | None,
        first_step: int,
    ) -> None:
        element, numbers = self._numbers(wave, inside)
        present = np.arange(data.shape[1]) if samples is None else samples
        window = np.empty_like(windows)
        window[:2] = np.searchsorted(present, windows[:2])
        window[2:] = np.clip(windows[2:] - first_step, 0, data.shape[0])
        if (window == window[:, :1]).all():
            distinct, which = window[:, :1], None
        else:
            distinct, which = np.unique(window, axis=1, return_inverse=True)
        if distinct.shape[1] > BROAD_WINDOWS:
            _corrupt_scattered(data, wave.element, numbers, window)
            return
        for i, (s0, s1, t0, t1) in enumerate(distinct.T.tolist()):
            if s1 <= s0 or t1 <= t0:
                continue
            if which is None:
                _corrupt(data[t0:t1, s0:s1], element, numbers)
            else:
                mine = torch.from_numpy(np.flatnonzero(which.ravel() == i)).to(self._device)
                _corrupt(data[t0:t1, s0:s1], element[mine], numbers[:, mine])


def _formula(values: Tensor, numbers: Tensor) -> Tensor:
    """Values in the dtype of the coefficients after the formula that they belong to."""
    return (short if len(numbers) == 2 else full)(values.to(numbers.dtype), numbers)


def _corrupt(data: Tensor, element: Tensor | None, numbers: Tensor) -> None:
    """Entries of all steps and samples that are there; without elements, all in order."""
    if element is None:
        data.copy_(_formula(data, numbers))
        return
    struck = _formula(data.index_select(2, element), numbers)
    data.index_copy_(2, element, struck.to(data.dtype))


def _corrupt_scattered(data: Tensor, element: Ints, numbers: Tensor, window: Ints) -> None:
    """A wave whose entries have windows of their own: spread out to single elements."""
    s0, s1, t0, t1 = window
    one = np.ones_like(s0)
    owner, (t, s) = expand([Span(t0, t1 - t0, one), Span(s0, s1 - s0, one)])
    flat = (t * data.shape[1] + s) * data.shape[2] + element[owner]
    index = torch.from_numpy(flat).to(data.device)
    chosen = numbers[:, torch.from_numpy(owner).to(data.device)]
    struck = _formula(data.view(-1).index_select(0, index), chosen)
    data.view(-1).index_copy_(0, index, struck.to(data.dtype))
