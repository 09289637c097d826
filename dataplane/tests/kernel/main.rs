//! The dataplane on a real kernel: devices, sockets, whole processes, each test in network namespaces of its own.
//! Without root every test says that it was skipped.

mod device;
mod support;
