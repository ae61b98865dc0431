//! Probes against real sockets on loopback.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::config::model::{HttpCheck, Timing};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

#[tokio::test]
async fn tcp_passes_when_somebody_listens() {
    for address in [V4, V6] {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let spec = spec(listener.local_addr().unwrap(), MonitorKind::Tcp);
        assert!(probe(&spec).await.is_ok());
        let through_lo = ProbeSpec {
            device: Some("lo".into()),
            source: Some(address),
            ..spec
        };
        assert!(probe(&through_lo).await.is_ok());
    }
}

#[tokio::test]
async fn tcp_tells_why_it_fails() {
    let closed = closed_port().await;
    let tcp = spec(closed, MonitorKind::Tcp);
    assert_eq!(probe(&tcp).await, Err(Failure::ConnectionRefused));
    let nowhere = ProbeSpec {
        device: Some("lbxdp-nowhere".into()),
        ..tcp.clone()
    };
    assert_eq!(probe(&nowhere).await, Err(Failure::DeviceMissing));
    let foreign = ProbeSpec {
        source: Some([192, 0, 2, 1].into()),
        ..tcp
    };
    assert_eq!(probe(&foreign).await, Err(Failure::SourceMissing));
}

#[tokio::test]
async fn tcp_times_out_where_no_answer_comes() {
    // A full backlog: the kernel drops further SYNs.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(V4, 0).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut held = Vec::new();
    while let Ok(Ok(stream)) =
        timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        held.push(stream);
    }
    let mut spec = spec(address, MonitorKind::Tcp);
    spec.timing.timeout = Duration::from_millis(100);
    let start = Instant::now();
    assert_eq!(probe(&spec).await, Err(Failure::TcpTimeout));
    assert!(start.elapsed() >= spec.timing.timeout);
}

#[tokio::test]
async fn http_passes_when_status_and_body_are_expected() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nAll is HEALTHY";
    let until_closed = "HTTP/1.0 204 No Content\r\n\r\n";
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nheal\r\n3\r\nthy\r\n0\r\n\r\n";
    for (answer, body) in [
        (ok, ""),
        (ok, "healthy"),
        (ok, "is Heal"),
        (until_closed, ""),
        (chunked, "healthy"),
    ] {
        let server = Server::answering(V4, answer).await;
        let check = HttpCheck {
            expected_body: body.into(),
            ..get()
        };
        assert_eq!(
            server.probe(check).await.map(drop),
            Ok(()),
            "{answer:?} {body:?}"
        );
    }
}

#[tokio::test]
async fn http_tells_why_it_fails() {
    for (answer, failure) in [
        (
            "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
            Failure::StatusMismatch(503),
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
            Failure::StatusMismatch(302),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsick",
            Failure::BodyMismatch,
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", Failure::InvalidResponse),
        ("", Failure::ConnectionReset),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nheal",
            Failure::ConnectionReset,
        ),
    ] {
        let server = Server::answering(V4, answer).await;
        let check = HttpCheck {
            expected_body: "healthy".into(),
            ..get()
        };
        assert_eq!(server.probe(check).await, Err(failure), "{answer:?}");
    }
    let closed = spec(closed_port().await, http(get()));
    assert_eq!(probe(&closed).await, Err(Failure::ConnectionRefused));
}

#[tokio::test]
async fn http_sends_what_is_configured() {
    for (address, host) in [(V4, "127.0.0.1"), (V6, "[::1]")] {
        let server =
            Server::answering(address, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        let check = HttpCheck {
            method: "HEAD".into(),
            path: "/health?deep=1".into(),
            headers: vec![
                ("X-Probe".into(), "a".into()),
                ("user-agent".into(), "other".into()),
            ],
            ..get()
        };
        assert!(server.probe(check).await.is_ok());
        let port = server.address.port();
        let request = server.request().await.to_lowercase();
        assert!(
            request.starts_with("head /health?deep=1 http/1.1\r\n"),
            "{request}"
        );
        assert!(request.contains("x-probe: a\r\n"), "{request}");
        assert!(
            request.contains(&format!("host: {host}:{port}\r\n")),
            "{request}"
        );
        assert!(request.contains("user-agent: lbxdp-health/"), "{request}");
        assert!(!request.contains("other"), "{request}");
    }
    let server = Server::answering(V4, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let check = HttpCheck {
        headers: vec![("Host".into(), "www.example".into())],
        ..get()
    };
    assert!(server.probe(check).await.is_ok());
    assert!(
        server
            .request()
            .await
            .to_lowercase()
            .contains("host: www.example\r\n")
    );
}

#[tokio::test]
async fn http_times_out_on_silence_and_on_a_slow_drip() {
    let silent = TcpListener::bind((V4, 0)).await.unwrap();
    let mut spec = spec(silent.local_addr().unwrap(), http(get()));
    spec.timing.timeout = Duration::from_millis(100);
    assert_eq!(probe(&spec).await, Err(Failure::HttpTimeout));

    let (dripping, _server) = dripping().await;
    spec.port = dripping.port();
    spec.timing.timeout = Duration::from_millis(300);
    let start = Instant::now();
    assert_eq!(probe(&spec).await, Err(Failure::HttpTimeout));
    assert!(start.elapsed() < spec.timing.timeout + GRACE);
}

#[tokio::test]
async fn an_endless_body_is_read_only_so_far() {
    let body = "x".repeat(2 * 64 * 1024);
    let answer = format!("HTTP/1.1 200 OK\r\n\r\nhealthy{body}");
    let server = Server::answering(V4, &answer).await;
    let check = HttpCheck {
        expected_body: "healthy".into(),
        ..get()
    };
    assert!(server.probe(check).await.is_ok());
}

#[tokio::test]
async fn only_timeouts_are_tried_again() {
    let silent = TcpListener::bind((V4, 0)).await.unwrap();
    let mut spec = spec(silent.local_addr().unwrap(), http(get()));
    spec.timing.timeout = Duration::from_millis(50);
    spec.timing.retries = 2;
    assert_eq!(probe(&spec).await, Err(Failure::HttpTimeout));
    let mut attempts = 0;
    while timeout(Duration::from_millis(50), silent.accept())
        .await
        .is_ok()
    {
        attempts += 1;
    }
    assert_eq!(attempts, 3);

    let server = Server::answering(V4, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n").await;
    spec.port = server.address.port();
    spec.timing.timeout = Duration::from_secs(5);
    assert_eq!(probe(&spec).await, Err(Failure::StatusMismatch(500)));
    assert_eq!(server.served.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_named() {
    let address = closed_port().await;
    for check in [
        HttpCheck {
            method: "G E T".into(),
            ..get()
        },
        HttpCheck {
            path: "/ /".into(),
            ..get()
        },
        HttpCheck {
            headers: vec![("a b".into(), String::new())],
            ..get()
        },
    ] {
        let spec = spec(address, http(check));
        assert_eq!(probe(&spec).await, Err(Failure::InvalidRequest));
    }
}

#[tokio::test]
async fn icmp_passes_when_an_echo_reply_comes() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: icmp_passes_when_an_echo_reply_comes needs root for raw sockets");
        return;
    }
    for address in [V4, V6] {
        let ping = spec(SocketAddr::new(address, 0), MonitorKind::IcmpPing);
        assert_eq!(probe(&ping).await.map(drop), Ok(()), "{address}");
        let through_lo = ProbeSpec {
            device: Some("lo".into()),
            source: Some(address),
            ..ping
        };
        assert_eq!(
            probe(&through_lo).await.map(drop),
            Ok(()),
            "{address} through lo"
        );
    }
}

#[tokio::test]
async fn icmp_replies_find_their_own_requests() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: icmp_replies_find_their_own_requests needs root for raw sockets");
        return;
    }
    let pings = (0..100)
        .map(|_| async { probe(&spec(SocketAddr::new(V4, 0), MonitorKind::IcmpPing)).await });
    for result in futures_util::future::join_all(pings).await {
        assert!(result.is_ok(), "{result:?}");
    }
}

#[tokio::test]
async fn icmp_tells_why_it_fails() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: icmp_tells_why_it_fails needs root for raw sockets");
        return;
    }
    let ping = spec(SocketAddr::new(V4, 0), MonitorKind::IcmpPing);
    let nowhere = ProbeSpec {
        device: Some("lbxdp-nowhere".into()),
        ..ping.clone()
    };
    assert_eq!(probe(&nowhere).await, Err(Failure::DeviceMissing));
    let foreign = ProbeSpec {
        source: Some([192, 0, 2, 1].into()),
        ..ping.clone()
    };
    assert_eq!(probe(&foreign).await, Err(Failure::SourceMissing));
    // Bound to lo, the documentation's network has nobody that answers.
    let mut silent = ProbeSpec {
        target: [192, 0, 2, 1].into(),
        device: Some("lo".into()),
        ..ping
    };
    silent.timing.timeout = Duration::from_millis(100);
    let result = probe(&silent).await;
    assert!(
        matches!(
            result,
            Err(Failure::IcmpTimeout | Failure::NoRoute | Failure::NetworkUnreachable)
        ),
        "{result:?}"
    );
}

pub(in crate::health) fn spec(address: SocketAddr, check: MonitorKind) -> ProbeSpec {
    ProbeSpec {
        target: address.ip(),
        port: address.port(),
        check,
        device: None,
        source: None,
        timing: Timing {
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            retries: 0,
            consecutive_up: 1,
            consecutive_down: 1,
        },
    }
}

fn http(check: HttpCheck) -> MonitorKind {
    MonitorKind::Http(Arc::new(check))
}

pub(in crate::health) fn get() -> HttpCheck {
    HttpCheck {
        method: "GET".into(),
        path: "/".into(),
        headers: Vec::new(),
        expected_codes: vec![(200, 200), (204, 206)],
        expected_body: String::new(),
    }
}

/// A server that reads a request, gives a fixed answer and closes.
struct Server {
    address: SocketAddr,
    served: Arc<AtomicUsize>,
    requests: tokio::sync::Mutex<tokio::sync::mpsc::UnboundedReceiver<String>>,
    task: JoinHandle<()>,
}

impl Server {
    async fn answering(address: IpAddr, answer: &str) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = answer.to_owned();
        let served = Arc::new(AtomicUsize::new(0));
        let (seen, requests) = tokio::sync::mpsc::unbounded_channel();
        let count = Arc::clone(&served);
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = seen.send(head(&mut stream).await);
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Self {
            address,
            served,
            requests: requests.into(),
            task,
        }
    }

    async fn probe(&self, check: HttpCheck) -> Result<Duration, Failure> {
        probe(&spec(self.address, http(check))).await
    }

    async fn request(&self) -> String {
        let mut requests = self.requests.lock().await;
        timeout(Duration::from_secs(5), requests.recv())
            .await
            .unwrap()
            .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A server that sends its body byte by byte, for ever.
async fn dripping() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((V4, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        let answer = "HTTP/1.1 200 OK\r\n\r\n"
            .bytes()
            .chain(std::iter::repeat(b'.'));
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        for byte in answer {
            pace.tick().await;
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    });
    (address, task)
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

async fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind((V4, 0)).await.unwrap();
    listener.local_addr().unwrap()
}
