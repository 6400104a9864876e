# %% [markdown]
# # Symbols and words
#
# The letters that run through several lessons. A lesson that gives a letter another meaning says so where it uses it.
# Vectors are columns in formulas and *rows of a batch* in code: `x @ A.T` has the rows $Ax$.
#
# ## Letters
#
# | letter | meaning | first in |
# |---|---|---|
# | $x,y\in\mathbb R^d$ | states, inputs, features; $d$ is the dimension | lesson 1 |
# | $f$, $x'=f(x)$ | a field: the velocity at each state | 1 |
# | $\varphi_t(x)$ | the flow: where $x$ is after time $t$; $T$ is a final time | 1 |
# | $\beta$ | rate of approach to one point | 1 |
# | $T$ | a final time (lessons 1, 4); a layer, or a map that is repeated (5, 8) | 1 |
# | $N$ | number of layers (3, 4); a non-expansive map (5, 8) | 3 |
# | $x^*$ | an equilibrium, $f(x^*)=0$ | 1 |
# | $Df(x)$ | the Jacobian: the matrix of partial derivatives | 1 |
# | $\|x\|$, $\|A\|$ | Euclidean length of a vector; spectral norm of a matrix, its largest singular value | 1 |
# | $\langle x,y\rangle$ | inner product, the sum of the products of the entries | 1 |
# | $A\succeq B$ | $A-B$ is positive semidefinite: symmetric, without negative eigenvalues | 1 |
# | $\mathrm{sym}(A)=\tfrac12(A+A^\top)$ | the symmetric part; a matrix $S$ with $S^\top=-S$ is *skew* | 1 |
# | $\alpha(A)$ | spectral abscissa: the largest real part of an eigenvalue. (Elsewhere $\alpha$ is a rate of decay, or says how averaged a map is.) | 1 |
# | $\|x\|_P=\sqrt{x^\top Px}$ | the length that a positive definite $P$ measures; $\kappa=\lambda_{\max}(P)/\lambda_{\min}(P)$ | 1 |
# | $\dot V$ | rate of change of $V$ along solutions, $\langle\nabla V,f\rangle$ | 1 |
# | $\mu$ | one-sided Lipschitz constant; for a matrix, logarithmic norm. It has a sign. $\mu_\infty$, $\mu_P$: in other norms | 1 |
# | $L$ | Lipschitz constant, a size: never negative | 1 |
# | $m$ | strong convexity of a potential, strong monotonicity of a field | 1 |
# | $V$ | a potential (its flow is $x'=-\nabla V$) or a Lyapunov function; in lesson 9 $\alpha$ is the rate at which it falls | 1 |
# | $G=\begin{pmatrix}0&-1\\1&0\end{pmatrix}$ | rotation of the plane by 90 degrees | 1 |
# | $\Omega=\begin{pmatrix}0&I\\-I&0\end{pmatrix}$ | the symplectic matrix; $q$ position, $p$ momentum, $H$ energy: $q'=\partial H/\partial p$, $p'=-\partial H/\partial q$ | 1 |
# | $h$ | step size of a method | 2 |
# | $R(z)$ | stability function: one step of $x'=\lambda x$ multiplies by $R(h\lambda)$. (In lesson 3, $R$ is a kernel written as a matrix.) | 2 |
# | $A,b$ of a method, $M$, $B$ | stage matrix and weights of a Runge–Kutta method; $B=\mathrm{diag}(b)$, $M=BA+A^\top B-bb^\top$ | 2 |
# | $s$ | number of stages, or of substeps | 2, 6 |
# | $r$ | circle-contractivity radius of a method | 2 |
# | $\nu$ | cocoercivity: the field $-f$ is $\nu$-cocoercive if $\langle f(x)-f(y),x-y\rangle\le-\nu\|f(x)-f(y)\|^2$ | 2 |
# | $K$, $\hat K(\omega)$ | kernel of a convolution, and its symbol: what it multiplies the wave of frequency $\omega$ by. (In lesson 2, $x'=Kx$ is a linear field.) | 3 |
# | $D$ | a diagonal matrix: the slopes of an activation, for the ReLU 1 for units that are on and 0 for the others. (In lesson 8 also a denoiser.) | 3 |
# | $\sigma$, $L_\sigma$ | activation, applied to each entry, and its largest slope | 3 |
# | $\theta$ | all weights of a layer | 4 |
# | $\lambda$ | an eigenvalue; in lesson 4 a rate, in lesson 6 the quotient $\lambda_{\min}/\lambda_{\max}$ of $A^\top A$ | 1, 4, 6 |
# | $p_n$ | adjoint state: gradient of the loss with respect to the state after $n$ layers (lesson 4 only) | 4 |
# | $\tau$ | step of a layer $x-\tau A^\top\sigma(Ax+b)$; here $A$ and $b$ are its weights | 5 |
# | $c=\tau L_\sigma\|A\|^2$ | the same step in units in which the limit is 2; lesson 6 follows the paper and writes $h_1,h_2$ | 5 |
# | $\alpha$ of a map | a map is $\alpha$-averaged if it is $(1-\alpha)I+\alpha N$ with a non-expansive $N$ | 5, 8 |
# | $a$ | slope of the leaky ReLU on the negative side; in lesson 9 also the step of a forward–backward iteration | 6, 9 |
# | $\rho_{jl}$, $\mathbb 1$ | the share of group $l$ that moves to group $j$ in a unit of time; the vector of ones | 8 |
# | $L_F$ | Lipschitz constant of $\nabla F$ for a misfit $F$ of images | 8 |
# | $F$, $F_j$ | a classifier and its outputs (logits); $F_y$ belongs to the true class, $M=F_y-\max_{j\ne y}F_j$ is the margin | 5, 7 |
# | $\varepsilon$ | length of an attack, in units of the pixels | 7 |
# | $\kappa$ | rate demanded by LyaNet's loss | 9 |
#
# ## Words
#
# | word | meaning |
# |---|---|
# | adjoint | of a linear map $K$: the map $K^\top$ with $\langle Kx,y\rangle=\langle x,K^\top y\rangle$ |
# | augment | add coordinates to the state (lesson 4); change training images at random (lesson 7) |
# | averaged, firmly non-expansive | see $\alpha$ of a map; firmly: $\alpha=\tfrac12$ |
# | certificate | a proved statement about one input: no change shorter than its radius changes the prediction |
# | contractive | a flow or map that brings every two states closer by at least a fixed rate |
# | expansive | some two states move apart |
# | frozen | a field replaced by its linearisation at one state, as if the Jacobian did not change |
# | growing mode | an eigenvalue with positive real part, and its direction |
# | gradient masking | an attack fails because its gradient vanishes, not because the network is robust |
# | forward–backward | an iteration of a gradient step followed by a non-expansive map |
# | implicit, explicit | a method whose step solves an equation; one that only evaluates the field |
# | invariant | a set that no solution leaves, or a quantity that no solution changes |
# | kick, drift | a step that moves the momenta only; the positions only. Verlet: half a kick, a drift, half a kick |
# | lift | a map into more dimensions, here by appending zeros |
# | Lipschitz constant | the most that distances can be multiplied by |
# | logits | the outputs $F_j$ of a classifier, one a class |
# | metric | a way to measure distances, possibly a different one at each state |
# | monotone | a field with $\langle f(x)-f(y),x-y\rangle\ge0$; *strongly*: $\ge m\|x-y\|^2$ with $m>0$ |
# | non-expansive | no two states move apart: Lipschitz constant at most 1 |
# | normal | a matrix with $AA^\top=A^\top A$: it has orthogonal eigenvectors |
# | PGD | an attack: gradient steps, each followed by a way back into the ball of allowed changes |
# | plug-and-play | gradient steps on the misfit of an image, each followed by a denoiser |
# | power iteration | repeat $v\leftarrow A^\top Av/\|A^\top Av\|$: $\|Av\|$ approaches $\|A\|$ from below |
# | saturated | a unit whose activation is almost flat where it stands |
# | spectral radius | the largest modulus of an eigenvalue |
# | stable, attractive, asymptotically stable | who starts near stays near; who starts near arrives; both |
# | stiff | with rates so different that an explicit method needs tiny steps although nothing happens |
# | stretch of a step | the norm of its Jacobian: the most that it multiplies small distances by |
# | symplectic | a map whose derivative $M$ satisfies $M^\top\Omega M=\Omega$ |
# | train mode, evaluation mode | `model.train()`: norms are estimated; `model.eval()`: they are bounded from above |
