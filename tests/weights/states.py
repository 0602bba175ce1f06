"""State dicts for the tests of the compressor, and a look at how far weights are off."""

import torch


def gaussian(*shape: int, seed: int = 0, deviation: float = 0.05) -> torch.Tensor:
    return deviation * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def relative_error(restored: torch.Tensor, weight: torch.Tensor) -> float:
    """sum (w - w_hat)^2 / sum w^2 in fp64."""
    restored, weight = restored.detach(), weight.detach()
    return float((restored.double() - weight.double()).square().sum() / weight.double().square().sum())


def same_bits(left: torch.Tensor, right: torch.Tensor) -> bool:
    """True for tensors of one type, one shape and the same bits, NaN and negative zeros included."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    parts = [t.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1) for t in (left, right)]
    return not left.numel() or torch.equal(parts[0].view(torch.uint8), parts[1].view(torch.uint8))
