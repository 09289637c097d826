//! Which gateway is meant: named, of a profile, or the only one that runs.

use super::args::Args;
use crate::config::{self, RUNTIME_ROOT};
use sipsec_profile::model::control_socket;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error(
        "no gateway runs here: nothing listens on a control.sock below {RUNTIME_ROOT}\n\
         start one with `systemctl start sipsec-controlplane@NAME` or `sipsec-controlplane --profile FILE`;\n\
         if it runs elsewhere, name it with --profile FILE or --socket PATH"
    )]
    None,
    #[error("several gateways run here: {0}; name one with -g NAME, or in SIPSEC_GATEWAY")]
    Several(String),
    #[error("\"{0}\" is not the name of a gateway")]
    Name(String),
    #[error("{0}")]
    Profile(#[from] config::LoadError),
}

/// Where its control plane listens.
///
/// # Errors
/// If none is named and not exactly one runs.
pub fn socket(args: &Args) -> Result<PathBuf, GatewayError> {
    if let Some(socket) = &args.socket {
        return Ok(socket.clone());
    }
    if let Some(profile) = &args.profile {
        return Ok(config::control_socket_of(profile)?);
    }
    if let Some(name) = &args.gateway {
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return Err(GatewayError::Name(name.clone()));
        }
        return Ok(control_socket(&Path::new(RUNTIME_ROOT).join(name)));
    }
    only(Path::new(RUNTIME_ROOT))
}

fn only(root: &Path) -> Result<PathBuf, GatewayError> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| control_socket(&entry.path()))
        .filter(|socket| listens(socket))
        .collect();
    found.sort();
    match found.as_slice() {
        [] => Err(GatewayError::None),
        [one] => Ok(one.clone()),
        several => {
            let names: Vec<_> = several.iter().filter_map(|s| s.parent()?.file_name()?.to_str()).collect();
            Err(GatewayError::Several(names.join(", ")))
        }
    }
}

/// A process that has ended without cleaning up leaves a socket that refuses.
fn listens(socket: &Path) -> bool {
    match UnixStream::connect(socket) {
        Ok(_) => true,
        // One that we may not use is one nevertheless.
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn sockets_of_dead_gateways_do_not_count() {
        let root = std::env::temp_dir().join(format!("sipsec-root-{}", std::process::id()));
        let path = |name: &str| {
            std::fs::create_dir_all(root.join(name)).expect("made");
            control_socket(&root.join(name))
        };
        assert!(matches!(only(&root), Err(GatewayError::None)));
        drop(UnixListener::bind(path("dead")).expect("bound"));
        assert!(matches!(only(&root), Err(GatewayError::None)));
        let _one = UnixListener::bind(path("one")).expect("bound");
        assert_eq!(only(&root).expect("one"), path("one"));
        let _two = UnixListener::bind(path("two")).expect("bound");
        assert!(matches!(only(&root), Err(GatewayError::Several(names)) if names == "one, two"));
        std::fs::remove_dir_all(root).expect("removed");
    }
}
