"""A description of the machine, and whether it computes in bf16."""

from __future__ import annotations

import platform
from pathlib import Path

from secateur.models.backends.base import available_threads


def machine() -> str:
    """Return the processor, its number of threads and its vector extensions as text."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.is_file() else ""
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    flags = {flag for line in text.splitlines() if line.startswith("flags") for flag in line.split()}
    known = [flag for flag in ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8") if flag in flags]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {available_threads()} threads, " + (
        f"{', '.join(known)}" if known else "no known vector extensions"
    )


def has_bf16() -> bool:
    """Whether the processor multiplies bf16 in hardware. Emulated bf16 is about twenty times slower."""
    import torch

    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
