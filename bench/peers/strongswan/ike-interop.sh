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

# Both roles against one strongSwan, which dials in the second.
roles() { # case name, seconds, condition, our options
  local name=$1 seconds=$2 condition=$3; shift 3
  peer initiator 50001 50002 "seconds=$seconds" "$@"
  check "$name-initiator" "$condition"
  # Should a lost DELETE have left it an SA.
  "$HERE/run.sh" swanctl --terminate --ike gw --force --timeout 2 >/dev/null 2>&1
  peer responder 50001 50002 "seconds=$((seconds + 2))" "$@" & local pid=$!
  sleep 0.3; "$HERE/run.sh" initiate >/dev/null 2>&1; wait $pid
  check "$name-responder" "$condition"
}

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
rekeys() { # name, how both prove themselves, ESP of strongSwan, its IKE, our options
  local name=$1 ike=$4 esp=$3; prove "$2"; shift 4
  start_with "${THEIR_SIDE[@]}" REKEY_CHILD=3s REKEY_IKE=7s IKE="$ike" ESP="$esp" FRAG=yes FRAGSIZE=400
  # The IKE SA at 7 s; the CHILD_SA at 3, 6 and 9 s, or later by as much as the IKE SA was in the way.
  roles "$name" 11 '[ $(count " replaced ") -ge 3 ] && clean && grep -qE "rekeys_ike: [1-9]" "$OUT"' \
    fragment=400 "ike=$ike" "esp=$esp" "${OUR_SIDE[@]}" "$@"
  "$HERE/run.sh" stop; rm -rf "$RUN.pki"
}
X25519=aes256gcm16-prfsha256-x25519
rekey_theirs() { rekeys rekey-theirs psk aes256gcm16 $X25519; }
rekey_theirs_ecp256() { rekeys rekey-theirs-ecp256 psk aes256gcm16-ecp256 $X25519; }
rekey_both() { rekeys rekey-both psk aes256gcm16-x25519 $X25519 rekey_child_ms=3000 rekey_ike_ms=7000; }
rekey_cbc() { rekeys rekey-cbc-modp2048 psk aes256gcm16-modp2048 aes256-sha256-prfsha256-modp2048; }
rekey_chacha() { rekeys rekey-chacha-ecp384 psk chacha20poly1305-ecp384 chacha20poly1305-prfsha384-ecp384; }
rekey_ppk() { rekeys rekey-ppk ppk aes256gcm16-x25519 $X25519 rekey_child_ms=3000 rekey_ike_ms=7000; }
rekey_rsa() { rekeys rekey-rsa-modp2048 rsa:2048 aes128gcm16-modp2048 aes128gcm16-prfsha256-modp2048; }
rekey_ecdsa() { rekeys rekey-ecdsa-ecp384 ecdsa:256 aes256gcm16-ecp384 aes256-sha384-prfsha384-ecp384; }
rekey_ed25519() { rekeys rekey-ed25519-x25519 ed25519 aes256gcm16-x25519 $X25519 rekey_child_ms=3000 rekey_ike_ms=7000; }
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
  # Its cookie: asked of us while there is one half-open SA, of somebody who hears no answer.
  ip netns exec "$NS-us" nft -f - <<X
table ip deaf { chain c { type filter hook input priority 0; udp dport 50009 drop; }; }
X
  (OUT=$OUT.deaf; peer initiator 50009 50002 seconds=1; rm -f "$OUT") & pid=$!
  sleep 0.5
  peer initiator 50001 50002 seconds=1
  check cookie-theirs 'grep -q " up " "$OUT" && clean && grep -q "IKE_SA_INIT response 0 .*N(COOKIE)" "$RUN/charon.log"'
  wait $pid
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
  start_with DPD=1s
  roles dpd-theirs 5 '[ $(grep -c "sending DPD request" "$RUN/charon.log") -ge 2 ] && clean'
  "$HERE/run.sh" stop
}
# strongSwan deletes the CHILD_SA and keeps the IKE SA: there is no tunnel any more.
child_delete() {
  start_with
  peer initiator 50001 50002 seconds=6 & local pid=$!
  sleep 1.5; "$HERE/run.sh" swanctl --terminate --child net --timeout 3 >/dev/null 2>&1; wait $pid
  check child-delete 'grep -q "ChildSaDown.*PeerDeleted" "$OUT" && grep -q "NoChild" "$OUT" && ! grep -qE "failed: (no answer|the peer)" "$OUT"'
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

# One message in twenty is lost, each way, while both sides rekey and long messages come in fragments.
lossy() { # how both prove themselves
  prove "$1"
  start_with "${THEIR_SIDE[@]}" REKEY_CHILD=3s REKEY_IKE=7s ESP=aes256gcm16-x25519 FRAG=yes FRAGSIZE=400
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
  roles "loss-${1%:*}" 16 '[ $(count " replaced ") -ge 3 ] && clean && grep -qE "rekeys_ike: [1-9]" "$OUT"' \
    fragment=400 esp=aes256gcm16-x25519 rekey_child_ms=2500 rekey_ike_ms=6000 "${OUR_SIDE[@]}"
  check "loss-${1%:*}-lost" "ip netns exec $NS-us nft list ruleset | grep -qE 'packets [1-9]'"
  "$HERE/run.sh" stop; rm -rf "$RUN.pki"
}
loss_psk() { lossy psk; }
loss_ppk() { lossy ppk; }
loss_rsa() { lossy rsa:2048; }
loss_ecdsa() { lossy ecdsa:256; }
loss_ed25519() { lossy ed25519; }

# How both prove themselves: THEIR_SIDE becomes strongSwan's environment, OUR_SIDE our options.
prove() { # psk, ppk, or a key as for certificates()
  local key="lab-1:thirty-two-bytes-that-nobody-knows"
  THEIR_SIDE=() OUR_SIDE=()
  case $1 in
    psk) ;;
    ppk) THEIR_SIDE=(PPK="$key" PPK_REQUIRED=yes) OUR_SIDE=("ppk_required=$key") ;;
    *) make_certificates "$1" "$1" self ;;
  esac
}
# Certificates made with strongSwan's own pki, for us and for it.
make_certificates() { # our key, its key (type:size), CA or self
  local ca=$3 d=$RUN.pki prefix="" s k
  rm -rf "$d"; mkdir -p "$d"/{x509,x509ca,private}
  export STRONGSWAN_CONF=$d/tools.conf
  echo 'pki { load = random nonce openssl pem pkcs1 pkcs8 x509 pubkey sha1 sha2 gmp curve25519 }' >"$d/tools.conf"
  generate() { local size=${1#*:}; [ "$size" = "$1" ] && size=; pki --gen --type "${1%:*}" ${size:+--size $size} --outform pem; }
  generate "$1" >"$d/us.pem"
  generate "$2" >"$d/private/sw.pem"
  if [ "$ca" = ca ]; then
    prefix="C=JP, O=Test, "
    generate ecdsa:256 >"$d/ca.pem"
    pki --self --ca --in "$d/ca.pem" --type ecdsa --dn "${prefix}CN=Root" --outform pem >"$d/x509ca/ca.pem"
    openssl x509 -in "$d/x509ca/ca.pem" -outform der -out "$d/ca.der"
  fi
  for s in us sw; do
    k=$d/$s.pem; [ $s = sw ] && k=$d/private/sw.pem
    if [ "$ca" = ca ]; then
      pki --pub --in "$k" --type priv | pki --issue --cacert "$d/x509ca/ca.pem" --cakey "$d/ca.pem" \
        --dn "${prefix}CN=$s" --san $s.example --outform pem
    else
      pki --self --in "$k" --type priv --dn "CN=$s" --san $s.example --outform pem
    fi >"$d/$s-cert.pem"
    openssl x509 -in "$d/$s-cert.pem" -outform der -out "$d/$s.der"
  done
  cp "$d/sw-cert.pem" "$d/x509/sw.pem"
  [ "$ca" = ca ] || cp "$d/us-cert.pem" "$d/x509/us.pem"
  openssl pkcs8 -topk8 -nocrypt -in "$d/us.pem" -outform der -out "$d/us.p8"
  THEIR_SIDE=(AUTH=pubkey PKI="$d" CERTS=sw.pem ID="\"${prefix}CN=sw\"" PEER_ID="\"${prefix}CN=us\"")
  OUR_SIDE=("cert=$d/us.der" "key=$d/us.p8" "peer_cert=$d/sw.der")
  if [ "$ca" = ca ]; then THEIR_SIDE+=(CACERTS=ca.pem) OUR_SIDE+=("ca=$d/ca.der"); else THEIR_SIDE+=(PEER_CERTS=us.pem); fi
}
certificates() { # name, our key, its key, CA or self, strongSwan's scheme as we name it, ours as it does, our options
  local name=$1 theirs=$5 ours=$6; make_certificates "$2" "$3" "$4"; shift 6
  start_with "${THEIR_SIDE[@]}" FRAG=yes FRAGSIZE=400 RSA_PSS="${RSA_PSS:-no}"
  roles "$name" 1 'grep -q " up " "$OUT" && clean && grep -q "Signature('"$theirs"'" "$OUT" &&
    grep -q "CN=us.* with '"$ours"'.* successful" "$RUN/charon.log"' fragment=400 "${OUR_SIDE[@]}" "$@"
  # The wrong fingerprint: strongSwan's certificate is good, but SDP announced ours.
  peer initiator 50001 50002 seconds=1 fragment=400 "${OUR_SIDE[@]/sw.der/us.der}" "$@"
  check "$name-wrong-fingerprint" 'grep -q "SDP announced" "$OUT"'
  "$HERE/run.sh" stop; rm -rf "$RUN.pki"
}
certs_rsa() {
  RSA_PSS=yes certificates rsa-pss rsa:2048 rsa:2048 self RsaPss RSA_EMSA_PSS pss=yes
  certificates rsa-pkcs1 rsa:2048 rsa:2048 self RsaPkcs1 RSA_EMSA_PKCS1 pss=no
  RSA_PSS=yes certificates rsa3072-ca rsa:3072 rsa:3072 ca RsaPss RSA_EMSA_PSS pss=yes
}
certs_rsa4096() { RSA_PSS=yes certificates rsa4096-ca rsa:4096 rsa:4096 ca RsaPss RSA_EMSA_PSS pss=yes; }
certs_ecdsa() {
  certificates ecdsa256 ecdsa:256 ecdsa:256 self Ecdsa ECDSA
  certificates ecdsa384 ecdsa:384 ecdsa:384 self Ecdsa ECDSA
  certificates ecdsa521 ecdsa:521 ecdsa:521 self Ecdsa ECDSA
}
certs_ecdsa_ca() {
  certificates ecdsa256-ca ecdsa:256 ecdsa:256 ca Ecdsa ECDSA
  certificates ecdsa384-ca ecdsa:384 ecdsa:384 ca Ecdsa ECDSA
  certificates ecdsa521-ca ecdsa:521 ecdsa:521 ca Ecdsa ECDSA
}
certs_mixed() {
  certificates ed25519 ed25519 ed25519 self Ed25519 ED25519
  certificates ed25519-ca ed25519 ed25519 ca Ed25519 ED25519
  certificates rsa-ecdsa rsa:2048 ecdsa:256 self Ecdsa RSA_EMSA_PSS pss=yes
}

# The long ones first.
ALL=(loss_psk loss_ppk loss_rsa loss_ecdsa loss_ed25519 ppk suites certs_rsa certs_ecdsa certs_ecdsa_ca certs_mixed certs_rsa4096
  rekey_theirs rekey_theirs_ecp256 rekey_both rekey_cbc rekey_chacha rekey_ppk rekey_rsa rekey_ecdsa rekey_ed25519
  ports rekey_ours dpd hybrid invalid_ke keylog fragments cookies wrong_psk child_delete wrong_proposal)
# Most of a case is waiting, so those of a full run go side by side, each in namespaces of its own.
if [ $# = 0 ]; then
  printf '%s\n' "${ALL[@]}" | xargs -P "${JOBS:-6}" -I CASE env NS="$NS-CASE" "$0" CASE
  exit
fi
for case in "$@"; do
  "$HERE/run.sh" stop >/dev/null 2>&1
  $case
done
rm -f "$OUT"
exit $((failures > 0))
