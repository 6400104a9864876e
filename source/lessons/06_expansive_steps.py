# %% [markdown]
# # 6. Expansive steps inside a 1-Lipschitz network
#
# In lesson 5 no layer was allowed to move two points apart. That is more than we need: only the *network* must not.
# Here single layers expand, because another layer has shrunk before.
#
# **You will learn**
#
# * how a step that shrinks pays for a step that expands, and why gradients may spend more than other fields;
# * why the matrix of the shrinking step must be orthogonal, and what it costs if it is so only nearly;
# * blocks whose steps are learned and whose bound still holds;
# * what 1-Lipschitz networks can draw, and when pairs of steps are worth their price;
# * to read a published table of robustness with care.
#
# **Before you start:** lesson 5 (the layer $x-\tau A^\top\sigma(Ax+b)$, its longest step, the certificate).
# **Time:** MINUTES for the core path; parts marked ★ can wait; the computer needs less than two minutes.

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
# **Question.** If no layer expands, what is left of a distance after ten layers?
#
# $\|\cdot\|$ is the Euclidean norm of a vector and the spectral norm of a matrix. Take the layer of lesson 5 with the **leaky ReLU** $\sigma(t)=\max(t,\,at)$:
# its slopes are $a$ and 1, here with $a=\tfrac12$. Let $A^\top A=I$. The step goes *downhill*:
#
# $$T_\downarrow(x)=x-h_1A^\top\sigma(Ax+b).$$
#
# (We write $h_1,h_2$ as the paper does. Since $\|A\|=1$, they are the relative steps $c$ of lesson 5.)
# Its partner goes *uphill*, with a matrix of norm $\|B\|\le1$ and the ReLU:
#
# $$T_\uparrow(x)=x+h_2B^\top\mathrm{relu}(Bx+b'),\qquad h_2\ge0.$$
#
# By the triangle inequality $T_\uparrow$ multiplies a distance by at most $1+h_2$.


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
# Ten downhill layers leave almost nothing: the network must tell everything with tiny differences. Uphill layers give some of it back. How much may they give?
#
# Where no entry of $Ax+b$ changes its sign, $T_\downarrow$ is linear, with the matrix $I-h_1A^\top DA$: $D$ is diagonal with entries $a$ or 1.
# $T_\uparrow$ has the matrices $I+h_2B^\top DB$ with entries 0 or 1. We can try them all, and all products: the largest norm is the Lipschitz constant for the worst biases.


# %%
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
# The step down takes at least a quarter of every distance.
#
# **Predict first.** With $h_1=\tfrac12$, what is the largest $h_2$ such that $T_\uparrow\circ T_\downarrow$ never increases a distance?

# %%
my_guess = ...  # a number

# %% tags=["reveal"]
for h2 in (0.2, 0.25, 1 / 3, 0.4, 0.5):
    slope = worst_slope(pieces_down, linear_pieces(h2, B, (0.0, 1.0)))
    print(f"h1 = 0.5, h2 = {h2:.3f}: worst slope {slope:.4f}")
    assert (slope <= 1 + 1e-12) is (h2 <= 1 / 3)
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
# Now for every $h_1$. ($P\preceq Q$ means that the symmetric matrix $Q-P$ is positive semidefinite: it has no negative eigenvalue.)
#
# > **Claim 6.1 (contractive step).** Let $\sigma$ have slopes in $[a,1]$ with $0<a\le1$, and $A^\top A=I$. Then for every $b$ and $h_1\ge0$ the Lipschitz constant of $T_\downarrow$ is at most
# > $\max(|1-ah_1|,\,|1-h_1|)$. If both slopes are attained on intervals, it is equal for suitable $b$.
#
# *Idea.* Each difference is multiplied by a symmetric matrix $I-h_1A^\top DA$, and $aI\preceq A^\top DA\preceq I$: all eigenvalues lie between $1-h_1$ and $1-ah_1$.
#
# <details><summary>The proof</summary>
#
# In each entry $\sigma(u)-\sigma(v)$ is $u-v$ times a number in $[a,1]$. So for each pair $x,y$ there is a diagonal $D$ with entries in $[a,1]$ such that
# $T_\downarrow(x)-T_\downarrow(y)=(I-h_1A^\top DA)(x-y)$. This matrix is symmetric, and since $aI\preceq A^\top DA\preceq I$ its eigenvalues lie between $1-h_1$ and $1-ah_1$.
# Equality: choose $b$ such that all entries of $Ax+b$ lie where the slope is 1, or all where it is $a$. For the leaky ReLU a large positive or a large negative $b$ does that. $\square$
#
# </details>
#
# **Your turn 6.A.** Let $a=\tfrac14$. For which $h_1$ is the factor $\max(|1-ah_1|,\,|1-h_1|)$ smallest? Sketch both absolute values, and give the number.

# %%
### BEGIN SOLUTION
### GIVEN best_h1 = ...
best_h1 = 2 / (1 + 1 / 4)  # where 1 - a h and h - 1 cross; the factor is 0.6
### END SOLUTION

your_turn("6.A")

# %% [markdown]
# The idea needs a *symmetric* $A^\top DA$: the field $A^\top\sigma(Ax+b)$ is a gradient. The published code of these networks (Celledoni et al., 2210.02373) uses less:
# only that a field $g$ is **strongly monotone**, $\langle g(x)-g(y),x-y\rangle\ge a\|x-y\|^2$, and 1-Lipschitz.
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
# At $h_1=\tfrac43$ the step shrinks to a third for a gradient, and for the spiral it *expands* by a fifth. Drop "gradient", and the sharp rule is wrong.
#
# Our fields are gradients. Now the account of a pair. Steps may be cut into equal parts: $s_1$ short steps down with the same $A$ and $b$, then $s_2$ short steps up with the same $B$ and $b'$.
#
# > **Claim 6.3 (pair).** Let $A^\top A=I$, $\|B\|\le1$, $h_1,h_2\ge0$, and let $q(h)=\max(|1-ah|,|1-h|)$ be the factor of Claim 6.1. The pair of $s_1$ steps down, $h_1$ in all, and $s_2$ steps up, $h_2$ in all, is 1-Lipschitz if
# >
# > $$q(h_1/s_1)^{s_1}\,(1+h_2/s_2)^{s_2}\le1 .$$
# >
# > For orthogonal $A$ and $B$ and suitable biases the left side is the Lipschitz constant itself.
#
# *Proof.* Factors of maps that follow one another multiply. Equality: choose biases so large that all slopes in $T_\downarrow$ are the same one and all slopes in $T_\uparrow$ are 1. Then each part multiplies *every* difference by its factor, up to sign. $\square$
#
# Drop $h_2\ge0$, and it fails: with $h_1=\tfrac12$, $h_2=-5$ and one part each the left side is $-3$, and the pair *triples* some distances.
#
# **Your turn 6.B.** Catch a pair that is not allowed: $h_1=\tfrac12$, $h_2=0.4$, one part each, $a=\tfrac12$, orthogonal $3\times3$ matrices. All entries of $b$ are one number, all entries of $b'$ another.
# Choose `biases = (b, b')` such that *any* two points with entries between $-5$ and 5 end up 1.05 times as far apart.

# %%
### BEGIN SOLUTION
### GIVEN biases = ...
biases = (-100.0, 100.0)  # down: all slopes 1/2, it shrinks least; up: all units on
### END SOLUTION

your_turn("6.B")

# %% [markdown]
# With your biases every pair of points takes the worst of it. Compare with biases that are zero:

# %%
starts, ends = 3 * torch.randn(2, 1000, 3, generator=generator)
tries = {"zeros": (0.0, 0.0)}
if passed("6.B"):
    tries["yours"] = biases
for name, (b, b_up) in tries.items():
    moved = [up(down(x, A, b, 0.5), B, b_up, 0.4) for x in (starts, ends)]
    growth = (moved[0] - moved[1]).norm(dim=1) / (starts - ends).norm(dim=1)
    print(f"{name}: distances are multiplied by {growth.min():.3f} to {growth.max():.3f} <= 1.05")
    assert growth.max() <= 1.05 + 1e-9

# %% [markdown]
# **Your turn 6.C.** Write `shortest_down(h2, a)`: the smallest $h_1$ with which a step up of length $h_2$ is allowed by Claim 6.3, in one part each ($s_1=s_2=1$).
# You may assume $0<h_2\le 2a/(1-a)$; beyond that no step down is enough.


# %%
def shortest_down(h2, a):
    """The smallest h1 with max(|1 - a h1|, |1 - h1|) (1 + h2) <= 1."""
    ### BEGIN SOLUTION
    may_be_left = 1 / (1 + h2)
    return (1 - may_be_left) / a  # for short steps down the factor is 1 - a h1
    ### END SOLUTION


your_turn("6.C")

# %% [markdown]
# With $\sqrt{1-2ah+h^2}$ in place of $q(h)$ Claim 6.3 is the condition in the published code: *the paper's rule*.
# Remember its **prescribed** pair, $(h_1,h_2)=(0.3,\,0.141)$ in two parts each. **Flexible** pairs learn their steps, with $s_1=2$ and $s_2=1$; shown is the smallest $h_1$ that they may choose.

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
# The live figure shows all pairs with $s_1=s_2=s$. The bars compare both rules with the worst slope of a real pair of layers in the plane.
# Leave the last slider at 1 for now. Where does the paper's region end, and what happens to it if you cut the steps into three parts?


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

# %%
live_map

# %% [markdown]
# The worst slope *equals* the sharp rule: nothing is left to gain. The paper's region is a small hill that ends at $h_1=2a=1$ (for $s=1$).
# Cutting helps it a great deal: for short steps the two rules agree, $\sqrt{1-2ah+h^2}\approx1-ah$.
#
# *Exercise 6.2 asks what may be given back after several steps down, Exercise 6.3 for the pair in parts.*
#
# ## 6.2 When $A^\top A=I$ holds only nearly
#
# **Question.** Training changes $A$. If $A^\top A$ is only *nearly* the identity, what remains of the promise?
#
# Let $\lambda_{\min}$ and $\lambda_{\max}$ be the smallest and the largest eigenvalue of $A^\top A$, and $\lambda=\lambda_{\min}/\lambda_{\max}$. They are squares of singular values of $A$; if $A$ has fewer rows than columns, $\lambda_{\min}=0$.
# As in lesson 5 we measure the step in units of $1/\lambda_{\max}$: it is $x-\frac{h_1}{\lambda_{\max}}A^\top\sigma(Ax+b)$.
#
# > **Claim 6.4 (nearly orthogonal).** Its Lipschitz constant is at most $\max(|1-a\lambda h_1|,\,|1-h_1|)$, and equal for suitable $b$ if both slopes are attained on intervals.
#
# *Proof.* As for Claim 6.1, now with $a\lambda_{\min}I\preceq A^\top DA\preceq\lambda_{\max}I$. $\square$
#
# A step down cannot shrink directions that $A$ hardly sees. Go back to the live figure and lower $\lambda_{\min}$ (there $\lambda_{\max}=1$): both regions shrink.
#
# **Predict first.** How small may $\lambda$ be before the prescribed pair $(0.3,\,0.141)$, in two parts each, expands for some biases?

# %%
my_guess_2 = ...  # a number between 0 and 1

# %% tags=["reveal"]
for lambda_min in (1.0, 0.95, 0.9, 0.85, 0.725, 0.5):
    bound = expansive.pair_factor((0.3, 0.141), (2, 2), kappa=0.5 * lambda_min)  # kappa: a lambda
    found = worst_slope_of_pair(0.3, 0.141, 2, lambda_min)
    print(f"lambda = {lambda_min:.3f}:  worst slope {found:.4f} <= bound {bound:.4f}")
    assert found <= bound + 1e-12
needed = (1 - 1 / (1 + 0.141 / 2)) / (0.5 * 0.3 / 2)  # (1 - a lambda h1/2) (1 + h2/2) = 1
reply(
    my_guess_2,
    needed,
    f"(1 - 0.075 lambda)(1 + 0.0705) is 1 for lambda = {needed:.3f}.",
    wrong={
        0.5: "the step down is short and takes little; with half of it the pair expands by 6 %.",
        1.0: "the pair is not at its limit: two per cent were left.",
    },
    within=0.04,
)

# %% [markdown]
# Not much room: after an error of 12 per cent in one eigenvalue the network need no longer be 1-Lipschitz.
#
# *Exercise 6.1 asks for the factor with any matrix, Exercise 6.5 for the smallest $\lambda$ that a pair can bear.*
#
# ### Convolutions: mind the border
#
# A convolution that is orthogonal on a *torus* (circular padding, lesson 3) is in general not orthogonal with zero padding: what moves out of the image is lost.
# Take the simplest orthogonal one. It shifts some channels by one pixel and then mixes the channels of each pixel by an orthogonal matrix $W$.

# %%
W = torch.linalg.qr(torch.randn(5, 5, generator=generator)).Q
moves = image_operators.ShiftOperator.MOVES  # none, up, down, left, right: one for each channel
kernel = torch.zeros(5, 5, 3, 3)
for channel, (dy, dx) in enumerate(moves):
    kernel[:, channel, 1 - dy, 1 - dx] = W[:, channel]  # a shift is a kernel with a single one


def circular(x):
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), kernel)


def zero_padded(x):
    return F.conv2d(x, kernel, padding=1)


def eigenvalue_range(operator, shape):
    """Smallest and largest eigenvalue of A^T A, from the dense matrix of a linear map."""
    with torch.no_grad():
        values = torch.linalg.svdvals(norms.dense_matrix(operator, shape)) ** 2
    return values[-1].item(), values[0].item()


for convolution in (circular, zero_padded):
    low, high = eigenvalue_range(convolution, (5, 6, 6))
    print(f"{convolution.__name__:12s} eigenvalues of A^T A from {abs(low):.3f} to {high:.3f}")

# %% [markdown]
# With zero padding the smallest eigenvalue drops to 0: what is moved out entirely leaves nothing to shrink. Claim 6.4 then allows no $h_2>0$ at all.
#
# > **Claim 6.5 (shift convolution).** Shifts around the border, followed by a matrix $W$ on the channels of each pixel, have the singular values of $W$. So the convolution is orthogonal exactly if $W$ is.
#
# *Proof.* The shifts renumber the entries: a permutation, which is orthogonal. The second map is block diagonal with $W$ in every block. $\square$

# %% jupyter={"source_hidden": true}
shift = image_operators.ShiftOperator(5)  # this convolution; `smallest_bound` is guaranteed
with torch.no_grad():
    shift.weight.copy_(W)
    x = torch.randn(1, 5, 6, 6, generator=generator)
    assert torch.allclose(shift(x), circular(x))
    shift.weight.copy_(W @ torch.diag(torch.tensor([1.0, 1.0, 1.0, 1.0, 0.5])))
low, high = eigenvalue_range(shift, (5, 6, 6))
guaranteed = shift.smallest_bound((5, 6, 6)) ** 2
print(f"one column of W halved: measured {low:.3f} >= guaranteed {guaranteed:.3f}")
assert guaranteed <= low + 1e-12

# %% [markdown]
# ### Asking or enforcing
#
# How does $A$ stay orthogonal while it learns? *Ask*: add a multiple of the sum of all squared entries of $A^\top A-I$ to the loss. *Enforce*: after each step of the optimiser move $A$ back to an orthogonal matrix
# (`restore_orthonormal_rows`, lesson 5). We train three prescribed pairs on the half circles of lesson 5 in both ways.
#
# The library's `SwitchingBlock` never trusts: in evaluation mode it measures $\lambda$, and if the pair is not allowed it cuts $h_2$ to the limit of Claim 6.4 and warns.


# %%
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
# ## 6.3 Steps that are learned
#
# **Question.** If the optimiser chooses the steps, who checks that they stay allowed?
#
# The block does. A prescribed pair is refused if it breaks Claim 6.3. A *flexible* block makes $h_1$ and $h_2$ from two free numbers $u_1,u_2$:
#
# $$h_1=0.11+1.78\,\mathrm{sigmoid}(u_1),\qquad h_2=h_{\max}(h_1,\lambda)\,\tanh(u_2),$$
#
# where $h_{\max}$ is the longest step up by Claims 6.3 and 6.4 (in training mode with $\lambda=1$).
#
# <details><summary>And if $u_2$, and so $h_2$, is negative?</summary>
#
# Then the second step goes *down* with $B$. Each of its parts multiplies distances by at most $\max(1,\,|1+h_2/s_2|)\le1+|h_2|/s_2$, the factor of the step up of the same length. So the pair is allowed as well.
#
# </details>
#
# **Predict first.** The optimiser drives $u_2$ to infinity. What is the guaranteed bound of the block then?

# %%
my_guess_3 = ...  # a number

# %% tags=["reveal"]
dense = partial(operators.DenseOperator, 4, 4, orthonormal=True)
try:
    expansive.SwitchingBlock(dense(), dense(), c=(0.3, 0.3))  # the library writes c1, c2
except ValueError as error:
    print("refused:", error)
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
reply(my_guess_3, 1, because, within=0.01)

# %% [markdown]
# *Exercise 6.4 asks which step up is safe for every learned $h_1$.*
#
# ## 6.4 What can a 1-Lipschitz network draw?
#
# **Question.** Which functions can be approximated, if the network may never be steeper than 1?
#
# Here is one that is as steep as allowed, everywhere outside a set:
#
# > **Claim 6.6 (distance to a set).** For every non-empty set $Z$ the distance $\operatorname{dist}(x,Z)=\inf_{z\in Z}\|x-z\|$ is 1-Lipschitz, and outside the closure of $Z$ it falls at the rate 1 towards a nearest point.
# > Its square is not 1-Lipschitz where the distance exceeds $\tfrac12$.
#
# *Idea.* Go from $x$ to $Z$ by way of $y$: $\operatorname{dist}(x,Z)\le\|x-y\|+\operatorname{dist}(y,Z)$.
#
# <details><summary>The proof</summary>
#
# For each $z\in Z$, $\operatorname{dist}(x,Z)\le\|x-z\|\le\|x-y\|+\|y-z\|$. Take the infimum over $z$, then exchange $x$ and $y$. On the segment from $x$ to a nearest point $z$ of the closure the distance to $Z$ is simply the distance to $z$, which falls at the rate 1. So there the slope of the square is twice the distance. $\square$
#
# </details>
#
# **Your turn 6.D.** Write `distance_to_points(x, Z)`: for points `x` of shape `(n, d)` the distance of each to the set of the rows of `Z`, shape `(k, d)`.


# %%
def distance_to_points(x, Z):
    """Distance of each row of x (n, d) to the set of the rows of Z (k, d): shape (n,)."""
    ### BEGIN SOLUTION
    lengths = (x[:, None, :] - Z[None, :, :]).norm(dim=2)  # (n, k)
    return lengths.min(dim=1).values
    ### END SOLUTION


your_turn("6.D")


# %%
def distance_to_circle(x):
    return (x.norm(dim=1) - 0.6).abs()


corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
mine = partial(distance_to_points, Z=corners) if passed("6.D") else distance_to_circle
x, y = 4 * torch.rand(2, 20000, 2, generator=generator) - 2
for name, f in (("distance", mine), ("its square", lambda x: mine(x) ** 2)):
    slope = ((f(x) - f(y)).abs() / (x - y).norm(dim=1)).max().item()
    print(f"{name}: largest slope between two of many points {slope:.3f}")
    assert (slope <= 1 + 1e-9) is (name == "distance")

# %% [markdown]
# Residual networks of gradient steps come arbitrarily close to *every* scalar 1-Lipschitz function on a bounded closed set, if they may be wide and deep enough (Murari, Furuya and Schönlieb, 2505.12003).
# But "can" is not "will": think of $|x|$ in Section 5.6. Now the distance to a circle of radius 0.6, a crater with a sharp peak in the middle.
# We train four networks with six blocks of width 16 and a bound of at most 1 (the first one nearly): spectrally normalised with ReLU, steps with $c=1$ and with $c=2$, and flexible pairs.


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
for name, network in painters.items():
    with torch.no_grad():
        drawn = network(grid)[:, 0]
    surfaces[name] = drawn.reshape(81, 81).T
    errors[name] = (drawn - distance).abs().max().item()
errors["the best constant"] = ((distance.max() - distance.min()) / 2).item()

# %% [markdown]
# **Predict first.** One of the four ends with less than half the largest error of each of the others. Which one?

# %%
my_guess_4 = ...  # "spectral", "c = 1", "c = 2" or "pairs"

# %% tags=["reveal", "nbval-ignore-output"]
for name, error in errors.items():
    print(f"{name:17s} largest error {error:.3f}", end="   ")
    bound = certificates.lipschitz_bound(painters[name], (2,)) if name in painters else 0.0
    print(f"guaranteed bound {bound:.3f}")
    assert name == "c = 2" or errors["c = 2"] < error / 2
reply(
    my_guess_4,
    "c = 2",
    "A reflecting step keeps the slope of every direction, whether its units are on or off.",
    wrong={
        "pairs": "a pair may expand, but as a whole it reaches the slope 1 only in few regions.",
        "c = 1": "such a step loses slope where a unit is on.",
        "spectral": "a ReLU layer loses slope where a unit is off.",
    },
)

# %% tags=["nbval-ignore-output"]
figures.crater(fine, surfaces)

# %% [markdown]
# Only $c=2$ draws the crater. A pair keeps a distance only in directions in which *all* slopes are the favourable ones (in the step down those that shrink least, in the step up 1); all others it shrinks. Its factor of 1 is a promise about the worst case, and six blocks lose six times.
# The pairs do little better than the best constant, and their bound is far below 1: they did not even use what they were allowed. (One training: no proof that they cannot.)
#
# So why would anyone use pairs? The next two sections try them on images, where nobody needs the slope 1 everywhere.
#
# ## 6.5 Five designs under attack
#
# **Question.** Constrain nothing, ask, forbid all expansion, or allow it in pairs: what stands an attack best?
#
# Celledoni et al. (2210.02373) compare five designs (they say *regimes*) of a residual network. Here is our small version, on handwritten digits (the MNIST collection). All linear maps are shift convolutions (Claim 6.5).
#
# | design | block | linear maps |
# |---|---|---|
# | unconstrained | $x+B\,\mathrm{relu}(Ax+b)$ | free |
# | naive | $\frac12\big(x+B\,\mathrm{relu}(Ax+b)\big)$ | a penalty asks for orthogonality |
# | non-expansive | $x-h A^\top\mathrm{relu}(Ax+b)$, $h=1.9$ | orthogonal, enforced |
# | prescribed | the pair $(0.3,\,0.141)$ | orthogonal, enforced |
# | flexible | a pair, $h_1$ and $h_2$ learned | orthogonal, enforced |
#
# Why 1.9, when 2 is allowed (Claim 5.1)? The published code stops there, and it leaves a reserve: with $h=1.9$ the step is non-expansive for every $\|A\|^2\le2/1.9\approx1.05$, with $h=2$ the slightest error of the norm is too much.
# This step could pay for no step up: the ReLU has $a=0$, so the factor is 1.
#
# > **Claim 6.7 (naive block).** $\frac12\big(x+B\,\mathrm{relu}(Ax+b)\big)$ has a Lipschitz constant of at most $\frac12(1+\|A\|\,\|B\|)$. That is 1 if $A$ and $B$ are orthogonal, and for $B=A^\top$ it is attained.
#
# *Proof.* The triangle inequality, since ReLU is 1-Lipschitz. For $B=A^\top$ and all units on the block has the matrix $\frac12(I+A^\top A)=I$. $\square$
#
# So the naive *blocks* would be 1-Lipschitz too, *if* the penalty were obeyed to the letter; the last layer is not even asked.
#
# We train with the **hinge loss** $\sum_{j\ne y}\max(0,\,0.7-F_y+F_j)$: each wrong output is to stay a *margin* of 0.7 below the right one. A margin is a difference of outputs, not of pixels. But with pixel values in $[0,1]$ and a bound of 1
# it certifies the radius $0.7/\sqrt2\approx0.49$ in pixel values (Section 5.7).

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
for name, network in five.items():
    bound = certificates.lipschitz_bound(network, (1, 28, 28))
    slope = norms.jacobian_norms(network, x_test).max().item()
    with torch.no_grad():
        right = network(digits.test_images).argmax(1) == digits.test_labels
    print(f"{name:14s} measured slope {slope:5.2f} <= bound {bound:6.2f}", end="   ")
    print(f"accuracy on {len(right)} test digits {right.double().mean():.3f}")
    assert slope <= bound + 1e-5
    five_bounds[name] = bound
assert all(five_bounds[name] <= 1 + 1e-6 for name in models.CERTIFIED)
assert five_bounds["unconstrained"] > five_bounds["naive"] > 1.5

# %% [markdown]
# Now the attack. **Projected gradient descent** (PGD; lesson 7 builds it) takes small steps that raise $\max_{j\ne y}F_j-F_y$ and stays in the ball of radius $\varepsilon$ around the image. Here: 20 steps of $\varepsilon/8$, on 200 test images.
# An image *survives* if the attack does not fool the network. It is *certified* if $\text{margin}/(\sqrt2L)>\varepsilon$, with the guaranteed bound $L$. What is certified must survive.
#
# **Predict first.** Which of the five has the most survivors at radius 1? (The radius is Euclidean: one pixel turned from white to black is a change of 1.)

# %%
my_guess_5 = ...  # a name in quotation marks, as printed above

# %% tags=["reveal", "nbval-ignore-output"]
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
at_one = {name: share[radii.index(1.0)] for name, (share, _) in curves.items()}
others = at_one["unconstrained"], at_one["naive"]
assert min(at_one[name] for name in models.CERTIFIED) > max(others)
reply(
    my_guess_5,
    max(at_one, key=at_one.get),
    "All three enforced designs are ahead of the two others there.",
    wrong={
        "unconstrained": "it has the largest slope, so a small change may move its outputs far.",
        "naive": "its bound was only asked for, and its slope is larger.",
    },
)

# %% tags=["nbval-ignore-output"]
figures.five_designs(radii, curves)

# %% [markdown]
# At radius 1 all three enforced designs are ahead of both others, and only they can *prove* much. At smaller radii there is no such order:
# in our run the non-expansive network is ahead of the unconstrained one from 0.25 on, the pairs only from 0.5 on, and there the naive network is still ahead of them.
# Both pairs begin lower, already on clean digits. (With 200 images five points may be luck.)
#
# ## 6.6 Reading a published table
#
# **Question.** What did the paper find on real photographs, and how far can we trust the numbers?
#
# The repository of the paper stores accuracies under attack for the photographs CIFAR-10 and CIFAR-100, with three margins each. The networks are larger, and they see *normalised* pixels, divided by about 0.2:
# a margin of 0.15 certifies at most $0.15\cdot0.2/\sqrt2\approx0.021$ in pixel values, even with $L=1$. The radii are in pixel values. AUC is the area under the curve from $\varepsilon=0$ to 1.

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
print("AUC                 CIFAR-10               CIFAR-100")
print("margin        " + "".join(f"{margin:>7s}" for margin in margins))
areas = {}
for design in designs.values():
    areas[design] = [area(accuracies[(*column, design)]) for column in columns]
    print(f"{design:14s}" + "".join(f"{value:7.3f}" for value in areas[design]))
for row in published:
    place = columns.index((row["dataset"], row["margin"]))
    assert abs(areas[designs[row["regime"]]][place] - float(row["auc"])) < 1e-4
spread = []
for place in range(6):
    column = [areas[design][place] for design in designs.values()]
    assert column[0] < column[1] < min(column[2:]) and column[4] > column[2]
    spread.append(max(column[2:]) - min(column[2:]))
assert max(spread[:3]) < 0.02 < max(spread[3:]) < 0.07
assert sum(p > n for p, n in zip(areas["prescribed"], areas["nonexpansive"], strict=True)) == 4

# %%
one_column = {design: (accuracies["CIFAR10", "0.15", design], None) for design in designs.values()}
figures.published_table(published_radii, one_column, areas, margins)

# %% [markdown]
# In all six columns the unconstrained network is last and the naive one next (once by a hair). The three others are within 0.02 of each other for CIFAR-10 and within 0.07 for CIFAR-100.
# The flexible pairs are ahead of the non-expansive network in all six columns, the prescribed ones in four. Now the fine print. Each entry is one training, attacked on 1,024 images. And the attack is weak:
# 10 steps of PGD, each $0.025\,\varepsilon$ long (a default of the library foolbox). They lead at most $0.25\,\varepsilon$ away from a random start, and among 3,072 pixel values a random point of the ball is almost harmless. So the table is an *upper* bound of the true robustness.
#
# We can measure what this is worth, on our own five networks: same images, radius 1.
#
# **Predict first.** Look up which share of the images survived our 20 long steps at radius 1 for the unconstrained network. Which share survives the 10 short ones?

# %%
my_guess_6 = ...  # a number between 0 and 1

# %% tags=["reveal", "nbval-ignore-output"]
weak = {}
print("surviving at radius 1   weak attack   strong attack")
for name, network in five.items():
    short = {"steps": 10, "step_size": 0.025, "loss": "cross_entropy"}
    moved = attacks.pgd(network, x_test, y_test, 1.0, **short)
    with torch.no_grad():
        weak[name] = (network(moved).argmax(1) == y_test).double().mean().item()
    print(f"{name:22s}      {weak[name]:.3f}         {at_one[name]:.3f}")
    assert weak[name] >= at_one[name]
gaps = {name: weak[name] - at_one[name] for name in five}
assert max(gaps, key=gaps.get) == "unconstrained" and gaps["unconstrained"] > 0.2
reply(
    my_guess_6,
    weak["unconstrained"],
    "Ten short steps hardly leave the harmless random start.",
    wrong={at_one["unconstrained"]: "that is what the strong attack leaves."},
)

# %% [markdown]
# The weak attack flatters everyone, and most of all the network with the steepest slopes. A table made with it says little about the *distances* between designs; their order is at best suggestive. A certificate needs no such discussion.
#
# <details><summary>What else the published code does, and what we measured in it</summary>
#
# None of this decides who is best. It says what the table compares.
#
# * *Depth.* A stage of the unconstrained and of the naive network has four blocks of two convolutions each, a stage of the non-expansive network four steps with a single matrix, and a stage of the others two pairs.
# * *Lifts.* In the three constrained designs each of the three convolutions that raise the number of channels is normalised and then multiplied by a free number, which was learned to be between 3.6 and 7.0. So the stored networks are not certified. They are not refuted either: a short search found no slope above 0.83.
# * *Orthogonality.* It is asked for by a penalty, and the convolutions pad with zeros. In stored CIFAR-10 networks $\lambda_{\min}$ is at most 0.18 (a flexible one) and 0.33 (a prescribed one). The same kernels on a torus have at least 0.966: the border is the cause.
# * *Flexible steps.* The step up uses the *same* matrix as the step down. The code keeps $h_1$ in $[0.11,\,1.89]$ and $h_2$ in $[-1.9,\,0.05]$. The stored CIFAR-10 networks sit elsewhere, at the limit of the paper's rule up to rounding: $h_1=0.11$, $h_2=0.0548245$.
# * *A lost sign.* The forward pass takes $|h_2|$. A learned $-1.9$ becomes a step *up* of 1.9: with $h_1=1$ in two parts the worst slope is 1.63 instead of 0.56.
# * *Units.* The prescribed networks for CIFAR-10 were evaluated with another normalisation than they were trained with: their perturbations were about a fifth smaller than those of the others.
#
# </details>
#
# ### When would you use pairs?
#
# * *Not* to draw a function of slope 1, such as a distance: $c=2$ was better by far.
# * *Not* without orthogonal matrices and slopes of at least $a>0$: there is no budget.
# * *Perhaps* for classification. On our digits non-expansive steps did better on clean images, with one matrix step a block instead of three or four. On the published photographs, and in our small run of Section 6.7, flexible pairs had the larger areas.
#   No run has error bars: train both, and compare certificates.
#
# ## 6.7 ★ The full experiment
#
# **Question.** Is the order the same on photographs, under a strong attack?
#
# The program `benchmarks/five_regimes.py` trains all five designs with three margins, attacks them with both kinds of PGD and certifies them. It takes digits, clothes or photographs,
# uses a GPU if there is one, stores its results after each network and goes on where it was stopped. For example, in the folder above this one:
#
# ```
# python benchmarks/five_regimes.py --dataset CIFAR10 --download --channels 32 --epochs 60 --results cifar10.json
# ```
#
# Here is what we stored from a *small* run on CIFAR-10 photographs: 3,000 training images, 300 test images (JPEG copies of the originals), 16 channels, one block a stage, six epochs, no GPU.
# The networks are therefore poor, about 40 per cent right, and with 300 images a difference of three points may be luck. They take pixel values in $[0,1]$, so their margins are not those of the table above.

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

# %%
figures.small_run(stored)

# %% [markdown]
# At every margin the areas come in the order unconstrained, naive, non-expansive, prescribed, flexible (with margin 0.3 naive and non-expansive all but tie).
# The published areas agree about the two smallest; among the other three they have no fixed order. With a strong attack on small networks all areas are far smaller.
#
# Two things to notice. The bounds of the flexible networks are about 0.3: they *learned* to contract. Their outputs shrink, but so does the number by which the certificate divides.
# And the best certificates depend on the margin: at radius 0.3 the non-expansive network proves most with margin 0.07, the flexible one with margin 0.3.
#
# ## Recap
#
# * A step down with slopes in $[a,1]$ and $A^\top A=I$ multiplies distances by at most $\max(|1-ah_1|,|1-h_1|)$, for gradients (Claim 6.1); in general only by $\sqrt{1-2ah_1+h_1^2}$ (Claim 6.2).
# * A step up may give back what the step down has taken (Claim 6.3).
# * If $A^\top A=I$ holds only nearly, $\lambda$ decides (Claim 6.4). Zero padding can make it 0; shifts around the border keep it (Claim 6.5).
# * Distances have the slope 1 outside their set (Claim 6.6); steps with $c=2$ drew one, pairs did not.
# * Of five designs three are certified; asking by a penalty (Claim 6.7) is no certificate. An accuracy under attack is only as good as the attack.
#
# ## What can go wrong in practice
#
# * *A certificate that assumes $A^\top A=I$.* Print $\lambda$, above all with zero padding. A `SwitchingBlock` warns when it cuts a step.
# * *Layers between the blocks.* One free layer of norm 4 between the stages can make the network 4-Lipschitz. `lipschitz_bound` counts them all.
# * *Comparing robustness under different attacks*, losses or units of pixels: the numbers do not compare.
#
# ## References
#
# * E. Celledoni, D. Murari, B. Owren, C.-B. Schönlieb, F. Sherry: *Dynamical systems' based neural networks*, arXiv 2210.02373.
# * M. J. Ehrhardt, D. Murari, F. Sherry: *Stable neural networks and connections to continuous dynamical systems*, arXiv 2510.22299.
# * F. Sherry, E. Celledoni, M. J. Ehrhardt, D. Murari, B. Owren, C.-B. Schönlieb: *Designing stable neural networks using convex analysis and ODEs*, arXiv 2306.17332.
# * D. Murari, T. Furuya, C.-B. Schönlieb: *Approximation theory for 1-Lipschitz ResNets*, arXiv 2505.12003.
# * B. Wu et al.: *Shift: a zero FLOP, zero parameter alternative to spatial convolutions*, arXiv 1711.08141.
# * J. Rauber, W. Brendel, M. Bethge: *Foolbox: a Python toolbox to benchmark the robustness of machine learning models*, arXiv 1707.04131.
