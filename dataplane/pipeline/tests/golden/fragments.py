#!/usr/bin/env python3
"""Writes fragments.txt: the sealed frames of frames.txt ("case open" with a packet that is delivered), cut by scapy.

Needs scapy. IPv4 is cut by fragment(), IPv6 by fragment6() after the same payload was put behind IPv6 headers.
"""
import logging
import pathlib

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.all import IP, IPv6, UDP, Ether, IPv6ExtHdrFragment, Raw, fragment, fragment6  # noqa: E402

here = pathlib.Path(__file__).parent
cases = [dict(line.split(" ", 1) for line in block.splitlines() if " " in line)
         for block in (here / "frames.txt").read_text().split("\n\n")]
delivered = [c for c in cases if c.get("case") == "open" and c["expect"].startswith(("45", "6"))]
out = ["# Written by fragments.py with scapy; do not edit."]
for number, case in enumerate(delivered):
    whole = Ether(bytes.fromhex(case["frame"]))
    if IP not in whole:
        continue
    ip = whole[IP].copy()
    ip.id, ip.flags = 0x4242 + number, 0
    ip.len, ip.chksum = None, None
    parts = fragment(IP(bytes(ip)), fragsize=40)
    frames = [Ether(dst=whole.dst, src=whole.src) / p for p in parts]
    udp = whole[UDP].copy()
    udp.chksum = None
    six = IPv6(src="2001:db8:b::7", dst="2001:db8:a::1", tc=ip.tos) / IPv6ExtHdrFragment(id=0x01020304 + number) / udp
    frames6 = [Ether(dst=whole.dst, src=whole.src) / p for p in fragment6(six, 40 + 8 + 40 + 8)]
    for family, list_of in (("4", frames), ("6", frames6)):
        out += ["", "outer " + family, "keymat " + case["keymat"], "expect " + case["expect"]]
        out += ["fragment " + bytes(f).hex() for f in list_of]
(here / "fragments.txt").write_text("\n".join(out) + "\n")
