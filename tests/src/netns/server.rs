//! Servers that answer with their own name, so that a client knows who served it.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, UdpSocket};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};

use super::Namespace;

/// Field of an answer that names the server.
pub(super) const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");
/// Field of an answer that tells the client's address as the server saw it.
pub(super) const SEEN_CLIENT: HeaderName = HeaderName::from_static("x-seen-client");

/// A running server; dropped, it and all its connections are gone.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: AbortHandle,
}

impl Server {
    /// Serves HTTP/1.1: `/` answers with a line, `/bytes/N` with N bytes, `/status/N` with that
    /// status code, each when the body of the request is there.
    pub fn http(
        runtime: &Handle,
        namespace: &Namespace,
        name: &str,
        address: SocketAddr,
    ) -> Result<Self> {
        let socket = namespace
            .within(|| when_free(|| listen(address)))
            .with_context(|| format!("{name} cannot listen on {address}"))?;
        let _guard = runtime.enter();
        let listener = TcpListener::from_std(socket.into())?;
        let name: Arc<str> = name.into();
        let task = runtime.spawn(async move {
            // The connections end with this task.
            let mut connections = JoinSet::new();
            while let Ok((stream, client)) = listener.accept().await {
                let name = name.clone();
                connections.spawn(async move {
                    let service = service_fn(|request| {
                        let response = answer(&name, client, &request);
                        async {
                            // What is wrong with a body shows at the client, by no answer.
                            request.into_body().collect().await?;
                            Ok::<_, hyper::Error>(response)
                        }
                    });
                    // A client that goes away is its own affair.
                    drop(
                        http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await,
                    );
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            address,
            task: task.abort_handle(),
        })
    }

    /// Answers each datagram with the server's name, a space, and the datagram.
    pub fn udp_echo(
        runtime: &Handle,
        namespace: &Namespace,
        name: &str,
        address: SocketAddr,
    ) -> Result<Self> {
        let socket = namespace
            .within(|| when_free(|| std::net::UdpSocket::bind(address)))
            .with_context(|| format!("{name} cannot bind {address}"))?;
        socket.set_nonblocking(true)?;
        let _guard = runtime.enter();
        let socket = UdpSocket::from_std(socket)?;
        let name = name.to_owned();
        let task = runtime.spawn(async move {
            let mut buffer = vec![0; usize::from(u16::MAX)];
            loop {
                // An error is the echo of an ICMP message about an earlier answer.
                if let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                    let answer = [name.as_bytes(), b" ", &buffer[..length]].concat();
                    drop(socket.send_to(&answer, client).await);
                }
            }
        });
        Ok(Self {
            address,
            task: task.abort_handle(),
        })
    }

    /// Answers each connection with the server's name, a line feed, and what comes in.
    pub fn tcp_echo(
        runtime: &Handle,
        namespace: &Namespace,
        name: &str,
        address: SocketAddr,
    ) -> Result<Self> {
        let socket = namespace
            .within(|| when_free(|| listen(address)))
            .with_context(|| format!("{name} cannot listen on {address}"))?;
        let _guard = runtime.enter();
        let listener = TcpListener::from_std(socket.into())?;
        let greeting: Arc<str> = format!("{name}\n").into();
        let task = runtime.spawn(async move {
            // The connections end with this task.
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let greeting = greeting.clone();
                connections.spawn(async move {
                    let (mut read, mut write) = stream.split();
                    // A client that goes away is its own affair.
                    if write.write_all(greeting.as_bytes()).await.is_ok()
                        && tokio::io::copy(&mut read, &mut write).await.is_ok()
                    {
                        drop(write.shutdown().await);
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            address,
            task: task.abort_handle(),
        })
    }

    /// What it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Makes a socket, once the address is free: a server that was stopped gives it up when its task has
/// ended, which is a little later.
fn when_free<T>(make: impl Fn() -> std::io::Result<T>) -> std::io::Result<T> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match make() {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            made => return made,
        }
    }
}

fn listen(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A server that returns takes its port again although old connections linger.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket)
}

fn answer(name: &str, client: SocketAddr, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let number = |prefix| path.strip_prefix(prefix).and_then(|rest| rest.parse().ok());
    let body = match number("/bytes/") {
        Some(length) => Bytes::from(vec![b'.'; length]),
        None => Bytes::from(format!("{name} saw {client}\n")),
    };
    let status = number("/status/").and_then(|code| u16::try_from(code).ok());
    let mut response = Response::new(Full::new(body));
    if let Some(code) = status {
        *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST);
    }
    let text = |value: &str| HeaderValue::from_str(value).expect("names and addresses are ASCII");
    response.headers_mut().insert(SERVED_BY, text(name));
    response
        .headers_mut()
        .insert(SEEN_CLIENT, text(&client.to_string()));
    response
}
