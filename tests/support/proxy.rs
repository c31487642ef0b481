//! A proxy before a registry that does harm on purpose: each request is noted, then answered as the test's rule says.

use nix::sys::socket::{setsockopt, sockopt};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub fn is_blob(&self) -> bool {
        self.path.contains("/blobs/")
    }

    pub fn is_manifest(&self) -> bool {
        self.path.contains("/manifests/")
    }
}

/// What becomes of a request.
pub enum Action {
    /// The registry's answer.
    Forward,
    /// ... of whose body only so many bytes come, then the end of the connection.
    Truncate(usize),
    /// ... then its reset.
    Reset(usize),
    /// ... with one bit of the body changed.
    Corrupt,
    /// ... of whose body so many bytes come, then one each second.
    Drip(usize),
    /// The request to the registry goes without what the client wants to begin with.
    ForwardWhole,
    /// An answer of the test's own.
    Reply(u16, Vec<(&'static str, String)>, Vec<u8>),
}

/// Decides about a request by itself and by how many came before it for the same path.
type Rule = dyn Fn(&Seen, usize) -> Action + Send + Sync;

pub struct FaultProxy {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    blob_bytes: Arc<AtomicU64>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl FaultProxy {
    /// Before the registry on this port of 127.0.0.1.
    pub fn start(upstream: u16, rule: impl Fn(&Seen, usize) -> Action + Send + Sync + 'static) -> FaultProxy {
        FaultProxy::serve(upstream, rule, None)
    }

    /// The same by TLS, with this certificate.
    pub fn tls(
        upstream: u16,
        (certificate, key): (&Path, &Path),
        rule: impl Fn(&Seen, usize) -> Action + Send + Sync + 'static,
    ) -> FaultProxy {
        let chain = CertificateDer::pem_file_iter(certificate).expect("a certificate").map(|c| c.expect("PEM")).collect();
        let key = PrivateKeyDer::from_pem_file(key).expect("a key");
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate and its key");
        FaultProxy::serve(upstream, rule, Some(Arc::new(config)))
    }

    fn serve(
        upstream: u16,
        rule: impl Fn(&Seen, usize) -> Action + Send + Sync + 'static,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> FaultProxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let (seen, blob_bytes, rule): (_, _, Arc<Rule>) = (Arc::default(), Arc::default(), Arc::new(rule));
        let proxy = FaultProxy { port, seen, blob_bytes };
        let (seen, blob_bytes) = (proxy.seen.clone(), proxy.blob_bytes.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, blob_bytes, rule, tls) = (seen.clone(), blob_bytes.clone(), rule.clone(), tls.clone());
                // What goes wrong here is the client's to notice.
                thread::spawn(move || {
                    let raw = stream.try_clone().expect("a copy");
                    let mut stream: Box<dyn Stream> = match tls {
                        Some(config) => {
                            Box::new(rustls::StreamOwned::new(rustls::ServerConnection::new(config).expect("TLS"), stream))
                        }
                        None => Box::new(stream),
                    };
                    let _ = answer(&mut *stream, &raw, upstream, &seen, &blob_bytes, &*rule);
                });
            }
        });
        proxy
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The requests for blobs.
    pub fn blobs(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(Seen::is_blob).collect()
    }

    /// Bytes of blobs that went out.
    pub fn blob_bytes(&self) -> u64 {
        self.blob_bytes.load(Ordering::SeqCst)
    }
}

/// One request of a connection; the next one needs a new connection.
fn answer(
    stream: &mut dyn Stream,
    raw: &TcpStream,
    upstream: u16,
    seen: &Mutex<Vec<Seen>>,
    blob_bytes: &AtomicU64,
    rule: &Rule,
) -> io::Result<()> {
    let mut request = read_request(stream)?;
    let before = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        seen.iter().filter(|other| other.path == request.path).count() - 1
    };
    let is_blob = request.is_blob();
    let action = rule(&request, before);
    if let Action::Reply(status, headers, body) = &action {
        let mut head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        stream.write_all(&[head.as_bytes(), b"\r\n", body].concat())?;
        return finish(stream, raw);
    }
    if matches!(action, Action::ForwardWhole) {
        request.headers.remove("range");
    }
    let (head, mut body) = forward(&request, upstream)?;
    stream.write_all(&head)?;
    let (length, drips) = match action {
        Action::Truncate(length) | Action::Reset(length) => (length.min(body.len()), false),
        Action::Drip(length) => (length.min(body.len()), true),
        _ => (body.len(), false),
    };
    if matches!(action, Action::Corrupt) {
        let middle = body.len() / 2;
        body[middle] ^= 1;
    }
    if is_blob {
        blob_bytes.fetch_add(length as u64, Ordering::SeqCst);
    }
    stream.write_all(&body[..length])?;
    stream.flush()?;
    for byte in body[length..].iter().filter(|_| drips) {
        thread::sleep(Duration::from_secs(1));
        stream.write_all(&[*byte])?;
        stream.flush()?;
    }
    if matches!(action, Action::Reset(_)) {
        // What was sent shall arrive first: a reset discards what waits in the receiver's buffer as well.
        thread::sleep(Duration::from_millis(200));
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(raw, sockopt::Linger, &linger)?;
        return Ok(());
    }
    finish(stream, raw)
}

fn finish(stream: &mut dyn Stream, raw: &TcpStream) -> io::Result<()> {
    stream.flush()?;
    raw.shutdown(std::net::Shutdown::Write)?;
    // Closing with something unread would be a reset.
    io::copy(&mut &*raw, &mut io::sink()).map(drop)
}

fn read_request(stream: &mut dyn Stream) -> io::Result<Seen> {
    let mut reader = BufReader::with_capacity(1, stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or_default().to_string(), words.next().unwrap_or_default().to_string());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_string());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body)?;
    Ok(Seen { method, path, headers, body })
}

/// The registry's answer: its head with the empty line, and its body.
fn forward(request: &Seen, upstream: u16) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut registry = TcpStream::connect(("127.0.0.1", upstream))?;
    let mut text = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
    for (name, value) in request.headers.iter().filter(|(name, _)| *name != "connection") {
        text += &format!("{name}: {value}\r\n");
    }
    registry.write_all(format!("{text}connection: close\r\n\r\n").as_bytes())?;
    let mut all = Vec::new();
    registry.read_to_end(&mut all)?;
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").ok_or(io::ErrorKind::InvalidData)? + 4;
    let body = all.split_off(end);
    Ok((all, body))
}
