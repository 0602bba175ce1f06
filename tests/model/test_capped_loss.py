import pytest
import torch
import torch.nn.functional as F

from golfpipe.model.capped_loss import BLOCK_ROWS, capped_logits, capped_mean_loss, capped_nats


@pytest.mark.parametrize("rows", [1, BLOCK_ROWS - 1, BLOCK_ROWS + 7, 2 * BLOCK_ROWS])
def test_loss_and_gradients_equal_the_plain_form(rows):
    generator = torch.Generator().manual_seed(rows)
    hidden = torch.randn(rows, 24, generator=generator, requires_grad=True)
    head = (4 * torch.randn(60, 24, generator=generator)).requires_grad_()
    targets = torch.randint(0, 60, (rows,), generator=generator)

    def plain(h, w):
        return F.cross_entropy(5 * torch.tanh(h @ w.T / 5), targets, reduction="none")

    exact = plain(hidden.double(), head.double())
    expected = torch.autograd.grad(3 * exact.mean(), (hidden, head))
    loss = capped_mean_loss(hidden, head, targets, 5.0)
    found = torch.autograd.grad(3 * loss, (hidden, head))
    assert loss.item() == pytest.approx(exact.mean().item(), rel=1e-6)
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f, e, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(capped_nats(hidden, head, targets, 5.0).double(), exact, rtol=1e-5, atol=1e-5)


def test_logits_are_capped():
    hidden, head = torch.full((1, 4), 100.0), torch.ones(3, 4)
    assert capped_logits(hidden, head, 30.0).tolist() == [[30.0] * 3]
