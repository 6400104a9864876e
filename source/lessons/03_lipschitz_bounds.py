# %% [markdown]
# # 3. How sensitive is a network?
#
# Change the input of a network a little. How much can the output change? One number answers this: the Lipschitz constant.
# Nobody can compute it exactly for large networks. In this lesson you learn to catch it between two numbers that you can compute.
#
# **You will learn**
#
# * what each common layer can do to a distance, and which three popular activations stretch;
# * to bound a whole network by a product, and why that product may be far too large;
# * power iteration, which finds the norm of a matrix from below, and what this "from below" can cost;
# * to search for the inputs where a network is most sensitive;
# * to bound a convolution, and to see through two shortcuts that look like bounds and are none.
#
# **Before you start:** linear algebra (singular values), a little PyTorch, complex numbers for section 3.6. Lessons 1 and 2 help but are not needed.
# **Time:** about 50 minutes of reading and playing; the computer needs less than half a minute.

# %% tags=["setup"]
# setup

# %%
import itertools
import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from chapter_utils import (
    certificates,
    conv_norms,
    data,
    norms,
    plain_layers,
    plotting,
    training,
)
from figures import lesson_03 as figures

plotting.use_house_style()
torch.set_default_dtype(torch.float64)  # so that what we see is mathematics, not rounding

# %% [markdown]
# ## 3.1 One number for sensitivity
#
# **Question.** What does it mean that a map $f$ magnifies small changes at most three times?
#
# Let $\|\cdot\|$ be the Euclidean norm of a vector, and for a matrix the spectral norm, its largest singular value.
# The **slope** of a pair $x\ne y$ is $\|f(x)-f(y)\|\,/\,\|x-y\|$. The **Lipschitz constant** $\mathrm{Lip}(f)$ is the largest slope of all pairs
# (the supremum, if none is largest). If $\mathrm{Lip}(f)\le L$ we say that $f$ is $L$-Lipschitz.
#
# In one dimension you can see it. Put a double cone with slopes $\pm L$ on any point of the graph. If $f$ is $L$-Lipschitz, the whole graph stays inside.


# %%
def wave(x):
    return x + torch.sin(3 * x) / 2  # its derivative 1 + 1.5 cos(3 x) lies between -0.5 and 2.5


figures.double_cones(wave)

# %% [markdown]
# It seems enough to look for the steepest place. In more dimensions the derivative is a matrix $Df(x)$, the **Jacobian**. Its norm is the *local slope* at $x$.
#
# > **Claim 3.1 (local slopes).** Let $f$ be continuously differentiable on a convex open set. Then $\mathrm{Lip}(f)=\sup_x\|Df(x)\|$.
# > The same holds for continuous, piecewise linear maps such as ReLU networks, with $Df$ taken where it exists.
#
# *Proof.* Walk from $y$ to $x$ on the straight line between them: $f(x)-f(y)=\int_0^1 Df\big(y+t(x-y)\big)(x-y)\,dt$. Hence no slope exceeds the largest local slope.
# Conversely, $\|Df(x)v\|$ is the limit of the slopes of the pairs $x+tv,\,x$ for $t\to0$, where $v$ is a unit vector. $\square$
#
# Here is a check with 100,000 random pairs of the map $f(x_1,x_2)=(\sin(x_1+x_2),\,x_1x_2/2)$ on the square $[-1,1]^2$:


# %%
def bend(x):
    return torch.stack([torch.sin(x[:, 0] + x[:, 1]), x[:, 0] * x[:, 1] / 2], 1)


def slopes(f, x, y):
    """Slope of each pair of two batches."""
    return (f(x) - f(y)).norm(dim=1) / (x - y).norm(dim=1)


generator = torch.Generator().manual_seed(0)
x, y = 2 * torch.rand(2, 100_000, 2, generator=generator) - 1
grid = torch.cartesian_prod(torch.linspace(-1, 1, 81), torch.linspace(-1, 1, 81))
largest_pair = slopes(bend, x, y).max().item()
# the library's norm of Df(x) at each x of a batch
largest_local = norms.jacobian_norms(bend, grid).max().item()
print(
    f"largest slope of a pair {largest_pair:.2f} <= "
    f"largest local slope {largest_local:.4f} (that is sqrt(2))"
)
assert largest_pair <= largest_local + 1e-9

# %% [markdown]
# Both hypotheses are needed. The function $\mathrm{sign}(x)$ has derivative 0 wherever it has one, but it jumps. And on a set that is not *convex* the straight line may
# leave the set. Cut the ring $1\le\|x\|\le2$ open along the negative $x_1$-axis and let $f$ be the angle of the point $x$, from $-\pi$ to $\pi$. Its derivative has norm $1/\|x\|\le1$:


# %%
def angle(x):
    return torch.atan2(x[:, 1], x[:, 0])[:, None]


above = torch.tensor([[-1.5, 0.01]])  # neighbours across the cut
below = torch.tensor([[-1.5, -0.01]])
local = norms.jacobian_norms(angle, above).item()
across = slopes(angle, above, below).item()
jump = slopes(torch.sign, above[:, 1:], below[:, 1:]).item()
print(f"angle: local slope {local:.2f}, slope of the pair {across:.0f}")
print(f"sign:  local slope 0, slope of the pair {jump:.0f}")

# %% [markdown]
# Keep one consequence in mind for the whole lesson: **every pair and every local slope that you measure is a lower bound.** No number of measurements makes an upper bound.
# The next function climbs with slope 200.5, but only on an interval of length 0.0002:


# %%
def cliff(x):
    return x / 2 + 200 * (torch.relu(x - 0.5003) - torch.relu(x - 0.5005))


x = torch.linspace(0, 1, 1001)[:, None]
measured = norms.jacobian_norms(cliff, x).max().item()
print(f"largest local slope at 1001 points: {measured:.1f}   truth: {0.5 + 200:.1f}")

# %% [markdown]
# So there are two tasks. Lower bounds come from searching (3.4, 3.5). Upper bounds come from mathematics: layer by layer (3.2, 3.6), then all layers together (3.3).
#
# ## 3.2 What one layer can do
#
# **Question.** Which layers can increase a distance?
#
# A **dense layer** $x\mapsto Wx+b$ has the constant $\|W\|$, the largest singular value: the bias moves everything alike. An **activation** acts on each entry by itself.
#
# > **Claim 3.2 (activations).** If a scalar function $\sigma$ is applied to each entry, the constant of the layer is $\mathrm{Lip}(\sigma)$. If $\sigma$ is continuous and, except at finitely many points, continuously differentiable, this is $\sup|\sigma'|$.
#
# *Proof.* Each entry of $x-y$ is multiplied by a slope of $\sigma$, so no entry grows by more than that factor. Pairs that differ in one entry attain it. $\square$
#
# **Predict first.** Of ReLU, tanh, sigmoid, ELU, GELU, SiLU and Mish, which three have a constant above 1?

# %%
my_guess = None  # for example ("relu", "tanh", "elu")

# %%
t = torch.linspace(-8, 8, 16001, requires_grad=True)
activations = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
}
derivative = {}
constant = {}
for name, sigma in activations.items():
    derivative[name] = torch.autograd.grad(sigma(t).sum(), t)[0]
    constant[name] = derivative[name].abs().max().item()
    print(f"{name:8s} {constant[name]:.4f}")
stretching = {name for name in constant if constant[name] > 1.001}
assert stretching == {"gelu", "silu", "mish"}
if my_guess is not None:
    print(f"Your guess was {my_guess}; right is ('gelu', 'silu', 'mish').")

# %%
figures.derivatives(t.detach(), derivative)

# %% [markdown]
# GELU, SiLU and Mish are *not monotone*: they dip below zero on the left and make up for it with a slope above 1 on the right. In ten layers GELU alone may cost a factor of $1.1289^{10}\approx3.4$.
#
# The word "each entry" matters. **Softmax** mixes the entries: $p_i=e^{x_i}/\sum_je^{x_j}$.
#
# > **Claim 3.3 (softmax).** Softmax has the constant $\tfrac12$.
#
# *Proof.* The Jacobian is $\mathrm{diag}(p)-pp^\top$, symmetric with non-negative eigenvalues. Row $i$ has absolute sum $p_i(1-p_i)+p_i\sum_{j\ne i}p_j=2p_i(1-p_i)\le\frac12$,
# and no eigenvalue exceeds the largest absolute row sum. When two classes share all probability, $\frac12$ is approached (with two classes: attained). $\square$
#
# Divide the inputs by a *temperature* of 0.1 first, as some networks do, and the constant is 5, not $\tfrac12$:


# %%
def softmax_at(temperature, x):
    return torch.softmax(x / temperature, 1)


flat = torch.zeros(1, 3)
two_high = torch.tensor([[9.0, 9.0, -9.0]])
x = torch.cat([flat, two_high, 4 * torch.randn(2000, 3, generator=generator)])
for temperature in (1.0, 0.1):
    slope = norms.jacobian_norms(partial(softmax_at, temperature), x).max().item()
    print(f"temperature {temperature}: largest local slope {slope:.4f} <= {0.5 / temperature:.1f}")
    assert slope <= 0.5 / temperature + 1e-9

# %% [markdown]
# **Pooling** comes in two kinds. For windows of $k\times k$ pixels, moved by the *stride* $s$:
#
# > **Claim 3.4 (pooling).** Average pooling with $s=k$ has the constant $1/k$; the mean over all $n$ pixels has $1/\sqrt n$.
# > Max pooling has at most $\lceil k/s\rceil$. It is attained as soon as one pixel lies in $\lceil k/s\rceil^2$ windows.
#
# *Proof.* Tiles that do not overlap give orthogonal rows, each with $k^2$ entries $1/k^2$, hence norm $1/k$. A maximum changes by at most the largest change in its window.
# So the squared change of the output is at most the sum of all squared pixel changes, each counted once for every window that sees it, at most $\lceil k/s\rceil^2$ times. One bright pixel is seen by all of its windows. $\square$
#
# Test it. For a *linear* map, `norms.dense_matrix` pushes the unit vectors through the map; they are the columns of its matrix. For max pooling we switch on one pixel:

# %%
images = (1, 9, 9)  # channels, height, width
for k, s in ((3, 3), (3, 1)):
    matrix = norms.dense_matrix(nn.AvgPool2d(k, s), images)
    print(f"average pooling {k}/{s}: norm {torch.linalg.matrix_norm(matrix, 2).item():.4f}")
dark, bright = torch.zeros(2, *images)
bright[0, 4, 4] = 1
for k, s in ((3, 3), (3, 2), (3, 1)):
    pool = nn.MaxPool2d(k, s)
    stretch = (pool(bright) - pool(dark)).norm().item()
    print(f"max pooling {k}/{s}: one bright pixel is stretched by {stretch:.0f}")

# %% [markdown]
# The bright pixel shows what overlap does: with stride 1 a single pixel fills a whole $3\times3$ square. And look at the average with stride 1: its norm is 0.91, not $\frac13$. Overlap matters for both kinds.
#
# A constant *below* 1 is not good news either. If a network may have the constant 1 in total, an average pooling with $1/k$ wastes most of it. Multiply by $k$: the norm becomes exactly 1.
# The library's `plain_layers.ScaledAvgPool2d` does that. Here are some more linear layers:

# %%
small = (3, 4, 4)
mix = nn.Conv2d(3, 5, kernel_size=1, bias=False)
norm_of_mix = torch.linalg.matrix_norm(mix.weight[:, :, 0, 0], 2).item()
examples = {
    "k x average pooling, k = 2": (plain_layers.ScaledAvgPool2d(2), 1.0),
    "mean over 16 pixels": (nn.AdaptiveAvgPool2d(1), 1 / math.sqrt(16)),
    "append two zero channels": (plain_layers.ZeroPadLift(3, 5), 1.0),
    "keep one channel": (lambda x: x[:, :1], 1.0),
    "divide by standard deviations": (
        plain_layers.Normalization([0.0] * 3, [0.2, 0.25, 0.5]),
        1 / 0.2,
    ),
    "1 x 1 convolution: its matrix": (mix, norm_of_mix),
}
for name, (layer, expected) in examples.items():
    norm = torch.linalg.matrix_norm(norms.dense_matrix(layer, small), 2).item()
    assert abs(norm - expected) < 1e-9
    print(f"{name:30s} as predicted" + (f": {expected:.2f}" if layer is not mix else ""))

# %% [markdown]
# *Coursework 3.3 and 3.5 ask for the constants of poolings and of activations.*
#
# ## 3.3 What many layers can do
#
# **Question.** Each layer obeys its constant. What does the network obey?
#
# > **Claim 3.5 (product and skip).** $\mathrm{Lip}(f_N\circ\dots\circ f_1)\le\prod_i\mathrm{Lip}(f_i)$, and $\mathrm{Lip}(x\mapsto x+g(x))\le1+\mathrm{Lip}(g)$.
#
# *Proof.* A distance that passes through the layers is multiplied by at most $\mathrm{Lip}(f_1)$, then by at most $\mathrm{Lip}(f_2)$, and so on. For the skip, use the triangle inequality. $\square$
#
# The bound takes a few lines. A layer that we do not know must be an error, never a silent 1:

# %%
ACTIVATION_CONSTANTS = {nn.ReLU: 1.0, nn.Tanh: 1.0, nn.Sigmoid: 0.25, nn.GELU: 1.1290}  # rounded up


def layer_constant(layer):
    if isinstance(layer, nn.Linear):
        return torch.linalg.matrix_norm(layer.weight.detach(), 2).item()
    return ACTIVATION_CONSTANTS[type(layer)]  # KeyError for an unknown layer


def product_bound(network):
    return math.prod(layer_constant(layer) for layer in network)


_ = torch.manual_seed(0)
network = nn.Sequential(nn.Linear(4, 32), nn.GELU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
x = 2 * torch.randn(2000, 4, generator=generator)
measured = norms.jacobian_norms(network, x).max().item()
bound = product_bound(network)
print(f"largest measured slope {measured:.2f} <= product bound {bound:.2f}")
assert measured <= bound
library = certificates.lipschitz_bound(network, (4,))
assert abs(bound / library - 1) < 1e-6

# %% [markdown]
# The library's `certificates.lipschitz_bound(network, input_shape)` knows more layers and asks for the shape of the input, which a convolution needs.
# Both bounds are true. Now forget a skip connection, as if $x+g(x)$ were $g(x)$:

# %%
branch = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
deep = nn.Sequential(*[plain_layers.ResidualBlock(branch) for _ in range(3)])
measured = norms.jacobian_norms(deep, x / 4).max().item()
wrong = product_bound(branch) ** 3
right = certificates.lipschitz_bound(deep, (4,))
print(f"skip forgotten: {wrong:.2f}   measured: {measured:.2f}   right: {right:.2f}")
assert wrong < measured <= right

# %% [markdown]
# Every measurement above "the bound" disproves it. That is how you find such mistakes.
#
# ### Depth
#
# A **residual network** repeats $x\mapsto x+h\,g(x)$ with a small number $h$, in $N$ layers. Let $\mathrm{Lip}(g)=L$, with a new $g$ in each layer if you like.
#
# > **Claim 3.6 (deep residual network).** Its constant is at most $(1+hL)^N\le e^{LT}$ with $T=hN$. For $g(x)=Lx$ the first bound is attained.
#
# Does the bound say how sensitive a deep network *is*? Take four kinds of layers, all with $L=1$ and $h=0.1$ in eight dimensions.
# **Predict first.** At depth 50 the bound is 117.4. How large is the measured slope of random tanh layers $g(x)=\tanh(Wx+b)$ with $\|W\|=1$?

# %%
my_guess = None  # for example 100

# %%
h = 0.1
deepest = 80
width = 8
draw = torch.Generator().manual_seed(3)


def unit_norm(W):
    return W / torch.linalg.matrix_norm(W, 2)


tied = unit_norm(torch.randn(width, width, generator=draw))
turn = unit_norm(tied - tied.T)
branches = {
    "g(x) = x": lambda x, W, b: x,
    "random: tanh(Wx + b)": lambda x, W, b: torch.tanh(x @ W.T + b),
    "turning: Sx with S' = -S": lambda x, W, b: x @ turn.T,
    "downhill: -A' tanh(Ax)": lambda x, W, b: -torch.tanh(x @ tied.T) @ tied,
}


def residual_layer(branch, W, b, x):
    return x + h * branch(x[None], W, b)[0]


def measured_by_depth(branch):
    """Largest Jacobian norm at 20 points after 0, 1, ..., 80 layers."""
    points = torch.randn(20, width, generator=draw)
    products = [torch.eye(width).expand(20, -1, -1)]
    for _ in range(deepest):
        W = unit_norm(torch.randn(width, width, generator=draw))
        b = torch.randn(width, generator=draw) / 2
        layer = partial(residual_layer, branch, W, b)
        products.append(torch.func.vmap(torch.func.jacrev(layer))(points) @ products[-1])
        points = torch.func.vmap(layer)(points)
    return torch.linalg.matrix_norm(torch.stack(products), 2).amax(1)


measured_slopes = {name: measured_by_depth(branch) for name, branch in branches.items()}
bounds = (1 + h) ** torch.arange(deepest + 1)
assert all((found <= bounds + 1e-9).all() for found in measured_slopes.values())
live_depth = figures.slopes_over_depth(measured_slopes, bounds, h)
live_depth.still(layers_are="random: tanh(Wx + b)", N=50)

# %%
live_depth

# %%
if my_guess is not None:
    print(f"Your guess was {my_guess}; measured: {measured_slopes['random: tanh(Wx + b)'][50]:.1f}")

# %% [markdown]
# Switch through the four kinds of layers. The bound never moves. The slopes measured at 20 points (lower bounds) do: $g(x)=x$ attains the bound, random layers point in many directions and have tanh slopes below 1, so little adds up,
# turning grows very slowly, and walking downhill does not grow at all. **The product bound sees only the sizes of the layers, not how they fit together.**
# Lesson 5 builds networks from downhill layers and replaces the factor $1+hL$ by 1.
#
# ### How far off can a product be?
#
# Two tiny networks: $|x|=\mathrm{relu}(x)+\mathrm{relu}(-x)$, and $\mathrm{relu}(x)-\mathrm{relu}(x)=0$.
# Both have the shape $w_2^\top\,\mathrm{relu}(w_1x)$ with vectors $w_1,w_2$ of norm $\sqrt2$. The product bound is 2, the truths are 1 and 0.
#
# > **Claim 3.7 (arbitrarily loose).** For every factor $q$ there is a network whose product bound exceeds its Lipschitz constant more than $q$ times.
#
# *Proof.* Compose $|x|$ with itself $m$ times: the map is still $|x|$, the product is $2^m$. $\square$


# %%
def two_layers(w1, w2):
    first = nn.Linear(1, 2, bias=False)
    second = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.tensor(w1)[:, None])
        second.weight.copy_(torch.tensor(w2)[None])
    return nn.Sequential(first, nn.ReLU(), second)


absolute = two_layers([1.0, -1.0], [1.0, 1.0])
networks = {
    "|x|": absolute,
    "relu - relu": two_layers([1.0, 1.0], [1.0, -1.0]),
    "|x| ten times": nn.Sequential(*[*absolute] * 10),
}
x = torch.linspace(-1, 1, 8)[:, None]
for name, network in networks.items():
    # exact here: the slope is constant on each side of 0
    truth = norms.jacobian_norms(network, x).max().item()
    print(f"{name:14s} product bound {product_bound(network):6.0f}   truth {truth:.0f}")

# %% [markdown]
# Could one do better by looking at the ReLU more closely? At each input a ReLU unit is either on or off. Write $D$ for the diagonal matrix with 1 for "on" and 0 for "off".
#
# > **Claim 3.8 (patterns).** $\mathrm{Lip}\big(W_2\,\mathrm{relu}(W_1x+b)\big)\le\max_D\|W_2DW_1\|\le\|W_2\|\,\|W_1\|$, the maximum taken over all on/off patterns $D$.
# > If the rows of $W_1$ are linearly independent, the first inequality is an equality.
#
# *Proof.* Where no unit switches, the Jacobian is $W_2DW_1$ for one of these $D$, and Claim 3.1 applies. If the rows are independent, $W_1x+b$ takes every value, so every pattern occurs. $\square$

# %%
W1 = torch.randn(8, 10, generator=generator)
W2 = torch.randn(3, 8, generator=generator)
patterns = torch.tensor(list(itertools.product([0.0, 1.0], repeat=8)))
exact = torch.linalg.matrix_norm((W2 * patterns[:, None, :]) @ W1, 2).max().item()
product = (torch.linalg.matrix_norm(W2, 2) * torch.linalg.matrix_norm(W1, 2)).item()
print(f"{len(patterns)} patterns, 8 units: exact constant {exact:.2f} <= product {product:.2f}")
assert exact < product
on_off = torch.cartesian_prod(*[torch.arange(2.0)] * 2)
difference = (torch.tensor([1.0, -1.0]) * on_off).sum(1).abs().max().item()
print(f"relu - relu: {difference:.0f} by patterns, truth 0")

# %% [markdown]
# The last line drops the independence: both units of $\mathrm{relu}(x)-\mathrm{relu}(x)$ switch together, and the pattern "one on, one off", which gives slope 1, never occurs.
#
# The price of exactness is $2^m$ patterns for $m$ units. A cleverer method would not help in general: the exact constant is NP-hard to compute for two layers already (Scaman and Virmaux, 1805.10965).
# So in practice one *encloses* it, from below and from above.
#
# *Coursework 3.2 and 3.4 ask for product bounds.*
#
# ## 3.4 Power iteration
#
# **Question.** How do we find $\|A\|$ when $A$ is too large for a singular value decomposition?
#
# The direction $v$ that $A$ stretches most is an eigenvector of $A^\top A$. So take any vector and multiply it by $A^\top A$ again and again. The strongest direction wins.


# %%
def power_iteration(A, v, steps):
    """Estimate |A v| of the norm of A after this many steps from v, and the direction found."""
    v = v / v.norm()
    for _ in range(steps):
        v = A.T @ (A @ v)
        v = v / v.norm()
    return (A @ v).norm().item(), v


A = torch.randn(64, 64, generator=generator)
start = torch.randn(64, generator=generator)
sigma = torch.linalg.svdvals(A)  # the exact singular values, the largest first
for steps in (0, 1, 5, 20, 100):
    estimate, _ = power_iteration(A, start, steps)
    print(f"{steps:3d} steps: estimate / truth = {estimate / sigma[0]:.3f}")

# %% [markdown]
# > **Claim 3.9 (power iteration).** Let the start $v_0$ satisfy $Av_0\ne0$. The estimate never exceeds $\|A\|$ and never decreases from step to step. It converges to $\|A\|$
# > unless the start is orthogonal to every direction that $A$ stretches most.
#
# *Proof.* $\|Av\|\le\|A\|$ for every unit vector $v$. Let $m_j=\langle v_0,(A^\top A)^jv_0\rangle$ with the start $v_0$. The squared estimate after $i$ steps is $m_{2i+1}/m_{2i}$, and by the
# Cauchy–Schwarz inequality $m_j^2\le m_{j-1}m_{j+1}$, so these ratios increase. In the basis of singular vectors, $i$ steps multiply the $j$-th coefficient by $\sigma_j^{2i}$; the largest $\sigma_j$ with a coefficient not 0 wins. $\square$
#
# If the two largest singular values are close, it takes long: the error shrinks like $(\sigma_2/\sigma_1)^{4i}$. And a start without any part in the best direction finds the second best:

# %%
best = torch.linalg.svd(A).Vh[0]
spoilt = start - (start @ best) * best  # remove the best direction
counts = range(0, 13)
from_start = [power_iteration(A, start, k)[0] / sigma[0] for k in counts]
from_spoilt = [power_iteration(A, spoilt, k)[0] / sigma[0] for k in counts]
assert abs(power_iteration(A, spoilt, 40)[0] - sigma[1]) < 0.02 * sigma[1]
figures.from_below(from_start, from_spoilt, sigma[1] / sigma[0])

# %% [markdown]
# What does "from below" cost? Lesson 5 takes steps $x-\tau A^\top Ax$ that are safe for $\tau\le2/\|A\|^2$. Use the estimate instead of $\|A\|$ and look at the true Lipschitz constant $\|I-\tau A^\top A\|$ of the "safe" step:

# %%
for steps in (1, 5, 20, 50, 200):
    estimate, _ = power_iteration(A, start, steps)
    step = torch.eye(64) - 2 / estimate**2 * A.T @ A
    print(f"{steps:3d} steps: Lipschitz constant {torch.linalg.matrix_norm(step, 2).item():.2f}")

# %% [markdown]
# In training the cure is a **warm start**. The weights change little from one update to the next, so keep $v$ and make one more step from there. Compare with one step from a new random vector each time.
# From here on we use the library's `norms.power_iteration`. It takes functions instead of a matrix, so it also works for convolutions.


# %%
def one_iteration(W, v):
    return norms.power_iteration(lambda v: W @ v, lambda w: W.T @ w, v, steps=1)


weights = A.clone()
warm_v = start
warm = []
cold = []
for _ in range(200):
    update = 0.01 * torch.randn(64, 64, generator=generator)  # stands for an update in training
    weights = weights + update
    norm = torch.linalg.matrix_norm(weights, 2)
    estimate, warm_v = one_iteration(weights, warm_v)
    warm.append((estimate / norm).item())
    estimate, _ = one_iteration(weights, torch.randn(64, generator=generator))
    cold.append((estimate / norm).item())
worst_warm = min(warm[100:])
worst_cold = min(cold[100:])
print(f"worst of the last 100 updates: warm start {worst_warm:.2f}, new start {worst_cold:.2f}")
assert max(warm) <= 1 + 1e-12 and worst_warm > 0.95 > 0.85 > worst_cold

# %% [markdown]
# The warm estimate is good, and it is still a lower bound. Remember the rule: **training may use an estimate, a certificate must use a guaranteed upper bound.**
#
# *Coursework 3.6 asks for such a step for a convolution.*
#
# ## 3.5 Where is the network most sensitive?
#
# **Question.** How do you find large lower bounds for a network that is not linear?
#
# Train a small network to tell two half moons apart.

# %%
points, labels = data.two_moons(300, noise=0.1, seed=0)
_ = torch.manual_seed(0)
classifier = nn.Sequential(
    nn.Linear(2, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 2)
)

# %% tags=["nbval-ignore-output"]
history = training.fit(
    classifier, points, labels, F.cross_entropy, epochs=150, batch_size=100, learning_rate=0.02
)
for parameter in classifier.parameters():
    _ = parameter.requires_grad_(False)  # the weights stay as they are

# %% [markdown]
# First look at the data: the largest local slope at the training points. Then climb from there. Fix $v$, the direction that is stretched most at the present $x$,
# and move $x$ uphill on $\|Df(x)v\|$. The next $v$ comes from power iteration again. None of this needs the whole Jacobian: backpropagation computes $Df(x)^\top w$ for one vector $w$ at a time, and backpropagating through *that* gives $Df(x)v$.


# %%
def pull(f, x, w):
    """Df(x)' w, what backpropagation computes."""
    return torch.func.vjp(f, x)[1](w)[0]


def push(f, x, v):
    """Df(x) v: the map w -> Df(x)' w is linear, and its adjoint is Df(x) again."""
    return torch.func.vjp(lambda w: pull(f, x, w), f(x))[1](v)[0]


def most_stretched(f, x, steps=30):
    """Unit vector v that Df(x) stretches most, by power iteration."""
    start = torch.ones_like(x)
    _, v = norms.power_iteration(partial(push, f, x), partial(pull, f, x), start, steps)
    return v


def stretch_along(f, v, x):
    return push(f, x, v).norm()


def climb(f, x, steps=80, size=0.03):
    """The points visited by gradient ascent on |Df(x) v|, with shorter and shorter steps."""
    path = [x]
    for k in range(steps):
        v = most_stretched(f, x)
        uphill = torch.func.grad(partial(stretch_along, f, v))(x)
        x = x + size * (1 - k / steps) * uphill / uphill.norm().clamp_min(1e-12)
        path.append(x)
    return torch.stack(path)


# %% tags=["nbval-ignore-output"]
at_data = norms.jacobian_norms(classifier, points)
path = climb(classifier, points[at_data.argmax()])
climbed = norms.jacobian_norms(classifier, path).max().item()
bound = product_bound(classifier)
print(f"typical slope at the data (median)  {at_data.median():8.1f}")
print(f"largest slope at the data           {at_data.max():8.1f}")
print(f"largest slope after climbing        {climbed:8.1f}")
print(f"product bound                       {bound:8.1f}")
assert at_data.max() <= climbed <= bound

# %% tags=["nbval-ignore-output"]
columns = torch.linspace(-1.6, 2.6, 106)
rows = torch.linspace(-1.3, 1.8, 79)
mesh = torch.cartesian_prod(rows, columns).flip(1)
surface = norms.jacobian_norms(classifier, mesh).reshape(79, 106)
logits = classifier(mesh)
decision = (logits[:, 1] - logits[:, 0]).reshape(79, 106)
figures.local_slopes(columns, rows, surface, decision, points, labels, path)

# %% [markdown]
# The network is most sensitive between the classes, where there are few data. So slopes at the data underestimate, climbing helps, and the truth is somewhere between "after climbing" and "product bound".
# Lesson 7 climbs too, on a loss instead of the slope, to *attack* networks.
#
# Now replace tanh by ReLU. The Jacobian is then constant on pieces; it jumps, but its gradient is zero. The climb has nothing to climb:

# %%
_ = torch.manual_seed(0)
relu_network = nn.Sequential(nn.Linear(2, 24), nn.ReLU(), nn.Linear(24, 2)).requires_grad_(False)
x = points[0]
v = most_stretched(relu_network, x)
uphill = torch.func.grad(partial(stretch_along, relu_network, v))(x)
print("gradient of the local slope is zero:", bool((uphill == 0).all()))

# %% [markdown]
# For ReLU networks climb on the slope of *pairs* with some distance instead, or sample many points.
#
# ## 3.6 Convolutions
#
# **Question.** A convolution is a linear map of images. What is its norm?
#
# Start in one dimension with the kernel $K=(-1,1,-1)$ and signals of $n=5$ numbers: $y_i=-x_{i-1}+x_i-x_{i+1}$. At the borders there are two conventions.
# **Zero padding** puts zeros outside. **Circular padding** glues the ends together, so that the signal lives on a ring, in two dimensions on a *torus*. Look at the two matrices:

# %%
trap = torch.tensor([-1.0, 1.0, -1.0])


def conv1d(x, circular=False):
    padded = F.pad(x, (1, 1), mode="circular" if circular else "constant")
    return F.conv1d(padded, trap[None, None])


zero_matrix = norms.dense_matrix(conv1d, (1, 5))
ring_matrix = norms.dense_matrix(lambda x: conv1d(x, circular=True), (1, 5))
figures.two_matrices(zero_matrix, ring_matrix)

# %% [markdown]
# The circular matrix is the easy one. A wave $x_j=e^{i\omega j}$ whose frequency $\omega$ fits on the ring, a multiple of $2\pi/n$, comes out as the same wave, multiplied by a number $\hat K(\omega)$.
# With several channels the number is a small matrix of size (channels out) × (channels in), the **symbol**.
#
# > **Claim 3.10 (torus).** For circular padding the norm is exactly $\max_\omega\|\hat K(\omega)\|$ over the frequencies $\omega$ of the torus.
#
# *Proof.* The discrete Fourier transform is, up to scaling, a unitary map. It turns the convolution into one separate matrix $\hat K(\omega)$ per frequency. The norm of a block diagonal matrix is the largest norm of its blocks. $\square$
#
# The function `fft2` computes all symbols at once (Sedghi, Gupta and Long, 1805.10408):


# %%
def torus_norm(kernel, side):
    """Largest symbol norm of a kernel (out, in, k, k) on a torus with side >= k."""
    symbols = torch.fft.fft2(kernel, s=(side, side))  # (out, in, side, side)
    return torch.linalg.matrix_norm(symbols.permute(2, 3, 0, 1), 2).max().item()


def conv_matrix(kernel, n, mode="constant"):
    """Matrix of the convolution with 3 x 3 kernels on n x n images; "constant": zero padding."""

    def convolve(x):
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode=mode), kernel)

    return norms.dense_matrix(convolve, (kernel.shape[1], n, n))


# 3 channels in, 4 out, 3 x 3 pixels
kernel = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
circular = torch.linalg.matrix_norm(conv_matrix(kernel, 8, "circular"), 2).item()
print(f"circular, 8 x 8 images: matrix {circular:.4f}, Fourier {torus_norm(kernel, 8):.4f}")
assert abs(circular - torus_norm(kernel, 8)) < 1e-9

# %% [markdown]
# Real networks use zero padding. It only leaves out the two corners of the matrix.
# **Predict first.** For the kernel $(-1,1,-1)$ and $n=5$, is the zero-padded norm smaller than, equal to, or larger than the circular norm?

# %%
my_guess = None  # for example "smaller"

# %%
zero = torch.linalg.matrix_norm(zero_matrix, 2).item()
ring = torch.linalg.matrix_norm(ring_matrix, 2).item()
print(f"zero padding: {zero:.3f} = 1 + sqrt(3)")
print(f"circular:     {ring:.3f}, the same by FFT: {torch.fft.fft(trap, n=5).abs().max():.3f}")
if my_guess is not None:
    print(f"Your guess was {my_guess!r}; zero padding is {'larger' if zero > ring else 'smaller'}.")
assert zero > ring + 0.1

# %% [markdown]
# **Larger.** A circular FFT of the same size is a popular "bound" for zero-padded convolutions, and it is none. The left picture shows why: the peak of $|\hat K|$ sits at $\omega=\pi$, the wave $+,-,+,-$, and this wave does not fit on a ring of five.


# %%
def symbol(omega):
    return (1 - 2 * omega.cos()).abs()


def ring_norm(n):
    return torch.fft.fft(trap, n=n).abs().max()


sizes = range(3, 17)
zero_norms = [torch.linalg.matrix_norm(norms.dense_matrix(conv1d, (1, n)), 2).item() for n in sizes]
same_ring = [ring_norm(n) for n in sizes]
larger_ring = [ring_norm(n + 1) for n in sizes]
figures.waves_on_a_ring(symbol, sizes, zero_norms, same_ring, larger_ring)

# %% [markdown]
# The cure is one more cell. On a ring of $n+1$ the extra cell can hold a zero, and then the two ends do not touch.
#
# > **Claim 3.11 (zero padding).** Let the kernel have side $k=2p+1$ and the images side $n$, zero-padded by $p$. The norm is at most the norm on any torus of side $n+p$ or more,
# > and so at most $\sup_\omega\|\hat K(\omega)\|$ over *all* frequencies.
#
# *Proof.* Put the image on the torus and zeros into the remaining $p$ or more rows and columns. On the image's own pixels, the torus convolution then computes the zero-padded one: no window reaches around far enough to meet the image again.
# So the zero-padded matrix is a part of the torus matrix: some rows and columns are left out. That never increases a norm. $\square$
#
# With side $n$ the rows on both borders touch, and the proof breaks where the example broke. The library's `conv_norms.conv_norm_bound` uses the larger torus, also for strides, and includes all rounding errors.
# Its cost is a Fourier transform of the kernel and many tiny matrices, instead of one huge matrix. It even tries four tori: multiply the pixels by a wave $e^{i\varphi x}$, and the outputs by its inverse.
# This changes no length and so no norm, but it moves all frequencies by $\varphi$. So the grid of frequencies may be moved by half its spacing along each axis, and the smallest of the four bounds counts:

# %%
exact = torch.linalg.matrix_norm(conv_matrix(kernel, 8), 2).item()
library = conv_norms.conv_norm_bound(kernel, (8, 8), padding=(1, 1))
larger = torus_norm(kernel, 9)
finest = torus_norm(kernel, 128)  # close to the supremum over all frequencies
print(
    f"exact {exact:.3f} <= best of four tori {library:.3f} <= "
    f"torus of side 9 {larger:.3f} <= all frequencies {finest:.3f}"
)
assert exact <= library <= larger + 1e-6 and larger <= finest

# %% [markdown]
# (A grid of frequencies, however fine, approaches the supremum from *below*. For images of side $n$ you do not need the supremum: the $(n+p)\times(n+p)$ frequencies are enough.)
#
# > **Claim 3.12 (image size).** The norm of a zero-padded convolution does not decrease when the images get larger.
#
# *Proof.* The matrix for small images is a part of the matrix for large ones: put the small image into the large one and surround it with zeros. $\square$
#
# So a bound computed for small images is *not* a bound for large ones. Divide the kernel by its norm on $4\times4$ images, and it looks non-expansive:

# %%
normalised = kernel / torch.linalg.matrix_norm(conv_matrix(kernel, 4), 2)
for n in (4, 6, 8, 12):
    norm = torch.linalg.matrix_norm(conv_matrix(normalised, n), 2).item()
    print(f"{n:2d} x {n:2d} images: norm {norm:.3f}")
bound = conv_norms.conv_norm_bound(normalised, (32, 32), padding=(1, 1))
print(f"32 x 32 images: norm at most {bound:.3f}")

# %% [markdown]
# On a torus this rule fails: the norm of $(-1,1,-1)$ on the ring of 4 is 3, on the ring of 5 it is 2.618.
#
# ### Two more shortcuts
#
# The first is used by PyTorch's `spectral_norm`: write the kernel as a matrix $R$ with one row per output channel and $c_\text{in}\,k^2$ columns, and take its norm. This is cheap. But the norm of what? A convolution applies $R$ to every patch of the image, and the patches *overlap*.
#
# > **Claim 3.13 (reshaped matrix).** If at least one window lies inside the image, $\|R\|\le\|\mathrm{conv}\|\le\lceil k/s\rceil\,\|R\|$, where $s$ is the stride.
#
# *Proof.* Put the patch that $R$ stretches most into the window and zeros elsewhere: this gives the first inequality. For the second, sum $\|R\,\text{patch}\|^2\le\|R\|^2\|\text{patch}\|^2$ over all windows; each pixel is in at most $\lceil k/s\rceil^2$ of them. $\square$
#
# So $\|R\|$ is in general too small, and "spectrally normalised" convolutions may expand. With no window inside the image, even the lower inequality fails:

# %%
R = torch.linalg.matrix_norm(kernel.flatten(1), 2).item()
print(f"8 x 8 images: ||R|| = {R:.2f} <= exact {exact:.2f} <= 3 ||R|| = {3 * R:.2f}")
single = torch.linalg.matrix_norm(conv_matrix(kernel, 1), 2).item()
print(f"1 x 1 images, only the centre of the kernel acts: exact {single:.2f} < ||R||")
layer = nn.Conv2d(3, 4, 3, padding=1, bias=False)
layer = nn.utils.parametrizations.spectral_norm(layer, n_power_iterations=50).eval()
norm = torch.linalg.matrix_norm(norms.dense_matrix(layer, (3, 8, 8)), 2).item()
print(f"PyTorch's 'spectrally normalised' layer expands: {norm > 1.2}")

# %% [markdown]
# The second shortcut is sums of absolute values.
#
# > **Claim 3.14 (absolute sums).** Let $K_{ij}$ be the matrix (channels out × channels in) of the kernel at position $(i,j)$, and $A$ the matrix of the convolution. Then $\|A\|\le\sum_{ij}\|K_{ij}\|$, and
# > $\|A\|^2\le\max_r\sum_c|A^\top A|_{rc}\le\|A\|_1\|A\|_\infty$, where $\|A\|_1$ and $\|A\|_\infty$ are the largest absolute column and row sums.
#
# *Proof.* The convolution is a sum of shifts, each followed by one $K_{ij}$, and shifts do not increase norms. Next, $\|A\|^2$ is the largest eigenvalue of $A^\top A$, and by **Gershgorin's theorem** no eigenvalue exceeds the largest absolute row sum.
# Finally row sums of $|A^\top A|$ are at most those of $|A^\top|\,|A|$. $\square$
#
# All are guaranteed, and often too large. Leave out the bars $|\cdot|$ and they are wrong: the entries of an edge detector sum to 0.

# %%
A = conv_matrix(kernel, 8)
taps = torch.linalg.matrix_norm(kernel.permute(2, 3, 0, 1), 2).sum().item()
gershgorin = (A.T @ A).abs().sum(1).max().sqrt().item()
sums = (A.abs().sum(0).max() * A.abs().sum(1).max()).sqrt().item()
print(
    f"exact {exact:.2f} <= Gershgorin {gershgorin:.2f} <= "
    f"row and column sums {sums:.2f};  sum of taps {taps:.2f}"
)
assert exact <= gershgorin <= sums and exact <= taps
edge = torch.tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])[None, None]
norm = torch.linalg.matrix_norm(conv_matrix(edge, 8), 2).item()
print(f"edge detector: sum of taps without | | {edge.sum().item():.0f}, exact norm {norm:.2f}")

# %% [markdown]
# ### Choose a kernel
#
# The figure compares six numbers with the exact norm of the zero-padded convolution. Bars are multiples of the exact norm. **A bar below the line is not a bound**: it is drawn orange and hatched.
# On the left, the exact norm and the norm on the torus of the same side, over the image side, as fractions of the largest symbol over all frequencies.

# %%
row = torch.zeros(1, 1, 3, 3)
row[0, 0, 1] = trap
centre = torch.zeros(1, 1, 3, 3)
centre[0, 0, 1, 1] = 1
kernels = {
    "trap (-1, 1, -1)": row,
    "blur": torch.full((1, 1, 3, 3), 1 / 9),
    "edge": edge,
    "sharpen": centre + edge,
    "random": torch.randn(1, 1, 3, 3, generator=torch.Generator().manual_seed(1)),
    "random, 3 to 4 channels": kernel,
}
sides = range(2, 11)


def six_bounds(K, n):
    """The exact zero-padded norm, and the six numbers of the figure from left to right."""
    A = conv_matrix(K, n)
    gram = A.T @ A
    exact = torch.linalg.eigvalsh(gram)[-1].sqrt().item()
    same = conv_norms.conv_norm_bound(K, (n, n), padding=(1, 1), padding_mode="circular")
    best = conv_norms.conv_norm_bound(K, (n, n), padding=(1, 1), padding_mode="zeros")
    R = torch.linalg.matrix_norm(K.flatten(1), 2).item()
    taps = torch.linalg.matrix_norm(K.permute(2, 3, 0, 1), 2).sum().item()
    gershgorin = gram.abs().sum(1).max().sqrt().item()
    return exact, [same, best, R, 3 * R, taps, gershgorin]


table = {(name, n): six_bounds(K, n) for name, K in kernels.items() for n in sides}
highest = {name: torus_norm(K, 64) for name, K in kernels.items()}
live_kernel = figures.bounds_of_a_kernel(table, highest, sides)
live_kernel.still(kernel_name="trap (-1, 1, -1)", n=5)

# %%
live_kernel

# %% [markdown]
# Try the trap with $n=4,5,6$: the first bar fails at odd sides only. Try the random kernels with $n=2$, where no window lies inside the image. Then let $n$ grow and watch the black diamonds on the left rise towards 1.
# The second bar, the torus of side $n+1$, is always a bound, and it gets closer as the images grow: for $n=10$ it is at most 6 % too large for these kernels. That is why the library uses it.
#
# *Coursework 3.1 asks for the norm of a zero-padded convolution.*
#
# ## 3.7 A whole network
#
# **Question.** What does all this say about a real network for images?
#
# `certificates.lipschitz_bound` follows the image through the layers and multiplies: convolutions by Claim 3.11, poolings by 3.4, activations by 3.2, skips by 3.5. Here is the chain for a small convolutional network:

# %%
_ = torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(1, 8, 3, stride=2, padding=1),
    nn.ReLU(),
    plain_layers.ResidualBlock(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Tanh())),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(72, 5),
)
shape = (1, 12, 12)
product = 1.0
for layer in network:
    factor = certificates.lipschitz_bound(layer, shape)
    product = product * factor
    shape = certificates.output_shape(layer, shape)
    print(
        f"{type(layer).__name__:14s} bound {factor:6.3f}   "
        f"output {shape!s:12s} product so far {product:6.3f}"
    )
images = torch.rand(300, 1, 12, 12, generator=generator)
measured = norms.jacobian_norms(network, images).max().item()
bound = certificates.lipschitz_bound(network, (1, 12, 12))
print(f"largest measured slope {measured:.3f} <= guaranteed bound {bound:.3f}")
assert measured <= bound and abs(product / bound - 1) < 1e-6

# %% [markdown]
# The truth lies between the two numbers in the last line. And a layer without a known bound is refused:

# %%
try:
    certificates.lipschitz_bound(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), (4,))
except TypeError as error:
    print("refused:", error)

# %% [markdown]
# For a good reason. Layer normalisation divides by the standard deviation of the input; where the entries are almost equal, only the number $\epsilon=10^{-5}$ that PyTorch adds to the variance limits the magnification. With weights 1 the constant is $1/\sqrt\epsilon\approx316$, too large to be a useful factor:

# %%
nearly_equal = 1e-4 * torch.tensor([[1.0, -1.0, 1.0, -1.0]])
slope = norms.jacobian_norms(nn.LayerNorm(4), nearly_equal).item()
print(f"local slope of nn.LayerNorm: {slope:.0f}")

# %% [markdown]
# ## Recap
#
# * Each layer has a constant (3.2–3.4). GELU, SiLU and Mish stretch a little, overlapping max pooling a lot.
# * Constants multiply, a skip adds 1 (3.5), so the bound grows exponentially with depth (3.6). It may be arbitrarily loose (3.7), and exactness is expensive (3.8).
# * Power iteration finds the norm of a matrix from below, never above (3.9).
# * Local slopes are lower bounds (3.1); climb to make them larger.
# * For convolutions use the Fourier transform on a torus that is larger than the image (3.10, 3.11), for the image size at hand (3.12). The torus of the same side and the reshaped matrix (3.13) are no upper bounds; sums of absolute values (3.14) are, but they are coarse.
#
# ## What can go wrong in practice
#
# * *A lower bound in a certificate.* Power iteration, slopes at the data, `spectral_norm` on a convolution: all come from below.
# * *A bound for the wrong image size.* Enlarging the images may enlarge the norm.
# * *A forgotten layer.* A skip, an input normalisation by $1/0.2=5$, overlapping max pooling with 3. Unknown layers must raise an error.
# * *A bound that is never tested.* Measure slopes at many points, climb, and compare. One measurement above the bound finds the mistake.
# * *Small is not the aim.* If wasteful layers push the constant to 0.001, inputs at distance 1 give outputs at most 0.001 apart, and a loss with a fixed scale can hardly tell the classes apart. Lesson 5 shows how to have exactly 1 and waste nothing.
#
# ## References
#
# * K. Scaman, A. Virmaux: *Lipschitz regularity of deep neural networks: analysis and efficient estimation*, arXiv 1805.10965.
# * H. Sedghi, V. Gupta, P. Long: *The singular values of convolutional layers*, arXiv 1805.10408.
# * T. Miyato et al.: *Spectral normalization for generative adversarial networks*, arXiv 1802.05957.
# * Y. Tsuzuku, I. Sato, M. Sugiyama: *Lipschitz-margin training*, arXiv 1802.04034.
# * M. J. Ehrhardt, D. Murari, F. Sherry: *Stable neural networks and connections to continuous dynamical systems*, arXiv 2510.22299.
