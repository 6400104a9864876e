import torch

# %% 6.A right: where the two lines cross
best_h1 = 8 / 5


# %% 6.A right: from the eigenvalues' mean
best_h1 = 1 / ((1 + 0.25) / 2)


# %% 6.A right: by trying many steps
steps = torch.linspace(0, 2, 20001, dtype=torch.float64)
best_h1 = steps[torch.maximum((1 - steps / 4).abs(), (1 - steps).abs()).argmin()]


# %% 6.A wrong: another slope -> for a = 1/2
best_h1 = 4 / 3


# %% 6.A wrong: only the slopes 1 -> leave 3/4
best_h1 = 1.0


# %% 6.A wrong: only the slopes a -> multiply by 3
best_h1 = 4


# %% 6.A wrong: the longest that does not expand -> reflect
best_h1 = 2.0


# %% 6.A wrong: the best step of Claim 6.2 -> such a short step
best_h1 = 0.25


# %% 6.A wrong: the factor -> The step is asked
best_h1 = 0.6


# %% 6.A wrong: a guess -> Where do they cross
best_h1 = 1.5


# %% 6.B right: large
biases = (-100.0, 100.0)


# %% 6.B right: just large enough, as a list
biases = [-30, 40]


# %% 6.B right: a tensor
biases = torch.tensor([-1e3, 1e4])


# %% 6.B wrong: both up -> not to 3/4
biases = (100.0, 100.0)


# %% 6.B wrong: upside down -> a half is left
biases = (100.0, -1000.0)


# %% 6.B wrong: both down -> nothing is given back
biases = (-100.0, -1000.0)


# %% 6.B wrong: zeros -> decide the sign
biases = (0.0, 0.0)


# %% 6.B wrong: too small -> decide the sign
biases = (-2.0, 2.0)


# %% 6.B wrong: b' is outrun by the shift -> outrun the shift
biases = (-100.0, 20.0)


# %% 6.B wrong: one number -> 2 values together
biases = 100.0


# %% 6.B wrong: huge -> drown in rounding
biases = (-1e20, 1e20)


# %% 6.C right: in one line
def shortest_down(h2, a):
    return h2 / (a * (1 + h2))


# %% 6.C right: by bisection
def shortest_down(h2, a):
    low, high = 0.0, 2 / (1 + a)
    for _ in range(60):
        middle = (low + high) / 2
        allowed = max(abs(1 - a * middle), abs(1 - middle)) * (1 + h2) <= 1
        low, high = (low, middle) if allowed else (middle, high)
    return high


# %% 6.C right: a tensor
def shortest_down(h2, a):
    left = torch.tensor(1 / (1 + h2), dtype=torch.float64)
    return (1 - left) / a


# %% 6.C wrong: of the whole -> not h2 times the whole
def shortest_down(h2, a):
    return h2 / a


# %% 6.C wrong: the slopes 1 -> Where all slopes are a
def shortest_down(h2, a):
    return 1 - 1 / (1 + h2)


# %% 6.C wrong: the longest -> A shorter one does
def shortest_down(h2, a):
    return 1 + 1 / (1 + h2)


# %% 6.C wrong: what is left -> not the step
def shortest_down(h2, a):
    return 1 / (1 + h2)


# %% 6.C wrong: as long as the step up -> a distance may be multiplied
def shortest_down(h2, a):
    return 0.3 * h2


# %% 6.C wrong: the best step, too long -> a shorter h1
def shortest_down(h2, a):
    return 2 / (1 + a)


# %% 6.C wrong: nothing returned -> Is a `return` missing
def shortest_down(h2, a):
    h2 / (a * (1 + h2))


# %% 6.D right: numbers
least_kept = (0, 1, 0.2)


# %% 6.D right: all products, as a tensor
on_or_off = torch.tensor([0.0, 1.0])
pair = [abs(1 - 0.8 * down) * (1 + 2 / 3 * up) for down in (0.5, 1.0) for up in (0.0, 1.0)]
steps = [(1 - c * on_or_off).abs().min().item() for c in (1, 2)]
least_kept = torch.tensor([*steps, min(pair)])


# %% 6.D right: a list
least_kept = [abs(1 - 1), min(1, abs(1 - 2)), 1 - 4 / 5]


# %% 6.D wrong: the best of each -> the slope has size |1 - 1|
least_kept = (1, 1, 1)


# %% 6.D wrong: with the sign -> is not negative
least_kept = (0, -1, 0.2)


# %% 6.D wrong: nothing left for c = 2 -> off, the slope is 1
least_kept = (0, 0, 0.2)


# %% 6.D wrong: the factor of the promise -> the largest of the four
least_kept = (0, 1, 1)


# %% 6.D wrong: only slope a -> The slope 1 leaves less
least_kept = (0, 1, 0.6)


# %% 6.D wrong: unit on -> Off gives nothing back
least_kept = (0, 1, 1 / 3)


# %% 6.D wrong: what is taken -> What does it leave
least_kept = (0, 1, 0.8)


# %% 6.D wrong: one number -> 3 values together
least_kept = 0.2


# %% 6.D wrong: a guess -> up multiplies by
least_kept = (0, 1, 0.05)
