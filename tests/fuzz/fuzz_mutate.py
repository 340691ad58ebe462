"""Damage for bytes, lines and nested values. Everything is drawn from a `random.Random`, so a seed tells it again."""

import json
import struct

HOSTILE = (
    None, True, False, "", " ", "x", "nan", "1e-3", "\x1b[31m\x07", "<script>alert(1)</script>", "a|b\n# c", "../../up",
    "/etc/passwd", "x" * 5000, "\ud800", "0x1F", "!!python/object:os.system", -1, 0, 1, 2**31, 2**63,
    10**40, -(10**9), 0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf"), [], {}, [[]], [1, 2, 3], {"a": {"b": None}},
)  # fmt: skip
_WORDS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)


def damaged(data, draw):
    """The bytes with one to three changes of any kind."""
    data = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        data = bytearray(_change(data, draw))
    return bytes(data)


def _change(data, draw):
    if not data:
        return draw.randbytes(draw.randint(1, 64))
    at = draw.randrange(len(data))
    end = min(len(data), at + draw.choice((1, 2, 4, 8, 16, 64, 512, 4096)))
    kind = draw.randrange(9)
    if kind <= 1:
        for _ in range(draw.choice((1, 1, 2, 8, 32))):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif kind == 2:
        return data[:at]
    elif kind == 3:
        return data[:at] + data[end:]
    elif kind == 4:
        return data[:end] + data[at:]
    elif kind == 5:
        data[at:end] = bytes([draw.choice((0, 255, 65))]) * (end - at)
    elif kind == 6:
        return data[:at] + draw.randbytes(draw.randint(1, 40)) + data[at:]
    elif kind == 7:
        packed = struct.pack("<Q", draw.choice(_WORDS))[: draw.choice((1, 2, 4, 8))]
        data[at : at + len(packed)] = packed
    else:
        return data + draw.randbytes(draw.choice((1, 16, 1000)))
    return data


def damaged_lines(text, draw):
    """The text with a line gone, doubled, moved, joined, cut or made up."""
    lines = text.splitlines(keepends=True) or [""]
    at, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    kind = draw.randrange(7)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(other, lines[at])
    elif kind == 2:
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 3:
        lines[at] = lines[at].rstrip("\n")
    elif kind == 4:
        lines[at] = lines[at][: draw.randrange(len(lines[at]) + 1)]
    elif kind == 5:
        lines.insert(
            at, draw.choice(("\n", "{}\n", "[]\n", "null\n", "{\n", "- a\n", "\0\n", "a: b: c\n", "[" * 3000 + "\n"))
        )
    else:
        del lines[at:]
    return "".join(lines)


def damaged_tree(value, draw):
    """A copy of nested dicts and lists with one to two places changed."""
    for _ in range(draw.randint(1, 2)):
        value = _changed(value, draw, draw.choice(list(_paths(value))))
    return value


def _paths(value, path=()):
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from _paths(value[key], (*path, key))
    elif isinstance(value, list):
        for at in range(len(value)):
            yield from _paths(value[at], (*path, at))


def _changed(value, draw, path):
    if not path:
        return draw.choice((draw.choice(HOSTILE), [value], {"x": value}, value))
    copy = dict(value) if isinstance(value, dict) else list(value)
    key = path[0]
    if len(path) > 1:
        copy[key] = _changed(copy[key], draw, path[1:])
        return copy
    kind = draw.randrange(6)
    if kind == 0:
        del copy[key]
    elif kind == 1 and isinstance(copy, dict):
        copy[draw.choice(("x", f"{key}x", str(key).upper(), "", "a.b", "trial", "seed"))] = copy.pop(key)
    elif kind == 2 and isinstance(copy, list):
        copy.insert(key, copy[key])
    elif kind == 3 and isinstance(copy[key], int | float) and not isinstance(copy[key], bool):
        copy[key] = draw.choice(
            (copy[key] * 10, -copy[key], copy[key] + 1, copy[key] - 1, float(copy[key]), str(copy[key]))
        )
    else:
        copy[key] = draw.choice(HOSTILE)
    return copy


def damaged_json_lines(text, draw):
    """Lines of JSON: one record changed, or damaged as lines or bytes."""
    kind = draw.randrange(3)
    if kind == 0:
        return damaged_lines(text, draw).encode()
    if kind == 1:
        return damaged(text.encode(), draw)
    lines = text.splitlines() or ["{}"]
    at = draw.randrange(len(lines))
    lines[at] = json.dumps(damaged_tree(json.loads(lines[at]), draw), ensure_ascii=draw.random() < 0.8)
    return ("\n".join(lines) + "\n").encode(errors="surrogatepass")
