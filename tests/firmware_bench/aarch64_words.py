"""Machine words of AArch64 that the estimate tests are made of, in hexadecimal."""

# fmla v0.4s, v1.4s, v2.4s · ldr q1, [x0], #16 · str q0, [x1] · subs x2, x2, #1 · b.ne back
FMLA, LDR, STR, SUBS, BNE = "20cc224e", "0104c13c", "2000803d", "420400f1", "81ffff54"
MUL, SDOT, JUNK = "209c224e", "2094824e", "ffffffff"


def code(*words):
    return bytes.fromhex("".join(words))
