# %% [markdown]
# # Coursework 5. Non-expansive layers
#
# Six exercises on [lesson 5](../05_nonexpansive_layers.ipynb): how long the step of a layer may be, what happens beyond, and how to build a layer that stays safe while it learns.
# Throughout, $\|A\|$ is the spectral norm of a matrix.

# %% tags=["setup"]
# setup

# %%
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from chapter_checks import check, passed
from chapter_utils import layers, norms, operators, plotting

plotting.use_house_style()
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

# %% [markdown]
# ## Exercise 5.1
#
# *Why it matters: with this one number a whole network is safe, whatever its other weights are.*
#
# A layer is $T(x)=x-\tau A^\top\sigma(Ax+b)$ with a matrix `A` of shape $(m,d)$, not zero (Section 5.1). The slopes of its activation $\sigma$ lie between `low` and `high` > 0 and come as close to both as you like:
# for the ReLU they are 0 and 1, for the sigmoid 0 and 1/4, for a leaky ReLU perhaps 0.5 and 1, for GELU $-0.129$ and $1.129$.
#
# Return the largest $\tau$ for which $T$ is non-expansive for **every** $b$. Return 0 if no positive step is safe.
#
# <details><summary>Hint 1</summary>
#
# Claim 5.1 gives the step for a nondecreasing $\sigma$. What does "nondecreasing" mean for `low`?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The norm that you need says how much $A$ can stretch a vector. PyTorch's default for `torch.linalg.norm(A)` and `A.norm()` is another one.
#
# </details>


# %% tags=["answer:5.1"]
def longest_step(A, low, high):
    """Largest safe step of the layer with matrix A (m, d) and an activation with slopes between low and high; 0 if none is."""
    ### BEGIN SOLUTION
    if low < 0:
        return 0.0
    largest_singular_value = torch.linalg.svdvals(A)[0].item()
    return 2 / (high * largest_singular_value**2)
    ### END SOLUTION


# %%
if passed("5.1"):
    A = torch.tensor([[1.0, 2.0], [0.0, 1.0]])
    for name, low, high in (("ReLU", 0, 1), ("sigmoid", 0, 0.25), ("GELU", -0.129, 1.129)):
        print(f"{name:8s} longest step {longest_step(A, low, high):.4f}")

# %% [markdown]
# ## Exercise 5.2
#
# *Why it matters: a bound is only as good as its worst case. Here you construct that case.*
#
# Take the layer $T(x)=x-\tau A^\top\mathrm{relu}(Ax+b)$, now with any $\tau>0$, also beyond the limit. Write two functions.
#
# * `lipschitz_constant(A, tau)`: the largest factor by which $T$ can stretch a distance, if $b$, $x$ and $y$ are chosen as badly as possible.
# * `stretched_pair(A)`: such a choice. Return `b` $(m,)$, `x` $(d,)$ and `y` $(d,)$, with $x\ne y$, whose distance grows by this factor for **every** $\tau>2/\|A\|^2$.
#
# <details><summary>Hint 1</summary>
#
# For a fixed pattern of units that are on or off, the layer is linear with the matrix $I-\tau A^\top DA$. Which numbers can its eigenvalues be? What if all units are off?
#
# </details>
# <details><summary>Hint 2</summary>
#
# If all units are on at $x$ and at $y$, then $T(x)-T(y)=(I-\tau A^\top A)(x-y)$. Which direction $x-y$ does this matrix stretch most? The rows of `torch.linalg.svd(A).Vh` are candidates.
#
# </details>
# <details><summary>Hint 3</summary>
#
# You are free to choose $b$: so large that $Ax+b$ and $Ay+b$ are positive in every entry.
#
# </details>


# %% tags=["answer:5.2"]
def lipschitz_constant(A, tau):
    """Largest ||T(x) - T(y)|| / ||x - y|| over all b, x and y, for the ReLU layer with matrix A (m, d) and step tau."""
    ### BEGIN SOLUTION
    c = tau * torch.linalg.matrix_norm(A, 2).item() ** 2
    return max(1.0, c - 1)
    ### END SOLUTION


def stretched_pair(A):
    """b (m,), x (d,) and y (d,), a pair that is stretched most if tau is longer than allowed."""
    ### BEGIN SOLUTION
    most_stretched = torch.linalg.svd(A).Vh[0]
    b = 1 + (A @ most_stretched).abs()  # all units are on at both points
    return b, most_stretched, torch.zeros_like(most_stretched)
    ### END SOLUTION


# %%
if passed("5.2"):
    A = torch.tensor([[1.0, 2.0], [0.0, 1.0]])
    b, x, y = stretched_pair(A)
    for c in (2.0, 2.1, 2.5, 3.0):
        tau = c / torch.linalg.matrix_norm(A, 2).item() ** 2
        grown = torch.dist(*(z - tau * torch.relu(A @ z + b) @ A for z in (x, y))) / torch.dist(
            x, y
        )
        constant = lipschitz_constant(A, tau)
        print(
            f"c = {c}: constant {constant:.3f}, your pair {grown:.3f}, twenty such layers {constant**20:.3g}"
        )

# %% [markdown]
# ## Exercise 5.3
#
# *Why it matters: repeating an averaged map converges, repeating a merely non-expansive one may go round for ever. Lesson 8 depends on it.*
#
# A map $T$ is $\alpha$-averaged if $\|Tx-Ty\|^2\le\|x-y\|^2-\frac{1-\alpha}{\alpha}\|(x-Tx)-(y-Ty)\|^2$ for all $x,y$ (Section 5.2). Write two functions: a promise, and a measurement.
#
# * `averagedness(steps)`: layers with the steps $c_1,\dots,c_n$ (a list of numbers in $(0,2]$, where $c=\tau L_\sigma\|A\|^2$) follow one after the other.
#   Return the smallest $\alpha$ for the whole stack that follows from Claims 5.3 and 5.4. A single layer with $c=2$ is promised $\alpha=1$ only, which is the same as non-expansive, and so is every stack that contains one.
# * `measured_averagedness(T, x, y)`: for batches `x` and `y` of shape $(B,d)$, return the smallest $\alpha$ for which the inequality holds for **these** $B$ pairs.
#   The map `T` takes a whole batch, and it is non-expansive. It moves some of the pairs by the same vector, $x-Tx=y-Ty$: then every $\alpha$ will do. It moves other pairs differently.
#
# <details><summary>Hint 1</summary>
#
# Claim 5.4 is about two maps. Use it again and again: the result of two is one map, to be composed with the third. Beware of 0/0.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Write $D=\|x-y\|^2$, $M=\|(x-Tx)-(y-Ty)\|^2$ and $N=\|Tx-Ty\|^2$ for each pair, and solve $N\le D-\frac{1-\alpha}{\alpha}M$ for $\alpha$.
#
# </details>


# %% tags=["answer:5.3"]
def averagedness(steps):
    """The alpha that is guaranteed for a stack of layers with these steps c, each in (0, 2]."""
    ### BEGIN SOLUTION
    if max(steps) == 2:
        return 1.0
    odds = sum((c / 2) / (1 - c / 2) for c in steps)  # alpha / (1 - alpha) adds up
    return odds / (1 + odds)
    ### END SOLUTION


def measured_averagedness(T, x, y):
    """Smallest alpha for which the averaged inequality holds for the map T and the pairs x, y (B, d)."""
    ### BEGIN SOLUTION
    Tx, Ty = T(x), T(y)
    M = ((x - Tx) - (y - Ty)).square().sum(1)
    D, N = (x - y).square().sum(1), (Tx - Ty).square().sum(1)
    counts = M > 0
    return (M / (M + D - N))[counts].max().item()
    ### END SOLUTION


# %%
if passed("5.3"):
    generator = torch.Generator().manual_seed(0)

    def blocks(steps):
        parts = [
            layers.NonExpansiveBlock(layers.GradientField(operators.DenseOperator(3, 3)), c)
            for c in steps
        ]
        return nn.Sequential(*parts).eval()

    _ = torch.manual_seed(0)
    for steps in ([1.5], [1.5, 1.5], [1.5, 1.5, 1.5], [1.0] * 5):
        x, y = torch.randn(2, 5000, 3, generator=generator)
        with torch.no_grad():
            measured = measured_averagedness(blocks(steps), x, y)
        print(f"steps {steps}: measured {measured:.4f} <= promised {averagedness(steps):.4f}")

# %% [markdown]
# ## Exercise 5.4
#
# *Why it matters: with a wrong adjoint the layer follows no gradient, and the theorem is void. Nothing crashes to tell you.*
#
# Write the exact adjoint $K^\top$ of the zero-padded convolution $Kx=$ `F.conv2d(x, kernel, stride=stride, padding=padding, dilation=dilation)`. It must satisfy $\langle Kx,y\rangle=\langle x,K^\top y\rangle$ for all $x,y$.
# Section 5.3 did it for square images. Here the images have `size` = (height, width), the kernel of shape (channels of $y$, channels of $x$, $k$, $l$) need not be square, and there may be a *dilation* $\delta$:
# a dilated kernel leaves $\delta-1$ pixels between its entries, so its window is $\delta(k-1)+1$ pixels high. Stride, padding and dilation are whole numbers, the same along both axes.
#
# <details><summary>Hint 1</summary>
#
# `F.conv_transpose2d` knows all of this except the size. It takes a *pair* as `output_padding`, one number for the rows and one for the columns.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The output padding is the number of last rows that no window reached. In the lesson's formula, replace the kernel size $k$ by the height of the window. Test $\langle Kx,y\rangle=\langle x,K^\top y\rangle$ yourself.
#
# </details>


# %% tags=["answer:5.4"]
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    """K^T y (B, C, height, width) for y (B, D, ..., ...), kernel (D, C, k, l) and size = (height, width)."""
    ### BEGIN SOLUTION
    windows = [dilation * (k - 1) + 1 for k in kernel.shape[2:]]
    unreached = [(n + 2 * padding - w) % stride for n, w in zip(size, windows, strict=True)]
    return F.conv_transpose2d(
        y, kernel, None, stride, padding, output_padding=unreached, dilation=dilation
    )
    ### END SOLUTION


# %%
if passed("5.4"):
    kernel = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    for side in (7, 8, 9):
        y = torch.ones(1, 4, 4 if side < 9 else 5, 4 if side < 9 else 5)
        smaller = F.conv_transpose2d(y, kernel, stride=2, padding=1).shape[2:]
        shape = conv_adjoint(y, kernel, (side, side), 2, 1, 1).shape[2:]
        print(
            f"side {side}: without output padding {tuple(smaller)}, your adjoint {tuple(shape)}: output padding {shape[0] - smaller[0]}"
        )

# %% [markdown]
# ## Exercise 5.5
#
# *Why it matters: safe is not enough, a layer must be able to do something. This is the smallest case in which the length of the step decides.*
#
# In one dimension with $A=1$, $b=-k$ and $\tau=c$ the layer is $x-c\,\mathrm{relu}(x-k)$. A change of sign and a shift by $q$ change no distance, so
#
# $$f(x)=q-\big(x-c\,\mathrm{relu}(x-k)\big)$$
#
# is non-expansive for $0<c\le2$. Fit it to $|x|$ on $[-1,1]$: given $c$, return the $k$ and $q$ for which the **largest** error $\max_x\big|\,|x|-f(x)\big|$ is smallest. To within 0.01 of the best possible error is good enough.
# Pencil and paper, a search over a grid, gradient descent: choose.
#
# <details><summary>Hint 1</summary>
#
# Draw $|x|-f(x)$ for $q=0$ and $k=0$. A shift by $q$ makes the largest and the smallest value of the error equally far from 0.
#
# </details>
# <details><summary>Hint 2 (search)</summary>
#
# For each $k$ on a grid, compute $|x|+x-c\,\mathrm{relu}(x-k)$ at many $x$. The best $q$ for this $k$ is the middle between its largest and its smallest value.
#
# </details>


# %% tags=["answer:5.5"]
def best_fit(c):
    """The kink k and the shift q, two numbers, with the smallest largest error on [-1, 1]."""
    ### BEGIN SOLUTION
    # With k = 0 the error |x| + x - c relu(x) rises from 0 to 2 - c.
    return 0.0, (2 - c) / 2
    ### END SOLUTION


# %%
if passed("5.5"):
    x = torch.linspace(-1, 1, 401)
    figure, axis = plt.subplots(figsize=(6, 3.6))
    axis.plot(x, x.abs(), color=plotting.BLACK, linewidth=1, label="$|x|$")
    for c, style in ((0.5, ":"), (1.0, "--"), (1.5, "-."), (2.0, "-")):
        k, q = best_fit(c)
        f = q - (x - c * torch.relu(x - k))
        error = (x.abs() - f).abs().max()
        axis.plot(x, f, style, label=f"$c={c}$, error {error:.2f}")
    axis.set(xlabel="$x$", title="the best fit with one layer")
    axis.legend()
    plotting.show(
        figure,
        "The best fits of |x| with one layer: all fall with slope -1 up to a kink, "
        "and only the one with c = 2 rises with slope 1 afterwards and lies on |x|.",
    )
    print(
        "In one dimension more layers with c <= 1 do not help: each is nondecreasing, and so is their composition. Lesson 5 used ten dimensions."
    )

# %% [markdown]
# ## Exercise 5.6
#
# *Why it matters: training changes the weights in every step. A norm computed once protects only the network you started with.*
#
# Complete the network layer $x\mapsto x-\tau W^\top\mathrm{relu}(Wx+b)$ with the **longest safe step** $\tau=2/\|W\|^2$, for batches `x` of shape $(B,d)$ with `weight` $W$ of shape $(m,d)$ and `bias` $b$ of shape $(m,)$.
# It must stay safe and as long as possible when the weights change after it was made: in training, or when a checkpoint is loaded. If $W=0$, it returns $x$. It should also work in float32. It will be trained, so PyTorch's gradients must reach `x` and both parameters.
#
# You may add lines to `__init__`, but keep the names of the two parameters.
#
# <details><summary>Hint 1</summary>
#
# `forward` is called anew for every batch. What must be computed there, and not in `__init__`?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Look at one row: `torch.relu(W @ x + b)`. For a batch whose rows are the inputs write `x @ W.T + b`. What multiplies its ReLU, `W` or `W.T`, and from which side?
#
# </details>


# %% tags=["answer:5.6"]
class StableLayer(nn.Module):
    """x - tau W^T relu(W x + b) with tau = 2 / ||W||^2, for batches (B, d)."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        ### BEGIN SOLUTION
        norm_now = torch.linalg.matrix_norm(self.weight, 2)
        if norm_now == 0:
            return x
        return x - 2 / norm_now**2 * F.relu(F.linear(x, self.weight, self.bias)) @ self.weight
        ### END SOLUTION


# %%
if passed("5.6"):
    generator = torch.Generator().manual_seed(0)
    layer = StableLayer(torch.randn(8, 4, generator=generator), torch.randn(8, generator=generator))
    x = torch.randn(300, 4, generator=generator)
    for step in range(4):
        slope = norms.jacobian_norms(layer, x).max().item()
        size = torch.linalg.matrix_norm(layer.weight, 2).item()
        print(
            f"after {step} steps of training: ||W|| = {size:7.3f}, largest measured slope {slope:.4f}"
        )
        loss = (layer(x) + x).square().mean()  # an impossible wish: T(x) = -x for all x
        slopes = torch.autograd.grad(loss, list(layer.parameters()))
        with torch.no_grad():
            for parameter, slope in zip(layer.parameters(), slopes, strict=True):
                parameter -= 3.0 * slope
