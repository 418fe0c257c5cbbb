//! The incidents that are shown: those that are open, and the last ones that ended.

use std::collections::BTreeMap;

use lacuna_core::incident::{Incident, State};

/// Incidents that are kept; the oldest ended ones beyond that are forgotten.
pub(super) const MOST: usize = 200;

/// Incidents by id, each in its last version.
#[derive(Debug, Default)]
pub(super) struct Book {
    by_id: BTreeMap<String, Incident>,
    /// How many were forgotten, as there were more than [`MOST`].
    forgotten: u64,
}

impl Book {
    /// Takes a version of an incident. One that is closed does not change any more: an open version of it is older.
    pub(super) fn put(&mut self, incident: Incident) {
        let known = self.by_id.get(&incident.id);
        if incident.state == State::Open && known.is_some_and(|known| known.state == State::Closed) {
            return;
        }
        self.by_id.insert(incident.id.clone(), incident);
        while self.by_id.len() > MOST {
            self.forget_one();
        }
    }

    fn forget_one(&mut self) {
        let age = |one: &&Incident| (one.state == State::Open, one.started_at.clone(), one.id.clone());
        if let Some(id) = self.by_id.values().min_by_key(age).map(|one| one.id.clone()) {
            self.by_id.remove(&id);
            self.forgotten += 1;
        }
    }

    /// Those that are open first, the newest first among both.
    pub(super) fn all(&self) -> Vec<&Incident> {
        let mut all: Vec<_> = self.by_id.values().collect();
        all.sort_by(|a, b| {
            let open = |one: &Incident| one.state == State::Open;
            (open(b), &b.started_at, &b.id).cmp(&(open(a), &a.started_at, &a.id))
        });
        all
    }

    pub(super) fn get(&self, id: &str) -> Option<&Incident> {
        self.by_id.get(id)
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn ids(book: &Book) -> Vec<&str> {
        book.all().into_iter().map(|one| one.id.as_str()).collect()
    }

    #[test]
    fn open_ones_come_first_and_the_newest_first() {
        let mut book = Book::default();
        let open = Incident { id: "open".into(), state: State::Open, ..samples::numbered(0) };
        for incident in [samples::numbered(1), open, samples::numbered(2)] {
            book.put(incident);
        }
        assert_eq!(ids(&book), ["open", "id-000002", "id-000001"]);
    }

    #[test]
    fn what_is_closed_is_not_opened_by_an_older_answer() {
        let mut book = Book::default();
        let closed = samples::numbered(1);
        book.put(closed.clone());
        book.put(Incident { state: State::Open, ..closed.clone() });
        assert_eq!(book.get(&closed.id), Some(&closed));
    }

    #[test]
    fn no_more_are_kept_than_there_may_be_and_open_ones_longest() {
        let mut book = Book::default();
        book.put(Incident { id: "open".into(), state: State::Open, ..samples::numbered(0) });
        for i in 1..=u32::try_from(MOST).unwrap() {
            book.put(samples::numbered(i));
        }
        assert_eq!((book.all().len(), book.forgotten()), (MOST, 1));
        assert!(book.get("open").is_some());
        assert!(book.get("id-000001").is_none(), "the oldest ended one");
        assert!(book.get("id-000002").is_some());
    }
}
