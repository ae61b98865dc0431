use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::api::{Inbound, Response};

const DEADLINE: Duration = Duration::from_secs(10);

/// A server whose owner does as it is told, and how often that was asked.
struct Stand {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

/// An owner that answers with an error, which is short, or does not answer.
async fn stand(owner_answers: bool, patience: Duration) -> Stand {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (events, mut inbox) = mpsc::channel(1);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut unanswered = Vec::new();
        while let Some(event) = inbox.recv().await {
            let Event::Request(Inbound { request: _, reply }) = event else {
                panic!("{event:?}");
            };
            count.fetch_add(1, Ordering::Relaxed);
            if owner_answers {
                let _ = reply.send(Response::Error("counters cannot be read".to_owned()));
            } else {
                unanswered.push(reply);
            }
        }
    });
    let source = Source::new(events, "/nowhere".into(), Duration::from_millis(50));
    tasks.spawn(accept(listener, Arc::new(source), patience));
    Stand {
        address,
        asked,
        _task: tasks,
    }
}

impl Stand {
    /// Sends some bytes, and reads until the server has nothing more to say.
    async fn exchange(&self, request: &str) -> String {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // A reset after the answer is an end, too.
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8(answer).unwrap()
        };
        tokio::time::timeout(DEADLINE, exchange).await.unwrap()
    }
}

#[tokio::test]
async fn what_is_no_question_for_metrics_is_told_so_and_the_owner_is_not_asked() {
    let stand = stand(true, PATIENCE).await;
    for (request, status, words) in [
        (
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "404",
            "metrics are at /metrics",
        ),
        (
            "GET /metrics/x HTTP/1.1\r\nHost: a\r\n\r\n",
            "404",
            "/metrics",
        ),
        (
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
            "404",
            "",
        ),
        (
            "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
            "405",
            "allow: GET, HEAD",
        ),
        (
            "DELETE /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
            "405",
            "allow: GET, HEAD",
        ),
        (
            "GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
            "400",
            "no body",
        ),
        (
            "GET /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "400",
            "no body",
        ),
        ("this is no HTTP\r\n\r\n", "400", ""),
    ] {
        let answer = stand.exchange(request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {answer}"
        );
        assert!(answer.contains(words), "{request}: {answer}");
    }
    let long = format!(
        "GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(LONGEST_HEAD)
    );
    let answer = stand.exchange(&long).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(stand.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_owner_that_cannot_tell_is_quoted() {
    let stand = stand(true, PATIENCE).await;
    let answer = stand
        .exchange("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with("counters cannot be read\n"), "{answer}");
}

#[tokio::test]
async fn an_owner_that_is_stuck_is_not_waited_for_and_not_asked_by_everybody() {
    let stand = stand(false, PATIENCE).await;
    let request = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    let answers = [(); 8].map(|()| stand.exchange(request));
    for answer in futures_util::future::join_all(answers).await {
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(
            answer.contains("\ncontent-type: text/plain; version=0.0.4"),
            "{answer}"
        );
        assert!(answer.contains("\nlbxdp_up 0\n"), "{answer}");
    }
    assert_eq!(stand.asked.load(Ordering::Relaxed), 1);
    let answer = stand
        .exchange("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn scrapers_that_say_nothing_or_do_not_read_keep_others_waiting_for_a_while_only() {
    let stand = stand(false, Duration::from_millis(200)).await;
    let mut silent = Vec::new();
    for begun in ["", "GET /metrics HTTP/1.1\r\n"].repeat(MOST_CONNECTIONS) {
        let mut stream = TcpStream::connect(stand.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    let answer = stand
        .exchange("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(silent);
}

#[tokio::test]
async fn a_taken_address_is_refused_with_advice_and_is_free_once_it_is_stopped() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (events, _inbox) = mpsc::channel(1);
    let listen = |address| Exporter::listen(address, events.clone(), "/nowhere".into());
    let error = listen(address).unwrap_err().to_string();
    assert!(
        error.contains("in use") && error.contains("another port"),
        "{error}"
    );
    drop(listener);
    for _ in 0..20 {
        let exporter = listen(address).unwrap();
        assert_eq!(exporter.address(), address);
        drop(TcpStream::connect(address).await.unwrap());
        exporter.stop().await;
        // The same port at any address.
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        listen(any).unwrap().stop().await;
    }
    // TEST-NET-1 (RFC 5737).
    let error = listen("192.0.2.1:9733".parse().unwrap())
        .unwrap_err()
        .to_string();
    assert!(error.contains("no address of this node"), "{error}");
}
