# %% [markdown]
# # Coursework 7. Attack and certify
#
# Six exercises on [lesson 7](../07_adversarial_robustness.ipynb): two certificates, two attacks, and two ways to fool yourself about robustness.
# Throughout, $F$ maps a batch of images to logits of shape $(B,K)$ for $K$ classes, and `labels` of shape $(B,)$ holds the true classes.

# %% tags=["setup"]
# setup

# %%
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from chapter_checks import check, passed
from chapter_utils import certificates, data, plotting

plotting.use_house_style()
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
digits = data.load_images("mnist5k")  # what 7.3 and 7.6 attack

# %% [markdown]
# ## Exercise 7.1
#
# *Why it matters: a certificate in the wrong units is worth nothing. Most networks see normalised pixels, most papers report radii in pixels.*
#
# A network first normalises each colour channel, $z=(x-\text{mean})/s$ with one standard deviation $s$ for each channel, and then computes the logits $F(z)$. The bound `L` is for the part **behind** the normalisation: $z\mapsto F(z)$ is $L$-Lipschitz.
#
# Given the logits and `std`, the list of the channels' $s$, return for each image the largest radius **in pixels of $x$** that is certain for every such network: no change $\delta$ of $x$ with a smaller Euclidean norm can change the prediction (Claim 7.1). Return 0 for images that are misread.
#
# <details><summary>Hint 1</summary>
#
# First the radius in terms of $z$: the margin is the true logit minus the best **other** one. `logits.scatter` or a mask can take the true class out.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A change $\delta$ of the pixels becomes a change of $z$ of which length, at most? It may lie in one single channel.
#
# </details>


# %% tags=["answer:7.1"]
def pixel_radius(logits, labels, L, std):
    """Certified l2 radius in pixels (B,) from logits (B, K), labels (B,), a bound L behind the normalisation, and its list std."""
    ### BEGIN SOLUTION
    is_true_class = F.one_hot(labels, logits.shape[1]).bool()
    lead = logits[is_true_class] - logits.masked_fill(is_true_class, -math.inf).amax(1)
    return lead.clamp(min=0) * min(std) / (math.sqrt(2) * L)
    ### END SOLUTION


# %%
if passed("7.1"):
    cifar_std = [0.2023, 0.1994, 0.2010]
    for lead in (0.07, 0.15, 0.3):
        logits = torch.tensor([[lead, 0.0, -1.0]])
        radius = pixel_radius(logits, torch.tensor([0]), 1.0, cifar_std).item()
        print(
            f"margin {lead} behind the usual CIFAR-10 normalisation, L = 1: {radius:.4f} in pixels"
        )

# %% [markdown]
# ## Exercise 7.2
#
# *Why it matters: a better certificate without another network. It costs one line of linear algebra.*
#
# The last layer of a network is linear, $F=Pg+q$, with features $g(x)$ that are $L_g$-Lipschitz. Write the certificate of Claim 7.2: return for each image the radius
# $\min_{j\ne y}\dfrac{F_y-F_j}{L_g\,\|p_y-p_j\|}$, where $y$ is the true class and $p_j$ the rows of $P$; 0 for images that are misread.
# Two rows may be equal. Such a rival never overtakes, however far the image moves.
#
# <details><summary>Hint 1</summary>
#
# Work with whole tables of shape $(B,K)$: one of the leads $F_y-F_j$, one of the distances $\|p_y-p_j\|$. `P[labels]` has the rows $p_y$; with `[:, None]` it can be compared with all rows.
#
# </details>
# <details><summary>Hint 2</summary>
#
# In the column of the true class stands 0/0, which is nan. Put infinity there before you take the minimum.
#
# </details>


# %% tags=["answer:7.2"]
def pairwise_radius(features, labels, P, q, L_g):
    """Radius (B,) from features g(x) (B, m), labels (B,), last layer P (K, m) and q (K,), and the bound L_g of the features."""
    ### BEGIN SOLUTION
    scores = F.linear(features, P, q)
    leads = scores.gather(1, labels[:, None]) - scores
    speeds = L_g * torch.cdist(P, P, compute_mode="donot_use_mm_for_euclid_dist")[labels]
    is_true_class = F.one_hot(labels, len(P)).bool()
    return (leads / speeds).masked_fill(is_true_class, math.inf).amin(1).clamp(min=0)
    ### END SOLUTION


# %%
if passed("7.2"):
    P = torch.tensor([[1.0, 0.0], [0.6, 0.0], [0.0, 0.2]])
    spectral_norm = torch.linalg.matrix_norm(P, 2)
    features, labels = torch.tensor([[2.0, -0.5], [0.2, 2.0]]), torch.tensor([0, 2])
    scores = features @ P.T
    pairs = pairwise_radius(features, labels, P, torch.zeros(3), 1.0)
    plain = certificates.certified_radius(scores, labels, spectral_norm.item())
    for k in range(2):
        print(
            f"logits {[round(v, 2) for v in scores[k].tolist()]}: Claim 7.1 certifies {plain[k]:.3f}, "
            f"the pairs {pairs[k]:.3f}, {pairs[k] / plain[k]:.3f} times as much"
        )

# %% [markdown]
# ## Exercise 7.3
#
# *Why it matters: an attack that cannot reach the border of its ball proves little. Write one, and know its budget.*
#
# Write PGD in the Euclidean norm, as in Section 7.2, in two functions.
#
# * `project(z, x, eps)`: images `z` and centres `x`, both of shape $(B,C,H,W)$. First shorten the change $z-x$ of each image that is longer than `eps` > 0 to the length `eps`, then clip the pixels to $[0,1]$.
# * `pgd(network, x, labels, eps, steps, step_size)`: start at `x`. In each step go the length `step_size` along the gradient of the margin loss $\ell=\max_{j\ne y}F_j-F_y$ of each image, then project.
#   Return, **for each image, the visited point with the largest margin loss**, the clean image among them. (So what it returns is misread if any visited point was, and Claim 7.3 holds.) A point with gradient 0 stays.
#
# <details><summary>Hint 1</summary>
#
# Every image has its own ball and its own gradient: take norms over all axes but the first, for instance `shift.flatten(1).norm(dim=1)`. The sum of the losses over the batch has the right gradient for each image.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `z = z.detach().requires_grad_()`, then `torch.autograd.grad(loss.sum(), z)[0]`. Take this gradient anew in every step.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Keep two tensors, the best point so far and its loss, and renew them with `torch.where` after every step, the last one included.
#
# </details>


# %% tags=["answer:7.3"]
def project(z, x, eps):
    """The images z (B, C, H, W), brought back into the ball of radius eps around x and into [0, 1]."""
    ### BEGIN SOLUTION
    change = (z - x).flatten(1)
    change = change * (eps / change.norm(dim=1, keepdim=True)).clamp(max=1)
    return (x + change.reshape(x.shape)).clamp(0, 1)
    ### END SOLUTION


def pgd(network, x, labels, eps, steps, step_size):
    """The best visited point (B, C, H, W) for each image; network maps (B, C, H, W) to logits (B, K)."""

    ### BEGIN SOLUTION
    def loss_and_gradient(images):
        images = images.detach().requires_grad_()
        logits = network(images)
        is_true_class = F.one_hot(labels, logits.shape[1]).bool()
        losses = logits.masked_fill(is_true_class, -math.inf).amax(1) - logits[is_true_class]
        return losses.detach(), torch.autograd.grad(losses.sum(), images)[0]

    z, best = x, x
    highest, gradient = loss_and_gradient(x)
    for _ in range(steps):
        size = gradient.flatten(1).norm(dim=1).clamp(min=1e-30).reshape(-1, 1, 1, 1)
        z = project(z + step_size * gradient / size, x, eps)
        losses, gradient = loss_and_gradient(z)
        better = losses > highest
        best = torch.where(better.reshape(-1, 1, 1, 1), z, best)
        highest = torch.where(better, losses, highest)
    return best
    ### END SOLUTION


# %%
if passed("7.3"):
    images = digits.test_images[::5].double()
    _ = torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.Tanh(), nn.Linear(64, 10))
    read_as = network(images).argmax(1)  # untrained: we ask how easily its own answers change
    eps = 0.5
    for name, step_size in (
        ("0.025 eps, as in foolbox", 0.025 * eps),
        ("2.5 eps / 10", 0.25 * eps),
    ):
        found = pgd(network, images, read_as, eps, 10, step_size)
        gone = (found - images).flatten(1).norm(dim=1).max().item() / eps
        kept = (network(found).argmax(1) == read_as).double().mean().item()
        print(f"10 steps of {name}: at most {gone:.2f} eps away, {kept:.0%} keep their answer")

# %% [markdown]
# ## Exercise 7.4
#
# *Why it matters: papers print a few points of a robustness curve, and sometimes one number for the whole. How much does this number know?*
#
# A network has the robust accuracies $a_0\ge a_1\ge\dots\ge a_n$ at the radii $0=\varepsilon_0<\varepsilon_1<\dots<\varepsilon_n$. Write two functions of these two lists.
#
# * `area(radii, accuracies)`: the area under the polygon through the points, divided by $\varepsilon_n$. So it is a mean accuracy over all radii up to $\varepsilon_n$.
# * `area_bounds(radii, accuracies)`: the true curve is not known between the points. But it never rises, for a larger ball contains the smaller one. Return the pair (low, high) of the best bounds of its area, again divided by $\varepsilon_n$.
#
# <details><summary>Hint 1</summary>
#
# The radii are not equally spaced: use the widths $\varepsilon_{k+1}-\varepsilon_k$. Between two points the mean height of the polygon is the mean of both accuracies.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Draw two points and between them the highest curve that never rises, then the lowest.
#
# </details>


# %% tags=["answer:7.4"]
def area(radii, accuracies):
    """Mean height of the polygon through the points; radii increase from 0."""
    ### BEGIN SOLUTION
    return sum(area_bounds(radii, accuracies)) / 2
    ### END SOLUTION


def area_bounds(radii, accuracies):
    """(low, high): the smallest and largest mean height of a curve through the points that never rises."""
    ### BEGIN SOLUTION
    shares = torch.tensor(radii).diff() / radii[-1]
    heights = torch.tensor(accuracies)
    return (shares * heights[1:]).sum().item(), (shares * heights[:-1]).sum().item()
    ### END SOLUTION


# %%
if passed("7.4"):
    # Published for CIFAR-10, trained with margin 0.15 (repository of Celledoni et al., 2210.02373), rounded to three digits
    radii = [0, 8 / 255, 16 / 255, 36 / 255, 0.3, 0.5, 0.6, 0.8, 1.0]
    published = {
        "unconstrained": [0.909, 0.899, 0.877, 0.808, 0.641, 0.413, 0.341, 0.168, 0.072],
        "flexible steps": [0.817, 0.813, 0.803, 0.785, 0.743, 0.680, 0.642, 0.569, 0.510],
    }
    figure, axis = plt.subplots(figsize=(6, 3.4))
    for (name, accuracies), style in zip(published.items(), ("o-", "s--"), strict=True):
        low, high = area_bounds(radii, accuracies)
        axis.plot(
            radii,
            accuracies,
            style,
            label=f"{name}: {area(radii, accuracies):.3f}, between {low:.3f} and {high:.3f}",
        )
    axis.set(xlabel=r"radius $\varepsilon$", ylabel="accuracy under attack", ylim=(0, 1))
    axis.legend(loc="lower left")
    plotting.show(
        figure,
        "Two published curves over the radius: the unconstrained network starts higher and falls to 0.07 at radius 1, "
        "the one with flexible steps falls slowly to 0.51. Their areas are far apart even with their bounds.",
    )
    print(
        "The attack behind these numbers had a small budget: 10 steps of 0.025 eps. So they are too high; trust the order more than the values."
    )

# %% [markdown]
# ## Exercise 7.5
#
# *Why it matters: multiply all logits by 1000, and attacks on the cross-entropy die. A good attack must not notice.*
#
# Design a loss for attacks, from logits of shape $(B,K)$ with $K\ge4$: one number for each image, which depends on the logits of this image alone.
#
# 1. it is positive where the prediction is wrong, and negative where it is right;
# 2. it stays the same if all logits of an image are multiplied by the same number $s>0$, be it 0.01 or a million;
# 3. it stays the same if the same number is added to all logits of an image;
# 4. where the prediction is right, the loss grows if the true logit is lowered a little, and if the best other logit is raised a little. Its gradient says so, also for logits that have been multiplied by 1000.
#
# There are many such losses. PyTorch must be able to differentiate yours, in float64 and in float32.
#
# <details><summary>Hint 1</summary>
#
# The margin loss $\max_{j\ne y}F_j-F_y$ has properties 1, 3 and 4. Only 2 is missing: divide by something that grows with $s$.
#
# </details>
# <details><summary>Hint 2</summary>
#
# What you divide by must be positive and must not change if a number is added to all logits. It tells how far apart the logits of one image lie.
#
# </details>


# %% tags=["answer:7.5"]
def unmaskable_loss(logits, labels):
    """A loss (B,) for attacks that does not depend on the scale of the logits (B, K)."""
    ### BEGIN SOLUTION
    is_true_class = F.one_hot(labels, logits.shape[1]).bool()
    lead = logits[is_true_class] - logits.masked_fill(is_true_class, -math.inf).amax(1)
    return -lead / logits.std(1)
    ### END SOLUTION


# %%
if passed("7.5"):
    _ = torch.manual_seed(0)
    small = nn.Sequential(nn.Linear(30, 64), nn.Tanh(), nn.Linear(64, 10)).float()
    points = torch.rand(300, 30, generator=torch.Generator().manual_seed(0)).float()
    answers = small(points).argmax(1)

    def cross_entropy(logits, labels):
        return F.cross_entropy(logits, labels, reduction="none")

    for factor in (1, 100, 10_000):
        for name, loss in (("cross-entropy", cross_entropy), ("your loss", unmaskable_loss)):
            z = points
            for _ in range(10):
                z = z.detach().requires_grad_()
                slope = torch.autograd.grad(loss(factor * small(z), answers).sum(), z)[0]
                z = z + 0.03 * slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-30)
            kept = (small(z).argmax(1) == answers).double().mean().item()
            print(f"logits x {factor:6d}: {kept:4.0%} of the answers survive an attack on {name}")

# %% [markdown]
# ## Exercise 7.6
#
# *Why it matters: one of the first attacks, and still the cheapest: a single gradient.*
#
# Write the original fast gradient sign method (Goodfellow et al., 1412.6572). Let $g$ be the gradient of the **cross-entropy** loss at the image $x$, with its true label. Move **each pixel** by `eps` in the direction in which the loss grows, and stay in $[0,1]$:
#
# $$x\mapsto\text{the pixels of }\;x+\varepsilon\,\mathrm{sign}(g)\;\text{ clipped to }[0,1].$$
#
# A pixel with slope 0 stays. In the maximum norm the change is at most `eps`; in the Euclidean norm of Section 7.2 it may be $\sqrt d$ times as long for $d$ pixels.
#
# <details><summary>Hint 1</summary>
#
# `F.cross_entropy(logits, labels)` takes logits, not probabilities. Its mean over the batch has the same signs as the sum.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Work on a copy: `x.clone().requires_grad_()`. If `.grad` is `None`, you asked a tensor that is not the one you fed to the network.
#
# </details>


# %% tags=["answer:7.6"]
def fgsm(network, x, labels, eps):
    """The attacked images (B, C, H, W) of the images x in [0, 1]; network maps (B, C, H, W) to logits (B, K)."""
    ### BEGIN SOLUTION
    watched = x.detach().clone().requires_grad_()
    F.cross_entropy(network(watched), labels).backward()
    return (x + eps * watched.grad.sign()).clamp(0, 1)
    ### END SOLUTION


# %%
if passed("7.6"):
    images, labels = digits.train_images[::4].double(), digits.train_labels[::4]
    X = torch.cat(
        [images.flatten(1), torch.ones(1000, 1)], 1
    )  # least squares: a linear classifier without training
    solved = torch.linalg.solve(X.T @ X + 30 * torch.eye(785), X.T @ F.one_hot(labels, 10).double())

    def linear(x):
        return x.flatten(1) @ solved[:-1] + solved[-1]

    images, labels = digits.test_images[::2].double(), digits.test_labels[::2]
    for eps in (0.0, 0.02, 0.05, 0.1):
        right = (linear(fgsm(linear, images, labels, eps)).argmax(1) == labels).double().mean()
        print(f"each pixel moved by {eps:4.2f} at most: a linear classifier reads {right:.0%}")
