import math

import numpy as np
import torch
import torch.nn.functional as F

from chapter_utils import attacks, certificates


# %% 7.1 right: scatter
def pixel_radius(logits, labels, L, std):
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    return torch.relu(own - rival) / (2**0.5 * L) * min(std)


# %% 7.1 right: two largest
def pixel_radius(logits, labels, L, std):
    top = logits.topk(2, dim=1)
    right = top.indices[:, 0] == labels
    lead = top.values[:, 0] - top.values[:, 1]
    print(lead)
    return torch.where(right, lead / math.sqrt(2) / L * torch.tensor(std).min(), torch.zeros(()))


# %% 7.1 right: loop over images
def pixel_radius(logits, labels, L, std):
    result = []
    for row, y in zip(logits.tolist(), labels.tolist()):
        lead = row[y] - max(row[:y] + row[y + 1 :])
        result.append(max(lead, 0.0) * min(std) / (math.sqrt(2) * L))
    return torch.tensor(result, dtype=logits.dtype)


# %% 7.1 wrong: the library, with L in pixels -> write it yourself
def pixel_radius(logits, labels, L, std):
    return certificates.certified_radius(logits, labels, L / min(std))


# %% 7.1 right: numpy and one-hot
def pixel_radius(logits, labels, L, std):
    Z, y = logits.numpy(), labels.numpy()
    hot = np.eye(Z.shape[1])[y]
    lead = (Z * hot).sum(1) - (Z - 1e9 * hot).max(1)
    return np.maximum(lead, 0) / np.sqrt(2) / L * np.min(std)


# %% 7.1 wrong: margin / L -> By which factor
def pixel_radius(logits, labels, L, std):
    own = logits.gather(1, labels[:, None])[:, 0]
    lead = own - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    return lead.clamp(min=0) / L * min(std)


# %% 7.1 wrong: margin / 2L -> not both at full speed
def pixel_radius(logits, labels, L, std):
    own = logits.gather(1, labels[:, None])[:, 0]
    lead = own - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    return lead.clamp(min=0) / (2 * L) * min(std)


# %% 7.1 wrong: std forgotten -> behind the normalisation
def pixel_radius(logits, labels, L, std):
    own = logits.gather(1, labels[:, None])[:, 0]
    lead = own - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    return lead.clamp(min=0) / (2**0.5 * L)


# %% 7.1 wrong: divided by std -> before it
def pixel_radius(logits, labels, L, std):
    own = logits.gather(1, labels[:, None])[:, 0]
    lead = own - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    return lead.clamp(min=0) / (2**0.5 * L) / min(std)


# %% 7.1 wrong: largest std -> In which one
def pixel_radius(logits, labels, L, std):
    own = logits.gather(1, labels[:, None])[:, 0]
    lead = own - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    return lead.clamp(min=0) / (2**0.5 * L) * max(std)


# %% 7.1 wrong: mean std -> mean of the channels
def pixel_radius(logits, labels, L, std):
    own = logits.gather(1, labels[:, None])[:, 0]
    lead = own - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    return lead.clamp(min=0) / (2**0.5 * L) * sum(std) / len(std)


# %% 7.1 wrong: times L -> *smaller* the radius
def pixel_radius(logits, labels, L, std):
    own = logits.gather(1, labels[:, None])[:, 0]
    lead = own - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    return lead.clamp(min=0) / 2**0.5 * L * min(std)


# %% 7.1 wrong: L forgotten -> L is missing
def pixel_radius(logits, labels, L, std):
    own = logits.gather(1, labels[:, None])[:, 0]
    lead = own - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    return lead.clamp(min=0) / 2**0.5 * min(std)


# %% 7.1 wrong: negative where wrong -> nothing to certify
def pixel_radius(logits, labels, L, std):
    own = logits.gather(1, labels[:, None])[:, 0]
    lead = own - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    return lead / (2**0.5 * L) * min(std)


# %% 7.1 wrong: absolute value -> nothing to certify
def pixel_radius(logits, labels, L, std):
    own = logits.gather(1, labels[:, None])[:, 0]
    lead = own - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    return lead.abs() / (2**0.5 * L) * min(std)


# %% 7.1 wrong: smallest of the batch -> own radius
def pixel_radius(logits, labels, L, std):
    own = logits.gather(1, labels[:, None])[:, 0]
    lead = own - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    return (lead / (2**0.5 * L) * min(std)).clamp(min=0)[lead > 0].min() * torch.ones(len(lead))


# %% 7.1 wrong: margin 0 -> radius is positive
def pixel_radius(logits, labels, L, std):
    own = logits.gather(1, labels[:, None])[:, 0]
    lead = own - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    return 0 * lead


# %% 7.1 wrong: true class not left out -> positive
def pixel_radius(logits, labels, L, std):
    own = logits.gather(1, labels[:, None])[:, 0]
    return (own - logits.max(1).values) / (2**0.5 * L) * min(std)


# %% 7.1 wrong: two largest, labels ignored -> nothing to certify
def pixel_radius(logits, labels, L, std):
    top = logits.topk(2, dim=1).values
    return (top[:, 0] - top[:, 1]) / (2**0.5 * L) * min(std)


# %% 7.1 wrong: probabilities -> not the probabilities
def pixel_radius(logits, labels, L, std):
    p = logits.softmax(1)
    lead = p.gather(1, labels[:, None])[:, 0] - p.scatter(1, labels[:, None], -1.0).max(1).values
    return lead.clamp(min=0) / (2**0.5 * L) * min(std)


# %% 7.1 wrong: mean of the rivals -> strongest rival decides
def pixel_radius(logits, labels, L, std):
    own = logits.gather(1, labels[:, None])[:, 0]
    mean = (logits.sum(1) - own) / (logits.shape[1] - 1)
    right = logits.argmax(1) == labels
    return torch.where(right, (own - mean) / (2**0.5 * L) * min(std), 0.0)


# %% 7.1 wrong: all columns -> has shape
def pixel_radius(logits, labels, L, std):
    return logits[:, labels] / (2**0.5 * L) * min(std)


# %% 7.1 wrong: L at least 1 -> L is missing
def pixel_radius(logits, labels, L, std):
    m = F.one_hot(labels, logits.shape[1]).bool()
    lead = logits[m] - logits.masked_fill(m, -math.inf).amax(1)
    return lead.clamp(min=0) * min(std) / (math.sqrt(2) * max(L, 1.0))


# %% 7.1 wrong: std at most 1 -> behind the normalisation
def pixel_radius(logits, labels, L, std):
    m = F.one_hot(labels, logits.shape[1]).bool()
    lead = logits[m] - logits.masked_fill(m, -math.inf).amax(1)
    return lead.clamp(min=0) * min(1.0, *std) / (math.sqrt(2) * L)


# %% 7.1 wrong: empties std -> in place
def pixel_radius(logits, labels, L, std):
    m = F.one_hot(labels, logits.shape[1]).bool()
    lead = logits[m] - logits.masked_fill(m, -math.inf).amax(1)
    std.sort()
    return lead.clamp(min=0) * std[0] / (math.sqrt(2) * L)


# %% 7.2 right: tables
def pairwise_radius(features, labels, P, q, L_g):
    logits = features @ P.T + q
    gaps = logits.gather(1, labels[:, None]) - logits
    apart = (P[labels][:, None] - P).norm(dim=2)
    radii = gaps / (L_g * apart)
    radii[torch.arange(len(labels)), labels] = torch.inf
    return radii.min(1).values.clamp(min=0)


# %% 7.2 right: loops
def pairwise_radius(features, labels, P, q, L_g):
    result = []
    for g, y in zip(features, labels.tolist()):
        scores = P @ g + q
        best = math.inf
        for j in range(len(P)):
            lead, distance = (scores[y] - scores[j]).item(), torch.dist(P[y], P[j]).item()
            if j != y and lead < 0:
                best = 0.0
            if j != y and distance > 0:
                best = min(best, max(lead, 0) / (L_g * distance))
        result.append(best)
    return torch.tensor(result)


# %% 7.2 wrong: the library -> write it yourself
def pairwise_radius(features, labels, P, q, L_g):
    return certificates.certified_radius(features @ P.T + q, labels, L_g, matrix=P)


# %% 7.2 right: numpy
def pairwise_radius(features, labels, P, q, L_g):
    g, y, P, q = features.numpy(), labels.numpy(), P.numpy(), q.numpy()
    F_ = g @ P.T + q
    rows = np.arange(len(y))
    gaps = F_[rows, y][:, None] - F_
    with np.errstate(all="ignore"):
        table = gaps / (L_g * np.linalg.norm(P[y][:, None] - P[None], axis=2))
    table[rows, y] = np.inf
    return np.maximum(table.min(axis=1), 0)


# %% 7.2 right: rival by rival
def pairwise_radius(features, labels, P, q, L_g):
    logits = F.linear(features, P, q)
    own, rows = logits.gather(1, labels[:, None])[:, 0], P[labels]
    radius = torch.full_like(own, torch.inf)
    for j in range(len(P)):
        here = (own - logits[:, j]).clamp(min=0) / (L_g * (rows - P[j]).square().sum(1).sqrt())
        here = torch.where((own < logits[:, j]), 0.0, here)
        radius = torch.where(labels == j, radius, torch.minimum(radius, here))
    return radius


# %% 7.2 wrong: Claim 7.1 -> radius of Claim 7.1
def pairwise_radius(features, labels, P, q, L_g):
    logits = features @ P.T + q
    gaps = logits.gather(1, labels[:, None]) - logits
    apart = (P[labels][:, None] - P).norm(dim=2)
    rows = torch.arange(len(labels))
    lead = logits[rows, labels] - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    return lead.clamp(min=0) / (2**0.5 * L_g * torch.linalg.matrix_norm(P, 2))


# %% 7.2 wrong: only the strongest rival -> weaker one may catch up
def pairwise_radius(features, labels, P, q, L_g):
    logits = features @ P.T + q
    gaps = logits.gather(1, labels[:, None]) - logits
    apart = (P[labels][:, None] - P).norm(dim=2)
    rows = torch.arange(len(labels))
    lead = logits[rows, labels] - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    first = logits.scatter(1, labels[:, None], -torch.inf).argmax(1)
    return lead.clamp(min=0) / (L_g * apart[rows, first])


# %% 7.2 wrong: L_g forgotten -> L_g is missing
def pairwise_radius(features, labels, P, q, L_g):
    logits = features @ P.T + q
    gaps = logits.gather(1, labels[:, None]) - logits
    apart = (P[labels][:, None] - P).norm(dim=2)
    rows = torch.arange(len(labels))
    lead = logits[rows, labels] - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    radii = gaps / apart
    radii[rows, labels] = torch.inf
    return radii.min(1).values.clamp(min=0)


# %% 7.2 wrong: times L_g -> *smaller*
def pairwise_radius(features, labels, P, q, L_g):
    logits = features @ P.T + q
    gaps = logits.gather(1, labels[:, None]) - logits
    apart = (P[labels][:, None] - P).norm(dim=2)
    rows = torch.arange(len(labels))
    lead = logits[rows, labels] - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    radii = gaps / apart * L_g
    radii[rows, labels] = torch.inf
    return radii.min(1).values.clamp(min=0)


# %% 7.2 wrong: squared distance -> not its square
def pairwise_radius(features, labels, P, q, L_g):
    logits = features @ P.T + q
    gaps = logits.gather(1, labels[:, None]) - logits
    apart = (P[labels][:, None] - P).norm(dim=2)
    rows = torch.arange(len(labels))
    lead = logits[rows, labels] - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    radii = gaps / (L_g * apart**2)
    radii[rows, labels] = torch.inf
    return radii.min(1).values.clamp(min=0)


# %% 7.2 wrong: times the distance -> Multiply by the distance
def pairwise_radius(features, labels, P, q, L_g):
    logits = features @ P.T + q
    gaps = logits.gather(1, labels[:, None]) - logits
    apart = (P[labels][:, None] - P).norm(dim=2)
    rows = torch.arange(len(labels))
    lead = logits[rows, labels] - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    radii = gaps / L_g * apart
    radii[rows, labels] = torch.inf
    return radii.min(1).values.clamp(min=0)


# %% 7.2 wrong: sum of the norms -> *difference*
def pairwise_radius(features, labels, P, q, L_g):
    logits = features @ P.T + q
    gaps = logits.gather(1, labels[:, None]) - logits
    apart = (P[labels][:, None] - P).norm(dim=2)
    rows = torch.arange(len(labels))
    lead = logits[rows, labels] - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    radii = gaps / (L_g * (P.norm(dim=1) + P[labels].norm(dim=1)[:, None]))
    radii[rows, labels] = torch.inf
    return radii.min(1).values.clamp(min=0)


# %% 7.2 wrong: norm of the rival only -> own logit moves too
def pairwise_radius(features, labels, P, q, L_g):
    logits = features @ P.T + q
    gaps = logits.gather(1, labels[:, None]) - logits
    apart = (P[labels][:, None] - P).norm(dim=2)
    rows = torch.arange(len(labels))
    lead = logits[rows, labels] - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    radii = gaps / (L_g * P.norm(dim=1))
    radii[rows, labels] = torch.inf
    return radii.min(1).values.clamp(min=0)


# %% 7.2 wrong: sqrt(2) kept -> belongs to Claim 7.1
def pairwise_radius(features, labels, P, q, L_g):
    logits = features @ P.T + q
    gaps = logits.gather(1, labels[:, None]) - logits
    apart = (P[labels][:, None] - P).norm(dim=2)
    rows = torch.arange(len(labels))
    lead = logits[rows, labels] - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    radii = gaps / (2**0.5 * L_g * apart)
    radii[rows, labels] = torch.inf
    return radii.min(1).values.clamp(min=0)


# %% 7.2 wrong: offsets forgotten -> offsets q
def pairwise_radius(features, labels, P, q, L_g):
    logits = features @ P.T + q
    gaps = logits.gather(1, labels[:, None]) - logits
    apart = (P[labels][:, None] - P).norm(dim=2)
    rows = torch.arange(len(labels))
    lead = logits[rows, labels] - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    logits = features @ P.T
    gaps = logits.gather(1, labels[:, None]) - logits
    radii = gaps / (L_g * apart)
    radii[rows, labels] = torch.inf
    return radii.min(1).values.clamp(min=0)


# %% 7.2 wrong: 0/0 left in -> nan
def pairwise_radius(features, labels, P, q, L_g):
    logits = features @ P.T + q
    gaps = logits.gather(1, labels[:, None]) - logits
    apart = (P[labels][:, None] - P).norm(dim=2)
    rows = torch.arange(len(labels))
    lead = logits[rows, labels] - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    return (gaps / (L_g * apart)).min(1).values


# %% 7.2 wrong: nan replaced by 0 -> radius is positive
def pairwise_radius(features, labels, P, q, L_g):
    logits = features @ P.T + q
    gaps = logits.gather(1, labels[:, None]) - logits
    apart = (P[labels][:, None] - P).norm(dim=2)
    rows = torch.arange(len(labels))
    lead = logits[rows, labels] - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    return (gaps / (L_g * apart)).nan_to_num(0.0).min(1).values


# %% 7.2 wrong: most distant rival -> most distant
def pairwise_radius(features, labels, P, q, L_g):
    logits = features @ P.T + q
    gaps = logits.gather(1, labels[:, None]) - logits
    apart = (P[labels][:, None] - P).norm(dim=2)
    rows = torch.arange(len(labels))
    lead = logits[rows, labels] - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    radii = gaps / (L_g * apart.clamp(min=1e-12))
    radii[rows, labels] = -torch.inf
    return radii.max(1).values * (lead > 0)


# %% 7.2 wrong: negative where wrong -> nothing to certify
def pairwise_radius(features, labels, P, q, L_g):
    logits = features @ P.T + q
    gaps = logits.gather(1, labels[:, None]) - logits
    apart = (P[labels][:, None] - P).norm(dim=2)
    rows = torch.arange(len(labels))
    lead = logits[rows, labels] - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    radii = gaps / (L_g * apart)
    radii[rows, labels] = torch.inf
    return radii.min(1).values


# %% 7.2 wrong: equal rows give 0 -> infinite for equal rows
def pairwise_radius(features, labels, P, q, L_g):
    logits = features @ P.T + q
    gaps = logits.gather(1, labels[:, None]) - logits
    apart = (P[labels][:, None] - P).norm(dim=2)
    rows = torch.arange(len(labels))
    lead = logits[rows, labels] - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    radii = gaps / (L_g * apart)
    radii[apart == 0] = 0.0
    radii[rows, labels] = torch.inf
    return radii.min(1).values.clamp(min=0)


# %% 7.2 wrong: columns for rows -> raised
def pairwise_radius(features, labels, P, q, L_g):
    logits = features @ P.T + q
    gaps = logits.gather(1, labels[:, None]) - logits
    apart = (P[labels][:, None] - P).norm(dim=2)
    rows = torch.arange(len(labels))
    lead = logits[rows, labels] - logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    apart = (P.T[labels][:, None] - P.T).norm(dim=2)
    radii = gaps / (L_g * apart)
    radii[rows, labels] = torch.inf
    return radii.min(1).values.clamp(min=0)


# %% 7.2 wrong: equal rows count as won -> nothing to certify
def pairwise_radius(features, labels, P, q, L_g):
    F_ = features @ P.T + q
    leads = F_.gather(1, labels[:, None]) - F_
    d = (P[labels][:, None] - P).norm(dim=2)
    r = torch.where(d == 0, math.inf, leads / (L_g * d))
    return r.amin(1).clamp(min=0)


# %% 7.2 wrong: L_g at least 1 -> L_g is missing
def pairwise_radius(features, labels, P, q, L_g):
    F_ = features @ P.T + q
    leads = F_.gather(1, labels[:, None]) - F_
    d = (P[labels][:, None] - P).norm(dim=2)
    m = F.one_hot(labels, len(P)).bool()
    return (leads / (max(1.0, L_g) * d)).masked_fill(m, math.inf).amin(1).clamp(min=0)


# %% 7.2 wrong: twins make the image infinitely safe -> Too large
def pairwise_radius(features, labels, P, q, L_g):
    F_ = features @ P.T + q
    leads = F_.gather(1, labels[:, None]) - F_
    d = (P[labels][:, None] - P).norm(dim=2)
    m = F.one_hot(labels, len(P)).bool()
    r = (leads / (L_g * d)).masked_fill(m, math.inf)
    twin = ((d == 0) & ~m).any(1)
    r = r.amin(1).clamp(min=0)
    return torch.where(twin, torch.tensor(1e30), r)


# %% 7.3 right: as in the lesson, with a memory
def project(z, x, eps):
    shift = z - x
    size = shift.flatten(1).norm(dim=1)[:, None, None, None]
    return (x + shift * torch.clamp(eps / size, max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 right: renorm, backward and a list of all points
def project(z, x, eps):
    shift = torch.renorm(z - x, 2, 0, eps)
    return torch.clamp(x + shift, 0.0, 1.0)


def pgd(network, x, labels, eps, steps, step_size):
    points = [x.clone()]
    for _ in range(steps):
        z = points[-1].clone().requires_grad_(True)
        logits = network(z)
        others = logits.masked_fill(
            torch.nn.functional.one_hot(labels, logits.shape[1]).bool(), -1e9
        )
        (others.amax(1) - logits[range(len(labels)), labels]).mean().backward()
        norms = torch.linalg.vector_norm(z.grad, dim=(1, 2, 3), keepdim=True)
        direction = torch.where(norms > 0, z.grad / norms, 0.0)
        points.append(project(z.detach() + step_size * direction, x, eps))
    with torch.no_grad():
        losses = torch.stack([attacks.margin_loss(network(z), labels) for z in points])
    winner = losses.argmax(0)
    return torch.stack([points[k][i] for i, k in enumerate(winner.tolist())])


# %% 7.3 right: image by image
def project(z, x, eps):
    result = []
    for a, b in zip(z, x):
        n = torch.dist(a, b)
        result.append((b + (a - b) * min(1.0, eps / n) if n > 0 else b).clamp(0, 1))
    return torch.stack(result)


def pgd(network, x, labels, eps, steps, step_size):
    result = []
    for k in range(len(x)):
        centre, y = x[k : k + 1], labels[k : k + 1]
        z, best, highest = centre, centre, attacks.margin_loss(network(centre), y).item()
        for _ in range(steps):
            z = z.clone().requires_grad_()
            g = torch.autograd.grad(attacks.margin_loss(network(z), y)[0], z)[0]
            if g.norm() > 0:
                z = project(z.detach() + step_size * g / g.norm(), centre, eps)
            value = attacks.margin_loss(network(z), y).item()
            if value > highest:
                best, highest = z.detach(), value
        result.append(best[0])
    return torch.stack(result)


# %% 7.3 right: torch.where, numpy in project
def project(z, x, eps):
    shift = (z - x).numpy()
    n = np.sqrt((shift**2).sum(axis=(1, 2, 3), keepdims=True))
    return torch.from_numpy(np.clip(x.numpy() + shift * eps / np.maximum(n, eps), 0, 1))


def pgd(network, x, labels, eps, steps, step_size):
    total = lambda z: attacks.margin_loss(network(z), labels).sum()
    slope = lambda z: torch.autograd.grad(total(z.requires_grad_()), z)[0]
    visited, z = [x], x
    for step in range(steps):
        g = slope(z.clone())
        n = (g**2).sum(dim=(1, 2, 3), keepdim=True) ** 0.5
        z = project(
            (z + step_size * torch.where(n == 0, torch.zeros_like(g), g / n)).detach(), x, eps
        )
        visited.append(z)
    print(len(visited))
    best = x
    for z in visited:
        better = attacks.margin_loss(network(z), labels) > attacks.margin_loss(
            network(best), labels
        )
        best = torch.where(better.reshape(-1, 1, 1, 1), z, best)
    return best.detach()


# %% 7.3 wrong: project: norm of the whole batch -> whole batch
def project(z, x, eps):
    shift = z - x
    return (x + shift * min(1.0, eps / shift.norm())).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: project: always onto the sphere -> nan
def project(z, x, eps):
    shift = z - x
    return (x + eps * shift / shift.flatten(1).norm(dim=1)[:, None, None, None]).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: project: onto the sphere, without nan -> pushed out
def project(z, x, eps):
    shift = z - x
    return (
        x + eps * shift / shift.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
    ).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: project: norm over one axis -> away from its centre
def project(z, x, eps):
    shift = z - x
    return (x + shift * (eps / shift.norm(dim=-1, keepdim=True)).clamp(max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: project: maximum norm -> maximum norm
def project(z, x, eps):
    return (x + (z - x).clamp(-eps, eps)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: project: box before ball -> you clip first
def project(z, x, eps):
    shift = z.clamp(0, 1) - x
    return x + shift * (eps / shift.flatten(1).norm(dim=1)[:, None, None, None]).clamp(max=1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: project: ball around 0 -> z itself
def project(z, x, eps):
    return (z * (eps / z.flatten(1).norm(dim=1)[:, None, None, None]).clamp(max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: project: shift only -> not added
def project(z, x, eps):
    shift = z - x
    return (shift * (eps / shift.flatten(1).norm(dim=1)[:, None, None, None]).clamp(max=1)).clamp(
        0, 1
    )


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: project: no clipping -> leave [0, 1]
def project(z, x, eps):
    shift = z - x
    return x + shift * (eps / shift.flatten(1).norm(dim=1)[:, None, None, None]).clamp(max=1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: project: only clipping -> leave their ball
def project(z, x, eps):
    return z.clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: project: x -> x itself
def project(z, x, eps):
    return x.clone()


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: project: in place -> in place
def project(z, x, eps):
    shift = z
    shift -= x
    return (
        x + shift * (eps / shift.flatten(1).norm(dim=1)[:, None, None, None]).clamp(max=1)
    ).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: pgd: last point -> last point
def project(z, x, eps):
    shift = z - x
    size = shift.flatten(1).norm(dim=1)[:, None, None, None]
    return (x + shift * torch.clamp(eps / size, max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return z


# %% 7.3 wrong: pgd: downhill -> walk uphill
def project(z, x, eps):
    shift = z - x
    size = shift.flatten(1).norm(dim=1)[:, None, None, None]
    return (x + shift * torch.clamp(eps / size, max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() - step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: pgd: gradient always at x -> always taken at x
def project(z, x, eps):
    shift = z - x
    size = shift.flatten(1).norm(dim=1)[:, None, None, None]
    return (x + shift * torch.clamp(eps / size, max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        a = x.clone().requires_grad_()
        g = torch.autograd.grad(loss(a).sum(), a)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: pgd: gradient not normalised -> How long is your step
def project(z, x, eps):
    shift = z - x
    size = shift.flatten(1).norm(dim=1)[:, None, None, None]
    return (x + shift * torch.clamp(eps / size, max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: pgd: gradient of the whole batch normalised -> best visited points
def project(z, x, eps):
    shift = z - x
    size = shift.flatten(1).norm(dim=1)[:, None, None, None]
    return (x + shift * torch.clamp(eps / size, max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.norm().clamp_min(1e-30)
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: pgd: signs -> How long is your step
def project(z, x, eps):
    shift = z - x
    size = shift.flatten(1).norm(dim=1)[:, None, None, None]
    return (x + shift * torch.clamp(eps / size, max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g.sign()
        z = (z.detach() + step_size * g).clamp(x - eps, x + eps).clamp(0, 1)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: pgd: ball around the last point -> Is its ball around x
def project(z, x, eps):
    shift = z - x
    size = shift.flatten(1).norm(dim=1)[:, None, None, None]
    return (x + shift * torch.clamp(eps / size, max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, z.detach(), eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: pgd: projected once at the end -> best visited points
def project(z, x, eps):
    shift = z - x
    size = shift.flatten(1).norm(dim=1)[:, None, None, None]
    return (x + shift * torch.clamp(eps / size, max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = z.detach() + step_size * g
        now = loss(project(z, x, eps)).detach() if _ == steps - 1 else loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], project(z, x, eps), best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: pgd: cross-entropy -> best visited points
def project(z, x, eps):
    shift = z - x
    size = shift.flatten(1).norm(dim=1)[:, None, None, None]
    return (x + shift * torch.clamp(eps / size, max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(F.cross_entropy(network(z), labels), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: pgd: one best image for the batch -> for each image
def project(z, x, eps):
    shift = z - x
    size = shift.flatten(1).norm(dim=1)[:, None, None, None]
    return (x + shift * torch.clamp(eps / size, max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        if now.mean() > top.mean():
            best, top = z, now
    return best


# %% 7.3 wrong: pgd: clean image not remembered -> was visited too
def project(z, x, eps):
    shift = z - x
    size = shift.flatten(1).norm(dim=1)[:, None, None, None]
    return (x + shift * torch.clamp(eps / size, max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, torch.full((len(x),), -math.inf)
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: pgd: step of the lesson -> step size of the lesson
def project(z, x, eps):
    shift = z - x
    size = shift.flatten(1).norm(dim=1)[:, None, None, None]
    return (x + shift * torch.clamp(eps / size, max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + 2.5 * eps / steps * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: pgd: zero gradient gives nan -> nan
def project(z, x, eps):
    shift = z - x
    size = shift.flatten(1).norm(dim=1)[:, None, None, None]
    return (x + shift * torch.clamp(eps / size, max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((~(now < top))[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: pgd: last point never tried -> point after the last step
def project(z, x, eps):
    shift = z - x
    size = shift.flatten(1).norm(dim=1)[:, None, None, None]
    return (x + shift * torch.clamp(eps / size, max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps - 1):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: pgd: random start -> cannot lead
def project(z, x, eps):
    shift = z - x
    size = shift.flatten(1).norm(dim=1)[:, None, None, None]
    return (x + shift * torch.clamp(eps / size, max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = project(x + 0.1 * torch.rand(x.shape), x, eps), x, loss(x).detach()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: pgd: gradient through the projection lost -> raised RuntimeError
def project(z, x, eps):
    shift = z - x
    size = shift.flatten(1).norm(dim=1)[:, None, None, None]
    return (x + shift * torch.clamp(eps / size, max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    z, best, top = x, x, loss(x).detach()
    for _ in range(steps):
        z = z.detach()
        g = torch.autograd.grad(loss(z).sum(), z)[0]
        g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        z = project(z.detach() + step_size * g, x, eps)
        now = loss(z).detach()
        best = torch.where((now > top)[:, None, None, None], z, best)
        top = torch.maximum(now, top)
    return best


# %% 7.3 wrong: pgd: x unchanged -> clean image
def project(z, x, eps):
    shift = z - x
    size = shift.flatten(1).norm(dim=1)[:, None, None, None]
    return (x + shift * torch.clamp(eps / size, max=1)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss(z):
        logits = network(z)
        own = logits.gather(1, labels[:, None])[:, 0]
        return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own

    return x.clone()


# %% 7.3 wrong: pgd: zeroes the network -> in place
def project(z, x, eps):
    change = (z - x).flatten(1)
    change = change * (eps / change.norm(dim=1, keepdim=True)).clamp(max=1)
    return (x + change.reshape(x.shape)).clamp(0, 1)


def pgd(network, x, labels, eps, steps, step_size):
    def loss_and_gradient(images):
        images = images.detach().requires_grad_()
        logits = network(images)
        m = F.one_hot(labels, logits.shape[1]).bool()
        losses = logits.masked_fill(m, -math.inf).amax(1) - logits[m]
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
    with torch.no_grad():
        for p in network.parameters():
            p.zero_()
    return best


# %% 7.4 right: trapezoid and loop
def area(radii, accuracies):
    return torch.trapezoid(torch.tensor(accuracies), torch.tensor(radii)) / radii[-1]


def area_bounds(radii, accuracies):
    low = high = 0.0
    for k in range(len(radii) - 1):
        width = radii[k + 1] - radii[k]
        low, high = low + width * accuracies[k + 1], high + width * accuracies[k]
    return low / radii[-1], high / radii[-1]


# %% 7.4 right: numpy
def area(radii, accuracies):
    return np.interp(np.linspace(0, radii[-1], 200_001), radii, accuracies).mean()


def area_bounds(radii, accuracies):
    width = np.diff(radii) / radii[-1]
    return np.array([width @ accuracies[1:], width @ accuracies[:-1]])


# %% 7.4 right: scipy
def area(radii, accuracies):
    from scipy.integrate import trapezoid

    return trapezoid(accuracies, radii) / max(radii)


def area_bounds(radii, accuracies):
    widths = torch.tensor(radii).diff()
    a = torch.tensor(accuracies)
    return [(widths * a[1:]).sum() / widths.sum(), (widths * a[:-1]).sum() / widths.sum()]


# %% 7.4 right: centre and half width
def area(radii, accuracies):
    total = 0
    for (r, a), (s, b) in zip(zip(radii, accuracies), zip(radii[1:], accuracies[1:])):
        total += (s - r) * (a + b) / 2
    print(total)
    return total / radii[-1]


def area_bounds(radii, accuracies):
    middle = area(radii, accuracies)
    spread = (
        sum(
            (s - r) * (a - b) / 2
            for r, s, a, b in zip(radii, radii[1:], accuracies, accuracies[1:])
        )
        / radii[-1]
    )
    return torch.tensor([middle - spread, middle + spread])


# %% 7.4 wrong: mean -> crowded
def area(radii, accuracies):
    return sum(accuracies) / len(accuracies)


def area_bounds(radii, accuracies):
    low = high = 0.0
    for k in range(len(radii) - 1):
        width = radii[k + 1] - radii[k]
        low, high = low + width * accuracies[k + 1], high + width * accuracies[k]
    return low / radii[-1], high / radii[-1]


# %% 7.4 wrong: not divided -> Divide by the largest radius
def area(radii, accuracies):
    return torch.trapezoid(torch.tensor(accuracies), torch.tensor(radii))


def area_bounds(radii, accuracies):
    low = high = 0.0
    for k in range(len(radii) - 1):
        width = radii[k + 1] - radii[k]
        low, high = low + width * accuracies[k + 1], high + width * accuracies[k]
    return low / radii[-1], high / radii[-1]


# %% 7.4 wrong: left rectangles -> left accuracy
def area(radii, accuracies):
    return area_bounds(radii, accuracies)[1]


def area_bounds(radii, accuracies):
    low = high = 0.0
    for k in range(len(radii) - 1):
        width = radii[k + 1] - radii[k]
        low, high = low + width * accuracies[k + 1], high + width * accuracies[k]
    return low / radii[-1], high / radii[-1]


# %% 7.4 wrong: right rectangles -> right accuracy
def area(radii, accuracies):
    return area_bounds(radii, accuracies)[0]


def area_bounds(radii, accuracies):
    low = high = 0.0
    for k in range(len(radii) - 1):
        width = radii[k + 1] - radii[k]
        low, high = low + width * accuracies[k + 1], high + width * accuracies[k]
    return low / radii[-1], high / radii[-1]


# %% 7.4 wrong: spacing forgotten -> mean height of the polygon
def area(radii, accuracies):
    return torch.trapezoid(torch.tensor(accuracies)) / (len(radii) - 1)


def area_bounds(radii, accuracies):
    low = high = 0.0
    for k in range(len(radii) - 1):
        width = radii[k + 1] - radii[k]
        low, high = low + width * accuracies[k + 1], high + width * accuracies[k]
    return low / radii[-1], high / radii[-1]


# %% 7.4 wrong: divided twice -> largest radius once
def area(radii, accuracies):
    return torch.trapezoid(torch.tensor(accuracies), torch.tensor(radii)) / radii[-1] ** 2


def area_bounds(radii, accuracies):
    low = high = 0.0
    for k in range(len(radii) - 1):
        width = radii[k + 1] - radii[k]
        low, high = low + width * accuracies[k + 1], high + width * accuracies[k]
    return low / radii[-1], high / radii[-1]


# %% 7.4 wrong: axes exchanged -> mean height of the polygon
def area(radii, accuracies):
    return torch.trapezoid(torch.tensor(radii), torch.tensor(accuracies)).abs()


def area_bounds(radii, accuracies):
    low = high = 0.0
    for k in range(len(radii) - 1):
        width = radii[k + 1] - radii[k]
        low, high = low + width * accuracies[k + 1], high + width * accuracies[k]
    return low / radii[-1], high / radii[-1]


# %% 7.4 wrong: multiplied by the radius -> mean height of the polygon
def area(radii, accuracies):
    return torch.trapezoid(torch.tensor(accuracies), torch.tensor(radii)) * radii[-1]


def area_bounds(radii, accuracies):
    low = high = 0.0
    for k in range(len(radii) - 1):
        width = radii[k + 1] - radii[k]
        low, high = low + width * accuracies[k + 1], high + width * accuracies[k]
    return low / radii[-1], high / radii[-1]


# %% 7.4 wrong: bounds: bounds exchanged -> smaller bound comes first
def area(radii, accuracies):
    return torch.trapezoid(torch.tensor(accuracies), torch.tensor(radii)) / radii[-1]


def area_bounds(radii, accuracies):
    widths, a = torch.tensor(radii).diff() / radii[-1], torch.tensor(accuracies)
    return (widths * a[:-1]).sum(), (widths * a[1:]).sum()


# %% 7.4 wrong: bounds: bounds not divided -> Too
def area(radii, accuracies):
    return torch.trapezoid(torch.tensor(accuracies), torch.tensor(radii)) / radii[-1]


def area_bounds(radii, accuracies):
    widths, a = torch.tensor(radii).diff() * (1 + 0 * radii[-1]), torch.tensor(accuracies)
    return 0.9 * (widths * a[1:]).sum(), 0.9 * (widths * a[:-1]).sum()


# %% 7.4 wrong: bounds: smallest and largest accuracy -> is true, but
def area(radii, accuracies):
    return torch.trapezoid(torch.tensor(accuracies), torch.tensor(radii)) / radii[-1]


def area_bounds(radii, accuracies):
    return min(accuracies), max(accuracies)


# %% 7.4 wrong: bounds: 0 and 1 -> is true, but
def area(radii, accuracies):
    return torch.trapezoid(torch.tensor(accuracies), torch.tensor(radii)) / radii[-1]


def area_bounds(radii, accuracies):
    return 0.0, 1.0


# %% 7.4 wrong: bounds: polygon twice -> Too high
def area(radii, accuracies):
    return torch.trapezoid(torch.tensor(accuracies), torch.tensor(radii)) / radii[-1]


def area_bounds(radii, accuracies):
    middle = float(area(radii, accuracies))
    return middle, middle


# %% 7.4 wrong: bounds: spacing forgotten in the bounds -> Too
def area(radii, accuracies):
    return torch.trapezoid(torch.tensor(accuracies), torch.tensor(radii)) / radii[-1]


def area_bounds(radii, accuracies):
    return sum(accuracies[1:]) / (len(radii) - 1), sum(accuracies[:-1]) / (len(radii) - 1)


# %% 7.4 wrong: bounds: five per cent -> is true, but
def area(radii, accuracies):
    return torch.trapezoid(torch.tensor(accuracies), torch.tensor(radii)) / radii[-1]


def area_bounds(radii, accuracies):
    middle = float(area(radii, accuracies))
    low, high = middle - 0.6, middle + 0.6
    return low, high


# %% 7.4 wrong: bounds: one number -> should return 2 values
def area(radii, accuracies):
    return torch.trapezoid(torch.tensor(accuracies), torch.tensor(radii)) / radii[-1]


def area_bounds(radii, accuracies):
    return float(area(radii, accuracies))


# %% 7.4 wrong: rises at flat places -> is not
def area(radii, accuracies):
    low, high = area_bounds(radii, accuracies)
    return (low + high) / 2


def area_bounds(radii, accuracies):
    w = [b - a for a, b in zip(radii, radii[1:])]
    keep = [k for k in range(len(w)) if accuracies[k] != accuracies[k + 1]]
    low = sum(w[k] * accuracies[k + 1] for k in keep) / radii[-1]
    high = sum(w[k] * accuracies[k] for k in keep) / radii[-1]
    return low, high


# %% 7.4 wrong: empties the lists -> in place
def area(radii, accuracies):
    low, high = area_bounds(list(radii), accuracies)
    return (low + high) / 2


def area_bounds(radii, accuracies):
    end, low, high = radii[-1], 0.0, 0.0
    while len(radii) > 1:
        w = radii[-1] - radii[-2]
        low += w * accuracies[len(radii) - 1]
        high += w * accuracies[len(radii) - 2]
        radii.pop()
    return low / end, high / end


# %% 7.5 right: divided by the standard deviation
def unmaskable_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    return (rival - own) / logits.std(1)


# %% 7.5 right: divided by the range, detached
def unmaskable_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    width = (logits.max(1).values - logits.min(1).values).detach()
    return (rival - own) / width


# %% 7.5 right: third largest, the loss of Croce and Hein
def unmaskable_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    ordered = logits.sort(1, descending=True).values
    return (rival - own) / (ordered[:, 0] - ordered[:, 2])


# %% 7.5 right: sum of distances, loops and print
def unmaskable_loss(logits, labels):
    losses = []
    for row, y in zip(logits, labels):
        others = torch.cat([row[:y], row[y + 1 :]])
        losses.append((others.max() - row[y]) / (row - row.mean()).abs().sum().detach())
    print(len(losses))
    return torch.stack(losses)


# %% 7.5 right: arctangent of a quotient
def unmaskable_loss(logits, labels):
    hot = torch.nn.functional.one_hot(labels, logits.shape[1]).to(logits)
    centred = logits - logits.mean(1, keepdim=True)
    scaled = centred / centred.norm(dim=1, keepdim=True)
    return torch.atan((scaled - 1e3 * hot).amax(1) - (scaled * hot).sum(1))


# %% 7.5 right: own minus the rival of a rescaled cross-entropy
def unmaskable_loss(logits, labels):
    scale = (logits.amax(1) - logits.amin(1)).detach()[:, None]
    q = torch.log_softmax(5 * logits / scale, 1)
    own = q.gather(1, labels[:, None])[:, 0]
    return q.scatter(1, labels[:, None], -math.inf).max(1).values - own


# %% 7.5 wrong: margin loss -> 1000 times as large your loss is 1000 times
def unmaskable_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    return rival - own


# %% 7.5 wrong: cross-entropy -> positive where
def unmaskable_loss(logits, labels):
    return F.cross_entropy(logits, labels, reduction="none")


# %% 7.5 wrong: other sign -> positive where
def unmaskable_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    return (own - rival) / logits.std(1)


# %% 7.5 wrong: probabilities -> your loss changes
def unmaskable_loss(logits, labels):
    p = logits.softmax(1)
    own = p.gather(1, labels[:, None])[:, 0]
    return p.scatter(1, labels[:, None], -1.0).max(1).values - own


# %% 7.5 wrong: sign of the margin -> gradient
def unmaskable_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    return torch.sign(rival - own)


# %% 7.5 wrong: detached -> no gradient reaches
def unmaskable_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    return ((rival - own) / logits.std(1)).detach()


# %% 7.5 wrong: norm of the logits -> changes no prediction
def unmaskable_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    return (rival - own) / logits.norm(dim=1)


# %% 7.5 wrong: largest logit -> positive where
def unmaskable_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    return (rival - own) / logits.max(1).values


# %% 7.5 wrong: absolute largest logit -> changes no prediction
def unmaskable_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    return (rival - own) / logits.abs().max(1).values


# %% 7.5 wrong: true class competes -> positive where
def unmaskable_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    return (logits.max(1).values - own) / logits.std(1)


# %% 7.5 wrong: whole batch in the norm -> other images in the batch
def unmaskable_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    return (rival - own) / logits.std()


# %% 7.5 wrong: mean over the batch -> shape
def unmaskable_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    return ((rival - own) / logits.std(1)).mean()


# %% 7.5 wrong: small number added -> your loss changes
def unmaskable_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    return (rival - own) / (logits.std(1) + 0.01)


# %% 7.5 wrong: mean of the rivals -> best other
def unmaskable_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    mean = (logits.sum(1) - own) / (logits.shape[1] - 1)
    return (mean - own) / logits.std(1)


# %% 7.5 wrong: divided by the margin -> gradient is zero
def unmaskable_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    return (rival - own) / (rival - own).abs()


# %% 7.5 wrong: hyperbolic tangent -> your loss changes
def unmaskable_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    return torch.tanh(rival - own)


# %% 7.5 wrong: numbers taken out by item -> no gradient reaches
def unmaskable_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    values = [((a - b) / s).item() for a, b, s in zip(rival, own, logits.std(1))]
    return torch.tensor(values, dtype=logits.dtype)


# %% 7.5 wrong: true logit detached -> lowering the true logit
def unmaskable_loss(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    return (rival - own.detach()) / logits.std(1).detach()


# %% 7.5 wrong: always float64 -> keep the dtype
def unmaskable_loss(logits, labels):
    logits = logits.double()
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    return (rival - own) / logits.std(1)


# %% 7.6 right: autograd.grad and the sum
def fgsm(network, x, labels, eps):
    z = x.clone().requires_grad_()
    loss = F.cross_entropy(network(z), labels, reduction="sum")
    return (x + eps * torch.autograd.grad(loss, z)[0].sign()).clamp(0, 1).detach()


# %% 7.6 right: backward and the mean
def fgsm(network, x, labels, eps):
    z = x.detach().clone()
    z.requires_grad = True
    loss = torch.nn.CrossEntropyLoss()(network(z), labels)
    loss.backward()
    with torch.no_grad():
        return torch.min(
            torch.max(x + eps * torch.sign(z.grad), torch.tensor(0.0)), torch.tensor(1.0)
        )


# %% 7.6 right: own log-softmax, image by image
def fgsm(network, x, labels, eps):
    result = []
    for image, y in zip(x, labels):
        z = image[None].clone().requires_grad_()
        logits = network(z)[0]
        g = torch.autograd.grad(torch.logsumexp(logits, 0) - logits[y], z)[0][0]
        result.append(torch.clamp(image + eps * g / g.abs().clamp(min=1e-300), 0, 1))
    return torch.stack(result)


# %% 7.6 right: torch.func and numpy
def fgsm(network, x, labels, eps):
    loss = lambda z: -torch.log_softmax(network(z), 1).gather(1, labels[:, None]).sum()
    g = torch.func.grad(loss)(x)
    print(g.shape)
    return np.clip(x.numpy() + eps * np.sign(g.detach().numpy()), 0, 1)


# %% 7.6 wrong: the library -> write it yourself
def fgsm(network, x, labels, eps):
    return attacks.fgsm(network, x, labels, eps, loss="cross_entropy")


# %% 7.6 wrong: downhill -> downhill
def fgsm(network, x, labels, eps):
    z = x.clone().requires_grad_()
    g = torch.autograd.grad(F.cross_entropy(network(z), labels, reduction="sum"), z)[0]
    return (x - eps * g.sign()).clamp(0, 1)


# %% 7.6 wrong: no sign -> without its sign
def fgsm(network, x, labels, eps):
    z = x.clone().requires_grad_()
    g = torch.autograd.grad(F.cross_entropy(network(z), labels, reduction="sum"), z)[0]
    return (x + eps * g).clamp(0, 1)


# %% 7.6 wrong: Euclidean step -> Euclidean form
def fgsm(network, x, labels, eps):
    z = x.clone().requires_grad_()
    g = torch.autograd.grad(F.cross_entropy(network(z), labels, reduction="sum"), z)[0]
    return (x + eps * g / g.flatten(1).norm(dim=1)[:, None, None, None]).clamp(0, 1)


# %% 7.6 wrong: no clipping -> leaves the range
def fgsm(network, x, labels, eps):
    z = x.clone().requires_grad_()
    g = torch.autograd.grad(F.cross_entropy(network(z), labels, reduction="sum"), z)[0]
    return x + eps * g.sign()


# %% 7.6 wrong: clips the change -> clip the change
def fgsm(network, x, labels, eps):
    z = x.clone().requires_grad_()
    g = torch.autograd.grad(F.cross_entropy(network(z), labels, reduction="sum"), z)[0]
    return x + (eps * g.sign()).clamp(0, 1)


# %% 7.6 wrong: the change alone -> change alone
def fgsm(network, x, labels, eps):
    z = x.clone().requires_grad_()
    g = torch.autograd.grad(F.cross_entropy(network(z), labels, reduction="sum"), z)[0]
    return eps * g.sign()


# %% 7.6 wrong: eps / 255 -> 255
def fgsm(network, x, labels, eps):
    z = x.clone().requires_grad_()
    g = torch.autograd.grad(F.cross_entropy(network(z), labels, reduction="sum"), z)[0]
    return (x + eps / 255 * g.sign()).clamp(0, 1)


# %% 7.6 wrong: no zero in the sign -> slope is 0 should stay
def fgsm(network, x, labels, eps):
    z = x.clone().requires_grad_()
    g = torch.autograd.grad(F.cross_entropy(network(z), labels, reduction="sum"), z)[0]
    return (x + eps * (2.0 * (g > 0) - 1)).clamp(0, 1)


# %% 7.6 wrong: predicted class -> predicted class
def fgsm(network, x, labels, eps):
    z = x.clone().requires_grad_()
    g = torch.autograd.grad(F.cross_entropy(network(z), network(z).argmax(1), reduction="sum"), z)[
        0
    ]
    return (x + eps * g.sign()).clamp(0, 1)


# %% 7.6 wrong: margin loss -> margin loss
def fgsm(network, x, labels, eps):
    z = x.clone().requires_grad_()
    g = torch.autograd.grad(attacks.margin_loss(network(z), labels).sum(), z)[0]
    return (x + eps * g.sign()).clamp(0, 1)


# %% 7.6 wrong: true logit only -> lowers the true logit
def fgsm(network, x, labels, eps):
    z = x.clone().requires_grad_()
    g = torch.autograd.grad(-network(z).gather(1, labels[:, None]).sum(), z)[0]
    return (x + eps * g.sign()).clamp(0, 1)


# %% 7.6 wrong: one gradient for the batch -> One mean gradient
def fgsm(network, x, labels, eps):
    z = x.clone().requires_grad_()
    g = torch.autograd.grad(F.cross_entropy(network(z), labels, reduction="sum"), z)[0]
    return (x + eps * g.mean(0).sign()).clamp(0, 1)


# %% 7.6 wrong: gradient is None -> raised
def fgsm(network, x, labels, eps):
    z = x.clone().requires_grad_()
    image = z * 1.0
    F.cross_entropy(network(image), labels).backward()
    return (x + eps * image.grad.sign()).clamp(0, 1)


# %% 7.6 wrong: in place -> in place
def fgsm(network, x, labels, eps):
    x.requires_grad_()
    F.cross_entropy(network(x), labels).backward()
    x.data += eps * x.grad.sign()
    return x.detach().clamp(0, 1)


# %% 7.6 wrong: x unchanged -> do not move by eps
def fgsm(network, x, labels, eps):
    return x.clone()


# %% 7.6 wrong: random signs -> do not move by eps
def fgsm(network, x, labels, eps):
    return (x + eps * torch.randn(x.shape).sign()).clamp(0, 1)


# %% 7.6 wrong: halved step -> do not move by eps
def fgsm(network, x, labels, eps):
    z = x.clone().requires_grad_()
    g = torch.autograd.grad(F.cross_entropy(network(z), labels, reduction="sum"), z)[0]
    return (x + eps / 2 * g.sign()).clamp(0, 1)


# %% 7.6 wrong: twice the step -> moves by more than eps
def fgsm(network, x, labels, eps):
    z = x.clone().requires_grad_()
    g = torch.autograd.grad(F.cross_entropy(network(z), labels, reduction="sum"), z)[0]
    return (x + 2 * eps * g.sign()).clamp(0, 1)
