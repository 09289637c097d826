#!/bin/bash
# One strongSwan 5.9.8 in a network namespace of its own, opposite a namespace for the program under test.
#
#   run.sh start          namespaces, daemon, connection loaded
#   run.sh initiate       strongSwan dials
#   run.sh sas            its SAs, one line each
#   run.sh swanctl ARGS   anything else
#   run.sh stop
#
# Packages (Debian 12): strongswan-charon strongswan-swanctl strongswan-pki libcharon-extra-plugins libstrongswan-extra-plugins.
# ESP is charon's own userspace one (kernel-libipsec): a TUN device, always encapsulated in UDP.
# Environment, with defaults below: NS RUN PORT PEER_PORT ID PEER_ID PSK IKE ESP REKEY_CHILD REKEY_IKE DPD FRAG
# FRAGSIZE LOCAL_TS REMOTE_TS LOGLEVEL ENCLEVEL COOKIES RSA_PSS PPK (ID:KEY) PPK_REQUIRED
set -u
NS=${NS:-ike}                          # prefix of the namespaces: $NS-sw (strongSwan) and $NS-us
RUN=${RUN:-/tmp/$NS-strongswan}
SW_IP=198.51.100.2 US_IP=198.51.100.1
PORT=${PORT:-50002} PEER_PORT=${PEER_PORT:-50001}
ID=${ID:-keyid:0388882001} PEER_ID=${PEER_ID:-keyid:0388881001}
PSK=${PSK:-a pre-shared key of the lab}
IKE=${IKE:-aes256gcm16-prfsha256-x25519} ESP=${ESP:-aes256gcm16}
REKEY_CHILD=${REKEY_CHILD:-0} REKEY_IKE=${REKEY_IKE:-0} DPD=${DPD:-0}
FRAG=${FRAG:-yes} FRAGSIZE=${FRAGSIZE:-1280}
LOCAL_TS=${LOCAL_TS:-10.2.0.0/16} REMOTE_TS=${REMOTE_TS:-10.1.0.0/16}
AUTH=${AUTH:-psk} CERTS=${CERTS:-} PEER_CERTS=${PEER_CERTS:-} CACERTS=${CACERTS:-}
LOGLEVEL=${LOGLEVEL:-2}
export STRONGSWAN_CONF=$RUN/tools.conf

configure() {
  mkdir -p "$RUN"/rundir "$RUN"/swanctl/{x509,x509ca,private}
  [ -n "${PKI:-}" ] && cp -r "$PKI"/. "$RUN/swanctl/"
  # The tools load every plugin unless told; some of those complain loudly.
  echo 'swanctl { load = random nonce openssl pem pkcs1 pkcs8 x509 pubkey }' >"$RUN/tools.conf"
  # kernel-libipsec must come before kernel-netlink. The port is the NAT-T one, so that the first message has the marker.
  cat >"$RUN/strongswan.conf" <<X
charon {
  load = random nonce openssl pem pkcs1 pkcs8 x509 pubkey constraints revocation hmac kdf gcm aes sha1 sha2 curve25519 chapoly gmp kernel-libipsec kernel-netlink socket-default updown vici
  port = 0
  port_nat_t = $PORT
  fragment_size = $FRAGSIZE
  retransmit_timeout = 1.0
  retransmit_tries = 4
  cookie_threshold = ${COOKIES:-30}
  rsa_pss = ${RSA_PSS:-no}
  plugins {
    vici { socket = unix://$RUN/vici }
    kernel-libipsec { allow_peer_ts = yes }
  }
  filelog { log { path = $RUN/charon.log
      default = 1
      ike = $LOGLEVEL
      chd = $LOGLEVEL
      enc = ${ENCLEVEL:-1}
      time_format = %H:%M:%S
      flush_line = yes } }
}
X
  cat >"$RUN/swanctl/swanctl.conf" <<X
connections { gw {
  version = 2
  local_addrs = $SW_IP
  remote_addrs = $US_IP
  local_port = $PORT
  remote_port = $PEER_PORT
  encap = yes
  mobike = no
  fragmentation = $FRAG
  proposals = $IKE
  dpd_delay = $DPD
  rekey_time = $REKEY_IKE
  over_time = 1h
  rand_time = 0
  unique = replace
  ${PPK:+ppk_id = ${PPK%%:*}}
  ${PPK:+ppk_required = ${PPK_REQUIRED:-no}}
  local { auth = $AUTH
    id = $ID
    ${CERTS:+certs = $CERTS} }
  remote { auth = ${PEER_AUTH:-$AUTH}
    id = $PEER_ID
    ${PEER_CERTS:+certs = $PEER_CERTS}
    ${CACERTS:+cacerts = $CACERTS} }
  children { net {
    local_ts = $LOCAL_TS
    remote_ts = $REMOTE_TS
    esp_proposals = $ESP
    rekey_time = $REKEY_CHILD
    rand_time = ${RAND_CHILD:-0}
    life_time = ${LIFE_CHILD:-1h}
  } }
} }
secrets { ike-1 {
  id-1 = $ID
  id-2 = $PEER_ID
  secret = "$PSK" }
  ${PPK:+ppk-1 { id = ${PPK%%:*}
  secret = "${PPK#*:}" \}} }
X
}

swanctl_() { SWANCTL_DIR=$RUN/swanctl ip netns exec "$NS-sw" swanctl "$@" --uri "unix://$RUN/vici"; }

start() {
  [ -e "$RUN" ] && { echo "$RUN exists: run stop first" >&2; exit 1; }
  configure
  ip netns add "$NS-sw"; ip netns add "$NS-us"
  ip -n "$NS-sw" link add wan type veth peer name wan netns "$NS-us"
  for n in "$NS-sw" "$NS-us"; do
    ip netns exec "$n" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
    ip -n "$n" link set lo up; ip -n "$n" link set wan up
  done
  ip -n "$NS-sw" addr add $SW_IP/24 dev wan; ip -n "$NS-us" addr add $US_IP/24 dev wan
  ip -n "$NS-sw" addr add 10.2.0.1/32 dev lo; ip -n "$NS-us" addr add 10.1.0.1/32 dev lo
  # The pid file's path is compiled in, so the daemon gets a /run of its own.
  ip netns exec "$NS-sw" sh -c "mount --bind $RUN/rundir /run; echo \$\$ >$RUN/pid
    STRONGSWAN_CONF=$RUN/strongswan.conf exec /usr/lib/ipsec/charon" >"$RUN/stdout" 2>&1 </dev/null &
  for _ in $(seq 100); do [ -S "$RUN/vici" ] && break; sleep 0.1; done
  swanctl_ --load-all >"$RUN/load.log" 2>&1 || { cat "$RUN/load.log" >&2; exit 1; }
}

stop() {
  # What is in the namespace is ours; a number in a file that was left behind may be anybody's by now.
  ours() { [ -n "$pid" ] && ip netns pids "$NS-sw" 2>/dev/null | grep -qx "$pid"; }
  pid=$(cat "$RUN/pid" 2>/dev/null)
  ours && kill "$pid"
  for _ in $(seq 50); do ours || break; sleep 0.1; done
  ours && kill -9 "$pid"
  ip netns del "$NS-sw" 2>/dev/null; ip netns del "$NS-us" 2>/dev/null
  [ -n "${KEEP_LOG:-}" ] && cp "$RUN/charon.log" "$KEEP_LOG" 2>/dev/null
  rm -rf "$RUN"
}

case ${1:-} in
  start) start ;;
  initiate) swanctl_ --initiate --child net --timeout 10 ;;
  sas) swanctl_ --list-sas ;;
  swanctl) shift; swanctl_ "$@" ;;
  stop) stop ;;
  *) echo "usage: $0 start|initiate|sas|swanctl ARGS|stop" >&2; exit 2 ;;
esac
