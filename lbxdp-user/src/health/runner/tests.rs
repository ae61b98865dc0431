use std::net::Ipv4Addr;

use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::config::model::MonitorKind;
use crate::health::probe::tests::spec;

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn the_first_result_comes_early_then_one_each_interval() {
    let (listener, spec) = listening(Duration::from_millis(200)).await;
    let (mut probers, mut events) = probers();
    let start = Instant::now();
    probers.reconcile([(key("a"), spec)].into());
    let first = next(&mut events).await;
    assert!(
        start.elapsed() < Duration::from_millis(1_000),
        "{:?}",
        start.elapsed()
    );
    assert_eq!((first.key.clone(), first.result.is_ok()), (key("a"), true));
    assert!(probers.is_current(&first));
    next(&mut events).await;
    next(&mut events).await;
    // Half an interval at least to the second, a whole one to the third.
    assert!(
        start.elapsed() >= Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
    drop(listener);
    while next(&mut events).await.result != Err(Failure::ConnectionRefused) {}
}

#[tokio::test]
async fn equal_probes_are_sent_once_and_told_to_all() {
    let (_listener, spec) = listening(Duration::from_secs(3_600)).await;
    let (mut probers, mut events) = probers();
    probers.reconcile([(key("a"), spec.clone()), (key("b"), spec.clone())].into());
    assert_eq!(probers.tasks(), 1);
    let mut told = [next(&mut events).await.key, next(&mut events).await.key];
    told.sort();
    assert_eq!(told, [key("a"), key("b")]);

    // Who joins does not wait for the next tick, an hour away.
    probers.reconcile(
        [
            (key("a"), spec.clone()),
            (key("b"), spec.clone()),
            (key("c"), spec),
        ]
        .into(),
    );
    assert_eq!(probers.tasks(), 1);
    let joined = async { while next(&mut events).await.key != key("c") {} };
    timeout(SOON, joined).await.unwrap();
}

#[tokio::test]
async fn a_changed_probe_is_started_anew_and_old_events_are_not_current() {
    let (_listener, spec) = listening(Duration::from_millis(50)).await;
    let (mut probers, mut events) = probers();
    probers.reconcile([(key("a"), spec.clone())].into());
    let old = next(&mut events).await;
    assert!(probers.is_current(&old));
    let changed = ProbeSpec {
        device: Some("lbxdp-nowhere".into()),
        ..spec
    };
    probers.reconcile([(key("a"), changed)].into());
    assert!(!probers.is_current(&old));
    let fresh = async {
        loop {
            let event = next(&mut events).await;
            if probers.is_current(&event) {
                return event;
            }
        }
    };
    let fresh = timeout(SOON, fresh).await.unwrap();
    assert_eq!(fresh.result, Err(Failure::DeviceMissing));
    probers.reconcile(BTreeMap::new());
    assert_eq!(probers.tasks(), 0);
    assert!(!probers.is_current(&fresh));
}

#[tokio::test]
async fn an_unchanged_probe_keeps_its_schedule() {
    let (_listener, spec) = listening(Duration::from_secs(3_600)).await;
    let (mut probers, mut events) = probers();
    let desired = BTreeMap::from([(key("a"), spec)]);
    probers.reconcile(desired.clone());
    let event = next(&mut events).await;
    for _ in 0..10 {
        probers.reconcile(desired.clone());
    }
    assert!(probers.is_current(&event));
    assert!(
        timeout(Duration::from_millis(300), events.recv())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn dropping_stops_everything() {
    let (_listener, spec) = listening(Duration::from_millis(50)).await;
    let (mut probers, mut events) = probers();
    probers.reconcile([(key("a"), spec)].into());
    next(&mut events).await;
    drop(probers);
    // All senders are gone once the tasks are.
    let ended = async { while events.recv().await.is_some() {} };
    timeout(SOON, ended).await.unwrap();
}

#[test]
fn probes_are_spread_and_the_first_is_early() {
    let timing = Timing {
        interval: Duration::from_secs(10),
        ..timing()
    };
    let mut seconds: Vec<_> = (0..1_000)
        .map(|number| Schedule::new(timing, &[key(&number.to_string())]))
        .map(|schedule| {
            assert!(schedule.first <= EARLY);
            schedule.second.as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    assert!(seconds[0] >= 5.0 && seconds[999] < 15.0);
    // No tenth of the interval has more than twice its share.
    for tenth in 0..10 {
        let from = 5.0 + f64::from(tenth);
        let within = seconds
            .iter()
            .filter(|second| (from..from + 1.0).contains(*second))
            .count();
        assert!((50..200).contains(&within), "{within} in tenth {tenth}");
    }
}

#[tokio::test]
async fn a_probe_whose_results_nobody_takes_gives_no_sign_of_life() {
    let (_listener, spec) = listening(Duration::from_millis(20)).await;
    let bound = Duration::from_millis(30) + longest(&spec.timing) + SLACK;
    let (events, mut received) = mpsc::channel(1);
    let pulses = Pulses::default();
    let mut probers = Probers::new(events, pulses.clone());
    probers.reconcile([(key("a"), spec)].into());
    next(&mut received).await;
    // Later than all that has been promised so far.
    let promised = pulses.now() + bound;
    let beats = async {
        while !pulses.overdue(promised).is_empty() {
            next(&mut received).await;
        }
    };
    timeout(SOON, beats).await.unwrap();

    // One waits in the queue, and the next one for the queue.
    sleep(Duration::from_millis(300)).await;
    let promised = pulses.now() + bound;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(pulses.overdue(promised), [key("a").to_string()]);
    let beats = async {
        while !pulses.overdue(promised).is_empty() {
            next(&mut received).await;
        }
    };
    timeout(SOON, beats).await.unwrap();
}

fn probers() -> (Probers, mpsc::Receiver<ProbeEvent>) {
    let (events, received) = mpsc::channel(64);
    (Probers::new(events, Pulses::default()), received)
}

async fn next(events: &mut mpsc::Receiver<ProbeEvent>) -> ProbeEvent {
    timeout(SOON, events.recv()).await.unwrap().unwrap()
}

async fn listening(interval: Duration) -> (TcpListener, ProbeSpec) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut spec = spec(listener.local_addr().unwrap(), MonitorKind::Tcp);
    spec.timing = Timing {
        interval,
        ..timing()
    };
    (listener, spec)
}

fn timing() -> Timing {
    Timing {
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        retries: 0,
        consecutive_up: 1,
        consecutive_down: 1,
    }
}

fn key(origin: &str) -> ProbeKey {
    ProbeKey::origin("pool", origin)
}
