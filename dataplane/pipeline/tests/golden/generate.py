#!/usr/bin/env python3
"""Writes frames.txt: ESP-in-UDP frames made without any of our code, by OpenSSL's AES-GCM and the RFCs' header layouts.

Needs the `cryptography` package. With `--pcap FILE` the sealed frames are also written as a capture, and the
command is printed with which tshark opens them (expected: ICV "Good" for each).
"""
import ipaddress
import struct
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

OUTSIDE_MAC, NEXT_HOP = "0200000000a1", "0200000000b1"
A4, B4 = "192.0.2.1", "198.51.100.7"
A6, B6 = "2001:db8:a::1", "2001:db8:b::7"
PORT_A, PORT_B = 50012, 24825
DSCP = 10


def csum(b):
    if len(b) % 2:
        b += b"\0"
    s = sum(struct.unpack(f"!{len(b) // 2}H", b))
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    return ~s & 0xFFFF


def ip4(src, dst, proto, payload, tos=0, ident=0, ttl=64, df=False):
    h = struct.pack("!BBHHHBBH4s4s", 0x45, tos, 20 + len(payload), ident, 0x4000 if df else 0, ttl, proto, 0,
                    ipaddress.ip_address(src).packed, ipaddress.ip_address(dst).packed)
    return h[:10] + struct.pack("!H", csum(h)) + h[12:] + payload


def ip6(src, dst, nxt, payload, tc=0, hop=64):
    return struct.pack("!IHBB16s16s", 6 << 28 | tc << 20, len(payload), nxt, hop,
                       ipaddress.ip_address(src).packed, ipaddress.ip_address(dst).packed) + payload


def udp(src, dst, sport, dport, payload, checksum):
    u = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    if not checksum:
        return u
    s, d = ipaddress.ip_address(src).packed, ipaddress.ip_address(dst).packed
    return u[:6] + struct.pack("!H", csum(s + d + struct.pack("!IHBB", len(u), 0, 0, 17) + u) or 0xFFFF) + u[8:]


def esp(spi, seq, key, salt, iv, payload, nxt, esn=False, pad=None):
    if pad is None:
        n = -(len(payload) + 2) % 4
        pad = bytes(range(1, n + 1))
    plain = payload + pad + bytes([len(pad), nxt])
    aad = struct.pack("!IQ" if esn else "!II", spi, seq)
    return struct.pack("!II", spi, seq & 0xFFFFFFFF) + iv + AESGCM(key).encrypt(salt + iv, plain, aad)


def frame(v6, payload, tos, ident, reverse=False):
    a, b = (A6, B6) if v6 else (A4, B4)
    pa, pb = PORT_A, PORT_B
    macs = bytes.fromhex(NEXT_HOP + OUTSIDE_MAC)
    if reverse:
        a, b, pa, pb = b, a, pb, pa
        macs = bytes.fromhex(OUTSIDE_MAC + NEXT_HOP)
    u = udp(a, b, pa, pb, payload, checksum=v6)
    if v6:
        return macs + b"\x86\xdd" + ip6(a, b, 17, u, tos)
    return macs + b"\x08\x00" + ip4(a, b, 17, u, tos, ident)


def inner4(n, tos=0xB9, reverse=False):
    body = struct.pack("!HHHH", 5004, 5006, 8 + n, 0) + bytes(i & 0xFF for i in range(n))
    a, b = ("10.2.0.9", "10.1.0.9") if reverse else ("10.1.0.9", "10.2.0.9")
    return ip4(a, b, 17, body, tos=tos, ident=0x1234, ttl=63)


def inner6(n):
    body = struct.pack("!HHHH", 5004, 5006, 8 + n, 0) + bytes(i & 0xFF for i in range(n))
    return ip6("2001:db8:1::9", "2001:db8:2::9", 17, body, tc=0x02)


KEY128, KEY256 = bytes(range(16)), bytes(range(100, 132))
SALT = bytes.fromhex("cafebabe")
SPI_OUT, SPI_IN = 0xC1000001, 0xC2000002


def main():
    out, pcap = [], []

    def emit(**fields):
        for name, value in fields.items():
            out.append(f"{name} {value.hex() if isinstance(value, bytes) else value}")
        out.append("")

    # What our side must make of an inner packet: the first and second packet of an SA, IV = sequence number.
    for cipher, key in (("aes128", KEY128), ("aes256", KEY256)):
        for esn in (False, True):
            for v6 in (False, True):
                inners = [inner4(n) for n in (0, 1, 2, 3, 1380)] + [inner6(33)]
                fields = {"case": "seal", "cipher": cipher, "esn": int(esn), "outer": 6 if v6 else 4,
                          "keymat": key + SALT}
                for seq, inner in enumerate(inners, 1):
                    nxt = 41 if inner[0] >> 4 == 6 else 4
                    ecn = (inner[1] & 3) if nxt == 4 else (inner[1] >> 4 & 3)
                    sealed = esp(SPI_OUT, seq, key, SALT, struct.pack("!Q", seq), inner, nxt, esn)
                    wire = frame(v6, sealed, DSCP << 2 | ecn, seq)
                    fields[f"inner{seq}"], fields[f"frame{seq}"] = inner, wire
                    if not esn:
                        pcap.append((wire, key))
                emit(**fields)

    # What our side must make of a peer's frame: IVs that are no sequence numbers, more padding than needed, traffic
    # flow confidentiality padding (RFC 4303 2.7), dummies, and what is wrong.
    inner = inner4(40, tos=0x02, reverse=True)
    iv = bytes.fromhex("a1b2c3d4e5f60718")
    for name, expect, kwargs in (
        ("plain", inner, {}),
        ("long-pad", inner, {"pad": bytes(range(1, 255 + 1))[: 252 + -(len(inner) + 2) % 4]}),
        ("tfc", inner, {"payload": inner + bytes(64)}),
        ("dummy", "dummy-packet", {"payload": bytes(32), "nxt": 59}),
        ("transport", "inner-not-ip", {"nxt": 17}),
        ("wrong-family", "inner-not-ip", {"nxt": 41}),
        ("wrong-pad", "esp-malformed", {"pad": bytes([9, 9] * 2)[: -(len(inner) + 2) % 4] or bytes([9] * 4)}),
        ("pad-too-long", "esp-malformed", {"payload": b"", "pad": b"", "nxt": 4, "raw_pad_len": 77}),
        ("wrong-spi-in-aad", "icv-failed", {"spi": SPI_IN ^ 1}),
    ):
        kwargs.setdefault("payload", inner)
        kwargs.setdefault("nxt", 4)
        raw = kwargs.pop("raw_pad_len", None)
        if raw is not None:
            plain = bytes(2) + bytes([raw, 4])
            body = struct.pack("!II", SPI_IN, 7) + iv + AESGCM(KEY128).encrypt(
                SALT + iv, plain, struct.pack("!II", SPI_IN, 7))
        else:
            spi = kwargs.pop("spi", SPI_IN)
            body = esp(spi, 7, KEY128, SALT, iv, kwargs["payload"], kwargs["nxt"], pad=kwargs.get("pad"))
            body = struct.pack("!I", SPI_IN) + body[4:]
        emit(**{"case": "open", "name": name, "keymat": KEY128 + SALT,
                "frame": frame(False, body, 0x03, 99, reverse=True), "expect": expect})

    with open("frames.txt", "w") as f:
        f.write("# Made by generate.py.\n\n" + "\n".join(out))

    if "--pcap" in sys.argv:
        path = sys.argv[sys.argv.index("--pcap") + 1]
        with open(path, "wb") as f:
            f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
            for wire, _ in pcap:
                f.write(struct.pack("<IIII", 0, 0, len(wire), len(wire)) + wire)
        print("aes128", (KEY128 + SALT).hex(), "aes256", (KEY256 + SALT).hex(), hex(SPI_OUT))


main()
