//! Requests and their answers.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{anyhow, bail};
use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::FRESH;
use crate::agent::Event;
use crate::api::{self, Heartbeat, Inbound};
use crate::dataplane::LastBeat;
use crate::metrics::{Exposition, Format};

/// Where metrics come from.
#[derive(Debug)]
pub(super) struct Source {
    events: mpsc::Sender<Event>,
    pin_path: PathBuf,
    patience: Duration,
    /// The last text of each format, and when it was made. Whoever wants the same waits for it.
    prometheus: Mutex<Option<(Instant, Bytes)>>,
    open_metrics: Mutex<Option<(Instant, Bytes)>>,
}

impl Source {
    pub(super) fn new(events: mpsc::Sender<Event>, pin_path: PathBuf, patience: Duration) -> Self {
        Self {
            events,
            pin_path,
            patience,
            prometheus: Mutex::default(),
            open_metrics: Mutex::default(),
        }
    }

    async fn text(&self, format: Format) -> anyhow::Result<Bytes> {
        let cache = match format {
            Format::Prometheus => &self.prometheus,
            Format::OpenMetrics => &self.open_metrics,
        };
        let mut last = cache.lock().await;
        if let Some((made, text)) = &*last
            && made.elapsed() < FRESH
        {
            return Ok(text.clone());
        }
        let exposition = self.exposition().await?;
        let text = tokio::task::spawn_blocking(move || exposition.render(format)).await??;
        let text = Bytes::from(text);
        *last = Some((Instant::now(), text.clone()));
        Ok(text)
    }

    async fn exposition(&self) -> anyhow::Result<Exposition> {
        match tokio::time::timeout(self.patience, self.status()).await {
            Ok(status) => Ok(Exposition::answered(status?, SystemTime::now())),
            Err(_) => {
                let pin_path = self.pin_path.clone();
                let beat = tokio::task::spawn_blocking(move || LastBeat::read(&pin_path)).await?;
                let heartbeat = beat.map(Heartbeat::from);
                Ok(Exposition::unanswered(heartbeat, SystemTime::now()))
            }
        }
    }

    async fn status(&self) -> anyhow::Result<Box<api::Status>> {
        let (reply, answer) = oneshot::channel();
        let request = api::Request::Status;
        let event = Event::Request(Inbound { request, reply });
        let stopping = || anyhow!("the agent is stopping");
        self.events.send(event).await.map_err(|_| stopping())?;
        match answer.await.map_err(|_| stopping())? {
            api::Response::Status(status) => Ok(status),
            api::Response::Error(error) => bail!("{error}"),
        }
    }
}

/// Answers `GET /metrics`, and says of everything else what is wrong with it.
pub(super) async fn answer(source: &Source, request: &Request<impl Body>) -> Response<Full<Bytes>> {
    if request.uri().path() != "/metrics" {
        return refusal(StatusCode::NOT_FOUND, "metrics are at /metrics\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "metrics can only be read\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    if !request.body().is_end_stream() {
        return refusal(
            StatusCode::BAD_REQUEST,
            "a request for metrics has no body\n",
        );
    }
    let format = wanted(request.headers());
    match source.text(format).await {
        Ok(text) => response(StatusCode::OK, format.content_type(), text),
        Err(error) => refusal(StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}\n")),
    }
}

fn refusal(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", text.into())
}

fn response(status: StatusCode, content_type: &'static str, text: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// The format that a scraper likes best (RFC 9110, section 12.5.1); Prometheus' own, unless it likes
/// `OpenMetrics` better.
fn wanted(headers: &HeaderMap) -> Format {
    let quality = |wanted: &str| {
        let accepts = headers.get_all(ACCEPT).iter();
        let ranges = accepts
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        let qualities = ranges.filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let is_it = parts.next()?.eq_ignore_ascii_case(wanted);
            let quality = parts.find_map(|part| part.strip_prefix("q="));
            let quality = quality.map_or(Some(1.0), |quality| quality.parse::<f32>().ok())?;
            is_it.then_some(quality)
        });
        qualities.fold(0.0, f32::max)
    };
    if quality("application/openmetrics-text") > quality("text/plain") {
        Format::OpenMetrics
    } else {
        Format::Prometheus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_the_format_that_it_likes_best() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
                          text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, format) in [
            (prometheus, Format::OpenMetrics),
            ("*/*", Format::Prometheus),
            ("text/plain;version=0.0.4", Format::Prometheus),
            (
                "text/plain, application/openmetrics-text;q=0.9",
                Format::Prometheus,
            ),
            (
                "application/openmetrics-text; version=1.0.0",
                Format::OpenMetrics,
            ),
            ("application/openmetrics-text; q=what", Format::Prometheus),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(wanted(&headers), format, "{accept}");
        }
        assert_eq!(wanted(&HeaderMap::new()), Format::Prometheus);
    }
}
