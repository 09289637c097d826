use crate::sip_data::{SipData, SipServers};
use crate::v4::{Options, Route};
use std::net::{IpAddr, Ipv4Addr};

fn read(field: &[u8]) -> Options {
    Options::read(field, &[], &[]).expect("readable")
}

fn sip(field: &[u8]) -> SipData {
    read(field).sip()
}

fn addresses(servers: &SipServers) -> Vec<String> {
    servers.addresses.iter().map(IpAddr::to_string).collect()
}

#[test]
fn sip_servers_by_address() {
    let one = sip(&[120, 5, 1, 198, 51, 100, 10]);
    assert_eq!(addresses(&one.servers), ["198.51.100.10"]);
    // RFC 3361 §3: the first octet is the encoding and not a count.
    let two = sip(&[120, 9, 1, 198, 51, 100, 10, 198, 51, 100, 20]);
    assert_eq!(addresses(&two.servers), ["198.51.100.10", "198.51.100.20"]);
}

#[test]
fn sip_servers_by_name() {
    let names = sip(b"\x78\x1c\x00\x03sip\x07example\x03com\x00\x03alt\x03net\x00\x00");
    assert_eq!(names.servers.names, ["sip.example.com", "alt.net"]);
    // Without the zero byte at the end.
    let open = sip(b"\x78\x0d\x00\x03sip\x07example");
    assert_eq!(open.servers.names, ["sip.example"]);
}

#[test]
fn a_value_in_pieces_is_put_together_before_it_is_read() {
    // RFC 3396 §7: also when a piece ends inside an address, and other options stand between.
    let data = sip(&[120, 3, 1, 198, 51, 12, 1, 65, 120, 6, 100, 10, 198, 51, 100, 20]);
    assert_eq!(addresses(&data.servers), ["198.51.100.10", "198.51.100.20"]);
    // RFC 3925 §4: the same for 125, here in the middle of sub-option 202.
    let data = sip(b"\x7d\x0a\x00\x00\x00\xd2\x0c\xca\x0a038\x7d\x078881001");
    assert_eq!(data.vendor.number.as_deref(), Some("0388881001"));
}

#[test]
fn an_overloaded_message_has_options_in_file_and_sname() {
    let mut file = [0; 128];
    file[..7].copy_from_slice(&[120, 5, 1, 198, 51, 100, 10]);
    let mut sname = [0; 64];
    sname[..6].copy_from_slice(&[120, 4, 198, 51, 100, 20]);
    let options = Options::read(&[52, 1, 3, 255], &file, &sname).unwrap();
    assert_eq!(addresses(&options.sip().servers), ["198.51.100.10", "198.51.100.20"]);
    let options = Options::read(&[52, 1, 1, 255], &file, &sname).unwrap();
    assert_eq!(addresses(&options.sip().servers), ["198.51.100.10"]);
}

#[test]
fn vendor_data_of_the_line() {
    let mut field = vec![125, 0];
    let mut block = vec![201, 6, 2, 0, 0, 0, 0, 1];
    block.extend_from_slice(b"\xca\x0a0388881001\xcb\x0a0388881002\xcb\x0a0388881003");
    block.extend_from_slice(b"\xcc\x10\x08ntt-east\x02ne\x02jp\x00");
    block.extend_from_slice(b"\xd2\x0c\x06update\x03net\x00");
    field.extend_from_slice(&[0, 0, 0, 210, block.len() as u8]);
    field.extend_from_slice(&block);
    // A block of another enterprise, with the same sub-option number.
    field.extend_from_slice(b"\x00\x00\x01\x00\x05\xca\x03999");
    field[1] = (field.len() - 2) as u8;
    let vendor = sip(&field).vendor;
    assert_eq!(vendor.mac, Some([2, 0, 0, 0, 0, 1]));
    assert_eq!(vendor.number.as_deref(), Some("0388881001"));
    assert_eq!(vendor.additional_numbers, ["0388881002", "0388881003"]);
    assert_eq!(vendor.sip_domain.as_deref(), Some("ntt-east.ne.jp"));
    assert_eq!(vendor.update_host.as_deref(), Some("update.net"));
    assert_eq!(vendor.unreadable, [0; 0]);
}

#[test]
fn what_cannot_be_read_costs_nothing_else() {
    // Option 120 with an encoding that does not exist, and with a broken address: the vendor data still counts.
    for servers in [&[120, 5, 7, 1, 2, 3, 4][..], &[120, 4, 1, 1, 2, 3], &[120, 0], b"\x78\x03\x00\xc0\x0c"] {
        let mut field = servers.to_vec();
        field.extend_from_slice(b"\x7d\x11\x00\x00\x00\xd2\x0c\xca\x0a0388881001");
        let data = sip(&field);
        assert_eq!(data.servers, SipServers::default());
        assert_eq!(data.vendor.number.as_deref(), Some("0388881001"));
    }
    // A number with letters.
    let data = sip(b"\x7d\x0a\x00\x00\x00\xd2\x05\xca\x0303x");
    assert_eq!((data.vendor.number, data.vendor.unreadable), (None, vec![202]));
}

#[test]
fn classless_routes_win_over_the_router() {
    let both = read(&[3, 4, 192, 0, 2, 254, 121, 8, 24, 198, 51, 100, 192, 0, 2, 1]);
    let route =
        |d: [u8; 4], prefix_len, g: [u8; 4]| Route { destination: d.into(), prefix_len, gateway: g.into() };
    assert_eq!(both.routes(), [route([198, 51, 100, 0], 24, [192, 0, 2, 1])]);
    let router = read(&[3, 8, 192, 0, 2, 254, 192, 0, 2, 253]);
    assert_eq!(router.routes(), [route([0; 4], 0, [192, 0, 2, 254])]);
    // Bits below the mask go, 0 bits have no octets, a gateway 0.0.0.0 is the link.
    let odd = read(&[121, 14, 25, 10, 1, 2, 200, 0, 0, 0, 0, 0, 192, 0, 2, 1]);
    assert_eq!(odd.routes(), [route([10, 1, 2, 128], 25, [0; 4]), route([0; 4], 0, [192, 0, 2, 1])]);
    let broken = read(&[121, 3, 33, 1, 2, 3, 4, 192, 0, 2, 254]);
    assert_eq!(broken.routes(), [route([0; 4], 0, [192, 0, 2, 254])]);
}

#[test]
fn masks_with_holes_count_as_absent() {
    assert_eq!(read(&[1, 4, 255, 255, 254, 0]).prefix_len(), Some(23));
    assert_eq!(read(&[1, 4, 255, 0, 255, 0]).prefix_len(), None);
    assert_eq!(read(&[1, 4, 255, 255, 255, 255]).prefix_len(), Some(32));
    assert_eq!(read(&[1, 4, 0, 0, 0, 0]).prefix_len(), Some(0));
    assert_eq!(read(&[1, 3, 255, 255, 255]).prefix_len(), None);
    assert_eq!(
        read(&[6, 8, 192, 0, 2, 3, 192, 0, 2, 4]).dns(),
        [Ipv4Addr::new(192, 0, 2, 3), Ipv4Addr::new(192, 0, 2, 4)]
    );
}
