"""Preference losses: short functions over the summed log-probabilities of chosen and rejected, or of a whole ranking.

p is the policy's log-probability of an answer, r the reference's, n its tokens; margin(x) = x_chosen - x_rejected:

    dpo       -log sigmoid(beta * margin(p - r))                          Rafailov et al. 2023, eq. 7
    dpo_norm  -log sigmoid(beta * margin((p - r) / n))                    Lambert et al. 2024 (Tulu 3), eq. 6
    ipo       (margin((p - r) / n) - 1 / (2 beta))^2                      Azar et al. 2023, eq. 17, per token
    simpo     -log sigmoid(beta * margin(p / n) - gamma)                  Meng et al. 2024, eq. 6
    orpo      nll(chosen) - beta * log sigmoid(margin(log odds(p / n)))   Hong et al. 2024, eq. 6
    cpo       nll(chosen) - log sigmoid(beta * margin(p))                 Xu et al. 2024, eq. 5
    ranking   sum_(i above j) delta_ij * -log sigmoid(beta * (p_i - r_i - p_j + r_j))   Liu et al. 2024, eq. 7

delta_ij = |2^g_i - 2^g_j| * |1 / log2(1 + t_i) - 1 / log2(1 + t_j)|: g falls from 1 for the best to 0 for the worst
answer, t is the place that the policy gives an answer now.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from xllms.recipe import DpoSettings, PreferenceLoss
from xllms.training.examples import Batch
from xllms.training.objectives import Objective, Outcome

PairLoss = Callable[[Tensor, Tensor, Tensor, DpoSettings], tuple[Tensor, Tensor]]


def preference(settings: DpoSettings) -> Objective:
    """The objective that `settings` name."""
    return _ranking(settings) if settings.loss.takes_ranking else _pairs(settings)


def _pairs(settings: DpoSettings) -> Objective:
    loss_of = _LOSSES[settings.loss]
    nll_weight = settings.loss.nll_weight if settings.nll_weight is None else settings.nll_weight

    def objective(logprobs: Tensor, batch: Batch) -> Outcome:
        policy = batch.trie.sum_by_sequence(logprobs).view(-1, 2)
        length = policy.new_tensor(batch.trie.lengths).view(-1, 2)
        loss, margin = loss_of(policy, _reference(settings.loss, policy, batch), length, settings)
        if nll_weight:
            loss = loss - nll_weight * policy[:, 0] / length[:, 0]
        extra = {"margin": margin.detach(), "accuracy": (margin > 0).float().detach()}
        return Outcome(loss.sum(), len(loss), loss.detach(), loss.new_ones(len(loss)), extra)

    return objective


def _reference(loss: PreferenceLoss, policy: Tensor, batch: Batch) -> Tensor:
    """(B, 2) reference log-probabilities; nothing where the loss has none."""
    return batch.reference.to(policy.device).view(-1, 2) if loss.needs_reference else torch.zeros_like(policy)


def _sigmoid(margin: Tensor, smoothing: float) -> Tensor:
    """Binary cross-entropy of the preference, a share of the labels taken to be wrong (Mitchell 2023)."""
    return -(1 - smoothing) * F.logsigmoid(margin) - smoothing * F.logsigmoid(-margin)


def _dpo(policy: Tensor, reference: Tensor, length: Tensor, settings: DpoSettings) -> tuple[Tensor, Tensor]:
    margin = settings.beta * _difference(policy - reference)
    return _sigmoid(margin, settings.label_smoothing), margin


def _dpo_norm(policy: Tensor, reference: Tensor, length: Tensor, settings: DpoSettings) -> tuple[Tensor, Tensor]:
    return _dpo(policy / length, reference / length, length, settings)


def _ipo(policy: Tensor, reference: Tensor, length: Tensor, settings: DpoSettings) -> tuple[Tensor, Tensor]:
    margin = _difference((policy - reference) / length)
    return (margin - 1 / (2 * settings.beta)) ** 2, settings.beta * margin


def _simpo(policy: Tensor, reference: Tensor, length: Tensor, settings: DpoSettings) -> tuple[Tensor, Tensor]:
    margin = settings.beta * _difference(policy / length)
    return _sigmoid(margin - settings.simpo_margin, settings.label_smoothing), margin


def _orpo(policy: Tensor, reference: Tensor, length: Tensor, settings: DpoSettings) -> tuple[Tensor, Tensor]:
    mean = (policy / length).clamp(max=-1e-6)  # a sure answer has infinite odds
    margin = settings.beta * _difference(mean - torch.log1p(-mean.exp()))
    return -settings.beta * F.logsigmoid(margin / settings.beta), margin


def _cpo(policy: Tensor, reference: Tensor, length: Tensor, settings: DpoSettings) -> tuple[Tensor, Tensor]:
    margin = settings.beta * _difference(policy)
    return _sigmoid(margin, settings.label_smoothing), margin


def _difference(pair: Tensor) -> Tensor:
    return pair[:, 0] - pair[:, 1]


_LOSSES: dict[PreferenceLoss, PairLoss] = {
    PreferenceLoss.DPO: _dpo,
    PreferenceLoss.DPO_NORM: _dpo_norm,
    PreferenceLoss.IPO: _ipo,
    PreferenceLoss.SIMPO: _simpo,
    PreferenceLoss.ORPO: _orpo,
    PreferenceLoss.CPO: _cpo,
}


def _ranking(settings: DpoSettings) -> Objective:
    nll_weight = settings.nll_weight or 0.0

    def objective(logprobs: Tensor, batch: Batch) -> Outcome:
        policy = batch.trie.sum_by_sequence(logprobs)
        length = policy.new_tensor(batch.trie.lengths)
        rewards = settings.beta * (policy - batch.reference.to(policy.device))
        losses, margins, accuracies = [], [], []
        for reward, mean in zip(batch.by_example(rewards), batch.by_example(policy / length), strict=True):
            losses.append(lambda_loss(reward) - nll_weight * mean[0])
            ahead = (reward[:, None] - reward[None, :])[_above(len(reward), reward.device)]
            margins.append((reward[0] - reward[-1]).detach())
            accuracies.append((ahead > 0).float().mean().detach())
        loss = torch.stack(losses)
        extra = {"margin": torch.stack(margins), "accuracy": torch.stack(accuracies)}
        return Outcome(loss.sum(), len(loss), loss.detach(), loss.new_ones(len(loss)), extra)

    return objective


def lambda_loss(reward: Tensor) -> Tensor:
    """LambdaLoss of one ranking (Wang et al. 2018; for language models Liu et al. 2024, LiPO, eq. 7).

    Args:
        reward: (k,) scores of the answers, the best answer first.

    Returns:
        Scalar.
    """
    count = len(reward)
    grade = torch.linspace(1, 0, count, device=reward.device)
    place = reward.detach().argsort(descending=True, stable=True).argsort() + 1
    gain, discount = 2**grade, 1 / torch.log2(1 + place.float())
    delta = (gain[:, None] - gain[None, :]).abs() * (discount[:, None] - discount[None, :]).abs()
    above = _above(count, reward.device)
    return (delta * -F.logsigmoid(reward[:, None] - reward[None, :]))[above].sum()


def _above(count: int, device: torch.device) -> Tensor:
    """(k, k) True where the row's answer is better than the column's."""
    return torch.ones(count, count, dtype=torch.bool, device=device).triu(1)
