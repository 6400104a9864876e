# %% [markdown]
# # 5. Non-expansive layers
#
# If small changes of the input must not fool a classifier, its layers should not magnify them.
# In this lesson you build a layer that *cannot* move two points apart, whatever its weights are.
#
# **You will learn**
#
# * why one short step of a gradient flow is a layer that never increases distances, and exactly how short "short" is;
# * to see the promise break: a step too long, weights untied, a slope that turns negative, a norm gone stale;
# * to write the adjoint of a convolution and to test it in one line;
# * four ways to keep the promise during training, and which of them may be called a certificate;
# * what the longest allowed step can express that shorter ones cannot.
#
# **Before you start:** linear algebra (singular values), a little PyTorch. Lessons 1 to 3 help but are not needed.
# **Time:** MINUTES for the core path; parts marked ★ can wait; the computer needs less than one minute.

# %% tags=["setup"]
# setup

# %%
import itertools
import math

import torch
import torch.nn.functional as F
from torch import nn

from chapter_checks import passed, reply, your_turn
from chapter_utils import (
    certificates,
    data,
    image_operators,
    layers,
    norms,
    operators,
    plain_layers,
    plotting,
    runge_kutta,
    training,
)
from figures import lesson_05 as figures

plotting.use_house_style()
torch.set_default_dtype(torch.float64)  # so that what we see is mathematics, not rounding

# %% [markdown]
# ## 5.1 A layer that follows a gradient downhill
#
# **Question.** Two images differ a little. After a layer, may they differ more?
#
# Let $\|\cdot\|$ be the Euclidean norm of a vector, and for a matrix the spectral norm, its largest singular value.
# A map $T$ is **non-expansive** if $\|T(x)-T(y)\|\le\|x-y\|$ for all $x,y$. In other words: its Lipschitz constant is at most 1.
#
# Think of rain on a valley: two drops on the walls of a *convex* bowl run downhill and never move apart.
# Take the bowl $V(x)=\sum_i s\big((Ax+b)_i\big)$ with a matrix $A$, a vector $b$ and a convex scalar function $s$.
# Its slope is $\nabla V(x)=A^\top\sigma(Ax+b)$, where $\sigma=s'$ acts on each entry. If $s(t)=\tfrac12\max(t,0)^2$, then $\sigma$ is the ReLU.
#
# One step of length $\tau$ downhill is our layer:
#
# $$T(x)=x-\tau A^\top\sigma(Ax+b).$$
#
# It is a residual layer whose second matrix is the transpose of the first, with a minus sign.
#
# **Your turn 5.A.** Write it for the ReLU and a batch `x` of shape $(B,d)$: each *row* is a point. `A` has shape $(m,d)$, `b` has shape $(m,)$. So the rows of `x @ A.T` are the $Ax$.


# %%
def my_layer(x, A, b, tau):
    """x - tau A^T relu(A x + b) for a batch x of shape (B, d)."""
    ### BEGIN SOLUTION
    switched = torch.relu(x @ A.T + b)
    return x - tau * switched @ A
    ### END SOLUTION


your_turn("5.A")

# %% [markdown]
# The next cell, folded, is the lesson's own version, for any activation. The first live figure below moves *yours*, if it has passed.


# %% jupyter={"source_hidden": true}
def gradient_layer(x, A, b, tau, activation=torch.relu):
    """x - tau A^T activation(A x + b) for a batch x of shape (B, d)."""
    return x - tau * activation(x @ A.T + b) @ A


generator = torch.Generator().manual_seed(0)
A = torch.randn(3, 3, generator=generator)
b = torch.randn(3, generator=generator)
norm_A = torch.linalg.matrix_norm(A, 2)
print(f"largest singular value of A: {norm_A:.4f}")

# %% [markdown]
# **Predict first.** A drop that takes too long a step jumps across the valley and up the other wall.
# We measure the step by the number $c=\tau\,L_\sigma\|A\|^2$, where $L_\sigma$ is the largest slope of $\sigma$: 1 for the ReLU. How large may $c$ be before distances grow?

# %%
my_guess = ...  # a number

# %% [markdown]
# How to find out? On any region where the signs of $Ax+b$ do not change, the ReLU layer is linear, with the matrix
# $I-\tau A^\top D A$. Here $D$ is diagonal, with a 1 for each unit that is switched on and a 0 for each that is off.
# Three units have $2^3=8$ on/off patterns. Our $A$ is invertible, so each pattern occurs somewhere, and the largest norm among the eight matrices is
# the exact Lipschitz constant. (For other $A$ it is an upper bound.)


# %% tags=["reveal"]
def worst_slope(A, tau, slopes=(0.0, 1.0), B=None):
    """Largest norm of I - tau B^T D A over all diagonal D with entries from `slopes`.

    B = A unless given.
    """
    B = A if B is None else B
    patterns = torch.tensor(list(itertools.product(slopes, repeat=len(A))))
    matrices = torch.eye(A.shape[1]) - tau * B.T @ torch.diag_embed(patterns) @ A
    return torch.linalg.matrix_norm(matrices, 2).max().item()


for c in (0.5, 1.0, 2.0, 2.1, 2.5, 3.0):
    print(f"c = {c:.1f}:  Lipschitz constant {worst_slope(A, c / norm_A**2):.4f}")
reply(
    my_guess,
    2,
    "Up to c = 2 nothing grows.",
    wrong={
        1: "at c = 1 the drop stops at the bottom. It may climb the other wall as far as it came.",
        0.5: "so short a step is safe, but a drop may even climb the other wall a little.",
        4: "then the constant is 3.",
    },
)

# %% [markdown]
# The constant cannot be less than 1: where all units are off, the layer does nothing. Beyond $c=2$ it is exactly $c-1$.
#
# > **Claim 5.1 (the layer is non-expansive).** Let $\sigma$ be nondecreasing with slope at most $L_\sigma$.
# > Then $T(x)=x-\tau A^\top\sigma(Ax+b)$ is non-expansive for every $0\le\tau\le\dfrac{2}{L_\sigma\|A\|^2}$.
#
# *Proof.* Let $d=x-y$ and $\delta=\sigma(Ax+b)-\sigma(Ay+b)$. For each entry, $\sigma$ nondecreasing with slope at most $L_\sigma$ means
# $\delta_i\,(Ad)_i\ge\delta_i^2/L_\sigma$. Add these up:
# $\langle d,A^\top\delta\rangle=\langle Ad,\delta\rangle\ge\|\delta\|^2/L_\sigma\ge\|A^\top\delta\|^2/(L_\sigma\|A\|^2)$. Hence
#
# $$\|T(x)-T(y)\|^2=\|d\|^2-2\tau\langle d,A^\top\delta\rangle+\tau^2\|A^\top\delta\|^2
# \le\|d\|^2-\tau\Big(\frac{2}{L_\sigma\|A\|^2}-\tau\Big)\|A^\top\delta\|^2.\qquad\square$$
#
# > **Claim 5.2 (the limit is sharp).** If $A\ne0$, the slope $L_\sigma$ is attained on an interval and $\tau=c/(L_\sigma\|A\|^2)$ with $c>2$,
# > there are $b$, $x$ and $y$ with $\|T(x)-T(y)\|=(c-1)\|x-y\|$.
#
# The two points differ along the direction that $A$ stretches most. There the map is multiplication by $1-c$.
# Move the slider and watch this pair, a thick line from a disc to an open square, on a ring of points in the plane.

# %%
A2 = torch.tensor([[1.0, 0.4], [-0.3, 0.6]])
stretched = torch.linalg.svd(A2).Vh[0]  # the direction that A2 stretches most
live_step = figures.step_size(
    my_layer if passed("5.A") else gradient_layer, worst_slope, A2, stretched
)
live_step.still(c=2.5)

# %%
live_step

# %% [markdown]
# Put the slider to 1: the pair collapses to a point. Put it to 2: the pair is exactly as long as before, but disc and square have changed places.
# This reflection will matter at the end of the lesson: **the longest allowed step keeps all information along that direction.**
#
# ### Other activations
#
# The limit for $\tau$ contains $L_\sigma$, the largest slope. The sigmoid has $L_\sigma=\tfrac14$, so its steps may be four times longer.
# But the slope must also never be *negative*. GELU dips a little below zero: its slope ranges over $[-0.129,\,1.129]$.
#
# **Predict first.** GELU takes the step $\tau=2/(1.129\,\|A\|^2)$, which would be allowed if it were nondecreasing. What is the Lipschitz constant then?

# %%
my_guess_2 = ...  # a number

# %% tags=["reveal"] jupyter={"source_hidden": true}
t = torch.linspace(-8, 8, 4001, requires_grad=True)
for activation in (torch.relu, torch.tanh, torch.sigmoid, F.gelu):
    slope = torch.autograd.grad(activation(t).sum(), t)[0]
    low = slope.min().item()
    high = slope.max().item()
    tau = 2 / (high * norm_A**2)
    constant = worst_slope(A, tau, (low, high))
    print(f"{activation.__name__:8s} slope in [{low:6.3f}, {high:.3f}]   ", end="")
    print(f"Lipschitz constant at the limit: {constant:.3f}")
assert constant > 1.1
reply(
    my_guess_2,
    constant,
    "Where the slope is negative the layer walks uphill.",
    wrong={1: "the dip is small, but it is there.", 1.129: "not the largest slope counts here."},
    within=0.02,
)

# %% [markdown]
# GELU expands by almost a quarter at "its" limit, and a little for every shorter step. The hypothesis *nondecreasing* is not decoration.
# The second matrix matters too. With an unrelated $B^\top$ in place of $A^\top$ we no longer follow a gradient: $\langle d,B^\top\delta\rangle=\langle Bd,\delta\rangle$, and the proof knows the sign of $\langle Ad,\delta\rangle$ only. A shorter step is no repair. Half the allowed one:

# %%
B = torch.randn(3, 3, generator=generator)
tau = 1 / max(norm_A, torch.linalg.matrix_norm(B, 2)) ** 2
untied = worst_slope(A, tau, B=B)
print(f"tied:   {worst_slope(A, tau):.3f}")
print(f"untied: {untied:.3f}")
assert untied > 1.1

# %% [markdown]
# *Exercise 5.1 asks for the longest step of a given layer, Exercise 5.2 for the price of going beyond it.*
#
# ## 5.2 More than non-expansive: averaged
#
# **Question.** A rotation is non-expansive too, but repeating it never settles. Is our layer better than that?
#
# The proof above threw something away. Keep it: with $c=\tau L_\sigma\|A\|^2$, and because $(x-Tx)-(y-Ty)=\tau A^\top\delta$, it says
#
# $$\|Tx-Ty\|^2\le\|x-y\|^2-\Big(\frac{2}{c}-1\Big)\big\|(x-Tx)-(y-Ty)\big\|^2 .$$
#
# For $0<\alpha<1$, a map with $\|Tx-Ty\|^2\le\|x-y\|^2-\frac{1-\alpha}{\alpha}\|(x-Tx)-(y-Ty)\|^2$ is called **$\alpha$-averaged**. Equivalently,
# $T=(1-\alpha)I+\alpha N$ with a non-expansive $N$: a mean of the identity and $N$. The smaller $\alpha$, the stronger the inequality; $\alpha=\tfrac12$ is called *firmly non-expansive*.
# (Stronger does not mean that more is contracted: the identity satisfies it for every $\alpha$.)
#
# <details><summary>Why the two are equivalent</summary>
#
# Solve for $N=I-\tfrac1\alpha(I-T)$. With $d=x-y$ and $e=(x-Tx)-(y-Ty)$, so that $Tx-Ty=d-e$:
#
# $$\|Nx-Ny\|^2=\|d\|^2-\tfrac2\alpha\langle d,e\rangle+\tfrac1{\alpha^2}\|e\|^2,\qquad \|Tx-Ty\|^2=\|d\|^2-2\langle d,e\rangle+\|e\|^2.$$
#
# $N$ is non-expansive exactly if $2\langle d,e\rangle\ge\tfrac1\alpha\|e\|^2$. Put into the second equation, that is the inequality of averaged maps.
#
# </details>
#
# > **Claim 5.3 (averaged).** For $0<c<2$ the layer is $\alpha$-averaged with $\alpha=c/2$, and, if the slope $L_\sigma$ is attained on an interval, with no smaller $\alpha$ that serves for every $b$.
#
# We try to refute it with 20,000 random pairs: the *slack* is right side minus left side and must not be negative.


# %%
def smallest_slack(alpha, c, pairs=20_000):
    x, y = torch.randn(2, pairs, 3, generator=torch.Generator().manual_seed(1))
    Tx = gradient_layer(x, A, b, c / norm_A**2)
    Ty = gradient_layer(y, A, b, c / norm_A**2)
    moved = (x - Tx) - (y - Ty)
    before, move, after = (v.square().sum(1) for v in (x - y, moved, Tx - Ty))
    return (before - (1 - alpha) / alpha * move - after).min().item()


for c in (0.5, 1.0, 1.5):
    holds = smallest_slack(c / 2, c)
    fails = smallest_slack(0.9 * c / 2, c)
    print(f"c = {c}:  never negative with alpha = c/2: {holds > -1e-12}   ", end="")
    print(f"smallest with 0.9 c/2: {fails:.2f}")
    assert holds > -1e-12 and fails < -1e-3

# %% [markdown]
# Averaged maps can be stacked (Combettes and Yamada, 2015).
#
# > **Claim 5.4 (composition).** If $T_1,T_2$ are $\alpha_1$- and $\alpha_2$-averaged with $0<\alpha_1,\alpha_2<1$, then $T_1\circ T_2$ is averaged with
# > $\alpha=\dfrac{\alpha_1+\alpha_2-2\alpha_1\alpha_2}{1-\alpha_1\alpha_2}$.
#
# Three layers with $\alpha=\tfrac34$ are still averaged, though only just. Put a rotation ($\alpha=1$) into the stack, and the formula gives 1: nothing is promised.


# %%
def compose(alpha_1, alpha_2):
    return (alpha_1 + alpha_2 - 2 * alpha_1 * alpha_2) / (1 - alpha_1 * alpha_2)


three = compose(compose(0.75, 0.75), 0.75)
five = compose(compose(compose(compose(0.5, 0.5), 0.5), 0.5), 0.5)
print("three layers, alpha = 3/4 each:", round(three, 4))
print("five firmly non-expansive layers:", round(five, 4))
print("one of them and a rotation:      ", compose(0.5, 1.0))

# %% [markdown]
# Why care? Repeating an averaged map that has a fixed point always converges to one (Krasnosel'skii and Mann). A rotation $G$ by 90 degrees goes round for ever. And its mean with the identity?
#
# **Your turn 5.B.** Write the function that makes an $\alpha$-averaged map out of any non-expansive map $N$.


# %%
def averaged_map(N, alpha):
    """The map x -> (1 - alpha) x + alpha N(x), as a function of x."""

    ### BEGIN SOLUTION
    def T(x):
        return (1 - alpha) * x + alpha * N(x)

    return T
    ### END SOLUTION


your_turn("5.B")


# %%
def rotation(x):
    """G x, the rotation by 90 degrees, for a point x (2,)."""
    return torch.stack([-x[1], x[0]])


def half_way(x):
    return averaged_map(rotation, 0.5)(x) if passed("5.B") else 0.5 * (x + rotation(x))


paths = {}
for name, step in {"rotation $G$": rotation, "averaged $(I+G)/2$": half_way}.items():
    paths[name] = [torch.tensor([1.0, 0.0])]
    for _ in range(12):
        paths[name].append(step(paths[name][-1]))
figures.rotation_and_average(paths)

# %% [markdown]
# The rotation jumps between four points; the averaged map spirals in. Lesson 8 turns this into an image algorithm that must come to rest.
#
# *Exercise 5.3 asks how averaged a stack of layers is: what is promised, and what is measured.*
#
# ## 5.3 Images: the adjoint of a convolution
#
# **Question.** A convolution is a linear map $K$ too. What is its "transpose"?
#
# It is the map $K^\top$ with $\langle Kx,y\rangle=\langle x,K^\top y\rangle$ for all images $x$ and $y$, called the **adjoint**. PyTorch has it under the name
# `conv_transpose2d`, with one trap. With a stride $s$, images of different sizes can give outputs of the *same* size.
# So the adjoint must be told which size to return to. For a square image of side $n$, a square kernel of size $k$ and padding $p$, the number of last rows that no window reached is
#
# $$\texttt{output\_padding}=(n+2p-k)\bmod s .$$


# %%
def conv(x, kernel, stride=1, padding=1):
    return F.conv2d(x, kernel, stride=stride, padding=padding)


def conv_adjoint(y, kernel, side, stride=1, padding=1):
    missing = (side + 2 * padding - kernel.shape[-1]) % stride
    return F.conv_transpose2d(y, kernel, stride=stride, padding=padding, output_padding=missing)


kernel = torch.randn(4, 3, 3, 3, generator=generator)  # 3 channels in, 4 out, 3 x 3 pixels
for side in (7, 8):
    x = torch.randn(1, 3, side, side, generator=generator)
    y = torch.randn_like(conv(x, kernel, stride=2))
    left = (conv(x, kernel, 2) * y).sum()
    right = (x * conv_adjoint(y, kernel, side, 2)).sum()
    equal = torch.isclose(left, right).item()
    print(f"side {side}: output {tuple(y.shape[2:])}   <Kx, y> = <x, K'y>: {equal}")

# %% [markdown]
# > **Claim 5.5 (adjoint).** With this `output_padding`, `conv_adjoint` is the exact adjoint of the zero-padded convolution for square kernels and images, every stride and every padding. (Otherwise each axis needs its own number.)
#
# A wrong adjoint looks fine. So test every one that you write.
#
# **Your turn 5.C.** Write the test: for linear maps `forward` and `adjoint`, inputs `x` and `y`, the gap $|\langle Kx,y\rangle-\langle x,K^\top y\rangle|$, where $\langle\cdot,\cdot\rangle$ is the sum of all products.


# %%
def adjoint_gap(forward, adjoint, x, y):
    """|<forward(x), y> - <x, adjoint(y)>|, zero up to rounding for a right adjoint."""
    ### BEGIN SOLUTION
    left = (forward(x) * y).sum()
    right = (x * adjoint(y)).sum()
    return (left - right).abs().item()
    ### END SOLUTION


your_turn("5.C")

# %% [markdown]
# Here someone computes the forward convolution with *circular* padding, as if the image were wrapped round a torus, and the adjoint with *zero* padding. The step is half the allowed one.
#
# **Predict first.** Is the Lipschitz constant of this layer larger than 1, or not?

# %%
my_guess_3 = ...  # "larger" or "not larger"


# %% tags=["reveal"]
def wrapped(x, kernel):
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), kernel)


def slope_of_pair(forward, adjoint, c):
    """Exact Lipschitz constant of x - tau adjoint(forward(x)) for 4 x 4 images: all units on."""
    K = norms.dense_matrix(forward, (1, 4, 4))
    Kt = norms.dense_matrix(adjoint, (1, 4, 4))
    tau = c / torch.linalg.matrix_norm(K, 2) ** 2
    return torch.linalg.matrix_norm(torch.eye(16) - tau * Kt @ K, 2).item()


edge = torch.tensor([[1.0, 2.0, 0.0], [0.0, -1.0, 1.0], [1.0, 0.0, -2.0]])[None, None]


def wrapped_edge(x):
    return wrapped(x, edge)


correct = slope_of_pair(lambda x: conv(x, edge), lambda y: conv_adjoint(y, edge, 4), c=1)
mixed = slope_of_pair(wrapped_edge, lambda y: conv_adjoint(y, edge, 4), c=1)
print(f"right adjoint, half the allowed step: {correct:.3f}")
print(f"mixed paddings, half the allowed step: {mixed:.3f}")
assert correct <= 1 + 1e-12 < mixed
if passed("5.C"):
    x, y = torch.randn(2, 1, 1, 4, 4, generator=generator)
    gap = adjoint_gap(wrapped_edge, lambda y: conv_adjoint(y, edge, 4), x, y)
    print(f"your test would have noticed: gap {gap:.2f}")
reply(
    my_guess_3,
    "larger",
    "Only the pixels at the edge differ, and that is enough.",
    wrong={
        "not larger": "with the wrong adjoint <d, K'K d> is negative for some d: "
        "no step is short enough."
    },
)

# %% [markdown]
# The library's `image_operators.ConvOperator` does what you just wrote. `layers.GradientField` joins an operator and an activation,
# and `layers.NonExpansiveBlock` takes the step. A block with random weights, on images, with the longest step:

# %%
operator = image_operators.ConvOperator(in_channels=3, out_channels=8, stride=2)
block = layers.NonExpansiveBlock(layers.GradientField(operator, "relu"), c=2.0).eval()
images = torch.rand(5, 3, 9, 9, generator=generator)
bound = certificates.lipschitz_bound(block, (3, 9, 9))
slope = norms.jacobian_norms(block, images).max().item()
print(f"measured slope {slope:.4f} <= bound {bound:.4f}")
assert slope <= bound + 1e-9

# %% [markdown]
# *Exercise 5.4 asks for the adjoint, and so for the output padding, of any convolution.*
#
# ## 5.4 Keeping the promise while the weights move
#
# **Question.** Training changes $A$ in every step. Who keeps $\tau\le2/(L_\sigma\|A\|^2)$?
#
# We need $\|A\|$, again and again. **Power iteration** is the cheap way: start with a random unit vector $v$ and repeat
# $v\leftarrow A^\top Av/\|A^\top Av\|$. Then $\|Av\|$ approaches $\|A\|$ — *from below*.

# %%
large = torch.randn(64, 64, generator=generator)
truth = torch.linalg.matrix_norm(large, 2).item()
start = torch.randn(64, generator=generator)
for steps in (0, 1, 5, 20, 100):
    estimate, _ = norms.power_iteration(lambda v: large @ v, lambda w: large.T @ w, start, steps)
    c = 2 * (truth / estimate.item()) ** 2
    print(f"{steps:3d} steps: estimate / truth = {estimate / truth:.4f}   ", end="")
    print(f"the 'safe' step is in fact c = {c:.2f}, Lipschitz {max(1, c - 1):.2f}")

# %% [markdown]
# > **Claim 5.6 (power iteration).** $\|Av\|\le\|A\|$ for every unit vector $v$: the estimate never exceeds the norm, so a step computed from it may be too long.
#
# Therefore we use it where an error is harmless, and only there. Four ways to enforce the bound:
#
# 1. **Adaptive step.** Leave $A$ free and use $\tau=c/(L_\sigma\hat n^2)$ with the estimate $\hat n=\|Av\|$ after one power iteration,
#    begun from the $v$ of the last training step (a *warm start*). The gradient of $\hat n$ is taken as if $v$ were a constant.
# 2. **Projection.** After each optimiser step move $A$ back into the allowed set: divide it by its norm if that exceeds 1, cut its singular values off at 1
#    (the nearest point), or return to orthonormal rows.
# 3. **Orthogonal parametrisation.** Write $A$ as the matrix exponential or the Cayley transform of a skew-symmetric matrix, so that it is orthogonal by construction.
# 4. **A bound without iteration.** Bound $\|A\|$ by sums of entries, so that no iteration is needed (below, ★).
#
# Only 3 and 4 hold at every moment of training, up to rounding. 1 and 2 are as good as the norm that they use.
#
# In this lesson we use the first; lesson 7 adds orthonormal rows, the second. And we follow one rule:
#
# > **Training may use an estimate. A certificate must use a guaranteed upper bound.**
#
# In `model.train()` mode a block takes its step from power iteration. In `model.eval()` mode it computes a norm that is never below the truth
# (singular values for a matrix, the Fourier transform for a convolution; lesson 3), and it does so again whenever the weights have changed.
#
# **Predict first.** Without that second part: a norm was right, with $c=2$. Then the weights grow by a factor of 3, and the old $\tau$ is kept. What is the Lipschitz constant now?

# %%
my_guess_4 = ...  # a number

# %% tags=["reveal"]
stale_c = 2.0 * 3**2
operator = operators.DenseOperator(3, 3)
fresh_block = layers.NonExpansiveBlock(layers.GradientField(operator)).eval()
with torch.no_grad():
    operator.weight.copy_(A)
    _ = fresh_block(torch.zeros(1, 3))  # the norm is known now
    operator.weight.mul_(3)
points = torch.randn(200, 3, generator=generator)
fresh = norms.jacobian_norms(fresh_block, points).max().item()
stale = worst_slope(3 * A, 2 / norm_A**2)
print(f"stale norm: Lipschitz constant {stale:.1f}, as predicted: c - 1 = {stale_c - 1:.0f}")
print(f"our block:  measured slope {fresh:.4f}")
assert fresh <= 1 + 1e-9
reply(
    my_guess_4,
    17,
    "Now c = 2 x 9 = 18, and the constant is c - 1.",
    wrong={
        3: "the weights enter squared, and the step is beyond its limit.",
        9: "c became 9 times as large, and that is 18. Which constant belongs to it?",
        18: "that is c. The constant is one less.",
    },
    within=0.02,
)

# %% [markdown]
# ### ★ A bound without iteration
#
# The "SDP-based Lipschitz layer" (Araujo et al., 2303.03169) is
# $x-2W\,\mathrm{diag}(t)^{-1}\sigma(W^\top x+b)$, $t_i=\sum_j|W^\top W|_{ij}\,q_j/q_i$ with any $q>0$. It is non-expansive
# for every $W$ without a zero column and every nondecreasing $\sigma$ with slope at most 1.
#
# *Why.* Let $A=\mathrm{diag}(t)^{-1/2}W^\top$. Written with $A$, it is the layer of Claim 5.1 with $\tau=2$ and the activation $t_i^{-1/2}\sigma(t_i^{1/2}\,\cdot)$, which has the slopes of $\sigma$ (one activation for each unit, and $t_i^{-1/2}b_i$ for $b_i$; the proof goes entry by entry, so it does not mind). And $\|A\|\le1$: the eigenvalues of $\mathrm{diag}(t)^{-1}W^\top W$ are those of $AA^\top$,
# and with $q$ as scaling its rows have absolute sums of at most 1 (lesson 3: no eigenvalue exceeds the largest row sum).
#
# Eight units have 256 patterns, and we may choose nasty weights. (With all units off the slope is 1; we look for more.)


# %% jupyter={"source_hidden": true}
def sll_worst_slope(W, q):
    t = ((W.T @ W).abs() * q / q[:, None]).sum(1)
    patterns = torch.tensor(list(itertools.product([0.0, 1.0], repeat=W.shape[1])))
    matrices = torch.eye(len(W)) - 2 * (W * (patterns / t)[:, None, :]) @ W.T
    return torch.linalg.matrix_norm(matrices, 2).max().item()


worst = 0.0
for scale in (0.01, 1, 100, 1000):
    W = scale * torch.randn(5, 8, generator=generator)
    q = 0.1 + torch.rand(8, generator=generator)
    worst = max(worst, sll_worst_slope(W, q))
print(f"worst slope over 4 x 256 patterns: {worst:.6f}")
assert worst <= 1 + 1e-9

# %% [markdown]
# ## 5.5 Better integrators: Runge–Kutta layers
#
# **Question.** The layer is one Euler step for the differential equation $x'=-A^\top\sigma(Ax+b)$. Does a better method allow a better layer?
#
# Let $L=L_\sigma\|A\|^2$. A Runge–Kutta method keeps this flow non-expansive for steps up to $2r/L$ (Claim 2.5). The number $r$, its
# *circle-contractivity radius* (Dahlquist and Jeltsch 1979), is computed from the coefficients of the method alone. Euler's method has $r=1$.
#
# > **Claim 5.7 (Runge–Kutta layers).** Let $\sigma$ be nondecreasing with slope at most $L_\sigma$. One step of a method with radius $r$ for $x'=-A^\top\sigma(Ax+b)$ is non-expansive if $0\le\tau\le 2r/(L_\sigma\|A\|^2)$.
#
# **Predict first.** The classical method of order four, `rk4`, is far more accurate than Euler's. What is its $r$?

# %%
my_guess_5 = ...  # a number

# %% tags=["reveal"]
for name, method in runge_kutta.TABLEAUS.items():
    if method.explicit:
        radius = runge_kutta.circle_contractivity_radius(method)
        print(f"{name:14s} r = {radius:.4f}   longest step c = {2 * radius:.2f}")
try:
    layers.NonExpansiveBlock(layers.GradientField(operators.DenseOperator(3, 3)), method="midpoint")
except ValueError as error:
    print("refused:", error)
reply(
    my_guess_5,
    1,
    "No explicit method in this list beats Euler's 1; midpoint and heun3 have none to offer.",
    wrong={4: "that is its order.", 1.39: "that would be half its limit 2.785 for linear decay."},
)

# %% [markdown]
# More accuracy is not more stability. What does help is *more steps*: a block that must travel for a given time $t_\mathrm{end}$ takes
# $\lceil t_\mathrm{end}L/(2r)\rceil$ of them, at least one.
#
# **Your turn 5.D.** Write the number of steps as a function of $t_\mathrm{end}\ge0$, $L>0$ and $r>0$. Rounding up is `math.ceil`.


# %%
def depth_needed(t_end, L, r):
    """The least number of equal steps, at least 1, each of them at most 2 r / L long."""
    ### BEGIN SOLUTION
    longest = 2 * r / L
    return max(1, math.ceil(t_end / longest))
    ### END SOLUTION


your_turn("5.D")

# %% [markdown]
# So the depth adapts to the weights. The method `steps` of a block gives the number of its steps and the length of each:

# %%
for scale in (0.5, 1, 2, 3):
    field = layers.GradientField(operators.DenseOperator(3, 3))
    deep = layers.NonExpansiveBlock(field, time_span=1.0).eval()
    with torch.no_grad():
        field.operator.weight.copy_(scale * A)
    number, size = deep.steps(field.L(points), points.dtype)
    slope = norms.jacobian_norms(deep, points).max().item()
    print(f"||A|| = {scale * norm_A:5.2f}:  {number:2d} Euler steps of {size:.4f}   ", end="")
    print(f"measured slope {slope:.4f}")
    if passed("5.D"):
        assert depth_needed(1.0, (scale * norm_A).item() ** 2, 1.0) in (number, number - 1)
    assert slope <= 1 + 1e-9

# %% [markdown]
# ## 5.6 What can such a network express?
#
# **Question.** If no layer may expand, can the network still do anything useful?
#
# Fit $|x|$ on $[-1,1]$. Its slope is $\pm1$ everywhere except at 0, so a 1-Lipschitz network has nothing to waste.
# In one dimension with $A=1$, $b=0$ the layer with $c=2$ is $x-2\,\mathrm{relu}(x)=-|x|$.
#
# > **Claim 5.8 (two layers with $c=2$).** Let $\sigma$ be the ReLU. With $A=1$, $b=0$ and $c=2$ the layer is $-|x|$. With $A=(-1,1)$, $b=0$ and $\tau=1$, which is again $c=2$, it maps $(x_1,x_2)$ to
# > $(\max,\min)$. For $0<c<2$ every linear piece with an active unit shrinks that unit's direction (its row of $A$, if that is not zero).

# %%
x = torch.linspace(-1, 1, 7)[:, None]
one = torch.ones(1, 1)
assert torch.equal(gradient_layer(x, one, torch.zeros(1), tau=2.0), -x.abs())
sort = torch.tensor([[-1.0, 1.0]])
print(gradient_layer(torch.tensor([[1.0, 5.0], [5.0, 1.0]]), sort, torch.zeros(1), tau=1.0))

# %% [markdown]
# We train four networks on $|x|$: an ordinary one with spectrally normalised matrices and ReLU, non-expansive ones with $c=1$ (4 and 12 layers),
# and one with $c=2$ (4 layers). All are 1-Lipschitz (the first one nearly).


# %%
def absolute_value_network(c, depth, width=10):
    fields = [layers.GradientField(operators.DenseOperator(width, width)) for _ in range(depth)]
    blocks = [layers.NonExpansiveBlock(field, c=c) for field in fields]
    return nn.Sequential(
        plain_layers.ZeroPadLift(1, width), *blocks, layers.NonExpansiveLinear(width, 1)
    )


# %% jupyter={"source_hidden": true}
def normalised(m, n):
    return nn.utils.parametrizations.spectral_norm(nn.Linear(m, n))


def normalised_network(depth, width=10):
    hidden = []
    for _ in range(depth - 1):
        hidden += [normalised(width, width), nn.ReLU()]
    return nn.Sequential(normalised(1, width), nn.ReLU(), *hidden, normalised(width, 1))


# %%
_ = torch.manual_seed(0)
candidates = {
    "spectral norm + ReLU": normalised_network(4),
    "c = 1, 4 layers": absolute_value_network(1.0, 4),
    "c = 1, 12 layers": absolute_value_network(1.0, 12),
    "c = 2, 4 layers": absolute_value_network(2.0, 4),
}

# %% [markdown]
# **Predict first.** Which of the four ends with the smallest error?

# %%
my_guess_6 = ...  # one of the names in `candidates`

# %% tags=["reveal", "nbval-ignore-output"]
x_train = torch.linspace(-1, 1, 129)[:, None]
for network in candidates.values():
    training.fit(
        network,
        x_train,
        x_train.abs(),
        lambda f, y: (f - y).square().mean(),
        epochs=1000,
        batch_size=129,
        learning_rate=0.02,
    )
x = torch.linspace(-1, 1, 801)[:, None]
fits = {}
worst = {}
for name, network in candidates.items():
    with torch.no_grad():
        fits[name] = network(x)
    worst[name] = (fits[name] - x.abs()).abs().max().item()
    bound = certificates.lipschitz_bound(network, (1,))
    print(f"{name:21s} largest error {worst[name]:.3f}   guaranteed bound {bound:.6f}")
assert all(worst["c = 2, 4 layers"] < worst[name] / 2 for name in list(worst)[:3])
figures.fits_of_absolute_value(x, fits)
reply(
    my_guess_6,
    "c = 2, 4 layers",
    "Only the longest step keeps the slope 1 where it is needed.",
    wrong={"c = 1, 12 layers": "three times as deep, it is still no match for c = 2."},
)

# %% [markdown]
# The bound is 1 for all four (up to the error of its power iteration for the spectrally normalised one). Their fits are not alike.
# In a spectrally normalised ReLU network a unit that is off passes nothing on: the slope along its direction is lost. If $A$ has orthonormal rows, a step with $c=1$ *erases* the active directions, and a step with
# $c=2$ *reflects* them: each linear piece $I-2A^\top DA$ is an orthogonal matrix and loses nothing. For other $A$ with $\|A\|=1$ that is so only in part:
# with all units on, a singular direction of $A$ with singular value 1 is reflected, and one with $1/\sqrt2$ is erased.
#
# *Exercise 5.5 asks you to repeat this fit with a single layer, Exercise 5.6 to build a layer that stays safe while it learns.*
#
# ## 5.7 A whole network, with a certificate
#
# To build a network we need three more parts that do not expand: a **lift** into more dimensions (append zeros: an isometry), **pooling**
# (the average over $k\times k$ pixels has norm $1/k$, so multiply it by $k$ and waste nothing) and a **last layer** of norm at most 1.
#
# For training we use the *hinge loss*: it asks that the right output exceed the other by a margin, here 0.5, and is what is missing to that. `training.fit` ends with `network.eval()`, so that what follows uses guaranteed norms.
#
# If every part is 1-Lipschitz, so is the network $F$, and this gives a promise for each single input. Let $y$ be the true class and
# $M=F_y-\max_{j\ne y}F_j$ the margin. If $M>0$, the prediction is right, and moving the input by less than $M/\sqrt2$ cannot change it: the difference $F_y-F_j$ is $\sqrt2$-Lipschitz.
# Lesson 7 builds on this; here we only draw it, for two interleaved half circles.

# %%
points, labels = data.two_moons(400, noise=0.08, seed=0)
_ = torch.manual_seed(0)
fields = [layers.GradientField(operators.DenseOperator(16, 16)) for _ in range(4)]
network = nn.Sequential(
    plain_layers.ZeroPadLift(2, 16),
    *map(layers.NonExpansiveBlock, fields),
    layers.NonExpansiveLinear(16, 2),
)


# %% tags=["nbval-ignore-output"]
def loss(f, y):
    return training.hinge_loss(f, y, margin=0.5)


_ = training.fit(network, points[:300], labels[:300], loss, epochs=150, learning_rate=0.02)

# %% [markdown]
# The same network before and after training obeys the same bound; training only moves the margins.

# %% tags=["nbval-ignore-output"]
bound = certificates.lipschitz_bound(network, (2,))
test_points = points[300:]
test_labels = labels[300:]
with torch.no_grad():
    logits = network(test_points)
own = logits.gather(1, test_labels[:, None])[:, 0]
other = logits.gather(1, 1 - test_labels[:, None])[:, 0]
margin = own - other
radius = (margin / (2**0.5 * bound)).clamp_min(0)
slope = norms.jacobian_norms(network, test_points).max().item()
print(f"measured slope {slope:.4f} <= guaranteed bound {bound:.6f}")
accuracy = (margin > 0).double().mean()
certified = (radius > 0.1).double().mean()
print(f"test accuracy {accuracy:.2f};  certified at radius 0.1: {certified:.2f}")
assert slope <= bound <= 1 + 1e-6 and accuracy > 0.95

# %% tags=["nbval-ignore-output"]
figures.certified_discs(network, test_points, test_labels, radius)

# %% [markdown]
# No disc crosses the curve, and none may: that is a theorem, not luck. (Every third test point is drawn.) A disc is usually a little smaller than the distance to the curve, because the certificate assumes that
# $F_y-F_j$ falls with slope $\sqrt2$ all the way, and the true slope on the way is smaller.
#
# ### ★ The whole way in one figure
#
# From the step of a flow to a certificate everything hangs on one number, $c$.
#
# * *Left:* a state runs down the valley $\tfrac12\|Ax\|^2$ with $\|A\|=1$: the flow, and eight steps $x-c\,A^\top\!Ax$.
# * *Middle:* how much a layer $x-c\,A^\top\sigma(Ax+b)$ may stretch a distance, $\max(1,c-1)$ by Claims 5.1 and 5.2, and four of them in a row, its fourth power $L$.
# * *Right:* a classifier of four such layers with orthogonal $A$, trained for this $c$ (for each $c$ with the same loss), and the certified discs. Their radius is $M/(\sqrt2\,L)$.
#
# The next cell, folded, trains the classifiers of all $c$ at once.


# %% jupyter={"source_hidden": true} tags=["nbval-ignore-output"]
class StepClassifiers(nn.Module):
    """One classifier of four layers x - c A^T relu(A x + b) for each step c, on the plane.

    Each A is orthogonal: the exponential of a skew-symmetric matrix.
    """

    def __init__(self, steps, width=8, depth=4):
        super().__init__()
        self.c = steps[:, None, None]
        start = torch.randn(depth + 1, 1, width, width, generator=torch.Generator().manual_seed(0))
        self.S = nn.Parameter(0.5 * start.repeat(1, len(steps), 1, 1))
        self.b = nn.Parameter(torch.zeros(depth, len(steps), 1, width))

    def forward(self, x):
        """Logits (steps, B, 2) of points x (B, 2)."""
        *hidden, last = torch.matrix_exp(self.S - self.S.mT)
        x = F.pad(x, (0, last.shape[-1] - 2)).expand(len(self.c), -1, -1)
        for A, b in zip(hidden, self.b, strict=True):
            x = x - self.c * torch.relu(x @ A.mT + b) @ A
        return (x @ last.mT)[..., :2]

    def radius(self, margin):
        """Certified radii (steps, B) of the margins (steps, B)."""
        L = (self.c[:, :, 0] - 1).clamp_min(1) ** len(self.b)
        return (margin / (2**0.5 * L)).clamp_min(0)


classifiers = StepClassifiers(torch.linspace(0.25, 3, 12))
optimiser = torch.optim.Adam(classifiers.parameters(), lr=0.02)
for _ in range(200):
    logits = classifiers(points[:300]).flatten(0, 1)
    value = 12 * loss(logits, labels[:300].repeat(12))
    optimiser.zero_grad()
    value.backward()
    optimiser.step()

# %% tags=["nbval-ignore-output"]
live_path = figures.whole_path(gradient_layer, classifiers, test_points, test_labels)
live_path.still(c=2.5)

# %%
live_path

# %% [markdown]
# *Try:* where does the mean radius begin to fall, and what becomes of the number of points read correctly? What goes wrong when $c$ is tiny?
#
# <details><summary>What is to be seen</summary>
#
# Up to $c=2$ the mean radius stays near 0.4. Beyond, the classifier reads the points as well as before, but what can be *proved* of it is divided by $L$, which is 16 at $c=3$.
# A tiny step moves the points so little that four layers can hardly bend the border between the classes: some points are misread.
#
# </details>
#
# ### ★ A layer of your own
#
# `lipschitz_bound` knows PyTorch's layers and the library's by their exact type, and refuses every other by name. Take the layer of Claim 5.8 that sorts pairs, $(x_1,x_2)\mapsto(\max,\min)$.
# One line gives it a rule. The rule promises two things: how much the layer may stretch, and how far rounding may put its result off (here not at all, because sorting computes no new number; lesson 7 needs this).


# %%
class MaxMin(nn.Module):
    """Sorts the features in pairs."""

    def forward(self, x):
        return x.unflatten(-1, (-1, 2)).sort(dim=-1, descending=True).values.flatten(-2)


try:
    certificates.lipschitz_bound(MaxMin(), (4,))
except TypeError as refusal:
    print(refusal)


@certificates.lipschitz_bound.register(MaxMin)
def max_min(layer, input_shape):
    return certificates.Bound(lipschitz=1.0, rounding=certificates.exact)


x = torch.randn(1000, 4, generator=generator)
slope = norms.jacobian_norms(MaxMin(), x).max().item()
bound = certificates.lipschitz_bound(MaxMin(), (4,))
print(f"measured slope {slope:.4f} <= bound {bound:.4f}")
assert slope <= bound + 1e-12

# %% [markdown]
# ## Recap
#
# * One Euler step downhill on a convex potential, $x-\tau A^\top\sigma(Ax+b)$, is non-expansive for every $b$ up to $\tau=2/(L_\sigma\|A\|^2)$, and beyond it not for every $b$, if the slope $L_\sigma$ is attained on an interval (Claim 5.1, Claim 5.2).
# * Without its hypotheses the promise can fail: tied weights, a nondecreasing activation, the exact adjoint (Claim 5.5), a fresh norm.
# * Shorter steps are averaged with $\alpha=c/2$ (Claim 5.3) and can be stacked (Claim 5.4); better integrators do not allow longer steps by being accurate (Claim 5.7).
# * Power iteration is a lower bound (Claim 5.6): good enough to train, never to certify.
# * The longest step $c=2$ reflects instead of erasing (Claim 5.8), and in our experiment it fits best. Where a repetition must be sure to converge, take $c<2$: averaged maps that have a fixed point do (Claim 5.3).
#
# ## What can go wrong in practice
#
# * *The model is still in training mode.* Then its steps come from an estimate. `lipschitz_bound` refuses to answer until you call `model.eval()`; `training.fit` has done so when it returns.
# * *A normalisation in front.* Dividing pixels by a standard deviation of 0.2 is a 5-Lipschitz layer. It counts.
# * *A pooling or a skip you forgot.* A module without a rule makes `lipschitz_bound` fail with its name, rather than count as 1.
# * *A wrong adjoint after a change of stride or padding.* Run the dot-product test again.
#
# ## References
#
# * M. J. Ehrhardt, D. Murari, F. Sherry: *Stable neural networks and connections to continuous dynamical systems*, arXiv 2510.22299.
# * E. Celledoni, D. Murari, B. Owren, C.-B. Schönlieb, F. Sherry: *Dynamical systems' based neural networks*, arXiv 2210.02373.
# * F. Sherry, E. Celledoni, M. J. Ehrhardt, D. Murari, B. Owren, C.-B. Schönlieb: *Designing stable neural networks using convex analysis and ODEs*, arXiv 2306.17332.
# * G. Dahlquist, R. Jeltsch: *Generalized disks of contractivity for explicit and implicit Runge–Kutta methods*, 1979.
# * P. L. Combettes, I. Yamada: *Compositions and convex combinations of averaged nonexpansive operators*, 2015.
# * A. Araujo et al.: *A unified algebraic perspective on Lipschitz neural networks*, arXiv 2303.03169.
