import torch


# %% 8.A right: amounts given
def positive_step(x, rates, h):
    given = rates * x.unsqueeze(1)
    return x + h * given.sum(2) - h * given.sum(1)


# %% 8.A right: S(x) times ones
def positive_step(x, rates, h):
    amounts = torch.einsum("bjl,bl->bjl", rates, x)
    S = amounts - amounts.transpose(1, 2)
    return x + h * (S @ torch.ones(x.shape[1]))


# %% 8.A right: a matrix of shares
def positive_step(x, rates, h):
    stays = 1 - h * rates.sum(1)
    return stays * x + h * torch.bmm(rates, x[:, :, None])[:, :, 0]


# %% 8.A right: loops
def positive_step(x, rates, h):
    new = x.clone()
    for j in range(x.shape[1]):
        for l in range(x.shape[1]):
            amount = h * rates[:, j, l] * x[:, l]
            new[:, j] += amount
            new[:, l] -= amount
    return new


# %% 8.A wrong: the other way -> wrong way
def positive_step(x, rates, h):
    given = rates * x[:, None, :]
    return x + h * (given.mT - given).sum(-1)


# %% 8.A wrong: index of the giver -> *second* index
def positive_step(x, rates, h):
    given = rates * x[:, :, None]
    return x + h * (given - given.mT).sum(-1)


# %% 8.A wrong: both swapped -> *second* index
def positive_step(x, rates, h):
    given = rates * x[:, :, None]
    return x + h * (given - given.mT).sum(-2)


# %% 8.A wrong: only the change -> Add it to x
def positive_step(x, rates, h):
    given = rates * x[:, None, :]
    return h * (given - given.mT).sum(-1)


# %% 8.A wrong: only the field -> Take a step
def positive_step(x, rates, h):
    given = rates * x[:, None, :]
    return (given - given.mT).sum(-1)


# %% 8.A wrong: no h -> step h is missing
def positive_step(x, rates, h):
    given = rates * x[:, None, :]
    return x + (given - given.mT).sum(-1)


# %% 8.A wrong: rates as amounts -> share of what it *has*
def positive_step(x, rates, h):
    return x + h * (rates - rates.mT).sum(-1)


# %% 8.A wrong: nothing taken away -> not taken from them
def positive_step(x, rates, h):
    return x + h * (rates @ x[:, :, None])[:, :, 0]


# %% 8.A wrong: nothing arrives -> does not arrive
def positive_step(x, rates, h):
    return x * (1 - h * rates.sum(1))


# %% 8.A wrong: normalised -> share of what it *has*
def positive_step(x, rates, h):
    return x + h * (rates.sum(2) - rates.sum(1))


# %% 8.A wrong: clamped instead -> sum of a row changes
def positive_step(x, rates, h):
    return (x - 10 * h * rates.sum(1)).clamp(min=0)


# %% 8.A wrong: only one state -> shape
def positive_step(x, rates, h):
    given = rates[0] * x[0]
    return x[0] + h * (given - given.T).sum(-1)


# %% 8.A wrong: in place -> changes its argument
def positive_step(x, rates, h):
    given = rates * x[:, None, :]
    x += h * (given - given.mT).sum(-1)
    return x


# %% 8.B right: in two lines
def kick(q, p, A, a, b, h):
    g = torch.tanh(q @ A.T + b) @ torch.diag(a) @ A
    return p - h * g


# %% 8.B right: einsum
def kick(q, p, A, a, b, h):
    units = torch.tanh(torch.einsum("mn,bn->bm", A, q) + b)
    return p - h * torch.einsum("mn,m,bm->bn", A, a, units)


# %% 8.B right: columns
def kick(q, p, A, a, b, h):
    units = torch.tanh(A @ q.T + b[:, None])
    return p - h * (A.T @ (a[:, None] * units)).T


# %% 8.B right: the gradient of an energy
def kick(q, p, A, a, b, h):
    q = q.detach().requires_grad_()
    with torch.enable_grad():
        V = (a * torch.log(torch.cosh(q @ A.T + b))).sum()
        (g,) = torch.autograd.grad(V, q)
    return p - h * g


# %% 8.B wrong: uphill -> *minus*
def kick(q, p, A, a, b, h):
    return p + h * (a * torch.tanh(q @ A.T + b)) @ A


# %% 8.B wrong: no step -> step h is missing
def kick(q, p, A, a, b, h):
    return p - (a * torch.tanh(q @ A.T + b)) @ A


# %% 8.B wrong: only g -> This is g
def kick(q, p, A, a, b, h):
    return (a * torch.tanh(q @ A.T + b)) @ A


# %% 8.B wrong: only h g -> Subtract it
def kick(q, p, A, a, b, h):
    return h * (a * torch.tanh(q @ A.T + b)) @ A


# %% 8.B wrong: new positions -> in place of p
def kick(q, p, A, a, b, h):
    return q - h * (a * torch.tanh(q @ A.T + b)) @ A


# %% 8.B wrong: force of p -> positions q
def kick(q, p, A, a, b, h):
    return p - h * (a * torch.tanh(p @ A.T + b)) @ A


# %% 8.B wrong: no a -> factors a
def kick(q, p, A, a, b, h):
    return p - h * torch.tanh(q @ A.T + b) @ A


# %% 8.B wrong: no b -> shift b
def kick(q, p, A, a, b, h):
    return p - h * (a * torch.tanh(q @ A.T)) @ A


# %% 8.B wrong: a inside -> outside of the tanh
def kick(q, p, A, a, b, h):
    return p - h * torch.tanh(a * (q @ A.T + b)) @ A


# %% 8.B wrong: linear -> tanh is missing
def kick(q, p, A, a, b, h):
    return p - h * (a * (q @ A.T + b)) @ A


# %% 8.B wrong: half a kick -> half a kick
def kick(q, p, A, a, b, h):
    return p - h / 2 * (a * torch.tanh(q @ A.T + b)) @ A


# %% 8.B wrong: transposed -> raised
def kick(q, p, A, a, b, h):
    return p - h * (a * torch.tanh(q @ A + b)) @ A.T


# %% 8.B wrong: another activation -> Which matrix
def kick(q, p, A, a, b, h):
    return p - h * (a * torch.relu(q @ A.T + b)) @ A


# %% 8.C right: the sum
alpha_by_hand = (3 + 1 / 3) / (1 + 3 + 1 / 3)


# %% 8.C right: a fraction
alpha_by_hand = 10 / 13


# %% 8.C right: Claim 5.4
alpha_by_hand = (0.75 + 0.25 - 2 * 0.75 * 0.25) / (1 - 0.75 * 0.25)


# %% 8.C right: rounded
alpha_by_hand = torch.tensor(0.769)


# %% 8.C wrong: not back -> go back to alpha
alpha_by_hand = 3 + 1 / 3


# %% 8.C wrong: the larger -> second layer costs
alpha_by_hand = 0.75


# %% 8.C wrong: the sum of alphas -> sum of the alphas
alpha_by_hand = 0.75 + 0.25


# %% 8.C wrong: mean -> mean of the alphas
alpha_by_hand = 0.5


# %% 8.C wrong: product -> product
alpha_by_hand = 0.75 * 0.25


# %% 8.C wrong: alpha = c -> c / 2
alpha_by_hand = (1.5 + 0.5 - 2 * 1.5 * 0.5) / (1 - 1.5 * 0.5)


# %% 8.C wrong: the rest -> 1 minus
alpha_by_hand = 1 - 10 / 13


# %% 8.C wrong: a guess -> What does alpha = 1/4 give
alpha_by_hand = 0.8


# %% 8.D right: in one line
def pnp_step(x, y, mask, tau, denoiser):
    return torch.clamp(denoiser(x - tau * mask * (x - y)), min=0, max=1)


# %% 8.D right: y is masked already
def pnp_step(x, y, mask, tau, denoiser):
    gradient = mask * x - mask * y
    better = denoiser(x - tau * gradient)
    return better.clip(0.0, 1.0)


# %% 8.D right: a mixture
def pnp_step(x, y, mask, tau, denoiser):
    moved = (1 - tau * mask) * x + tau * mask * y
    better = denoiser(moved)
    return torch.minimum(torch.maximum(better, 0 * better), 0 * better + 1)


# %% 8.D wrong: another dtype -> keep the dtype
def pnp_step(x, y, mask, tau, denoiser):
    better = denoiser(x - tau * mask * (x - y))
    return better.maximum(torch.zeros(1)).minimum(torch.ones(1))


# %% 8.D wrong: no clipping -> not clipped
def pnp_step(x, y, mask, tau, denoiser):
    return denoiser(x - tau * mask * (x - y))


# %% 8.D wrong: clips too early -> clip last
def pnp_step(x, y, mask, tau, denoiser):
    return denoiser((x - tau * mask * (x - y)).clamp(0, 1))


# %% 8.D wrong: no denoiser -> no denoiser
def pnp_step(x, y, mask, tau, denoiser):
    return (x - tau * mask * (x - y)).clamp(0, 1)


# %% 8.D wrong: no data -> no step towards the data
def pnp_step(x, y, mask, tau, denoiser):
    return denoiser(x).clamp(0, 1)


# %% 8.D wrong: uphill -> You climb
def pnp_step(x, y, mask, tau, denoiser):
    return denoiser(x + tau * mask * (x - y)).clamp(0, 1)


# %% 8.D wrong: no tau -> step tau is missing
def pnp_step(x, y, mask, tau, denoiser):
    return denoiser(x - mask * (x - y)).clamp(0, 1)


# %% 8.D wrong: a factor 2 -> no factor 2
def pnp_step(x, y, mask, tau, denoiser):
    return denoiser(x - 2 * tau * mask * (x - y)).clamp(0, 1)


# %% 8.D wrong: no mask -> mask is missing
def pnp_step(x, y, mask, tau, denoiser):
    return denoiser(x - tau * (x - y)).clamp(0, 1)


# %% 8.D wrong: the other order -> other way round
def pnp_step(x, y, mask, tau, denoiser):
    better = denoiser(x)
    return (better - tau * mask * (better - y)).clamp(0, 1)


# %% 8.D wrong: known pixels put back -> descend, denoise, clip
def pnp_step(x, y, mask, tau, denoiser):
    return (mask * y + (1 - mask) * denoiser(x)).clamp(0, 1)
