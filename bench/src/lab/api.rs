//! The API of a gateway, where its command line would hide what is asked or cost too much.

use super::error::LabError;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The status and the body of the answer.
pub fn post(socket: &std::path::Path, path: &str, body: &str) -> Result<(u16, String), LabError> {
    let exchange = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let len = body.len();
        let head =
            format!("POST {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n");
        // In one piece: the answer may come before all of it is read.
        stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(LabError::io("the API"))?;
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or_else(|| LabError::failed("not an HTTP answer", answer.clone()))?;
    Ok((status, answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()))
}
