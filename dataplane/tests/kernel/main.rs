//! The dataplane on a real kernel: devices, sockets, whole processes, each test in network namespaces of its own.
//! Without root every test says that it was skipped.

mod clear_text;
mod control;
mod device;
mod end_to_end;
mod process;
mod support;
mod sys;
mod topology;
