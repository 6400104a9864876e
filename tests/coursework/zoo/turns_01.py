import torch

# %% 1.A right: from the eigenvectors
mu_by_hand = -1 + 5 / 2


# %% 1.A right: by the computer
A = torch.tensor([[-1.0, 5.0], [0.0, -1.0]])
mu_by_hand = torch.linalg.eigvalsh((A + A.T) / 2).max()


# %% 1.A right: a Rayleigh quotient
v = torch.tensor([1.0, 1.0]) / 2**0.5
mu_by_hand = v @ torch.tensor([[-1.0, 5.0], [0.0, -1.0]]) @ v


# %% 1.A wrong: eigenvalue of A -> Make A symmetric first
mu_by_hand = -1


# %% 1.A wrong: smallest -> smallest eigenvalue
mu_by_hand = -3.5


# %% 1.A wrong: forgot the half -> half of that
mu_by_hand = 3.0


# %% 1.A wrong: the norm -> no sign
mu_by_hand = 5.193


# %% 1.A wrong: a guess -> symmetric part, 2 by 2
mu_by_hand = 0.5
