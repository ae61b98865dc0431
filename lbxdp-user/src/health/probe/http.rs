//! `http`: a request over HTTP/1.1 is answered as expected.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::pin::pin;

use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use super::tcp::{Close, connect};
use super::{Failure, ProbeSpec};
use crate::config::model::HttpCheck;

/// How much of a body is read, in bytes: the expected text must begin and end within.
const BODY_LIMIT: usize = 64 * 1024;

/// Who we say we are. Not configurable, so that origins can tell probes from users.
const AGENT: &str = concat!("lbxdp-health/", env!("CARGO_PKG_VERSION"));

/// Passes if status and body are expected. The deadline is for all of it: an answer that trickles
/// in does not keep a probe alive.
pub(super) async fn answered(
    spec: &ProbeSpec,
    check: &HttpCheck,
    deadline: Instant,
) -> Result<(), Failure> {
    let request = request(spec, check).ok_or(Failure::InvalidRequest)?;
    let stream = connect(spec, Close::Orderly, deadline).await?;
    let exchange = exchange(TokioIo::new(stream), request, check);
    timeout_at(deadline, exchange)
        .await
        .unwrap_or(Err(Failure::HttpTimeout))
}

fn request(spec: &ProbeSpec, check: &HttpCheck) -> Option<Request<Empty<Bytes>>> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::from_bytes(check.method.as_bytes()).ok()?;
    *request.uri_mut() = check.path.parse::<Uri>().ok()?;
    let headers = request.headers_mut();
    for (name, value) in &check.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_str(value).ok()?);
    }
    if !headers.contains_key(HOST) {
        headers.insert(HOST, HeaderValue::from_str(&authority(spec)).ok()?);
    }
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Some(request)
}

/// The `Host` of an origin that has no name.
fn authority(spec: &ProbeSpec) -> String {
    let host = match spec.target {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    match spec.port {
        80 => host,
        port => format!("{host}:{port}"),
    }
}

async fn exchange(
    stream: TokioIo<tokio::net::TcpStream>,
    request: Request<Empty<Bytes>>,
    check: &HttpCheck,
) -> Result<(), Failure> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(BODY_LIMIT)
        .handshake(stream)
        .await
        .map_err(|error| failure(&error))?;
    let judged = pin!(async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| failure(&error))?;
        judge(response, check).await
    });
    // The connection has to be driven while the answer is read; when it ends first, what it has
    // read is still to be judged.
    match select(judged, pin!(connection)).await {
        Either::Left((judged, _)) => judged,
        Either::Right((_, judged)) => judged.await,
    }
}

async fn judge(response: Response<Incoming>, check: &HttpCheck) -> Result<(), Failure> {
    let status = response.status().as_u16();
    let expected = |(from, to): &(u16, u16)| (*from..=*to).contains(&status);
    if !check.expected_codes.iter().any(expected) {
        return Err(Failure::StatusMismatch(status));
    }
    let body = read(response.into_body()).await?;
    if contains(&body, &check.expected_body) {
        Ok(())
    } else {
        Err(Failure::BodyMismatch)
    }
}

async fn read(mut body: Incoming) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| failure(&error))?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() >= BODY_LIMIT {
            bytes.truncate(BODY_LIMIT);
            break;
        }
    }
    Ok(bytes)
}

fn contains(body: &[u8], expected: &str) -> bool {
    let body = String::from_utf8_lossy(body).to_lowercase();
    body.contains(&expected.to_lowercase())
}

fn failure(error: &hyper::Error) -> Failure {
    if error.is_parse() {
        return Failure::InvalidResponse;
    }
    if error.is_user() {
        return Failure::InvalidRequest;
    }
    let io = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    match io {
        Some(io) => Failure::from(io),
        None if error.is_incomplete_message() || error.is_closed() || error.is_canceled() => {
            Failure::ConnectionReset
        }
        None => Failure::InvalidResponse,
    }
}
