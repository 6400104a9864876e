import math

import torch

from chapter_utils import ode


# %% 9.A right: product with the transposed matrix
def antisymmetric_field(x, M, b, gamma):
    S = M - M.T
    return torch.tanh(x @ (S - gamma * torch.eye(len(S))).T + b)


# %% 9.A right: S.T = -S used
def antisymmetric_field(x, M, b, gamma):
    return torch.tanh(x @ (M.T - M) - gamma * x + b)


# %% 9.A right: column by column
def antisymmetric_field(x, M, b, gamma):
    K = M - M.T
    K.diagonal().sub_(gamma)
    return torch.stack([(K @ state + b).tanh() for state in x])


# %% 9.A wrong: not transposed -> *transposed* matrix
def antisymmetric_field(x, M, b, gamma):
    return torch.tanh(x @ (M - M.T - gamma * torch.eye(len(M))) + b)


# %% 9.A wrong: symmetric -> symmetric. Subtract
def antisymmetric_field(x, M, b, gamma):
    return torch.tanh(x @ (M + M.T - gamma * torch.eye(len(M))).T + b)


# %% 9.A wrong: friction added -> not added
def antisymmetric_field(x, M, b, gamma):
    return torch.tanh(x @ (M - M.T + gamma * torch.eye(len(M))).T + b)


# %% 9.A wrong: no friction -> friction is missing
def antisymmetric_field(x, M, b, gamma):
    return torch.tanh(x @ (M - M.T).T + b)


# %% 9.A wrong: friction everywhere -> on the diagonal only
def antisymmetric_field(x, M, b, gamma):
    return torch.tanh(x @ (M - M.T - gamma).T + b)


# %% 9.A wrong: no bias -> b is missing
def antisymmetric_field(x, M, b, gamma):
    return torch.tanh(x @ (M - M.T - gamma * torch.eye(len(M))).T)


# %% 9.A wrong: no activation -> tanh is missing
def antisymmetric_field(x, M, b, gamma):
    return x @ (M - M.T - gamma * torch.eye(len(M))).T + b


# %% 9.A wrong: M itself -> antisymmetric first
def antisymmetric_field(x, M, b, gamma):
    return torch.tanh(x @ (M - gamma * torch.eye(len(M))).T + b)


# %% 9.A wrong: half of it -> Build the matrix
def antisymmetric_field(x, M, b, gamma):
    return torch.tanh(x @ ((M - M.T) / 2 - gamma * torch.eye(len(M))).T + b)


# %% 9.B right: by hand
f_by_hand = (-0.5, -2)


# %% 9.B right: by the formula
x = torch.tensor([2.0, 0.0])
f_hat = torch.tensor([[0.5, 1.0], [-1.0, 0.5]]) @ x
f_by_hand = f_hat - x * torch.relu(x @ f_hat + 0.25 * x @ x) / (x @ x)


# %% 9.B right: V must fall at the rate 1/2, so |x| at 1/4
f_by_hand = [-2 / 4, -2.0]


# %% 9.B wrong: not projected -> spiral itself
f_by_hand = (1.0, -2.0)


# %% 9.B wrong: added -> must be removed
f_by_hand = (2.5, -2.0)


# %% 9.B wrong: no alpha -> does not fall
f_by_hand = (0.0, -2.0)


# %% 9.B wrong: not squared -> *square* of the length
f_by_hand = (-2.0, -2.0)


# %% 9.B wrong: no division -> squared length of grad V is missing
f_by_hand = (1 - 2 * 3, -2.0)


# %% 9.B wrong: not along the gradient -> multiply by grad V
f_by_hand = (1 - 3 / 4, -2.0)


# %% 9.B wrong: V without the half -> is 2 at this state
f_by_hand = (1 - 2 * (2 + 0.5 * 4) / 4, -2.0)


# %% 9.B wrong: sign of alpha V -> counts with a plus
f_by_hand = (1 - 2 * (2 - 1) / 4, -2.0)


# %% 9.B wrong: second component corrected too -> does not change
f_by_hand = (-0.5, -2.75)


# %% 9.B wrong: one number -> should return 2 values
f_by_hand = -0.5


# %% 9.B wrong: a guess -> In this order
f_by_hand = (-0.7, -2.0)


# %% 9.C right: loops
def mu_by_rows(M):
    d = len(M)
    return max(M[i, i] + sum(abs(M[i, j]) for j in range(d) if j != i) for i in range(d))


# %% 9.C right: the library
def mu_by_rows(M):
    return ode.logarithmic_norm(M, math.inf)


# %% 9.C right: absolute values outside a mask
def mu_by_rows(M):
    return torch.where(torch.eye(len(M)) > 0, M, M.abs()).sum(1).max().item()


# %% 9.C wrong: the norm -> must keep its sign
def mu_by_rows(M):
    return M.abs().sum(1).max()


# %% 9.C wrong: columns -> sums of the columns
def mu_by_rows(M):
    return ode.logarithmic_norm(M, 1)


# %% 9.C wrong: no absolute values -> all signs kept
def mu_by_rows(M):
    return M.sum(1).max()


# %% 9.C wrong: smallest row -> The largest counts
def mu_by_rows(M):
    return (M.diagonal() + M.abs().sum(1) - M.diagonal().abs()).min()


# %% 9.C wrong: subtracted -> subtracted
def mu_by_rows(M):
    return (M.diagonal() + M.diagonal().abs() - M.abs().sum(1)).max()


# %% 9.C wrong: diagonal twice -> counted twice
def mu_by_rows(M):
    return (M.diagonal() + M.abs().sum(1)).max()


# %% 9.C wrong: diagonal only -> others of the row
def mu_by_rows(M):
    return M.diagonal().max()


# %% 9.C wrong: Euclidean -> Euclidean norm
def mu_by_rows(M):
    return torch.linalg.eigvalsh((M + M.T) / 2).max()


# %% 9.C wrong: one number a row -> not a tensor of shape
def mu_by_rows(M):
    return M.diagonal() + M.abs().sum(1) - M.diagonal().abs()


# %% 9.D right: as in the claim
def forward_backward(z, W, beta, a):
    return torch.relu(z - a * ((torch.eye(len(z)) - W) @ z - beta))


# %% 9.D right: towards the layer without relu
def forward_backward(z, W, beta, a):
    return (z + a * (W @ z + beta - z)).clamp(min=0)


# %% 9.D right: entry by entry
def forward_backward(z, W, beta, a):
    new = [max(z[i] - a * (z[i] - W[i] @ z - beta[i]), 0.0 * z[i]) for i in range(len(z))]
    return torch.stack(new)


# %% 9.D wrong: plain repetition -> plain repetition
def forward_backward(z, W, beta, a):
    return torch.relu(W @ z + beta)


# %% 9.D wrong: no relu -> it comes last
def forward_backward(z, W, beta, a):
    return z - a * (z - W @ z - beta)


# %% 9.D wrong: relu inside -> Inside the relu
def forward_backward(z, W, beta, a):
    return z - a * torch.relu(z - W @ z - beta)


# %% 9.D wrong: no beta -> beta is missing
def forward_backward(z, W, beta, a):
    return torch.relu(z - a * (z - W @ z))


# %% 9.D wrong: sign of beta -> beta has the wrong sign
def forward_backward(z, W, beta, a):
    return torch.relu(z - a * (z - W @ z + beta))


# %% 9.D wrong: uphill -> the wrong way
def forward_backward(z, W, beta, a):
    return torch.relu(z + a * (z - W @ z - beta))


# %% 9.D wrong: W for I - W -> in place of I - W
def forward_backward(z, W, beta, a):
    return torch.relu(z - a * (W @ z - beta))


# %% 9.D wrong: transposed -> W is transposed
def forward_backward(z, W, beta, a):
    return torch.relu(z - a * (z - z @ W - beta))


# %% 9.D wrong: damped repetition -> damped repetition
def forward_backward(z, W, beta, a):
    return (1 - a) * z + a * torch.relu(W @ z + beta)


# %% 9.E right: as tuples
kinds = (2, 4, 1, 3, 1)
certified = ("no", "no", "yes", "no", "no")


# %% 9.E right: as lists
kinds = [2, 4, 1, 3, 1]
certified = ["no", "no", "yes", "no", "no"]


# %% 9.E right: capitals and a tensor
kinds = torch.tensor([2, 4, 1, 3, 1])
certified = ("No", "No", "Yes", "No", "No")


# %% 9.E wrong: a goal taken for pairs -> The whirl comes nearer
kinds = (1, 4, 1, 3, 1)
certified = ("no", "no", "yes", "no", "no")


# %% 9.E wrong: a goal taken for frozen -> follows the moving state
kinds = (3, 4, 1, 3, 1)
certified = ("no", "no", "yes", "no", "no")


# %% 9.E wrong: areas taken for lengths -> nothing bounds distances
kinds = (2, 1, 1, 3, 1)
certified = ("no", "no", "yes", "no", "no")


# %% 9.E wrong: a layer taken for a frozen field -> not of a field's
kinds = (2, 3, 1, 3, 1)
certified = ("no", "no", "yes", "no", "no")


# %% 9.E wrong: pairs taken for a point -> Any two images
kinds = (2, 4, 2, 3, 1)
certified = ("no", "no", "yes", "no", "no")


# %% 9.E wrong: pairs taken for each layer -> about lengths
kinds = (2, 4, 4, 3, 1)
certified = ("no", "no", "yes", "no", "no")


# %% 9.E wrong: frozen taken for pairs -> mu may be positive
kinds = (2, 4, 1, 1, 1)
certified = ("no", "no", "yes", "no", "no")


# %% 9.E wrong: frozen taken for a point -> no point is named
kinds = (2, 4, 1, 2, 1)
certified = ("no", "no", "yes", "no", "no")


# %% 9.E wrong: counted from zero -> one of 1, 2, 3, 4
kinds = (2, 4, 0, 3, 1)
certified = ("no", "no", "yes", "no", "no")


# %% 9.E wrong: a goal certifies -> as in the whirl. No radius
kinds = (2, 4, 1, 3, 1)
certified = ("yes", "no", "yes", "no", "no")


# %% 9.E wrong: areas certify -> areas are kept
kinds = (2, 4, 1, 3, 1)
certified = ("no", "yes", "yes", "no", "no")


# %% 9.E wrong: eigenvalues certify -> do not bound distances. No radius
kinds = (2, 4, 1, 3, 1)
certified = ("no", "no", "yes", "yes", "no")


# %% 9.E wrong: no certificate anywhere -> is a Lipschitz constant
kinds = (2, 4, 1, 3, 1)
certified = ("no", "no", "no", "no", "no")


# %% 9.E wrong: true and false -> takes "yes" or "no"
kinds = (2, 4, 1, 3, 1)
certified = (False, False, True, False, False)


# %% 9.E wrong: one answer for all -> should return 5 values
kinds = (2, 4, 1, 3, 1)
certified = "no"


# %% 9.E wrong: a metric taken for a goal -> Any two solutions are compared
kinds = (2, 4, 1, 3, 2)
certified = ("no", "no", "yes", "no", "no")


# %% 9.E wrong: a metric certifies -> far in the Euclidean norm
kinds = (2, 4, 1, 3, 1)
certified = ("no", "no", "yes", "no", "yes")


# %% 9.E wrong: four answers for five -> 5 values
kinds = (2, 4, 1, 3)
certified = ("no", "no", "yes", "no")
