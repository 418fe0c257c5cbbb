//! Whether the collector of traces answers.

use super::report::Check;
use crate::config::{Otlp, OtlpProtocol};
use crate::traces;

pub(super) fn collector(otlp: &Otlp) -> Check {
    let (endpoint, how) = match otlp.protocol {
        OtlpProtocol::Grpc => (otlp.endpoint.clone(), "gRPC"),
        OtlpProtocol::Http => (otlp.traces_url(), "HTTP"),
    };
    match traces::try_out(otlp) {
        Ok(()) => Check::ok("otlp", format!("{endpoint} takes traces by {how}")),
        Err(error) => Check::degraded(
            "otlp",
            format!("{endpoint} does not take traces by {how}: {error}"),
            "they wait on the disk and are sent later; see otlp.endpoint and otlp.protocol",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    #[test]
    fn a_collector_that_nobody_runs_is_told_with_what_it_means() {
        let otlp = |protocol| Otlp { endpoint: "http://127.0.0.1:1".into(), protocol, spool: 1 << 20 };
        let checks = [OtlpProtocol::Grpc, OtlpProtocol::Http].map(|protocol| collector(&otlp(protocol)));
        assert!(checks.iter().all(|check| check.state == State::Degraded), "{checks:?}");
        assert!(
            checks[1].found.starts_with("http://127.0.0.1:1/v1/traces does not take traces by HTTP: "),
            "{checks:?}"
        );
    }
}
