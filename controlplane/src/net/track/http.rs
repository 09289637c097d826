//! An HTTP GET (RFC 9110): good if the status is below 400. The body is not read.

use super::socket::Exit;
use super::tcp;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A status line is no longer.
const LINE_MAX: usize = 4096;

pub async fn get(exit: &Exit, server: SocketAddr, path: &str) -> io::Result<()> {
    let mut stream = tcp::connect(exit, server).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {server}\r\nUser-Agent: sipsec/{}\r\nConnection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    stream.write_all(request.as_bytes()).await?;
    let mut line = Vec::new();
    let mut part = [0; 512];
    loop {
        if let Some(end) = line.iter().position(|b| *b == b'\n') {
            return judge(&line[..end]);
        }
        let len = stream.read(&mut part).await?;
        if len == 0 || line.len() > LINE_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no status line"));
        }
        line.extend(part.iter().take(len));
    }
}

/// RFC 9112 §4: `HTTP/1.1 200 reason`.
fn judge(line: &[u8]) -> io::Result<()> {
    let wrong = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    let Ok(line) = std::str::from_utf8(line) else { return wrong("no status line") };
    let mut words = line.split_ascii_whitespace();
    match (words.next(), words.next().and_then(|status| status.parse::<u16>().ok())) {
        (Some(version), Some(100..400)) if version.starts_with("HTTP/") => Ok(()),
        (Some(version), Some(_)) if version.starts_with("HTTP/") => wrong("the server answers with an error"),
        _ => wrong("no status line"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_below_400_is_good() {
        for (line, good) in [
            ("HTTP/1.1 200 OK\r", true),
            ("HTTP/1.0 301", true),
            ("HTTP/1.1 404 Not Found", false),
            ("HTTP/1.1 503", false),
            ("SSH-2.0-x 200", false),
            ("HTTP/1.1 abc", false),
            ("", false),
        ] {
            assert_eq!(judge(line.as_bytes()).is_ok(), good, "{line}");
        }
        assert!(judge(&[0xff, 0xfe]).is_err());
    }
}
