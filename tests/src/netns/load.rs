//! Load in the background, and a record of every request.

mod absence;
mod records;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hyper::body::Bytes;
use tokio::task::AbortHandle;
use tokio::time::sleep;

pub use absence::Absences;
pub use records::Records;

use super::{Answer, HttpClient, Lab, Namespace, UdpFlow, slow};

/// How long a datagram may be on its way, there and back, before it counts as lost. As long as a
/// TCP connection may take: busy cores delay both alike.
const ECHO_PATIENCE: Duration = Duration::from_secs(3);

/// What a request of [`Kind::Bulk`] and its answer carry, in bytes: fewer packets than a veth device
/// has room for, as all may be on their way at once.
const BULK: usize = 100_000;

/// Kinds of flow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A TCP connection that lives as long as it can, with request after request.
    LongTcp,
    /// A TCP connection for each request.
    ShortTcp,
    /// A UDP socket that never changes its port.
    Udp,
    /// A TCP connection that lives as long as it can, with many packets there and back for each
    /// request.
    Bulk,
}

impl Kind {
    /// Whether a flow has many requests.
    #[must_use]
    pub const fn lasts(self) -> bool {
        match self {
            Self::LongTcp | Self::Udp | Self::Bulk => true,
            Self::ShortTcp => false,
        }
    }
}

/// So many flows of a kind to an address, each pausing between requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mix {
    /// What they are.
    pub kind: Kind,
    /// Where they go.
    pub to: SocketAddr,
    /// How many at a time.
    pub flows: usize,
    /// Pause after an answer.
    pub pause: Duration,
}

/// Names one flow, that is, one 5-tuple.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlowId(u64);

/// One 5-tuple.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    /// Its name.
    pub id: FlowId,
    /// What it is.
    pub kind: Kind,
    /// Where it goes.
    pub to: SocketAddr,
}

/// What became of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Answered by this origin, `site/origin`.
    Answered(Arc<str>),
    /// Not answered, with the reason.
    Failed(Arc<str>),
}

impl Outcome {
    fn failed(error: &anyhow::Error) -> Self {
        Self::Failed(format!("{error:#}").into())
    }
}

/// One request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The flow that it belongs to.
    pub flow: Flow,
    /// When it was sent.
    pub start: Instant,
    /// When it was answered or given up.
    pub end: Instant,
    /// What became of it.
    pub outcome: Outcome,
}

/// Flows that run until this is dropped.
#[derive(Debug)]
pub struct Load {
    started: Instant,
    records: Arc<Mutex<Vec<Record>>>,
    tasks: Vec<AbortHandle>,
}

impl Load {
    /// Starts flows in the clients' namespace of a lab.
    #[must_use]
    pub fn start(lab: &Lab, mixes: &[Mix]) -> Self {
        let started = Instant::now();
        let records = Arc::new(Mutex::default());
        let mut tasks = Vec::new();
        for &mix in mixes {
            for _ in 0..mix.flows {
                let worker = Worker {
                    mix,
                    http: lab.http(),
                    namespace: lab.clients().clone(),
                    records: Arc::clone(&records),
                };
                tasks.push(lab.runtime().spawn(worker.run()).abort_handle());
            }
        }
        Self {
            started,
            records,
            tasks,
        }
    }

    /// All that has been recorded so far.
    #[must_use]
    pub fn records(&self) -> Records {
        Records::new(self.started, self.lock().clone())
    }

    /// What has been recorded so far of requests that started at this time or later.
    #[must_use]
    pub fn records_since(&self, time: Instant) -> Records {
        let records = self.lock();
        let since = records.iter().filter(|record| record.start >= time);
        Records::new(self.started, since.cloned().collect())
    }

    /// How many requests have ended so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// How many short connections to an address have been answered so far.
    #[must_use]
    pub fn connections(&self, to: SocketAddr) -> usize {
        let records = self.lock();
        let answered = records.iter().filter(|record| {
            let Flow {
                id: _,
                kind,
                to: there,
            } = record.flow;
            kind == Kind::ShortTcp && there == to && matches!(record.outcome, Outcome::Answered(_))
        });
        answered.count()
    }

    /// Ends the flows and gives the records.
    #[must_use]
    pub fn stop(self) -> Records {
        self.records()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// One flow after another.
struct Worker {
    mix: Mix,
    http: HttpClient,
    namespace: Arc<Namespace>,
    records: Arc<Mutex<Vec<Record>>>,
}

impl Worker {
    async fn run(self) {
        loop {
            let flow = self.new_flow();
            let start = Instant::now();
            // A flow ends by its first failure, except UDP's.
            let end = match self.mix.kind {
                Kind::LongTcp => self.long(flow).await,
                Kind::ShortTcp => self.short(flow).await,
                Kind::Udp => self.udp(flow).await,
                Kind::Bulk => self.bulk(flow).await,
            };
            if let Err(error) = end {
                self.record(flow, start, Outcome::failed(&error));
            }
            sleep(slow(self.mix.pause)).await;
        }
    }

    async fn long(&self, flow: Flow) -> Result<()> {
        let mut connection = self.http.connect(self.mix.to).await?;
        loop {
            let start = Instant::now();
            let answer = connection.get("/").await;
            if !self.record_answer(flow, start, answer) {
                return Ok(());
            }
            sleep(slow(self.mix.pause)).await;
        }
    }

    async fn bulk(&self, flow: Flow) -> Result<()> {
        let mut connection = self.http.connect(self.mix.to).await?;
        let body = Bytes::from(vec![b'.'; BULK]);
        let path = format!("/bytes/{BULK}");
        loop {
            let start = Instant::now();
            let answer = connection.post(&path, body.clone()).await;
            let whole = answer.and_then(|answer| {
                ensure!(answer.length == BULK, "{} bytes came", answer.length);
                Ok(answer)
            });
            if !self.record_answer(flow, start, whole) {
                return Ok(());
            }
            sleep(slow(self.mix.pause)).await;
        }
    }

    async fn short(&self, flow: Flow) -> Result<()> {
        let start = Instant::now();
        let answer = self.http.get(self.mix.to, "/").await?;
        self.record(flow, start, Outcome::Answered(answer.origin.into()));
        Ok(())
    }

    async fn udp(&self, flow: Flow) -> Result<()> {
        let mut socket = UdpFlow::open(&self.namespace, self.mix.to, slow(ECHO_PATIENCE))?;
        loop {
            let start = Instant::now();
            let outcome = match socket.ask().await {
                Ok(origin) => Outcome::Answered(origin.into()),
                Err(error) => Outcome::failed(&error),
            };
            self.record(flow, start, outcome);
            sleep(slow(self.mix.pause)).await;
        }
    }

    fn new_flow(&self) -> Flow {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Flow {
            id: FlowId(NEXT.fetch_add(1, Ordering::Relaxed)),
            kind: self.mix.kind,
            to: self.mix.to,
        }
    }

    /// Whether there was an answer.
    fn record_answer(&self, flow: Flow, start: Instant, answer: Result<Answer>) -> bool {
        let is_answered = answer.is_ok();
        let outcome = match answer {
            Ok(answer) => Outcome::Answered(answer.origin.into()),
            Err(error) => Outcome::failed(&error),
        };
        self.record(flow, start, outcome);
        is_answered
    }

    fn record(&self, flow: Flow, start: Instant, outcome: Outcome) {
        let record = Record {
            flow,
            start,
            end: Instant::now(),
            outcome,
        };
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.push(record);
    }
}
