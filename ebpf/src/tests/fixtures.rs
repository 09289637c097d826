//! Frames. Checksums are zero: the programs do not look at them.

pub const LOCAL_V4: [u8; 4] = [198, 51, 100, 6];
pub const PEER_V4: [u8; 4] = [203, 0, 113, 9];
pub const LOCAL_V6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6];
pub const PEER_V6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
pub const UDP: u8 = 17;
pub const TCP: u8 = 6;

pub fn eth(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    out.extend(ethertype.to_be_bytes());
    out.extend(payload);
    out
}

/// A tag of VLAN 7.
pub fn tagged(frame: &[u8]) -> Vec<u8> {
    with_tag(frame, [0x81, 0, 0, 7])
}

/// A tag in front of what the frame says it is.
pub fn with_tag(frame: &[u8], tag: [u8; 4]) -> Vec<u8> {
    let mut out = frame[..12].to_vec();
    out.extend(tag);
    out.extend(&frame[12..]);
    out
}

#[derive(Clone)]
pub struct V4 {
    pub options: Vec<u8>,
    /// Flags and offset as they stand in the header.
    pub fragment: u16,
    pub protocol: u8,
    pub destination: [u8; 4],
    pub payload: Vec<u8>,
}

impl V4 {
    pub fn udp(destination: [u8; 4], port: u16) -> Self {
        Self { options: vec![], fragment: 0, protocol: UDP, destination, payload: udp(port) }
    }

    pub fn packet(&self) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let total = u16::try_from(header_len + self.payload.len()).expect("fits");
        let mut out = vec![0x40 | u8::try_from(header_len / 4).expect("fits"), 0];
        out.extend(total.to_be_bytes());
        out.extend([0, 1]);
        out.extend(self.fragment.to_be_bytes());
        out.extend([64, self.protocol, 0, 0]);
        out.extend(PEER_V4);
        out.extend(self.destination);
        out.extend(&self.options);
        out.extend(&self.payload);
        out
    }

    pub fn frame(&self) -> Vec<u8> {
        eth(0x0800, &self.packet())
    }
}

pub fn v6(next_header: u8, destination: [u8; 16], payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x60, 0, 0, 0];
    out.extend(u16::try_from(payload.len()).expect("fits").to_be_bytes());
    out.extend([next_header, 64]);
    out.extend(PEER_V6);
    out.extend(destination);
    out.extend(payload);
    eth(0x86dd, &out)
}

/// A datagram to `port` with an ESP-like payload.
pub fn udp(port: u16) -> Vec<u8> {
    let payload = [0, 0, 1, 0, 0, 0, 0, 1, 0xaa, 0xbb, 0xcc, 0xdd];
    let mut out = 50_002u16.to_be_bytes().to_vec();
    out.extend(port.to_be_bytes());
    out.extend(u16::try_from(8 + payload.len()).expect("fits").to_be_bytes());
    out.extend([0, 0]);
    out.extend(payload);
    out
}
