//! Room for descriptors: each probe that is under way has a socket.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that all but probes may take.
const OTHERS: u64 = 128;

/// Takes as many descriptors as this process may have: the usual soft limit of 1,024 is meant for
/// programs that call select(2), and with it probes of a thousand origins would fail for a reason
/// that is not theirs.
pub(super) fn raise_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// What is wrong with the limit for this many probes, if anything.
pub(super) fn shortage(probes: usize) -> Option<String> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    shortage_at(soft, probes)
}

fn shortage_at(limit: u64, probes: usize) -> Option<String> {
    let needed = OTHERS.saturating_add(probes as u64);
    (limit < needed).then(|| {
        format!(
            "this process may open {limit} files, and {probes} probes at a time need {needed}: \
             healthy origins may be taken for unhealthy; raise LimitNOFILE of the unit (`ulimit -Hn`)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_descriptors_are_named_with_their_consequence() {
        assert_eq!(shortage_at(1024, 800), None);
        let shortage = shortage_at(1024, 1000).expect("it is not enough");
        assert!(
            shortage.contains("1024") && shortage.contains("1128"),
            "{shortage}"
        );
    }

    #[test]
    fn the_limit_is_as_high_as_it_may_be() {
        raise_limit();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        assert_eq!(soft, hard);
    }
}
