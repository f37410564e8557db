import pytest
import torch
from torch import Tensor

from inference.training.bank import Bank, CrossLayerBank
from tests.inference.training.made import bank

PLAIN = {"auxiliary_weight": 0.0}


def step_loss(made: Bank, x: Tensor, target: Tensor, weight: Tensor, *, progress: float = 1.0) -> Tensor:
    return made.step(x, target, weight, progress=progress, compute=torch.float32).loss


def chosen(made: Bank, x: Tensor, *, per_row: float) -> Tensor:
    """Features by the formula, the highest of each dictionary's whole batch kept."""
    out = []
    for i in range(made.n):
        inner = x[i] - made.b_dec[i] if made.config.kind == "sae" else x[i]
        pre = inner @ made.w_enc[i].T + made.b_enc[i]
        k = round(per_row * len(pre))
        least = pre.flatten().sort(descending=True).values[k - 1]
        out.append(torch.where((pre >= least) & (pre > 0), pre, 0.0))
    return torch.stack(out)


def test_the_matryoshka_loss_equals_brute_force_over_prefixes() -> None:
    made = bank(layers=(3, 5), prefixes=(3, 6, 12), prefix_weights=(1, 2, 5), **PLAIN)
    x = torch.randn(2, 10, 6)
    weight = torch.rand(2, 10)
    features = chosen(made, x, per_row=3)
    expected = torch.zeros(())
    for share, prefix in zip((1 / 8, 2 / 8, 5 / 8), (3, 6, 12), strict=True):
        for i in range(2):
            reconstruction = features[i][:, :prefix] @ made.w_dec[i][:prefix] + made.b_dec[i]
            expected = expected + share * (weight[i] * (x[i] - reconstruction).square().sum(1)).mean()
    torch.testing.assert_close(step_loss(made, x, x, weight), expected)


def test_the_matryoshka_gradient_equals_brute_force() -> None:
    made = bank(prefixes=(4, 12), **PLAIN)
    x, weight = torch.randn(1, 10, 6), torch.ones(1, 10)
    torch.autograd.backward(step_loss(made, x, x, weight))
    found = {name: parameter.grad for name, parameter in made.named_parameters()}
    made.zero_grad()
    features = chosen(made, x, per_row=3)
    loss = sum(
        0.5 * (x - features[..., :prefix] @ made.w_dec[:, :prefix] - made.b_dec).square().sum(2).mean()
        for prefix in (4, 12)
    )
    assert isinstance(loss, Tensor)
    torch.autograd.backward(loss)
    for name, parameter in made.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, msg=name)


@pytest.mark.parametrize("settings", [{}, {"kind": "transcoder", "skip": True}, {"loss": "jumprelu"}])
def test_many_dictionaries_train_as_each_would_alone(settings: dict[str, object]) -> None:
    together = bank(layers=(0, 4, 7), prefixes=(3, 12), dead_after_tokens=1, **settings)
    together.silent.fill_(5)
    x, target = torch.randn(3, 20, 6), torch.randn(3, 20, 6)
    goal = x if together.config.kind == "sae" else target
    weight = torch.rand(3, 20)
    torch.autograd.backward(step_loss(together, x, goal, weight))
    for i, layer in enumerate((0, 4, 7)):
        alone = bank(layers=(layer,), prefixes=(3, 12), dead_after_tokens=1, **settings)
        alone.load_state_dict({name: value[i : i + 1] for name, value in together.state_dict().items()})
        alone.silent.fill_(5)
        torch.autograd.backward(step_loss(alone, x[i : i + 1], goal[i : i + 1], weight[i : i + 1]))
        for (name, mine), other in zip(alone.named_parameters(), together.parameters(), strict=True):
            assert mine.grad is not None, name
            assert other.grad is not None, name
            torch.testing.assert_close(mine.grad[0], other.grad[i], msg=name)


def test_a_dictionary_begins_alike_alone_and_among_others() -> None:
    together, alone = bank(layers=(0, 4)), bank(layers=(4,))
    assert torch.equal(together.w_enc[1], alone.w_enc[0])


def test_jumprelus_penalty_is_quadratic_in_the_l0() -> None:
    made = bank(loss="jumprelu", sparsity_weight=0.25, sparsity_warm_up=0.5, frequency_weight=0.0, first_threshold=0.2)
    x = torch.randn(1, 30, 6)
    silent = torch.zeros(1, 30)
    pre = (x - made.b_dec.unsqueeze(1)) @ made.w_enc.transpose(1, 2) + made.b_enc.unsqueeze(1)
    l0 = (pre > 0.2).sum(dim=2).float()
    expected = 0.25 * (2 / 3) * (l0 - 3).square().mean()
    torch.testing.assert_close(step_loss(made, x, x, silent, progress=1.0), expected)
    torch.testing.assert_close(step_loss(made, x, x, silent, progress=0.25), expected / 2)


def test_only_features_above_a_tenth_pay_for_their_frequency() -> None:
    made = bank(loss="jumprelu", sparsity_weight=0.0, frequency_weight=2.0, first_threshold=0.2)
    x = torch.randn(1, 30, 6)
    pre = (x - made.b_dec.unsqueeze(1)) @ made.w_enc.transpose(1, 2) + made.b_enc.unsqueeze(1)
    frequency = (pre > 0.2).float().mean(dim=1)
    expected = 2.0 * (frequency - 0.1).clamp_min(0).sum()
    torch.testing.assert_close(step_loss(made, x, x, torch.zeros(1, 30)), expected)


def test_the_auxiliary_loss_moves_dead_features_and_no_others() -> None:
    made = bank(auxiliary_features=4, dead_after_tokens=100)
    made.silent[0, [2, 9]] = 100.0
    x, weight = torch.randn(1, 20, 6), torch.ones(1, 20)
    with_auxiliary = step_loss(made, x, x, weight)
    torch.autograd.backward(with_auxiliary)
    moved = made.w_enc.grad
    made.zero_grad()
    made.silent.zero_()
    torch.autograd.backward(step_loss(made, x, x, weight))
    assert moved is not None
    assert made.w_enc.grad is not None
    difference = (moved - made.w_enc.grad).abs().sum(dim=2)[0]
    assert set(difference.nonzero().flatten().tolist()) <= {2, 9}
    assert difference.sum() > 0


def test_silence_is_counted_in_tokens() -> None:
    made = bank()
    x = torch.randn(1, 20, 6)
    outcome = made.step(x, x, torch.ones(1, 20), progress=0.0, compute=torch.float32)
    assert torch.equal(made.silent == 0, outcome.fired)
    assert set(made.silent[~outcome.fired].tolist()) <= {20.0}


def test_decoder_rows_stay_unit_and_lose_no_gradient_but_their_length() -> None:
    made = bank()
    gradient = torch.randn_like(made.w_dec)
    made.w_dec.grad = gradient.clone()
    made.project()
    along = (made.w_dec.grad * made.w_dec).sum(dim=2)
    torch.testing.assert_close(along, torch.zeros_like(along), atol=1e-6, rtol=0)
    removed = gradient - made.w_dec.grad
    torch.testing.assert_close(removed, (gradient * made.w_dec).sum(2, keepdim=True) * made.w_dec)
    with torch.no_grad():
        made.w_dec.mul_(3)
    made.renormalise()
    torch.testing.assert_close(made.w_dec.norm(dim=2), torch.ones(1, 12))


def cross_layer() -> CrossLayerBank:
    made = bank(layers=(0, 1, 2), kind="clt", width=36, l0=6, prefixes=(9, 36), skip=True, **PLAIN)
    assert isinstance(made, CrossLayerBank)
    return made


def test_a_cross_layer_transcoder_equals_brute_force() -> None:
    made = cross_layer()
    x, target, weight = torch.randn(3, 10, 6), torch.randn(3, 10, 6), torch.rand(3, 10)
    pre = torch.einsum("lbd,lfd->lbf", x, made.w_enc) + made.b_enc.unsqueeze(1)
    least = pre.flatten().sort(descending=True).values[6 * 10 - 1]
    features = torch.where((pre >= least) & (pre > 0), pre, 0.0)
    assert made.skip is not None
    expected = torch.zeros(())
    for width in (3, 12):
        for to in range(3):
            out = made.b_dec[to] + x[to] @ made.skip[to]
            for layer in range(to + 1):
                out = out + features[layer][:, :width] @ made.w_dec_to[to][layer][:width]
            expected = expected + 0.5 * (weight[to] * (target[to] - out).square().sum(1)).mean()
    torch.testing.assert_close(step_loss(made, x, target, weight), expected)


def test_a_cross_layer_features_whole_decoder_stays_unit() -> None:
    made = cross_layer()
    for block in made.w_dec_to:
        block.grad = torch.randn_like(block)
    made.project()
    made.renormalise()
    for layer in range(3):
        whole = torch.cat([made.w_dec_to[to][layer] for to in range(layer, 3)], dim=1)
        gradient = torch.cat([made.w_dec_to[to].grad[layer] for to in range(layer, 3)], dim=1)
        torch.testing.assert_close(whole.norm(dim=1), torch.ones(12))
        torch.testing.assert_close((whole * gradient).sum(dim=1), torch.zeros(12), atol=1e-5, rtol=0)
