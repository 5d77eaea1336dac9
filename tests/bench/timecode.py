"""The clock in the picture, as `timecode.mjs` says: drawn by the camera, read from what a door shows."""

SQUARES, ROUND_MS = 20, 65_536
BLACK, WHITE = 16, 235


def check(clock):
    return (clock ^ clock >> 4 ^ clock >> 8 ^ clock >> 12 ^ 0b0101) & 15


def row(width, now_ms):
    """The brightness of the top row."""
    clock = int(now_ms) % ROUND_MS
    word = clock * 16 + check(clock)
    bits = [(word >> (SQUARES - 1 - n)) & 1 for n in range(SQUARES)]
    return bytes(WHITE if bits[x * SQUARES // width] else BLACK for x in range(width))


def age(luma, width, height, now_ms):
    """How old a picture is by its brightness, row by row, in milliseconds; None if it has no clear clock."""
    line = height // 30 * width
    seen = [luma[line + (2 * n + 1) * width // (2 * SQUARES)] for n in range(SQUARES)]
    if any(90 < value < 165 for value in seen):
        return None
    word = sum((value >= 165) << (SQUARES - 1 - n) for n, value in enumerate(seen))
    if word % 16 != check(word // 16):
        return None
    return (int(now_ms) - word // 16 + 2 * ROUND_MS) % ROUND_MS
