//! The command line's side of the API: blocking HTTP/1.0 over the unix socket, which needs no chunks and no keep-alive.

use super::model::{Answer, Refusal, SCHEMA};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The control plane answers out of memory; more than this is a hang.
const TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 256 << 20;
const HEADER_LINES_MAX: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "the control plane is not running: nothing listens on {}\n\
         start it with `systemctl start sipsec-controlplane@NAME` or `sipsec-controlplane --profile FILE`;\n\
         if it runs elsewhere, name it with --profile FILE or --socket PATH",
        .0.display()
    )]
    NotRunning(PathBuf),
    #[error("not permitted to talk to the control plane on {}: be root, or the user or a member of the group that owns it", .0.display())]
    NotPermitted(PathBuf),
    #[error("the control plane does not answer in time; its log may say why")]
    Timeout,
    #[error("the control plane closed the connection without an answer; its log may say why")]
    Closed,
    #[error("the control plane has ended, or closed the connection; its log may say why")]
    Ended,
    #[error("{0}")]
    Refused(String),
    #[error(
        "the control plane speaks \"{0}\", this command \"{SCHEMA}\": use the command of the same release"
    )]
    Schema(String),
    #[error("the answer of the control plane cannot be read: {0}")]
    Malformed(String),
    #[error("cannot talk to the control plane: {0}")]
    Io(io::Error),
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                Self::Closed
            }
            _ => Self::Io(error),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
}

impl Client {
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), timeout: TIMEOUT }
    }

    /// For questions that take longer.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The JSON text of an answer.
    ///
    /// # Errors
    /// If there is no control plane, or it refuses.
    pub fn get_text(&self, path: &str) -> Result<String, ClientError> {
        self.exchange("GET", path, None)
    }

    /// # Errors
    /// If there is no control plane, it refuses, or its release differs too much.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let text = self.get_text(path)?;
        decode(&text)
    }

    /// # Errors
    /// As [`Self::get_text`].
    pub fn send_text<B: Serialize>(&self, method: &str, path: &str, body: &B) -> Result<String, ClientError> {
        let body = serde_json::to_string(body).map_err(|e| ClientError::Malformed(e.to_string()))?;
        self.exchange(method, path, Some(&body))
    }

    /// # Errors
    /// As [`Self::get`].
    pub fn send<B: Serialize, T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        decode(&self.send_text(method, path, body)?)
    }

    /// Lines of an endless answer, as they come.
    ///
    /// # Errors
    /// If there is no control plane, or it refuses.
    pub fn stream(
        &self,
        path: &str,
    ) -> Result<impl Iterator<Item = io::Result<String>> + use<>, ClientError> {
        let stream = self.request("GET", path, None)?;
        let (status, mut reader) = head(stream)?;
        if status != 200 {
            return Err(refusal(status, &mut reader));
        }
        reader.get_ref().set_read_timeout(None)?;
        Ok(reader.lines())
    }

    fn exchange(&self, method: &str, path: &str, body: Option<&str>) -> Result<String, ClientError> {
        let stream = self.request(method, path, body)?;
        let (status, mut reader) = head(stream)?;
        if status != 200 {
            return Err(refusal(status, &mut reader));
        }
        let mut text = String::new();
        reader.take(ANSWER_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    }

    fn request(&self, method: &str, path: &str, body: Option<&str>) -> Result<UnixStream, ClientError> {
        let mut stream = UnixStream::connect(&self.socket).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning(self.socket.clone())
            }
            io::ErrorKind::PermissionDenied => ClientError::NotPermitted(self.socket.clone()),
            _ => ClientError::Io(e),
        })?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        let content = body.map_or(String::new(), |b| {
            format!("Content-Type: application/json\r\nContent-Length: {}\r\n", b.len())
        });
        let request =
            format!("{method} {path} HTTP/1.0\r\nHost: sipsec\r\n{content}\r\n{}", body.unwrap_or_default());
        stream.write_all(request.as_bytes())?;
        Ok(stream)
    }
}

/// The data of an answer.
///
/// # Errors
/// If it cannot be read, or its release differs too much.
pub fn decode<T: DeserializeOwned>(text: &str) -> Result<T, ClientError> {
    decode_with_gateway(text).map(|(_, data)| data)
}

/// What an answer says, and the gateway that says it.
///
/// # Errors
/// As [`decode`].
pub fn decode_with_gateway<T: DeserializeOwned>(text: &str) -> Result<(Option<String>, T), ClientError> {
    let malformed = |e: serde_json::Error| ClientError::Malformed(e.to_string());
    let answer: Answer<serde_json::Value> = serde_json::from_str(text).map_err(malformed)?;
    if answer.schema != SCHEMA {
        return Err(ClientError::Schema(answer.schema));
    }
    Ok((answer.gateway, serde_json::from_value(answer.data).map_err(malformed)?))
}

/// Reads the status line and the header fields.
fn head(stream: UnixStream) -> Result<(u16, BufReader<UnixStream>), ClientError> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(ClientError::Closed);
    }
    let status = line.split_whitespace().nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or_else(|| ClientError::Malformed(line.trim().to_owned()))?;
    for _ in 0..HEADER_LINES_MAX {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok((status, reader));
        }
    }
    Err(ClientError::Malformed("too many header fields".to_owned()))
}

fn refusal(status: u16, reader: &mut BufReader<UnixStream>) -> ClientError {
    let mut text = String::new();
    // What cannot be read is as good as nothing said.
    let _ = reader.take(65_536).read_to_string(&mut text);
    match serde_json::from_str::<Refusal>(&text) {
        Ok(refusal) => ClientError::Refused(refusal.error),
        Err(_) => ClientError::Refused(format!("status {status}: {}", text.trim())),
    }
}
