//! A name server for tests: UDP on a socket that the test opens, with records that the test may change.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::thread;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// What it says of a name and a type; of others it says that there is no such name.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    /// The records, with this time to live in seconds: addresses, or `PORT TARGET` for SRV.
    Records(u32, Vec<&'static str>),
    /// An error.
    Error(ResponseCode),
    /// Nothing at all.
    Nothing,
}

/// See the module's documentation. Its thread ends with the test.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    says: Arc<Mutex<HashMap<(String, RecordType), Say>>>,
}

impl NameServer {
    pub(crate) fn on(socket: UdpSocket) -> Self {
        let says: Arc<Mutex<HashMap<(String, RecordType), Say>>> = Arc::default();
        let (address, known) = (socket.local_addr().unwrap(), Arc::clone(&says));
        thread::spawn(move || {
            let mut packet = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                let question = Message::from_vec(&packet[..length]).unwrap();
                if let Some(answer) = answer(&question, &known.lock().unwrap()) {
                    socket.send_to(&answer.to_vec().unwrap(), from).unwrap();
                }
            }
        });
        Self { address, says }
    }

    /// From now on it says this; `name` ends with a dot.
    pub(crate) fn says(&self, name: &str, record: RecordType, say: Say) {
        self.says.lock().unwrap().insert((name.to_owned(), record), say);
    }
}

fn answer(question: &Message, says: &HashMap<(String, RecordType), Say>) -> Option<Message> {
    let query = question.queries.first()?.clone();
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.metadata.recursion_available = true;
    match says.get(&(query.name().to_ascii().to_lowercase(), query.query_type())) {
        None => answer.metadata.response_code = ResponseCode::NXDomain,
        Some(Say::Nothing) => return None,
        Some(Say::Error(code)) => answer.metadata.response_code = *code,
        Some(Say::Records(ttl, all)) => {
            for text in all {
                answer.add_answer(Record::from_rdata(query.name().clone(), *ttl, rdata(text)));
            }
        }
    }
    answer.add_query(query);
    Some(answer)
}

fn rdata(text: &str) -> RData {
    if let Some((port, target)) = text.split_once(' ') {
        return RData::SRV(SRV::new(0, 0, port.parse().unwrap(), Name::from_str(target).unwrap()));
    }
    let four = text.parse::<Ipv4Addr>().map(|ip| RData::A(A(ip)));
    four.unwrap_or_else(|_| RData::AAAA(AAAA(text.parse::<Ipv6Addr>().unwrap())))
}
