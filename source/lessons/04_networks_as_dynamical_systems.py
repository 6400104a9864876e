# %% [markdown]
# # 4. Networks as dynamical systems
#
# A residual network takes many small steps. So does a solver of differential equations.
# Whoever sees both at once understands what depth can do, what training computes, and one famous error message.
#
# **You will learn**
#
# * why a deep residual network follows a flow, how closely, and what a flow can never do;
# * that backpropagation is an equation run backwards in time, the *adjoint* equation;
# * what happens if you forget the states and run the network backwards: a stable network becomes an unstable one;
# * to diagnose the error "underflow in dt" of adaptive solvers, and to choose a cure.
#
# **Before you start:** lessons 1 and 2 (flow, one-sided Lipschitz constant, Euler step), gradients in PyTorch. Lesson 9 continues with a map of stable architectures.
# **Time:** MINUTES for the core path; parts marked ★ can wait; the computer needs less than half a minute.

# %% tags=["setup"]
# setup

# %%
import math
from functools import partial

import torch
from torch import nn
from torchdiffeq import odeint, odeint_adjoint

from chapter_checks import passed, reply, your_turn
from chapter_utils import ode, plotting, runge_kutta
from figures import lesson_04 as figures

plotting.use_house_style()
torch.set_default_dtype(torch.float64)  # so that what we see is mathematics, not rounding
_ = torch.set_num_threads(1)  # our matrices are tiny: more threads would only wait for each other

# %% [markdown]
# ## 4.1 Layers are time steps
#
# **Question.** What happens to a residual network if it has more and more, thinner and thinner layers?
#
# A residual layer adds something to its input. Write it with a small factor $h$ in front:
#
# $$x_{n+1}=x_n+h\,f(x_n,\theta_n),\qquad n=0,\dots,N-1 .$$
#
# Here $x_n\in\mathbb R^d$ is the state after $n$ layers, and $\theta_n$ holds the weights of the next one.
# Lesson 2 called this an *Euler step* of length $h$ for the equation $x'=f(x,\theta)$.
# With $h=T/N$ the $N$ layers walk up to time $T$. For $h\to0$ the network becomes a **neural ODE** (Chen et al., 1806.07366).
#
# In this section all layers share their weights. (If they do not, $\theta_n=\theta(nh)$ are samples of a function $\theta(t)$, and the limit is $x'=f(x,\theta(t))$. Section 4.2 and Section 4.3 allow any weights.)
#
# **Your turn 4.A.** Write the network. `f` maps states of shape (B, d), one a row, to their velocities of the same shape. Take `depth` layers, each of length `T / depth`, and return the last state.


# %%
def network(f, x, T, depth):
    """The state (B, d) after `depth` layers x + h f(x) with h = T / depth, from x (B, d)."""
    ### BEGIN SOLUTION
    for _ in range(depth):
        x = x + T / depth * f(x)
    return x
    ### END SOLUTION


your_turn("4.A")

# %% [markdown]
# What follows uses your network, or the library's Euler method until yours is there. The field is $f(x)=\tanh(Wx+b)$ in the plane.

# %%
generator = torch.Generator().manual_seed(3)
W = torch.randn(2, 2, generator=generator)
b = torch.randn(2, generator=generator)
T = 2.0


def field(x):
    """tanh(W x + b) for a batch x of shape (B, 2)."""
    return torch.tanh(x @ W.T + b)


def by_the_library(f, x, T, depth):
    return ode.flow(f, x, [0, T], method="euler", max_step=T / depth)[-1]


walk = network if passed("4.A") else by_the_library

# %% [markdown]
# **Predict first.** The depth doubles, $T$ stays. By which factor does the distance between network and flow shrink?

# %%
my_guess = ...  # a number

# %% tags=["reveal"]
starts = torch.randn(200, 2, generator=generator)
end_of_flow = ode.flow(field, starts, [0, T])[-1]
L = torch.linalg.matrix_norm(W, 2).item()  # the slope of tanh is at most 1
F = math.sqrt(2)  # |f| <= sqrt(2): two entries of a tanh


def distance_and_bound(depth):
    distance = (walk(field, starts, T, depth) - end_of_flow).norm(dim=1).max().item()
    return distance, 0.5 * T / depth * F * math.expm1(L * T)


for depth in (10, 20, 40, 80):
    distance, bound = distance_and_bound(depth)
    print(f"{depth:3d} layers: largest distance to the flow {distance:.4f} <= bound {bound:.3f}")
    assert distance <= bound
ratio = distance_and_bound(40)[0] / distance_and_bound(80)[0]
assert 1.9 < ratio < 2.1
because = "A step of half the length errs by a quarter, but there are twice as many steps."
reply(
    my_guess,
    2,
    because,
    wrong={4: "that is one step.", 16: "that is RK4.", 1: "then depth would not help."},
)

# %% [markdown]
# The bound comes from three numbers: how fast the field can be, how much it varies, and for how long.
#
# > **Claim 4.1 (thin layers follow the flow).** Let $f$ be differentiable and $L$-Lipschitz with $\|f\|\le F$.
# > Then $N$ layers with $h=T/N$ end within $\tfrac12hF\,(e^{LT}-1)$ of the flow at time $T$.
#
# *Why.* Let $Df$ be the Jacobian of $f$. Along the flow $\|x''\|=\|Df(x)\,f(x)\|\le LF$, so one step errs by at most $\tfrac12h^2LF$. Each later step magnifies an error by at most $1+hL$.
# Summing the geometric series gives the bound. $\square$
#
# Now change the depth yourself. The picture shows five inputs; the distance is the largest of 200. *Try:* which depth brings the bound, and which one the true distance, below 0.1?


# %%
def layers_of(depth):
    """States (depth + 1, 5, 2) of five inputs, layer by layer."""
    states = [torch.tensor([[-1.5, 1.0], [-0.5, -0.5], [0.0, 1.0], [1.0, -0.5], [1.5, 1.0]])]
    for _ in range(depth):
        states.append(walk(field, states[-1], T / depth, 1))
    return torch.stack(states)


flow_lines = ode.flow(field, layers_of(1)[0], torch.linspace(0, T, 81))
live_depth = figures.depth(flow_lines, layers_of, distance_and_bound)
live_depth.still(depth=4)

# %%
live_depth

# %% [markdown]
# **Drop "Lipschitz".** For $f(x)=x^2$ the solution from $x_0=1$ is $1/(1-t)$. It has left every bound at $t=1$: there is no flow up to $T=1.2$.
# The networks do not notice, and answer with ever larger numbers:

# %%
outputs = {depth: walk(lambda x: x**2, torch.ones(1, 1), 1.2, depth) for depth in (5, 10, 20, 40)}
print("x(1.2) =", ", ".join(f"{x.item():.3g} ({depth} layers)" for depth, x in outputs.items()))
assert outputs[40] > 1e4 * outputs[5]

# %% [markdown]
# *Exercise 4.2 asks how many layers a tolerance needs.*
#
# ### What a flow cannot do
#
# Two solutions of $x'=f(x)$ never meet: at a common point they would have the same past. On the *line* this means: whoever starts to the left stays to the left.
#
# > **Claim 4.2 (flows on the line are increasing).** If $f:\mathbb R\to\mathbb R$ is Lipschitz, every map $x(0)\mapsto x(t)$ is strictly increasing.
# > One Euler step $x+hf(x)$ with $hL<1$ is too; with $hL>1$ it need not be.
#
# (The step has the slope $1+hf'\ge1-hL$.)
# So no neural ODE on the line computes $x\mapsto-x$, however it is trained. *One layer* does: $f(x)=-x$ with $h=2$.
# And so does a flow if you **augment** the line, that is, add a second coordinate and rotate (Dupont et al., 1904.01681).

# %% jupyter={"source_hidden": true}
line_starts = torch.linspace(-1, 1, 9)[:, None]
times = torch.linspace(0, 3, 61)
lines = ode.flow(lambda x: -torch.tanh(2 * x), line_starts, times)[:, :, 0]
crossing = [line_starts]
for _ in range(3):
    crossing.append(crossing[-1] - torch.tanh(2 * crossing[-1]))  # h = 1 and L = 2
turn = torch.linspace(0, math.pi, 61)
half_turns = line_starts[:, :, None] * torch.stack([turn.cos(), turn.sin()])  # (9, 2, 61)
assert (lines[:, 1:] > lines[:, :-1]).all() and (crossing[1][1:] < crossing[1][:-1]).any()
figures.crossing_or_not(times, lines, torch.stack(crossing)[:, :, 0], half_turns)

# %% [markdown]
# ## 4.2 Backpropagation runs an equation backwards
#
# **Question.** Backpropagation is usually told as the chain rule. What does it look like for a differential equation?
#
# Let $\Phi(x_N)$ be the loss, and $p_n=\nabla_{x_n}\Phi$ its sensitivity to the state after $n$ layers, called the **adjoint state**.
# Write $\partial_xf$ and $\partial_\theta f$ for the Jacobians of $f$ in state and weights. The chain rule for one layer reads
#
# $$p_N=\nabla\Phi(x_N),\qquad p_n=p_{n+1}+h\,\big(\partial_xf(x_n,\theta_n)\big)^\top p_{n+1},\qquad
# \nabla_{\theta_n}\Phi=h\,\big(\partial_\theta f(x_n,\theta_n)\big)^\top p_{n+1}.$$
#
# It runs backwards. And it is an Euler step too, for the **adjoint equation** $p'=-(\partial_xf)^\top p$.
#
# **Your turn 4.B.** For $f(x,W)=\tanh(Wx)$ the Jacobian in $x$ is $DW$ with the slopes $1-\tanh^2(Wx)$ of the units on the diagonal of $D$. Write one step back:
# from `p` $=p_{n+1}$ (d,), the state `x` $=x_n$ (d,) and the matrix `W` (d, d) of the layer to $p_n$.


# %%
def adjoint_step(p, x, W, h):
    """p_n (d,) from p = p_{n+1}, for the layer x + h tanh(W x)."""
    ### BEGIN SOLUTION
    slope = 1 - torch.tanh(W @ x) ** 2
    return p + h * W.T @ (slope * p)  # transposed: first the slopes, then W'
    ### END SOLUTION


your_turn("4.B")


# %%
def by_pytorch(p, x, W, h):
    return torch.autograd.functional.vjp(lambda x: x + h * torch.tanh(W @ x), x, p)[1]


step_back = adjoint_step if passed("4.B") else by_pytorch


def adjoint(states, weights, h, p):
    """Gradients (N, d, d) for the weights, from states x_0 ... x_N and p = p_N."""
    gradients = []
    for x, W in zip(states[-2::-1], weights[::-1], strict=True):
        behind = (1 - torch.tanh(W @ x) ** 2) * p  # p_{n+1}, taken through the activation
        gradients.insert(0, h * torch.outer(behind, x))
        p = step_back(p, x, W, h)
    return torch.stack(gradients)


def states_of(x, weights, h):
    states = [x]
    for W in weights:
        states.append(states[-1] + h * torch.tanh(W @ states[-1]))
    return states


# %%
weights = torch.randn(20, 4, 4, generator=generator).requires_grad_()
x0 = torch.randn(4, generator=generator)
target = torch.randn(4, generator=generator)
states = states_of(x0, weights, 0.1)
loss = 0.5 * (states[-1] - target).square().sum()
by_autograd = torch.autograd.grad(loss, weights)[0]
kept_states = [x.detach() for x in states]
fixed = list(weights.detach())
by_adjoint = adjoint(kept_states, fixed, 0.1, kept_states[-1] - target)
difference = ((by_adjoint - by_autograd).norm() / by_autograd.norm()).item()
print("20 layers: adjoint equals backpropagation to 13 digits:", difference < 1e-13)
assert difference < 1e-13

# %% [markdown]
# > **Claim 4.3 (backpropagation is the adjoint).** Let $f$ and $\Phi$ be differentiable. With the states $x_n$ of the forward pass, the recursion for $p_n$ gives exactly the gradients of the network, for every $h$, not only in the limit.
#
# This order of work is called **discretise, then optimise**: first choose the network, then differentiate it.
#
# *Exercise 4.1 asks for these gradients with any layer.*
#
# ### ★ Weights that steer best
#
# The loss is steered by the weights: this is a problem of *optimal control*. Let the weights $\theta_n\in\Theta$ cost something: the total cost is $\Phi(x_N)+h\sum_n\ell(\theta_n)$. Collect what $\theta$ at layer $n$ does to it in one number, the
# **Hamiltonian of control** $-p_{n+1}^\top f(x_n,\theta)-\ell(\theta)$.
#
# > **Claim 4.4 (maximum principle).** Let all functions be differentiable, $f$ affine in $\theta$, $\ell$ and $\Theta$ convex. At optimal weights, each $\theta_n$ maximises
# > $-p_{n+1}^\top f(x_n,\theta)-\ell(\theta)$ over $\Theta$.
#
# *Proof.* The cost has the derivative $h\,(\partial_\theta f^\top p_{n+1}+\nabla\ell)$ in $\theta_n$. At an optimum no allowed direction descends. So none descends for the function
# $p_{n+1}^\top f(x_n,\theta)+\ell(\theta)$ either, and that one is convex in $\theta$: its minimum is reached. $\square$
#
# In continuous time this is Pontryagin's principle (E, Han and Li, 1807.01083), and there convexity is not needed.
# Steer $x'=x+\theta$ from $0.8$ towards $0$ with $|\theta|\le1$, $\Phi=x^2$ and $\ell=\tfrac12\theta^2$. The maximiser is $-p_{n+1}$, clipped to $[-1,1]$.
# We find the optimal weights by gradient descent with the adjoint, and compare:

# %%
theta = torch.zeros(20)
for _ in range(600):
    steered = [0.8]
    for control in theta.tolist():
        steered.append(steered[-1] + 0.1 * (steered[-1] + control))
    sensitivity = [2 * steered[-1]]
    for _ in theta:
        sensitivity.insert(0, sensitivity[0] + 0.1 * sensitivity[0])
    steering = -torch.tensor(sensitivity[1:])  # -p_{n+1} for n = 0, ..., N-1
    theta = (theta + 0.03 * (steering - theta)).clamp(-1, 1)  # downhill, then back into [-1, 1]
print(f"x_N = {steered[-1]:.3f}; without control it would be {0.8 * 1.1**20:.3f}")
optimal = torch.allclose(theta, steering.clamp(-1, 1), atol=1e-6)
print("optimal weights maximise the Hamiltonian, to 6 digits:", optimal)
assert optimal
figures.best_steering(theta, steering, steered)

# %% [markdown]
# **Drop "$\Theta$ convex".** One layer $x_1=\theta$ from $x_0=0$ with $h=1$, only $\theta=-1$ or $\theta=1$ allowed, $\Phi(x)=(x-0.4)^2$, $\ell=0$. The better weight is $1$.
# But there $p_1=1.2$, and $-p_1\theta$ is larger for $\theta=-1$: the principle points the wrong way.

# %%
cost = {choice: (choice - 0.4) ** 2 for choice in (-1, 1)}
best = min(cost, key=cost.get)
pointed_at = max(cost, key=lambda choice: -2 * (best - 0.4) * choice)
print(f"best weight {best}, weight that maximises -p theta: {pointed_at}")
assert pointed_at == -best

# %% [markdown]
# ## 4.3 Backwards without memory
#
# **Question.** The adjoint needs all states $x_n$, and they fill the memory. Can you forget them and compute them again?
#
# A neural ODE can: it solves $x'=f(x)$ *backwards* from the last state, together with $p'=-(\partial_xf)^\top p$.
# This is **optimise, then discretise**: write down the adjoint equation of the flow, then solve it.
# An Euler solver that walks backwards stands at $x_{n+1}$. It takes all its derivatives there, and not at $x_n$, where the layer acted.
# So two things are new: another place for the derivative, and states that are recomputed.
#
# **Predict first.** Keep all states in memory, so that nothing is recomputed, but take the derivatives at $x_{n+1}$. Are the gradients still exactly those of the network?

# %%
my_guess_2 = ...  # "yes" or "no"


# %% tags=["reveal"]
def recomputed(x, weights, h):
    """x_0 ... x_N when only x = x_N is known, by Euler steps of length -h."""
    states = [x]
    for W in weights[::-1]:
        states.insert(0, states[0] - h * torch.tanh(W @ states[0]))
    return states


def differences(W, depth):
    """Relative errors of the gradient, with kept and with recomputed states; T = 1."""
    h = 1 / depth
    weights = [W] * depth
    kept = states_of(x0, weights, h)
    p = kept[-1] - target
    exact = adjoint(kept, weights, h, p).sum(0)
    errors = []
    for states in (kept, recomputed(kept[-1], weights, h)):
        at_the_output = [*states[1:], states[-1]]  # x_{n+1} in the place of x_n
        errors.append((adjoint(at_the_output, weights, h, p).sum(0) - exact).norm() / exact.norm())
    return torch.stack(errors)


shared = torch.randn(4, 4, generator=generator)
gaps = {depth: differences(shared, depth) for depth in (20, 40, 80, 160)}
for depth, (kept, lost) in gaps.items():
    print(
        f"{depth:3d} layers: error with kept states {kept:.4f}, with recomputed states {lost:.4f}"
    )
halved = gaps[80] / gaps[160]
print(f"from 80 to 160 layers they are divided by {halved[0]:.1f} and {halved[1]:.1f}")
assert ((1.7 < halved) & (halved < 2.3)).all()
because = "The gradient is exact only with the states of the forward pass, each at its own layer."
reply(my_guess_2, "no", because, wrong={"yes": "memory alone does not make it exact."})

# %% [markdown]
# So the two orders agree exactly if you keep the states *and* take each derivative at the input of its layer: that is Claim 4.3. Otherwise they agree only up to $O(h)$:
#
# > **Claim 4.5 (the other order).** Let $f$ and its derivatives in $x$ and $\theta$ be bounded and Lipschitz where the states (true and recomputed) are, and $T$ fixed. Then the two gradients differ by at most $Ch$, with $C$ independent of $h$.
#
# *Why.* A step back uses the velocity at $x_{n+1}$ in place of $x_n$; these are $hF$ apart, so it errs by at most $h^2LF$. There are $T/h$ steps, and each magnifies the error by at most $1+hL$.
# So the recomputed states are $O(h)$ wrong, and what is computed from them as well. $\square$
#
# **Drop "bounded derivatives".** $f(x)=-\mathrm{sign}(x)\sqrt{|x|}$ has slope $-\infty$ at zero. From $x=0.5$ its flow comes to rest at zero before $t=1.5$. At $T=3$ nothing remembers when it arrived:

# %%
for depth in (100, 1000, 10_000):
    x = 0.5
    for direction in (-1, 1):  # to T = 3 and back
        for _ in range(depth):
            x = x + direction * 3 / depth * math.copysign(math.sqrt(abs(x)), x)
    print(f"{depth:5d} layers: the start 0.5 is recomputed as a number of size {abs(x):.0f}")
    assert abs(x - 0.5) > 1

# %% [markdown]
# ### Stable forwards, unstable backwards
#
# Even for smooth fields $C$ can be enormous. Recall the one-sided Lipschitz constant $\mu$ of lesson 1: if $\langle f(x)-f(y),x-y\rangle\le\mu\|x-y\|^2$ for all $x,y$, then distances grow at most like $e^{\mu t}$.
# With $\mu=-\lambda<0$ the flow forgets its start. Backwards, it must invent what it forgot:
#
# > **Claim 4.6 (reversal expands).** If $\langle f(x)-f(y),x-y\rangle\le-\lambda\|x-y\|^2$ for all $x,y$, then the distance of two solutions of the reversed equation $x'=-f(x)$ is at least $e^{\lambda t}$ times its start, as long as both exist.
#
# *Why.* Backwards, $\tfrac{d}{dt}\tfrac12\|x-y\|^2=-\langle f(x)-f(y),x-y\rangle\ge\lambda\|x-y\|^2$. $\square$
#
# **Your turn 4.C.** Measure it. `ends` (2, d) holds two states at time $T$. From which states at time 0 did they come? Run the *reversed* field with `ode.flow(field, x, [0, T])[-1]`, and return how far apart the two starts are.


# %%
def starts_apart(f, ends, T):
    """Distance of the states at time 0 from which x' = f(x) reaches the two rows of ends at T."""
    ### BEGIN SOLUTION
    starts = ode.flow(lambda x: -f(x), ends, [0, T])[-1]
    return (starts[1] - starts[0]).norm()
    ### END SOLUTION


your_turn("4.C")

# %% [markdown]
# The example is a spiral into $x^*=(1,1)$, of rate $\lambda$: $f(x)=-\lambda(x-x^*)+G(x-x^*)$ with $G$ the rotation by 90°. Its solutions can be written down, so no solver disturbs the experiment.
# The two ends are one rounding error of single precision apart: $\mathrm{eps}\approx10^{-7}$.

# %%
G = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
eps32 = torch.finfo(torch.float32).eps


def spiral(rate, x):
    return -rate * (x - 1) + (x - 1) @ G.T


def spiral_flow(rate, t, x):
    """The state at time t, before or after 0, from x (B, 2) at time 0."""
    return 1 + math.exp(-rate * t) * (x - 1) @ torch.linalg.matrix_exp(G * t).T


ends = 1 + torch.tensor([[0.0, 0.0], [eps32, 0.0]])
for rate in (0.0, 10.0, 20.0):
    apart = spiral_flow(rate, -1, ends).diff(dim=0).norm().item()
    yours = starts_apart(partial(spiral, rate), ends, 1.0) if passed("4.C") else math.nan
    print(
        f"rate {rate:2.0f}: starts {apart:.2g} apart >= bound {math.exp(rate) * eps32:.2g}", end=""
    )
    print(f"   (by your function: {yours:.2g})" if passed("4.C") else "")
    assert apart >= math.exp(rate) * eps32 * (1 - 1e-6)

# %% [markdown]
# Below, 24 starts on a circle follow the spiral up to $T=1$. Their ends are stored in single precision, and the starts are computed again.
# *Try:* at which rate can you no longer see the circle? Compare with $\ln(1/\mathrm{eps})\approx16$.


# %%
def circle_again(rate):
    """24 starts on a circle about x*, and the same recomputed from stored ends."""
    angle = torch.arange(24) * math.pi / 12
    circle = 1 + 0.8 * torch.stack([angle.cos(), angle.sin()], 1)
    stored = spiral_flow(rate, 1, circle).float().double()
    return circle, spiral_flow(rate, -1, stored)


for rate in (0.0, 5.0, 10.0, 15.0, 20.0):
    circle, recomputed_circle = circle_again(rate)
    assert (recomputed_circle - circle).norm(dim=1).max() <= math.exp(rate) * eps32
live_reversal = figures.reversal(circle_again, lambda rate: math.exp(rate) * eps32)
live_reversal.still(rate=15.5)

# %%
live_reversal

# %% [markdown]
# The stored ends lie on the grid of numbers that single precision has. Run backwards, its mesh grows to $e^\lambda\,\mathrm{eps}$, and the circle falls onto the few grid points that are left.
#
# *Exercise 4.3 asks how many digits a given layer loses.*
#
# ## 4.4 "underflow in dt"
#
# **Question.** A neural ODE runs well forwards. In `backward()` the solver stops with `AssertionError: underflow in dt`. What happened?
#
# The solver of `torchdiffeq` chooses its own step `dt`: it shortens the step until the error looks small. "Underflow" means that no step was found short enough.
# Unless the tolerance is impossibly small, usually either the numbers are no longer finite, or the solution runs away to infinity in finite time, like $x'=x^2$ in Section 4.1.
#
# Our field pulls the state to a place $a$, which is to be learned: $f(x)=-\lambda(x-a)-(x-a)^3$.
# It is as stable as can be: $\mu=-\lambda$. The function `odeint_adjoint` recomputes the states backwards.


# %%
class Pull(nn.Module):
    def __init__(self, rate, cubic=1.0):
        super().__init__()
        self.rate = rate
        self.cubic = cubic
        self.place = nn.Parameter(torch.tensor(0.5))

    def forward(self, t, x):
        return -self.rate * (x - self.place) - self.cubic * (x - self.place) ** 3


def gradient(solve, rate, pieces=1, cubic=1.0):
    """Derivative of x_1(1) + x_2(1) by the place a, or the error message.

    The solver is asked for the states at pieces + 1 times from 0 to 1.
    """
    pull = Pull(rate, cubic)
    start = torch.tensor([2.0, -0.5])
    path = solve(pull, start, torch.linspace(0, 1, pieces + 1), rtol=1e-6, atol=1e-6)
    try:
        path[-1].sum().backward()
    except AssertionError as error:
        return str(error)[:15]
    return f"{pull.place.grad.item():.3f}"


# %% [markdown]
# **Predict first.** The solver's tolerance is $10^{-6}$ and $T=1$. The rates $\lambda$ are 1, 5, 10, 20 and 40. Which is the first to fail?
# (A strong pull brings both components of the state to $a$, so the right derivative is close to 2.)

# %%
my_guess_3 = ...  # a number

# %% tags=["reveal"]
answers = {}
for rate in (1.0, 5.0, 10.0, 20.0, 40.0):
    answers[rate] = gradient(odeint_adjoint, rate)
    error = math.exp(rate) * 1e-6
    print(f"lambda = {rate:2.0f}: e^lambda x tolerance = {error:7.1g}   backward: {answers[rate]}")
assert "underflow" in answers[20.0] and "underflow" not in answers[10.0]
reply(
    my_guess_3,
    20,
    "The error e^lambda x 1e-6 is harmless at 10 (0.02), and 485 at 20.",
    wrong={10: "it still works.", 40: "that fails too, but not first."},
)

# %% [markdown]
# **Diagnosis.** Let $\rho=|x-a|$ for one component. Backwards, $\rho'=\lambda\rho+\rho^3$. An error of $10^{-6}$ at the end first grows like $e^{\lambda t}$, where $t$ now counts the time run back. Once $\rho$ is large, the cubic term takes over.
# The equation can be solved: from $\rho_0$ it is at infinity after the time $\tfrac1{2\lambda}\ln(1+\lambda/\rho_0^2)$.


# %%
def distance_to_place(rate, rho, t):
    """rho after time t run back (t < 0: forwards); huge if it has run away."""
    left = (1 + rate / rho**2) * torch.exp(-2 * rate * t) - 1
    return torch.sqrt(rate / left.clamp(min=1e-300))


for rate, message in answers.items():
    infinite_at = math.log1p(rate / 1e-12) / (2 * rate)
    print(f"lambda = {rate:2.0f}: from rho = 1e-6 to infinity in {infinite_at:5.2f}   {message}")
    assert (infinite_at < 1) == ("underflow" in message)
figures.running_away(distance_to_place, 10.0, 20.0)

# %% [markdown]
# In terms of constants: $\mu(f)=-\lambda$, but $\mu(-f)$ is $\lambda+3\rho^2$ on states at distance up to $\rho$ from $a$, and has *no* finite value on the whole line. A finite one would exclude the runaway:
#
# > **Claim 4.7 (no blow-up).** Let $f$ be locally Lipschitz (on every bounded set) with a finite one-sided constant $\mu$. Then every solution exists for all $t\ge0$, and
# > $\|x(t)\|\le e^{\mu t}\|x(0)\|+\|f(0)\|\int_0^te^{\mu s}ds$.
#
# *Proof.* With $y=0$: $\tfrac{d}{dt}\|x\|^2=2\langle f(x)-f(0),x\rangle+2\langle f(0),x\rangle\le2\mu\|x\|^2+2\|f(0)\|\|x\|$. So $\|x\|'\le\mu\|x\|+\|f(0)\|$; integrate. And a solution that stays bounded goes on. $\square$
#
# **Drop "finite".** $x'=x^2$ blows up forwards, $x'=-x^3$ backwards. Both end in the same message:

# %%
runaways = {"x' = x^2": lambda t, x: x**2, "x' = -x^3, reversed": lambda t, x: x**3}
for name, runaway in runaways.items():
    try:
        odeint(runaway, torch.tensor([1.0]), torch.tensor([0.0, 1.2]))
    except AssertionError as error:
        print(f"{name:20s} {str(error)[:15]}")

# %% [markdown]
# **Cures.**
#
# 1. *Do not reverse.* `odeint` keeps the states and differentiates the solver itself: discretise, then optimise.
# 2. *Reverse in short pieces.* If more output times are asked for, `odeint_adjoint` starts each piece from a stored state. With $k$ equal pieces of $[0,1]$ an error is magnified by about $e^{\lambda/k}$ only.
# 3. *Bound the field.* If $\mu(-f)$ is finite, the message disappears. What is lost stays lost, unless $e^{\mu(-f)T}$ is moderate.
#
# **Your turn 4.D.** For cure 2: the smallest whole number $k$ of pieces with $e^{\lambda/k}\cdot$ `tolerance` $\le$ `allowed`. Here `rate` is $\lambda>0$, and `allowed` is larger than `tolerance`.


# %%
def pieces_needed(rate, tolerance, allowed):
    """The smallest whole number k >= 1 with exp(rate / k) * tolerance <= allowed."""
    ### BEGIN SOLUTION
    return math.ceil(rate / math.log(allowed / tolerance))
    ### END SOLUTION


your_turn("4.D")

# %%
enough = pieces_needed(20.0, 1e-6, 1e-3) if passed("4.D") else 3
print("cure 1: odeint                   ", gradient(odeint, 20.0))
for pieces in (1, enough):
    print(f"cure 2: odeint_adjoint, {pieces} piece(s)", gradient(odeint_adjoint, 20.0, pieces))
assert gradient(odeint, 20.0) == gradient(odeint_adjoint, 20.0, enough)

pull = Pull(20.0, cubic=0.0)  # cure 3: without the cubic term mu(-f) = 20 is finite
start = torch.tensor([2.0, -0.5])
with torch.no_grad():
    end = odeint(pull, start, torch.tensor([0.0, 1.0]), rtol=1e-6, atol=1e-6)[-1]
    again = odeint(pull, end, torch.tensor([1.0, 0.0]), rtol=1e-6, atol=1e-6)[-1]
off = (again - start).abs().max().item()
print(f"cure 3: no cubic term, no message; the recomputed start is off by more than 1: {off > 1}")
assert off > 1

# %% [markdown]
# Cure 3 removes the message, not the loss. A gradient without a message may be computed from states that never were.
#
# ### ★ The fourth cure: if the trouble is forwards
#
# A field is **stiff** if a large rate $\lambda$ forces an explicit method to tiny steps, although nothing happens any more. Then use an *implicit* method.
# Count how often the solver calls the field $-\lambda(x-\cos t)$, which follows a slow cosine.
# The implicit Euler method (lesson 2) takes 20 steps, whatever $\lambda$ is; each of them solves an equation. Its field must not depend on $t$, so the time becomes a second state variable:

# %%
implicit_euler = runge_kutta.tableau([[1]], [1])
calls = {10.0: 0, 1000.0: 0}


def follow(rate, t, x):
    calls[rate] += 1
    return -rate * (x - torch.cos(t))


def follow_with_time(rate, state):
    x, t = state.unbind(1)
    return torch.stack([-rate * (x - t.cos()), torch.ones_like(t)], 1)


for rate in calls:
    path = odeint(partial(follow, rate), torch.tensor([0.0]), torch.tensor([0.0, 1.0]))
    adaptive = path[-1].item()
    state = torch.tensor([[0.0, 0.0]])
    for _ in range(20):
        field_in_time = partial(follow_with_time, rate)
        state = runge_kutta.runge_kutta_step(field_in_time, state, 1 / 20, implicit_euler)
    implicit = state[0, 0].item()
    print(
        f"lambda = {rate:4.0f}: x(1) = {adaptive:.3f} adaptive, {implicit:.3f} by 20 implicit steps"
    )
more = calls[1000.0] / calls[10.0]
print(f"the stiff field was called more than 5 times as often: {more > 5}")
assert more > 5

# %% [markdown]
# ## Recap
#
# | you do | what is promised | what breaks it |
# |---|---|---|
# | take thinner layers | distance to the flow at most a constant times $h$ (Claim 4.1) | $f$ not Lipschitz |
# | compute on the line | increasing maps only (Claim 4.2) | a layer with $hL>1$; a second coordinate |
# | run the adjoint with kept states | exactly backpropagation (Claim 4.3) | derivatives at another state: error $O(h)$ (Claim 4.5) |
# | recompute the states | error $O(h)$ (Claim 4.5) | a rate $\lambda$: constants like $e^{\lambda T}$ (Claim 4.6) |
# | integrate any field | no blow-up if $\mu$ is finite (Claim 4.7) | no finite $\mu$, perhaps only for $-f$ |
#
# ★ The maximum principle describes the best weights (Claim 4.4).
#
# ## What can go wrong in practice
#
# * *Reading a theorem on the flow as one on the network.* Claim 4.2 forbids to a flow what one long layer does.
# * *Using `odeint_adjoint` on a strongly contractive field.* Prefer `odeint`, or ask for more output times.
# * *Trusting a gradient because there was no message.* Recompute the start and compare: that costs one solve.
# * *At "underflow in dt"*, ask first whether the field that you integrate, perhaps the reversed one, has a finite one-sided constant. Then look for numbers that are not finite.
#
# ## References
#
# * M. J. Ehrhardt, D. Murari, F. Sherry: *Stable neural networks and connections to continuous dynamical systems*, arXiv 2510.22299.
# * R. T. Q. Chen et al.: *Neural ordinary differential equations*, arXiv 1806.07366. E. Dupont, A. Doucet, Y. W. Teh: *Augmented neural ODEs*, arXiv 1904.01681.
# * W. E, J. Han, Q. Li: *A mean-field optimal control formulation of deep learning*, arXiv 1807.01083.
# * E. Haber, L. Ruthotto: *Stable architectures for deep neural networks*, arXiv 1705.03341.
