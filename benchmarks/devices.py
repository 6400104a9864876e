"""The device that the option --device names."""

import torch


def named_device(name: str) -> torch.device:
    """The device of this name; "auto" is a CUDA device if there is one, otherwise the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"unknown device {name!r}; use 'auto', 'cpu' or 'cuda'") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("no CUDA device was found; use 'cpu' or 'auto'")
    return device
