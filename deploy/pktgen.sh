#!/usr/bin/env bash
# Sends UDP from a lab server's NIC with the kernel's packet generator.
#
#   deploy/pktgen.sh DEVICE NEXT_HOP_MAC SOURCE DESTINATION [SIZE] [COUNT] [PACKETS_PER_SECOND]
#
# SIZE is the length of the frame without FCS (default 526, an IP packet of 512 bytes). COUNT is at most 1,000,000,000.
# Needs root and the kernel module pktgen. The device must be one that carries nothing else. On a machine without the
# module use sipsec-pktgen, which also measures loss and latency.
set -euo pipefail

die() { echo "deploy/pktgen.sh: $*" >&2; exit 2; }
[ $# -ge 4 ] && [ $# -le 7 ] || die "usage: DEVICE NEXT_HOP_MAC SOURCE DESTINATION [SIZE] [COUNT] [PACKETS_PER_SECOND]"
device=$1 mac=$2 source=$3 destination=$4 size=${5:-526} count=${6:-10000000} rate=${7:-0}

[ "$(id -u)" = 0 ] || die "needs root"
[ -e "/sys/class/net/$device" ] || die "no device $device"
[[ $mac =~ ^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$ ]] || die "$mac is no MAC address"
for number in "$size" "$count" "$rate"; do
    [[ $number =~ ^[0-9]+$ ]] || die "$number is no number"
done
[ "$size" -ge 60 ] && [ "$size" -le 9014 ] || die "SIZE $size: 60 to 9014"
[ "$count" -ge 1 ] && [ "$count" -le 1000000000 ] || die "COUNT $count: 1 to 1000000000"
[ -d /proc/net/pktgen ] || modprobe pktgen 2>/dev/null || true
[ -d /proc/net/pktgen ] || die "this kernel has no pktgen (CONFIG_NET_PKTGEN): use sipsec-pktgen"

case $destination in
*:*) addresses=("src6 $source" "dst6 $destination") ;;
*) addresses=("src_min $source" "src_max $source" "dst $destination") ;;
esac
thread=/proc/net/pktgen/kpktgend_0

# The kernel reports the result of each command in the file's last line.
set_value() {
    echo "$2" > "$1"
    grep -q 'Result: OK' "$1" || die "$1 refuses \`$2\`: $(grep Result: "$1")"
}

set_value "$thread" rem_device_all
trap 'echo rem_device_all > "$thread"' EXIT
set_value "$thread" "add_device $device"
port=/proc/net/pktgen/$device
for command in "count $count" "pkt_size $size" "dst_mac $mac" "${addresses[@]}" "udp_dst_min 9" "udp_dst_max 9" "delay 0"; do
    set_value "$port" "$command"
done
[ "$rate" = 0 ] || set_value "$port" "ratep $rate"
echo start > /proc/net/pktgen/pgctrl
grep -E 'pps|errors|sofar' "$port"
