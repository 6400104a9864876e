"""Values as JSON: all that ever travels between a check and a student's code; nothing in it runs.

Numbers, texts, tensors, lists, tuples and dictionaries travel as they are. A function or network of
the *check* travels as the name of a `sendable` maker and its arguments, and is made anew where it
arrives. One of the *student* stays where it is; only its number travels.
"""

import base64
import functools
import importlib
import sys
from typing import Any, Callable

import numpy as np
import torch

LARGEST = sys.float_info.max  # a larger whole number travels as this one
PLAIN = (type(None), bool, int, float, str)
# Of tensors that travel; not the quantised ones, whose numbers are not in their bytes.
NAMES = "float16 bfloat16 float32 float64 complex64 complex128 bool uint8 int8 int16 int32 int64"
DTYPES = {name: getattr(torch, name) for name in NAMES.split()}


class Unsendable:
    """Stands for a value that cannot travel; `kind` is the name of its type."""

    def __init__(self, kind: str):
        self.kind = kind


def sendable(maker: Callable) -> Callable:
    """Decorator for a module-level maker of a function or a network from sendable arguments."""

    @functools.wraps(maker)
    def make(*arguments):
        made = maker(*arguments)
        made.recipe = (maker.__module__, maker.__name__, arguments)
        return made

    make.is_maker = True
    return make


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether its entries can be read from memory: not those of a quantised or sparse tensor."""
    dense = tensor.layout == torch.strided and not tensor.is_nested
    return dense and tensor.device.type != "meta" and tensor.dtype in DTYPES.values()


def encode(value: Any, keep: Callable[[Any], int | None] | None = None) -> Any:
    """JSON-ready form of a value; `keep` gives the number of a function that stays here, or None.

    With `keep` any value is taken; without it, TypeError for what cannot travel.
    """
    if type(value) is int and abs(value) > LARGEST:
        value = LARGEST if value > 0 else -LARGEST
    if type(value) in PLAIN:
        return value
    if isinstance(value, np.generic) and value.ndim == 0:
        return encode(value.item(), keep)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        value = torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, torch.Tensor):
        if not is_plain(value):
            return {"unsendable": f"tensor of {value.dtype}, {value.layout}, on {value.device}"}
        name = str(value.dtype).removeprefix("torch.")
        plain = value.detach().as_subclass(torch.Tensor).cpu().resolve_conj().resolve_neg()
        flat = plain.flatten().clone(memory_format=torch.contiguous_format)
        data = base64.b64encode(flat.view(torch.uint8).numpy().tobytes()).decode()
        return {"tensor": data, "dtype": name, "shape": list(plain.shape)}
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [encode(entry, keep) for entry in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(key, keep), encode(entry, keep)] for key, entry in value.items()]}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if keep and (number := keep(value)) is not None:
        return {"kept": number}
    if hasattr(value, "kept_as"):
        return {"kept": value.kept_as}
    if hasattr(value, "recipe"):
        module, name, arguments = value.recipe
        return {"made": [module, name], "from": [encode(argument) for argument in arguments]}
    kind = type(value).__name__
    if keep is None:
        raise TypeError(f"a {kind} cannot travel; functions and networks need a @sendable maker")
    return {"unsendable": kind}


def decode(data: Any, kept: Callable[[int], Any], make: bool = True) -> Any:
    """The value again; `kept` finds a function by its number, and makers are called if `make`."""
    if not isinstance(data, dict):
        huge = type(data) is int and data.bit_length() > 1000  # more than a float can hold
        return Unsendable("huge int") if huge else data
    if "tensor" in data:
        dtype = DTYPES[data["dtype"]]
        entries = bytearray(base64.b64decode(data["tensor"]))
        if not entries and 0 in data["shape"]:
            return torch.zeros(data["shape"], dtype=dtype)
        return torch.frombuffer(entries, dtype=dtype).reshape(data["shape"])
    if "list" in data:
        return [decode(entry, kept, make) for entry in data["list"]]
    if "tuple" in data:
        return tuple(decode(entry, kept, make) for entry in data["tuple"])
    if "dict" in data:
        return {decode(key, kept, make): decode(entry, kept, make) for key, entry in data["dict"]}
    if "complex" in data:
        return complex(*data["complex"])
    if "kept" in data:
        return kept(data["kept"])
    if "made" in data and make:
        module, name = data["made"]
        ours = module.startswith(f"{__package__}.")
        maker = getattr(importlib.import_module(module), name) if ours else None
        if not getattr(maker, "is_maker", False):
            raise ValueError(f"{module}.{name} is not a sendable maker")
        return maker(*[decode(argument, kept) for argument in data["from"]])
    return Unsendable(str(data.get("unsendable")))
