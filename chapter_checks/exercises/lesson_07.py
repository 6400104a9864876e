"""Checks of coursework 7: attack and certify."""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine import Attempt, exercise
from ..sendable import dense_network


def rivals_of(labels: Tensor, classes: int) -> Tensor:
    """bool (B, classes): all classes but the true one."""
    return F.one_hot(labels, classes) == 0


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """F_y - max of the others (B,)."""
    others = rivals_of(labels, logits.shape[1])
    return logits[~others] - torch.where(others, logits, -torch.inf).amax(1)


def same(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    return len(a) > 0 and bool(
        b.isfinite().all() and (a - b).abs().max() <= tolerance * b.abs().max()
    )


def some_labels(attempt: Attempt, logits: Tensor) -> Tensor:
    """The predicted class for most samples, another one for at least the last."""
    labels = logits.argmax(1)
    labels[-1:] = logits[-1:].argsort(1)[:, -2]
    some = labels[1::3]
    some[:] = torch.randint(0, logits.shape[1], some.shape, generator=attempt.generator)
    return labels


def tanh_network(attempt: Attempt, pixels: int, classes: int, size: float, unseen=None):
    first = size * attempt.randn(8, pixels) / 2
    second = attempt.randn(classes, 8)
    if unseen is not None:  # a pixel that the network does not look at
        first[:, unseen] = 0
    biases = [attempt.randn(8) / 2, attempt.randn(classes) / 2]
    return dense_network([first, second], biases, "tanh")


def slope_of(loss, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(loss(x).sum(), x)[0]


def lengths(x: Tensor) -> Tensor:
    norms = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norms.reshape(-1, *[1] * (x.ndim - 1))


@exercise(
    "7.1", "A radius in pixels", points=2, minutes=12, without=("certificates.certified_radius",)
)
def pixel_radius(attempt: Attempt) -> None:
    def is_misread(logits, labels, L, std, radius, factor):
        """Whether the worst network with these bounds misreads an image at factor * radius.

        Its logits are pixels of the channel with the smallest std.
        """
        eye = torch.eye(logits.shape[1])
        turns = (eye[None] - eye[labels][:, None]) / math.sqrt(2)
        moved = logits[:, None] + L / min(std) * factor * radius[:, None, None] * turns
        own = moved.gather(2, labels[:, None, None].expand(-1, len(eye), 1))[..., 0]
        gap = own - torch.diagonal(moved, dim1=1, dim2=2)
        return torch.where(rivals_of(labels, len(eye)), gap, torch.inf).amin(1) < 0

    sizes = [(9, 10, 3), (1, 3, 1), (6, 4, 3), (5, 2, 2), (7, 5, 3)]
    for size, classes, channels in sizes:
        logits = attempt.uniform(0.5, 3.0) * attempt.randn(size, classes)
        labels = some_labels(attempt, logits) if size > 1 else logits.argmax(1)
        L = attempt.uniform(0.1, 0.6) if size == 7 else attempt.uniform(1.5, 5.0)
        most = 3.0 if size == 6 else 0.4  # normalising may also make distances smaller
        std = attempt.uniform(most / 2, most, channels).tolist()
        radius = attempt.tensor("pixel_radius", logits, labels, L, std, shape=(size,))
        lead = margin(logits, labels)
        good = lead > 0
        misread = partial(is_misread, logits, labels, L, std, radius)
        if misread(0.999)[good].any() or not misread(1.001)[good].all():
            net = lead[good] / (math.sqrt(2) * L)
            s = min(std)
            others = rivals_of(labels, classes)
            mean_rival = torch.where(others, logits, 0).sum(1) / (classes - 1)
            mean_lead = (logits[~others] - mean_rival)[good]
            soft = margin(logits.softmax(1), labels)[good] / (math.sqrt(2) * L)
            mistakes = {
                "The difference of two logits can change faster than each of them. "
                "By which factor?": math.sqrt(2) * net * s,
                "Both logits may move, but not both at full speed: how long is e_y - e_j? "
                "This radius is safe, but not the best.": net * s / math.sqrt(2),
                "This is a distance behind the normalisation, not in pixels.": net,
                "Normalising with a small std makes distances larger. "
                "So how long was the change before it?": net / s,
                "The change may lie in any channel. "
                "In which one does the normalisation stretch it most?": net * max(std),
                "The mean of the channels is no bound: the change may lie in one channel.": (
                    net * (sum(std) / channels)
                ),
                "The norm of std is no bound: the change may lie in one channel.": (
                    net * math.hypot(*std)
                ),
                "The more sensitive the network, the *smaller* the radius.": net * s * L**2,
                "L is missing.": net * s * L,
                "L enters once.": net * s / L,
                "The strongest rival decides, not the mean of them.": (
                    mean_lead / (math.sqrt(2) * L) * s
                ),
                "L bounds the logits, not the probabilities. Take the margin of the logits.": (
                    soft * s
                ),
                "This is the number for the most fragile image. Each image has its own radius.": (
                    (net * s).amin().expand(len(net))
                ),
            }
            attempt.rule_out(radius[good], mistakes, rtol=1e-5)
            attempt.require(
                (radius[good] > 0).all(),
                "Where the prediction is right, the radius is positive, if the lead is small too.",
            )
            if misread(0.999)[good].any():
                attempt.fail(
                    "Too large: there is a network with this L for which an image closer than your "
                    "radius is misread."
                )
            attempt.fail(
                "Safe, but too small: for every network with this L a larger radius is certain."
            )
        if not good.all():
            attempt.require(
                (radius[~good] == 0).all(),
                "Where the prediction is wrong there is nothing to certify: the radius is 0.",
            )


@exercise(
    "7.2",
    "A certificate for each pair of classes",
    points=2,
    minutes=15,
    without=("certificates.certified_radius",),
)
def pairwise_radius(attempt: Attempt) -> None:
    def smallest_of(others, quotient):
        return torch.where(others, quotient, torch.inf).nan_to_num(torch.inf).amin(1)

    def lead_left(others, gaps, losses, factor):
        """What is left of the lead in the worst case."""
        return torch.where(others, gaps - factor * losses, torch.inf).amin(1)

    shown = torch.tensor([[1.0, 0.0], [0.6, 0.0], [0.0, 0.2]])
    twins = attempt.randn(4, 3)
    twins = twins / twins.norm(dim=1, keepdim=True)
    twins[2] = twins[0]  # two classes that only q tells apart
    matrices = [
        attempt.randn(5, 8),
        attempt.randn(6, 3) * attempt.uniform(0.2, 2.0, 6, 1),
        shown,
        twins,
        attempt.randn(2, 4),
    ]
    for P in matrices:
        q = attempt.randn(len(P))
        L = attempt.uniform(0.1, 0.6) if len(P) == 6 else attempt.uniform(1.5, 4.0)
        features = 2 * attempt.randn(9, P.shape[1])
        if P is twins:  # the first two images belong to the two
            features[:2] = 50 * P[0]
        logits = features @ P.T + q
        labels = some_labels(attempt, logits)
        if P is twins:  # one is read as the right twin, the other as the wrong one
            labels[:2] = logits[0].argsort(descending=True)[:2]
        radius = attempt.tensor("pairwise_radius", features, labels, P, q, L, shape=(9,))
        good = margin(logits, labels) > 0
        others = rivals_of(labels, len(P))
        gaps = logits[~others][:, None] - logits
        apart = (P[labels][:, None] - P).norm(dim=2)
        left = partial(lead_left, others, gaps, radius[:, None] * L * apart)
        if (left(0.999)[good] < 0).any() or (left(1.001)[good] > 0).any():
            others = others[good]
            gaps = gaps[good]
            apart = apart[good]
            spectral = torch.linalg.matrix_norm(P, 2)
            lead = margin(logits, labels)[good]
            first = torch.where(others, logits[good], -torch.inf).argmax(1, keepdim=True)
            smallest = partial(smallest_of, others)
            own = P[labels[good]].norm(dim=1, keepdim=True)
            plain = features[good] @ P.T
            plain_gaps = plain[~others][:, None] - plain
            mistakes = {
                "This is the radius of Claim 7.1. It is safe; looking at the pairs one by one "
                "certifies more.": lead / (math.sqrt(2) * L * spectral),
                "The rival with the largest logit is not always the first to overtake: "
                "a weaker one may catch up faster.": lead / (L * apart.gather(1, first)[:, 0]),
                "L_g is missing: the features may move that fast.": smallest(gaps / apart),
                "A larger L_g makes the radius *smaller*.": smallest(gaps * L / apart),
                "The distance of the two rows counts, not its square.": (
                    smallest(gaps / (L * apart**2))
                ),
                "Multiply by the distance or divide by it? "
                "Rows far apart change F_y - F_j faster.": smallest(gaps * apart / L),
                "The norms of the two rows: their *difference* is what multiplies the features.": (
                    smallest(gaps / (L * (own + P.norm(dim=1))))
                ),
                "The norm of the rival's row alone: the own logit moves too.": (
                    smallest(gaps / (L * P.norm(dim=1)))
                ),
                "The norm of the own row alone: the rival's logit moves too.": (
                    smallest(gaps / (L * own))
                ),
                "The factor sqrt(2) belongs to Claim 7.1: here the distance of the rows "
                "takes its place.": smallest(gaps / (math.sqrt(2) * L * apart)),
                "The offsets q are part of the logits.": (
                    smallest(plain_gaps / (L * apart)).clamp(min=0)
                ),
                "This is the most distant rival. One rival that overtakes is enough.": (
                    torch.where(others, gaps / (L * apart), -torch.inf).amax(1)
                ),
            }
            attempt.rule_out(radius[good], mistakes, rtol=1e-5)
            attempt.require(
                (radius[good] > 0).all(),
                "Where the prediction is right the radius is positive, "
                "and infinite for equal rows.",
            )
            if (left(0.999)[good] < 0).any():
                attempt.fail(
                    "Too large: some change of the features that is shorter than L_g times your "
                    "radius changes the prediction."
                )
            attempt.fail(
                "Safe, but too small: no change within a larger radius can make any rival overtake."
            )
        attempt.require(
            (radius[~good] == 0).all(),
            "Where the prediction is wrong there is nothing to certify: the radius is 0.",
        )


def into_ball_and_box(z: Tensor, x: Tensor, eps: float) -> Tensor:
    shift = z - x
    return (x + shift * (eps / lengths(shift)).clamp(max=1)).clamp(0, 1)


def walk(
    network,
    x,
    labels,
    eps,
    steps,
    step_size,
    slope_at="z",
    project_at="each",
    first=True,
    last=False,
    sign=1.0,
):
    """The margin loss that PGD reaches (B,); the options are mistakes."""

    def loss(z):
        return -margin(network(z), labels)

    z = x
    seen = [loss(x)] if first else []
    for k in range(steps):
        g = slope_of(loss, z if slope_at == "z" else x)
        z = z + sign * step_size * g / lengths(g).clamp(min=1e-30)
        if project_at == "each" or k == steps - 1:
            z = into_ball_and_box(z, x, eps)
        seen.append(loss(z))
    return seen[-1] if last else torch.stack(seen).amax(0)


@exercise("7.3", "An attack and its budget", points=3, minutes=25)
def projected_gradient_descent(attempt: Attempt) -> None:
    for shape in ((7, 1, 4, 4), (5, 3, 2, 3), (1, 1, 3, 3)):
        eps = attempt.uniform(0.4, 0.8)
        x = attempt.uniform(0.0, 1.0, *shape)
        away = attempt.randn(*shape)
        far = attempt.uniform(0.2, 2.0, shape[0], 1, 1, 1)
        # nearly all of the first change is in one pixel
        far[0] = 1.7
        away[0, 0, 0, 0] = 9.0
        x[0, 0, 0, 0] = 0.05
        if shape[0] > 1:
            far[1] = 0.0  # the centre itself
            far[2] = 0.3  # a point inside
        z = x + eps * far * away / lengths(away)
        value = attempt.tensor("project", z, x, eps, shape=shape)
        right = into_ball_and_box(z, x, eps)
        if (value - right).abs().max() > 1e-6:
            shift = z - x
            factor = (eps / lengths(shift)).clamp(max=1)
            whole = shift * min(1.0, eps / shift.norm().item())
            surface = (eps * shift / lengths(shift)).nan_to_num(0.0)
            box_first = z.clamp(0, 1) - x
            mistakes = {
                "The norm of the whole batch: each image has its own ball.": (
                    (x + whole).clamp(0, 1)
                ),
                "Points inside the ball are pushed out to its surface. They should stay.": (
                    (x + surface).clamp(0, 1)
                ),
                "Only the pixel range: some images leave their ball.": z.clamp(0, 1),
                "This is the ball of the maximum norm: each pixel is cut off separately.": (
                    (x + shift.clamp(-eps, eps)).clamp(0, 1)
                ),
                "The pixel range comes after the ball: you clip first.": (
                    x + box_first * (eps / lengths(box_first)).clamp(max=1)
                ),
                "z itself is scaled. What must be shortened is the change z - x.": (
                    (z * (eps / lengths(z)).clamp(max=1)).clamp(0, 1)
                ),
                "The change is scaled, but not added to x.": (shift * factor).clamp(0, 1),
                "This is x itself.": x,
                "Only the ball: some pixels leave [0, 1].": x + shift * factor,
                "One factor for all images: each has its own.": (
                    (x + shift * factor.amin()).clamp(0, 1)
                ),
                "The change is clipped to [0, 1], not the image.": (
                    x + (shift * factor).clamp(0, 1)
                ),
            }
            attempt.rule_out(value, mistakes, rtol=0, atol=1e-6)
            n = lengths(value - x).max().item()
            attempt.require(
                n <= eps + 1e-6,
                f"After `project` an image is {n:.4g} away from its centre; eps is {eps:.4g}.",
            )
            attempt.fail(
                "`project`: shorten the change of each image that is longer than eps, "
                "leave the others, then clip to [0, 1]."
            )
    # shape of the images, size of the weights, steps, step size, eps
    smooth = [
        ((6, 1, 4, 4), 1.0, 1, 0.05, 1.0),
        ((6, 1, 4, 4), 1.0, 5, 0.04, 1.0),
        ((5, 3, 2, 3), 1.0, 8, 0.15, 0.5),
        ((8, 1, 4, 4), 4.0, 4, 0.9, 0.9),
        ((1, 1, 3, 3), 2.0, 10, 0.1, 0.4),
    ]
    cases = []
    for shape, size, *budget in smooth:
        network = tanh_network(attempt, math.prod(shape[1:]), 4, size)
        x = attempt.uniform(0.0, 1.0, *shape)
        x[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
        labels = network(x).argmax(1).detach()
        labels[-1:] = (labels[-1:] + attempt.integer(0, 1)) % 4
        cases.append((network, x, labels, *budget))
    # long steps across a hill: some images begin near its top, others at its foot
    for steps in (1, 3):
        uphill = attempt.randn(16)
        uphill = uphill / uphill.norm()
        place = torch.tensor([0.05, -0.08, 0.06, 0.5, -0.45, 0.4])
        walls = [-4 * (uphill.sum().item() / 2 + side) for side in (-0.15, 0.15)]
        weights = [4 * torch.stack([uphill, uphill]), torch.tensor([[0.0, 0.0], [1.0, -1.0]])]
        network = dense_network(weights, [torch.tensor(walls), torch.tensor([1.0, 0.0])], "tanh")
        grain = attempt.uniform(-0.02, 0.02, 6, 16)
        pixels = (0.5 + place[:, None] * uphill + grain).clamp(0, 1)
        x = pixels.reshape(6, 1, 4, 4)
        cases.append((network, x, torch.zeros(6, dtype=torch.int64), steps, 0.5, 0.9))
    for network, x, labels, steps, step_size, eps in cases:
        shape = x.shape
        z = attempt.tensor("pgd", network, x, labels, eps, steps, step_size, shape=shape)
        case = f"steps = {steps:.3g}, step_size = {step_size:.3g}, eps = {eps:.3g}"
        attempt.require(
            bool((z >= 0).all() and (z <= 1).all()),
            "Some pixels of the attacked images are outside [0, 1].",
        )
        gone = lengths(z - x).max().item()
        attempt.require(
            gone <= eps * (1 + 1e-6),
            f"{case}: an image ends {gone:.4g} away from x. Is its ball around x?",
        )
        with torch.no_grad():
            reached = -margin(network(z), labels)
            clean = -margin(network(x), labels)
        run = partial(walk, network, x, labels, eps, steps, step_size)
        if (reached - run()).abs().max() <= 1e-4:  # the steps amplify rounding
            continue
        attempt.require(
            not same(reached, clean),
            "Your result is the clean image. Do you walk uphill, so that the margin loss grows, "
            "and is the point after the last step tried too?",
        )
        mistakes = {
            "This goes downhill: the margin loss is positive where the prediction is *wrong*.": (
                run(sign=-1.0, last=True)
            ),
            "The clean image was visited too: it may be the best.": run(first=False),
            "This is the last point. Return the best one that was visited, for each image.": (
                run(last=True)
            ),
            "The slope is always taken at x. After each step ask for it anew.": run(slope_at="x"),
            "This projects once, at the end. Return to the ball after every step.": (
                run(project_at="last")
            ),
            "This is one step too few.": walk(network, x, labels, eps, steps - 1, step_size),
            "This is one step too many.": walk(network, x, labels, eps, steps + 1, step_size),
            "This is the step size of the lesson, 2.5 eps / steps. Here `step_size` is given.": (
                walk(network, x, labels, eps, steps, 2.5 * eps / steps)
            ),
        }
        attempt.rule_out(reached, mistakes, rtol=1e-5)
        attempt.require(
            (reached >= clean - 1e-9).all(),
            "Some image has a smaller margin loss than the clean one, which was visited too.",
        )
        attempt.require(
            gone <= steps * step_size * (1 + 1e-6),
            f"{case}: {steps} steps cannot lead {gone:.4g} away. How long is your step?",
        )
        attempt.fail(
            f"{case}: the margin losses are not those of the best visited points. "
            "Is each step as long as step_size, for each image?"
        )
    x = attempt.uniform(0.2, 0.8, 3, 1, 2, 2)
    weights = [torch.zeros(5, 4), attempt.randn(3, 5)]
    flat = dense_network(weights, [attempt.randn(5), attempt.randn(3)], "tanh")
    still = attempt.tensor("pgd", flat, x, torch.tensor([0, 1, 2]), 0.5, 3, 0.1, shape=x.shape)
    attempt.require(
        (still - x).abs().max() <= 1e-9, "Where the slope is zero the point should stay."
    )


@exercise("7.4", "One number for a curve", points=2, minutes=15)
def area_under_the_curve(attempt: Attempt) -> None:
    def curve(points):
        gaps = attempt.uniform(0.05, 1.0, points - 1)
        falls = attempt.uniform(0.0, 1.0, points)
        radii = torch.cat([torch.zeros(1), gaps.cumsum(0)])
        accuracies = 1 - falls.cumsum(0) / (falls.sum() * attempt.uniform(1.0, 1.5))
        return radii.tolist(), accuracies.tolist()

    shown = [0, 8 / 255, 16 / 255, 36 / 255, 0.3, 0.5, 0.6, 0.8, 1]
    lesson = [0.88, 0.87, 0.85, 0.78, 0.64, 0.43, 0.33, 0.17, 0.07]
    flat = ([0.0, 0.1, 2.0], [0.7, 0.7, 0.7])
    for radii, accuracies in (curve(5), curve(2), curve(9), (shown, lesson), flat):
        r = torch.tensor(radii, dtype=torch.float64)
        a = torch.tensor(accuracies)
        width = r.diff()
        end = radii[-1]
        low = (width * a[1:]).sum().item() / end
        high = (width * a[:-1]).sum().item() / end
        value = attempt.number("area", radii, accuracies)
        at = (torch.arange(40_000) + 0.5) / 40_000 * end  # the polygon, at many places
        k = torch.searchsorted(r, at).clamp(1, len(radii) - 1)
        height = a[k - 1] + (a[k] - a[k - 1]) * (at - r[k - 1]) / width[k - 1]
        mean = height.mean().item()
        if abs(value - mean) > 1e-4:
            mistakes = {
                "The mean of the numbers: it counts crowded radii too often. "
                "Their distances differ.": a.mean().item(),
                "Divide by the largest radius: the area should be a mean accuracy.": mean * end,
                "These are rectangles with the left accuracy. Join the points by straight lines.": (
                    high
                ),
                "These are rectangles with the right accuracy. "
                "Join the points by straight lines.": low,
                "Multiply width and height; divide by the largest radius once.": mean / end,
            }
            attempt.rule_out(value, mistakes, rtol=0, atol=1e-6)
            attempt.fail(
                f"The mean height of the polygon through these {len(radii)} points is "
                f"not {value:.4g}."
            )
        bounds = attempt.several("area_bounds", radii, accuracies, count=2)
        below = attempt.as_number(bounds[0], "the first value of `area_bounds`")
        above = attempt.as_number(bounds[1], "the second value of `area_bounds`")
        attempt.require(below <= above, "The smaller bound comes first.")
        attempt.require(
            below - 1e-9 <= low,
            "Too high: a curve that drops right after each radius also passes through the points, "
            "and its area is smaller.",
        )
        attempt.require(
            above + 1e-9 >= high,
            "Too low: a curve that drops only just before the next radius has a larger area.",
        )
        attempt.require(
            below >= low - 1e-6,
            f"Your lower bound {below:.4g} is true, "
            f"but no curve that never rises comes close to it: can it be {below:.4g}?",
        )
        attempt.require(
            above <= high + 1e-6,
            f"Your upper bound {above:.4g} is true, "
            "but no curve that never rises and passes through the points reaches it.",
        )


@exercise("7.5", "A loss that no factor can mask", points=3, minutes=20)
def unmaskable_loss(attempt: Attempt) -> None:
    name = "unmaskable_loss"

    def loss(logits, labels, dtype):
        return attempt.tensor(name, logits.to(dtype), labels, shape=labels.shape, dtype=dtype)

    sizes = [(8, 10, torch.float64), (1, 4, torch.float64), (6, 5, torch.float32)]
    for size, classes, dtype in sizes:
        logits = attempt.uniform(0.5, 3.0) * attempt.randn(size, classes) + attempt.randn(size, 1)
        labels = some_labels(attempt, logits) if size > 1 else logits.argmax(1)
        lead = margin(logits, labels)
        others = rivals_of(labels, classes)
        tolerance = 1e-6 if dtype == torch.float64 else 1e-3
        value = loss(logits, labels, dtype)
        right = "positive where the prediction is wrong and negative where it is right"
        attempt.require(
            (torch.sign(value) == -torch.sign(lead)).all(),
            f"The loss should be {right}. "
            "Is it the *best other* class that you compare with the true one?",
        )
        for k in range(size):
            alone = loss(logits[k : k + 1], labels[k : k + 1], dtype)
            attempt.require(
                same(alone, value[k : k + 1], tolerance),
                "The loss of an image changes with the other images in the batch.",
            )
        for factor in (1000.0, 0.01, 1e6, 7.0):
            scaled = loss(factor * logits, labels, dtype)
            hint = f"With logits {factor:g} times as large, your loss changes: it should not."
            if same(scaled, factor * value, tolerance):
                hint = (
                    "With logits 1000 times as large your loss is 1000 times as large. "
                    "Divide by something that grows as they do."
                )
            attempt.require(same(scaled, value, tolerance), hint)
        shift = attempt.uniform(2.0, 5.0, size, 1)
        moved = loss(logits + shift, labels, dtype)
        attempt.require(
            same(moved, value, tolerance),
            "Adding one number to all logits of an image changes no prediction, "
            "but it changes your loss. What do you divide by?",
        )
        rival = torch.where(others, logits, -torch.inf).argmax(1)
        correct = lead > 0
        for factor in (1.0, 1000.0):
            sent = (factor * logits).to(dtype)
            _, slope = attempt.with_gradient(name, sent, labels)
            slope = attempt.as_tensor(slope, "The gradient of your loss", sent.shape, dtype)
            attempt.require(
                (slope[correct].abs().amax(1) > 0).all(),
                "Your gradient is zero: an attack would not move.",
            )
            rows = torch.arange(size)
            down = slope[rows, labels][correct]
            up = slope[rows, rival][correct]
            hint = (
                "Where the prediction is right, lowering the true logit or raising the best other "
                "one should increase the loss. See your gradient."
            )
            attempt.require((down < 0).all() and (up > 0).all(), hint)


def cross_entropy(network, labels: Tensor, x: Tensor) -> Tensor:
    return F.cross_entropy(network(x), labels, reduction="sum")


def minus_margin(network, labels: Tensor, x: Tensor) -> Tensor:
    return -margin(network(x), labels)


def minus_true_logit(network, labels: Tensor, x: Tensor) -> Tensor:
    return -network(x).gather(1, labels[:, None])


@exercise(
    "7.6",
    "The original: the fast gradient sign method",
    points=2,
    minutes=12,
    without=("attacks.fgsm",),
)
def fast_gradient_sign(attempt: Attempt) -> None:
    def signed_step(x, eps, loss):
        return (x + eps * slope_of(loss, x).sign()).clamp(0, 1)

    cases = [((6, 1, 4, 4), 4), ((5, 3, 2, 3), 5), ((1, 1, 3, 3), 3), ((4, 2, 3, 3), 2)]
    for shape, classes in cases:
        pixels = math.prod(shape[1:])
        unseen = attempt.integer(0, pixels - 1)
        network = tanh_network(attempt, pixels, classes, 0.7, unseen)
        eps = attempt.uniform(0.05, 0.25)
        x = attempt.uniform(0.0, 1.0, *shape)
        x.flatten(1)[:, ::4] = 0.0
        x.flatten(1)[:, 1::4] = 1.0
        x.flatten(1)[:, unseen] = 0.5
        with torch.no_grad():
            logits = network(x)
        labels = some_labels(attempt, logits) if shape[0] > 1 else logits.argmax(1)
        y = attempt.tensor("fgsm", network, x, labels, eps, shape=shape)
        g = slope_of(partial(cross_entropy, network, labels), x)
        right = (x + eps * g.sign()).clamp(0, 1)
        if (y - right).abs().max() <= 1e-9:
            continue
        signed = partial(signed_step, x, eps)
        guess = logits.argmax(1)
        mistakes = {
            "This goes downhill: it makes the true class more certain.": (
                (x - eps * g.sign()).clamp(0, 1)
            ),
            "The gradient without its sign: each pixel should move by eps, up or down.": (
                (x + eps * g).clamp(0, 1)
            ),
            "This is the Euclidean form of the lesson. Here each pixel moves by eps, up or down.": (
                (x + eps * g / lengths(g)).clamp(0, 1)
            ),
            "The image leaves the range [0, 1].": x + eps * g.sign(),
            "The image must stay in [0, 1]; you clip the change.": x + (eps * g.sign()).clamp(0, 1),
            "This is the change alone.": eps * g.sign(),
            "The pixels are in [0, 1] already: eps needs no division by 255.": (
                (x + eps / 255 * g.sign()).clamp(0, 1)
            ),
            "A pixel whose slope is 0 should stay. sign(0) is 0.": (
                (x + eps * torch.where(g > 0, 1.0, -1.0)).clamp(0, 1)
            ),
            "A pixel whose slope is 0 should stay. What is sign(0)?": (
                (x + eps * torch.where(g >= 0, 1.0, -1.0)).clamp(0, 1)
            ),
            "This takes the predicted class for the true one. Some of these images are "
            "misread already.": signed(partial(cross_entropy, network, guess)),
            "This climbs the margin loss. Here the loss is the cross-entropy.": (
                signed(partial(minus_margin, network, labels))
            ),
            "This lowers the true logit only. The cross-entropy contains the others too.": (
                signed(partial(minus_true_logit, network, labels))
            ),
            "One mean gradient for the whole batch: each image has its own.": (
                (x + eps * g.sum(0).sign()).clamp(0, 1)
            ),
        }
        attempt.rule_out(y, mistakes, rtol=0, atol=1e-9)
        attempt.require(bool((y >= 0).all() and (y <= 1).all()), "Some pixels leave [0, 1].")
        attempt.require((y - x).abs().max() <= eps + 1e-9, "Some pixel moves by more than eps.")
        attempt.fail(
            "Some pixels do not move by eps in the direction in which the cross-entropy grows."
        )
