//! What the tokens of RFC 6290 are made of: 32 random bytes beside the call journal, for this gateway alone. They outlive a
//! crash, so that the gateway can make the tokens again that it gave before.

use crate::entropy::KernelEntropy;
use crate::files::replace;
use sipsec_ike::{CRASH_SECRET_LEN, CrashSecret};
use sipsec_net::Entropy;
use sipsec_profile::Profile;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use zeroize::Zeroizing;

const MODE: u32 = 0o600;

/// `None` if the profile has turned crash detection off, or the secret cannot be kept; the second is logged.
pub fn load(profile: &Profile) -> Option<CrashSecret> {
    if !profile.ike.crash_detection {
        return None;
    }
    let path = profile.crash_secret();
    let made = read(&path).and_then(|kept| match kept {
        Some(secret) => Ok(secret),
        None => make(&path),
    });
    made.inspect_err(|error| {
        tracing::warn!(%error, path = %path.display(), "IKE crash detection (RFC 6290) is off: its secret cannot be kept");
    })
    .ok()
}

/// `None` if there is none, or none to rely on: of another length, or one that others could read.
fn read(path: &Path) -> std::io::Result<Option<CrashSecret>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let about = file.metadata()?;
    if about.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others could read the secret of IKE crash detection: a new one is made");
        return Ok(None);
    }
    if !about.is_file() || about.len() != CRASH_SECRET_LEN as u64 {
        return Ok(None);
    }
    let mut bytes = Zeroizing::new([0; CRASH_SECRET_LEN]);
    file.read_exact(bytes.as_mut())?;
    Ok(CrashSecret::new(bytes.as_ref()))
}

/// Whole or not at all: it is renamed into its place.
fn make(path: &Path) -> std::io::Result<CrashSecret> {
    let mut bytes = Zeroizing::new([0; CRASH_SECRET_LEN]);
    KernelEntropy::new().fill(bytes.as_mut());
    replace(path, bytes.as_ref(), MODE)?;
    CrashSecret::new(bytes.as_ref()).ok_or_else(|| ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::path::PathBuf;

    /// An empty directory of this test alone.
    fn directory(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("sipsec-crash-secret-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a directory");
        dir
    }

    #[test]
    fn it_is_made_once_and_private() {
        let dir = directory("made");
        let path = dir.join("crash-detection.key");
        assert!(read(&path).expect("no fault").is_none());
        let made = make(&path).expect("made");
        let mode = path.metadata().expect("there").permissions().mode() & 0o777;
        assert_eq!((mode, made.len()), (MODE, CRASH_SECRET_LEN));
        assert_ne!(made.expose(), [0; CRASH_SECRET_LEN]);
        let again = read(&path).expect("no fault").expect("kept");
        assert_eq!(again.expose(), made.expose());
        assert_eq!(std::fs::read_dir(&dir).expect("lists").count(), 1, "nothing else is left");
        std::fs::remove_dir_all(dir).expect("removed");
    }

    #[test]
    fn one_not_to_rely_on_is_replaced() {
        let dir = directory("replaced");
        let path = dir.join("crash-detection.key");
        let first = make(&path).expect("made");
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("changed");
        assert!(read(&path).expect("no fault").is_none());
        let second = make(&path).expect("made");
        assert_ne!(first.expose(), second.expose());
        for bytes in [&[7; 31][..], &[7; 33], &[]] {
            std::fs::write(&path, bytes).expect("written");
            assert!(read(&path).expect("no fault").is_none());
        }
        assert!(make(&dir.join("missing/crash-detection.key")).is_err());
        std::fs::remove_dir_all(dir).expect("removed");
    }
}
