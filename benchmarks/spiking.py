"""One exact forward pass of a spiking network.

`StepLoop` in float32 is denominator A: step by step, layer by layer. With membranes in integers and
a strike it is `ours-dense` and the oracle. `TimeBatched` makes the sums of a layer for all steps at
once, which a network without feedback allows.
"""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor

from benchmarks.forward import Summed, as_float, largest_input, plain, summed
from benchmarks.rounding import FLOAT32_INTEGERS
from benchmarks.strikes import Element, Strike, xor
from codesign.layers import Input, Layer, Lif, is_mac
from codesign.program import Program

__all__ = ["StepLoop", "TimeBatched"]

INT32 = (1 << 31) - 1


class StepLoop:
    """A spiking program, step by step.

    Args:
        program: Its sums must not leave their formats without faults.
        integers: Membranes as integers, fitted to their format at every write; float32, which the
            caller checks to be exact, if not.
        sums: How sums are made where no weight is struck; float32 if left out.
    """

    def __init__(
        self, program: Program, *, integers: bool = False, sums: Summed | None = None
    ) -> None:
        self.program, self.network = program, program.network
        order = torch.contiguous_format
        self.weights = {x.name: as_float(x, order) for x in self.network if is_mac(x)}
        self.sums = sums or (lambda layer, x: summed(layer, x, *self.weights[layer.name]))
        self.neurons = {
            x.name: Neurons(program, x, integers) for x in self.network if isinstance(x, Lif)
        }
        for name, (weight, bias) in self.weights.items():
            most = float(weight.flatten(1).abs().sum(1).max()) + 256.0  # a struck weight
            bound = most * largest_input(program, self.network[name]) + float(bias.abs().max())
            if bound >= FLOAT32_INTEGERS:
                raise NotImplementedError(f"{name}: sums up to {bound:.0f} in float32")

    def ready(self, codes: np.ndarray) -> Tensor:
        """Codes ``[samples, steps, ...]`` as `run` takes them: ``[steps, samples, ...]``."""
        values = torch.from_numpy(np.asarray(codes, dtype=np.float32))
        return values.transpose(0, 1).contiguous()

    def run(self, codes: Tensor, batch: int, strike: Strike | None = None) -> Tensor:
        """Outputs ``[samples, classes]``: spikes counted over the steps."""
        with torch.inference_mode():
            parts = [
                self._some(codes[:, i : i + batch], i, strike)
                for i in range(0, codes.shape[1], batch)
            ]
            return torch.cat(parts)

    def _some(self, codes: Tensor, first: int, strike: Strike | None) -> Tensor:
        for neurons in self.neurons.values():
            neurons.start(strike, first)
        struck = self._struck_weights(strike)
        count: Tensor | None = None
        for step, x in enumerate(codes):
            y = self._step(x, step, strike, struck, first)
            count = y.clone() if count is None else count.add_(y)
        assert count is not None
        return count.flatten(1)

    def _step(
        self,
        x: Tensor,
        step: int,
        strike: Strike | None,
        struck: dict[str, Tensor],
        first: int,
    ) -> Tensor:
        y = x
        for layer in self.network:  # each reads the one before it
            if isinstance(layer, Input):
                y = x
            elif is_mac(layer) and layer.name in struck:
                y = summed(layer, y, struck[layer.name], self.weights[layer.name][1])
            elif is_mac(layer):
                y = self.sums(layer, y)
            elif isinstance(layer, Lif):
                y = self.neurons[layer.name].step(y, step)
            else:
                y = plain(layer, [y])
            if strike is not None and layer.name in strike.stored:
                y = y.clone(memory_format=torch.contiguous_format)
                for element in strike.stored[layer.name]:
                    element.strike_(y, first)
        return y

    def _struck_weights(self, strike: Strike | None) -> dict[str, Tensor]:
        struck: dict[str, Tensor] = {}
        for name, (flat, mask) in (strike.weights if strike else {}).items():
            weight = self.weights[name][0].clone()
            values = weight.view(-1)
            assert strike is not None
            values[flat] = xor(values[flat], mask, strike.weight_bits[name], True)
            struck[name] = weight
        return struck


class Neurons:
    """One layer's membranes.

    Raises:
        NotImplementedError: A rule that the benchmark's networks do not have.
    """

    def __init__(self, program: Program, layer: Lif, integers: bool) -> None:
        form = program.membrane(layer.name)
        leak = layer.leak
        if leak.kind not in ("none", "shift", "multiply") or form.overflow != "saturate":
            raise NotImplementedError(f"{layer.name}: leak {leak.kind}, {form}")
        if layer.threshold.ndim:
            raise NotImplementedError(f"{layer.name}: thresholds by channel")
        self.layer, self.form, self.leak = layer, form, leak
        widest = -form.low * (leak.factor if leak.kind == "multiply" else 2) + (1 << leak.amount)
        whole = torch.int32 if widest < INT32 else torch.int64
        self.dtype = whole if integers else torch.float32
        self.fits = integers
        self.golden_threshold = int(layer.threshold)
        self.peak = 0.0
        self.start(None, 0)

    def start(self, strike: Strike | None, first: int) -> None:
        """Forget the membranes; take what a strike says of these neurons."""
        self.v: Tensor | None = None
        self.f: Tensor | None = None
        self.first = first
        name = self.layer.name
        self.membranes: list[Element] = strike.membranes.get(name, []) if strike else []
        self.fires = strike.fires.get(name, []) if strike else []
        self.struck_thresholds = strike.thresholds.get(name, []) if strike else []
        self.threshold: Tensor | int = self.golden_threshold

    def step(self, current: Tensor, step: int) -> Tensor:
        """Spikes of one step, float32."""
        if self.v is None or self.f is None:
            self.v = torch.zeros(current.shape, dtype=self.dtype)
            self.f = torch.zeros(current.shape, dtype=self.dtype)
            self._set_threshold(current)
        self._strike(step, begins=True)
        for operation in self.layer.order:
            getattr(self, f"_{operation}")(current)
        self._strike(step, begins=False)
        return self.f if self.dtype == torch.float32 else self.f.float()

    def _set_threshold(self, current: Tensor) -> None:
        if self.struck_thresholds:
            table = torch.full((1, prod(current.shape[1:])), self.golden_threshold)
            for element in self.struck_thresholds:
                element.strike_(table, 0)
            self.threshold = table.to(self.dtype).reshape(1, *current.shape[1:])

    def _strike(self, step: int, *, begins: bool) -> None:
        """A flip strikes as the first step of its window begins, a stuck bit begins and ends."""
        assert self.v is not None
        for element in self.membranes:
            start, stop = element.steps
            inside = step >= start and (stop < 0 or step < stop)
            if (element.level is None and begins and step == start) or (
                element.level is not None and inside
            ):
                element.strike_(self.v, self.first)

    def _fit(self, v: Tensor) -> Tensor:
        return v.clamp_(self.form.low, self.form.high) if self.fits else v

    def _leak(self, current: Tensor) -> None:
        v, leak = self.v, self.leak
        assert v is not None
        if leak.kind == "none":
            return
        if self.dtype == torch.float32:
            if leak.kind == "multiply":
                v.mul_(leak.factor * 2.0**-leak.amount).add_(0.5).floor_()
            else:
                v.sub_((v * 2.0**-leak.amount).floor_())
        elif leak.kind == "multiply":
            v.mul_(leak.factor).add_((1 << leak.amount) >> 1).bitwise_right_shift_(leak.amount)
            self._fit(v)
        else:
            v.sub_(v >> leak.amount)

    def _integrate(self, current: Tensor) -> None:
        assert self.v is not None
        self._fit(self.v.add_(current if self.dtype == current.dtype else current.to(self.dtype)))

    def _fire(self, current: Tensor) -> None:
        compare = torch.gt if self.layer.strict else torch.ge
        assert self.v is not None
        assert self.f is not None
        if self.dtype == torch.float32:
            compare(self.v, self.threshold, out=self.f)
        else:
            self.f = compare(self.v, self.threshold).to(self.dtype)
        for flat, level in self.fires:
            self.f.view(len(self.f), -1)[:, flat] = level

    def _reset(self, current: Tensor) -> None:
        assert self.v is not None
        assert self.f is not None
        if self.layer.reset == "subtract":
            if isinstance(self.threshold, Tensor):
                self._fit(self.v.sub_(self.f * self.threshold))
            else:
                self._fit(self.v.sub_(self.f, alpha=self.threshold))
        elif self.layer.reset == "zero":
            self.v.mul_(1 - self.f)


class TimeBatched:
    """A spiking program, layer by layer, sums of all steps at once.

    Args:
        program: As of `StepLoop`; without effects.
        sums: How sums are made; float32 if left out.
        integers: Membranes as integers.
    """

    def __init__(
        self, program: Program, *, integers: bool = False, sums: Summed | None = None
    ) -> None:
        self.loop = StepLoop(program, integers=integers, sums=sums)
        self.ready = self.loop.ready

    def run(self, codes: Tensor, batch: int, strike: Strike | None = None) -> Tensor:
        """As `StepLoop.run`."""
        assert strike is None
        with torch.inference_mode():
            parts = [self._some(codes[:, i : i + batch]) for i in range(0, codes.shape[1], batch)]
            return torch.cat(parts)

    def _some(self, codes: Tensor) -> Tensor:
        steps, samples = codes.shape[:2]
        y = codes
        for layer in self.loop.network:
            if isinstance(layer, Input):
                continue
            if isinstance(layer, Lif):
                y = self._spikes(layer, y)
            else:
                flat = y.flatten(0, 1)
                y = self.loop.sums(layer, flat) if is_mac(layer) else plain(layer, [flat])
                y = y.reshape(steps, samples, *y.shape[1:])
        return y.sum(0).flatten(1)

    def _spikes(self, layer: Layer, currents: Tensor) -> Tensor:
        neurons = self.loop.neurons[layer.name]
        neurons.start(None, 0)
        spikes = torch.empty_like(currents, dtype=torch.float32)
        for step, current in enumerate(currents):
            spikes[step] = neurons.step(current, step)
        return spikes
