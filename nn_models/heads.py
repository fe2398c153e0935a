"""Heads of a recurrent network: what its hidden state says of the targets.

A head of a distribution puts the mean of each target first, then the parameters of the
distribution, so that a point prediction and what it is uncertain about leave together. Equations:
Klotz et al. (2022, https://doi.org/10.5194/hess-26-1673-2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

#: Units of the hidden layer of a mixture, and the least of its widths and weights.
HIDDEN, EPSILON = 100, 1e-5
ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "softplus": nn.Softplus,
}


class Head(nn.Module):
    """Base of heads.

    Attributes
    ----------
    conditions : tuple of float
        Values of one more dynamic input, for each of which the network runs; none by default.
    """

    conditions: tuple[float, ...] = ()

    def forward(self, hidden: Tensor) -> Tensor:
        """Return outputs ``[..., n_outputs]`` of the hidden state ``[..., conditions, n_hidden]``.

        The axis of conditions is only there where the head has some.
        """
        raise NotImplementedError


class Regression(Head):
    """A linear layer and an activation.

    Parameters
    ----------
    n_hidden, n_outputs : int
    activation : {"linear", "relu", "softplus"}
    """

    def __init__(self, n_hidden: int, n_outputs: int, activation: str = "linear") -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation!r} is none of {', '.join(ACTIVATIONS)}")
        self.linear = nn.Linear(n_hidden, n_outputs)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, hidden: Tensor) -> Tensor:
        """Return a value per target, see :meth:`Head.forward`."""
        activated: Tensor = self.activation(self.linear(hidden))
        return activated


class Mixture(Head):
    """Base of heads with a hidden layer and parameters of a mixture.

    Parameters
    ----------
    n_hidden, n_outputs : int
    components : int
        Of the distribution of each target.
    kinds : int
        Parameters of a component.
    latent : int
        Kinds times what one run of the network gives.
    """

    def __init__(self, n_hidden: int, n_outputs: int, components: int, kinds: int, latent: int) -> None:
        super().__init__()
        if components < 1:
            raise ValueError(f"a mixture has at least one component, not {components}")
        self.targets, rest = divmod(n_outputs, 1 + kinds * components)
        if rest or not self.targets:
            raise ValueError(
                f"{components} components of {kinds} parameters, with their mean, do not make "
                f"{n_outputs} outputs"
            )
        self.components = components
        self.hidden = nn.Linear(n_hidden, HIDDEN)
        self.parameters_of = nn.Linear(HIDDEN, latent * self.targets)

    def latent(self, hidden: Tensor, kinds: int) -> tuple[Tensor, ...]:
        """Return unbounded parameters by kind, the components of the first target first."""
        return self.parameters_of(torch.relu(self.hidden(hidden))).chunk(kinds, dim=-1)

    def joined(self, means: Tensor, weights: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        """Put the mean of each target before the parameters; weights need not add up to one."""
        shape = (*means.shape[:-1], self.targets, self.components)
        weights = weights.reshape(shape)
        mean = (weights * means.reshape(shape)).sum(-1) / weights.sum(-1)
        return torch.cat([mean, *parameters], dim=-1)


class GaussianMixture(Mixture):
    """A mixture of normal distributions (GMM): ``mu``, ``sigma``, ``pi`` of each component.

    Parameters
    ----------
    n_hidden, n_outputs : int
    n_distributions : int
    """

    def __init__(self, n_hidden: int, n_outputs: int, n_distributions: int) -> None:
        super().__init__(n_hidden, n_outputs, n_distributions, 3, 3 * n_distributions)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return means and parameters, see :meth:`Head.forward`."""
        mu, sigma, pi = self.latent(hidden, 3)
        pi = torch.softmax(pi, dim=-1)
        return self.joined(mu, pi, (mu, torch.exp(sigma) + EPSILON, pi))


class AsymmetricLaplaceMixture(Mixture):
    """A countable mixture of asymmetric Laplacians (CMAL): ``mu``, ``b``, ``tau``, ``pi`` of each.

    Parameters
    ----------
    n_hidden, n_outputs : int
    n_distributions : int
    """

    def __init__(self, n_hidden: int, n_outputs: int, n_distributions: int) -> None:
        super().__init__(n_hidden, n_outputs, n_distributions, 4, 4 * n_distributions)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return means and parameters, see :meth:`Head.forward`."""
        mu, b, tau, pi = self.latent(hidden, 4)
        b = nn.functional.softplus(b, beta=2) + EPSILON
        tau = (1 - EPSILON) * torch.sigmoid(tau) + EPSILON
        pi = (1 - EPSILON) * torch.softmax(pi, dim=-1) + EPSILON
        return self.joined(_laplace_mean(mu, b, tau), pi, (mu, b, tau, pi))


class UncountableLaplaceMixture(Mixture):
    """An uncountable mixture of asymmetric Laplacians (UMAL): ``mu`` and ``b`` at each ``tau``.

    The asymmetry ``tau`` is an input of the network, drawn at random in training. Here it takes
    fixed values of equal weight, so that the answer is the same each time.

    Parameters
    ----------
    n_hidden, n_outputs : int
    taus : sequence of float
    """

    def __init__(self, n_hidden: int, n_outputs: int, taus: Sequence[float]) -> None:
        if not all(0 < tau < 1 for tau in taus):
            raise ValueError(f"taus must lie between 0 and 1, not {', '.join(f'{t:g}' for t in taus)}")
        super().__init__(n_hidden, n_outputs, len(taus), 2, 2)
        self.conditions = tuple(float(tau) for tau in taus)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return means and parameters, see :meth:`Head.forward`."""
        mu, b = self.latent(hidden, 2)  # [..., taus, targets]
        b = 0.5 * torch.sigmoid(b) + EPSILON
        tau = torch.tensor(self.conditions, dtype=mu.dtype, device=mu.device)
        mu, b = (part.transpose(-1, -2).flatten(-2) for part in (mu, b))
        mean = _laplace_mean(mu, b, tau.repeat(self.targets))
        return self.joined(mean, torch.ones_like(mean), (mu, b))


def _laplace_mean(mu: Tensor, b: Tensor, tau: Tensor) -> Tensor:
    """Return the mean of an asymmetric Laplacian with its ``tau`` quantile at `mu` (Yu & Zhang, 2005)."""
    return mu + b * (1 - 2 * tau) / (tau * (1 - tau))


HEADS: Mapping[str, type[Head]] = {
    "regression": Regression,
    "gmm": GaussianMixture,
    "cmal": AsymmetricLaplaceMixture,
    "umal": UncountableLaplaceMixture,
}


def make_head(description: Mapping[str, Any], n_hidden: int, n_outputs: int) -> Head:
    """Build a head of its name and options; ValueError or TypeError if they are not valid."""
    options = dict(description)
    name = options.pop("name", None)
    if name not in HEADS:
        raise ValueError(f"head {name!r} is none of {', '.join(HEADS)}")
    return HEADS[name](n_hidden, n_outputs, **options)
