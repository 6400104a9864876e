import math

import torch
from torchdiffeq import odeint

from chapter_utils import ode, runge_kutta


# %% 4.A right: a list of states
def network(f, x, T, depth):
    h = T / depth
    states = [x]
    while len(states) <= depth:
        states.append(states[-1] + h * f(states[-1]))
    return states[-1]


# %% 4.A right: the library's Euler step
def network(f, x, T, depth):
    euler = runge_kutta.named_tableau("euler")
    for _ in range(depth):
        x = runge_kutta.runge_kutta_step(f, x, T / depth, euler)
    return x


# %% 4.A right: the library's flow by Euler
def network(f, x, T, depth):
    return ode.flow(f, x, [0, T], "euler", T / depth)[-1]


# %% 4.A right: recursion, the last layer apart
def network(f, x, T, depth):
    if depth == 0:
        return x
    h = T / depth
    y = network(f, x, T - h, depth - 1)
    return y + h * f(y)


# %% 4.A wrong: steps of length T -> not T
def network(f, x, T, depth):
    for _ in range(depth):
        x = x + T * f(x)
    return x


# %% 4.A wrong: one layer -> Take `depth` of them
def network(f, x, T, depth):
    return x + T / depth * f(x)


# %% 4.A wrong: velocity of the input -> *its* state
def network(f, x, T, depth):
    y = x
    for _ in range(depth):
        y = y + T / depth * f(x)
    return y


# %% 4.A wrong: one too many -> one layer too many
def network(f, x, T, depth):
    for _ in range(depth + 1):
        x = x + T / depth * f(x)
    return x


# %% 4.A wrong: one too few -> one layer too few
def network(f, x, T, depth):
    for _ in range(1, depth):
        x = x + T / depth * f(x)
    return x


# %% 4.A wrong: the flow -> not the network
def network(f, x, T, depth):
    return ode.flow(f, x, [0, T])[-1]


# %% 4.A wrong: no skip connection -> What does one layer do
def network(f, x, T, depth):
    for _ in range(depth):
        x = T / depth * f(x)
    return x


# %% 4.A wrong: backwards -> along +f
def network(f, x, T, depth):
    for _ in range(depth):
        x = x - T / depth * f(x)
    return x


# %% 4.A wrong: in place -> in place
def network(f, x, T, depth):
    for _ in range(depth):
        x += T / depth * f(x)
    return x


# %% 4.B right: the whole Jacobian
def adjoint_step(p, x, W, h):
    jacobian = torch.diag(1 - torch.tanh(W @ x) ** 2) @ W
    return (torch.eye(len(p)) + h * jacobian).T @ p


# %% 4.B right: by PyTorch
def adjoint_step(p, x, W, h):
    return torch.func.vjp(lambda x: x + h * torch.tanh(W @ x), x)[1](p)[0]


# %% 4.B right: gradient of p'(layer)
def adjoint_step(p, x, W, h):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(p @ (x + h * torch.tanh(W @ x)), x)[0]


# %% 4.B right: p as a row
def adjoint_step(p, x, W, h):
    return p + h * (p / torch.cosh(W @ x) ** 2) @ W


# %% 4.B wrong: not transposed -> *transposed*
def adjoint_step(p, x, W, h):
    return p + h * (1 - torch.tanh(W @ x) ** 2) * (W @ p)


# %% 4.B wrong: order -> slopes come first
def adjoint_step(p, x, W, h):
    return p + h * (1 - torch.tanh(W @ x) ** 2) * (W.T @ p)


# %% 4.B wrong: no skip -> skip connection
def adjoint_step(p, x, W, h):
    return h * W.T @ ((1 - torch.tanh(W @ x) ** 2) * p)


# %% 4.B wrong: minus -> has a plus
def adjoint_step(p, x, W, h):
    return p - h * W.T @ ((1 - torch.tanh(W @ x) ** 2) * p)


# %% 4.B wrong: no h -> factor h is missing
def adjoint_step(p, x, W, h):
    return p + W.T @ ((1 - torch.tanh(W @ x) ** 2) * p)


# %% 4.B wrong: no slopes -> slopes of tanh are missing
def adjoint_step(p, x, W, h):
    return p + h * W.T @ p


# %% 4.B wrong: tanh for its slope -> 1 - tanh^2
def adjoint_step(p, x, W, h):
    return p + h * W.T @ (torch.tanh(W @ x) * p)


# %% 4.B wrong: the state in place of p -> p_n is wrong
def adjoint_step(p, x, W, h):
    return p + h * W.T @ ((1 - torch.tanh(W @ x) ** 2) * x)


# %% 4.B wrong: a whole matrix -> has shape
def adjoint_step(p, x, W, h):
    return torch.outer(p, x)


# %% 4.C right: torch's solver
def starts_apart(f, ends, T):
    starts = odeint(lambda t, x: f(x), ends, torch.tensor([T, 0.0]), rtol=1e-8, atol=1e-10)[-1]
    return torch.dist(starts[0], starts[1])


# %% 4.C right: many Euler steps back
def starts_apart(f, ends, T):
    x = ends
    for _ in range(200):
        half = x - T / 400 * f(x)
        x = x - T / 200 * f(half)
    return (x[0] - x[1]).norm().item()


# %% 4.C right: one at a time
def starts_apart(f, ends, T):
    def back(x):
        return -f(x)

    one = ode.flow(back, ends[:1], [0, T])[-1]
    other = ode.flow(back, ends[1:], [0, T])[-1]
    return torch.linalg.vector_norm(other - one)


# %% 4.C wrong: forwards -> ran f forwards
def starts_apart(f, ends, T):
    starts = ode.flow(f, ends, [0, T])[-1]
    return (starts[1] - starts[0]).norm()


# %% 4.C wrong: the ends -> distance of the ends
def starts_apart(f, ends, T):
    return (ends[1] - ends[0]).norm()


# %% 4.C wrong: no root -> square of the distance
def starts_apart(f, ends, T):
    starts = ode.flow(lambda x: -f(x), ends, [0, T])[-1]
    return (starts[1] - starts[0]).square().sum()


# %% 4.C wrong: another norm -> added up
def starts_apart(f, ends, T):
    starts = ode.flow(lambda x: -f(x), ends, [0, T])[-1]
    return (starts[1] - starts[0]).abs().sum()


# %% 4.C wrong: start against end -> from its end
def starts_apart(f, ends, T):
    starts = ode.flow(lambda x: -f(x), ends, [0, T])[-1]
    return (starts[0] - ends[0]).norm()


# %% 4.C wrong: one long step -> Both rows
def starts_apart(f, ends, T):
    starts = ends - T * f(ends)
    return (starts[1] - starts[0]).norm()


# %% 4.C wrong: a vector -> one number
def starts_apart(f, ends, T):
    starts = ode.flow(lambda x: -f(x), ends, [0, T])[-1]
    return starts[1] - starts[0]


# %% 4.D right: count
def pieces_needed(rate, tolerance, allowed):
    k = 1
    while math.exp(rate / k) * tolerance > allowed:
        k += 1
    return k


# %% 4.D right: differences of logarithms
def pieces_needed(rate, tolerance, allowed):
    return float(math.ceil(rate / (math.log(allowed) - math.log(tolerance))))


# %% 4.D right: floor of a negative
def pieces_needed(rate, tolerance, allowed):
    return -(-rate // math.log(allowed / tolerance))


# %% 4.D wrong: not whole -> is whole
def pieces_needed(rate, tolerance, allowed):
    return rate / math.log(allowed / tolerance)


# %% 4.D wrong: rounded down -> not down
def pieces_needed(rate, tolerance, allowed):
    return int(rate / math.log(allowed / tolerance))


# %% 4.D wrong: base 10 -> natural logarithm
def pieces_needed(rate, tolerance, allowed):
    return math.ceil(rate / math.log10(allowed / tolerance))


# %% 4.D wrong: upside down -> in the numerator
def pieces_needed(rate, tolerance, allowed):
    return math.ceil(math.log(allowed / tolerance) / rate)


# %% 4.D wrong: one more to be safe -> more than needed
def pieces_needed(rate, tolerance, allowed):
    return math.ceil(rate / math.log(allowed / tolerance)) + 1


# %% 4.D wrong: no tolerance -> at least one piece
def pieces_needed(rate, tolerance, allowed):
    return math.ceil(rate / math.log(allowed))


# %% 4.D wrong: always four -> more than needed
def pieces_needed(rate, tolerance, allowed):
    return 4
