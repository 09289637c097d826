//! The running-config of a branch, for tests that vary a part of it.

/// A good configuration of one tunnel, as a constant. The lines that differ: before everything, of the loopback, of the
/// tunnel (first and last), of the WAN, and between the WAN and `vpn-sip enable`. `branch!(key)` is the key in it.
macro_rules! branch {
    (key) => {
        "Kz81-Kinds-Of-Input-77"
    };
    (begin: $begin:literal, loopback: $loopback:literal, tunnel: $tunnel:literal, kbps: $kbps:literal,
     policy: $policy:literal, wan: $wan:literal, more: $more:literal) => {
        concat!(
            $begin,
            "\
crypto ikev2 keyring KR
 peer centre
  identity key-id 0388882001
  pre-shared-key ",
            branch!(key),
            "
crypto ikev2 profile IKE
 match identity remote any
 identity local key-id 0388881001
 authentication remote pre-share
 authentication local pre-share
 keyring local KR
 nat force-encap
crypto ipsec transform-set T esp-gcm 256
 mode tunnel
crypto ipsec profile IPS
 set security-association idle-time 120
 set transform-set T
interface Loopback1
 ip address 10.255.1.1 255.255.255.255
",
            $loopback,
            "interface Tunnel1\n",
            $tunnel,
            " tunnel source Loopback1
 tunnel mode ipsec ipv4
 tunnel destination dynamic
 tunnel protection ipsec profile IPS ikev2-profile IKE
 vpn-sip local-number 0388881001 remote-number 0388882001 bandwidth ",
            $kbps,
            "\n",
            $policy,
            "interface GigabitEthernet8
 ip address dhcp
",
            $wan,
            $more,
            "vpn-sip enable
vpn-sip local-number 0388881001 address ipv4 GigabitEthernet8
vpn-sip tunnel source Loopback1
"
        )
    };
}
