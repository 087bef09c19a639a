"""Networks and data: models, data sets as `Samples`, and exchange with other tools.

`__all__` is the catalogue. A new entry is a name there and its module in `_HOME`; both stay
literals, because `codesign list` reads them without importing anything.
"""

from importlib import import_module
from typing import Any

__all__: list[str] = [
    "ConvLif",
    "FcLif",
    "LeNet",
    "MobileNetSmall",
    "ResNet20",
    "SmallCnn",
    "cifar10",
    "digits",
    "fashion_mnist",
    "mnist",
]

_HOME: dict[str, str] = {
    "ConvLif": "snn",
    "FcLif": "snn",
    "LeNet": "cnn",
    "MobileNetSmall": "cnn",
    "ResNet20": "cnn",
    "SmallCnn": "cnn",
    "cifar10": "data",
    "digits": "data",
    "fashion_mnist": "data",
    "mnist": "data",
}


def __getattr__(name: str) -> Any:
    """The catalogue entry `name`, whose module is imported when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
