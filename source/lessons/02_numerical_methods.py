# %% [markdown]
# # 2. Steps that keep the promise
#
# Lesson 1 found flows that never move two states apart. A layer of a network is a *step* along such a flow (lesson 4).
# A step too long, or of the wrong kind, breaks the promise.
#
# **You will learn**
#
# * to read a Runge–Kutta method from a small table, and where it is stable;
# * one number $r$ per method: how long a step may be before two solutions move apart;
# * why a stable method can fail at *every* step size, and why gradients matter;
# * steps that solve an equation, and steps that keep an energy.
#
# **Before you start:** lesson 1, complex numbers as points of a plane, and paper.
# **Time:** MINUTES for the core path (test readers needed 70 to 90); parts marked ★ can wait; the computer needs less than a minute.

# %% tags=["setup"]
# setup

# %%
import math

import torch

from chapter_checks import passed, reply, your_turn
from chapter_utils import norms, plotting, runge_kutta
from chapter_utils.runge_kutta import TABLEAUS, runge_kutta_step, stability_function
from figures import lesson_02 as figures

plotting.use_house_style()
torch.set_default_dtype(torch.float64)  # so that what we see is mathematics, not rounding
torch.set_num_threads(1)  # thousands of tiny matrices: one thread is fastest

# %% [markdown]
# ## 2.1 One step, one number
#
# **Question.** We know $x(t)$ and the field $f$ of $x'=f(x)$. How do we get $x(t+h)$?
#
# Go straight along the arrow for a time $h$, the **step size**. This is **Euler's method**:
#
# $$x_{n+1}=x_n+h\,f(x_n).$$
#
# Take $f(x)=-10x$ on the line. All solutions of $x'=f(x)$ shrink to 0.
#
# **Predict first.** Up to which step size do Euler's solutions shrink too?

# %%
my_guess = ...  # a number


# %% tags=["reveal"]
def euler_step(f, x, h):
    return x + h * f(x)


for h in (0.05, 0.1, 0.15, 0.19, 0.2, 0.21):
    x = torch.tensor([1.0])
    for _ in range(100):
        x = euler_step(lambda x: -10 * x, x, h)
    print(f"h = {h:.2f}: factor per step {1 - 10 * h:5.2f}   |x_100| = {x.abs().item():.2e}")
reply(
    my_guess,
    0.2,
    "One step multiplies x by 1 - 10h. It lies strictly between -1 and 1 for 0 < h < 0.2.",
    wrong={0.1: "from h = 0.1 on x changes its sign in every step, but it still shrinks."},
    within=0.05,
)

# %% [markdown]
# A **Runge–Kutta method** with $s$ **stages** looks at the field $s$ times. It computes $s$ points $X_i$ and then the step:
#
# $$X_i=x+h\sum_{j=1}^s a_{ij}f(X_j),\qquad x_{\text{new}}=x+h\sum_{i=1}^s b_if(X_i).$$
#
# The numbers $a_{ij}$ and $b_i$ *are* the method. They form its **Butcher tableau**: a matrix $A=(a_{ij})$ and weights $b$ with $\sum_ib_i=1$.
# If $A$ has entries only below the diagonal, each stage needs only earlier ones, and the method is **explicit**. An example is `heun`:
#
# $$A=\begin{pmatrix}0&0\\1&0\end{pmatrix},\quad b=\begin{pmatrix}1/2\\1/2\end{pmatrix}:\qquad X_1=x,\quad X_2=x+hf(X_1),\quad x_{\text{new}}=x+\tfrac h2f(X_1)+\tfrac h2f(X_2).$$
#
# It averages the **velocities** (values of $f$) at both ends of Euler's step.
#
# Take $x'=\lambda x$ with a complex $\lambda$. (A negative real part is decay, an imaginary part rotation.) Let $z=h\lambda$. For `heun`
#
# $$X_1=x,\qquad X_2=(1+z)\,x,\qquad x_{\text{new}}=\big(1+\tfrac z2+\tfrac z2(1+z)\big)x=\big(1+z+\tfrac{z^2}2\big)x .$$
#
# **Your turn 2.A.** The method `midpoint` uses the velocity half-way: $X_1=x$, $X_2=x+\tfrac h2f(X_1)$, $x_{\text{new}}=x+h\,f(X_2)$.
# By which factor does it multiply $x$ if $x'=\lambda x$, as a function of $z=h\lambda$?


# %%
def R_midpoint(z):
    """x_new / x after one midpoint step for x' = lambda x, with z = h lambda."""
    ### BEGIN SOLUTION
    half_way = 1 + z / 2  # X_2 / x
    return 1 + z * half_way
    ### END SOLUTION


your_turn("2.A")

# %%
your_R = R_midpoint if passed("2.A") else lambda z: stability_function(TABLEAUS["midpoint"], z)
for z in (-3, -0.1, 0.5):
    heun = 1 + z + z**2 / 2
    print(f"z = {z:4.1f}:  heun {heun:.4f}  midpoint {float(your_R(z)):.4f}  e^z {math.exp(z):.4f}")

# %% [markdown]
# Both have *the same* factor. Remember these twins.
#
# > **Claim 2.1 (stability function).** One step of $(A,b)$ for $x'=\lambda x$ is $x\mapsto R(h\lambda)\,x$ with
# > $R(z)=1+z\,b^\top(I-zA)^{-1}\mathbb 1$, where $\mathbb 1=(1,\dots,1)$, if the inverse exists (for explicit methods it always does).
#
# <details><summary>Proof, and the same for x′ = Kx with a matrix K</summary>
#
# The vector of stages is $X=\mathbb 1x+zAX$, hence $X=(I-zA)^{-1}\mathbb 1x$, and the step is $x+z\,b^\top X$. $\square$
#
# For $x'=Kx$ it is $x\mapsto R(hK)\,x$, as long as $(I-zA)^{-1}$ exists for each eigenvalue $z$ of $hK$. In $R(hK)$ the matrix $hK$ stands for $z$, and $I$ for 1: for `heun` $I+hK+\tfrac12(hK)^2$. The same lines hold, because powers of one matrix commute.
#
# </details>
#
# So a numerical solution of $x'=\lambda x$ stays bounded exactly if $|R(h\lambda)|\le1$. The set of all $z$ with $|R(z)|\le1$ is the **stability region** of the method. For Euler it is the disc $|1+z|\le1$. The picture shows it for `euler`, `heun` and `rk4`, the classical method with four stages.
# As $h$ grows, $h\lambda$ walks along a ray from 0. The step is **stable** while it is in the region.

# %% jupyter={"source_hidden": true}
decays = {"decay": complex(-1, 0), "spiral": complex(-0.3, 1), "rotation": complex(0, 1)}


def step_limit(method, rate):
    """Largest h so that all shorter steps have |R(h rate)| <= 1; 0 if there is none, inf from 6."""

    def grows(h):
        return stability_function(method, h * torch.tensor(rate)).abs() > 1 + 1e-10

    grid = torch.arange(0.01, 6, 0.01)
    if not grows(grid).any():
        return math.inf
    high = grid[grows(grid)][0].item()
    low = high - 0.01
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if grows(middle) else (middle, high)
    return round(low, 9)


limits = {
    (name, system): step_limit(method, rate)
    for name, method in TABLEAUS.items()
    for system, rate in decays.items()
}
figures.three_regions(TABLEAUS, stability_function)
live_region = figures.stability_region(TABLEAUS, stability_function, decays, limits)
live_region.still(method="rk4", system="decay", h=2.9)

# %%
live_region

# %% [markdown]
# The systems are $\lambda=-1$ (decay), $-0.3+i$ (spiral) and $i$ (rotation). Find out:
#
# * *`euler`, decay:* from which $h$ on does it jump from side to side?
# * *Spiral:* how much farther than `euler` does `rk4` reach?
#
# <details><summary>Answers</summary>
#
# Euler multiplies by $1-h$, so beyond $h=1$ it jumps from side to side. On the spiral `euler` is stable up to $h=0.55$ and `rk4` up to $2.73$, five times as far. (The last three methods of the list wait for Section 2.6.)
#
# </details>
#
# A method is **A-stable** if its region contains the whole left half-plane $\mathrm{Re}\,z\le0$: no decay is too fast for it.
#
# > **Claim 2.2 (no explicit method is A-stable).** For an explicit method with $s$ stages $R$ is a polynomial of degree at most $s$ and not constant. So $|R(z)|\to\infty$ as $z\to-\infty$.
#
# <details><summary>Proof</summary>
#
# $A$ is strictly lower triangular, so $A^s=0$ and $(I-zA)^{-1}=I+zA+\dots+z^{s-1}A^{s-1}$. And $R(z)=1+z+\dots$ is not constant because $\sum b_i=1$. $\square$
#
# </details>
#
# A matrix $S$ with $S^\top=-S$ is **skew-symmetric**. The flow of $x'=Sx$ keeps all lengths (lesson 1).
#
# > **Claim 2.3 (Euler expands every rotation).** If $S$ is skew-symmetric, then $\|x+hSx\|^2=\|x\|^2+h^2\|Sx\|^2$. In the plane let $S=\omega G$, where $G$ rotates by 90°: with this angular speed $\omega$ every step of every size $h>0$
# > multiplies lengths by $\sqrt{1+h^2\omega^2}$, more than 1 if $\omega\ne0$.
#
# *Proof.* $\langle x,Sx\rangle=\langle S^\top x,x\rangle=-\langle x,Sx\rangle$, so it is 0, and Pythagoras does the rest. $\square$

# %% jupyter={"source_hidden": true}
G = torch.tensor([[0.0, -1.0], [1.0, 0.0]])  # rotation by +90 degrees
paths = {}
for name in ("euler", "rk4"):
    path = [torch.tensor([[1.0, 0.0]])]
    for _ in range(70):
        path.append(runge_kutta_step(lambda x: x @ G.T, path[-1], 0.1, TABLEAUS[name]))
    paths[name] = path
    predicted = stability_function(TABLEAUS[name], 0.1j).abs() ** 70
    assert abs(path[-1].norm() - predicted) < 1e-9
figures.around_a_circle(paths)

# %% [markdown]
# <details><summary>Drop “skew-symmetric”: friction helps</summary>
#
# Let friction $\gamma>0$ act too. With $G$, the rotation by $+90°$, take $x'=(\omega G-\gamma I)x$. Euler's factor is $\sqrt{(1-h\gamma)^2+h^2\omega^2}$, at most 1 exactly for $h\le2\gamma/(\gamma^2+\omega^2)$. Lesson 9 builds layers from this mixture.
#
# </details>
#
# *Exercise 2.1: when has a rotating state doubled its length?*
#
# ### ★ From the table to code
#
# A tableau is all that code needs. We try the explicit methods on $x'=\cos x$, one step of size 1:


# %%
def explicit_step(f, x, h, A, b):
    velocities = []
    for row in A.tolist():
        stage = x + h * sum(a * v for a, v in zip(row, velocities, strict=False))
        velocities.append(f(stage))
    return x + h * sum(weight * v for weight, v in zip(b.tolist(), velocities, strict=True))


true_end = 2 * math.atan(math.tanh(0.5))  # of x' = cos x from 0, after time 1
for name, method in TABLEAUS.items():
    if method.explicit:
        end = explicit_step(torch.cos, torch.zeros(1), 1.0, method.A, method.b)
        assert torch.allclose(end, runge_kutta_step(torch.cos, torch.zeros(1), 1.0, method))
        error = abs(end.item() - true_end)
        print(f"{name:14s} {len(method.b)} stages   error of one step {error:.5f}")

# %% [markdown]
# Is Claim 2.1 right? We compare $R$ (the library's `stability_function`) with a step for a spiral, and read a state $(x_1,x_2)$ as $x_1+ix_2$:

# %%
spiral = G - 0.3 * torch.eye(2)  # eigenvalues -0.3 + i and -0.3 - i
z = 0.8 * complex(-0.3, 1.0)
for name in ("euler", "heun", "rk4"):
    end = runge_kutta_step(lambda x: x @ spiral.T, torch.tensor([[1.0, 0.0]]), 0.8, TABLEAUS[name])
    R = stability_function(TABLEAUS[name], z).item()
    print(f"{name:6s} R = {R:.4f}   the step gives {complex(*end[0].tolist()):.4f}")
    assert abs(R - complex(*end[0].tolist())) < 1e-12
cubic = runge_kutta_step(lambda x: -(x**3), torch.tensor([0.5, 2.0]), 0.4, TABLEAUS["rk4"])
print(f"not linear, x' = -x^3: factor {cubic[0] / 0.5:.3f} from 0.5, {cubic[1] / 2:.3f} from 2")

# %% [markdown]
# **Drop linearity** (last line), and there is no common factor.
#
# Claim 2.2 says that explicit methods grow far out on the left. They grow far out on the imaginary axis too. The last three methods, the implicit ones of Section 2.6, do not grow:

# %%
imaginary = 1j * torch.logspace(-2, 3, 500)  # the edge of the left half-plane
for name, method in TABLEAUS.items():
    far = stability_function(method, torch.tensor(-1000.0)).abs().item()
    edge = stability_function(method, imaginary).abs().max().item()
    print(f"{name:18s} |R(-1000)| = {far:8.3g}   largest |R(iy)|, y up to 1000: {edge:8.3g}")
    assert (far > 100 and edge > 100) if method.explicit else max(far, edge) <= 1 + 1e-9

# %% [markdown]
# ## 2.2 Two solutions
#
# **Question.** Up to which step do no *two* solutions of a *nonlinear* field move apart?
#
# Take the kindest fields: $f=-\nabla V$ with a convex $V$, where $\nabla V$ is $L$-Lipschitz ($V$ is **$L$-smooth**). The flow never increases distances (lesson 1).
#
# On the line the difference quotients $q=\frac{f(x)-f(y)}{x-y}$ lie in $[-L,0]$. So $q(q+L)\le0$, that is, $q\le-\tfrac1Lq^2$. Multiply by $(x-y)^2$: $(f(x)-f(y))(x-y)\le-\tfrac1L|f(x)-f(y)|^2$.
# In more dimensions this has a name: **$-f$ is $\nu$-cocoercive** (with $\nu>0$) if for all $x,y$
#
# $$\langle f(x)-f(y),\,x-y\rangle\le-\nu\,\|f(x)-f(y)\|^2 .$$
#
# Where velocities differ, they pull the two points together.
#
# > **Claim 2.4 (a convex potential gives cocoercivity).** If $V$ is convex and $L$-smooth, then $-f=\nabla V$ is $\tfrac1L$-cocoercive (Baillon and Haddad 1977).
#
# <details><summary>Proof for twice differentiable $V$</summary>
#
# Let $d=x-y$ and $C=\int_0^1\nabla^2V(y+sd)\,ds$, the mean curvature between $y$ and $x$: a symmetric matrix with eigenvalues $\lambda$ in $[0,L]$. Then $f(x)-f(y)=-Cd$, and $\langle Cd,d\rangle\ge\|Cd\|^2/L$,
# because $\lambda\ge\lambda^2/L$. $\square$
#
# </details>
#
# ### The circle theorem
#
# **Euler first.** Let $\Delta_0=x-y$ and $\Delta f=f(x)-f(y)$. After one step the pair differs by $\Delta_0+h\Delta f$. Take squares, then use cocoercivity:
#
# $$\|\Delta_0+h\Delta f\|^2=\|\Delta_0\|^2+2h\langle\Delta f,\Delta_0\rangle+h^2\|\Delta f\|^2\le\|\Delta_0\|^2-h(2\nu-h)\|\Delta f\|^2 .$$
#
# For $h\le2\nu$ the last term is not positive: the pull $2h\langle\Delta f,\Delta_0\rangle$ outweighs $h^2\|\Delta f\|^2$. A step that moves no two points apart is called **non-expansive**.
#
# **Now $s$ stages,** with weights $b_i\ge0$. At stage $i$ the two solutions are $\Delta X_i$ apart, and their velocities $\Delta f_i$. After the step the pair is $\Delta_1$ apart:
#
# $$\Delta X_i=\Delta_0+h\sum_ja_{ij}\Delta f_j,\qquad\Delta_1=\Delta_0+h\sum_ib_i\Delta f_i .$$
#
# Take squares again. The pull is now $2h\sum_ib_i\langle\Delta f_i,\Delta_0\rangle$. But cocoercivity speaks of $\Delta X_i$, so replace $\Delta_0$ by $\Delta X_i-h\sum_ja_{ij}\Delta f_j$. All terms with $h^2$ go into a matrix $M$.
# By cocoercivity, multiplied by $b_i\ge0$, the pull $2h\sum_ib_i\langle\Delta f_i,\Delta X_i\rangle$ is at most $-2h\nu\sum_ib_i\|\Delta f_i\|^2$. This goes into a second matrix $B$:
#
# $$\|\Delta_1\|^2\le\|\Delta_0\|^2-h^2\sum_{i,j}N_{ij}\langle\Delta f_i,\Delta f_j\rangle,\qquad N=M+\tfrac{2\nu}hB,$$
#
# $$M=BA+A^\top B-bb^\top,\qquad B=\mathrm{diag}(b).$$
#
# For Euler $A=0$ and $b=1$, so $M=-1$, and $N=-1+\tfrac{2\nu}h$ gives the line above.
#
# <details><summary>These steps in full</summary>
#
# $$\|\Delta_1\|^2=\|\Delta_0\|^2+2h\sum_ib_i\langle\Delta f_i,\Delta_0\rangle+h^2\sum_{i,j}b_ib_j\langle\Delta f_i,\Delta f_j\rangle,$$
#
# $$2h\sum_ib_i\langle\Delta f_i,\Delta_0\rangle=2h\sum_ib_i\langle\Delta f_i,\Delta X_i\rangle-2h^2\sum_{i,j}b_ia_{ij}\langle\Delta f_i,\Delta f_j\rangle,$$
#
# $$\|\Delta_1\|^2=\|\Delta_0\|^2+2h\sum_ib_i\langle\Delta f_i,\Delta X_i\rangle-h^2\sum_{i,j}M_{ij}\langle\Delta f_i,\Delta f_j\rangle .$$
#
# ($A^\top$ appears because $i$ and $j$ may swap their names: $2\sum_{i,j}b_ia_{ij}\langle\Delta f_i,\Delta f_j\rangle=\sum_{i,j}(b_ia_{ij}+b_ja_{ji})\langle\Delta f_i,\Delta f_j\rangle$, and these brackets are the entries of $BA+A^\top B$.)
#
# </details>
#
# If no eigenvalue of the symmetric matrix $N$ is negative, $N$ is **positive semidefinite**, $N\succeq0$, and $v^\top Nv\ge0$ for all vectors $v$. Then the double sum is not negative either, and the pair does not move apart.
#
# > **Claim 2.5 (circle contractivity).** Let $b_i\ge0$ and let $r$ be the largest number for which $M+\tfrac1rB\succeq0$. If $-f$ is $\nu$-cocoercive, one step is non-expansive for every $h\le2r\nu$.
# > In particular for $f=-\nabla V$ with $V$ convex and $L$-smooth: for $h\le\dfrac{2r}L$ (Dahlquist and Jeltsch 1979).
#
# This $r$ is the **circle-contractivity radius** (the circle comes below): $\infty$ if $M\succeq0$ itself, 0 if no number will do. For Euler $-1+\tfrac1r\ge0$ means $r\le1$: steps up to $2/L$.
#
# <details><summary>The rest of the proof</summary>
#
# We write $N\succeq P$ if $N-P\succeq0$. If $h\le2r\nu$, then $\tfrac{2\nu}h\ge\tfrac1r$, and $N\succeq M+\tfrac1rB\succeq0$ because $B\succeq0$. So the double sum is not negative (in each coordinate it is $v^\top Nv$, where $v$ holds the $s$ entries of $\Delta f_1,\dots,\Delta f_s$), and $\|\Delta_1\|\le\|\Delta_0\|$.
#
# (If an implicit step has several solutions, take any of them.) $\square$
#
# </details>
#
# By hand for `heun`:
#
# $$BA=\begin{pmatrix}0&0\\\tfrac12&0\end{pmatrix},\qquad M=\begin{pmatrix}0&\tfrac12\\\tfrac12&0\end{pmatrix}-\begin{pmatrix}\tfrac14&\tfrac14\\\tfrac14&\tfrac14\end{pmatrix}=\tfrac14\begin{pmatrix}-1&1\\1&-1\end{pmatrix}.$$
#
# $M$ has the eigenvalues $0$ and $-\tfrac12$, and $\tfrac1rB=\tfrac1{2r}I$ lifts both by $\tfrac1{2r}$. So $r=1$ again.
#
# **Your turn 2.B.** Now the twin, `midpoint`: $A=\begin{pmatrix}0&0\\1/2&0\end{pmatrix}$, $b=\begin{pmatrix}0\\1\end{pmatrix}$. Compute $M$ on paper and write it as a $2\times2$ tensor.

# %%
### BEGIN SOLUTION
### GIVEN M_midpoint = ...
M_midpoint = torch.tensor([[0.0, 0.5], [0.5, -1.0]])  # BA + A'B has 1/2 twice, bb' one 1
### END SOLUTION

your_turn("2.B")

# %% [markdown]
# **Predict first.** Add $\tfrac1rB=\tfrac1r\begin{pmatrix}0&0\\0&1\end{pmatrix}$ to this $M$. Which $r$ does `midpoint` get?

# %%
my_guess = ...  # a number

# %% tags=["reveal"]
A, b = TABLEAUS["midpoint"]
M = torch.diag(b) @ A + A.T @ torch.diag(b) - torch.outer(b, b)
for r in (1.0, 0.1, 0.01):
    N = M + torch.diag(b) / r
    lowest = torch.linalg.eigvalsh(N)[0].item()
    print(f"r = {r:4.2f}:  lowest eigenvalue {lowest:.4f}   determinant {torch.linalg.det(N):.4f}")
    assert lowest < 0 and abs(torch.linalg.det(N) + 0.25) < 1e-9
reply(
    my_guess,
    0,
    "The upper left entry stays 0 and its neighbour 1/2, so the determinant is -1/4 for every "
    "r: one eigenvalue comes near 0, but stays negative. There is no such r: we write r = 0.",
    wrong={1: "that is the r of its twin heun.", 0.5: "no 1/r lifts the upper left entry."},
)

# %% [markdown]
# The **linear limit** is the largest $hL$ up to which the decay $x'=-Lx$ is stable. Here are both limits of all explicit methods (you need not know the others):

# %%
# limits: the longest stable step of each method, searched for in Section 2.1 (closed cell)
two_r = {name: 2 * runge_kutta.circle_contractivity_radius(m) for name, m in TABLEAUS.items()}
print("method             pairs: hL <= 2r     linear limit: hL <=")
for name, method in TABLEAUS.items():
    if method.explicit:
        print(f"{name:18s} {two_r[name]:12.3f} {limits[name, 'decay']:20.3f}")
    assert two_r[name] <= limits[name, "decay"] + 1e-6

# %% [markdown]
# More stages need not help: `rk4` has four and $r=1$ like Euler. For `midpoint` and `heun3` *no* step has a guarantee.
#
# **Why “circle”?** The disc of radius $r$ that touches 0 from the left lies in the stability region. So $2r$ is at most the linear limit. The twins have the same region, but not the same disc:

# %% jupyter={"source_hidden": true}
chosen = {name: TABLEAUS[name] for name in ("euler", "heun", "midpoint", "rk4")}
figures.discs(chosen, runge_kutta.circle_contractivity_radius, stability_function)

# %% [markdown]
# <details><summary>Why the disc lies in the region</summary>
#
# Take $f(x)=\lambda x$ with $\mathrm{Re}\,\lambda<0$. Then $-f$ is $\nu$-cocoercive with $\nu=-\mathrm{Re}\,\lambda/|\lambda|^2$, and for $z=h\lambda$ the condition $h\le2r\nu$ of Claim 2.5 reads $|z+r|\le r$. $\square$
#
# </details>
#
# *Exercise 2.2 asks for a function that computes $r$.*
#
# ### ★ Several short steps
#
# **Predict first.** Two Euler steps of size $\tfrac h2$ are one method, with $A=\begin{pmatrix}0&0\\1/2&0\end{pmatrix}$ and $b=\begin{pmatrix}1/2\\1/2\end{pmatrix}$. Which $r$ does it have? (Compute $M$, or use Euler's own limit.)

# %%
my_guess_2 = ...  # a number

# %% tags=["reveal"]
half_steps = runge_kutta.substeps(TABLEAUS["euler"], 2)
M = torch.diag(half_steps.b) @ half_steps.A
M = M + M.T - torch.outer(half_steps.b, half_steps.b)
print("M of two half-steps:", M.tolist())
reply(
    my_guess_2,
    2,
    "M = -I/4 and B = I/2, so 1/(2r) must be at least 1/4. "
    "Or: each half-step is safe while h/2 <= 2/L, that is for h <= 4/L = 2r/L.",
    wrong={
        1: "that is one Euler step. Here each half may be as long as that.",
        4: "the whole step may be up to 4/L, and this is 2r/L.",
        0.5: "a condition on h/2 allows a longer h, not a shorter one.",
    },
)

# %% [markdown]
# > **Claim 2.6 (substeps).** $s$ Euler steps of size $h/s$, seen as one method with $s$ stages, have $r=s$.
#
# <details><summary>Proof</summary>
#
# Here $b_i=\tfrac1s$ and $a_{ij}=\tfrac1s$ for $j<i$, so $BA+A^\top B$ has $\tfrac1{s^2}$ everywhere off the diagonal, and $M=-\tfrac1{s^2}I$. Then $M+\tfrac1rB=\big(\tfrac1{rs}-\tfrac1{s^2}\big)I\succeq0$ exactly for $r\le s$. $\square$
#
# </details>

# %%
for s in (1, 2, 3, 4):
    method = runge_kutta.substeps(TABLEAUS["euler"], s)
    r = runge_kutta.circle_contractivity_radius(method)
    print(f"s = {s}:  r = {r:.4f}")
    assert abs(r - s) < 1e-9

# %% [markdown]
# Four Euler steps cost as much as one of `rk4` and together may reach four times as far: $hL\le8$ instead of 2. Lesson 5 builds such layers.
#
# ### ★ Gradient and convex: both words are needed
#
# Try Claim 2.4 on three fields; `valley` is made of **ramps**, $\mathrm{relu}(s)=\max(s,0)$. We print left minus right side for $\nu=1/L$, divided by $\|x-y\|^2$. It should not exceed 0:

# %%
W = torch.tensor([[1.0, 0.5], [-0.5, 1.0], [0.3, 0.8]])
bias = torch.tensor([0.2, -0.4, 0.1])


def valley(x):
    """-grad V for V(x) = |relu(W x + bias)|^2 / 2, convex."""
    return -torch.relu(x @ W.T + bias) @ W


def inward_spiral(x):
    return x @ (-torch.eye(2) - 3 * G).T


def double_well(x):
    """-grad V for V(x) = (|x|^2 - log cosh(2 x_1)) / 2: smooth with L = 1, but not convex."""
    return torch.stack([torch.tanh(2 * x[:, 0]) - x[:, 0], -x[:, 1]], 1)


L_valley = torch.linalg.matrix_norm(W, 2).item() ** 2
x, y = 2 * torch.randn(2, 100_000, 2, generator=torch.Generator().manual_seed(0))
for field, L in ((valley, L_valley), (inward_spiral, math.sqrt(10)), (double_well, 1.0)):
    df = field(x) - field(y)
    excess = ((df * (x - y)).sum(1) + df.square().sum(1) / L) / (x - y).square().sum(1)
    print(f"{field.__name__:14s} L = {L:.3f}   largest left minus right {excess.max():.2f}")
    assert (excess.max() <= 1e-12) == (field is valley)

# %% [markdown]
# The spiral contracts, but it is no gradient: it has $\nu=1/10$, not $1/L\approx0.316$. The double well is a gradient, but the hill in its middle pushes points apart: no $\nu>0$ will do.
# A rotation has $\langle f(x)-f(y),x-y\rangle=0$: no $\nu>0$ exists either, and a finite $r$ says nothing.
#
# ## 2.3 Stable is not enough
#
# **Question.** Between $2r$ and the linear limit: do pairs really separate, or is the theorem just cautious?
#
# We give the theorem its hardest case and let $V$ depend on time; Section 2.4 has a fixed $V$. Stages stand at different times ($X_2$ of `midpoint` half a step later), so stage $i$ sees its own convex, $L$-smooth $V_i$. Claim 2.5 still holds, because at each stage both solutions see the *same* $V_i$.
#
# We try $V_i(x)=\tfrac L2(u_i^\top x)^2$ with unit vectors $u_i$ in the plane. Then $f_i(x)=-Lu_iu_i^\top x$ is linear, and the step is a matrix; for `midpoint` it is $I-hL\,u_2u_2^\top\big(I-\tfrac{hL}2u_1u_1^\top\big)$.
# Its **stretch** is its norm, the most by which it lengthens a pair. The closed cell searches for the worst $u_i$.

# %% jupyter={"source_hidden": true}
hL_grid = torch.arange(1, 51) / 10


def step_matrix(method, curvatures, h):
    """The matrix of one step when stage i sees f(x) = -C_i x; no stage needs a later one."""
    I = torch.eye(2)
    velocities = []  # f(X_i) = velocities[i] x
    for C, row in zip(curvatures, method.A.tolist(), strict=True):
        known = I + h * sum(a * v for a, v in zip(row, velocities, strict=False))
        stage = torch.linalg.solve(I + h * row[len(velocities)] * C, known)  # known, if explicit
        velocities.append(-C @ stage)
    return I + h * sum(weight * v for weight, v in zip(method.b, velocities, strict=True))


def one_direction(angles):
    """u u' for the unit vectors u at these angles, first index first: (n, ..., 2, 2)."""
    u = torch.stack([angles.cos(), angles.sin()], -1)
    return u[..., :, None] * u[..., None, :]


def worst_stretch(method, hL, rounds=24):
    """For each entry of hL (n,): the largest stretch found, and the angles of the stages (n, s)."""
    generator = torch.Generator().manual_seed(0)
    times = (1e6 * method.A.sum(1)).round()
    _, place = torch.unique(times, return_inverse=True)  # stages at one time share an angle
    best = torch.zeros(len(hL), 1, int(place.max()) + 1)
    for k in range(rounds):
        number = 600 if k == 0 else 60
        change = torch.randn(len(hL), number, best.shape[-1], generator=generator)
        trial = torch.cat([best, best + (10 if k == 0 else torch.pi * 0.75**k) * change], 1)
        angles = trial[..., place].movedim(-1, 0)
        steps = step_matrix(method, one_direction(angles), hL[:, None, None, None])
        stretch, which = torch.linalg.matrix_norm(steps, 2).max(1)
        best = trial[torch.arange(len(hL)), which][:, None]
    return stretch, best[:, 0, place]


stretches = {}
worst_angles = {}
fine_grid = torch.arange(0, 501) / 100
linear = {}  # the largest |R| on [-hL, 0], for hL on the fine grid
for name, method in TABLEAUS.items():
    stretches[name], worst_angles[name] = worst_stretch(method, hL_grid)
    linear[name] = stability_function(method, -fine_grid).abs().cummax(0).values
    assert (stretches[name][hL_grid <= two_r[name]] <= 1 + 1e-9).all()
    assert (stretches[name][hL_grid > two_r[name] + 0.05] > 1).all()

shown = ("heun", "midpoint", "rk4")
beyond = torch.tensor([2.001, 2.01, 2.03, 2.06])  # the growth sets in here: more steps to draw
drawn_at, order = torch.cat([hL_grid, beyond]).sort()
drawn = {
    name: torch.cat([stretches[name], worst_stretch(TABLEAUS[name], beyond)[0]])[order]
    for name in shown
}

# %% [markdown]
# **Predict first.** At $hL=2.4$ `heun` and `midpoint` are beyond their linear limit 2, so they stretch some pair. `rk4` is not (2.785). Does it stretch a pair, "yes" or "no"?

# %%
my_guess = ...  # "yes" or "no"

# %% tags=["reveal"]
for name in shown:
    at = {hL: stretches[name][round(10 * hL) - 1] for hL in (1.0, 2.4)}
    print(f"{name:9s} stretch at hL = 1: {at[1.0]:.3f}   at hL = 2.4: {at[2.4]:.3f}")
reply(
    my_guess,
    "yes",
    "2.4 is beyond 2r = 2 of rk4. And midpoint, with r = 0, does so even at hL = 1.",
    wrong={"no": "it is stable up to 2.785, but that is about one solution of a linear field."},
)

# %% [markdown]
# Now all $hL$. The height is the growth, stretch $-\,1$, on a logarithmic axis. “None” at the bottom stands for less than 0.00001.

# %% jupyter={"source_hidden": true}
figures.three_methods(drawn_at, drawn, fine_grid, linear, two_r, limits)

# %% [markdown]
# Linear theory (dashed) cannot tell the twins apart. Yet `midpoint`, with $2r=0$, stretches a pair at every step shown.
# `heun` and `rk4` stretch none up to $2r=2$, and some right after. For `rk4` linear theory sees this only at 2.785.
# Claim 2.7 (★): beyond $2r$ every method with $b_i\ge0$ stretches some pair, if stages may see different potentials.
#
# ### ★ The worst pair of each method
#
# All pairs one apart form a circle. This is what the worst step found makes of them:


# %% jupyter={"source_hidden": true}
def worst_step(name, k):
    """Matrix of the worst step found for hL_grid[k]."""
    return step_matrix(TABLEAUS[name], one_direction(worst_angles[name][k]), hL_grid[k])


live_stretch = figures.worst_stretch(hL_grid, stretches, fine_grid, linear, two_r, worst_step)
live_stretch.still(method="kutta3", hL=2.0)

# %%
live_stretch

# %% [markdown]
# *Find out:* `kutta3` (three stages), $hL$ from 1 to 2.5. What do linear theory and the pairs do?
#
# <details><summary>Answer</summary>
#
# `kutta3` is linearly stable up to 2.51, but $2r=1$: the worst pair grows from there on, to more than 1.4 times its length at $hL=2.5$.
#
# </details>
#
# ### ★ The radius is sharp
#
# > **Claim 2.7 (the radius is sharp).** Let $b_i\ge0$ and $h>2r/L$. Then there are unit vectors $u_i$ in the plane such that the step with $V_i(x)=\tfrac L2(u_i^\top x)^2$ at stage $i$ moves some pair apart.
#
# *Idea.* Beyond $2r/L$ the matrix $M+\tfrac2{hL}B$ has a negative eigenvalue. With these potentials cocoercivity is an equality at each stage. So the loss of Claim 2.5 becomes a gain.
#
# <details><summary>Sketch of the proof</summary>
#
# $M+\tfrac2{hL}B$ is not positive semidefinite, so some vector $w$ has $w^\top(M+\tfrac2{hL}B)w<0$. Take a very long $\Delta_0$, and velocities $\Delta f_i=(\delta_i,w_i)$ almost at right angles to it.
# A tiny $\delta_i$ suffices to reach equality in $\langle\Delta f_i,\Delta X_i\rangle\le-\tfrac1L\|\Delta f_i\|^2$. Then the inequality in the proof of Claim 2.5 is an equality too, and its last term has the wrong sign. $\square$
#
# (Stage $i$ stands at the time $t+h\sum_ja_{ij}$. The claim lets the two middle stages of `rk4` differ, although they stand at one time. Our search lets them share, and finds no less.)
#
# </details>
#
# ## 2.4 A method that fails at every step size
#
# **Question.** With *one* convex potential, fixed for all times, is `midpoint` safe?
#
# No (Sanz-Serna and Zygalakis). A small example has two **ramps**, in the directions $u=(1,0)$ and $w=(\cos60^\circ,\sin60^\circ)$, and a constant force $-c$:
#
# $$V(x)=c\cdot x+\tfrac12\max(w\cdot x,0)^2+\tfrac12\max(u\cdot x,0)^2,\qquad w\cdot c=20,\quad u\cdot c=-20 .$$
#
# A ramp acts only where its $\max$ is positive. $V$ is convex. Its largest curvature is that of $ww^\top+uu^\top$, where both act: $L=1+u\cdot w=1.5$.
#
# Let $w\cdot x=5h$ and $u\cdot x=-5h$. There only the ramp $w$ acts, so $f(x)=-c-5h\,w$. The midpoint step looks at $f$ once more, half-way, at $X=x+\tfrac h2f(x)$.
#
# **Predict first.** Let $h=\tfrac23$. Which ramps act at $X$? (Compute $w\cdot X$ and $u\cdot X$; $w\cdot w=1$ and $u\cdot w=\tfrac12$.)

# %%
my_guess = ...  # "w", "u", "both" or "none"

# %% tags=["reveal"]
u = torch.tensor([1.0, 0.0])
w = torch.tensor([0.5, 3**0.5 / 2])
rows = torch.stack([w, u])
c = torch.linalg.solve(rows, torch.tensor([20.0, -20.0]))


def two_ramps(x):
    """-grad V for the two ramps."""
    return -(c + torch.relu(x @ rows.T) @ rows)


def crossing_point(h):
    return torch.linalg.solve(rows, torch.tensor([5 * h, -5 * h]))


start = crossing_point(2 / 3)
half_way = start + two_ramps(start) / 3
print(f"at x: w.x = {w @ start:6.2f}, u.x = {u @ start:6.2f}")
print(f"at X: w.X = {w @ half_way:6.2f}, u.X = {u @ half_way:6.2f}")
reply(
    my_guess,
    "u",
    "The pull of ramp w and the force carry x across both edges.",
    wrong={
        "w": "that is the start.",
        "both": "the force c pulls w.x down by 20 h/2, and the ramp pulls too.",
        "none": "for u the force pushes up: u.c = -20.",
    },
)
figures.where_ramps_act(rows, start, half_way)

# %% [markdown]
# The force is chosen so that half a step crosses an edge of each ramp. The ramps swap, and not only for this $h$: $w\cdot X=5h-\tfrac h2(20+5h)=-5h-\tfrac52h^2<0$ for all $h>0$, and $u\cdot X=-5h+\tfrac h2(20-\tfrac52h)=5h-\tfrac54h^2>0$ for $h<4$.
# So $Df(x)=-ww^\top$ and $Df(X)=-uu^\top$. The chain rule for $x+hf(x+\tfrac h2f(x))$ gives the step's Jacobian, $I-h\,uu^\top\big(I-\tfrac h2ww^\top\big)$: a product as in Section 2.3, from one fixed potential.

# %% [markdown]
# The norm of a step's Jacobian is the stretch of very short pairs:


# %%
def stretches_of_step(f, x, h, name):
    """Norm of the Jacobian of one step at each point of x (B, d)."""
    return norms.jacobian_norms(lambda z: runge_kutta_step(f, z, h, TABLEAUS[name]), x)


for name in ("midpoint", "euler", "heun"):
    measured = stretches_of_step(two_ramps, crossing_point(2 / 1.5)[None], 2 / 1.5, name)
    print(f"{name:9s} stretch at hL = 2: {measured.item():.4f}")

# %% [markdown]
# > **Claim 2.8 (midpoint fails at every step size).** For this $V$ and every $h>0$ the midpoint step moves some pair apart. For $0<h<4$ its Jacobian at the point above has a norm of at least
# > $\sqrt{1+3h^4/64}$.
#
# *Idea.* The second column of the Jacobian is $(\sqrt3h^2/8,\,1)$, longer than 1: an upright pair keeps its height, and is sheared sideways.
#
# <details><summary>Proof</summary>
#
# Where both ramps act, the Hessian of $V$ is $C=ww^\top+uu^\top$, with $C(u+w)=(1+u\cdot w)(u+w)$, the largest eigenvalue. Elsewhere it is smaller. So $L=1+u\cdot w$.
#
# The Jacobian is $I-h\,uu^\top+\tfrac{h^2}2(u\cdot w)\,uw^\top$. With $u=(1,0)$ and $w=(\tfrac12,\tfrac{\sqrt3}2)$ its second column is $(\sqrt3h^2/8,\,1)$, and no norm is smaller than the length of a column.
#
# For $h>2$ take the point with $u\cdot x=20$, $w\cdot x=-1$. There only $u$ acts, at both stages, so the factor along $u$ is $R(-h)=1-h+\tfrac{h^2}2>1$. $\square$
#
# </details>

# %% jupyter={"source_hidden": true}
steps = torch.logspace(-1, math.log10(5.9), 40) / 1.5
measured = torch.cat(
    [stretches_of_step(two_ramps, crossing_point(h)[None], h, "midpoint") for h in steps.tolist()]
)
proved = (1 + 3 * steps**4 / 64).sqrt()
assert (measured > proved - 1e-12).all()
h = 2 / 1.5
jacobian = torch.eye(2) - h * torch.outer(u, u) + h**2 / 2 * (u @ w) * torch.outer(u, w)
figures.midpoint_on_two_ramps(jacobian, 1.5 * steps, measured - 1, proved - 1)

# %% [markdown]
# The midpoint rule moves the pair *here* as the velocities *there* say. At small steps the growth is tiny. But a bound that holds nearly is no bound: from layer to layer growth is multiplied.
#
# <details><summary>Why the measured growth is larger than the proved one</summary>
#
# The worst pair leans a little and gains like $h^3$. The proof takes the upright pair, which gains only like $h^4$. At $hL=2$ they are close: 1.0723 and 1.0715.
#
# </details>
#
# *Exercise 2.3: the stretch of a midpoint step.*
#
# ### ★ The Jacobian by hand
#
# **Your turn 2.C.** The midpoint step is $x\mapsto x+h\,f(X)$ with $X=x+\tfrac h2f(x)$. Find its Jacobian with the chain rule. (Its norm is the stretch of very short pairs at $x$.)
# Given are `at_start` $=Df(x)$ and `half_way` $=Df(X)$, of shape $(d,d)$, and the number `h`.


# %%
def midpoint_jacobian(at_start, half_way, h):
    """The Jacobian (d, d) of one midpoint step."""
    ### BEGIN SOLUTION
    I = torch.eye(len(at_start))
    of_X = I + h / 2 * at_start
    return I + h * half_way @ of_X
    ### END SOLUTION


your_turn("2.C")

# %%
if passed("2.C"):
    yours = midpoint_jacobian(-torch.outer(w, w), -torch.outer(u, u), 2 / 1.5)
    print(f"yours, norm at hL = 2: {torch.linalg.matrix_norm(yours, 2):.4f}")

# %% [markdown]
# ### ★ The promise on `valley`
#
# Claim 2.5 promises that no step up to $2r/L$ stretches a pair. We look at 2,000 points, with `valley` from Section 2.2 (★, run it first):

# %%
points = 2 * torch.randn(2000, 2, generator=torch.Generator().manual_seed(1))
for name in ("euler", "ralston2", "kutta3", "rk4"):
    h = two_r[name] / L_valley
    measured = stretches_of_step(valley, points, h, name).max()
    longer = stretches_of_step(valley, points, 1.5 * h, name).max()
    print(f"{name:9s} h = {h:.3f}: stretch {measured:.3f} <= 1   at 1.5 h: {longer:.3f}")
    assert measured <= 1 + 1e-9

# %% [markdown]
# No stretch exceeds 1. (Where all ramps are off nothing moves, so 1 is attained.) For three methods 1.5 times the step is still harmless at these points of *this field*.
#
# ## 2.5 It matters that the field is a gradient
#
# **Question.** If $\mu<0$ in $\langle f(x)-f(y),x-y\rangle\le\mu\|x-y\|^2$, lesson 1 promises contraction, for *any* such field. May Euler take steps up to $2/L$ there too?
#
# The spiral $x'=Kx$ with $K=\begin{pmatrix}-1&3\\-3&-1\end{pmatrix}$ has $\mu=-1$ and $L=\|K\|=\sqrt{10}$. It has no potential.
#
# **Predict first.** By which factor does one Euler step of size $h=2/L\approx0.632$ multiply distances? (It is the same factor for all pairs: $I+hK$ is a rotation times a number.)

# %%
my_guess = ...  # a number

# %% tags=["reveal"]
K = torch.tensor([[-1.0, 3.0], [-3.0, -1.0]])
for h in (0.05, 0.1, 0.2, 2 / math.sqrt(10)):
    factor = torch.linalg.matrix_norm(torch.eye(2) + h * K, 2).item()
    print(f"h = {h:.3f}:  distances are multiplied by {factor:.3f}")
reply(
    my_guess,
    round(factor, 2),
    "The first column of I + hK is (1 - h, -3h), of length 1.93 at h = 0.632. They nearly double.",
    wrong={
        1: "that would be the worst factor with a potential; here there is none.",
        math.exp(-2 / math.sqrt(10)): "so does the flow, but not the step.",
        0.37: "you left out the rotation: it stretches by itself, see Claim 2.3.",
    },
)

# %% [markdown]
# > **Claim 2.9 (without a potential).** If $\mu=-m<0$ and $f$ is $L$-Lipschitz, Euler's step is non-expansive for $h\le2m/L^2$. For the spiral this is $0.2$, and every longer step expands.
#
# <details><summary>Proof</summary>
#
# Expand the square of the new distance: with $\Delta_0=x-y$ and $\Delta f=f(x)-f(y)$ we have $\|\Delta_0+h\Delta f\|^2=\|\Delta_0\|^2+2h\langle\Delta f,\Delta_0\rangle+h^2\|\Delta f\|^2\le(1-2hm+h^2L^2)\|\Delta_0\|^2$. For the spiral both inequalities are equalities. $\square$
#
# </details>
#
# As $m\to0$ this limit goes to 0. With a potential, $m=0$ costs nothing. This is why the layers of lesson 5 follow gradients: $-W^\top\mathrm{relu}(Wx+b)$.
#
# ### ★ With a potential $m>0$ buys a rate
#
# > **Claim 2.10 (with a potential).** If $V$ is $L$-smooth and $f=-\nabla V$ has $\mu=-m\le0$, Euler's step multiplies distances by at most $\max(|1-hm|,|1-hL|)$. This bound is smallest at $h=\dfrac2{m+L}$.
#
# *Proof.* The eigenvalues of $I-hC$, with the mean curvature $C$ of the proof of Claim 2.4, lie between $1-hL$ and $1-hm$. $\square$
#
# We compare a potential with a spiral of the same $m$ and $L$, $K=-mI+\sqrt{L^2-m^2}\,G$, for which $\|I+hK\|^2=(1-hm)^2+h^2(L^2-m^2)$:

# %%
L = 4.0
m = 0.5
rotation = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(2))).Q
C = rotation @ torch.diag(torch.linspace(m, L, 8)) @ rotation.T  # curvatures from m to L
for name, h in (("0.2", 0.2), ("2/(m+L)", 2 / (m + L)), ("2/L", 2 / L)):
    measured = torch.linalg.matrix_norm(torch.eye(8) - h * C, 2).item()
    bound = max(abs(1 - h * m), abs(1 - h * L))
    other = math.sqrt((1 - h * m) ** 2 + h**2 * (L**2 - m**2))
    print(f"h = {name:7s} measured {measured:.4f} <= bound {bound:.4f}   spiral: {other:.3f}")
    assert measured <= bound + 1e-9

# %% [markdown]
# With a potential the middle row is best, as claimed. The spiral, with the same two numbers, is above 1 in all rows.
#
# ## 2.6 Implicit steps
#
# **Question.** No explicit method is A-stable. Which methods are?
#
# `implicit_euler` uses the velocity at the *end* of the step:
#
# $$x_{n+1}=x_n+h\,f(x_{n+1}).$$
#
# Each step solves an equation. Such a method is **implicit**; its $A$ also has entries on the diagonal.
#
# For $f(x)=-10x$ and $h=1$ (five times Euler's limit of Section 2.1) $x_{n+1}=x_n-10x_{n+1}$, so one step divides $x$ by 11. In general $R(z)=\frac1{1-z}$.
#
# Two more implicit methods use both ends of the step. `trapezoidal` adds $\tfrac h2\big(f(x_n)+f(x_{n+1})\big)$ to $x_n$, and `implicit_midpoint` adds $hf(X)$ with $X=x_n+\tfrac h2f(X)$, which is $\tfrac12(x_n+x_{n+1})$. On $f(x)=\lambda x$ both say $(1-\tfrac z2)x_{n+1}=(1+\tfrac z2)x_n$, so $R=\frac{2+z}{2-z}$.
# All three are A-stable: on the left $|2+z|\le|2-z|$ and $|1-z|\ge1$. The circle theorem tells them apart:
#
# |method|$A$|$b$|$M$|$2r$|
# |---|---|---|---|---|
# |`implicit_euler`|$1$|$1$|$1$|$\infty$|
# |`implicit_midpoint`|$\tfrac12$|$1$|$0$|$\infty$|
# |`trapezoidal`|$\begin{pmatrix}0&0\\1/2&1/2\end{pmatrix}$|$\begin{pmatrix}1/2\\1/2\end{pmatrix}$|$\begin{pmatrix}-1/4&0\\0&1/4\end{pmatrix}$|$4$|
#
# ($M\succeq0$ gives $r=\infty$: on a convex potential no step is too long.) Is 4 sharp? Take one ramp, $f(x)=-\max(x,0)$ on the line, so $L=1$, and $h=5$.
#
# **Predict first.** 1 and 2 are one apart. How far apart are they after one trapezoidal step? (Draw $f$ first.)

# %%
my_guess = ...  # a number


# %% tags=["reveal"]
def ramp(x):
    return -torch.relu(x)


for name in ("trapezoidal", "implicit_midpoint", "implicit_euler"):
    y1, y2 = runge_kutta_step(ramp, torch.tensor([[1.0], [2.0]]), 5.0, TABLEAUS[name])[:, 0]
    print(f"{name:18} 2r = {two_r[name]:3.0f}  {y1:7.4f} and {y2:7.4f}, {abs(y1 - y2):.2f} apart")
reply(
    my_guess,
    1.5,
    "1 - 2.5 = -1.5 and 2 - 5 = -3. There f = 0: the second half of the step adds nothing.",
    wrong={
        0.43: "that is |R(-5)|, as if the ramp acted at both ends.",
        4: "that is Euler's step, -4 and -8: take half of it.",
    },
)

# %% jupyter={"source_hidden": true}
line = torch.linspace(-2, 2, 81)[:, None]
ramp_ends = {
    name: runge_kutta_step(ramp, line, 5.0, TABLEAUS[name])[:, 0]
    for name in ("trapezoidal", "implicit_midpoint", "implicit_euler")
}
figures.implicit_on_a_ramp(line[:, 0], ramp_ends)

# %% [markdown]
# > **Claim 2.11 (A-stable is not contractive).** For $f(x)=-L\max(x,0)$ the trapezoidal rule moves some pair apart exactly if $hL>4=2r$. For $hL\ge2$ it multiplies every $x_0>0$ by $1-\tfrac{hL}2$.
#
# <details><summary>Proof (part of the answer to Exercise 2.4)</summary>
#
# Up to $hL=4$ Claim 2.5 protects all pairs. Let $hL\ge2$. The explicit half of the step leads to $x_0(1-\tfrac{hL}2)\le0$. There $f=0$, so this *is* $x_1$. Beyond $hL=4$ the factor is below $-1$. $\square$
#
# </details>
#
# Linear theory cannot see this: it has $f$ act at both ends of the step. Here the ramp acts at the start $x_0>0$, but no longer at the end $x_1\le0$.
#
# *Exercise 2.4: the trapezoidal step on a ramp for every $h$. Exercise 2.5: the longest Euler step of a matrix field with $\mu<0$.*
#
# ### ★ The regions of implicit methods
#
# *Find out:* choose `trapezoidal` in the live figure of Section 2.1, then in that of Section 2.3. Where does it fail?
#
# <details><summary>Answer</summary>
#
# $|R|\le1$ for every decay, spiral and rotation and every step. But pairs grow beyond $2r=4$, to 1.5 times their length at $hL=5$.
#
# </details>

# %% jupyter={"source_hidden": true}
figures.implicit_regions(TABLEAUS, stability_function)

# %% [markdown]
# ### ★ Implicit Euler without a potential
#
# Implicit midpoint and implicit Euler have $M\succeq0$, so they keep pairs together even with $\nu=0$. More can be said of implicit Euler:
#
# > **Claim 2.12 (implicit Euler).** If $\langle f(x)-f(y),x-y\rangle\le0$ for all $x,y$, and $f$ is continuous, the implicit Euler step $T(x)=x+hf(T(x))$ has exactly one solution for every $h>0$, and
# > $\|Tx-Ty\|^2\le\langle Tx-Ty,\,x-y\rangle$. In particular it is non-expansive. No Lipschitz constant is needed.
#
# <details><summary>Proof of the inequality</summary>
#
# With $\Delta_1=Tx-Ty$ we have $\Delta_0=\Delta_1-h\Delta f$, so $\langle\Delta_1,\Delta_0\rangle=\|\Delta_1\|^2-h\langle\Delta_1,\Delta f\rangle\ge\|\Delta_1\|^2$. Then use Cauchy–Schwarz.
# (That a solution exists is Minty's theorem.) $\square$
#
# </details>
#
# A map with this inequality is called **firmly non-expansive**, and $T=(I-hf)^{-1}$ the **resolvent** of $-f$. Rotations are welcome now, and steep fields too:


# %%
def steep_spiral(x):
    """A rotation and a cubic pull to the centre; moves no two points apart, not Lipschitz."""
    return 20 * x @ G.T - 5 * x * x.square().sum(-1, keepdim=True)


x, y = torch.randn(2, 500, 2, generator=torch.Generator().manual_seed(3))
for h in (0.1, 1.0, 10.0):
    Tx, Ty = (runge_kutta_step(steep_spiral, z, h, TABLEAUS["implicit_euler"]) for z in (x, y))
    squared = (Tx - Ty).square().sum(1)
    excess = (squared - ((Tx - Ty) * (x - y)).sum(1)).max().item()
    stretch = (squared.sqrt() / (x - y).norm(dim=1)).max().item()
    print(f"h = {h:4.1f}:  firmly non-expansive: {excess <= 1e-12}   stretch {stretch:.3f} <= 1")
    assert excess <= 1e-12 and stretch <= 1 + 1e-9
grown = runge_kutta_step(lambda x: x, torch.ones(1), 0.5, TABLEAUS["implicit_euler"]).item()
print(f"hypothesis dropped, x' = x with h = 0.5: factor {grown:.1f}")

# %% [markdown]
# `runge_kutta_step` solves the equation with Newton's method, and raises an `ArithmeticError` when it cannot.
# **Drop the hypothesis**, in the last line: $f(x)=x$ pushes points apart, and the step $x/(1-h)$ expands for $0<h<1$. (For $f(x)=x^2+1$ the equation may have no solution at all.)
#
# ## 2.7 Keep the energy instead
#
# **Question.** On a rotation Euler's solutions grow (Claim 2.3). Those of implicit Euler die away, since $|1/(1-z)|<1$ for imaginary $z\ne0$. Is there a cheap step that does neither?
#
# Write the rotation as an oscillator with position $q$, momentum $p$ and **energy** $H=\tfrac\omega2(q^2+p^2)$: $q'=\partial H/\partial p=\omega p$ and $p'=-\partial H/\partial q=-\omega q$. The flow keeps $H$.
# **Symplectic Euler** (it keeps areas, lesson 8) updates one after the other: first $p$ by an Euler step, then $q$ by an Euler step that already uses the *new* $p$.
#
# **Your turn 2.D.** Write this step. `q`, `p`, `h` and `omega` are numbers; return the new `q` and `p`, in this order.


# %%
def symplectic_euler(q, p, h, omega):
    """The new (q, p) after one step of size h."""
    ### BEGIN SOLUTION
    p = p - h * omega * q
    q = q + h * omega * p  # with the new p
    return q, p
    ### END SOLUTION


your_turn("2.D")

# %% [markdown]
# So $p_{n+1}=p_n-h\omega\,q_n$ and $q_{n+1}=q_n+h\omega\,p_{n+1}$. Take $\omega=1$ and start from $(1,0)$. The first two orbits show 100 steps with $h\omega=0.1$. The third shows seven long steps, $h\omega=0.8$: then the flattening can be seen. The energies belong to 1,000 steps with $h\omega=0.1$.


# %% jupyter={"source_hidden": true}
def oscillator(x):
    return torch.stack([x[..., 1], -x[..., 0]], -1)


def one_after_the_other(q, p, h, omega):  # in case you have not written it yet
    return q + h * omega * (p - h * omega * q), p - h * omega * q


def symplectic_step(x, a):
    your_euler = symplectic_euler if passed("2.D") else one_after_the_other
    return torch.tensor([float(entry) for entry in your_euler(*x.tolist(), a, 1.0)])


steppers = {
    "explicit Euler": lambda x: runge_kutta_step(oscillator, x, 0.1, TABLEAUS["euler"]),
    "implicit Euler": lambda x: runge_kutta_step(oscillator, x, 0.1, TABLEAUS["implicit_euler"]),
    "symplectic Euler": lambda x: symplectic_step(x, 0.1),
}
orbits = {}
for name, step in steppers.items():
    states = [torch.tensor([1.0, 0.0])]
    for _ in range(1000):
        states.append(step(states[-1]))
    orbits[name] = torch.stack(states)
energies = {name: states.square().sum(1) / 2 for name, states in orbits.items()}
lower, upper = 0.5 / 1.05, 0.5 / 0.95  # Claim 2.13
kept = energies["symplectic Euler"]
assert lower - 1e-9 <= kept.min() and kept.max() <= upper + 1e-9
turn = [torch.tensor([1.0, 0.0])]  # not quite once around
for _ in range(7):
    turn.append(symplectic_step(turn[-1], 0.8))
figures.three_orbits(orbits, torch.stack(turn), 0.8)
figures.three_energies(energies, lower, upper)

# %% [markdown]
# Each step of Euler multiplies the energy by $1.01$, and $1.01^{1000}\approx21{,}000$. That of symplectic Euler only swings, from 0.476 to 0.526. Why? The step keeps another quantity exactly. Its matrix turns and shears, so try $H$ plus a multiple of $qp$; one multiple fits:
#
# > **Claim 2.13 (symplectic Euler keeps a nearby energy).** It keeps $\tilde H=H-\tfrac{h\omega^2}2\,qp$ exactly. If $h\omega<2$, all orbits stay bounded, with $\dfrac{\tilde H}{1+h\omega/2}\le H\le\dfrac{\tilde H}{1-h\omega/2}$.
# > If $h\omega\ge2$, some orbits grow without bound.
#
# <details><summary>The proof</summary>
#
# Insert the step in $\tilde H$, and everything cancels: let $a=h\omega$ and $p_1=p-aq$, $q_1=q+ap_1$. Then $q_1^2+p_1^2-a\,q_1p_1=q_1(q_1-ap_1)+p_1^2=q_1q+p_1^2$. Since $q_1q=q^2+a\,p_1q$, this is $q^2+p_1(p_1+aq)=q^2+p_1p=q^2+p^2-a\,qp$. Multiply by $\tfrac\omega2$.
#
# Since $|qp|\le\tfrac12(q^2+p^2)$, $\tilde H$ lies between $(1-\tfrac a2)H$ and $(1+\tfrac a2)H$. If $a<2$, divide.
#
# The step is linear. Its matrix has determinant 1 and trace $2-a^2$. For $a>2$ the trace is below $-2$, so one eigenvalue is below $-1$ and its eigenvector grows. At $a=2$ both eigenvalues are $-1$, but the matrix is not $-I$: it has only one direction of eigenvectors, and then powers grow in proportion to the number of steps. $\square$
#
# </details>
#
# For our start $\tilde H=\tfrac12$. With $h\omega=0.1$ the bounds are the dashed lines above.
#
# ### ★ The bounds in numbers, and longer steps

# %%
# From the closed cell: orbits and energies hold the states and H of the 1,000 steps;
# symplectic_step(x, a) is your step from x = (q, p) with h omega = a.
q, p = orbits["symplectic Euler"].T
nearby = (q**2 + p**2) / 2 - 0.05 * q * p
energy = energies["symplectic Euler"]
print(f"bound {0.5 / 1.05:.4f} <= measured {energy.min():.4f}", end=" ... ")
print(f"{energy.max():.4f} <= bound {0.5 / 0.95:.4f}")
assert (nearby - 0.5).abs().max() < 1e-12  # it does not move
for a in (1.9, 2.0, 2.1):
    x = torch.tensor([1.0, 0.0])
    for _ in range(100):
        x = symplectic_step(x, a)
    print(f"h omega = {a}:  length after 100 steps {x.norm():.3g}")

# %% [markdown]
# ## 2.8 Steps made of steps
#
# **Question.** Can one combine simple steps and keep the promise?
#
# > **Claim 2.14 (composition).** If $S_1$ and $S_2$ are non-expansive, so is $S_2\circ S_1$.
#
# *Proof.* $\|S_2(S_1x)-S_2(S_1y)\|\le\|S_1x-S_1y\|\le\|x-y\|$. $\square$
#
# So a network of such layers keeps the promise, too. And $s$ Euler steps of length $2/L$, at the cost of one step with $s$ stages, reach $hL=2s$ (★ Claim 2.6). (Symplectic Euler keeps an energy, not distances: another promise.)
#
# ### ★ Splitting a field
#
# Claim 2.14 also lets us **split** a field, $f=f_1+f_2$, and treat each part as suits it.
# Here $f_1(x)=-W^\top\mathrm{relu}(Wx+b)$ (`valley` of Section 2.2, ★: run it first) has a convex potential, and $f_2$ belongs to a very steep potential, $V_2(x)=500\,x_2^2$. We take an Euler step on $f_1$, then an implicit one on $f_2$:


# %%
def steep(x):
    return -1000 * x * torch.tensor([0.0, 1.0])


def split_step(x, h):
    x = euler_step(valley, x, h)
    return runge_kutta_step(steep, x, h, TABLEAUS["implicit_euler"])


points = 2 * torch.randn(2000, 2, generator=torch.Generator().manual_seed(1))
h = 2 / L_valley
both = stretches_of_step(lambda x: valley(x) + steep(x), points, h, "euler").max().item()
split = norms.jacobian_norms(lambda x: split_step(x, h), points).max().item()
print(f"h = 2/L of the valley:  Euler on the sum {both:.0f}   split step {split:.4f} <= 1")
assert split <= 1 + 1e-9

# %% [markdown]
# The Euler step need not be shorter for the steep part.
#
# ### ★ Kick, drift and the accuracy of a splitting
#
# **Drop the hypothesis** of Claim 2.14: the *parts* must be non-expansive. Cut the oscillator with $\omega=1$ into a **drift** $q'=p$ and a **kick** $p'=-q$. The flow of each is exact in one step, but each shears the plane and stretches some pairs:

# %%
drift = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
kick = torch.tensor([[0.0, 0.0], [-1.0, 0.0]])
E = torch.linalg.matrix_exp  # E(h K) is the flow of x' = K x after time h
parts = [E(0.5 * kick), E(0.5 * drift), E(0.5 * drift) @ E(0.5 * kick), E(0.5 * (kick + drift))]
stretch = [f"{torch.linalg.matrix_norm(part, 2):.3f}" for part in parts]
print("kick {}   drift {}   kick, then drift {}   the rotation {}".format(*stretch))
x = torch.tensor([0.3, -0.8])
assert torch.allclose(parts[2] @ x, symplectic_step(x, 0.5))

# %% [markdown]
# "Kick, then drift" *is* symplectic Euler, and a splitting. It keeps an energy, not the distances: two different promises.
#
# For linear fields $x'=(K_1+K_2)x$ let $E_i(h)=e^{hK_i}$ be the exact flow of each part. **Lie** splitting uses $E_2(h)E_1(h)$ in each step, **Strang** splitting $E_1(\tfrac h2)E_2(h)E_1(\tfrac h2)$.
# With the kick as part 1 and the drift as part 2, Lie is symplectic Euler, and Strang is half a kick, a drift, half a kick: the **Verlet** method (lesson 8).
#
# > **Claim 2.15 (splitting orders).** Up to a fixed time, with $N$ steps, the error of Lie splitting is at most a constant times $1/N$, the error of Strang splitting at most a constant times $1/N^2$.
#
# *Why.* Expand both products and $e^{h(K_1+K_2)}$ in powers of $h$. For Lie the first difference is $\tfrac{h^2}2(K_2K_1-K_1K_2)$; for the symmetric product it appears only with $h^3$. Then $N\sim1/h$ steps add up. $\square$


# %%
def splitting_errors(K1, K2, N, E=E):
    """Errors at time 1 of Lie and Strang: roots of the sum of squares of all entries."""
    h = 1 / N
    lie = torch.linalg.matrix_power(E(h * K2) @ E(h * K1), N)
    strang = torch.linalg.matrix_power(E(h / 2 * K1) @ E(h * K2) @ E(h / 2 * K1), N)
    exact = torch.linalg.matrix_exp(K1 + K2)
    return torch.stack([(steps - exact).norm() for steps in (lie, strang)])


counts = [10, 20, 40, 80, 160]
errors = torch.stack([splitting_errors(kick, drift, N) for N in counts])
lie, strang = (errors[0] / errors[1]).tolist()
print(f"error ratio when N doubles: Lie {lie:.2f}   Strang {strang:.2f}")
inexact = [splitting_errors(spiral, drift, N, E=lambda M: torch.eye(2) + M) for N in (80, 160)]
print(f"Strang with Euler steps in place of exact flows: {inexact[0][1] / inexact[1][1]:.2f}")
figures.errors_of_splitting(counts, *errors.T)

# %% [markdown]
# Move half a step from the beginning to the end, and the order doubles. In a long product the half steps merge, so Strang costs almost nothing extra.
# **Drop "exact"**: take an Euler step for each part, and the second order is gone: a chain is as accurate as its worst link. (The last line splits the spiral of Section 2.1, ★, from the drift. For kick and drift Euler's step *is* the exact flow, because their squares are 0.) The *promise* of Claim 2.14 needs no accuracy at all.
#
# ### ★ One fixed potential for `rk4`
#
# Section 2.3 gave each time its own potential. A fixed one can play the same trick, because the stages stand at *different points*. Start from $V_0(x)=\tfrac14\|x\|^2$ and compute the stage points $X_1,\dots,X_4$ of one step from $(1,0)$.
# Near each $X_i$ add a small bump $\tfrac12(x-X_i)^\top E_i(x-X_i)$ with $E_i=0.94\,(u_iu_i^\top-\tfrac12I)$. At $X_i$ it has value and gradient 0, so the stages stay where they are, but the curvature there becomes $\tfrac12I+E_i$, almost the worst $u_iu_i^\top$ of our search.
# The bump fades out so slowly (over 20 powers of $e$ in the distance) that the curvature of $V$ stays in $[0,1]$ everywhere: $V$ is convex with $L=1$.
#
# <details><summary>Why the curvature stays in [0, 1]</summary>
#
# Let $y=x-X_i$, $t=\log\|y\|$, and let $\chi(t)$ be the fading factor: 1 close by, 0 far away. Differentiate $\tfrac12\chi\,y^\top Ey$ twice. Besides $\chi E$ there are terms with $\chi'$ and $\chi''$, and because $t$ is a logarithm, all powers of $\|y\|$ cancel:
# the norm of the Hessian is at most $\|E\|\,(\chi+\tfrac52|\chi'|+\tfrac12|\chi''|)$. With $\chi=1-3v^2+2v^3$, where $v$ runs from 0 to 1 over 20 units of $t$, the bracket is below $1.063$. Since $\|E\|=0.47$, the bump changes the curvature $\tfrac12$ by less than $\tfrac12$.
#
# </details>

# %% jupyter={"source_hidden": true}
rk4 = TABLEAUS["rk4"]
angles = worst_angles["rk4"][26]  # found for hL = 2.7
bumps = 0.94 * (one_direction(angles) - torch.eye(2) / 2)
centres = []  # the stages of rk4 for V_0, that is for f(x) = -x/2
for row in rk4.A.tolist():
    velocities = [-centre / 2 for centre in centres]
    earlier = sum(a * v for a, v in zip(row, velocities, strict=False))
    centres.append(torch.tensor([1.0, 0.0]) + 2.7 * earlier)


def fixed_potential(x):
    V = x @ x / 4
    for centre, E in zip(centres, bumps, strict=True):
        y = x - centre
        v = 1 + torch.log(y.norm() / 0.1) / 20
        v = v.clamp(0, 1)  # 0 very near the centre, 1 from a distance of 0.1 on
        V = V + y @ E @ y / 2 * (1 - 3 * v**2 + 2 * v**3)
    return V


def one_field(x):
    return -torch.func.vmap(torch.func.grad(fixed_potential))(x)


predicted = step_matrix(rk4, torch.eye(2) / 2 + bumps, 2.7)
short = 1e-11 * torch.linalg.svd(predicted).Vh[0]
ends = runge_kutta_step(one_field, torch.stack([centres[0] + short, centres[0] - short]), 2.7, rk4)
pair_growth = (ends[0] - ends[1]).norm() / (2 * short).norm()
print(f"rk4, one potential with L = 1, h = 2.7: a pair grows to {pair_growth:.3f} times its length")
assert pair_growth > 1.05

# %% [markdown]
# So beyond $2r$ `rk4` is not safe with a fixed potential either. How near to $hL=2$ this starts, our example does not tell.
#
# ## Recap
#
# * On $x'=\lambda x$ a method multiplies by $R(h\lambda)$. No explicit method is A-stable.
# * On a convex potential pairs stay together for $h\le2r/L$. The limit is sharp (★) if the stages may see different potentials.
# * Stable is not enough: `midpoint` fails at every step size, the A-stable `trapezoidal` beyond $hL=4$.
# * Without a potential Euler's limit falls from $2/L$ to $2m/L^2$.
# * Symplectic Euler keeps a nearby energy. Compositions keep the promise of their parts.
#
# ## What can go wrong in practice
#
# * *A step that was short enough yesterday.* If $L$ grows in training, $2r/L$ shrinks (lesson 5).
# * *A "better" solver.* Replacing Euler by `midpoint` in a layer removes its guarantee.
# * *Checking one trajectory.* Check pairs, or Jacobian norms.
#
# ## References
#
# * G. Dahlquist, R. Jeltsch: *Generalized disks of contractivity for explicit and implicit Runge–Kutta methods*, 1979.
# * J. M. Sanz-Serna, K. C. Zygalakis: *Contractivity of Runge–Kutta methods for convex gradient systems*, arXiv 1909.09971.
# * J.-B. Baillon, G. Haddad: *Quelques propriétés des opérateurs angle-bornés et n-cycliquement monotones*, 1977.
# * E. Hairer, G. Wanner: *Solving Ordinary Differential Equations II*, Springer, 1996 (stability regions, A- and B-stability).
# * E. Hairer, C. Lubich, G. Wanner: *Geometric Numerical Integration*, Springer, 2006 (symplectic methods, splitting).
# * M. J. Ehrhardt, D. Murari, F. Sherry: *Stable neural networks and connections to continuous dynamical systems*, arXiv 2510.22299.
