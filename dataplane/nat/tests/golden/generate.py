#!/usr/bin/env python3
"""Writes frames.txt: packets before and after translation, made by scapy, which computes every checksum from scratch.

Needs scapy 2.6 or newer (`pip install scapy`). The rules are those of src/tests/golden.rs:
tcp 10.1.0.9:80 <-> 192.0.2.1:8080, udp 10.1.0.9:53 <-> 192.0.2.1:5353, inside 10.0.0.0/24 <-> 192.168.101.0/24.
Each line is a step: its name, `out` or `in`, the packet, and the packet that is expected.
"""
from pathlib import Path

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_Timestamp
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.packet import Raw

PEER = "198.51.100.7"
ROUTER = "203.0.113.9"
steps = []


def step(name, way, before, after):
    steps.append(f"{name} {way} {bytes(before).hex()} {bytes(after).hex()}")


def pair(name, make):
    """A packet of the network's host out, and the answer back."""
    step(name, "out", make("10.0.0.5", PEER, True), make("192.168.101.5", PEER, True))
    step(name + "-back", "in", make(PEER, "192.168.101.5", False), make(PEER, "10.0.0.5", False))


def quote(packet, length):
    return Raw(bytes(packet)[:length])


# Ports: what comes in, what answers it, and errors about both.
tcp_in = IP(src=PEER, dst="192.0.2.1", id=1, ttl=60) / TCP(sport=40000, dport=8080, flags="S", options=[("MSS", 1460), ("NOP", None), ("WScale", 7)])
tcp_inside = IP(src=PEER, dst="10.1.0.9", id=1, ttl=60) / TCP(sport=40000, dport=80, flags="S", options=[("MSS", 1460), ("NOP", None), ("WScale", 7)])
step("tcp-syn", "in", tcp_in, tcp_inside)
answer = dict(id=2, ttl=63)
tcp_answer = IP(src="10.1.0.9", dst=PEER, **answer) / TCP(sport=80, dport=40000, flags="SA") / b"odd"
tcp_answered = IP(src="192.0.2.1", dst=PEER, **answer) / TCP(sport=8080, dport=40000, flags="SA") / b"odd"
step("tcp-syn-ack", "out", tcp_answer, tcp_answered)
for length in (28, 40, 43):
    step(f"too-big-about-tcp-{length}", "in",
         IP(src=ROUTER, dst="192.0.2.1", ttl=50) / ICMP(type=3, code=4, nexthopmtu=1400) / quote(tcp_answered, length),
         IP(src=ROUTER, dst="10.1.0.9", ttl=50) / ICMP(type=3, code=4, nexthopmtu=1400) / quote(tcp_answer, length))
step("unreachable-from-inside", "out",
     IP(src="10.1.0.9", dst=PEER) / ICMP(type=3, code=3) / quote(tcp_inside, 100),
     IP(src="192.0.2.1", dst=PEER) / ICMP(type=3, code=3) / quote(tcp_in, 100))
step("exceeded-from-an-inside-router", "out",
     IP(src="10.1.0.254", dst=PEER) / ICMP(type=11, code=0) / quote(tcp_inside, 100),
     IP(src="192.0.2.1", dst=PEER) / ICMP(type=11, code=0) / quote(tcp_in, 100))

udp_in = IP(src=PEER, dst="192.0.2.1", options=[IPOption_NOP(), IPOption_NOP(), IPOption_NOP(), IPOption_NOP()]) / UDP(sport=9, dport=5353) / b"question"
udp_inside = IP(src=PEER, dst="10.1.0.9", options=[IPOption_NOP(), IPOption_NOP(), IPOption_NOP(), IPOption_NOP()]) / UDP(sport=9, dport=53) / b"question"
step("udp-with-options", "in", udp_in, udp_inside)
for checksum in (None, 0):
    kind = "sum" if checksum is None else "no-sum"
    udp_out = IP(src="10.1.0.9", dst=PEER) / UDP(sport=53, dport=9, chksum=checksum) / b"answer!"
    udp_sent = IP(src="192.0.2.1", dst=PEER) / UDP(sport=5353, dport=9, chksum=checksum) / b"answer!"
    step(f"udp-{kind}", "out", udp_out, udp_sent)
    step(f"port-unreachable-about-udp-{kind}", "in",
         IP(src=PEER, dst="192.0.2.1") / ICMP(type=3, code=3) / quote(udp_sent, 100),
         IP(src=PEER, dst="10.1.0.9") / ICMP(type=3, code=3) / quote(udp_out, 100))

# RFC 4884: extensions behind 128 bytes of the quoted packet.
long_out = IP(src="10.1.0.9", dst=PEER) / UDP(sport=53, dport=9) / (b"x" * 300)
long_sent = IP(src="192.0.2.1", dst=PEER) / UDP(sport=5353, dport=9) / (b"x" * 300)
extension = bytes.fromhex("2000dff1000801010001f101")
step("exceeded-with-mpls-extension", "in",
     IP(src=ROUTER, dst="192.0.2.1") / ICMP(type=11, code=0, reserved=0, length=32) / Raw(bytes(long_sent)[:128] + extension),
     IP(src=ROUTER, dst="10.1.0.9") / ICMP(type=11, code=0, reserved=0, length=32) / Raw(bytes(long_out)[:128] + extension))

# A network: every protocol, without state.
pair("net-tcp", lambda s, d, out: IP(src=s, dst=d) / TCP(sport=1 if out else 2, dport=2 if out else 1, flags="A") / b"data")
pair("net-udp", lambda s, d, out: IP(src=s, dst=d) / UDP(sport=1 if out else 2, dport=2 if out else 1) / b"dat")
pair("net-ping", lambda s, d, out: IP(src=s, dst=d) / ICMP(type=8 if out else 0, id=77, seq=3) / b"abc")
pair("net-sctp", lambda s, d, out: IP(src=s, dst=d) / SCTP(sport=1, dport=2) / SCTPChunkData(data=b"data"))
pair("net-esp", lambda s, d, out: IP(src=s, dst=d, proto=50) / Raw(bytes(range(40))))
pair("net-timestamp-option", lambda s, d, out: IP(src=s, dst=d, options=[IPOption_Timestamp(flg=0, pointer=5, timestamp=0)]) / UDP(sport=1, dport=2))
pair("net-fragment", lambda s, d, out: IP(src=s, dst=d, id=5, frag=100, flags="MF", proto=17) / Raw(b"middle of it 123"))
for inner in (TCP(sport=1, dport=2, flags="A") / b"data", UDP(sport=1, dport=2) / b"dat", ICMP(type=8, id=77, seq=3) / b"abc", Raw(bytes(30))):
    name = inner.name.lower()
    sent = IP(src="192.168.101.5", dst=PEER, **({"proto": 50} if name == "raw" else {}))
    was = sent.copy()
    was.src = "10.0.0.5"
    step(f"net-exceeded-about-{name}", "in",
         IP(src=ROUTER, dst="192.168.101.5") / ICMP(type=11) / quote(sent / inner, 60),
         IP(src=ROUTER, dst="10.0.0.5") / ICMP(type=11) / quote(was / inner, 60))

Path(__file__).with_name("frames.txt").write_text("\n".join(steps) + "\n")
