//! Clients that say who answered them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderName};
use hyper::http::request::Builder;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::Namespace;
use super::server::{SEEN_CLIENT, SERVED_BY};

/// An answer to an HTTP request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Name of the server, `site/origin`.
    pub origin: String,
    /// The client's address as the server saw it.
    pub seen_client: SocketAddr,
    /// Status code.
    pub status: StatusCode,
    /// Length of the body, in bytes.
    pub length: usize,
}

/// Makes HTTP connections from a namespace.
#[derive(Clone, Debug)]
pub struct HttpClient {
    namespace: Arc<Namespace>,
    patience: Duration,
}

impl HttpClient {
    /// A client whose connections and requests fail after `patience`.
    #[must_use]
    pub const fn new(namespace: Arc<Namespace>, patience: Duration) -> Self {
        Self {
            namespace,
            patience,
        }
    }

    /// Opens a connection, from a port of the kernel's choice.
    pub async fn connect(&self, to: SocketAddr) -> Result<HttpConnection> {
        let socket = self.namespace.within(|| match to {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        })?;
        let stream = timeout(self.patience, socket.connect(to))
            .await
            .with_context(|| format!("no connection to {to} within {:?}", self.patience))?
            .with_context(|| format!("no connection to {to}"))?;
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let task = tokio::spawn(async { drop(connection.await) });
        Ok(HttpConnection {
            sender,
            task: task.abort_handle(),
            local,
            to,
            patience: self.patience,
        })
    }

    /// One request over a connection of its own.
    pub async fn get(&self, to: SocketAddr, path: &str) -> Result<Answer> {
        self.connect(to).await?.get(path).await
    }
}

/// An open HTTP connection; closed when dropped.
#[derive(Debug)]
pub struct HttpConnection {
    sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
    local: SocketAddr,
    to: SocketAddr,
    patience: Duration,
}

impl HttpConnection {
    /// The client's end.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends a request and reads the whole answer.
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.ask(Request::get(path), Bytes::new()).await
    }

    /// Sends a request with a body and reads the whole answer.
    pub async fn post(&mut self, path: &str, body: Bytes) -> Result<Answer> {
        self.ask(Request::post(path), body).await
    }

    async fn ask(&mut self, request: Builder, body: Bytes) -> Result<Answer> {
        let request = request
            .header(HOST, self.to.to_string())
            .body(Full::new(body))?;
        timeout(self.patience, self.exchange(request))
            .await
            .with_context(|| format!("no answer from {} within {:?}", self.to, self.patience))?
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let field = |name: HeaderName| -> Result<String> {
            let value = response.headers().get(&name);
            let value = value.with_context(|| format!("the answer has no field {name}"))?;
            Ok(value.to_str()?.to_owned())
        };
        let origin = field(SERVED_BY)?;
        let seen_client = field(SEEN_CLIENT)?.parse()?;
        let status = response.status();
        let length = response.into_body().collect().await?.to_bytes().len();
        Ok(Answer {
            origin,
            seen_client,
            status,
            length,
        })
    }
}

impl Drop for HttpConnection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A UDP flow: one 5-tuple, as long as it lives.
#[derive(Debug)]
pub struct UdpFlow {
    socket: UdpSocket,
    asked: u64,
    patience: Duration,
}

impl UdpFlow {
    /// Opens a flow from a port of the kernel's choice. Within a runtime only.
    pub fn open(namespace: &Namespace, to: SocketAddr, patience: Duration) -> Result<Self> {
        let any: SocketAddr = match to.ip() {
            IpAddr::V4(_) => ([0; 4], 0).into(),
            IpAddr::V6(_) => ([0; 16], 0).into(),
        };
        let socket = namespace.within(|| -> io::Result<_> {
            let socket = std::net::UdpSocket::bind(any)?;
            socket.connect(to)?;
            Ok(socket)
        })?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
            asked: 0,
            patience,
        })
    }

    /// The client's end.
    pub fn local(&self) -> Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }

    /// Sends one datagram, waits for its echo, and gives the name of the server.
    pub async fn ask(&mut self) -> Result<String> {
        self.asked += 1;
        let question = self.asked.to_string();
        timeout(self.patience, self.exchange(&question))
            .await
            .with_context(|| format!("no echo within {:?}", self.patience))?
    }

    async fn exchange(&self, question: &str) -> Result<String> {
        self.socket.send(question.as_bytes()).await?;
        let mut buffer = [0; 2048];
        loop {
            let length = self.socket.recv(&mut buffer).await?;
            let text = str::from_utf8(&buffer[..length])?;
            let Some((origin, echo)) = text.split_once(' ') else {
                bail!("an answer that is no echo: {text:?}");
            };
            // The echo of a question given up earlier is not the answer to this one.
            if echo == question {
                return Ok(origin.to_owned());
            }
        }
    }
}
