# %% [markdown]
# # 6. Expansive steps inside a 1-Lipschitz network
#
# In lesson 5 no layer moved two points apart. But it is enough if the whole *network* does not. Here one layer shrinks, so the next may expand.
#
# **You will learn** how a step that shrinks pays for one that expands, what 1-Lipschitz networks can draw, and how to read a table of robustness.
#
# **Before you start:** lesson 5, above all its layer $x-\tau A^\top\sigma(Ax+b)$.
# **Time:** MINUTES for the core path (test readers needed 70 to 90); parts marked ★ can wait; the computer needs less than two minutes.

# %% tags=["setup"]
# setup

# %%
import csv
import itertools
import json
import warnings
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from chapter_checks import passed, reply, your_turn
from chapter_utils import (
    attacks,
    certificates,
    data,
    expansive,
    image_operators,
    layers,
    models,
    norms,
    operators,
    plain_layers,
    plotting,
    training,
)
from figures import lesson_06 as figures

plotting.use_house_style()
torch.set_default_dtype(torch.float64)  # so that what we see is mathematics, not rounding
torch.set_num_threads(1)  # small networks: one thread is fastest

# %% [markdown]
# ## 6.1 A pair of steps
#
# **Question.** If every layer shrinks, what is left of a distance after ten layers?
#
# $\|\cdot\|$ is the Euclidean norm of a vector and the largest singular value of a matrix. Take the layer of lesson 5 with the **leaky ReLU** $\sigma(t)=\max(t,\,at)$:
# its slope is $a$ for negative and 1 for positive $t$. Here $a=\tfrac12$. Let $A^\top A=I$. The layer is a step *downhill*:
#
# $$T_\downarrow(x)=x-h_1A^\top\sigma(Ax+b).$$
#
# ($h_1$ is the relative step $c$ of lesson 5; the longest was 2.) Its partner goes *uphill*, with $\|B\|\le1$ and the ReLU:
#
# $$T_\uparrow(x)=x+h_2B^\top\mathrm{relu}(Bx+b'),\qquad h_2\ge0.$$
#
# By the triangle inequality it multiplies a distance by at most $1+h_2$. Ten layers of each kind:


# %%
def down(x, A, b, h1):
    return x - h1 * F.leaky_relu(x @ A.T + b, 0.5) @ A


def up(x, B, b, h2):
    return x + h2 * torch.relu(x @ B.T + b) @ B


generator = torch.Generator().manual_seed(0)
orthogonal = torch.linalg.qr(torch.randn(20, 3, 3, generator=generator)).Q
shifts = torch.randn(20, 3, generator=generator)
only_down = both = torch.randn(2, 3, generator=generator)  # a pair of points, as two rows
print(f"at the start: {(both[0] - both[1]).norm().item():.3f}")
for k in range(10):
    A, B = orthogonal[2 * k : 2 * k + 2]
    b, b_up = shifts[2 * k : 2 * k + 2]
    only_down = down(only_down, A, b, 0.5)
    both = up(down(both, A, b, 0.5), B, b_up, 0.3)
    if k in (0, 4, 9):
        distances = [(pair[0] - pair[1]).norm().item() for pair in (only_down, both)]
        print("after {:2d}: only down {:.3f}   down and up {:.3f}".format(k + 1, *distances))

# %% [markdown]
# Ten downhill layers leave almost nothing. Uphill layers give some back. How long may they be?
#
# Where no entry of $Ax+b$ changes its sign, $T_\downarrow$ is a matrix plus a shift. The matrix is $I-h_1A^\top DA$, with a diagonal $D$ of entries $a$ or 1.
# $T_\uparrow$ has the matrices $I+h_2B^\top DB$, with entries 0 (unit off) or 1 (on).
# A segment between two points crosses finitely many such regions, so no distance grows by more than the largest norm of all products. And with suitable biases $b$, $b'$ each product occurs somewhere: for the worst biases this norm *is* the Lipschitz constant of $T_\uparrow\circ T_\downarrow$.
#
# In the closed cell, `linear_pieces(step, M, slopes)` lists all matrices $I+\mathrm{step}\,M^\top DM$ with entries from `slopes`, and `worst_slope` takes the largest norm of all products of two such lists.


# %% jupyter={"source_hidden": true}
def linear_pieces(step, M, slopes):
    """All matrices I + step M^T D M, with the diagonal of D made of `slopes`."""
    D = torch.tensor(list(itertools.product(slopes, repeat=len(M))))
    return torch.eye(M.shape[1]) + step * M.T @ (D[:, :, None] * M)


def worst_slope(*layers_pieces):
    """Largest norm of a product of pieces, the first layer first."""
    products = layers_pieces[0]
    for pieces in layers_pieces[1:]:
        products = (pieces[:, None] @ products).flatten(0, 1)
    return torch.linalg.matrix_norm(products, 2).max().item()


A, B = orthogonal[:2]
pieces_down = linear_pieces(-0.5, A, (0.5, 1.0))
print(f"h1 = 0.5 alone: worst slope {worst_slope(pieces_down):.4f}")

# %% [markdown]
# **Predict first.** With $h_1=\tfrac12$, what is the largest $h_2$ such that $T_\uparrow\circ T_\downarrow$ never increases a distance?

# %%
my_guess = ...  # a number

# %% tags=["reveal"]
slopes = {}
for h2 in (0.20, 0.25, 0.30, 0.35, 0.40, 0.50):
    slopes[h2] = worst_slope(pieces_down, linear_pieces(h2, B, (0.0, 1.0)))
    print(f"h1 = 0.5, h2 = {h2:.2f}: worst slope {slopes[h2]:.4f}")
assert all((slope <= 1) is (h2 <= 1 / 3) for h2, slope in slopes.items())
assert abs(worst_slope(pieces_down, linear_pieces(1 / 3, B, (0.0, 1.0))) - 1) < 1e-12
reply(
    my_guess,
    1 / 3,
    "Factors multiply: 3/4 is left, and 3/4 times 4/3 is 1.",
    wrong={
        0.25: "that is allowed, but a quarter of the whole is a third of what is left.",
        0.5: "the two steps are not each other's opposite: the slopes of the step down "
        "may be 1/2, those of the step up 1.",
    },
)

# %% [markdown]
# Now for every $h_1$:
#
# > **Claim 6.1 (contractive step).** Let $\sigma$ have slopes in $[a,1]$ with $0<a\le1$, and $A^\top A=I$. Then for every $b$ and $h_1\ge0$ the Lipschitz constant of $T_\downarrow$ is at most
# > $\max(|1-ah_1|,\,|1-h_1|)$. For the leaky ReLU some $b$ attains this.
#
# *Idea.* $A^\top\sigma(Ax+b)$ is the gradient of a convex potential (Section 5.1). So the matrices are *symmetric*, and their norm is the largest $|$eigenvalue$|$. In each entry $\sigma(u)-\sigma(v)$ is $u-v$ times a number in $[a,1]$, also for points on different pieces. So for every two points there is a diagonal $D$ of such numbers: their difference is multiplied by the symmetric matrix $I-h_1A^\top DA$.
# Since $\|Av\|=\|v\|$, we have $a\|v\|^2\le v^\top A^\top DAv\le\|v\|^2$. So its eigenvalues lie between $1-h_1$ and $1-ah_1$.
#
# <details><summary>The proof</summary>
#
# For each pair $x,y$ there is a diagonal $D$ with entries in $[a,1]$ such that
# $T_\downarrow(x)-T_\downarrow(y)=(I-h_1A^\top DA)(x-y)$. This matrix is symmetric, and since $aI\preceq A^\top DA\preceq I$ ($P\preceq Q$: the matrix $Q-P$ has no negative eigenvalue) its eigenvalues lie between $1-h_1$ and $1-ah_1$.
# Equality: choose $b$ such that all entries of $Ax+b$ lie where the slope is 1, or all where it is $a$. For the leaky ReLU a large positive or a large negative $b$ does that. $\square$
#
# </details>
#
# **Your turn 6.A.** Let $a=\tfrac14$. For which $h_1$ is the factor of Claim 6.1 smallest? Sketch both absolute values.

# %%
### BEGIN SOLUTION
### GIVEN best_h1 = ...
best_h1 = 2 / (1 + 1 / 4)  # where 1 - a h and h - 1 cross; the factor is 0.6
### END SOLUTION

your_turn("6.A")

# %% [markdown]
# ### ★ If the field is no gradient
#
# The idea needs a *symmetric* $A^\top DA$: the field $A^\top\sigma(Ax+b)$ is a gradient. The paper discussed below (Celledoni et al., 2210.02373) uses less:
# only that a field $g$ is **strongly monotone**, $\langle g(x)-g(y),x-y\rangle\ge a\|x-y\|^2$, and 1-Lipschitz. Then $g$ may turn a difference sideways.
#
# > **Claim 6.2 (monotone only).** For such a field and $h_1\ge0$ the step $x-h_1g(x)$ has a Lipschitz constant of at most $\sqrt{1-2ah_1+h_1^2}$. If nothing more is known of $g$, no smaller number is true (in two or more dimensions).
#
# *Idea.* Expand $\|(x-y)-h_1(g(x)-g(y))\|^2$ and use each hypothesis once. A spiral attains it.
#
# <details><summary>The proof</summary>
#
# With $v=x-y$ and $w=g(x)-g(y)$ we have $\|v-h_1w\|^2=\|v\|^2-2h_1\langle v,w\rangle+h_1^2\|w\|^2\le(1-2ah_1+h_1^2)\|v\|^2$.
# Equality holds for $g(x)=ax+\sqrt{1-a^2}\,Gx$, with $G$ the rotation by $+90$ degrees: a spiral, not a gradient. $\square$
#
# </details>

# %%
G = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
spiral = 0.5 * torch.eye(2) + 0.75**0.5 * G  # a = 1/2
print("  h1    gradient: rule  worst    strongly monotone: rule  worst")
for h1 in (0.5, 1.0, 4 / 3):
    sharp = max(abs(1 - 0.5 * h1), abs(1 - h1))
    loose = (1 - 2 * 0.5 * h1 + h1**2) ** 0.5
    gradient = worst_slope(linear_pieces(-h1, A, (0.5, 1.0)))
    monotone = torch.linalg.matrix_norm(torch.eye(2) - h1 * spiral, 2).item()
    print(f"{h1:.3f}           {sharp:.3f}  {gradient:.3f}", end="                       ")
    print(f"{loose:.3f}  {monotone:.3f}")
    assert abs(gradient - sharp) < 1e-12 and abs(monotone - loose) < 1e-12
    assert sharp == expansive.contraction_factor(h1) and monotone > gradient + 0.1

# %% [markdown]
# At $h_1=\tfrac43$ the step shrinks to a third for a gradient, and for the spiral it *expands* by a fifth. Without "gradient" Claim 6.1 is wrong.
#
# ### The account of a pair
#
# A step down of length 3 expands: $|1-3|=2$. Three of length 1 shrink, for $a=\tfrac12$ each to a half. So cut long steps:
# $s_1$ parts down of length $h_1/s_1$ each, all with the same $A$ and $b$, then $s_2$ parts up of length $h_2/s_2$ each, all with the same $B$ and $b'$.
#
# > **Claim 6.3 (pair).** Let $A^\top A=I$, $\|B\|\le1$, $h_1,h_2\ge0$, and let $q(h)=\max(|1-ah|,|1-h|)$ be the factor of Claim 6.1. The pair is 1-Lipschitz if
# >
# > $$q(h_1/s_1)^{s_1}\,(1+h_2/s_2)^{s_2}\le1 .$$
# >
# > For orthogonal $A$ and $B$, $s_1=1$ and suitable biases the left side is the Lipschitz constant itself.
#
# *Idea.* Factors multiply.
#
# <details><summary>The proof of equality, also for more parts, and why h₂ must not be negative</summary>
#
# Choose biases so large that on a ball all slopes in $T_\downarrow$ are the one that attains $q$, and all slopes in $T_\uparrow$ are 1. Then each part multiplies every difference within the ball by its factor, up to sign. $\square$
#
# For $s_1>1$ equality holds if $h_1/s_1\le2/(1+a)$: the worst slope is $a$, and the entries of $Ax+b$ keep their sign because $ah_1/s_1<1$.
# Beyond $2/(1+a)$ the worst slope is 1, of positive entries. Such a part makes them negative, and the next part shrinks them more: two parts cannot both be at their worst. (The live figure combines the pieces of all parts freely, as if each had a bias of its own. Its sliders stay below $2/(1+a)=\tfrac43$ for each part, or have one part.)
#
# For $h_1=\tfrac12$, $h_2=-5$ and one part each the left side is $-3$, but the pair *triples* some distances. With $|h_2|$ in the condition negative steps are safe, too (★ Section 6.3).
#
# </details>
#
# **Your turn 6.B.** Catch a pair that is not allowed: $h_1=\tfrac12$, $h_2=0.4$, one part each, $a=\tfrac12$, orthogonal $3\times3$ matrices. Choose `biases = (b, b')`, one number for all entries of each,
# such that *any* two points with entries between $-5$ and 5 end up 1.05 times as far apart.
# Careful: the step down also *shifts* all points, the farther the larger $|b|$ is. $b'$ must outrun this shift.

# %%
### BEGIN SOLUTION
### GIVEN biases = ...
# b = -20: |Ax| <= 5 sqrt(3) < 9, so all slopes are 1/2, and the step down shrinks least.
# It shifts every point by 1/2 * 1/2 * |A^T b| = 5 sqrt(3) < 9. So b' = 20 > 9 + 9: all units on.
biases = (-20.0, 20.0)
### END SOLUTION

your_turn("6.B")

# %% [markdown]
# With biases of zero the worst pair grows nearly as much, but the median pair shrinks:

# %% jupyter={"source_hidden": true}
starts, ends = 3 * torch.randn(2, 1000, 3, generator=generator)
tries = {"zeros": (0.0, 0.0)}
if passed("6.B"):
    tries["yours"] = biases
for name, (b, b_up) in tries.items():
    moved = [up(down(x, A, b, 0.5), B, b_up, 0.4) for x in (starts, ends)]
    growth = (moved[0] - moved[1]).norm(dim=1) / (starts - ends).norm(dim=1)
    print(
        f"{name}: distances are multiplied by {growth.min():.3f} to {growth.max():.3f} <= 1.05",
        end="",
    )
    print(f", in the median by {growth.median():.3f}")
    assert growth.max() <= 1.05 + 1e-9 and (name == "yours" or growth.median() < 0.95)

# %% [markdown]
# Call the condition of Claim 6.3 *the sharp rule*. The paper that introduced these pairs (Celledoni et al., 2210.02373) is more careful: *the paper's rule* has $\sqrt{1-2ah+h^2}$ in place of $q(h)$. It also covers steps along fields that are no gradients (★ Claim 6.2).
#
# The live figure shows the allowed pairs, with $s_1=s_2=s$, and beside them the worst slope, for $2\times2$ matrices, and the left sides of both rules.
# First $s=1$, then $s=3$, that is, three parts each. Leave lambda_min at 1 until Section 6.2.


# %%
turned = torch.tensor([[0.8, -0.6], [0.6, 0.8]])


def worst_slope_of_pair(h1, h2, s, lambda_min):
    """Of s steps down and s steps up, for a matrix A with A^T A = diag(1, lambda_min), turned."""
    A_plane = torch.diag(torch.tensor([1.0, lambda_min**0.5])) @ turned
    steps_down = [linear_pieces(-h1 / s, A_plane, (0.5, 1.0))] * s
    steps_up = [linear_pieces(h2 / s, turned.T, (0.0, 1.0))] * s
    return worst_slope(*steps_down, *steps_up)


live_map = figures.pairs_of_steps(
    worst_slope_of_pair, expansive.pair_factor, expansive.largest_expansion
)
live_map.still(h1=0.5, h2=0.25, s=1, lambda_min=1.0)
live_map.still(h1=2.0, h2=1.2, s=3, lambda_min=1.0)

# %%
live_map

# %% [markdown]
# The worst slope found *equals* the sharp rule (for $s>1$ it combines the pieces of all parts freely). So no better rule exists, for $s=3$ as long as $h_1\le4$ (see the last proof).
# For $s=1$ the paper's region is a small hill that ends at $h_1=2a=1$.
# With $s=3$ each *part* may be as long as a whole step before. So both regions grow to three times the width and height: compare the axes. The dotted curve is the sharp rule for $s=1$: it does not allow this pair.
#
# *Exercise 6.2: several steps down. Exercise 6.3: the pair in parts.*
#
# ### ★ The shortest step down, and the paper's pairs
#
# **Your turn 6.C.** Write `shortest_down(h2, a)`: the smallest $h_1$ that pays for a step up of length $h_2$ (Claim 6.3 with $s_1=s_2=1$). Assume $0<h_2\le2a/(1-a)$; beyond that no step down is enough.


# %%
def shortest_down(h2, a):
    """The smallest h1 with max(|1 - a h1|, |1 - h1|) (1 + h2) <= 1."""
    ### BEGIN SOLUTION
    may_be_left = 1 / (1 + h2)
    return (1 - may_be_left) / a  # for short steps down the factor is 1 - a h1
    ### END SOLUTION


your_turn("6.C")

# %% [markdown]
# The paper has a *prescribed* pair, $(0.3,\,0.141)$ in two parts each. Its *flexible* pairs learn $h_1\ge0.11$ and $h_2$, with $s_1=2$ and $s_2=1$. What do the two rules say?

# %%
for name, h1, h2, s1, s2 in (
    ("h1 = 0.5, one part each", 0.5, 0.05, 1, 1),
    ("prescribed, two parts each", 0.3, 0.141, 2, 2),
    ("flexible, two parts down, one up", 0.11, 0.05, 2, 1),
):
    print(f"{name}: (h1, h2) = ({h1}, {h2})")
    for rule, says in (("monotone", "paper"), ("gradient", "sharp")):
        bound = expansive.pair_factor((h1, h2), (s1, s2), rule=rule)
        longest = expansive.largest_expansion(h1, (s1, s2), rule=rule)
        print(f"    {says}: bound {bound:.5f}, longest h2 {longest:.5f}")
        assert bound < 1 and h2 < longest

# %% [markdown]
# By the paper's rule the prescribed pair wastes nothing, by the sharp rule two per cent are left.
#
# ## 6.2 When $A^\top A=I$ holds only nearly
#
# **Question.** If training leaves $A^\top A$ only *nearly* the identity, what remains of the promise?
#
# Let $\lambda_{\min}$ and $\lambda_{\max}$ be the smallest and the largest eigenvalue of $A^\top A$, and $\lambda=\lambda_{\min}/\lambda_{\max}$. If $A$ has fewer rows than columns, $\lambda=0$.
# The eigenvalues of $A^\top DA$ now lie between $a\lambda_{\min}$ and $\lambda_{\max}$. We divide the step by $\lambda_{\max}$; then again $h_1=2$ is the longest that does not expand.
#
# > **Claim 6.4 (nearly orthogonal).** With the slopes of Claim 6.1 the Lipschitz constant of $x-\frac{h_1}{\lambda_{\max}}A^\top\sigma(Ax+b)$ is at most $\max(|1-a\lambda h_1|,\,|1-h_1|)$, and for the leaky ReLU equal for suitable $b$.
#
# *Proof.* As for Claim 6.1, with these eigenvalues. $\square$
#
# With all steps down so divided, $a$ becomes $a\lambda$, in Claim 6.3 and in both rules. The pair of the last picture with $\lambda_{\min}=0.7$ ($\lambda_{\max}=1$; the live figure has a slider for it):

# %%
live_map.still(h1=2.0, h2=1.2, s=3, lambda_min=0.7)

# %% [markdown]
# The steps down leave more, so less may be given back: both hills are lower, and the same pair is outside.
#
# The paper often uses one **prescribed** pair: $(h_1,h_2)=(0.3,\,0.141)$, in two parts each, $a=\tfrac12$.
#
# **Predict first.** How small may $\lambda$ be before the sharp bound of this pair exceeds 1?

# %%
my_guess_1 = ...  # a number between 0 and 1

# %% tags=["reveal"]
for lambda_min in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5):
    # The library calls the product a * lambda "kappa".
    bound = expansive.pair_factor((0.3, 0.141), (2, 2), kappa=0.5 * lambda_min)
    found = worst_slope_of_pair(0.3, 0.141, 2, lambda_min)
    print(f"lambda = {lambda_min:.3f}:  worst slope {found:.4f} <= bound {bound:.4f}")
    assert found <= bound + 1e-12
needed = 0.878  # where (1 - 0.075 lambda)^2 (1 + 0.0705)^2 is 1
assert abs((1 - 0.5 * needed * 0.3 / 2) * (1 + 0.141 / 2) - 1) < 1e-4
reply(
    my_guess_1,
    needed,
    "A part down leaves 1 - 0.075 lambda, a part up multiplies by 1.0705: lambda = 0.878.",
    wrong={
        0.5: "that is a, not lambda.",
        0.439: "that is a lambda.",
        0.934: "that is the factor of one part down.",
    },
    within=0.01,
)

# %% [markdown]
# Not much room: below $\lambda=0.878$, with one eigenvalue more than 12 per cent too small, the pair may expand.
# *(Exercise 6.1: the factor for any matrix. Exercise 6.5: the smallest $\lambda$ that a pair can bear.)*
#
# To keep $A$ orthogonal while it learns, *ask*, by a penalty in the loss, or *enforce*: move $A$ back after each step of the optimiser (★ below; for convolutions ★ Claim 6.5).
#
# ### ★ Asking or enforcing
#
# The library's `SwitchingBlock` is one pair. After training it measures $\lambda$, and cuts $h_2$ if the pair is not allowed.
# We train three prescribed pairs to tell two half circles of points apart. The penalty is a multiple of the sum of all squared entries of $A^\top A-I$; `restore_orthonormal_rows` enforces.


# %%
def eigenvalue_range(operator, shape):
    """Smallest and largest eigenvalue of A^T A, from the dense matrix of a linear map."""
    with torch.no_grad():
        values = torch.linalg.svdvals(norms.dense_matrix(operator, shape)) ** 2
    return values[-1].item(), values[0].item()


def train_on_moons(penalty, enforce):
    _ = torch.manual_seed(0)
    blocks = []
    for _ in range(3):
        A = operators.DenseOperator(8, 8, orthonormal=enforce)
        B = operators.DenseOperator(8, 8, orthonormal=enforce)
        blocks.append(expansive.SwitchingBlock(A, B, c=(0.3, 0.141)))
    lift = plain_layers.ZeroPadLift(2, 8)
    network = nn.Sequential(lift, *blocks, layers.NonExpansiveLinear(8, 2))

    def loss(f, y):  # hinge loss: each right output is to be 0.3 larger than the wrong one
        asked = penalty * operators.orthogonality_penalty(network)
        return training.hinge_loss(f, y, margin=0.3) + asked

    restore = operators.restore_orthonormal_rows if enforce else None
    training.fit(network, *moons, loss, epochs=40, learning_rate=0.01, after_step=restore)
    return network, blocks


# %% jupyter={"source_hidden": true} tags=["nbval-ignore-output"]
moons = data.two_moons(400, noise=0.08, seed=0)
ratios = {}
for name, penalty, enforce in (
    ("nothing", 0.0, False),
    ("penalty 0.01", 0.01, False),
    ("penalty 0.1", 0.1, False),
    ("enforced", 0.0, True),
):
    network, blocks = train_on_moons(penalty, enforce)
    ranges = [eigenvalue_range(block.down.operator, (8,)) for block in blocks]
    ratios[name] = min(low / high for low, high in ranges)
    uncut = expansive.pair_factor((0.3, 0.141), (2, 2), kappa=0.5 * ratios[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that steps are cut we print ourselves
        in_use = min(block.steps((8,))[1] for block in blocks)
        bound = certificates.lipschitz_bound(network, (2,))
        slope = norms.jacobian_norms(network, moons[0]).max().item()
    print(f"{name:12s} smallest lambda {ratios[name]:.3f}: uncut, that pair may reach {uncut:.3f}")
    print(f"             smallest h2 in use {in_use:.3f}; slope {slope:.3f} <= bound {bound:.3f}")
    assert slope <= bound + 1e-9 and bound <= 1 + 1e-6
assert ratios["nothing"] < 0.5 and ratios["penalty 0.01"] < needed < ratios["penalty 0.1"]
assert ratios["enforced"] > 1 - 1e-9

# %% [markdown]
# A weak penalty is not enough. A stronger one is, this time; but you only know because you measured. Enforcing leaves no doubt.
# No bound exceeds 1: the price is paid in $h_2$, not in the promise.
#
# ### ★ Convolutions: mind the border
#
# A *shift convolution* moves some channels by one pixel and then mixes the channels of each pixel by a matrix $W$. What moves out of the image comes in at the opposite border:
#
# > **Claim 6.5 (shift convolution).** Shifts of the channels around the border, followed by a matrix $W$ on the channels of each pixel, have the singular values of $W$.
#
# <details><summary>The proof</summary>
#
# The shifts renumber the entries: a permutation, which is orthogonal. The second map is block diagonal with $W$ in every block. So the convolution is orthogonal exactly if $W$ is. $\square$
#
# </details>
#
# With zero padding what moves out is lost instead. We compare the two, with an orthogonal $W$.

# %%
W = torch.linalg.qr(torch.randn(5, 5, generator=generator)).Q
moves = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))  # none, up, down, left, right: one a channel
kernel = torch.zeros(5, 5, 3, 3)
for channel, (dy, dx) in enumerate(moves):
    kernel[:, channel, 1 - dy, 1 - dx] = W[:, channel]  # a shift is a kernel with a single one


def circular(x):
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), kernel)


def zero_padded(x):
    return F.conv2d(x, kernel, padding=1)


for convolution in (circular, zero_padded):
    low, high = eigenvalue_range(convolution, (5, 6, 6))
    print(f"{convolution.__name__:12s} eigenvalues of A^T A from {abs(low):.3f} to {high:.3f}")

# %% [markdown]
# With zero padding the smallest eigenvalue drops to 0: a step down cannot shrink what is moved out entirely. Claim 6.4 then allows no $h_2>0$ at all.
#
# With circular padding, as in Claim 6.5, the library computes $\lambda_{\min}$ from the small matrix $W$ alone, as the square of its smallest singular value. To test it, halve one column of $W$:
# that singular value becomes $\tfrac12$, and $\lambda_{\min}$ must be $\tfrac14$. The other number comes from the dense matrix of the convolution, with 180 rows.

# %% jupyter={"source_hidden": true}
shift = image_operators.ShiftOperator(5)  # this convolution; `smallest_bound` is guaranteed
with torch.no_grad():
    shift.weight.copy_(W)
    x = torch.randn(1, 5, 6, 6, generator=generator)
    assert torch.allclose(shift(x), circular(x))
    shift.weight.copy_(W @ torch.diag(torch.tensor([1.0, 1.0, 1.0, 1.0, 0.5])))
low, high = eigenvalue_range(shift, (5, 6, 6))
guaranteed = shift.smallest_bound((5, 6, 6)) ** 2
print(f"dense matrix: {low:.6f} >= guaranteed from W alone: {guaranteed:.6f}")
assert guaranteed <= low + 1e-12

# %% [markdown]
# ## 6.3 ★ Steps that are learned
#
# **Question.** If the optimiser chooses the steps, who checks that they stay allowed?
#
# The library's `SwitchingBlock` does: in training it takes $\lambda=1$, in evaluation the measured $\lambda$. It refuses a prescribed pair that breaks Claim 6.3. (Below we try $(0.3,\,0.3)$ in two parts each; Section 6.1 printed the longest $h_2$ for them, 0.162.)
# A *flexible* block makes $h_1$ and $h_2$ from two learned numbers $u_1,u_2$:
#
# $$h_1=0.11+1.78\,\mathrm{sigmoid}(u_1),\qquad h_2=h_{\max}(h_1,\lambda)\,\tanh(u_2).$$
#
# The sigmoid lies in $(0,1)$, so $0.11<h_1<1.89$: a little inside $(0,2)$, where a step down shrinks. $h_{\max}$ is the longest step up (Claims 6.3, 6.4).
# If $u_2<0$, the second step goes *down* with $B$. Each part then multiplies distances by at most $\max(1,\,|1+h_2/s_2|)\le1+|h_2|/s_2$, the factor of a step up of the same length. So $|h_2|\le h_{\max}$ is enough.
#
# **Predict first.** The optimiser drives $u_2$ to infinity. What is the guaranteed bound of the block then?

# %%
my_guess_2 = ...  # a number

# %% jupyter={"source_hidden": true} tags=["reveal"]
dense = partial(operators.DenseOperator, 4, 4, orthonormal=True)
try:
    expansive.SwitchingBlock(dense(), dense(), c=(0.3, 0.3))  # the library writes c1, c2
except ValueError as error:
    print("refused, in two parts each:", error)
block = expansive.SwitchingBlock(dense(), dense(), substeps=(2, 1)).eval()
x = 3 * torch.randn(400, 4, generator=generator)
for u in ((0.0, 0.0), (-1.0, 1.0), (-50.0, 50.0), (50.0, 50.0), (0.0, -50.0)):
    with torch.no_grad():
        block.raw.copy_(torch.tensor(u))
    h1, h2 = block.steps((4,))
    slope = norms.jacobian_norms(block, x).max().item()
    bound = certificates.lipschitz_bound(block, (4,))
    print("u = ({:5.1f}, {:5.1f})".format(*u), end="   ")
    print(f"(h1, h2) = ({h1:.3f}, {h2 + 0.0:6.3f})   slope {slope:.4f} <= bound {bound:.4f}")
    assert slope <= bound + 1e-9 and bound <= 1 + 1e-6 and (u[1] != 50 or bound > 1 - 1e-6)
because = "tanh(u2) tends to 1, so h2 is the longest step that is allowed: the budget is spent."
reply(my_guess_2, 1, because, within=0.01)

# %% [markdown]
# *Exercise 6.4: a step up that is safe for every learned $h_1$.*
#
# ## 6.4 What can a 1-Lipschitz network draw?
#
# **Question.** Which functions can a network approximate that is never steeper than 1? Here is one as steep as allowed:
#
# > **Claim 6.6 (distance to a set).** For every non-empty set $Z$ the distance $\operatorname{dist}(x,Z)=\inf_{z\in Z}\|x-z\|$ is 1-Lipschitz, and outside the closure of $Z$ it falls at the rate 1 towards a nearest point.
# > Its square is not 1-Lipschitz where the distance exceeds $\tfrac12$.
#
# <details><summary>The proof</summary>
#
# For each $z\in Z$, $\operatorname{dist}(x,Z)\le\|x-z\|\le\|x-y\|+\|y-z\|$. Take the infimum over $z$, then exchange $x$ and $y$. On the segment from $x$ to a nearest point $z$ of the closure the distance to $Z$ is simply the distance to $z$, which falls at the rate 1. So there the slope of the square is twice the distance. $\square$
#
# </details>


# %%
def distance_to_circle(x):
    return (x.norm(dim=1) - 0.6).abs()


x, y = 4 * torch.rand(2, 20000, 2, generator=generator) - 2
for name, power in (("distance", 1), ("its square", 2)):
    rise = distance_to_circle(x) ** power - distance_to_circle(y) ** power
    slope = (rise.abs() / (x - y).norm(dim=1)).max().item()
    print(f"{name}: largest slope between two of many points {slope:.3f}")
    assert (slope <= 1 + 1e-9) is (power == 1)

# %% [markdown]
# Deep and wide networks of gradient steps come arbitrarily close to *every* scalar 1-Lipschitz function on a bounded closed set (Murari et al., 2505.12003). Does training find them?
#
# We train four networks on the distance to a circle of radius 0.6: a crater with a sharp peak in the middle. Each has six blocks of width 16:
#
# * *spectral*: ReLU layers, each matrix divided by an estimate of its norm;
# * *c = 1* and *c = 2*: the gradient steps of lesson 5, with relative step $c$ and ReLU ($h_1=c$, $a=0$);
# * *pairs*: **flexible** pairs: two parts down, one up, $h_1$ and $h_2$ are learned but stay allowed (★ Section 6.3).


# %% jupyter={"source_hidden": true}
def stack(*blocks):
    return nn.Sequential(plain_layers.ZeroPadLift(2, 16), *blocks, layers.NonExpansiveLinear(16, 1))


def gradient_step(c):
    return layers.NonExpansiveBlock(layers.GradientField(operators.DenseOperator(16, 16)), c)


def flexible_pair():
    A = operators.DenseOperator(16, 16, orthonormal=True)
    B = operators.DenseOperator(16, 16, orthonormal=True)
    return expansive.SwitchingBlock(A, B, substeps=(2, 1))


def spectral_layers():
    parts = []
    for m, n in itertools.pairwise([2] + 6 * [16] + [1]):
        parts += [nn.utils.parametrizations.spectral_norm(nn.Linear(m, n)), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


_ = torch.manual_seed(0)
painters = {
    "spectral": spectral_layers(),  # spectrally normalised matrices and ReLU
    "c = 1": stack(*[gradient_step(1.0) for _ in range(6)]),
    "c = 2": stack(*[gradient_step(2.0) for _ in range(6)]),
    "pairs": stack(*[flexible_pair() for _ in range(6)]),
}

# %% jupyter={"source_hidden": true} tags=["nbval-ignore-output"]
side = torch.linspace(-1, 1, 21)
plane = torch.cartesian_prod(side, side)
for network in painters.values():
    training.fit(
        network,
        plane,
        distance_to_circle(plane)[:, None],
        lambda f, y: (f - y).square().mean(),
        epochs=600,
        batch_size=len(plane),
        learning_rate=0.01,
        after_step=operators.restore_orthonormal_rows,
    )
fine = torch.linspace(-1, 1, 81)
grid = torch.cartesian_prod(fine, fine)
distance = distance_to_circle(grid)
surfaces = {"the distance": distance.reshape(81, 81).T}
errors = {}
bounds = {}
for name, network in painters.items():
    with torch.no_grad():
        drawn = network(grid)[:, 0]
    surfaces[name] = drawn.reshape(81, 81).T
    errors[name] = (drawn - distance).abs().max().item()
    bounds[name] = f"guaranteed bound {certificates.lipschitz_bound(network, (2,)):.3f}"
errors["the best constant"] = ((distance.max() - distance.min()) / 2).item()

# %% [markdown]
# **Predict first.** The crater has slope 1 nearly everywhere. One of the four has a far smaller error than the others. Which one?

# %%
my_guess_3 = ...  # "spectral", "c = 1", "c = 2" or "pairs"

# %% tags=["reveal", "nbval-ignore-output"]
for name, error in errors.items():
    print(f"{name:17s} largest error {error:.3f}   {bounds.get(name, '')}")
assert all(name == "c = 2" or errors["c = 2"] < error / 2 for name, error in errors.items())
reply(
    my_guess_3,
    "c = 2",
    "Six blocks in a row must leave a slope of size 1. How much each leaves, you count next.",
    wrong={
        "pairs": "no slope exceeds 1, but how much of it may a pair take away?",
        "c = 1": "look at a unit that is on.",
        "spectral": "a ReLU layer keeps nothing where its unit is off.",
    },
)

# %% tags=["nbval-ignore-output"]
figures.crater(fine, surfaces)

# %% [markdown]
# Only $c=2$ draws the ring-shaped valley and the peak. Why? First count what a layer *may* take away, then look at what the trained pairs did.
#
# **Your turn 6.D.** Look at a single unit: $x$ is a number, $A=B=1$. Where it is off, a step $x-c\,\mathrm{relu}(x+b)$ has slope 1; where it is on, slope $1-c$.
# The pair $h_1=0.8$, $h_2=\tfrac23$, $a=\tfrac12$, one part each, has four slopes: two factors of the step down times two of the step up.
# Give `least_kept`, three numbers: the smallest size of a slope for the step with $c=1$, for the one with $c=2$, and for the pair.

# %%
### BEGIN SOLUTION
### GIVEN least_kept = ...
# c = 1, on: 0.  c = 2: on and off 1.  Pair: down 0.6 or 0.2, up 1 or 5/3; the least is 0.2 * 1.
least_kept = (0, abs(1 - 2), abs(1 - 0.8))
### END SOLUTION

your_turn("6.D")

# %% [markdown]
# A step with $c=2$ loses nothing of a slope. (With more units that needs an orthogonal $A$, which we did not enforce here.) A step with $c=1$ and a ReLU layer (slopes 0 and 1) may lose all of it, six such pairs all but $0.2^6\approx0.00006$.
#
# May, not must: the same pair keeps a slope where the step down shrinks least and the step up is on, $0.6\cdot\frac53=1$. But training did not find that (the bound of the pairs is far below 1; ★ below).
# And a pair with $h_1<1$ and $h_2\ge0$ can do what $c=2$ cannot: it never merges two points, because its slopes are all positive. The step $x-2\,\mathrm{relu}(x)=-|x|$ moves 1 and $-1$ to the same place.
#
# The bound of *spectral* exceeds 1: dividing by an *estimate* of a norm is no guarantee.
#
# <details><summary>Why c = 2 keeps slopes but not distances, and why pairs merge nothing</summary>
#
# * A step with $c=2$ *reflects*: an active direction is multiplied by $1-c=-1$, so its length stays. Across the kink it may fold.
# * In any dimension: for $h_1<1$ and $h_2\ge0$ the difference of two points is multiplied by a symmetric matrix with eigenvalues of at least $1-h_1>0$, then by one with eigenvalues of at least 1. Neither makes it 0.
# * The largest error of the spectral network may exceed that of the best constant: training made the *mean* squared error small.
#
# </details>
#
# ### ★ What the trained pairs learned

# %% jupyter={"source_hidden": true} tags=["nbval-ignore-output"]
print(
    "pair    h1      h2    a slope is multiplied by at least   at most   (two parts down, one up)"
)
product = 1.0
for k, pair in enumerate(painters["pairs"][1:-1], 1):
    h1, h2 = pair.steps((16,))
    least = min(abs(1 - h1 / 4), abs(1 - h1 / 2)) ** 2 * min(1, abs(1 + h2))
    most = expansive.pair_factor((h1, h2), (2, 1))
    product *= most
    print(f"{k:3d}  {h1:6.3f}  {h2:6.3f}  {least:20.3f}  {most:21.3f}")
    assert 0 <= least <= most <= 1 + 1e-6
assert flexible_pair().eval().steps((16,)) == (1.0, 0.0)  # where training began
assert abs(expansive.pair_factor((1.0, 0.0), (2, 1)) - 0.5625) < 1e-12
guaranteed = certificates.lipschitz_bound(painters["pairs"], (2,))
print(f"product of the six, at most: {product:.3f} = the bound printed above")
assert abs(product - guaranteed) < 1e-6 and 0.5625**6 < product < 0.8

# %% [markdown]
# In this run they contract, far below the bound 1 they were allowed: look at the last column, the *largest* slope that they keep. (Where $h_2<0$, both steps go down.) They began much lower, at $h_1=1$, $h_2=0$, where six pairs keep $0.5625^6\approx0.03$. Training raised them, but not to 1; why it stopped there we do not know.
#
# ## 6.5 Five designs under attack
#
# **Question.** Constrain nothing, ask, forbid expansion, or allow it in pairs: what stands an attack best?
#
# The paper compares five designs (it says *regimes*) of a residual network. Our small version reads handwritten digits (MNIST), with two blocks and a linear layer with ten outputs. $A$ and $B$ are convolutions that shift channels and mix them by a small matrix; "enforced" means that this matrix is orthogonal (★ Claim 6.5):
#
# | design | block | orthogonality |
# |---|---|---|
# | unconstrained | $x+B\,\mathrm{relu}(Ax+b)$ | not asked |
# | naive | $\frac12\big(x+B\,\mathrm{relu}(Ax+b)\big)$ | asked by a penalty |
# | non-expansive | $x-h A^\top\mathrm{relu}(Ax+b)$, $h=1.9$ | enforced |
# | prescribed | the pair $(0.3,\,0.141)$ | enforced |
# | flexible | a pair, $h_1$ and $h_2$ learned | enforced |
#
# <details><summary>The rest of the network; and why 1.9, when 2 is the longest step that does not expand?</summary>
#
# Before the first block $2\times2$ pixels become one with four channels, filled up by zeros to 12. Before the second, $2\times2$ pixels are merged again.
#
# The step 1.9 leaves a reserve: with 1.9 the norm may be off by two per cent ($\|A\|^2\le2/1.9\approx1.05$), with 2 not at all.
# This step could pay for no step up: the ReLU has $a=0$, so the factor is 1.
#
# </details>
#
# The penalty is not obeyed exactly, and the naive design's linear layer is free. So its bound exceeds 1. (In the enforced designs the norm of that layer is at most 1.)
#
# <details><summary>With exactly orthogonal matrices the naive block is 1-Lipschitz (Claim 6.7)</summary>
#
# > **Claim 6.7 (naive block).** $\frac12\big(x+B\,\mathrm{relu}(Ax+b)\big)$ has a Lipschitz constant of at most $\frac12(1+\|A\|\,\|B\|)$. That is 1 if $A$ and $B$ are orthogonal, and for $B=A^\top$ it is attained.
#
# *Proof.* The triangle inequality, since ReLU is 1-Lipschitz. For $B=A^\top$ and all units on the block has the matrix $\frac12(I+A^\top A)=I$. $\square$
#
# </details>
#
# Let $F_0,\dots,F_9$ be the outputs of the network $F$, $y$ the right digit, and $L$ a bound of the Lipschitz constant of $F$.
# We train with the **hinge loss** $\sum_{j\ne y}\max(0,\,0.7-F_y+F_j)$: each wrong output $F_j$ is to stay a *margin* of 0.7 below $F_y$.
# If the image moves by a length of $\varepsilon$ (pixel values in $[0,1]$), $F_y-F_j$ falls by at most $\sqrt2L\varepsilon$ (Section 5.7). So for $L=1$ this margin certifies the radius $0.7/\sqrt2\approx0.49$.

# %%
device = training.pick_device()  # a GPU if there is one
digits = data.load_images("mnist5k").to(device)  # in float32, and so are the networks
x_test, y_test = digits.test_images[::5], digits.test_labels[::5]


def train_design(design):
    network = models.regime_net(design, channels=12, depth=1).to(device, torch.float32)
    penalty = 0.1 if design == "naive" else 0.0
    enforced = design in models.CERTIFIED

    def loss(logits, labels):
        hinge = training.hinge_loss(logits, labels, margin=0.7)
        return hinge + penalty * operators.orthogonality_penalty(network)

    known = digits.train_images[::2], digits.train_labels[::2]  # 2,000 images
    training.fit(
        network,
        *known,
        loss,
        epochs=8,
        batch_size=50,
        learning_rate=0.02,
        after_step=operators.restore_orthonormal_rows if enforced else None,
        augment=training.random_shift,
    )
    return network


# %% tags=["nbval-ignore-output"]
five = {design: train_design(design) for design in models.REGIMES}

# %% jupyter={"source_hidden": true} tags=["nbval-ignore-output"]
five_bounds = {}
print("               largest slope at       product of the       accuracy on")
print("               200 test images        layers' bounds       1,000 test digits")
for name, network in five.items():
    bound = certificates.lipschitz_bound(network, (1, 28, 28))
    slope = norms.jacobian_norms(network, x_test).max().item()
    with torch.no_grad():
        right = network(digits.test_images).argmax(1) == digits.test_labels
    print(f"{name:14s} {slope:18.2f}     <=  {bound:12.2f}     {right.double().mean():15.3f}")
    assert slope <= bound + 1e-5
    five_bounds[name] = bound
assert all(five_bounds[name] <= 1 + 1e-6 for name in models.CERTIFIED)
assert five_bounds["unconstrained"] > five_bounds["naive"] > 1.5

# %% [markdown]
# The larger the bound, the less a margin certifies. (Two prescribed pairs have the bound $0.9805^2$, from the first row of the table in Section 6.2.) Now the attack.
# **Projected gradient descent** (PGD; lesson 7) starts at a random point of the ball of radius $\varepsilon$ around the image. It takes steps that raise $\max_{j\ne y}F_j-F_y$, without leaving the ball: here 20 steps of $\varepsilon/8$, on 200 test images.
# An image *survives* if its label is still found. It is *certified* if $(F_y-\max_{j\ne y}F_j)/(\sqrt2L)>\varepsilon$; then it must survive.

# %% tags=["nbval-ignore-output"]
radii = [0.0, 0.25, 0.5, 1.0, 1.5]
curves = {}
print("share that survives:" + "".join(f"{eps:7g}" for eps in radii))
for name, network in five.items():
    stands = attacks.attacked_correct(network, x_test, y_test, radii, steps=20)
    with torch.no_grad():
        radius = certificates.certified_radius(network(x_test), y_test, five_bounds[name])
    proved = torch.stack([radius > eps for eps in radii])
    assert not (proved & ~stands).any(), "a certificate was broken"
    curves[name] = stands.double().mean(1).tolist(), proved.double().mean(1).tolist()
    print(f"{name:20s}" + "".join(f"{value:7.3f}" for value in curves[name][0]))

# %% [markdown]
# **Predict first.** The *naive* network withstands this attack at radius 0.5 on most images. Which share does its printed bound certify there? (Training asked for margins of 0.7.)

# %%
my_guess_4 = ...  # a number between 0 and 1

# %% jupyter={"source_hidden": true} tags=["reveal", "nbval-ignore-output"]
print("share certified:    " + "".join(f"{eps:7g}" for eps in radii))
for name, (_, share) in curves.items():
    print(f"{name:20s}" + "".join(f"{value:7.3f}" for value in share))
naive_share = curves["naive"][1][radii.index(0.5)]
assert naive_share < 0.05
best = max(models.CERTIFIED, key=lambda name: curves[name][1][radii.index(0.5)])
assert best == "nonexpansive"
reply(
    my_guess_4,
    naive_share,
    f"A margin above sqrt(2) L 0.5 = {2**0.5 * five_bounds['naive'] * 0.5:.1f} is needed.",
    wrong={
        curves["naive"][0][radii.index(0.5)]: "that share survives this attack; proved is less.",
        curves["naive"][0][0]: "that share is right without an attack.",
    },
)

# %% tags=["nbval-ignore-output"]
figures.five_designs(radii, curves)

# %% [markdown]
# One share of 200 images has a standard error of 0.035 at most (the bar shows two), a *difference* of two shares at most $\sqrt2$ times as much if they were independent. (Here all designs see the same images, which makes it smaller.) So we read only differences of 0.1 and more as such:
#
# * On these digits the *non-expansive* network stands best: it certifies most at radius 0.5, ahead of the prescribed pairs. Attacked at radius 1, its lead over the pairs is just at the edge of what we can read.
# * Attacked at radius 1, all three enforced designs are ahead of the two others.
# * At radius 0.5 they certify between 0.4 and 0.65 of the images, the others none.
# * Without an attack both pairs are 0.05 to 0.07 behind the other three (on the 1,000 digits above, where differences have a standard error below 0.02).
#
# ## 6.6 Reading a published table
#
# **Question.** What did the paper find on photographs, and how far can we trust it?
#
# Its repository stores accuracies under attack for the photographs CIFAR-10 and CIFAR-100, with three training margins each. The area under such a curve (AUC), from $\varepsilon=0$ to 1, sums it up.

# %% jupyter={"source_hidden": true}
with open("figures/regimes_celledoni2022.csv") as file:
    published = list(csv.DictReader(line for line in file if not line.startswith("#")))
designs = dict(zip(("U", "NC", "NE", "SP", "SF"), models.REGIMES, strict=True))
published_radii = [float(key[4:]) for key in published[0] if key.startswith("eps_")]
accuracies = {}
for row in published:
    key = row["dataset"], row["margin"], designs[row["regime"]]
    accuracies[key] = [float(row[column]) for column in row if column.startswith("eps_")]


def area(heights):
    return torch.trapezoid(torch.tensor(heights), torch.tensor(published_radii)).item()


columns = list(itertools.product(("CIFAR10", "CIFAR100"), ("0.07", "0.15", "0.3")))
margins = [margin for _, margin in columns]
areas = {}
for design in designs.values():
    areas[design] = [area(accuracies[(*column, design)]) for column in columns]
for row in published:
    place = columns.index((row["dataset"], row["margin"]))
    assert abs(areas[designs[row["regime"]]][place] - float(row["auc"])) < 1e-4
spread = []
for place in range(6):
    column = [areas[design][place] for design in designs.values()]
    assert column[0] < column[1] < min(column[2:]) and column[4] > column[2]
    spread.append(max(column[2:]) - min(column[2:]))
    assert column[0] + 0.04 < column[1]  # less may be chance
    assert (column[1] + 0.04 < min(column[2:])) is (place < 3)
    assert (max(column[3:]) > column[2] + 0.04) is (place in (3, 4))
assert max(spread[:3]) < 0.02 < max(spread[3:]) < 0.07

# %%
one_column = {design: accuracies["CIFAR10", "0.15", design] for design in designs.values()}
figures.published_table(published_radii, one_column, areas, margins)

# %% [markdown]
# Each point is one training, attacked on 1,024 images: differences below 0.04 may be chance. The unconstrained network has the smallest area in all six cases. The naive one is next, for CIFAR-100 by too little to tell.
# Only for CIFAR-100, at two margins, is a pair ahead of the non-expansive network by more than that.
#
# A warning: the attack behind these numbers is weak, 10 steps of PGD, each $0.025\,\varepsilon$ long. We try it on our own networks, at $\varepsilon=1$. First: what does a random start do alone? Next to nothing:

# %% jupyter={"source_hidden": true} tags=["nbval-ignore-output"]
noise = torch.randn(x_test.shape, generator=generator).to(x_test)
noise = noise / noise.flatten(1).norm(dim=1)[:, None, None, None]
with torch.no_grad():
    start_right = (five["unconstrained"]((x_test + noise).clamp(0, 1)).argmax(1) == y_test).double()
print(f"unconstrained, random start at distance 1: {start_right.mean():.3f} survive", end="")
print(f"   (images themselves: {curves['unconstrained'][0][0]:.3f})")
assert curves["unconstrained"][0][0] - start_right.mean() < 0.03

# %% [markdown]
# **Predict first.** Which share of the images survives the weak attack at $\varepsilon=1$, for the unconstrained network? (You need no more than the table of Section 6.5.)

# %%
my_guess_5 = ...  # a number between 0 and 1

# %% jupyter={"source_hidden": true} tags=["reveal", "nbval-ignore-output"]
weak = {}
at_one = {name: share[radii.index(1.0)] for name, (share, _) in curves.items()}
others = at_one["unconstrained"], at_one["naive"]
assert min(at_one[name] for name in models.CERTIFIED) > max(others) + 0.1
quarter = {name: share[radii.index(0.25)] for name, (share, _) in curves.items()}
print("surviving:     weak, radius 1   strong, radius 0.25   strong, radius 1")
for name, network in five.items():
    moved = attacks.pgd(network, x_test, y_test, 1.0, steps=10, step_size=0.025)
    with torch.no_grad():
        weak[name] = (network(moved).argmax(1) == y_test).double().mean().item()
    print(f"{name:14s}      {weak[name]:.3f}                {quarter[name]:.3f}", end="")
    print(f"               {at_one[name]:.3f}")
    assert weak[name] >= at_one[name] and abs(weak[name] - quarter[name]) < 0.05
gaps = {name: weak[name] - at_one[name] for name in five}
assert max(gaps, key=gaps.get) == "unconstrained" and gaps["unconstrained"] > 0.2
assert quarter["unconstrained"] > 0.8
reply(
    my_guess_5,
    weak["unconstrained"],
    "Ten steps of 0.025 lead 0.25 away at most: about as much as the strong attack at 0.25.",
    wrong={
        at_one["unconstrained"]: "that is what the strong attack leaves.",
        0.25: "that is how far the steps lead. Which share survives at this radius?",
    },
    within=0.05,
)

# %% [markdown]
# The weak attack flatters everyone, most of all the unconstrained network. So the published accuracies are *upper* bounds, and even their order is only suggestive.
# Why does even this attack bring the published unconstrained network from 0.91 down to 0.07? For photographs a distance of 0.25 is long. Our own unconstrained networks show it, too: on photographs they have 0.38 or 0.39 without an attack and at most 0.03 under a strong one at radius 0.3 (★ Section 6.7); on digits about 0.9 are left at 0.25.
#
# <details><summary>What else the published code does, and what we measured in it</summary>
#
# None of this decides who is best. It says what the table compares.
#
# * *Normalisation.* For CIFAR-10 the prescribed networks were evaluated with another one of the pixels: they were attacked with perturbations about a fifth smaller than the axis says.
# * *Step size.* $0.025\,\varepsilon$ is a default of the library foolbox.
# * *Margins.* The networks see *normalised* pixels, divided by about 0.2. So a margin of 0.15 certifies at most $0.15\cdot0.2/\sqrt2\approx0.021$ in pixel values, even with $L=1$.
# * *Depth.* A stage of the unconstrained and of the naive network has four blocks of two convolutions each, a stage of the non-expansive network four steps with a single matrix, and a stage of the others two pairs.
# * *Lifts.* In the three constrained designs each of the three convolutions that raise the number of channels is normalised and then multiplied by a free number, which was learned to be between 3.6 and 7.0. So the stored networks are not certified. They are not refuted either: a short search found no slope above 0.83.
# * *Orthogonality.* It is asked for by a penalty, and the convolutions pad with zeros. In stored CIFAR-10 networks $\lambda_{\min}$ is at most 0.18 (a flexible one) and 0.33 (a prescribed one). The same kernels on a torus have at least 0.966: the border is the cause.
# * *Flexible steps.* The step up uses the *same* matrix as the step down. The code keeps $h_1$ in $[0.11,\,1.89]$ and $h_2$ in $[-1.9,\,0.05]$. The stored CIFAR-10 networks sit elsewhere, at the limit of the paper's rule up to rounding: $h_1=0.11$, $h_2=0.0548245$.
# * *A lost sign.* The forward pass takes $|h_2|$. A learned $-1.9$ becomes a step *up* of 1.9: with $h_1=1$ in two parts the worst slope is 1.63 instead of 0.56.
#
# </details>
#
# ### When would you use pairs?
#
# * *Not first* to draw a function of slope 1: a pair may lose slopes.
# * *Not* without orthogonal matrices and slopes of at least $a>0$.
# * *Perhaps* for photographs: a pair was ahead in two of six published cases and in our small run (★ Section 6.7), but not on our digits. Train both.
#
# ## 6.7 ★ The full experiment
#
# **Question.** Is the order the same on photographs, under a strong attack?
#
# The program `benchmarks/five_regimes.py` trains all five designs with three margins, attacks and certifies them. It attacks twice: one PGD raises $\max_{j\ne y}F_j-F_y$, as above, the other the cross-entropy. An image survives if it withstands both. The program takes digits, clothes or photographs,
# uses a GPU if there is one, stores its results after each network and goes on where it was stopped. For example, in the folder above this one:
#
# ```
# python benchmarks/five_regimes.py --dataset CIFAR10 --download --channels 32 --epochs 60 --results cifar10.json
# ```
#
# Here is what we stored from a *small* run on CIFAR-10 photographs: 3,000 training images, 300 test images (JPEG copies of the originals), 16 channels, one block a stage, six epochs, no GPU.
# The networks are therefore poor: right on 32 to 43 per cent of the images (column "clean": no attack). With 300 images the difference of two independent shares has a standard error of 4 points near 0.4 and of 2.5 near 0.1; we read only differences above two of them.
# The networks take pixel values in $[0,1]$, so their margins are not those of the table above.

# %% jupyter={"source_hidden": true}
with open("../benchmarks/results/five_regimes_cifar10_subset.json") as file:
    stored = json.load(file)["rows"]
print("margin, design        bound     AUC   clean   at 0.3: certified <= survives both attacks")
for row in stored:
    at = row["radii"].index(0.3)
    print("{margin:<6} {regime:14s}{bound:6.2f}   {auc:.3f}   {clean:.2f}".format(**row), end="")
    print(f"            {row['certified'][at]:.3f} <= {row['attacked'][at]:.3f}")
    assert row["broken"] == 0
    assert all(p <= s for p, s in zip(row["certified"], row["attacked"], strict=True))
for first in range(0, 15, 5):
    order = [row["auc"] for row in stored[first : first + 5]]
    assert order == sorted(order)
assert {round(100 * row["clean"]) for row in stored} <= set(range(32, 44))
ends = [(stored[k]["attacked"][3], stored[k + 4]["attacked"][3]) for k in (0, 5, 10)]
assert all(last - first > 0.05 for first, last in ends)
for row, rival in ((stored[7], stored[9]), (stored[12], stored[14])):
    assert row["regime"] == "nonexpansive" and rival["attacked"][3] > row["attacked"][3] + 0.08

# %%
figures.small_run(stored)

# %% [markdown]
# At every margin the areas come in the order unconstrained, naive, non-expansive, prescribed, flexible. Neighbours are mostly too close to tell. The first and the last are not: at radius 0.3 the flexible pairs are ahead by 9 to 16 points. At the two larger margins they are also ahead of the non-expansive steps, by 8 and 9 points.
# The published areas agree about the two smallest. With a strong attack on small networks all areas are far smaller.
#
# Two things to notice. The bounds of the flexible networks are about 0.3: they *learned* to contract. Their outputs shrink, but so does the number by which the certificate divides.
# And larger margins lift the certificates: at radius 0.3 the flexible network proves 1 per cent of the images with margin 0.07, 10 per cent with margin 0.3.
#
# ## Recap
#
# * A step down multiplies distances by at most $\max(|1-ah_1|,|1-h_1|)$; a step up may give back what it has taken (Claims 6.1, 6.3).
# * If $A^\top A=I$ holds only nearly, $\lambda$ decides how much is left (Claim 6.4).
# * A step with $c=2$ and orthogonal $A$ loses no slope, a pair may.
# * An accuracy under attack is only as good as the attack.
#
# ## What can go wrong in practice
#
# * *A certificate that assumes $A^\top A=I$.* Print $\lambda$, above all with zero padding.
# * *Free layers between the blocks.* One of norm 4 can undo everything.
# * *Comparing* different attacks or units of pixels.
#
# ## References
#
# * E. Celledoni, D. Murari, B. Owren, C.-B. Schönlieb, F. Sherry: *Dynamical systems' based neural networks*, arXiv 2210.02373.
# * M. J. Ehrhardt, D. Murari, F. Sherry: *Stable neural networks and connections to continuous dynamical systems*, arXiv 2510.22299.
# * F. Sherry, E. Celledoni, M. J. Ehrhardt, D. Murari, B. Owren, C.-B. Schönlieb: *Designing stable neural networks using convex analysis and ODEs*, arXiv 2306.17332.
# * D. Murari, T. Furuya, C.-B. Schönlieb: *Approximation theory for 1-Lipschitz ResNets*, arXiv 2505.12003.
# * B. Wu et al.: *Shift: a zero FLOP, zero parameter alternative to spatial convolutions*, arXiv 1711.08141.
# * J. Rauber, W. Brendel, M. Bethge: *Foolbox: a Python toolbox to benchmark the robustness of machine learning models*, arXiv 1707.04131.
