# %% [markdown]
# # Coursework 3. How sensitive is a network?
#
# Six exercises on [lesson 3](../03_lipschitz_bounds.ipynb): exact constants of layers, bounds of whole networks, and one step of the iteration that finds a norm.

# %% tags=["setup"]
# setup

# %%
import itertools
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from chapter_checks import check, passed
from chapter_utils import certificates, norms, plain_layers, plotting

plotting.use_house_style()
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

# %% [markdown]
# ## Exercise 3.1
#
# *Why it matters: a certificate that uses a wrong norm of a convolution protects nobody, and most quick formulas are wrong or too large.*
#
# Let $K$ be a kernel of shape $(c_\text{out},c_\text{in},k,k)$ with odd $k$. It acts on images of shape $(c_\text{in},n,n)$ with **zero padding** $(k-1)/2$ and stride 1, so the output has $n\times n$ pixels again.
# Return the exact spectral norm of this linear map (Section 3.6). The images are small, $n\le6$, so you can afford the whole matrix.
#
# <details><summary>Hint 1</summary>
#
# A linear map is known if you know what it does to the unit vectors: they are images with one bright pixel. `F.conv2d(images, K, padding=k // 2)` takes a batch of them. Each output, flattened, is a column of the matrix.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.linalg.matrix_norm(A, 2)` is the spectral norm; without the 2 you get another one. The Fourier transform is exact for circular padding only, and the reshaped kernel (Claim 3.13) gives a number that is too small.
#
# </details>


# %% tags=["answer:3.1"]
def convolution_norm(K, n):
    """Spectral norm of the zero-padded convolution with the kernel K (c_out, c_in, k, k) on n x n images."""
    ### BEGIN SOLUTION
    pixels = K.shape[1] * n * n
    bright = torch.eye(pixels).reshape(pixels, K.shape[1], n, n)
    rows = F.conv2d(bright, K, padding=K.shape[-1] // 2).flatten(1)
    return torch.linalg.svdvals(rows).max().item()
    ### END SOLUTION


# %%
if passed("3.1"):
    trap = torch.zeros(1, 1, 3, 3)
    trap[0, 0, 1] = torch.tensor([-1.0, 1.0, -1.0])
    print("kernel (-1, 1, -1) on each row of the image")
    for n in (3, 4, 5, 6):
        symbols = torch.fft.fft2(trap, s=(n, n))
        print(
            f"n = {n}: zero padding {convolution_norm(trap, n):.4f}, circular padding {symbols.abs().max():.4f}"
        )

# %% [markdown]
# ## Exercise 3.2
#
# *Why it matters: the product bound is what everybody computes. Here you see what it promises beside what is true.*
#
# Take a network with one input, $m$ hidden ReLU units and one output, $f(x)=\sum_iw_{2,i}\,\mathrm{relu}(w_{1,i}x+b_i)$, given by three vectors of shape $(m,)$. No entry of $w_1$ is 0.
# Return two numbers: the product bound (Claim 3.5), and the exact Lipschitz constant of $f$.
#
# <details><summary>Hint 1</summary>
#
# As matrices, $w_1$ is a column and $w_2$ a row. Their spectral norms are their Euclidean lengths.
#
# </details>
# <details><summary>Hint 2</summary>
#
# $f$ consists of straight pieces. The kinks are where a unit switches, $x=-b_i/w_{1,i}$. A piece may be very short, and a grid would miss it: look at one point between each pair of neighbouring kinks, and beyond the first and the last.
# Not every on/off pattern of Claim 3.8 occurs.
#
# </details>


# %% tags=["answer:3.2"]
def product_and_truth(w1, b, w2):
    """Product bound and exact Lipschitz constant of f(x) = sum_i w2_i relu(w1_i x + b_i); w1, b, w2 of shape (m,)."""
    ### BEGIN SOLUTION
    kinks = torch.sort(-b / w1)[0]
    padded = torch.cat([kinks[:1] - 2, kinks, kinks[-1:] + 2])
    places = padded[:-1] + padded.diff() / 2  # one in each straight piece
    is_on = torch.outer(places, w1) + b > 0
    steepest = (is_on.double() @ (w1 * w2)).abs().max()
    return (w1.norm() * w2.norm()).item(), steepest.item()
    ### END SOLUTION


# %%
if passed("3.2"):
    one, plus_minus = torch.ones(2), torch.tensor([1.0, -1.0])
    for name, w1, w2 in (
        ("relu(x) + relu(-x)", plus_minus, one),
        ("relu(x) - relu(x)", one, plus_minus),
    ):
        product, truth = product_and_truth(w1, torch.zeros(2), w2)
        print(f"{name:20s} product bound {product:.3f}, truth {truth:.3f}")
    random = torch.Generator().manual_seed(0)
    for m in (4, 16, 64, 256):
        w1, b, w2 = torch.randn(3, m, generator=random) / math.sqrt(m)
        product, truth = product_and_truth(w1, b, w2)
        print(f"{m:3d} random units: product bound {product:.3f}, truth {truth:.3f}")

# %% [markdown]
# ## Exercise 3.3
#
# *Why it matters: in many networks the max pooling with stride 1 or 2 is the layer that stretches most, and nobody suspects it.*
#
# Pooling layers with windows of $k\times k$ pixels and stride $s$, without padding, act on images of $n\times n$ pixels with one channel ($n\ge k$, as `nn.MaxPool2d(k, s)` and `nn.AvgPool2d(k, s)` do). Return the exact Lipschitz constant on images of **this size**:
# of max pooling, and of average pooling. Here $s$ may be smaller than $k$ (overlap), equal, or larger (gaps).
#
# <details><summary>Hint 1</summary>
#
# Average pooling is linear: build its matrix, for example with `norms.dense_matrix(nn.AvgPool2d(k, s), (1, n, n))`, and take its norm.
#
# </details>
# <details><summary>Hint 2</summary>
#
# For max pooling Claim 3.4 gives at most $\lceil k/s\rceil$, but on a small image perhaps no pixel lies in so many windows. Try it: switch on one pixel, on each place in turn. The *length* of the output counts, not the number of its bright pixels.
#
# </details>


# %% tags=["answer:3.3"]
def max_pool_constant(n, k, s):
    """Lipschitz constant of max pooling with k x k windows and stride s on images of n x n pixels."""
    ### BEGIN SOLUTION
    single_pixels = torch.eye(n * n).view(-1, 1, n, n)
    return F.max_pool2d(single_pixels, k, s).flatten(1).norm(dim=1).max().item()
    ### END SOLUTION


def average_pool_constant(n, k, s):
    """Lipschitz constant of average pooling with k x k windows and stride s on images of n x n pixels."""
    ### BEGIN SOLUTION
    pooling = norms.dense_matrix(nn.AvgPool2d(k, s), (1, n, n))
    return torch.linalg.svdvals(pooling).max().item()
    ### END SOLUTION


# %%
if passed("3.3"):
    for n, k, s in ((9, 3, 3), (9, 3, 2), (9, 3, 1), (3, 3, 1)):
        most, average = max_pool_constant(n, k, s), average_pool_constant(n, k, s)
        print(
            f"{n} x {n} images, windows {k}, stride {s}: maximum {most:.4f}, average {average:.4f}"
        )

# %% [markdown]
# ## Exercise 3.4
#
# *Why it matters: this is the function behind every certificate. It must follow each path through the network, and it must refuse what it does not know.*
#
# Write a function that computes the product bound of a network (Claim 3.5). Networks are built of
# `nn.Sequential` (perhaps inside another one), `nn.Linear`, `nn.ReLU`, `nn.Tanh`, `nn.Sigmoid`, `nn.GELU`, and `plain_layers.ResidualBlock`, which computes $x+\mathrm{branch}(x)$ and keeps its branch, again a network, as `block.branch`.
# Any other layer must raise an error. The constants of the activations are in Section 3.2; for GELU take 1.129.
#
# The library's `certificates.lipschitz_bound` does this and more. Write your own, in about ten lines.
#
# <details><summary>Hint 1</summary>
#
# The bound of a Sequential is the product of the bounds of its parts, and the bound of a block is 1 plus the bound of its branch. So the function calls itself.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Not the layers get a 1 for the skip, but the whole branch, once. And the norm of a weight is the spectral norm, not the Frobenius norm.
#
# </details>


# %% tags=["answer:3.4"]
def network_bound(network):
    """Product bound of a network of the seven kinds of layers above; raises an error for any other layer."""
    ### BEGIN SOLUTION
    if isinstance(network, nn.Sequential):
        return math.prod(network_bound(part) for part in network)
    if isinstance(network, plain_layers.ResidualBlock):
        return 1 + network_bound(network.branch)
    if isinstance(network, nn.Linear):
        return torch.linalg.svdvals(network.weight).max().item()
    known = {nn.ReLU: 1.0, nn.Tanh: 1.0, nn.Sigmoid: 0.25, nn.GELU: 1.129}
    if type(network) not in known:
        raise TypeError(f"no constant is known for {type(network).__name__}")
    return known[type(network)]
    ### END SOLUTION


# %%
if passed("3.4"):
    tenth = nn.Linear(2, 2)
    tenth.load_state_dict({"weight": 0.1 * torch.eye(2), "bias": torch.zeros(2)})
    for depth in (1, 10, 50):
        deep = nn.Sequential(*[plain_layers.ResidualBlock(tenth)] * depth)
        print(f"{depth:2d} blocks x + 0.1 x: bound {network_bound(deep):.1f}")
    _ = torch.manual_seed(0)
    classifier = nn.Sequential(
        nn.Linear(8, 16),
        plain_layers.ResidualBlock(nn.Sequential(nn.Linear(16, 16), nn.GELU())),
        nn.Sigmoid(),
        nn.Linear(16, 3),
    )
    slopes = norms.jacobian_norms(classifier, torch.randn(500, 8))
    print(
        f"a classifier: largest measured slope {slopes.max():.3f} <= bound {network_bound(classifier):.3f}"
    )

# %% [markdown]
# ## Exercise 3.5
#
# *Why it matters: new activations appear every year. Before you use one in a certified network, find its constant.*
#
# Given an activation $\sigma:\mathbb R\to\mathbb R$ as a function that acts on each entry of a tensor, return its Lipschitz constant (Claim 3.2), with an error of at most 1 %.
# All its steep places lie between $-20$ and 20, and none is narrower than 0.1. PyTorch can differentiate it.
#
# <details><summary>Hint 1</summary>
#
# Use a fine grid `t` over the whole interval. `torch.autograd.grad(sigma(t).sum(), t)` gives the derivative at each point of the grid at once; `t` needs `requires_grad=True`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A fall stretches distances as much as a climb.
#
# </details>


# %% tags=["answer:3.5"]
def activation_constant(sigma):
    """Largest size of the derivative of the activation sigma."""
    ### BEGIN SOLUTION
    grid = torch.linspace(-20, 20, 8001, requires_grad=True)
    (steepness,) = torch.autograd.grad(sigma(grid).sum(), grid)
    return steepness.abs().max().item()
    ### END SOLUTION


# %%
if passed("3.5"):
    candidates = {
        "gelu": F.gelu,
        "silu": F.silu,
        "mish": F.mish,
        "softsign": F.softsign,
        "snake": lambda t: t + torch.sin(t) ** 2,
    }
    for name, sigma in candidates.items():
        print(f"{name:12s} {activation_constant(sigma):.4f}")

# %% [markdown]
# ## Exercise 3.6
#
# *Why it matters: this step runs once in every update when a convolutional network is trained with bounded norms. It costs two convolutions, no matrix.*
#
# Write one warm step of power iteration for the zero-padded convolution $K$ of Exercise 3.1 (Section 3.4). Given a kernel of shape $(c_\text{out},c_\text{in},k,k)$ with odd $k$ and an image $v\ne0$ of shape $(c_\text{in},h,w)$, of any length, return
#
# * an estimate of the norm: at least $\|Kv\|/\|v\|$, and never above the true norm;
# * the new direction $v$, of length 1 and of the shape of the old one: $K^\top Kv$, normalised.
#
# Keep the dtype of the input, and leave `v` itself as it is.
#
# <details><summary>Hint 1</summary>
#
# The adjoint $K^\top$ is not the same convolution again. It leads from $c_\text{out}$ channels back to $c_\text{in}$: `F.conv_transpose2d` with the same kernel and the same padding. Test it: $\langle Kx,y\rangle=\langle x,K^\top y\rangle$ for random $x,y$.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Normalise $v$ first, then $\|Kv\|$ is an estimate from below. $\|K^\top Kv\|$ would estimate the square of the norm. The length is that of the whole image, over all channels and pixels.
#
# </details>


# %% tags=["answer:3.6"]
def power_step(K, v):
    """Estimate of the norm of the convolution K (c_out, c_in, k, k) and the next unit direction, from the image v (c_in, h, w)."""
    ### BEGIN SOLUTION
    unit, padding = v / v.norm(), K.shape[-1] // 2
    image = F.conv2d(unit[None], K, padding=padding)
    back = F.conv_transpose2d(image, K, padding=padding)[0]
    return image.norm(), back / back.norm()
    ### END SOLUTION


# %%
if passed("3.6"):
    random = torch.Generator().manual_seed(0)
    K, direction = (
        torch.randn(4, 3, 3, 3, generator=random),
        torch.randn(3, 8, 8, generator=random),
    )
    exact = torch.linalg.matrix_norm(
        norms.dense_matrix(lambda x: F.conv2d(x, K, padding=1), (3, 8, 8)), 2
    )
    estimates = []
    for _ in range(30):
        estimate, direction = power_step(K, direction)
        estimates.append(estimate / exact)
    pairs = list(itertools.pairwise(estimates))
    print(
        f"always below the norm: {max(estimates) <= 1 + 1e-12}; never decreasing: {all(b >= a - 1e-12 for a, b in pairs)}"
    )
    figure, axis = plt.subplots(figsize=(6, 3.2))
    axis.plot(range(30), estimates, "o-", markersize=4)
    axis.axhline(1, color=plotting.BLACK, linewidth=0.8, linestyle="-")
    axis.set(xlabel="step", ylabel="estimate / norm", title="your power iteration, from below")
    plotting.show(
        figure, "The estimate starts far below the norm, rises with every step and approaches it."
    )
