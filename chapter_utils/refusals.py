"""What no bound can be trusted for: modules that may compute something else than their class says (lesson 3)."""

import torch.nn.modules.module as module_hooks
from torch import nn
from torch.nn.utils import parametrize

UNKNOWN = "no Lipschitz bound is known for {}; its class must define lipschitz_bound(input_shape) and forward"
# What a subclass may replace: nothing in it is computed by `forward`.
HARMLESS = {
    "extra_repr",
    "reset_parameters",
    "train",
    "eval",
    "state_dict",
    "load_state_dict",
    "compile",
    "_abc_impl",
}


def refuse_altered(module: nn.Module) -> None:
    """Raise TypeError if `module` or a part of it may compute something else than its class in torch or in this package.

    A subclass that replaces a method does not inherit the bound. A class that defines `forward` and `lipschitz_bound`, or an
    operator's `forward`, `adjoint`, `_bound` and `_smallest`, answers for itself and for its parts.
    """
    if module_hooks._global_forward_hooks or module_hooks._global_forward_pre_hooks:
        raise TypeError(
            "there are forward hooks for all modules, which may change what they compute"
        )
    for part in module.modules():
        if part._forward_hooks or part._forward_pre_hooks:
            raise TypeError(
                f"{type(part).__name__} has forward hooks, which may change what it computes"
            )
        ours = set().union(*(vars(kind) for kind in type(part).__mro__ if _is_ours(kind)))
        for name in ours & vars(part).keys():
            if callable(getattr(type(part), name)) and not name.startswith(
                "__"
            ):  # Python does not look at those
                raise TypeError(
                    f"the method {name} of a {type(part).__name__} is replaced, which may change what it computes"
                )
    _refuse_other_methods(module)


def _is_ours(kind: type) -> bool:
    return kind.__module__.split(".")[0] in ("torch", __package__)


def _refuse_other_methods(module: nn.Module) -> None:
    if isinstance(module, parametrize.ParametrizationList):
        return  # the bounds read the weights that come out of it
    kinds = type(module).__mro__
    for place, kind in enumerate(kinds):
        own = set() if _is_ours(kind) else vars(kind).keys()
        if {"forward", "lipschitz_bound"} <= own or {
            "forward",
            "adjoint",
            "_bound",
            "_smallest",
        } <= own:
            return
        inherited = set().union(*(vars(base) for base in kinds[place + 1 :])) - HARMLESS
        if replaced := sorted(
            name for name in own & inherited if name == "__call__" or not name.startswith("__")
        ):
            new = not any(
                "forward" in vars(base) for base in kinds[place + 1 :] if base is not nn.Module
            )
            raise TypeError(
                UNKNOWN.format(
                    type(module).__name__ + ("" if new else f", which replaces {replaced[0]}")
                )
            )
    for child in module.children():
        _refuse_other_methods(child)
