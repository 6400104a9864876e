import math

import torch
import torch.nn.functional as F


def margin_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    rivals = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    return rivals - own


def uphill(model, x, labels):
    x = x.clone().requires_grad_()
    gradient = torch.autograd.grad(margin_loss(model(x), labels).sum(), x)[0]
    return gradient / gradient.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]


# %% 7.A right: torch.clip
def one_step(model, x, labels, eps):
    return torch.clip(x + eps * uphill(model, x, labels), 0, 1)


# %% 7.A right: minimum and maximum
def one_step(model, x, labels, eps):
    direction = uphill(model, x, labels)
    z = torch.maximum(x + direction * eps, torch.zeros_like(x))
    return torch.minimum(z, torch.ones_like(x))


# %% 7.A right: a gradient of its own
def one_step(model, x, labels, eps):
    z = x.detach().clone().requires_grad_()
    margin_loss(model(z), labels).sum().backward()
    rows = [g / torch.linalg.vector_norm(g) for g in z.grad]
    return (x + eps * torch.stack(rows)).clamp(0, 1)


# %% 7.A right: image by image
def one_step(model, x, labels, eps):
    moved = []
    for k in range(len(x)):
        z = x[k : k + 1]
        moved.append(z + eps * uphill(model, z, labels[k : k + 1]))
    return torch.cat(moved).clamp(min=0, max=1)


# %% 7.A wrong: downhill -> downhill
def one_step(model, x, labels, eps):
    return (x - eps * uphill(model, x, labels)).clamp(0, 1)


# %% 7.A wrong: leaves the box -> no image any more
def one_step(model, x, labels, eps):
    return x + eps * uphill(model, x, labels)


# %% 7.A wrong: clips the change -> You clip the change
def one_step(model, x, labels, eps):
    return x + (eps * uphill(model, x, labels)).clamp(0, 1)


# %% 7.A wrong: the change -> change alone
def one_step(model, x, labels, eps):
    return eps * uphill(model, x, labels)


# %% 7.A wrong: the change, clipped -> change alone, clipped
def one_step(model, x, labels, eps):
    return (eps * uphill(model, x, labels)).clamp(0, 1)


# %% 7.A wrong: length 1 -> length 1
def one_step(model, x, labels, eps):
    return (x + uphill(model, x, labels)).clamp(0, 1)


# %% 7.A wrong: the sign -> each pixel by eps
def one_step(model, x, labels, eps):
    return (x + eps * uphill(model, x, labels).sign()).clamp(0, 1)


# %% 7.A wrong: not a unit vector -> happens to be
def one_step(model, x, labels, eps):
    z = x.clone().requires_grad_()
    return (x + eps * torch.autograd.grad(margin_loss(model(z), labels).sum(), z)[0]).clamp(0, 1)


# %% 7.A wrong: two half steps -> not where a step
def one_step(model, x, labels, eps):
    z = (x + eps / 2 * uphill(model, x, labels)).clamp(0, 1)
    return (z + eps / 2 * uphill(model, z, labels)).clamp(0, 1)


# %% 7.A wrong: one gradient for the batch -> not where a step
def one_step(model, x, labels, eps):
    mean = uphill(model, x, labels).mean(0, keepdim=True)
    return (x + 0.999 * eps * mean / mean.norm()).clamp(0, 1)


# %% 7.B right: relu
def certified_radius(logits, labels, L):
    return F.relu(-margin_loss(logits, labels)) / (2**0.5 * L)


# %% 7.B right: sorted logits
def certified_radius(logits, labels, L):
    best, second = logits.topk(2, dim=1).values.unbind(1)
    correct = logits.argmax(1) == labels
    return torch.where(correct, (best - second) / math.sqrt(2) / L, torch.zeros(()))


# %% 7.B right: a loop
def certified_radius(logits, labels, L):
    radii = torch.zeros(len(logits), dtype=logits.dtype)
    for k, (row, y) in enumerate(zip(logits, labels.tolist(), strict=True)):
        rivals = torch.cat([row[:y], row[y + 1 :]])
        radii[k] = max(0.0, (row[y] - rivals.max()).item()) / (math.sqrt(2) * L)
    return radii


# %% 7.B wrong: sqrt(2) forgotten -> by sqrt(2)
def certified_radius(logits, labels, L):
    return (-margin_loss(logits, labels)).clamp_min(0) / L


# %% 7.B wrong: 2 -> not 2
def certified_radius(logits, labels, L):
    return (-margin_loss(logits, labels)).clamp_min(0) / (2 * L)


# %% 7.B wrong: sqrt(2) above -> belongs below
def certified_radius(logits, labels, L):
    return math.sqrt(2) * (-margin_loss(logits, labels)).clamp_min(0) / L


# %% 7.B wrong: without L -> L is missing
def certified_radius(logits, labels, L):
    return (-margin_loss(logits, labels)).clamp_min(0) / math.sqrt(2)


# %% 7.B wrong: times L -> divide by L
def certified_radius(logits, labels, L):
    return (-margin_loss(logits, labels)).clamp_min(0) * L / math.sqrt(2)


# %% 7.B wrong: negative radii -> nothing to certify
def certified_radius(logits, labels, L):
    return -margin_loss(logits, labels) / (math.sqrt(2) * L)


# %% 7.B wrong: absolute value -> nothing to certify
def certified_radius(logits, labels, L):
    return margin_loss(logits, labels).abs() / (math.sqrt(2) * L)


# %% 7.B wrong: the sign -> wrong way round
def certified_radius(logits, labels, L):
    return margin_loss(logits, labels) / (math.sqrt(2) * L)


# %% 7.B wrong: the sign, cut off -> take its sign away
def certified_radius(logits, labels, L):
    return margin_loss(logits, labels).clamp_min(0) / (math.sqrt(2) * L)


# %% 7.B wrong: probabilities -> not their softmax
def certified_radius(logits, labels, L):
    return (-margin_loss(logits.softmax(1), labels)).clamp_min(0) / (math.sqrt(2) * L)


# %% 7.B wrong: one number for all -> has shape
def certified_radius(logits, labels, L):
    return (-margin_loss(logits, labels)).clamp_min(0).min() / (math.sqrt(2) * L)


# %% 7.C right: a sum
def certified_fraction(radius, eps):
    return (radius > eps).sum().item() / len(radius)


# %% 7.C right: a tensor
def certified_fraction(radius, eps):
    return torch.where(radius > eps, 1.0, 0.0).mean()


# %% 7.C right: a loop
def certified_fraction(radius, eps):
    count = 0
    for r in radius.tolist():
        if r > eps:
            count += 1
    return count / radius.numel()


# %% 7.C wrong: not strict -> exactly eps
def certified_fraction(radius, eps):
    return (radius >= eps).double().mean().item()


# %% 7.C wrong: misread ones left out -> *all* images
def certified_fraction(radius, eps):
    return (radius[radius > 0] > eps).double().mean().item()


# %% 7.C wrong: a number of images -> not their fraction
def certified_fraction(radius, eps):
    return (radius > eps).sum().item()


# %% 7.C wrong: percent -> in percent
def certified_fraction(radius, eps):
    return 100 * (radius > eps).double().mean().item()


# %% 7.C wrong: the others -> *not* certified
def certified_fraction(radius, eps):
    return (radius <= eps).double().mean().item()


# %% 7.C wrong: a mean radius -> mean radius
def certified_fraction(radius, eps):
    return radius.mean().item()


# %% 7.C wrong: one for each image -> one number
def certified_fraction(radius, eps):
    return (radius > eps).double()


# %% 7.D right: by hand
margin_for_photographs = 0.19966


# %% 7.D right: a tensor
margin_for_photographs = torch.tensor(2.0).sqrt() * 36 / 255


# %% 7.D right: the length of e_y - e_j
margin_for_photographs = math.hypot(1, -1) * (36 / 255) * 1.0


# %% 7.D wrong: the radius -> This is the radius
margin_for_photographs = 36 / 255


# %% 7.D wrong: the claim read forwards -> certifies half
margin_for_photographs = 36 / 255 / math.sqrt(2)


# %% 7.D wrong: other units -> not 36
margin_for_photographs = 36 * math.sqrt(2)


# %% 7.D wrong: twice -> twice the radius
margin_for_photographs = 2 * 36 / 255


# %% 7.D wrong: counts pixels -> as it is
margin_for_photographs = math.sqrt(2 * 3072) * 36 / 255


# %% 7.D wrong: a guess -> Solve
margin_for_photographs = 0.5
