#!/usr/bin/env python3
"""Known answers of key exchange, key derivation and AUTH, computed without a line of sipsec.

    derive.py RFC5903.txt RFC8031.txt > known.txt

RFC 5903 §8 and RFC 8031 appendix A give the elliptic curves; the rest is Python's own integers and hmac, after the
formulas of RFC 7296 §2.13-2.18, RFC 8784, RFC 9242, RFC 9370 and RFC 3526.
"""
import hashlib, hmac, re, sys


def show(section, **values):
    print(f"[{section}]")
    for name, value in values.items():
        print(f"{name} = {value if isinstance(value, (str, int)) else value.hex()}")
    print()


def ecp(text):
    for number, length, title in ((19, 32, "8.1."), (20, 48, "8.2."), (21, 66, "8.3.")):
        part = re.split(r"\n8\.\d\.  |\n9\.  ", text)[int(title[2])]
        values = {}
        for name in ("i", "gix", "giy", "r", "grx", "gry", "girx"):
            after = re.split(rf"\n{name}:\n", part, maxsplit=1)[1]
            digits = ""
            for line in after.split("\n"):
                words = line.split()
                if words and all(re.fullmatch("[0-9A-Fa-f]{4,8}", w) for w in words):
                    digits += "".join(words)
                elif digits and words and len(digits) >= 2 * length:
                    break
            values[name] = bytes.fromhex(digits[: 2 * length])
        v = values
        show("dh", group=number, private_i=v["i"], public_i=v["gix"] + v["giy"], private_r=v["r"],
             public_r=v["grx"] + v["gry"], shared=v["girx"])


def x25519(text):
    part = text.split("Appendix A.  Numerical Example for Curve25519")[-1]
    pairs = re.findall(r"((?:[0-9a-f]{2}[ -]){15}[0-9a-f]{2})\s*\n\s+((?:[0-9a-f]{2}[ -]){15}[0-9a-f]{2})", part)
    v = [bytes.fromhex((a + b).replace(" ", "").replace("-", "")) for a, b in pairs]
    # Random bytes and their fixed forms come in one order for both sides, then the public values and the secret.
    public_i, public_r, shared = v[-3:]
    private_i, private_r = v[-5], v[-4]
    show("dh", group=31, private_i=private_i, public_i=public_i, private_r=private_r, public_r=public_r, shared=shared)


def pi(bits):
    """floor(pi * 2**bits), by Machin's formula."""
    guard = bits + 64

    def arctan_inverse(x):
        term = total = (1 << guard) // x
        n, sign = 3, -1
        while term:
            term //= x * x
            total += sign * (term // n)
            n, sign = n + 2, -sign
        return total

    return (4 * (4 * arctan_inverse(5) - arctan_inverse(239))) >> 64


def modp():
    for number, bits, c, length in ((2, 1024, 129093, 28), (5, 1536, 741804, 32), (14, 2048, 124476, 40), (15, 3072, 1690314, 48), (16, 4096, 240904, 56)):
        p = 2**bits - 2 ** (bits - 64) - 1 + 2**64 * (pi(bits - 130) + c)
        i, r = (hashlib.shake_256(b"%d %c" % (number, side)).digest(length) for side in b"ir")
        ni, nr = int.from_bytes(i, "big"), int.from_bytes(r, "big")
        out = lambda n: n.to_bytes(bits // 8, "big")
        show("dh", group=number, private_i=i, public_i=out(pow(2, ni, p)), private_r=r, public_r=out(pow(2, nr, p)),
             shared=out(pow(2, ni * nr, p)))


def prf(alg, key, data):
    return hmac.new(key, data, alg).digest()


def prf_plus(alg, key, seed, length):
    out, t, n = b"", b"", 1
    while len(out) < length:
        t = prf(alg, key, t + seed + bytes([n]))
        out, n = out + t, n + 1
    return out[:length]


def split(stream, *lengths):
    out, at = [], 0
    for n in lengths:
        out.append(stream[at : at + n])
        at += n
    return out


def derivation():
    ni, nr = bytes(range(32)), bytes(range(100, 148))
    si, sr = bytes.fromhex("0102030405060708"), bytes.fromhex("a1a2a3a4a5a6a7a8")
    shared = hashlib.shake_256(b"shared").digest(64)
    again = hashlib.shake_256(b"again").digest(32)
    for suite, alg, a, e in (("aes256gcm16-prfsha256-x25519", "sha256", 0, 36),
                             ("aes128-sha384-prfsha384-ecp384", "sha384", 48, 16),
                             ("aes256-sha512-prfsha512-modp2048", "sha512", 64, 32)):
        p = hashlib.new(alg).digest_size
        lengths = (p, a, a, e, e, p, p)
        names = ("d", "ai", "ar", "ei", "er", "pi", "pr")
        skeyseed = prf(alg, ni + nr, shared)
        keys = dict(zip(names, split(prf_plus(alg, skeyseed, ni + nr + si + sr, sum(lengths)), *lengths)))
        skeyseed = prf(alg, keys["d"], again + ni + nr)
        rekeyed = dict(zip(names, split(prf_plus(alg, skeyseed, ni + nr + sr + si, sum(lengths)), *lengths)))
        child = prf_plus(alg, keys["d"], ni + nr, 72)
        child_pfs = prf_plus(alg, keys["d"], again + ni + nr, 40)
        message, identity = b"the whole first message", bytes.fromhex("0b000000") + b"0388881001"
        octets = message + nr + prf(alg, keys["pi"], identity)
        auth = prf(alg, prf(alg, b"psk", b"Key Pad for IKEv2"), octets)
        show("derivation", suite=suite, ni=ni, nr=nr, spi_i=si, spi_r=sr, shared=shared, again=again,
             **keys, **{"rekeyed_" + n: v for n, v in rekeyed.items()}, child=child, child_pfs=child_pfs,
             message=message, identity=identity, psk=b"psk", auth=auth)


def later():
    """What is mixed in after the first keys: RFC 9370 §2.2.2, RFC 9242 §3.3.2 and RFC 8784 §3, in this order."""
    ni, nr = bytes(range(7, 39)), bytes(range(150, 182))
    si, sr = bytes.fromhex("1112131415161718"), bytes.fromhex("b1b2b3b4b5b6b7b8")
    shared, second = (hashlib.shake_256(s).digest(32) for s in (b"first exchange", b"second exchange"))
    ppk = b"thirty-two bytes that nobody knows"
    # IKE_INTERMEDIATE with Message ID 1 as before encryption: header, Encrypted payload's header, the payloads in it.
    inner = b"\0\0\0\x0c" + b"\0\x24\0\0" + b"KEY!"

    def intermediate(flags):
        return (si + sr + bytes([46, 0x20, 43, flags]) + (1).to_bytes(4, "big") + (28 + 4 + len(inner)).to_bytes(4, "big")
                + bytes([34, 0]) + (4 + len(inner)).to_bytes(2, "big") + inner)

    for suite, alg, a, e in (("aes256gcm16-prfsha256-x25519", "sha256", 0, 36),
                             ("aes256-sha512-prfsha512-modp2048", "sha512", 64, 32)):
        p = hashlib.new(alg).digest_size
        lengths = (p, a, a, e, e, p, p)
        names = ("d", "ai", "ar", "ei", "er", "pi", "pr")

        def expand(skeyseed):
            return dict(zip(names, split(prf_plus(alg, skeyseed, ni + nr + si + sr, sum(lengths)), *lengths)))

        first = expand(prf(alg, ni + nr, shared))
        request, response = intermediate(0x08), intermediate(0x20)
        int_auth = prf(alg, first["pi"], request) + prf(alg, first["pr"], response) + (2).to_bytes(4, "big")
        mixed = expand(prf(alg, first["d"], second + ni + nr))
        with_ppk = {n: prf_plus(alg, ppk, mixed[n], p) for n in ("d", "pi", "pr")}
        message, identity = b"the whole first message", bytes.fromhex("0b000000") + b"0388881001"
        octets = message + nr + prf(alg, with_ppk["pi"], identity) + int_auth
        auth = prf(alg, prf(alg, b"psk", b"Key Pad for IKEv2"), octets)
        show("later", suite=suite, ni=ni, nr=nr, spi_i=si, spi_r=sr, shared=shared, second=second, ppk=ppk,
             request=request, response=response, int_auth=int_auth, **{"mixed_" + n: v for n, v in mixed.items()},
             **{"ppk_" + n: v for n, v in with_ppk.items()}, message=message, identity=identity, psk=b"psk", auth=auth)


ecp(open(sys.argv[1]).read())
x25519(open(sys.argv[2]).read())
modp()
derivation()
later()
