#!/bin/bash
# Key derivation as strongSwan does it, from its own log, for the tests of sipsec-ike:
#
#   cargo build -p sipsec-ike --example ike_peer && keylog-vectors.sh > controlplane/ike/src/tests/vectors/strongswan.txt
#
# charon at level 4 prints secrets, seeds and keys, and at ENC level 3 what it parses and generates, where nonces and
# SPIs of rekeys are found. Nothing in the file is computed by sipsec.
set -u
HERE=$(cd "$(dirname "$0")" && pwd)
PEER=${PEER_BIN:-$HERE/../../../target/debug/examples/ike_peer}
export NS=${NS:-ikevec} RUN=/tmp/${NS:-ikevec}-strongswan
PSK="a pre-shared key of the lab"
echo "# Key derivation by strongSwan $(dpkg-query -W -f '${Version}' strongswan-charon), from its log of $(date -u +%Y-%m-%d)."
echo "# Made by bench/peers/strongswan/keylog-vectors.sh, which says how."
while read -r ike esp; do
  "$HERE/run.sh" stop >/dev/null 2>&1
  IKE=$ike ESP=$esp LOGLEVEL=4 ENCLEVEL=3 "$HERE/run.sh" start || exit 1
  ip netns exec "$NS-us" timeout 20 "$PEER" initiator 198.51.100.1:50001 198.51.100.2:50002 0388881001 0388882001 "$PSK" \
    seconds=3 "ike=$ike" "esp=$esp" rekey_child_ms=800 rekey_ike_ms=2000 >&2
  SUITE=$ike ESP=$esp PSK=$PSK python3 "$HERE/keylog-vectors.py" "$RUN/charon.log"
  "$HERE/run.sh" stop
done <<X
aes256-sha512-prfsha384-ecp384 aes256gcm16-ecp256
aes128gcm16-prfsha256-x25519 aes128gcm16-x25519
chacha20poly1305-prfsha512-modp2048 chacha20poly1305
X
