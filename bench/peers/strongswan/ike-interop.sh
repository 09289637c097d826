#!/bin/bash
# sipsec's IKE core (example ike_peer) against strongSwan: both roles, rekeys from both sides, fragments, cookies.
# Each case is one line: PASS or FAIL, and the reason. Usage: ike-interop.sh [CASE…]   (names below; all by default)
set -u
HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$HERE/../../.." && pwd)
PEER=${PEER_BIN:-$ROOT/target/debug/examples/ike_peer}
export NS=${NS:-ike} RUN=/tmp/${NS:-ike}-strongswan
OUT=$RUN.out
US=198.51.100.1 SW=198.51.100.2 PSK="a pre-shared key of the lab"
failures=0

peer() { # role, local port, remote port, options
  local role=$1 lp=$2 rp=$3; shift 3
  ip netns exec "$NS-us" timeout 60 "$PEER" "$role" "$US:$lp" "$SW:$rp" 0388881001 0388882001 "$PSK" "$@" >"$OUT" 2>&1
}
check() { # case name, condition as shell text
  if eval "$2"; then echo "PASS $1"; else echo "FAIL $1: $2"; failures=$((failures + 1)); cp "$OUT" "$OUT.$1"; cp "$RUN/charon.log" "$OUT.$1.charon" 2>/dev/null; fi
}
count() { grep -c -- "$1" "$OUT"; }
clean() { ! grep -qE 'failed|HardLimit|PeerDeleted' "$OUT"; }
with() { "$HERE/run.sh" start && "$@"; "$HERE/run.sh" stop; }
start_with() { env "$@" "$HERE/run.sh" start; }

suite() { # name, IKE, ESP, ours if they differ, our port and theirs: one negotiation in each role
  local up='grep -q " up " "$OUT" && clean' ours=${6:-50001} theirs=${7:-50002}
  start_with IKE="$2" ESP="$3" FRAG=yes FRAGSIZE=400 PORT=$theirs PEER_PORT=$ours
  peer initiator $ours $theirs seconds=1 fragment=400 "ike=${4:-$2}" "esp=${5:-$3}"
  check "$1-initiator" "$up"
  peer responder $ours $theirs seconds=3 fragment=400 "ike=${4:-$2}" "esp=${5:-$3}" & local pid=$!
  sleep 0.3; "$HERE/run.sh" initiate >/dev/null 2>&1; wait $pid
  check "$1-responder" "$up"
  check "$1-initial-contact" 'grep -q "parsed IKE_AUTH request.*N(INIT_CONTACT)" "$RUN/charon.log"'
  "$HERE/run.sh" stop
}
# The port of NAT traversal and others, the same and different at both ends.
ports() {
  local ike=aes256gcm16-prfsha256-x25519 esp=aes256gcm16
  suite ports-4500 $ike $esp "" "" 4500 4500
  suite ports-4500-61000 $ike $esp "" "" 4500 61000
  suite ports-1024-4500 $ike $esp "" "" 1024 4500
}
# This strongSwan knows no additional key exchanges: it must pass over what it does not know, and take what it does.
hybrid() {
  local ike=aes256gcm16-prfsha256-x25519
  suite hybrid-fallback $ike aes256gcm16 $ike-ke1_mlkem768,$ike
  start_with IKE=$ike
  peer initiator 50001 50002 seconds=8 ike=$ike-ke1_mlkem768
  check hybrid-required 'grep -q "failed: no proposal chosen" "$OUT"'
  "$HERE/run.sh" stop
}

suites() {
  suite gcm256-x25519 aes256gcm16-prfsha256-x25519 aes256gcm16
  suite gcm128-ecp256 aes128gcm16-prfsha384-ecp256 aes128gcm16
  suite cbc256-ecp384 aes256-sha384-prfsha384-ecp384 aes256gcm16
  suite cbc128-modp2048 aes128-sha256-prfsha256-modp2048 aes128gcm16
  suite cbc256-ecp521 aes256-sha512-prfsha512-ecp521 aes256gcm16
  suite chacha-modp3072 chacha20poly1305-prfsha512-modp3072 chacha20poly1305
  suite gcm256-modp4096 aes256gcm16-prfsha512-modp4096 aes256gcm16
}

# strongSwan rekeys the CHILD_SA every 3 s and the IKE SA every 7 s; we rekey nothing, or both as often (collisions).
rekeys() { # name, strongSwan's ESP, ours, our options
  local name=$1 esp=$2; shift 2
  start_with REKEY_CHILD=3s REKEY_IKE=7s ESP="$esp"
  peer initiator 50001 50002 seconds=25 "esp=$esp" "$@"
  check "$name-initiator" '[ $(count " replaced ") -ge 5 ] && clean && grep -qE "rekeys_ike: [2-9]" "$OUT"'
  peer responder 50001 50002 seconds=25 "esp=$esp" "$@" & local pid=$!
  sleep 0.3; "$HERE/run.sh" initiate >/dev/null 2>&1; wait $pid
  check "$name-responder" '[ $(count " replaced ") -ge 5 ] && clean && grep -qE "rekeys_ike: [2-9]" "$OUT"'
  "$HERE/run.sh" stop
}
rekey_theirs() { rekeys rekey-theirs aes256gcm16; }
rekey_theirs_pfs() { rekeys rekey-theirs-pfs aes256gcm16-ecp256; }
rekey_both() { rekeys rekey-both aes256gcm16-x25519 rekey_child_ms=3000 rekey_ike_ms=7000; }
rekey_ours() {
  start_with ESP=aes256gcm16-x25519
  peer initiator 50001 50002 seconds=15 esp=aes256gcm16-x25519 rekey_child_ms=2000 rekey_ike_ms=5000
  check rekey-ours '[ $(count " replaced ") -ge 5 ] && clean && grep -qE "rekeys_ike: [2-9]" "$OUT"'
  "$HERE/run.sh" stop
}
fragments() {
  start_with FRAG=force FRAGSIZE=150
  peer initiator 50001 50002 seconds=1 fragment=200
  check fragments-initiator 'grep -q " up " "$OUT" && clean && grep -qE "fragments_in: [1-9]" "$OUT"'
  peer responder 50001 50002 seconds=3 fragment=200 & local pid=$!
  sleep 0.3; "$HERE/run.sh" initiate >/dev/null 2>&1; wait $pid
  check fragments-responder 'grep -q " up " "$OUT" && clean && grep -qE "fragments_in: [1-9]" "$OUT"'
  "$HERE/run.sh" stop
}
cookies() {
  start_with COOKIES=1
  # Our cookie: asked of strongSwan from the first message on.
  peer responder 50001 50002 seconds=3 cookie_threshold=0 & local pid=$!
  sleep 0.3; "$HERE/run.sh" initiate >/dev/null 2>&1; wait $pid
  check cookie-ours 'grep -q " up " "$OUT" && clean && grep -q "cookies_accepted: 1" "$OUT"'
  "$HERE/run.sh" stop
}
invalid_ke() {
  suite invalid-ke aes256gcm16-prfsha256-ecp256-modp2048 aes256gcm16 aes256gcm16-prfsha256-modp2048-ecp256
  start_with IKE=aes256gcm16-prfsha256-modp2048
  peer initiator 50001 50002 seconds=1 ike=aes256gcm16-prfsha256-x25519-modp2048
  check invalid-ke-asked 'grep -q " up " "$OUT" && clean'
  "$HERE/run.sh" stop
}
wrong_psk() {
  start_with PSK=other
  peer initiator 50001 50002 seconds=3
  check wrong-psk-initiator 'grep -q "failed: the peer does not accept our authentication" "$OUT"'
  peer responder 50001 50002 seconds=3 & local pid=$!
  sleep 0.3; "$HERE/run.sh" initiate >/dev/null 2>&1; wait $pid
  check wrong-psk-responder 'grep -q "failed: the peer.s authentication does not verify" "$OUT"'
  "$HERE/run.sh" stop
}
wrong_proposal() {
  start_with IKE=aes128gcm16-prfsha256-ecp256
  peer initiator 50001 50002 seconds=8 ike=aes256gcm16-prfsha256-ecp256
  check wrong-proposal 'grep -q "no proposal chosen" "$OUT"'
  "$HERE/run.sh" stop
}
dpd() {
  start_with
  peer initiator 50001 50002 seconds=6 dpd_ms=1000
  check dpd 'clean && grep -qE "dpd_sent: [1-9]" "$OUT"'
  "$HERE/run.sh" stop
}

# RFC 8784: who has a PPK, who insists, in both roles.
ppk_case() { # name, strongSwan's PPK, required there, our option, condition on our output
  start_with PPK="$2" PPK_REQUIRED="$3"
  peer initiator 50001 50002 seconds=2 $4
  check "ppk-$1-initiator" "$5"
  peer responder 50001 50002 seconds=4 $4 & local pid=$!
  sleep 0.3; "$HERE/run.sh" initiate >/dev/null 2>&1; wait $pid
  check "ppk-$1-responder" "${6:-$5}"
  "$HERE/run.sh" stop
}
ppk() {
  local key="lab-1:thirty-two-bytes-that-nobody-knows" other="lab-2:something-else"
  local with='grep -q " up " "$OUT" && clean && grep -q "ppk: true" "$OUT"'
  local without='grep -q " up " "$OUT" && clean && grep -q "ppk: false" "$OUT"'
  ppk_case both "$key" no "ppk=$key" "$with"
  ppk_case both-required "$key" yes "ppk_required=$key" "$with"
  ppk_case theirs-alone "$key" no "" "$without"
  ppk_case ours-alone "" no "ppk=$key" "$without"
  ppk_case ours-required "" no "ppk_required=$key" 'grep -q "failed: the profile requires a PPK" "$OUT"'
  ppk_case theirs-required "$key" yes "" 'grep -q "failed: the peer does not accept" "$OUT"' '! grep -q " up " "$OUT"'
  # strongSwan insists on the name of its own, where RFC 8784 lets it do without a PPK.
  ppk_case other-name "$other" no "ppk=$key" 'grep -q "failed: the peer does not accept" "$OUT"' "$without"
  ppk_case other-name-required "$other" no "ppk_required=$key" 'grep -q "failed: the peer does not accept" "$OUT"' \
    'grep -q "failed: the peer uses the PPK" "$OUT"'
}

# Our key log opens everything in a capture, and every ICV holds: keys of IKE and ESP, before and after rekeys of both.
keylog() {
  start_with REKEY_CHILD=2s ESP=aes256gcm16-x25519
  local dir=$RUN.ws; rm -rf "$dir"; mkdir -p "$dir"
  ip netns exec "$NS-us" tcpdump -U -i wan -w "$dir/cap.pcap" udp >/dev/null 2>&1 & local dump=$!
  sleep 1
  peer initiator 50001 50002 seconds=5 keylog=yes rekey_ike_ms=3000 esp=aes256gcm16-x25519 & local pid=$!
  sleep 1.5; ip netns exec "$NS-sw" ping -q -c 8 -i 0.4 -W 1 -I 10.2.0.1 10.1.0.1 >/dev/null
  wait $pid; sleep 0.5; kill $dump; wait $dump 2>/dev/null
  sed -n 's/^keylog Ikev2 //p' "$OUT" >"$dir/ikev2_decryption_table"
  sed -n 's/^keylog EspSa //p' "$OUT" >"$dir/esp_sa"
  shark() { WIRESHARK_CONFIG_DIR=$dir tshark -r "$dir/cap.pcap" -o esp.enable_encryption_decode:TRUE \
    -o esp.enable_authentication_check:TRUE -d udp.port==50001,udpencap "$@" 2>/dev/null; }
  good=$(shark -Y 'esp.icv_good==1 && icmp' | wc -l)
  ike=$(shark -Y 'isakmp.exchangetype!=34' | wc -l) opened=$(shark -Y 'isakmp.enc.decrypted' | wc -l)
  bad=$(shark -V | grep -c 'incorrect, should')
  check keylog '[ $good = 8 ] && [ $ike -gt 8 ] && [ $opened = $ike ] && [ $bad = 0 ]'
  "$HERE/run.sh" stop; rm -rf "$dir"
}

# One message in twenty is lost, each way, while both sides rekey.
loss() {
  start_with REKEY_CHILD=3s REKEY_IKE=7s ESP=aes256gcm16-x25519
  for hook in input output; do
    ip netns exec "$NS-us" nft -f - <<X
table ip loss_$hook {
  chain c {
    type filter hook $hook priority 0;
    ip protocol udp numgen random mod 1000 < 50 counter drop
  }
}
X
  done
  peer initiator 50001 50002 seconds=40 esp=aes256gcm16-x25519 rekey_child_ms=2500 rekey_ike_ms=6000
  ip netns exec "$NS-us" nft list ruleset | grep -o 'packets [0-9]*' | tr '\n' ' ' >>"$OUT"
  check loss '[ $(count " replaced ") -ge 8 ] && clean && grep -qE "packets [1-9]" "$OUT"'
  "$HERE/run.sh" stop
}

# Certificates made with strongSwan's own pki. Names: type, pki's type and size.
certificates() { # name, our type, our size, CA or self
  local name=$1 type=$2 size=$3 ca=$4 d=$RUN.pki
  rm -rf "$d"; mkdir -p "$d"/{x509,x509ca,private}
  export STRONGSWAN_CONF=$d/tools.conf
  echo 'pki { load = random nonce openssl pem pkcs1 pkcs8 x509 pubkey sha1 sha2 gmp curve25519 }' >"$d/tools.conf"
  pki --gen --type "$type" ${size:+--size $size} --outform pem >"$d/us.pem"
  pki --gen --type "$type" ${size:+--size $size} --outform pem >"$d/private/sw.pem"
  if [ "$ca" = ca ]; then
    pki --gen --type ecdsa --size 256 --outform pem >"$d/ca.pem"
    pki --self --ca --in "$d/ca.pem" --type ecdsa --dn "C=JP, O=Test, CN=Root" --outform pem >"$d/x509ca/ca.pem"
    for s in us sw; do
      k=$d/$s.pem; [ $s = sw ] && k=$d/private/sw.pem
      pki --pub --in "$k" --type priv | pki --issue --cacert "$d/x509ca/ca.pem" --cakey "$d/ca.pem" \
        --dn "C=JP, O=Test, CN=$s" --san $s.example --outform pem >"$d/$s-cert.pem"
    done
  else
    pki --self --in "$d/us.pem" --type "$type" --dn "CN=us" --san us.example --outform pem >"$d/us-cert.pem"
    pki --self --in "$d/private/sw.pem" --type "$type" --dn "CN=sw" --san sw.example --outform pem >"$d/sw-cert.pem"
    cp "$d/us-cert.pem" "$d/x509/us.pem"
  fi
  cp "$d/sw-cert.pem" "$d/x509/sw.pem"
  openssl pkcs8 -topk8 -nocrypt -in "$d/us.pem" -outform der -out "$d/us.p8"
  for s in us sw; do openssl x509 -in "$d/$s-cert.pem" -outform der -out "$d/$s.der"; done
  local prefix="" ours="cert=$d/us.der key=$d/us.p8 peer_cert=$d/sw.der"
  if [ "$ca" = ca ]; then
    prefix="C=JP, O=Test, "
    openssl x509 -in "$d/x509ca/ca.pem" -outform der -out "$d/ca.der"
    ours="$ours ca=$d/ca.der"
  fi
  start_with AUTH=pubkey PKI="$d" CERTS=sw.pem ID="\"${prefix}CN=sw\"" PEER_ID="\"${prefix}CN=us\"" \
    PEER_CERTS="$([ "$ca" = ca ] || echo us.pem)" CACERTS="$([ "$ca" = ca ] && echo ca.pem)" FRAG=yes FRAGSIZE=400
  peer initiator 50001 50002 seconds=1 fragment=400 $ours $5
  check "$name-initiator" 'grep -q " up " "$OUT" && grep -q "Signature(" "$OUT" && clean'
  peer responder 50001 50002 seconds=3 fragment=400 $ours $5 & local pid=$!
  sleep 0.3; "$HERE/run.sh" initiate >/dev/null 2>&1; wait $pid
  check "$name-responder" 'grep -q " up " "$OUT" && grep -q "Signature(" "$OUT" && clean'
  # The wrong fingerprint: strongSwan's certificate is good, but SDP announced ours.
  peer initiator 50001 50002 seconds=2 fragment=400 ${ours/sw.der/us.der} $5
  check "$name-wrong-fingerprint" 'grep -q "SDP announced" "$OUT"'
  "$HERE/run.sh" stop; rm -rf "$d"
}
certs() {
  certificates rsa-self rsa 2048 self pss=yes
  certificates rsa-pkcs1-self rsa 2048 self pss=no
  certificates ecdsa256-self ecdsa 256 self pss=yes
  certificates ecdsa384-self ecdsa 384 self pss=yes
  certificates ecdsa521-self ecdsa 521 self pss=yes
  certificates ed25519-self ed25519 "" self pss=yes
  certificates rsa3072-ca rsa 3072 ca pss=yes
  certificates ecdsa-ca ecdsa 256 ca pss=yes
  certificates ed25519-ca ed25519 "" ca pss=yes
}

ALL=(suites ports hybrid invalid_ke fragments cookies wrong_psk wrong_proposal dpd ppk keylog loss certs rekey_theirs rekey_theirs_pfs rekey_ours rekey_both)
# Most of a case is waiting, so those of a full run go side by side, each in namespaces of its own.
if [ $# = 0 ]; then
  printf '%s\n' "${ALL[@]}" | xargs -P "${JOBS:-4}" -I CASE env NS="$NS-CASE" "$0" CASE
  exit
fi
for case in "$@"; do
  "$HERE/run.sh" stop >/dev/null 2>&1
  $case
done
rm -f "$OUT"
exit $((failures > 0))
