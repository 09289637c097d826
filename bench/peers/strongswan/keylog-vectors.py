"""Reads a log of charon (ike and chd at level 4, enc at level 3); writes [ike], [child] and [auth] sections."""
import os, re, sys

# (title, bytes) of each dump, in order.
dumps, title = [], ""
for line in open(sys.argv[1], errors="replace"):
    text = re.sub(r"^\S+ \d+\[[A-Z]{3}\] ?", "", line.rstrip("\n"))
    head = re.match(r"\s*(.*?) ?=> (\d+) bytes @", text)
    row = re.match(r"\s+\d+: ((?:[0-9A-F]{2} ){1,16})", text)
    if head:
        of_payload = head[1] in ("parsing payload from", "generated data for this payload")
        dumps.append([f"{title} {head[1]}" if of_payload else head[1], b""])
        if head[1] == "parsing payload from":
            # What follows are parts of it.
            title = ""
    elif row and dumps:
        dumps[-1][1] += bytes.fromhex(row[1])
    else:
        known = re.match(r"\s*(?:parsing (?=\w+ payload, )|generating payload of type )(\w+)", text)
        if known:
            title = known[1]


def show(section, **values):
    print(f"\n[{section}]")
    for name, value in values.items():
        print(f"{name} = {value if isinstance(value, str) else value.hex()}".rstrip())


def body(payload):
    return payload[4:int.from_bytes(payload[2:4], "big")]


seen, d, ni, nr, ike = {}, b"", b"", b"", None
suite = os.environ["SUITE"]
before = b""
for name, data in dumps:
    seen[name] = data
    if name == "SKEYSEED":
        ike = {"old_d": d, "shared": seen["shared Diffie Hellman secret"], "skeyseed": data}
    elif ike is not None and name.startswith("Sk_") and name.endswith(" secret"):
        ike[name[3:5]] = data
        if name.startswith("Sk_d"):
            d = data
    elif name == "NONCE generated data for this payload" and ike is not None:
        # The response of a rekey: its nonces, and the SPIs of the proposals (behind 4 + 8 bytes of headers).
        ni, nr = body(seen["NONCE parsing payload from"]), body(data)
        i = seen["SECURITY_ASSOCIATION parsing payload from"][12:20]
        r = before[12:20]
        show("ike", suite=suite, ni=ni, nr=nr, spi_i=i, spi_r=r, **{k.strip(): v for k, v in ike.items()})
        ike = None
    elif name.endswith("generated data for this payload"):
        # That of the SA payload comes just before that of the nonce.
        before = data
    elif name.startswith("octets = message") and d and "auth" not in seen:
        size = len(d)
        first = seen.setdefault("first", data)
        if first is not data:
            # The responder's own: its message begins with both SPIs, and the nonce in it is the initiator's.
            seen["auth"] = b""
            ni = data[-size - 32:-size]
            nr = first[-size - 32:-size]
            i, r = data[:8], data[8:16]
            if ike is not None:
                show("ike", suite=suite, ni=ni, nr=nr, spi_i=i, spi_r=r, **{k.strip(): v for k, v in ike.items()})
                pr = ike["pr"]
                ike = None
                seen["pending"] = dict(suite=suite, psk=os.environ["PSK"].encode(), sk_p=pr, message=data[:-size - 32],
                                       nonce=ni, identity=seen["IDx'"])
    elif name.startswith("AUTH = prf") and "pending" in seen:
        show("auth", **seen.pop("pending"), auth=data)
    elif name == "encryption initiator key":
        seen["i2r"] = data
    elif name == "encryption responder key":
        seed = seen["seed"]
        show("child", suite=suite, esp=os.environ["ESP"], d=d, shared=seed[:-64], ni=seed[-64:-32], nr=seed[-32:],
             initiator=seen["i2r"], responder=data)
