"""What may be called a proof, and the only place that knows how (lessons 3, 5 and 7).

bounds       Lipschitz bounds: a table from exact types to rules, one rule a type; `register` yours
torch_rules  the rules for PyTorch's layers
layer_rules  the rules for the layers of this package
rounding     what rounding may add to the output of a layer: the second half of every rule
radius       the radius within which no attack can succeed: `certify`
"""

from . import layer_rules, torch_rules  # they fill the table
from .bounds import Bound, bound_of, lipschitz_bound, output_shape
from .radius import certified_radius, certify
from .rounding import elementwise, exact, rounding_bound, sums

__all__ = [
    "Bound",
    "bound_of",
    "certified_radius",
    "certify",
    "elementwise",
    "exact",
    "layer_rules",
    "lipschitz_bound",
    "output_shape",
    "rounding_bound",
    "sums",
    "torch_rules",
]
