# %% [markdown]
# # 3. How sensitive is a network?
#
# Change the input of a network a little. How much can the output change? One number answers this: the Lipschitz constant.
# For a large network nobody can compute it exactly. Here you learn to catch it between two numbers that you can compute.
#
# **You will learn**
#
# * what each common layer can do to a distance;
# * to bound a whole network by a product, and how far such a product can be from the truth;
# * power iteration, which finds the norm of a matrix from below, and what "from below" can cost;
# * to search for the inputs where a network is most sensitive;
# * to bound a convolution, and to tell bounds from numbers that only look like bounds.
#
# **Before you start:** linear algebra (singular values), a little PyTorch, complex numbers for Section 3.6. Lessons 1 and 2 help but are not needed.
# **Time:** MINUTES for the core path; parts marked ★ can wait; the computer needs less than a minute.

# %% tags=["setup"]
# setup

# %%
import itertools
import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from chapter_checks import passed, reply, your_turn
from chapter_utils import certificates, conv_norms, data, norms, plain_layers, plotting, training
from figures import lesson_03 as figures

plotting.use_house_style()
torch.set_default_dtype(torch.float64)  # so that what we see is mathematics, not rounding

# %% [markdown]
# ## 3.1 One number for sensitivity
#
# **Question.** What does it mean that a map $f$ magnifies small changes at most three times?
#
# Let $\|\cdot\|$ be the Euclidean norm of a vector, and for a matrix the **spectral norm**: its largest singular value, the most that it stretches a vector.
# The **slope** of a pair $x\ne y$ is $\|f(x)-f(y)\|\,/\,\|x-y\|$. The **Lipschitz constant** $\mathrm{Lip}(f)$ is the largest slope of all pairs
# (the supremum, if none is largest). If $\mathrm{Lip}(f)\le L$, we say that $f$ is $L$-Lipschitz.
#
# In one dimension you can see it. Put a double cone with slopes $\pm L$ on any point of the graph. If $f$ is $L$-Lipschitz, the whole graph stays inside.


# %%
def wave(x):
    return x + torch.sin(3 * x) / 2  # its derivative 1 + 1.5 cos(3 x) lies between -0.5 and 2.5


figures.double_cones(wave)

# %% [markdown]
# It seems enough to look for the steepest place. In more dimensions the derivative is a matrix $Df(x)$, the **Jacobian**. Its norm is the **local slope** at $x$.
#
# > **Claim 3.1 (local slopes).** Let $f$ be continuously differentiable on a convex open set. Then $\mathrm{Lip}(f)=\sup_x\|Df(x)\|$.
# > The same holds for continuous, piecewise linear maps such as ReLU networks, with $Df$ taken where it exists.
#
# *Proof.* Walk from $y$ to $x$ on the straight line: $f(x)-f(y)=\int_0^1 Df\big(y+t(x-y)\big)(x-y)\,dt$. So no slope exceeds the largest local slope.
# Conversely, $\|Df(x)v\|$ is the limit of the slopes of the pairs $x+tv,\,x$ for $t\to0$, where $v$ is a unit vector. $\square$
#
# A check with 100,000 random pairs of the map $f(x_1,x_2)=(\sin(x_1+x_2),\,x_1x_2/2)$ on the square $[-1,1]^2$:


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
largest_local = norms.jacobian_norms(bend, grid).max().item()  # |Df(x)| at each x of a batch
print(f"largest slope of a pair {largest_pair:.3f} <= largest local slope {largest_local:.3f}")
assert largest_pair <= largest_local + 1e-9

# %% [markdown]
# Keep one consequence in mind for the whole lesson: **every slope that you measure is a lower bound.** No number of measurements makes an upper bound.
# The next function climbs with slope 200.5, but only on an interval of length 0.0002:


# %%
def cliff(x):
    return x / 2 + 200 * (torch.relu(x - 0.5003) - torch.relu(x - 0.5005))


x = torch.linspace(0, 1, 1001)[:, None]
measured = norms.jacobian_norms(cliff, x).max().item()
print(f"largest local slope at 1001 points {measured:.1f} <= truth {0.5 + 200:.1f}")

# %% [markdown]
# So there are two tasks: lower bounds by searching (Section 3.4 and Section 3.5), upper bounds by mathematics, for each layer (Section 3.2 and Section 3.6) and for all together (Section 3.3).
#
# ### ★ Drop the hypothesis: a jump, and a cut ring
#
# The function $\mathrm{sign}(x)$ has derivative 0 wherever it has one, but it jumps. And on a set that is not *convex* the straight line may
# leave the set. Cut the ring $1\le\|x\|\le2$ open along the negative $x_1$-axis and let $f$ be the angle of the point $x$, from $-\pi$ to $\pi$. Its derivative has norm $1/\|x\|\le1$:


# %% jupyter={"source_hidden": true}
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
# ## 3.2 What one layer can do
#
# **Question.** Which layers can increase a distance?
#
# A **dense layer** $x\mapsto Wx+b$ has the constant $\|W\|$: the bias moves everything alike. An **activation** acts on each entry by itself.
#
# > **Claim 3.2 (activations).** If a scalar function $\sigma$ is applied to each entry, the constant of the layer is $\mathrm{Lip}(\sigma)$. If $\sigma$ is continuous and, except at finitely many points, continuously differentiable, this is $\sup|\sigma'|$.
#
# *Proof.* Each entry of $x-y$ is multiplied by a slope of $\sigma$, so no entry grows by more than that factor. Pairs that differ in one entry attain it. $\square$
#
# **Predict first.** Take ReLU, tanh, sigmoid, ELU, GELU, SiLU and Mish. How many of these seven have a constant above 1?

# %%
my_guess = ...  # a number from 0 to 7

# %% tags=["reveal"]
t = torch.linspace(-8, 8, 16001, requires_grad=True)
derivative = {}
constant = {}
for sigma in (F.relu, torch.tanh, torch.sigmoid, F.elu, F.gelu, F.silu, F.mish):
    name = sigma.__name__
    derivative[name] = torch.autograd.grad(sigma(t).sum(), t)[0]
    constant[name] = derivative[name].abs().max().item()
    print(f"{name:8s} {constant[name]:.4f}")
assert [name for name in constant if constant[name] > 1.001] == ["gelu", "silu", "mish"]
because = "GELU, SiLU and Mish dip below zero on the left and make up for it on the right."
reply(my_guess, 3, because, wrong={0: "some do stretch.", 7: "ReLU never does."})
figures.derivatives(t.detach(), derivative)

# %% [markdown]
# These three are *not monotone*: they first fall, then rise. In ten layers GELU alone may cost a factor of $1.1289^{10}\approx3.4$.
#
# The words "each entry" matter. **Softmax** mixes the entries: $z_i=e^{x_i}/\sum_je^{x_j}$.
#
# > **Claim 3.3 (softmax).** Softmax has the constant $\tfrac12$.
#
# If the inputs are first divided by a *temperature* of 0.1, as some networks do, the constant is 5, not $\tfrac12$.
#
# <details><summary>Proof of Claim 3.3</summary>
#
# The Jacobian is $\mathrm{diag}(z)-zz^\top$, symmetric with non-negative eigenvalues. Row $i$ has the absolute sum $z_i(1-z_i)+z_i\sum_{j\ne i}z_j=2z_i(1-z_i)\le\frac12$,
# and no eigenvalue exceeds the largest absolute row sum. When two classes share all probability, $\frac12$ is approached (with two classes: attained). $\square$
#
# </details>

# %% jupyter={"source_hidden": true}
flat_and_two_high = torch.tensor([[0.0, 0.0, 0.0], [9.0, 9.0, -9.0]])
x = torch.cat([flat_and_two_high, 4 * torch.randn(2000, 3, generator=generator)])
for temperature in (1.0, 0.1):
    slope = norms.jacobian_norms(lambda x, T=temperature: torch.softmax(x / T, 1), x).max().item()
    print(f"temperature {temperature}: largest slope {slope:.4f} <= {0.5 / temperature:.1f}")
    assert slope <= 0.5 / temperature + 1e-9

# %% [markdown]
# **Pooling** keeps one number of each window of $k\times k$ pixels, the largest (max pooling) or the mean (average pooling), and moves the window by the **stride** $s$. With $k=3$, $s=1$ the windows overlap.
#
# **Predict first.** All pixels are dark but one, in the middle of the image; it has the value 1. Max pooling with $3\times3$ windows and stride 1 acts on it. How long is the output, as a vector with its Euclidean norm?

# %%
my_guess_2 = ...  # a number

# %% tags=["reveal"]
bright = torch.zeros(1, 9, 9)  # channels, height, width
bright[0, 4, 4] = 1
for stride in (3, 2, 1):
    length = nn.MaxPool2d(3, stride)(bright).norm().item()
    print(f"3 x 3 windows, stride {stride}: the output has the length {length:.0f}")
because = "Nine windows see the pixel, and a vector of nine ones has the length 3."
reply(my_guess_2, 3, because, wrong={9: "that is the square of the length.", 1: "windows overlap."})

# %% [markdown]
# > **Claim 3.4 (pooling).** Average pooling with $s=k$ has the constant $1/k$; the mean over all $n$ pixels has $1/\sqrt n$.
# > Max pooling has at most $\lceil k/s\rceil$. It is attained as soon as one pixel lies in $\lceil k/s\rceil^2$ windows.
#
# <details><summary>Proof of Claim 3.4</summary>
#
# Tiles that do not overlap give orthogonal rows, each with $k^2$ entries $1/k^2$, hence norm $1/k$. A maximum changes by at most the largest change in its window.
# So the squared change of the output is at most the sum of all squared pixel changes, each counted once for every window that sees it: at most $\lceil k/s\rceil^2$ times. One bright pixel attains this. $\square$
#
# With overlap the average has not $1/k$ either: on 9 × 9 images, $3\times3$ windows with stride 1 give 0.91, not $\frac13$.
#
# </details>
#
# A constant *below* 1 is not good news either. If a network may have the constant 1 in total, an average pooling with $1/k$ wastes most of it. Multiplied by $k$, its norm is exactly 1; the library's `ScaledAvgPool2d` does that.
# More linear layers:
#
# | layer | its norm |
# |---|---|
# | $k$ × average pooling | 1 |
# | append channels of zeros; keep some channels | 1 |
# | divide channel $c$ by the standard deviation $s_c$ | $1/\min_cs_c$, for $s=(0.2,0.25,0.5)$: 5 |
# | 1 × 1 convolution | the norm of its matrix (channels out × channels in) |
#
# *Exercise 3.3 asks for the constants of poolings, Exercise 3.5 for those of activations.*

# %% jupyter={"source_hidden": true}
small = (3, 4, 4)
mix = nn.Conv2d(3, 5, kernel_size=1, bias=False)
table_of_norms = [
    (plain_layers.ScaledAvgPool2d(2), 1.0),
    (plain_layers.ZeroPadLift(3, 5), 1.0),
    (lambda x: x[:, :1], 1.0),
    (plain_layers.Normalization([0.0] * 3, [0.2, 0.25, 0.5]), 5.0),
    (mix, torch.linalg.matrix_norm(mix.weight[:, :, 0, 0], 2).item()),
    (nn.AvgPool2d(2), 1 / 2),
    (nn.AdaptiveAvgPool2d(1), 1 / math.sqrt(16)),
]
for layer, expected in table_of_norms:
    norm = torch.linalg.matrix_norm(norms.dense_matrix(layer, small), 2).item()
    assert abs(norm - expected) < 1e-9
overlapping = torch.linalg.matrix_norm(norms.dense_matrix(nn.AvgPool2d(3, 1), (1, 9, 9)), 2)
assert 0.905 < overlapping < 0.915
print("The matrices of these layers, on images of 3 x 4 x 4, have the norms in the table.")

# %% [markdown]
# ## 3.3 What many layers can do
#
# **Question.** Each layer obeys its constant. What does the network obey?
#
# > **Claim 3.5 (product and skip).** $\mathrm{Lip}(f_N\circ\dots\circ f_1)\le\prod_i\mathrm{Lip}(f_i)$, and $\mathrm{Lip}(x\mapsto x+g(x))\le1+\mathrm{Lip}(g)$.
#
# *Proof.* A distance that passes through the layers is multiplied by at most $\mathrm{Lip}(f_1)$, then by at most $\mathrm{Lip}(f_2)$, and so on. For the skip, use the triangle inequality. $\square$
#
# **Your turn 3.A.** An image passes through three layers: max pooling with $3\times3$ windows and stride 2; then $x\mapsto x+\mathrm{sigmoid}(Wx+b)$ with $\|W\|=1.2$; then a division by 0.4. Which bound does Claim 3.5 give?
# The sigmoid has the constant $\frac14$.

# %%
### BEGIN SOLUTION
### GIVEN bound_by_hand = ...
# pooling: 3/2 rounded up; block: the skip counts 1, the branch |W| times 1/4
bound_by_hand = 2 * (1 + 1.2 / 4) / 0.4
### END SOLUTION

your_turn("3.A")

# %% [markdown]
# As code it takes a few lines. A layer that we do not know must be an error, never a silent 1:

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
library = certificates.lipschitz_bound(network, (4,))  # knows more layers; (4,): shape of the input
print(f"largest measured slope {measured:.2f} <= product bound {bound:.2f} (library {library:.2f})")
assert measured <= bound and abs(bound / library - 1) < 1e-6

# %% [markdown]
# Now a typical mistake. Forget the skips, as if $x+g(x)$ were $g(x)$:

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
# *Proof.* Claim 3.5, layer by layer, and $1+hL\le e^{hL}$. With $g(x)=Lx$ each layer multiplies by $1+hL$. $\square$
#
# Take four kinds of layers, all with $L=1$ and $h=0.1$, in eight dimensions. The random layers get a new $W$ and $b$ each time, the others keep theirs:

# %%
h = 0.1
width = 8
deepest = 80
draw = torch.Generator().manual_seed(3)


def unit_norm(W):
    return W / torch.linalg.matrix_norm(W, 2)


fixed = unit_norm(torch.randn(width, width, generator=draw))  # the A of the downhill layers
turn = unit_norm(fixed - fixed.T)  # S, skew-symmetric: S' = -S
branches = {
    "identity": lambda x, W, b: x,
    "random": lambda x, W, b: torch.tanh(x @ W.T + b),
    "turning": lambda x, W, b: x @ turn.T,
    "downhill": lambda x, W, b: -torch.tanh(x @ fixed.T) @ fixed,
}

# %% [markdown]
# At depth 50 the bound is $1.1^{50}=117.4$ for each of them.
#
# **Predict first.** How large is the largest slope that we measure at 20 points in the *random* network of depth 50?

# %%
my_guess_3 = ...  # a number


# %% jupyter={"source_hidden": true} tags=["reveal"]
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
at_50 = measured_slopes["random"][50].item()
print(f"random layers, depth 50: measured {at_50:.2f} <= bound {bounds[50]:.2f}")
reply(
    my_guess_3,
    round(at_50, 1),
    "The directions differ from layer to layer, and most tanh slopes are below 1.",
    wrong={117.4: "that is the bound, and random layers do not work together."},
    within=0.5,
)

# %%
live_depth = figures.slopes_over_depth(measured_slopes, bounds, h)
live_depth.still(N=50)

# %%
live_depth

# %% [markdown]
# Move the depth. In all four panels the bound is the same. The slopes measured at 20 points (lower bounds) are not: the identity attains the bound, random and turning layers grow slowly,
# and walking downhill does not grow at all. **The product bound sees only the sizes of the layers, not how they fit together.**
# Lesson 5 builds networks from downhill layers and replaces the factor $1+hL$ by 1.
#
# ### How far off can a product be?
#
# Two tiny networks: $|x|=\mathrm{relu}(x)+\mathrm{relu}(-x)$, and $\mathrm{relu}(x)-\mathrm{relu}(x)=0$.
# Both have the shape $w_2^\top\,\mathrm{relu}(w_1x)$ with vectors $w_1,w_2$ of norm $\sqrt2$. The product bound is 2, the truths are 1 and 0.
#
# > **Claim 3.7 (arbitrarily loose).** For every factor $q$ there is a network whose product bound exceeds its Lipschitz constant more than $q$ times.
#
# *Proof.* Compose $|x|$ with itself $N$ times: the map is still $|x|$, the product is $2^N$. $\square$


# %%
def two_layers(w1, w2):
    first = nn.Linear(1, 2, bias=False)
    second = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.tensor(w1)[:, None])
        second.weight.copy_(torch.tensor(w2)[None])
    return nn.Sequential(first, nn.ReLU(), second)


absolute = two_layers([1.0, -1.0], [1.0, 1.0])
ten_times = nn.Sequential(*[*absolute] * 10)
truth = norms.jacobian_norms(ten_times, torch.tensor([[-1.0], [1.0]])).max().item()
print(f"|x| ten times: product bound {product_bound(ten_times):.0f}, truth {truth:.0f}")

# %% [markdown]
# Exact constants are out of reach for large networks: already for two layers, computing them is NP-hard (no fast method is known, and hardly anybody expects one; Scaman and Virmaux, 1805.10965).
# So one *encloses* the constant, from below and from above.
#
# *Exercise 3.2 and Exercise 3.4 ask for product bounds.*
#
# ### ★ Exact, at a price
#
# At each input a ReLU unit is either on or off. Write $D$ for the diagonal matrix with 1 for "on" and 0 for "off".
#
# > **Claim 3.8 (patterns).** $\mathrm{Lip}\big(W_2\,\mathrm{relu}(W_1x+b)\big)\le\max_D\|W_2DW_1\|\le\|W_2\|\,\|W_1\|$, the maximum taken over all on/off patterns $D$.
# > If the rows of $W_1$ are linearly independent, the first inequality is an equality.
#
# *Proof.* Where no unit switches, the Jacobian is $W_2DW_1$ for one of these $D$, and Claim 3.1 applies. If the rows are independent, $W_1x+b$ takes every value, so every pattern occurs. $\square$
#
# The price is $2^m$ patterns for $m$ units. Without independent rows it is a bound only: both units of $\mathrm{relu}(x)-\mathrm{relu}(x)$ switch together, and the pattern "one on, one off", with slope 1, never occurs.

# %%
W1 = torch.randn(8, 10, generator=generator)
W2 = torch.randn(3, 8, generator=generator)
patterns = torch.tensor(list(itertools.product([0.0, 1.0], repeat=8)))
exact = torch.linalg.matrix_norm((W2 * patterns[:, None, :]) @ W1, 2).max().item()
product = (torch.linalg.matrix_norm(W2, 2) * torch.linalg.matrix_norm(W1, 2)).item()
print(f"{len(patterns)} patterns, 8 units: exact constant {exact:.2f} <= product {product:.2f}")
assert exact < product

# %% [markdown]
# ## 3.4 Power iteration
#
# **Question.** How do we find $\|A\|$ when $A$ is too large for a singular value decomposition?
#
# The direction $v$ that $A$ stretches most is an eigenvector of $A^\top A$. So take any vector and multiply it by $A^\top A$ again and again. The strongest direction wins. The estimate of the norm is $\|Av\|$.
#
# **Your turn 3.B.** Write one step: from a vector $v$ of shape $(n,)$, of any length, to the vector of length 1 along $A^\top Av$. The matrix $A$ has shape $(m,n)$, and $A^\top Av\ne0$.


# %%
def improved(A, v):
    """The unit vector along A' A v."""
    ### BEGIN SOLUTION
    w = A.T @ (A @ v)
    return w / w.norm()
    ### END SOLUTION


your_turn("3.B")


# %%
def library_step(A, v):
    return norms.power_iteration(lambda v: A @ v, lambda w: A.T @ w, v, steps=1)[1]


def power_iteration(A, v, steps):
    """Estimate |A v| of the norm of A, after this many steps from v."""
    step = improved if passed("3.B") else library_step
    v = v / v.norm()
    for _ in range(steps):
        v = step(A, v)
    return (A @ v).norm().item()


seeded = torch.Generator().manual_seed(0)
A = torch.randn(64, 64, generator=seeded)
start = torch.randn(64, generator=seeded)
sigma = torch.linalg.svdvals(A)  # the exact singular values, the largest first
for steps in (0, 1, 5, 20, 100):
    print(f"{steps:3d} steps: estimate / norm {power_iteration(A, start, steps) / sigma[0]:.3f}")

# %% [markdown]
# > **Claim 3.9 (power iteration).** Let the start $v_0$ satisfy $Av_0\ne0$. The estimate never exceeds $\|A\|$ and never decreases from step to step. In exact arithmetic it converges to $\|A\|$
# > unless the start is orthogonal to every direction that $A$ stretches most.
#
# *Why.* No unit vector is stretched by more than $\|A\|$. In the basis of singular vectors, $i$ steps multiply the $j$-th coefficient by $\sigma_j^{2i}$, so the largest $\sigma_j$ with a coefficient not 0 wins.
#
# <details><summary>Why the estimate never decreases</summary>
#
# Let $w=Av\ne0$ with $\|v\|=1$, so the present estimate is $\|w\|$, and the next vector points along $A^\top w$.
#
# 1. $\|w\|^2=\langle Av,w\rangle=\langle v,A^\top w\rangle\le\|A^\top w\|$, by the Cauchy–Schwarz inequality.
# 2. $\|A^\top w\|^2=\langle AA^\top w,w\rangle\le\|AA^\top w\|\,\|w\|$, for the same reason.
# 3. So the next estimate is $\|AA^\top w\|/\|A^\top w\|\ge\|A^\top w\|/\|w\|\ge\|w\|$. $\square$
#
# </details>
#
# A start without any part in the best direction finds the second best. The picture shows what is missing to the norm:

# %%
best = torch.linalg.svd(A).Vh[0]
spoilt = start - (start @ best) * best  # remove the best direction
counts = range(0, 49, 3)
missing = [1 - power_iteration(A, start, k) / sigma[0] for k in counts]
missing_spoilt = [1 - power_iteration(A, spoilt, k) / sigma[0] for k in counts]
figures.from_below(counts, missing, missing_spoilt, 1 - sigma[1] / sigma[0])

# %% [markdown]
# What does "from below" cost? Lesson 5 takes steps $x\mapsto x-\tau A^\top Ax$, which do not expand as long as $\tau\le2/\|A\|^2$. The Lipschitz constant of such a step is $\|I-\tau A^\top A\|$, and the direction $v$ with $A^\top Av=\|A\|^2v$ is multiplied by $1-\tau\|A\|^2$.
#
# **Predict first.** After 5 steps the estimate was about 92 % of the norm. Somebody takes it for the norm and uses $\tau=2/\text{estimate}^2$. What is the Lipschitz constant of the step?

# %%
my_guess_4 = ...  # a number

# %% tags=["reveal"]
constant_after = {}
for steps in (1, 5, 20, 100, 500):
    tau = 2 / power_iteration(A, start, steps) ** 2
    constant_after[steps] = torch.linalg.matrix_norm(torch.eye(64) - tau * A.T @ A, 2).item()
    print(f"{steps:3d} steps of power iteration: Lipschitz constant {constant_after[steps]:.2f}")
because = "The best direction is multiplied by 1 - 2 (norm / estimate)^2."
reasons = {
    1: "that needs the norm itself.",
    1.17: "tau has the square of the estimate.",
    1.08: "that is norm / estimate, but the step is not multiplied by it.",
}
assert 1.2 < constant_after[5] < 1.5 and constant_after[500] < 1.001
reply(my_guess_4, constant_after[5], because, wrong=reasons, within=0.03)

# %% [markdown]
# Remember the rule: **training may use an estimate, a certificate must use a guaranteed upper bound.** (A *certificate* is a proof that no small change of the input changes the answer; lesson 7 is about them.)
#
# *Exercise 3.6 asks for one step of power iteration for a convolution.*
#
# ### ★ Warm starts
#
# In training the weights change little from one update to the next. So keep $v$ and make one more step from there, a **warm start**. Compare with one step from a new random vector each time.
# We use the library's `norms.power_iteration`. It takes functions instead of a matrix, so it also works for convolutions.


# %% jupyter={"source_hidden": true}
def one_iteration(W, v):
    return norms.power_iteration(lambda v: W @ v, lambda w: W.T @ w, v, steps=1)


noise = torch.Generator().manual_seed(1)
weights = A.clone()
warm_v = start
warm = []
cold = []
for _ in range(200):
    update = 0.01 * torch.randn(64, 64, generator=noise)  # stands for an update in training
    weights = weights + update
    norm = torch.linalg.matrix_norm(weights, 2)
    estimate, warm_v = one_iteration(weights, warm_v)
    warm.append((estimate / norm).item())
    cold.append((one_iteration(weights, torch.randn(64, generator=noise))[0] / norm).item())
print(f"worst of the last 100 updates: warm {min(warm[100:]):.2f}, new start {min(cold[100:]):.2f}")
assert max(warm) <= 1 + 1e-12 and min(warm[100:]) > 0.95 > 0.85 > min(cold[100:])

# %% [markdown]
# The warm estimate is good, and it is still a lower bound.
#
# ## 3.5 Where is the network most sensitive?
#
# **Question.** How do you find large lower bounds for a network that is not linear?
#
# Train a small network to tell two half moons apart.

# %% tags=["nbval-ignore-output"]
points, labels = data.two_moons(300, noise=0.1, seed=0)
_ = torch.manual_seed(0)
classifier = nn.Sequential(
    nn.Linear(2, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 2)
)
history = training.fit(
    classifier, points, labels, F.cross_entropy, epochs=150, batch_size=100, learning_rate=0.02
)
_ = classifier.requires_grad_(False)  # the weights stay as they are

# %% [markdown]
# First look at the largest local slope at the training points. Then climb from there: move $x$ uphill on $\|Df(x)\|$, in shorter and shorter steps. PyTorch differentiates through the Jacobian.


# %%
def local_slope(f, x):
    return torch.linalg.matrix_norm(torch.func.jacrev(f)(x), 2)  # jacrev: the Jacobian at x


def climb(f, x, steps=80, size=0.03):
    """The points visited by gradient ascent on the local slope."""
    path = [x]
    for k in range(steps):
        uphill = torch.func.grad(partial(local_slope, f))(x)
        x = x + size * (1 - k / steps) * uphill / uphill.norm().clamp_min(1e-12)
        path.append(x)
    return torch.stack(path)


# %% tags=["nbval-ignore-output"]
at_data = norms.jacobian_norms(classifier, points)
path = climb(classifier, points[at_data.argmax()])
climbed = norms.jacobian_norms(classifier, path).max().item()
bound = product_bound(classifier)
print(f"typical slope at the data (median) {at_data.median():8.1f}")
print(f"largest slope at the data          {at_data.max():8.1f}")
print(f"largest slope after climbing       {climbed:8.1f}")
print(f"product bound                      {bound:8.1f}")
assert at_data.max() <= climbed <= bound

# %% jupyter={"source_hidden": true} tags=["nbval-ignore-output"]
columns = torch.linspace(-1.6, 2.6, 106)
rows = torch.linspace(-1.3, 1.8, 79)
mesh = torch.cartesian_prod(rows, columns).flip(1)
surface = norms.jacobian_norms(classifier, mesh).reshape(79, 106)
logits = classifier(mesh)
decision = (logits[:, 1] - logits[:, 0]).reshape(79, 106)
figures.local_slopes(columns, rows, surface, decision, points, labels, path)

# %% [markdown]
# The climb ends near the decision curve, between the two classes, where there are few data. So slopes at the data underestimate, and the truth lies somewhere between "after climbing" and "product bound".
# Lesson 7 climbs too, on a loss instead of the slope, to *attack* networks.
#
# <details><summary>And if the Jacobian is too large to be written down?</summary>
#
# Power iteration for $\|Df(x)\|$ needs only $Df(x)^\top w$ and $Df(x)v$, for one vector at a time. The first is what backpropagation computes. It is linear in $w$, with the matrix $Df(x)^\top$;
# so backpropagating through *it* multiplies by the transpose of this matrix, and gives $Df(x)v$. Fix the direction $v$ found in this way, move $x$ uphill on $\|Df(x)v\|$, and begin again.
#
# </details>
#
# ### ★ Nothing to climb
#
# Now replace tanh by ReLU. The Jacobian is then constant on pieces; it jumps, but its gradient is zero. For such networks climb on the slope of *pairs* with some distance instead, or sample many points.

# %%
_ = torch.manual_seed(0)
relu_network = nn.Sequential(nn.Linear(2, 24), nn.ReLU(), nn.Linear(24, 2)).requires_grad_(False)
uphill = torch.func.grad(partial(local_slope, relu_network))(points[0])
print("gradient of the local slope is zero:", bool((uphill == 0).all()))

# %% [markdown]
# ## 3.6 Convolutions
#
# **Question.** A convolution is a linear map of images. What is its norm?
#
# Start in one dimension with the **kernel** $K=(-1,1,-1)$, the three weights, and signals of $n=5$ numbers: $y_j=-x_{j-1}+x_j-x_{j+1}$. At the borders there are two conventions.
# **Zero padding** puts zeros outside. **Circular padding** glues the ends together, so that the signal lives on a ring, and an image on a *torus*. Look at the two matrices:

# %%
trap = torch.tensor([-1.0, 1.0, -1.0])


def conv1d(x, circular=False):
    padded = F.pad(x, (1, 1), mode="circular" if circular else "constant")
    return F.conv1d(padded, trap[None, None])


zero_matrix = norms.dense_matrix(conv1d, (1, 5))  # pushes the unit vectors through the map
ring_matrix = norms.dense_matrix(partial(conv1d, circular=True), (1, 5))
figures.two_matrices(zero_matrix, ring_matrix)

# %% [markdown]
# The circular matrix is the easy one. Put in a wave $x_j=e^{i\omega j}$ whose frequency $\omega$ fits on the ring, a multiple of $2\pi/n$:
#
# $$y_j=-e^{i\omega(j-1)}+e^{i\omega j}-e^{i\omega(j+1)}=\big(1-e^{-i\omega}-e^{i\omega}\big)\,e^{i\omega j}=(1-2\cos\omega)\,x_j.$$
#
# The same wave comes out, multiplied by a number $\hat K(\omega)=1-2\cos\omega$, the **symbol** of the kernel. All signals are sums of such waves, so the largest $|\hat K(\omega)|$ is the norm.
#
# **Your turn 3.C.** Do the same for a kernel of any three real numbers $(a,b,c)$ with $y_j=a\,x_{j-1}+b\,x_j+c\,x_{j+1}$: return $|\hat K(\omega)|$, a real number for each frequency. `kernel` has shape $(3,)$, `omega` and the result have shape $(m,)$.
# `torch.polar(r, phi)` computes $r\,e^{i\varphi}$, with `r` and `phi` of the same shape.


# %%
def size_of_symbol(kernel, omega):
    """|K^(omega)| of a kernel of three numbers at each frequency of omega."""
    ### BEGIN SOLUTION
    wave = torch.polar(torch.ones_like(omega), omega)  # e^(i omega)
    return (kernel[0] / wave + kernel[1] + kernel[2] * wave).abs()
    ### END SOLUTION


your_turn("3.C")

# %% [markdown]
# An image is a sum of waves with two frequencies, $\omega=(\omega_1,\omega_2)$. With several channels, $\hat K(\omega)$ is a small matrix of size (channels out) × (channels in).
#
# > **Claim 3.10 (torus).** For circular padding that keeps the size of the image, and stride 1, the norm is exactly $\max_\omega\|\hat K(\omega)\|$ over the frequencies $\omega$ of the torus.
#
# *Proof.* The discrete Fourier transform, which writes an image as a sum of waves, keeps all lengths, up to one common factor. It turns the convolution into one separate matrix $\hat K(\omega)$ per frequency. The norm is the largest norm of these blocks. $\square$
#
# The function `fft2` computes all symbols at once (Sedghi, Gupta and Long, 1805.10408). With stride 2 three quarters of the outputs are left out, and the largest symbol is no longer the norm:


# %%
def torus_norm(kernel, side):
    """Largest symbol norm of a kernel (out, in, k, k) on a torus with side >= k."""
    symbols = torch.fft.fft2(kernel, s=(side, side))  # (out, in, side, side)
    return torch.linalg.matrix_norm(symbols.permute(2, 3, 0, 1), 2).max().item()


def conv_norm(kernel, n, mode="constant", stride=1):
    """Exact norm for 3 x 3 kernels on n x n images, from the matrix; "constant": zero padding."""

    def convolve(x):
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode=mode), kernel, stride=stride)

    matrix = norms.dense_matrix(convolve, (kernel.shape[1], n, n))
    return torch.linalg.matrix_norm(matrix, 2).item()


kernel = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))  # 3 channels to 4
circular = conv_norm(kernel, 8, "circular")
print(f"8 x 8 torus: norm {circular:.4f} = largest symbol {torus_norm(kernel, 8):.4f}")
print(f"the same with stride 2: norm {conv_norm(kernel, 8, 'circular', stride=2):.4f}")
assert abs(circular - torus_norm(kernel, 8)) < 1e-9

# %% [markdown]
# Most networks use zero padding. In the picture above it leaves out the two corners.
#
# **Predict first.** For the kernel $(-1,1,-1)$ and $n=5$, is the zero-padded norm smaller than, equal to, or larger than the circular norm?

# %%
my_guess_5 = ...  # "smaller", "equal" or "larger"

# %% tags=["reveal"]
zero = torch.linalg.matrix_norm(zero_matrix, 2).item()
ring = torch.linalg.matrix_norm(ring_matrix, 2).item()
print(f"zero padding: {zero:.3f} = 1 + sqrt(3)")
print(f"circular:     {ring:.3f}, by FFT {torch.fft.fft(trap, n=5).abs().max():.3f}")
assert zero > ring + 0.1
because = "On a ring of five two equal signs of the wave +, -, +, - meet at the seam."
reasons = {"smaller": "fewer entries may give a larger norm.", "equal": "the corners count."}
reply(my_guess_5, "larger", because, wrong=reasons)

# %% [markdown]
# **Larger.** A circular FFT of the same size is a popular "bound" for zero-padded convolutions, and it is none. The left panel shows why: the peak of $|\hat K|$ sits at $\omega=\pi$, the wave $+,-,+,-$, and this wave does not fit on a ring of five.


# %%
def symbol_of_the_trap(kernel, omega):
    return (1 - 2 * omega.cos()).abs()


symbol = size_of_symbol if passed("3.C") else symbol_of_the_trap
lengths = range(3, 17)
zero_norms = [torch.linalg.matrix_norm(norms.dense_matrix(conv1d, (1, n)), 2) for n in lengths]
rings = [torch.fft.fft(trap, n=n).abs().max() for n in range(3, 18)]
figures.waves_on_a_ring(partial(symbol, trap), lengths, zero_norms, rings)

# %% [markdown]
# The cure is one more cell. On a ring of $n+1$ the extra cell can hold a zero, and then the two ends do not touch.
#
# > **Claim 3.11 (zero padding).** Let the kernel have an odd side $k$ and the images side $n$, zero-padded by $(k-1)/2$. The norm is at most the norm on any torus of side $n+(k-1)/2$ or more,
# > and so at most $\sup_\omega\|\hat K(\omega)\|$ over *all* frequencies.
#
# <details><summary>Proof of Claim 3.11</summary>
#
# Put the image on the torus and zeros into the other rows and columns, at least $(k-1)/2$ of each. On the image's own pixels, the torus convolution then computes the zero-padded one: no window reaches around far enough to meet the image again.
# So the zero-padded matrix is a part of the torus matrix: some rows and columns are left out. That never increases a norm. $\square$
#
# </details>
#
# The library's `conv_norms.conv_norm_bound` works in this way, also for strides, and includes all rounding errors:

# %%
exact = conv_norm(kernel, 8)
library = conv_norms.conv_norm_bound(kernel, (8, 8), padding=(1, 1))
larger = torus_norm(kernel, 9)
finest = torus_norm(kernel, 128)  # close to the supremum over all frequencies, from below
print(f"exact {exact:.3f} <= torus of side 9 {larger:.3f} <= all frequencies {finest:.3f}")
print(
    f"the library's bound {library:.3f} (a little better; the last part of this section says why)"
)
assert exact <= library <= larger + 1e-6 and larger <= finest

# %% [markdown]
# > **Claim 3.12 (image size).** The norm of a zero-padded convolution does not decrease when the images get larger.
#
# *Proof.* The matrix for small images is a part of the matrix for large ones: surround the small image with zeros. $\square$
#
# So a bound computed for small images is *not* a bound for large ones. (On a torus the claim fails: for $(-1,1,-1)$ the ring of 4 has norm 3, the ring of 5 has 2.618.) Divide the kernel by its norm on $4\times4$ images, and it looks *non-expansive* (constant at most 1):

# %%
normalised = kernel / conv_norm(kernel, 4)
for n in (4, 6, 8, 12):
    print(f"{n:2d} x {n:2d} images: norm {conv_norm(normalised, n):.3f}")
bound = conv_norms.conv_norm_bound(normalised, (32, 32), padding=(1, 1))
print(f"32 x 32 images: norm at most {bound:.3f}")

# %% [markdown]
# ### The reshaped matrix
#
# PyTorch's `spectral_norm` writes the kernel as a matrix $R$ with one row per output channel and $c_\text{in}\,k^2$ columns, and takes its norm. But the norm of what? A convolution applies $R$ to every patch of the image, and the patches *overlap*.
#
# > **Claim 3.13 (reshaped matrix).** If at least one window lies inside the image, $\|R\|\le\|\mathrm{conv}\|\le\lceil k/s\rceil\,\|R\|$, where $s$ is the stride.
#
# <details><summary>Proof of Claim 3.13</summary>
#
# Put the patch that $R$ stretches most into the window and zeros elsewhere: this gives the first inequality. For the second, sum $\|R\,\text{patch}\|^2\le\|R\|^2\|\text{patch}\|^2$ over all windows; each pixel is in at most $\lceil k/s\rceil^2$ of them. $\square$
#
# </details>
#
# So $\|R\|$ is in general too small, and "spectrally normalised" convolutions may expand. With no window inside the image, even the lower inequality can fail:

# %%
R = torch.linalg.matrix_norm(kernel.flatten(1), 2).item()
print(f"8 x 8 images: ||R|| {R:.2f} <= exact {exact:.2f} <= 3 ||R|| {3 * R:.2f}")
single = conv_norm(kernel, 1)
print(f"1 x 1 images, only the centre of the kernel acts: exact {single:.2f} < ||R||")
layer = nn.Conv2d(3, 4, 3, padding=1, bias=False)
layer = nn.utils.parametrizations.spectral_norm(layer, n_power_iterations=50).eval()
norm = torch.linalg.matrix_norm(norms.dense_matrix(layer, (3, 8, 8)), 2).item()
print(f"PyTorch's 'spectrally normalised' layer stretches by more than 1.2: {norm > 1.2}")

# %% [markdown]
# ### Break a bound yourself
#
# Four numbers, as multiples of the exact zero-padded norm: the largest symbol on the torus of side $n$, that on the torus of side $n+1$, $\|R\|$ and $3\,\|R\|$.
# **A bar below the line is not a bound**: it is drawn orange and hatched.
# On the left, the exact norm and the torus of the same side over the image side $n$, as fractions of the largest symbol over all frequencies.

# %% jupyter={"source_hidden": true}
row = torch.zeros(1, 1, 3, 3)
row[0, 0, 1] = trap
centre = torch.zeros(1, 1, 3, 3)
centre[0, 0, 1, 1] = 1
edge = torch.tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])[None, None]
kernels = {
    "trap (-1, 1, -1)": row,
    "blur": torch.full((1, 1, 3, 3), 1 / 9),
    "edge": edge,
    "sharpen": centre + edge,
    "random": torch.randn(1, 1, 3, 3, generator=torch.Generator().manual_seed(1)),
    "random, 3 to 4 channels": kernel,
}
sides = range(2, 11)


def same_torus(K, n):
    """Largest symbol on the torus of side n, also for n = 2, where the kernel wraps around."""
    return conv_norms.conv_norm_bound(K, (n, n), padding=(1, 1), padding_mode="circular")


def four_numbers(K, n):
    """The exact zero-padded norm, and the four numbers of the figure from left to right."""
    R = torch.linalg.matrix_norm(K.flatten(1), 2).item()
    return conv_norm(K, n), [same_torus(K, n), torus_norm(K, n + 1), R, 3 * R]


table = {(name, n): four_numbers(K, n) for name, K in kernels.items() for n in sides}
highest = {name: torus_norm(K, 64) for name, K in kernels.items()}
live_kernel = figures.bounds_of_a_kernel(table, highest, sides)
live_kernel.still(kernel_name="trap (-1, 1, -1)", n=5)

# %%
live_kernel

# %% [markdown]
# Try the trap with $n=4,5,6$: the first bar fails at odd sides only. Try the random kernels with $n=2$, where no window lies inside the image. Let $n$ grow and watch the black diamonds on the left rise towards 1.
# The second bar is always a bound, and for $n=10$ it is at most 6 % too large for these kernels.
#
# *Exercise 3.1 asks for the norm of a zero-padded convolution.*
#
# ### ★ Sums of absolute values
#
# > **Claim 3.14 (absolute sums).** Let $K_{ij}$ be the matrix (channels out × channels in) of the kernel at position $(i,j)$, and $A$ the matrix of the convolution. Then $\|A\|\le\sum_{ij}\|K_{ij}\|$, and
# > $\|A\|^2\le\max_r\sum_c|A^\top A|_{rc}\le\|A\|_1\|A\|_\infty$, where $\|A\|_1$ and $\|A\|_\infty$ are the largest absolute column and row sums.
#
# *Proof.* The convolution is a sum of shifts, each followed by one $K_{ij}$, and shifts do not increase norms. Next, $\|A\|^2$ is the largest eigenvalue of $A^\top A$, and by **Gershgorin's theorem** no eigenvalue exceeds the largest absolute row sum.
# Finally row sums of $|A^\top A|$ are at most those of $|A^\top|\,|A|$. $\square$
#
# All are guaranteed, and often too large. Leave out the bars $|\cdot|$ and they are wrong: the entries of an edge detector sum to 0.

# %%
whole = norms.dense_matrix(partial(F.conv2d, weight=kernel, padding=1), (3, 8, 8))
taps = torch.linalg.matrix_norm(kernel.permute(2, 3, 0, 1), 2).sum().item()
gershgorin = (whole.T @ whole).abs().sum(1).max().sqrt().item()
sums = (whole.abs().sum(0).max() * whole.abs().sum(1).max()).sqrt().item()
print(f"exact {exact:.2f} <= Gershgorin {gershgorin:.2f} <= row and column sums {sums:.2f}")
print(f"exact {exact:.2f} <= sum of |K_ij| {taps:.2f}")
assert exact <= gershgorin <= sums and exact <= taps
print(f"edge detector: sum without bars {edge.sum():.0f}, exact norm {conv_norm(edge, 8):.2f}")

# %% [markdown]
# ### ★ Why the library's bound is a little better
#
# Multiply all pixels by numbers $e^{i\varphi j}$, $j$ being the column, before a convolution, and by $e^{-i\varphi j}$ after it. No length changes, so the norm stays. But the symbols are now those of the frequencies $\omega+\varphi$.
# So the grid of frequencies in Claim 3.11 may be shifted. The library tries half a grid spacing along each axis, both, and none, and takes the smallest of the four bounds. For the kernel $(-1,1,-1)$ and $n=5$ it finds 2.732, the exact norm, where the unshifted ring of six says 3.

# %% jupyter={"source_hidden": true}
best_of_four = conv_norms.conv_norm_bound(row, (5, 5), padding=(1, 1))
print(f"exact {conv_norm(row, 5):.3f} <= best of four {best_of_four:.3f}", end=" ")
print(f"<= torus of side 6 {torus_norm(row, 6):.3f}")
assert conv_norm(row, 5) <= best_of_four < torus_norm(row, 6) - 0.2

# %% [markdown]
# ## 3.7 A whole network, and yours
#
# **Question.** What does all this say about a real network for images?
#
# `certificates.lipschitz_bound` follows the image through the layers and multiplies: convolutions by Claim 3.11, poolings by Claim 3.4, activations by Claim 3.2, skips by Claim 3.5. Here is the chain for a small network:


# %%
def report(network, shape):
    """Print the bound of each layer, the shape behind it, and the product so far."""
    product = 1.0
    for layer in network:
        factor = certificates.lipschitz_bound(layer, shape)
        product = product * factor
        shape = certificates.output_shape(layer, shape)
        print(f"{type(layer).__name__:16s} {factor:6.2f}  {shape!s:13s} product {product:8.2f}")


_ = torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(1, 8, 3, stride=2, padding=1),
    nn.ReLU(),
    plain_layers.ResidualBlock(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Tanh())),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(72, 5),
)
report(network, (1, 12, 12))

# %% [markdown]
# Which layer costs most? Which could you change, and by what? A layer without a known bound is refused:

# %%
try:
    certificates.lipschitz_bound(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), (4,))
except TypeError as error:
    print("refused:", error)

# %% [markdown]
# For a good reason. Layer normalisation divides by the standard deviation of its input, and this may be tiny. Only the $\epsilon=10^{-5}$ that PyTorch adds to the variance keeps the constant finite: with weights 1 it is $1/\sqrt\epsilon\approx316$.

# %% jupyter={"source_hidden": true}
nearly_equal = 1e-4 * torch.tensor([[1.0, -1.0, 1.0, -1.0]])
slope = norms.jacobian_norms(nn.LayerNorm(4), nearly_equal).item()
print(f"local slope of nn.LayerNorm: {slope:.0f} <= {1e-5**-0.5:.0f}")

# %% [markdown]
# ### ★ Your network
#
# **Your turn 3.D.** Enclose a network. Given `network` and a batch `images` of shape $(b,c,h,w)$, return two numbers: the largest local slope at these images, and the library's guaranteed bound for images of this shape. Both functions stand in Section 3.3.


# %%
def enclosed(network, images):
    """A lower and an upper bound of the Lipschitz constant of a network for images (b, c, h, w)."""
    ### BEGIN SOLUTION
    lower = norms.jacobian_norms(network, images).max().item()
    upper = certificates.lipschitz_bound(network, images.shape[1:])
    return lower, upper
    ### END SOLUTION


your_turn("3.D")

# %% [markdown]
# Now bound *your own* network. Put it in the place of `mine`: load your weights, call `.eval()`, and give the shape of your images. This one, not trained, is for colour images of 32 × 32 pixels.

# %%
mine = nn.Sequential(
    plain_layers.Normalization([0.49, 0.48, 0.45], [0.25, 0.24, 0.26]),  # a factor 1 / 0.24
    nn.Conv2d(3, 8, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(3, stride=2, padding=1),
    plain_layers.ResidualBlock(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.GELU())),
    plain_layers.ScaledAvgPool2d(4),
    nn.Flatten(),
    nn.Linear(8 * 4 * 4, 10),
).eval()
shape = (3, 32, 32)
report(mine, shape)
if passed("3.D"):
    images = torch.rand(8, *shape, generator=generator)
    lower, upper = enclosed(mine, images)
    print(f"largest measured slope {lower:.2f} <= Lipschitz constant <= {upper:.2f}")
    assert lower <= upper

# %% [markdown]
# Compare with the small network above: which layer costs most in yours?
#
# ## Recap
#
# * Each layer has a constant (Claim 3.2 to Claim 3.4). GELU stretches a little, overlapping max pooling a lot.
# * Constants multiply, a skip adds 1 (Claim 3.5), so the bound grows exponentially with depth (Claim 3.6). It may be arbitrarily loose (Claim 3.7), and to be exact is expensive (Claim 3.8).
# * Power iteration finds the norm of a matrix from below, never above (Claim 3.9).
# * Local slopes are lower bounds (Claim 3.1); climb to make them larger.
# * For convolutions use the Fourier transform on a torus that is larger than the image (Claim 3.10, Claim 3.11), for the image size at hand (Claim 3.12). The torus of the same side and the reshaped matrix (Claim 3.13) are no upper bounds; sums of absolute values (Claim 3.14) are, but coarse ones.
#
# ## What can go wrong in practice
#
# * *A lower bound in a certificate.* Power iteration, slopes at the data, `spectral_norm` on a convolution: all come from below.
# * *A bound for the wrong image size.* Enlarging the images may enlarge the norm.
# * *A forgotten layer.* A skip, an input normalisation by $1/0.2=5$, overlapping max pooling with 3. Unknown layers must raise an error.
# * *A bound that is never tested.* Measure slopes at many points, climb, and compare.
# * *Small is not the aim.* If wasteful layers push the constant to 0.001, a loss with a fixed scale can hardly tell the classes apart. Lesson 5 shows how to have exactly 1 and waste nothing.
#
# ## References
#
# * K. Scaman, A. Virmaux: *Lipschitz regularity of deep neural networks: analysis and efficient estimation*, arXiv 1805.10965.
# * H. Sedghi, V. Gupta, P. Long: *The singular values of convolutional layers*, arXiv 1805.10408.
# * T. Miyato et al.: *Spectral normalization for generative adversarial networks*, arXiv 1802.05957.
# * Y. Tsuzuku, I. Sato, M. Sugiyama: *Lipschitz-margin training*, arXiv 1802.04034.
# * M. J. Ehrhardt, D. Murari, F. Sherry: *Stable neural networks and connections to continuous dynamical systems*, arXiv 2510.22299.
