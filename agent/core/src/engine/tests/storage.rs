//! Tasks that wait for storage.

use super::assert_length;
use super::fleet::Fleet;
use crate::evidence::{Evidence, Fact, IoStuck};
use crate::incident::{Class, State};

#[test]
fn storage_that_does_not_answer_is_an_io_stall() {
    let mut fleet = Fleet::new(2);
    let from = fleet.clock("b");
    for look in 1..=10 {
        fleet.run(0.5);
        let stuck = IoStuck { over: look == 10, tasks: vec!["dd".into()], ..IoStuck::default() };
        let to = fleet.clock("b");
        fleet.host("b").engine.handle(Evidence::during("b", from, to, Fact::IoStuck(stuck)));
    }
    fleet.run(4.0);
    for name in ["a", "b"] {
        let incident = fleet.host(name).incident();
        assert_eq!((incident.verdict.class, incident.state), (Class::IoStall, State::Closed), "{name}");
        assert_eq!(incident.verdict.subject.host.as_deref(), Some("b"), "{name}");
        assert_length(&incident, 5000);
    }
}
