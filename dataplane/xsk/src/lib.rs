//! AF_XDP sockets: UMEM, frames and rings.
