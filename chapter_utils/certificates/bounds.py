"""How much a layer may stretch, and how far its computed output may be off: a table of rules.

A rule is a function of a module and its input shape (without the batch) that returns a `Bound`. It
is registered for one exact type, and trusted for no other: a subclass that replaces a method has no
rule, so no bound. One rule gives both halves of a certificate, so that what can be bounded can be
certified (lessons 3, 5 and 7).
"""

import math
import re
import sys
from contextlib import contextmanager
from typing import Callable, NamedTuple

import torch
import torch.nn.modules.module as module_hooks
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..norms import Shape

# |computed f(x) - f(x)| for |x| <= size, computed in this type
Rounding = Callable[[float, torch.dtype], float]

SMALLEST = sys.float_info.min  # no bound is smaller: a product that underflows bounds nothing
UNKNOWN = "no Lipschitz bound is known for {}: {}give its class a rule, @lipschitz_bound.register"
CHAIN = "write it as nn.Sequential, and x + f(x) as plain_layers.ResidualBlock(f), or "
# What to do instead, for kinds of modules.
ADVICE = """
LayerNorm GroupNorm RMSNorm InstanceNorm1d InstanceNorm2d: take BatchNorm2d, which does not divide \
by a length of its input that may be tiny, or
MultiheadAttention TransformerEncoderLayer Bilinear GLU: products of inputs have no Lipschitz \
constant, take layers that are linear or act on each entry, or
RNN LSTM GRU: write the recurrence as nn.Sequential, or
ModuleList ModuleDict: it computes nothing itself, take nn.Sequential, or
GroupSort GroupSort2 MaxMin SortLayer: if it only sorts, no distance grows: return \
Bound(1.0, exact) when you
Threshold Hardshrink RReLU: it jumps or draws numbers, take ReLU, or
LogSoftmax Softmin: leave it out, the loss can do it and the prediction is the same, or
AdaptiveMaxPool1d AdaptiveMaxPool2d FractionalMaxPool2d LPPool2d: take MaxPool2d, or
ConstantPad1d ConstantPad2d ZeroPad1d: let the convolution pad, or take ZeroPad2d, or
Conv3d MaxPool3d AvgPool3d BatchNorm3d: volumes are not known, take slices as channels, or
RecursiveScriptModule TopLevelTracedModule: take the model as it was before it was scripted, or
DataParallel DistributedDataParallel: take what is inside, its .module, or
"""
HOOKS = (
    "{} has forward hooks or is compiled, which may change what it computes. Without hooks: "
    "spectral_norm and weight_norm as in torch.nn.utils.parametrizations, pruned layers after "
    "torch.nn.utils.prune.remove, lazy ones after one call, models before they are compiled"
)


class Bound(NamedTuple):
    """What is promised of a layer f, for inputs of one shape.

    `lipschitz`: |f(x) - f(y)| <= lipschitz |x - y| in exact arithmetic. `rounding`: see
    `certificates.rounding`. `at_zero`, a bound of |f(0)|, and `output_shape` are found by
    `bound_of`; a rule leaves them out.
    """

    lipschitz: float
    rounding: Rounding
    at_zero: float = 0.0
    output_shape: Shape = ()


Rule = Callable[[nn.Module, Shape], Bound]
RULES: dict[type[nn.Module], Rule] = {}


def register(*kinds: type[nn.Module]) -> Callable[[Rule], Rule]:
    """Decorator of a rule: it holds for modules of exactly these types (lesson 5).

    The rule answers for all that such a module computes, its parts included.
    """

    def enter(rule):
        RULES.update(dict.fromkeys(kinds, rule))
        return rule

    return enter


def lipschitz_bound(module: nn.Module, input_shape: Shape) -> float:
    """Guaranteed upper bound of the Lipschitz constant of `module` (lesson 3).

    It holds for inputs of shape (batch, *input_shape). Raises TypeError naming a module that has no
    rule or may compute something else than its class, and ValueError for weights that are not
    finite, for shapes that do not fit and for layers in training mode, where something else is
    computed. What is bounded here can be certified, too.
    """
    refuse_changed(module)
    return bound_of(module, numbers_of(input_shape)).lipschitz


lipschitz_bound.register = register


def bound_of(module: nn.Module, input_shape: Shape) -> Bound:
    """The bound of a module, or of a part of one: for rules that ask about the parts.

    Raises as `lipschitz_bound`.
    """
    rule = RULES[trusted_type(module)]
    if 0 in input_shape:
        raise ValueError(f"inputs of shape {input_shape} have no entries")
    found = rule(module, input_shape)
    if not isinstance(found, Bound):
        raise TypeError(
            f"the rule of {type(module).__name__} must return Bound(lipschitz, rounding), got a "
            f"{type(found).__name__}: without the rounding nothing can be certified"
        )
    if not found.lipschitz >= 0:
        raise ValueError(f"the numbers of {module} give no bound, they may be NaN or negative")
    outputs = at_zero(module, input_shape)
    length = length_bound(outputs)
    if not math.isfinite(length):
        raise ValueError(f"{module} computes NaN or infinite numbers, its weights may be so")
    lipschitz = max(found.lipschitz, SMALLEST)
    return Bound(lipschitz, found.rounding, length, tuple(outputs.shape[1:]))


def numbers_of(input_shape: Shape) -> Shape:
    """The shape as a tuple; raises TypeError if it is none."""
    try:
        return tuple(torch.Size(input_shape))
    except (TypeError, RuntimeError):
        raise TypeError(f"input_shape must be like (1, 28, 28), got {input_shape!r}") from None


@contextmanager
def at_place(place: int | str):
    """Errors of a part of a model begin with its place there."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"part {place}: {error}") from None


def at_zero(module: nn.Module, input_shape: Shape) -> Tensor:
    """What the module makes of zeros (1, ...); raises ValueError if it does not take this shape."""
    with torch.inference_mode(False), torch.no_grad():
        try:
            outputs = module(zero_input(module, input_shape).expand(2, *input_shape).clone())
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"{module} does not take inputs of shape {input_shape}: {error}"
            ) from error
    if len(outputs) != 2:
        raise ValueError(
            f"{module} mixes the samples of a batch: dimension 0 is theirs, give 1 or more"
        )
    return outputs[:1]


def output_shape(module: nn.Module, input_shape: Shape) -> Shape:
    """Shape of the output, without the batch, for an input of shape (batch, *input_shape)."""
    return tuple(at_zero(module, input_shape).shape[1:])


def zero_input(module: nn.Module, input_shape: Shape) -> Tensor:
    """Zeros (1, *input_shape) of the type and on the device of the module's weights."""
    tensors = (*module.parameters(), *module.buffers())
    like = next((t for t in tensors if t.is_floating_point()), torch.zeros(()))
    return torch.zeros(1, *input_shape, dtype=like.dtype, device=like.device)


def length_bound(values: Tensor) -> float:
    """A little more than the Euclidean length; no square of a tiny entry underflows."""
    return 1.01 * math.hypot(*values.flatten().tolist())


# ---- trust ---------------------------------------------------------------------------------------

# What a subclass may define: nothing in it is computed by `forward`.
HARMLESS = set(
    "__module__ __qualname__ __doc__ __annotations__ __init__ __dict__ __weakref__ __slotnames__ "
    "__firstlineno__ __static_attributes__ __constants__ __repr__ extra_repr reset_parameters "
    "train eval state_dict load_state_dict".split()
)
# What PyTorch adds to the class of a module with parametrised weights.
OF_PARAMETRISATION = {"__getstate__", "__deepcopy__"}


def trusted_type(module: nn.Module) -> type[nn.Module]:
    """The type in the table whose rule holds for `module`.

    That is its own type, or the one it was derived from if it replaces nothing, as a network does
    that only has a constructor of its own, or a layer whose weights are parametrised (the weights
    that come out are bounded). Raises TypeError if there is none, ValueError for parametrised
    weights in training mode.
    """
    kind = type(module)
    name = kind.__name__
    harmless = HARMLESS
    if parametrize.is_parametrized(module):
        if any(part.training for part in module.modules()):
            raise ValueError(
                f"the weights of {name} may change at every use in training mode: call "
                "model.eval() first"
            )
        for weight in module.parametrizations:
            if not torch.equal(getattr(module, weight), getattr(module, weight)):
                raise ValueError(f"the {weight} of {name} is NaN or another one at every use")
        harmless = HARMLESS | OF_PARAMETRISATION | module.parametrizations.keys()
    while kind not in RULES:
        base = kind.__base__
        if len(kind.__bases__) > 1 or base is nn.Module or base is object:
            raise unknown(name, module)
        for own in sorted(vars(kind).keys() - harmless):
            # A property may hide what is kept in the module itself, such as its weight.
            is_property = hasattr(type(vars(kind)[own]), "__set__")
            if own.startswith("__") or hasattr(base, own) or is_property:
                raise unknown(f"{name}, which replaces {own}", module)
        kind = base
        harmless = HARMLESS
    refuse_altered(module, kind)
    return kind


def unknown(what: str, module: nn.Module) -> TypeError:
    """That no bound is known, and what to do."""
    found = re.search(rf"^[^:]*\b{type(module).__name__}\b[^:]*: (.*)", ADVICE, re.MULTILINE)
    advice = found[1] + " " if found else CHAIN if any(module.children()) else ""
    return TypeError(UNKNOWN.format(what, advice))


def refuse_changed(module: nn.Module) -> None:
    """Raise TypeError if a part of `module` may compute something else than its class says.

    Looked for are hooks, replaced methods, compiled calls and weights of other types.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"a torch.nn.Module is needed, got a {type(module).__name__}")
    if module_hooks._global_forward_hooks or module_hooks._global_forward_pre_hooks:
        raise TypeError(
            "there are forward hooks for all modules, which may change what they compute"
        )
    for place, part in module.named_modules():
        with at_place(place or "(all)"):
            refuse_altered(part, type(part) if type(part) in RULES else nn.Module)
    for name, weight in (*module.named_parameters(), *module.named_buffers()):
        plain = type(weight) in (nn.Parameter, Tensor)
        if not plain or weight.layout is not torch.strided or weight.is_meta:
            raise TypeError(f"{name} is no plain dense tensor with values: {type(weight).__name__}")


def refuse_altered(module: nn.Module, kind: type[nn.Module]) -> None:
    """Raise TypeError if the module has hooks, is compiled, or hides a method of that class."""
    name = type(module).__name__
    if module._forward_hooks or module._forward_pre_hooks or module._compiled_call_impl:
        raise TypeError(HOOKS.format(name))
    for attribute in vars(module):
        # Python itself does not look at attributes with two underscores.
        if callable(getattr(kind, attribute, None)) and not attribute.startswith("__"):
            raise TypeError(
                f"the method {attribute} of a {name} is replaced, which may change what it "
                "computes: take the model as it was before"
            )


def require_evaluation(module: nn.Module) -> None:
    """Raise ValueError if a part of `module` is in training mode, where nothing is guaranteed."""
    if any(part.training for part in module.modules()):
        raise ValueError(
            f"{type(module).__name__} has no guaranteed bound in training mode: "
            "call model.eval() first"
        )
