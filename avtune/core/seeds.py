"""Seeds derived from seeds. Imports nothing of ours and no torch."""

from __future__ import annotations

_GOLDEN = 0x9E3779B97F4A7C15
_MASK64 = (1 << 64) - 1


def mix(*parts: int | str) -> int:
    """One well-mixed 63-bit seed from several parts, e.g. `mix(trial_seed, "order", epoch)`.

    The splitmix64 finaliser (Steele, Lea, Flood 2014) folded over the parts; words enter as their UTF-8 bytes.
    """
    state = 0
    for part in parts:
        value = int.from_bytes(part.encode(), "little") if isinstance(part, str) else part
        while True:
            state = (state + (value & _MASK64) + _GOLDEN) & _MASK64
            state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
            state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK64
            state ^= state >> 31
            value >>= 64
            if value in (0, -1):
                break
    return state >> 1
